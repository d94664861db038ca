package server_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"tidings/client"
	"tidings/internal/admin"
	"tidings/internal/channel"
	"tidings/internal/control"
	"tidings/internal/simulate"
	"tidings/internal/testenv"
)

// The people of a push killer.
const (
	pushUsers     = 600
	pushAnonymous = 400 // phones that nobody logged in on
	maxBatch      = 500 // accounts (spec/timpush-api.md, 7)
)

// TestKillPush kills the real server at random moments while it pushes through a provider
// that throttles, loses answers, resets, hangs and goes away. Each push that was answered ends, and each
// device of its audience has one outcome; whatever is called accepted was taken by the
// provider; the provider gets a message twice only if the page of it was open at a kill, or
// its answer was lost, and then with the same id.
//
// TIDINGS_TEST_ROUNDS multiplies the rounds, and TIDINGS_TEST_SEED repeats what is random in
// the test. At which moment of the server a kill comes is not repeated by it.
func TestKillPush(t *testing.T) {
	t.Parallel()
	rounds := killRounds(t, 20)
	seed := testenv.Seed(t)
	t.Logf("TIDINGS_TEST_SEED=%d", seed)
	k := newPushKiller(t, seed)
	for i := range rounds {
		k.round(i)
		if t.Failed() {
			t.FailNow()
		}
	}
	k.settle()
	k.verify()
}

// A pushKiller kills a server that pushes, and knows what was asked of it.
type pushKiller struct {
	*killer
	sim     *simulate.Simulator
	witness *witness
	phones  []*target
	people  []*person
	devices map[string]*target // by RegistrationID
	users   map[string]*person

	shots  []*shot
	kills  []time.Time           // when all that the killed server did was over
	shown  []map[string]pushTask // of each kill: the tasks as they were shown last, by title
	backer *backend

	complaints int
}

// A person is a user with phones.
type person struct {
	user   string
	gold   bool
	phones []*target
}

// A target is a phone that a push is for.
type target struct {
	id, token string
	denied    bool // notifications are not permitted
	dead      bool // the provider says that the token is dead
}

// A shot is a push that was asked for.
type shot struct {
	title    string
	command  string
	body     fields
	accounts []string // of a batch
	gold     bool     // only people with gold
	life     int      // 0: as the app says
	answered string   // TaskId
}

func newPushKiller(t *testing.T, seed uint64) *pushKiller {
	k := &pushKiller{devices: map[string]*target{}, users: map[string]*person{}}
	k.sim, k.witness = simulator(t, simulate.Options{Seed: seed})
	k.killer = newKiller(t, fmt.Sprintf("fcm_url: %s\nfcm_token_url: %s\nfcm_ramp: false\nfcm_rate: 0\nfcm_timeout: 10s\ncheckpoint_log: 1MiB\n", k.sim.URL(), tokenURI(t, k.sim)))
	k.r = rand.New(rand.NewPCG(seed, 0))
	file, err := os.OpenFile(filepath.Join(k.dir, "tidings.yaml"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := fmt.Fprintf(file, "    app_keys: [%q]\n    push_gap: 0s\n    registration_rate: 0\n    registration_source_rate: 0\n", pushAppKey); err != nil {
		t.Fatal(err)
	}
	cmd, url := k.start()
	k.backer = newBackend(t, url, killApp, killSecret)
	c, err := control.Dial(t.Context(), k.data())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := admin.AddCertificate.Do(t.Context(), c, admin.NewCertificateRequest{ID: killApp, Provider: channel.FCM, Secret: k.sim.ServiceAccount()}); err != nil {
		t.Fatal(err)
	}
	k.populate()
	kill(t, cmd)
	_ = cmd.Wait()
	return k
}

// populate makes people and phones, of every sort.
func (k *pushKiller) populate() {
	for i := range pushUsers {
		p := &person{user: fmt.Sprintf("user-%04d", i), gold: i%3 == 0}
		k.people, k.users[p.user] = append(k.people, p), p
		for range [...]int{1, 0, 1, 2, 1, 1, 3, 1, 1, 1}[i%10] {
			p.phones = append(p.phones, k.newTarget())
		}
	}
	for range pushAnonymous {
		k.newTarget()
	}
	ctx := context.Background()
	for i := 0; i < pushUsers; i += 100 {
		var accounts []client.Account
		var attrs []client.UserAttrs
		for _, p := range k.people[i : i+100] {
			accounts = append(accounts, client.Account{UserID: p.user})
			plan := "free"
			if p.gold {
				plan = "gold"
			}
			attrs = append(attrs, client.UserAttrs{Account: p.user, Attrs: map[string]string{"attr0": plan}})
		}
		if err := errors.Join(k.backer.ImportAccounts(ctx, accounts), k.backer.SetAttrs(ctx, attrs)); err != nil {
			k.t.Fatal(err)
		}
	}
	owners := map[*target]string{}
	for _, p := range k.people {
		for _, phone := range p.phones {
			owners[phone] = p.user
		}
	}
	work := make(chan *target)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for phone := range work {
				k.register(phone, owners[phone])
			}
		})
	}
	for _, phone := range k.phones {
		work <- phone
	}
	close(work)
	wg.Wait()
	if k.t.Failed() {
		k.t.FailNow()
	}
}

// newTarget makes a phone: one in eight does not permit notifications, one in nine has no
// token, one in thirty a dead one.
func (k *pushKiller) newTarget() *target {
	n := len(k.phones)
	p := &target{id: fmt.Sprintf("registration-of-a-phone-%012d", n), token: fmt.Sprintf("phone-token-of-%06d", n)}
	switch {
	case n%9 == 4:
		p.token = ""
	case n%30 == 7:
		p.token, p.dead = fmt.Sprintf("gone-token-of-%06d", n), true
	case n%8 == 3:
		p.denied = true
	}
	k.phones, k.devices[p.id] = append(k.phones, p), p
	return p
}

// register registers a phone, and binds it to its owner.
func (k *pushKiller) register(p *target, owner string) {
	in := installation(1, p.token).with(fields{"RegistrationID": p.id})
	if p.denied {
		in["Permission"] = "denied"
	}
	a, err := k.backer.v1("POST", "", "Bearer "+pushAppKey, in)
	if err == nil && a.Status == http.StatusCreated && owner != "" {
		a, err = k.backer.v1("PUT", "/"+p.id+"/user", "Bearer "+a.DeviceSecret, fields{"UserID": owner, "UserSig": k.backer.ticket(owner)})
	}
	if err != nil || a.Status >= 300 {
		k.t.Errorf("registration of %s: %d %s, %v", p.id, a.Status, a.ErrorInfo, err)
	}
}

const ms = simulate.Duration(time.Millisecond)

// moods are how the provider behaves in a round.
var moods = []struct {
	name string
	simulate.Behaviour
}{
	{"calm", simulate.Behaviour{}},
	{"slow", simulate.Behaviour{MinLatency: 5 * ms, MaxLatency: 60 * ms}},
	{"losing answers", simulate.Behaviour{MaxLatency: 20 * ms, Share: map[string]float64{"lost": 0.02, "reset": 0.02, "internal": 0.02, "hang": 0.001}}},
	{"throttling", simulate.Behaviour{Rate: 900, RetryAfter: 1000 * ms}},
	{"throttling devices", simulate.Behaviour{RetryAfter: 1000 * ms, Share: map[string]float64{"device": 0.02, "collapsible": 0.02, "unavailable": 0.001}}},
	{"going away", simulate.Behaviour{MinLatency: 1 * ms, MaxLatency: 10 * ms, GoAway: 60}},
	{"breaking connections", simulate.Behaviour{MinLatency: 1 * ms, MaxLatency: 10 * ms, GoAway: 150, Abrupt: true}},
	{"refusing streams", simulate.Behaviour{MaxLatency: 10 * ms, Refuse: 7}},
	{"stalled", simulate.Behaviour{Stalled: true}},
}

// round serves, pushes and kills.
func (k *pushKiller) round(n int) {
	t := k.t
	mood := moods[n%len(moods)]
	behave(t, k.sim, mood.Behaviour)
	cmd, url := k.start()
	k.backer = newBackend(t, url, killApp, killSecret)
	moment := 50*time.Millisecond + time.Duration(k.r.IntN(600))*time.Millisecond // any moment will do
	var shown map[string]pushTask
	var wg sync.WaitGroup
	wg.Go(func() { k.ask() })
	wg.Go(func() { shown = k.look() })
	time.Sleep(moment)
	kill(t, cmd)
	wg.Wait()
	_ = cmd.Wait()
	behave(t, k.sim, simulate.Behaviour{})
	k.quiet()
	k.check()
	k.kills, k.shown = append(k.kills, time.Now()), append(k.shown, shown)
}

// quiet waits until the simulator does nothing more of what a killed server asked for.
func (k *pushKiller) quiet() {
	for before := int64(-1); before != k.sim.Delivered(); time.Sleep(10 * time.Millisecond) { // between two looks
		before = k.sim.Delivered()
	}
}

// ask repeats the pushes that were not answered, and asks for a few more, until the server is gone.
func (k *pushKiller) ask() {
	var open []*shot
	for _, s := range k.shots {
		if s.answered == "" {
			open = append(open, s)
		}
	}
	for range 1 + k.r.IntN(5) {
		s := k.aim(len(k.shots))
		k.shots, open = append(k.shots, s), append(open, s)
	}
	for _, s := range open {
		if !k.shoot(s) {
			return
		}
	}
}

// shoot asks for a push, and reports whether that was answered.
func (k *pushKiller) shoot(s *shot) bool {
	var out struct {
		TaskID string `json:"TaskId"`
	}
	err := k.backer.Call(context.Background(), s.command, s.body, &out)
	if refused, ok := errors.AsType[*client.Error](err); ok {
		k.t.Errorf("%s %q: %v", s.command, s.title, refused)
	}
	if err != nil {
		return false
	}
	s.answered = out.TaskID
	return true
}

// aim returns a new push: to everyone, to some, or to a list of accounts of both kinds.
func (k *pushKiller) aim(n int) *shot {
	s := &shot{title: fmt.Sprintf("push %d", n), command: "timpush/push"}
	s.body = message(s.title).with(fields{"IdempotencyKey": s.title, "MsgRandom": n})
	switch r := k.r.IntN(8); {
	case r == 0: // everyone
	case r < 3:
		s.gold = true
		s.body["Where"] = `attr0 == "gold"`
	default:
		s.command = "timpush/batch"
		size := 1
		if r > 3 {
			size = 1 + k.r.IntN(maxBatch)
		}
		for _, i := range k.r.Perm(len(k.people) + len(k.phones))[:size] {
			if i < len(k.people) {
				s.accounts = append(s.accounts, k.people[i].user)
			} else {
				s.accounts = append(s.accounts, k.phones[i-len(k.people)].id)
			}
		}
		s.body["To_Account"] = s.accounts
	}
	if k.r.IntN(10) == 0 {
		s.life = 5
		s.body["LifeTime"] = s.life
	}
	return s
}

// look reads the tasks until the server is gone, and returns them as they were shown last.
func (k *pushKiller) look() map[string]pushTask {
	shown := map[string]pushTask{}
	for {
		var out struct{ Tasks []pushTask }
		if err := k.backer.Call(context.Background(), "tidings/list_tasks", fields{"Limit": 20}, &out); err != nil {
			return shown
		}
		for _, p := range out.Tasks {
			shown[p.Title] = p
		}
		time.Sleep(5 * time.Millisecond) // between two looks
	}
}
