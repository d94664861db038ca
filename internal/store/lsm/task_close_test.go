package lsm_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"tidings/internal/channel"
	"tidings/internal/device"
	"tidings/internal/report"
	"tidings/internal/task"
)

// TestCloseAgain: the answer of a provider is kept with a page that could not be closed the
// first time.
func TestCloseAgain(t *testing.T) {
	s := newTaskStore(t)
	addDevice(t, s.opened, "device-0000000001", 1, "ann")
	r := s.create(fresh("ann", "bob"), 0)
	got, err := s.lsm.Tasks.Task(t.Context(), appID, r.ID)
	if err != nil {
		t.Fatal(err)
	}
	p, _, err := s.lsm.Tasks.Open(t.Context(), got.Ref, task.Lane{App: appID, Certificate: 1}, 10)
	if err != nil || p == nil {
		t.Fatalf("Open: %v, %v", p, err)
	}
	v := []task.Verdict{{Outcome: report.Rejected, Status: 400, Code: "BAD", Words: "bad message"}}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.lsm.Tasks.Close(over, p, v); !errors.Is(err, context.Canceled) {
		t.Fatalf("Close with a context that is over: %v", err)
	}
	if _, err := s.lsm.Tasks.Close(t.Context(), p, v); err != nil {
		t.Fatal(err)
	}
	e, err := s.lsm.Tasks.Explain(t.Context(), appID, r.ID, "ann")
	if err != nil || len(e.Devices) != 1 {
		t.Fatalf("Explain: %+v, %v", e, err)
	}
	if d := e.Devices[0]; d.Status != 400 || d.Code != "BAD" || d.Words != "bad message" {
		t.Errorf("the answer of the provider is %d, %q, %q", d.Status, d.Code, d.Words)
	}
}

// TestRetiredTokenOfLane: of a device that has one address with two certificates, the token
// is retired with which the push was sent.
func TestRetiredTokenOfLane(t *testing.T) {
	for certificate, provider := range []channel.Provider{1: channel.FCM, 2: channel.APNs} {
		if certificate == 0 {
			continue
		}
		for _, later := range []bool{false, true} { // the token is retired when its page is closed, or later
			s := newTaskStore(t)
			a := pushApp(appID)
			a.Settings.Push.Order = []channel.Provider{provider}
			if err := s.SaveApp(t.Context(), a); err != nil {
				t.Fatal(err)
			}
			d := device.Device{ID: "device-0000000001", Platform: "ios", Permission: device.Allowed, Tokens: []device.Token{
				{Certificate: 1, Kind: channel.Alert, Address: "address"}, {Certificate: 2, Kind: channel.Alert, Address: "address"},
			}}
			if _, err := s.lsm.Devices.Register(t.Context(), appID, device.Proof{Admin: true}, d); err != nil {
				t.Fatal(err)
			}
			got, err := s.lsm.Tasks.Task(t.Context(), appID, s.create(fresh(d.ID), 0).ID)
			if err != nil {
				t.Fatal(err)
			}
			carryOut(t, s.opened, got.Ref, func(*task.Unit) task.Verdict {
				return task.Verdict{Outcome: report.Gone, Status: 410, Retire: !later}
			})
			if later {
				if n, err := s.lsm.Tasks.RetireTokens(t.Context(), got.Ref, []task.Gone{{Account: d.ID, Certificate: certificate, Address: "address"}}); n != 1 || err != nil {
					t.Errorf("RetireTokens: %d, %v", n, err)
				}
			}
			left, err := s.lsm.Devices.Device(t.Context(), appID, d.ID)
			if err != nil || len(left.Tokens) != 1 || left.Tokens[0].Certificate == certificate {
				t.Errorf("the push was sent with certificate %d, later %t, and the device has left %v, %v", certificate, later, left.Tokens, err)
			}
		}
	}
}

// TestRetryWhilePageCloses: a device that waits for its next try is not forgotten while a
// page with another is on its way to the disk.
func TestRetryWhilePageCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g, got, p := heldTask(t)
		defer s.Close()
		g.Shut()
		c := &calls{t: t}
		c.start("close", func() error {
			_, err := s.lsm.Tasks.Close(context.Background(), p, []task.Verdict{accepted(nil)})
			return err
		})
		synctest.Wait()
		none, next, err := s.lsm.Tasks.Open(t.Context(), got.Ref, task.Lane{App: appID, Certificate: 1}, 10)
		if none != nil || err != nil || next.IsZero() {
			t.Errorf("Open: %v, the next try is at %v, %v", none, next, err)
		}
		c.finish(g, nil)
	})
}
