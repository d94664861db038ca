package server_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tidings/internal/admin"
	"tidings/internal/channel/credential"
	"tidings/internal/simulate"
)

// phones registers phones with tokens that begin with a prefix.
func (s *stage) phones(prefix string, n int) []*phone {
	s.t.Helper()
	var all []*phone
	for i := range n {
		all = append(all, s.install(fmt.Sprintf("%s-token-%04d", prefix, i), nil))
	}
	return all
}

// once wants that each phone was rung once.
func (s *stage) once(what string, phones []*phone) {
	s.t.Helper()
	for i, n := range s.rings(phones...) {
		if n != 1 {
			s.t.Errorf("%s: phone %d was rung %d times", what, i, n)
		}
	}
}

// TestProviderDown: while nobody answers at the provider's address messages wait, and a push
// whose life ends meanwhile expires; when it is there again the others arrive, once each.
func TestProviderDown(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := newStage(t, simulate.Options{Dir: dir})
	phones := s.phones("phone", 30)
	s.awaitEnd(s.push("before", nil)).is(t, "done", map[string]uint64{"accepted": 30, "no device": 1})
	address := strings.TrimPrefix(s.sim.URL(), "http://")
	s.witness.close()
	waits := s.push("waits", nil)
	now := s.batch("now or never", []string{phones[0].id}, fields{"LifeTime": 0})
	soon := s.batch("soon", []string{phones[1].id}, fields{"LifeTime": 2})
	for _, id := range []string{now, soon} { // the first try already is too late for another
		s.awaitEnd(id).is(t, "done", map[string]uint64{"expired": 1})
	}
	if p := s.task(waits); p.State != "sending" || p.Sent != 0 {
		t.Errorf("while the provider is down the push is %+v", p)
	}
	s.sim, s.witness = simulator(t, simulate.Options{Dir: dir, Listen: address})
	s.awaitEnd(waits).is(t, "done", map[string]uint64{"accepted": 30, "no device": 1})
	s.once("after the provider came back", phones)
}

// TestThrottling: a quota of the project holds up all that goes through the certificate, one of
// a device, or of its collapsible messages, that device alone. In the end each message was
// taken once.
func TestThrottling(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		fate string
		held bool
	}{{"throttle", true}, {"device", false}, {"collapsible", false}} {
		t.Run(test.fate, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, simulate.Options{Behaviour: simulate.Behaviour{RetryAfter: 1000 * ms}})
			limited, free := s.install(test.fate+"1-token-0001", nil), s.install("phone-token-free", nil)
			first := s.batch("limited", []string{limited.id}, nil)
			p := s.await(first, "answered once", func(p *pushTask) bool { return p.Retries > 0 })
			if held := len(p.Lanes) > 0 && p.Lanes[0].State == "throttled" && strings.Contains(p.Lanes[0].Reason, "429"); held != test.held {
				t.Errorf("after %s the lane is held: %t, want %t: %+v", test.fate, held, test.held, p)
			}
			got := s.trace(first, limited.id)
			if len(got.Devices) != 1 || got.Devices[0].Status != 429 || got.Devices[0].Words == "" || got.Devices[0].Tries != 1 || !strings.Contains(got.Sentence, got.Devices[0].Words) {
				t.Errorf("the trace of a throttled device is %+v", got)
			}
			second := s.batch("free", []string{free.id}, nil)
			end := s.awaitEnd(second)
			end.is(t, "done", map[string]uint64{"accepted": 1})
			if now := s.task(first); !test.held && now.State != "sending" {
				t.Errorf("the limited device did not wait: %+v", now)
			}
			s.awaitEnd(first).is(t, "done", map[string]uint64{"accepted": 1})
			s.once(test.fate, []*phone{limited, free})
			if totals := s.sim.Totals(); totals.Fates[test.fate] != 1 {
				t.Errorf("the simulator said %v, want %s once", totals.Fates, test.fate)
			}
		})
	}
}

// TestCredentialsRevoked: when the provider refuses the credentials in the middle of a push, the
// push is blocked and says why; with other credentials under the same certificate it goes on,
// and nothing is lost or comes twice.
func TestCredentialsRevoked(t *testing.T) {
	t.Parallel()
	for name, behaviour := range map[string]simulate.Behaviour{
		"401": {RevokeAfter: 150, MaxLatency: 5 * ms},
		"403": {ForbidAfter: 150, MaxLatency: 5 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, simulate.Options{})
			phones := s.phones("phone", 400)
			behave(t, s.sim, behaviour)
			id := s.push("in the middle", nil)
			p := s.await(id, "blocked", func(p *pushTask) bool { return p.State == "blocked" })
			if p.Reason == "" || len(p.Lanes) == 0 || !slices.ContainsFunc(p.Lanes, func(l lane) bool { return l.Certificate == 1 && l.State == "blocked" && l.Reason == p.Reason }) {
				t.Errorf("the blocked push is %+v", p)
			}
			if listed := s.tasks()["in the middle"]; len(listed) != 1 || listed[0].State != "blocked" || listed[0].Reason != p.Reason {
				t.Errorf("list_tasks shows %+v", listed)
			}
			if !strings.Contains(s.log.String(), "a push channel is blocked") {
				t.Errorf("the log does not say it:\n%.2000s", s.log)
			}
			if c := must(t, s, admin.ShowCertificate, admin.CertificateRequest{ID: stageApp, Certificate: 1}); c.State != admin.Blocked || c.Reason != p.Reason {
				t.Errorf("the certificate is shown as %+v", c)
			}
			waiting := slices.IndexFunc(phones, func(p *phone) bool { return s.sim.TokenCount(p.token) == 0 })
			if waiting < 0 {
				t.Fatal("every phone was rung")
			}
			if got := s.trace(id, phones[waiting].id); !strings.Contains(got.Sentence, "blocked") || got.Devices[0].Outcome != "" {
				t.Errorf("the trace of a phone that waits is %+v", got)
			}
			other, err := s.sim.AddServiceAccount("another-project")
			if err != nil {
				t.Fatal(err)
			}
			if c := must(t, s, admin.ReplaceCertificate, admin.ReplaceRequest{ID: stageApp, Certificate: 1, Secret: other}); c.ID != 1 || c.Version != 2 {
				t.Errorf("the certificate is %+v", c)
			}
			s.awaitEnd(id).is(t, "done", map[string]uint64{"accepted": 400, "no device": 1})
			s.once("with other credentials", phones)
		})
	}
}

// TestKeyLost: with another key of credentials the server starts, what would be sent is blocked
// with the reason, and entering the credential again mends it.
func TestKeyLost(t *testing.T) {
	t.Parallel()
	s := newStage(t, simulate.Options{})
	phones := s.phones("phone", 3)
	s.halt()
	file := filepath.Join(t.TempDir(), "another.key")
	if err := os.WriteFile(file, []byte(credential.NewText()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.vars["TIDINGS_CREDENTIALS_KEY_FILE"] = file
	s.start()
	id := s.push("key lost", nil)
	p := s.await(id, "blocked", func(p *pushTask) bool { return p.State == "blocked" })
	if !strings.Contains(p.Reason, "key") {
		t.Errorf("the push is blocked with %q", p.Reason)
	}
	if list := must(t, s, admin.ListCertificates, admin.AppRequest{ID: stageApp}); len(list) != 1 || list[0].State != admin.Unusable || list[0].Reason == "" {
		t.Errorf("the certificates are %+v", list)
	}
	must(t, s, admin.ReplaceCertificate, admin.ReplaceRequest{ID: stageApp, Certificate: 1, Secret: s.sim.ServiceAccount()})
	s.awaitEnd(id).is(t, "done", map[string]uint64{"accepted": 3, "no device": 1})
	s.once("with the credential entered again", phones)
}
