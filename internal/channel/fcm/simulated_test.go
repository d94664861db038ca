package fcm

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"tidings/internal/channel"
	"tidings/internal/simulate"
)

// simulated opens a sender for the simulator, which knows FCM's contract from the same
// paper and not from this package.
func simulated(t testing.TB, o simulate.Options, secure bool, options channel.Options) (*simulate.Simulator, *sender) {
	t.Helper()
	sim, err := simulate.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sim.Close() })
	base, roots := sim.URL(), (*x509.CertPool)(nil)
	if secure {
		base, roots = sim.TLSURL(), x509.NewCertPool()
		roots.AppendCertsFromPEM(sim.CA())
	}
	d, err := New(Options{BaseURL: base, TokenURL: sim.URL() + "/token", Roots: roots, Rate: -1})
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.Open(channel.Credential{Secret: sim.ServiceAccount(), Options: options}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return sim, s.(*sender)
}

// TestSimulatorTakesPayloads sends each payload of testdata.
func TestSimulatorTakesPayloads(t *testing.T) {
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) {
			_, s := simulated(t, simulate.Options{}, true, g.options)
			j, device := g.job()
			if r := results(t, s, j, []channel.Target{device})[0]; r.Outcome != channel.Accepted {
				t.Errorf("%+v", r)
			}
		})
	}
}

// TestSimulatorFates has tokens whose fate is in their name.
func TestSimulatorFates(t *testing.T) {
	want := map[string]channel.Outcome{
		"good": channel.Accepted, "gone": channel.Gone, "malformed": channel.Gone, "badtoken": channel.Gone, "sender": channel.Gone, "thirdparty": channel.Rejected,
		"device": channel.Throttled, "collapsible": channel.Throttled, "internal": channel.Retry, "unavailable": channel.Retry,
		"unspecified": channel.Rejected, "gateway": channel.Retry, "slow10": channel.Accepted, "reset": channel.Unknown, "lost": channel.Unknown,
	}
	_, s := simulated(t, simulate.Options{}, true, channel.Options{})
	var list []channel.Target
	for name := range want {
		device := target(len(list))
		device.Address = channel.Address(name + "-" + string(device.Address))
		list = append(list, device)
	}
	for i, r := range results(t, s, job(), list) {
		name, _, _ := strings.Cut(string(list[i].Address), "-")
		if r.Outcome != want[name] {
			t.Errorf("%s: %+v, want %s", name, r, want[name])
		}
	}
}

// TestSimulatorLosesConnections says GOAWAY again and again, and nothing is sent twice or lost.
func TestSimulatorLosesConnections(t *testing.T) {
	sim, s := simulated(t, simulate.Options{Behaviour: simulate.Behaviour{GoAway: 300, MinLatency: simulate.Duration(5 * time.Millisecond)}}, true, channel.Options{})
	for i, r := range results(t, s, job(), targets(1000)) {
		if r.Outcome != channel.Accepted {
			t.Errorf("target %d: %+v", i, r)
		}
	}
	if total := sim.Totals(); total.Delivered != 1000 || total.RepeatedIDs != 0 || total.GoAways == 0 {
		t.Errorf("%d delivered, %d twice, %d times GOAWAY", total.Delivered, total.RepeatedIDs, total.GoAways)
	}
}

func TestSimulatorRevokes(t *testing.T) {
	_, s := simulated(t, simulate.Options{Behaviour: simulate.Behaviour{RevokeAfter: 50}}, true, channel.Options{})
	passed := 0
	for i, r := range results(t, s, job(), targets(1000)) {
		switch r.Outcome {
		case channel.Accepted:
			passed++
		case channel.Unauthorized:
			if r.Words == "" {
				t.Errorf("target %d: no words", i)
			}
		default:
			t.Errorf("target %d: %+v", i, r)
		}
	}
	if passed < 50 || passed > 500 { // more than 50 were on their way
		t.Errorf("%d passed, want 50 and what was on its way", passed)
	}
	if h, err := s.Test(t.Context()); err != nil || h.OK {
		t.Errorf("test: %+v, %v", h, err)
	}
}
