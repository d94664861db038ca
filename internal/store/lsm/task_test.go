package lsm_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"testing"
	"time"

	"tidings/internal/app"
	"tidings/internal/channel"
	"tidings/internal/device"
	"tidings/internal/report"
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
