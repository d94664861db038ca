package server_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"syscall"
	"time"

	"tidings/internal/report"
	"tidings/internal/simulate"
	"tidings/internal/store/lsm"
)

// maxOpenUnits is how many devices the open pages of a lane have (push.md, 2).
const maxOpenUnits = 8 * 500

// settle lets everything come to its end with a provider that takes everything.
func (k *pushKiller) settle() {
	t := k.t
	behave(t, k.sim, simulate.Behaviour{})
	cmd, url := k.start()
	defer func() { _ = cmd.Process.Kill() }()
	k.backer = newBackend(t, url, killApp, killSecret)
	for _, s := range k.shots {
		if s.answered == "" && !k.shoot(s) {
			t.Fatalf("%s %q is not answered", s.command, s.title)
		}
	}
	for _, s := range k.shots {
		k.backer.awaitEnd(s.answered)
	}
	all := k.backer.tasks()
	k.shown = append(k.shown, map[string]pushTask{})
	for _, s := range k.shots {
		tasks := all[s.title]
		if len(tasks) != 1 || tasks[0].TaskID != s.answered {
			t.Errorf("%s %q was answered %s, and there are %+v", s.command, s.title, s.answered, tasks)
			continue
		}
		k.shown[len(k.kills)][s.title] = tasks[0]
	}
	if len(all) != len(k.shots) {
		t.Errorf("there are %d tasks of %d pushes", len(all), len(k.shots))
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after an orderly stop: %v", err)
	}
	k.check()
}

// A copyOf is a message that the provider took: to a phone, of a push.
type copyOf struct{ title, token string }

// verify compares what the server says of each device with what the simulator saw.
func (k *pushKiller) verify() {
	t := k.t
	if n := k.sim.Totals().Unheard; n > 0 {
		t.Fatalf("%d answers of the simulator were not heard", n)
	}
	k.witness.mu.Lock()
	defer k.witness.mu.Unlock()
	taken := map[copyOf][]simulate.Delivery{}
	owner := map[string]copyOf{} // of each report id
	for _, d := range k.witness.taken {
		c := copyOf{d.Title, d.Token}
		taken[c] = append(taken[c], d)
		if first, known := owner[d.ID]; known && first != c || taken[c][0].ID != d.ID {
			t.Errorf("%s arrived with id %s, which is that of %s; %s has %s", c, d.ID, first, c, taken[c][0].ID)
		}
		owner[d.ID] = c
	}
	if got, want := int64(len(k.witness.taken)), k.sim.Totals().Delivered; got != want {
		t.Errorf("%d deliveries were heard, the simulator counts %d", got, want)
	}
	for _, d := range k.witness.declined {
		if d.Fate == simulate.Invalid && !strings.Contains(d.Words, "ended early") { // which a kill did
			t.Errorf("the simulator refused a request: %s", d.Words)
		}
	}
	store, err := lsm.Open(k.data(), lsm.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	arrived := map[string]map[string]bool{} // tokens by title
	for c := range taken {
		if arrived[c.title] == nil {
			arrived[c.title] = map[string]bool{}
		}
		arrived[c.title][c.token] = true
	}
	units := uint64(0)
	for _, s := range k.shots {
		units += k.verifyTask(store, s, arrived[s.title])
	}
	repeats := k.verifyRepeats(taken)
	totals := k.sim.Totals()
	t.Logf("%d kills, %d tasks, %d units, %d deliveries, %d repeats; %v", len(k.kills), len(k.shots), units, totals.Delivered, repeats, totals.Fates)
	if int64(len(taken)+repeats) != totals.Delivered {
		t.Errorf("%d messages and %d repeats are not the %d deliveries of the simulator", len(taken), repeats, totals.Delivered)
	}
}

// audience returns the phones that a push is for, and the accounts without a phone.
func (k *pushKiller) audience(s *shot) (phones map[*target]bool, without []string) {
	phones = map[*target]bool{}
	add := func(p *person) {
		for _, phone := range p.phones {
			phones[phone] = true
		}
		if len(p.phones) == 0 {
			without = append(without, p.user)
		}
	}
	switch {
	case s.accounts != nil:
		for _, account := range s.accounts {
			if p := k.users[account]; p != nil {
				add(p)
			} else {
				phones[k.devices[account]] = true
			}
		}
	case s.gold:
		for _, p := range k.people {
			if p.gold {
				add(p)
			}
		}
	default:
		add(&person{user: "administrator"}) // is an account too
		for _, p := range k.people {
			add(p)
		}
		for _, phone := range k.phones {
			phones[phone] = true
		}
	}
	return phones, without
}

// maxExplained bounds the devices of one task that are asked about.
const maxExplained = 700

// verifyTask compares the counts of a task, and what is known of each of its devices, with
// the tokens that the simulator took it for. It returns how many units the task has.
func (k *pushKiller) verifyTask(store *lsm.Store, s *shot, arrived map[string]bool) uint64 {
	t := k.t
	final := k.shown[len(k.kills)][s.title]
	counts := final.counts()
	phones, without := k.audience(s)
	if want := uint64(len(phones) + len(without)); final.Units != want || final.State != "done" && (s.life == 0 || final.State != "expired") {
		t.Errorf("%s %q is %s (%s) with %d units, want %d: %v", s.command, s.title, final.State, final.Reason, final.Units, want, counts)
	}
	expired, known := counts["expired"], 0
	var denied, bare, dead uint64
	list := make([]*target, 0, len(phones))
	for p := range phones {
		list = append(list, p)
		switch {
		case p.denied:
			denied++
		case p.token == "":
			bare++
		case p.dead:
			dead++
		}
		if arrived[p.token] {
			known++
		}
	}
	if known != len(arrived) {
		t.Errorf("%q arrived at %d tokens, of which %d are of its audience", s.title, len(arrived), known)
	}
	reached := uint64(len(phones)) - denied - bare - dead
	at := uint64(len(arrived))
	switch {
	case counts["no device"] != uint64(len(without)), counts["permission off"] != denied, counts["rejected"]+counts["stopped"]+counts["no certificate"] > 0,
		counts["no token"] < bare, counts["gone"] > dead,
		expired == 0 && counts["no token"]+counts["gone"] != bare+dead, expired == 0 && counts["accepted"]+counts["unknown"] != reached,
		s.life == 0 && expired > 0, counts["accepted"] > at, at > counts["accepted"]+counts["unknown"]+expired:
		t.Errorf("%q arrived at %d tokens and has %v; its audience has %d phones that can be reached, %d with dead tokens, %d without, %d that do not permit it, and %d accounts without a phone",
			s.title, at, counts, reached, dead, bare, denied, len(without))
	}
	slices.SortFunc(list, func(a, b *target) int { return strings.Compare(a.id, b.id) })
	k.r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	for _, p := range list[:min(len(list), maxExplained)] {
		k.verifyDevice(store, s, p, arrived[p.token])
	}
	return final.Units
}

// complain fails the test, with at most a few messages about devices.
func (k *pushKiller) complain(format string, args ...any) {
	if k.complaints++; k.complaints <= 10 {
		k.t.Errorf(format, args...)
	} else {
		k.t.Fail()
	}
}

// verifyDevice compares what is known of a device and a task with whether it arrived.
func (k *pushKiller) verifyDevice(store *lsm.Store, s *shot, p *target, arrived bool) {
	e, err := store.Tasks.Explain(context.Background(), killApp, s.answered, p.id)
	if err != nil {
		k.t.Fatal(err)
	}
	if !e.Chosen || len(e.Devices) != 1 {
		k.t.Errorf("%q at %s: chosen %t, %d devices", s.title, p.id, e.Chosen, len(e.Devices))
		return
	}
	d := &e.Devices[0]
	ok := (d.Sent || s.life > 0) && !d.Waiting // not sent: its task expired before its turn
	switch d.Outcome {
	case report.Accepted:
		ok = ok && arrived && !p.dead && !p.denied
	case report.Unknown:
		ok = ok && !p.dead && !p.denied && p.token != ""
	case report.Gone:
		ok = ok && !arrived && p.dead
	case report.NoToken:
		ok = ok && !arrived && (p.dead || p.token == "")
	case report.PermissionOff:
		ok = ok && !arrived && p.denied
	case report.Expired:
		ok = s.life > 0
	default:
		ok = false
	}
	if !ok {
		k.complain("%q (%s, %s) at %s, which has the token %q, denied %t, dead %t, arrived %t: sent %t, waiting %t, %s, %+v, %d tries, %d %s %s",
			s.title, s.command, s.answered, p.id, p.token, p.denied, p.dead, arrived, d.Sent, d.Waiting, d.Outcome, d.Choice, d.Tries, d.Status, d.Code, d.Words)
	}
}

// verifyRepeats returns how often a message was taken again. With each kill no more of a
// task can come again than was taken and not yet shown as accepted.
func (k *pushKiller) verifyRepeats(taken map[copyOf][]simulate.Delivery) (repeats int) {
	t := k.t
	// By kill and title: taken by then, and of that repeated after it.
	before := make([]map[string]int, len(k.kills))
	again := make([]map[string]int, len(k.kills))
	for i := range k.kills {
		before[i], again[i] = map[string]int{}, map[string]int{}
	}
	for c, list := range taken {
		for i, at := range k.kills {
			if list[0].Time.Before(at) {
				before[i][c.title]++
			}
		}
		for i := 1; i < len(list); i++ {
			repeats++
			n, _ := slices.BinarySearchFunc(k.kills, list[i-1].Time, time.Time.Compare) // the first kill after
			if n > 0 && (n == len(k.kills) || !k.kills[n].Before(list[i].Time)) {
				t.Errorf("%q was taken twice for %s without a kill between: %s and %s after the last kill", c.title, c.token, list[i-1].Time.Sub(k.kills[n-1]), list[i].Time.Sub(k.kills[n-1]))
				continue
			}
			again[n][c.title]++
		}
	}
	for n, titles := range again {
		sum := 0
		for title, repeated := range titles {
			sum += repeated
			shown := k.shown[n][title]
			if possible := before[n][title] - int(shown.counts()["accepted"]); repeated > possible {
				t.Errorf("kill %d: %d messages of %q came again; %d were taken by then, and %d shown as accepted", n, repeated, title, before[n][title], shown.counts()["accepted"])
			}
		}
		if sum > maxOpenUnits {
			t.Errorf("kill %d: %d messages came again, the open pages have at most %d", n, sum, maxOpenUnits)
		}
	}
	return repeats
}
