package lsm_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"tidings/internal/app"
	"tidings/internal/channel"
	"tidings/internal/device"
	"tidings/internal/report"
	"tidings/internal/store"
	"tidings/internal/store/faulty"
	"tidings/internal/store/lsm"
	"tidings/internal/store/storetest"
	"tidings/internal/task"
	"tidings/internal/testenv"
)

// pushApp is an app with certificates and without a gap.
func pushApp(id uint32) *app.App {
	a := storetest.NewApp(id)
	a.Certificates = []app.Certificate{{ID: 1, Version: 1, Provider: channel.FCM}, {ID: 2, Version: 1, Provider: channel.APNs}}
	a.NextCertificate = 2
	a.Settings.Push.Gap = new(time.Duration)
	return a
}

// addDevice registers a device with a token of a certificate; 0: without any.
func addDevice(t testing.TB, s *opened, id string, certificate int, user string) {
	t.Helper()
	d := device.Device{ID: id, Platform: "android", Language: "en", Permission: device.Allowed}
	if certificate != 0 {
		d.Tokens = []device.Token{{Certificate: certificate, Kind: channel.Alert, Address: channel.Address("token-of-" + id + fmt.Sprint(certificate))}}
	}
	if _, err := s.lsm.Devices.Register(t.Context(), appID, device.Proof{Admin: true}, d); err != nil {
		t.Fatal(err)
	}
	if user != "" {
		if err := s.lsm.Devices.Bind(t.Context(), appID, device.Proof{Admin: true}, id, user, true); err != nil {
			t.Fatal(err)
		}
	}
}

const appID = 1400000001

func newPush(random uint32, accounts ...string) *task.New {
	return &task.New{
		Command: "push", Caller: "administrator", Message: channel.Message{Title: "t", Desc: "d"}, Life: time.Hour, Random: random,
		Audience: task.Audience{Accounts: accounts},
	}
}

// carryOut sends what is left of a task: every device gets the outcome that of says.
func carryOut(t testing.TB, s *opened, ref task.Ref, of func(u *task.Unit) task.Verdict) (units []task.Unit) {
	t.Helper()
	ctx := context.Background()
	for range 1000 {
		lanes, err := s.lsm.Tasks.Lanes(ctx, ref)
		if err != nil {
			t.Fatal(err)
		}
		if len(lanes) == 0 {
			return units
		}
		for _, l := range lanes {
			for {
				p, _, err := s.lsm.Tasks.Open(ctx, ref, l, task.MaxPage)
				if err != nil {
					t.Fatal(err)
				}
				if p == nil {
					break
				}
				var verdicts []task.Verdict
				for i := range p.Units {
					v := task.Verdict{Outcome: p.Units[i].Decided}
					if v.Outcome == 0 {
						v = of(&p.Units[i])
					}
					verdicts = append(verdicts, v)
				}
				units = append(units, p.Units...)
				if _, err := s.lsm.Tasks.Close(ctx, p, verdicts); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	t.Fatal("the task does not end")
	return nil
}

func accepted(*task.Unit) task.Verdict {
	return task.Verdict{Outcome: report.Accepted, Status: 200, Took: 30 * time.Millisecond}
}

// TestTaskToEveryone: each device is sent to once, whether it is meant itself or through its
// user, and each receiver without one is counted.
func TestTaskToEveryone(t *testing.T) {
	db := database(t, lsm.Options{}, 0, nil)
	got0, err := db.Open()
	if err != nil {
		t.Fatal(err)
	}
	s := got0.(*opened)
	defer s.Close()
	ctx := t.Context()
	if err := s.SaveApp(ctx, pushApp(appID)); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		addDevice(t, s, fmt.Sprintf("device-%010d", i), i%3, fmt.Sprint("user", i/2))
	}
	var made []task.Ref
	if _, err := s.lsm.Tasks.Active(ctx, func(r task.Ref) { made = append(made, r) }); err != nil {
		t.Fatal(err)
	}
	receipt, err := s.lsm.Tasks.Create(ctx, appID, newPush(1))
	if err != nil || len(made) != 1 {
		t.Fatalf("Create: %v, %v, made %v", receipt, err, made)
	}
	if err := s.lsm.Tasks.Freeze(ctx, made[0]); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, u := range carryOut(t, s, made[0], accepted) {
		seen[u.Account]++
	}
	if len(seen) != 51 { // the devices, and the administrator
		t.Errorf("%d accounts were units, want 51", len(seen))
	}
	for account, n := range seen {
		if n != 1 {
			t.Errorf("%s was a unit %d times", account, n)
		}
	}
	got, err := s.lsm.Tasks.Task(ctx, appID, receipt.ID)
	if err != nil {
		t.Fatal(err)
	}
	c := got.Progress.Counts()
	if got.State != task.Done || c[report.Accepted] != 33 || c[report.NoToken] != 17 || c[report.NoDevice] != 1 || c.Sum() != 51 {
		t.Errorf("the task is %s with %v", got.State, c)
	}
	sound(t, s)
}

// TestPagesGivenBack: pages are closed while those before and after them are given back, as
// after a crash. What became of each device is found all the same, and none is in two pages.
func TestPagesGivenBack(t *testing.T) {
	db := database(t, lsm.Options{}, 0, nil)
	got0, err := db.Open()
	if err != nil {
		t.Fatal(err)
	}
	s := got0.(*opened)
	defer s.Close()
	ctx := t.Context()
	if err := s.SaveApp(ctx, pushApp(appID)); err != nil {
		t.Fatal(err)
	}
	const devices = 12
	for i := range devices {
		addDevice(t, s, fmt.Sprintf("device-%010d", i), 1, "")
	}
	var ref task.Ref
	if _, err := s.lsm.Tasks.Active(ctx, func(r task.Ref) { ref = r }); err != nil {
		t.Fatal(err)
	}
	receipt, err := s.lsm.Tasks.Create(ctx, appID, newPush(1))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.lsm.Tasks.Freeze(ctx, ref); err != nil {
		t.Fatal(err)
	}
	var pages []*task.Page
	for range 4 {
		p, _, err := s.lsm.Tasks.Open(ctx, ref, task.Lane{App: appID, Certificate: 1}, 3)
		if err != nil || p == nil || len(p.Units) != 3 {
			t.Fatalf("Open: %+v, %v", p, err)
		}
		pages = append(pages, p)
	}
	for i, p := range pages {
		if i%2 == 0 {
			s.lsm.Tasks.Abandon(p)
			continue
		}
		if _, err := s.lsm.Tasks.Close(ctx, p, []task.Verdict{accepted(nil), accepted(nil), accepted(nil)}); err != nil {
			t.Fatal(err)
		}
	}
	carryOut(t, s, ref, accepted)
	for i := range devices {
		id := fmt.Sprintf("device-%010d", i)
		e, err := s.lsm.Tasks.Explain(ctx, appID, receipt.ID, id)
		if err != nil || len(e.Devices) != 1 || !e.Devices[0].Sent || e.Devices[0].Outcome != report.Accepted || e.Devices[0].Tries != 1 {
			t.Errorf("%s: %+v, %v", id, e, err)
		}
	}
}

// TestModelTasks compares tasks with a model, on a disk that may lose power.
func TestModelTasks(t *testing.T) {
	for _, unsynced := range []int{0, 50} {
		t.Run(strconv.Itoa(unsynced)+"% unsynced", func(t *testing.T) {
			t.Parallel()
			seed := testenv.Seed(t)
			var o lsm.Options
			if unsynced > 0 {
				lsm.WithLargeAudiences(lsm.WithViews(&o, runtime.Gosched), 3)
			}
			db := database(t, o, unsynced, rand.New(rand.NewPCG(seed, 2)))
			var s *opened
			storetest.ModelTasks(t, storetest.TaskDatabase{
				Open: func() (*storetest.Stores, error) {
					got, err := db.Open()
					if err != nil {
						return nil, err
					}
					s = got.(*opened)
					return &storetest.Stores{Apps: s.lsm.Apps, Users: s.lsm.Users, Devices: s.lsm.Devices, Tasks: s.lsm.Tasks, Close: s.Close}, nil
				},
				Crash:   db.Crash,
				Inspect: func(t *testing.T) { sound(t, s) },
			}, seed, testenv.Rounds(1500))
		})
	}
}

// TestCheckCountsTasks: a check counts again what became of the units of a task.
func TestCheckCountsTasks(t *testing.T) {
	s := newTaskStore(t)
	addDevice(t, s.opened, "device-0000000001", 1, "ann")
	r := s.create(fresh("ann"), 0)
	got, err := s.lsm.Tasks.Task(t.Context(), appID, r.ID)
	if err != nil {
		t.Fatal(err)
	}
	carryOut(t, s.opened, got.Ref, accepted)
	sound(t, s.opened)
	s.lsm.SkewTask(t, got.Ref, 1)
	var found []string
	if err := s.check(t.Context(), func(f store.Finding) { found = append(found, f.Where+": "+f.What) }); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`task %d of app %d: has 1 units of certificate 1 that are "rejected", and records of 0`, got.Number, appID)
	if len(found) != 1 || found[0] != want {
		t.Errorf("the check found %q, want %q", found, want)
	}
}

// TestBatchOfOne: a push to one receiver is two commits, one that makes it and one that
// ends it.
func TestBatchOfOne(t *testing.T) {
	s := newTaskStore(t)
	addDevice(t, s.opened, "device-0000000001", 1, "ann")
	before := s.lsm.Position()
	r := s.create(fresh("ann"), 0)
	got, err := s.lsm.Tasks.Task(t.Context(), appID, r.ID)
	if err != nil {
		t.Fatal(err)
	}
	if units := carryOut(t, s.opened, got.Ref, accepted); len(units) != 1 {
		t.Fatalf("%d units", len(units))
	}
	if groups := s.lsm.Position() - before; groups != 2 {
		t.Errorf("the push took %d groups, want 2", groups)
	}
}

// TestRetiredToken: a dead token is taken from its device, unless the device has registered it
// anew since its page was opened.
func TestRetiredToken(t *testing.T) {
	s := newTaskStore(t)
	addDevice(t, s.opened, "device-0000000001", 1, "ann")
	r := s.create(fresh("ann"), 0)
	got, err := s.lsm.Tasks.Task(t.Context(), appID, r.ID)
	if err != nil {
		t.Fatal(err)
	}
	carryOut(t, s.opened, got.Ref, func(*task.Unit) task.Verdict {
		return task.Verdict{Outcome: report.Gone, Status: 404, Code: "UNREGISTERED", Words: "not found", Retire: true}
	})
	d, err := s.lsm.Devices.Device(t.Context(), appID, "device-0000000001")
	if err != nil || len(d.Tokens) != 0 {
		t.Errorf("the device has tokens %v, %v", d.Tokens, err)
	}
	retired, err := s.lsm.Devices.Retired(t.Context(), appID, "", r.ID, 10)
	if err != nil || len(retired) != 1 || retired[0].Reason != "not found" {
		t.Errorf("retired: %+v, %v", retired, err)
	}
	e, err := s.lsm.Tasks.Explain(t.Context(), appID, r.ID, "ann")
	if err != nil || len(e.Devices) != 1 {
		t.Fatalf("Explain: %+v, %v", e, err)
	}
	if trace := e.Devices[0]; trace.Outcome != report.Gone || trace.Status != 404 || trace.Code != "UNREGISTERED" || len(trace.Device.Tokens) != 1 {
		t.Errorf("the trace is %+v", trace)
	}
}

// TestPreview: a preview counts as the push does.
func TestPreview(t *testing.T) {
	s := newTaskStore(t)
	for i := range 30 {
		addDevice(t, s.opened, fmt.Sprintf("device-%010d", i), i%3, []string{"ann", "bob", ""}[i%3])
	}
	for _, a := range []task.Audience{
		{}, {Accounts: []string{"ann", "device-0000000000", "device-0000000001", "device-0000000002", "nobody"}},
	} {
		p, err := s.lsm.Tasks.Preview(t.Context(), appID, &a)
		if err != nil || len(p.Failures) != max(0, min(1, len(a.Accounts))) {
			t.Fatalf("Preview: %+v, %v", p, err)
		}
		n := fresh()
		n.Audience = a
		got, err := s.lsm.Tasks.Task(t.Context(), appID, s.create(n, 0).ID)
		if err == nil && got.State == task.Accepted {
			err = s.lsm.Tasks.Freeze(t.Context(), got.Ref)
		}
		if err != nil {
			t.Fatal(err)
		}
		carryOut(t, s.opened, got.Ref, accepted)
		if got, err = s.lsm.Tasks.Get(t.Context(), got.Ref); err != nil {
			t.Fatal(err)
		}
		want := map[int]uint64{}
		for _, l := range got.Progress.Lanes {
			if n := l.Counts.Sum() - l.Counts[report.NoDevice]; n > 0 {
				want[l.Certificate] = n
			}
		}
		counts := got.Progress.Counts()
		previewed := map[int]uint64{}
		for _, g := range p.Groups {
			previewed[g.Choice.Certificate] += g.Devices
		}
		if !maps.Equal(previewed, want) || p.NoDevice != counts[report.NoDevice] || p.Accounts != got.Frozen {
			t.Errorf("the preview is %+v, and the push came to %v of %d", p, got.Progress, got.Frozen)
		}
	}
}

// TestWorkers: many workers open and close pages of a task, give some back and are told to
// try some again, while devices change their user and their certificate: each device is
// accepted once at most, and nobody who stays is forgotten.
func TestWorkers(t *testing.T) {
	for name, small := range map[string]int{"gathered": 0, "looked for": 3} {
		t.Run(name, func(t *testing.T) { testWorkers(t, small) })
	}
}

func testWorkers(t *testing.T, small int) {
	s := newTaskStore(t)
	if small != 0 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s.db = database(t, *lsm.WithLargeAudiences(&lsm.Options{}, small), 0, nil)
		s.opened = nil
		s.reopen()
		if err := s.SaveApp(t.Context(), pushApp(appID)); err != nil {
			t.Fatal(err)
		}
	}
	const devices = 300
	name := func(i int) string { return fmt.Sprintf("device-%010d", i) }
	for i := range devices {
		addDevice(t, s.opened, name(i), 1+i%2, fmt.Sprint("user", i/3))
	}
	got, err := s.lsm.Tasks.Task(t.Context(), appID, s.create(fresh(), 0).ID)
	if err == nil {
		err = s.lsm.Tasks.Freeze(t.Context(), got.Ref)
	}
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	counts := map[string]int{}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		r := rand.New(rand.NewPCG(1, 1))
		for {
			select {
			case <-stop:
				return
			default:
			}
			i := r.IntN(devices)
			addDevice(t, s.opened, name(i), 1+r.IntN(2), "")
			if err := s.lsm.Devices.Bind(context.Background(), appID, device.Proof{Admin: true}, name(i), fmt.Sprint("user", r.IntN(100)), true); err != nil {
				t.Error(err)
				return
			}
		}
	})
	var workers sync.WaitGroup
	for w := range 8 {
		workers.Go(func() {
			r := rand.New(rand.NewPCG(2, uint64(w)))
			for {
				lanes, err := s.lsm.Tasks.Lanes(context.Background(), got.Ref)
				if err != nil {
					t.Error(err)
					return
				}
				if len(lanes) == 0 {
					return
				}
				p, _, err := s.lsm.Tasks.Open(context.Background(), got.Ref, lanes[r.IntN(len(lanes))], 1+r.IntN(10))
				if err != nil {
					t.Error(err)
					return
				}
				if p == nil {
					time.Sleep(time.Millisecond)
					continue
				}
				if r.IntN(4) == 0 {
					s.lsm.Tasks.Abandon(p)
					continue
				}
				var verdicts []task.Verdict
				for i := range p.Units {
					v := task.Verdict{Outcome: p.Units[i].Decided}
					switch {
					case v.Outcome != 0:
					case p.Units[i].Tries < 2 && r.IntN(4) == 0:
						v = task.Verdict{Again: time.Now().Add(time.Millisecond), Status: 503}
					default:
						v = task.Verdict{Outcome: report.Accepted}
						mu.Lock()
						counts[p.Units[i].Account]++
						mu.Unlock()
					}
					verdicts = append(verdicts, v)
				}
				if _, err := s.lsm.Tasks.Close(context.Background(), p, verdicts); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	workers.Wait()
	close(stop)
	wg.Wait()
	if t.Failed() {
		return
	}
	for account, n := range counts {
		if n != 1 {
			t.Errorf("%s was sent to %d times", account, n)
		}
	}
	done, err := s.lsm.Tasks.Get(context.Background(), got.Ref)
	if err != nil {
		t.Fatal(err)
	}
	sum := done.Progress.Counts()
	if done.State != task.Done || int(sum[report.Accepted]) != len(counts) || int(sum[report.Accepted]+sum[report.NoToken]) != devices {
		t.Errorf("the task is %s with %v, and %d devices were sent to", done.State, sum, len(counts))
	}
	sound(t, s.opened)
}

// TestRestorePauses: pushes that had not ended when the backup was made are paused in what a
// restore makes of it, and go on when they are resumed.
func TestRestorePauses(t *testing.T) {
	disk := faulty.NewDisk(t, dir)
	s := open(t, disk)
	defer s.Close()
	if err := s.SaveApp(t.Context(), pushApp(appID)); err != nil {
		t.Fatal(err)
	}
	addDevice(t, s, "restored-phone-1", 1, "ada")
	receipt, err := s.lsm.Tasks.Create(t.Context(), appID, newPush(1, "ada"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.lsm.Backup(t.Context(), path.Join(backupsDir, "one"), false, nil)
	if err != nil {
		t.Fatal(err)
	}
	fs := faulty.Copy(disk)
	restored, err := lsm.Restore(t.Context(), b.Dir, newDir, lsm.Options{FS: fs, Logger: quiet}, lsm.RestoreOptions{})
	if err != nil || restored.PausedTasks != 1 {
		t.Fatalf("Restore = %+v, %v, want one paused task", restored, err)
	}
	again, err := lsm.Open(newDir, lsm.Options{FS: fs, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	found, err := again.Tasks.Task(t.Context(), appID, receipt.ID)
	if err != nil || !found.Paused || found.State != task.Sending {
		t.Fatalf("the task is %+v, %v", found, err)
	}
	if err := again.Tasks.SetPaused(t.Context(), appID, receipt.ID, false); err != nil {
		t.Fatal(err)
	}
	if got := len(carryOut(t, &opened{lsm: again}, found.Ref, func(*task.Unit) task.Verdict { return task.Verdict{Outcome: report.Accepted} })); got != 1 {
		t.Errorf("resumed, it is sent to %d devices, want 1", got)
	}
}
