package load

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"tidings/internal/device"
	"tidings/internal/simulate"
)

func TestPhones(t *testing.T) {
	seen := map[string]Phone{}
	for p := range Phone(10_000) {
		token := p.Token()
		if other, known := seen[token]; known {
			t.Fatalf("phones %d and %d have one token", p, other)
		}
		seen[token] = p
		if before := string(p.AppendToken([]byte("before"))); before != "before"+token {
			t.Fatalf("phone %d has the token %s after other bytes, %s alone", p, before, token)
		}
		if len(token) != 163 || token[22] != ':' {
			t.Fatalf("phone %d has the token %s", p, token)
		}
		if err := device.CheckID(p.ID()); err != nil {
			t.Fatalf("phone %d: %v", p, err)
		}
	}
}

// phones is a server that phones register at.
type phones struct {
	t  *testing.T
	mu sync.Mutex
	is map[string]string // secrets by RegistrationID
}

func (s *phones) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var in struct{ RegistrationID string }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || r.URL.Query().Get("sdkappid") != "7" {
		s.t.Errorf("%s: %v", r.URL, err)
	}
	shown := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	id, refresh := strings.CutPrefix(r.URL.Path, "/v1/devices/")
	switch {
	case r.Method == http.MethodPut && refresh && s.is[id] != "" && s.is[id] == shown && in.RegistrationID == "":
		fmt.Fprint(w, `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}`)
	case r.Method == http.MethodPost && !refresh && shown == "the-app-key" && s.is[in.RegistrationID] == "":
		secret := "secret-of-" + in.RegistrationID
		s.is[in.RegistrationID] = secret
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"RegistrationID":%q,"DeviceSecret":%q}`, in.RegistrationID, secret)
	default:
		w.WriteHeader(http.StatusUnauthorized)
	}
}

func TestInstaller(t *testing.T) {
	s := &phones{t: t, is: map[string]string{}}
	server := httptest.NewServer(s)
	defer server.Close()
	client, err := Dial(t.Context(), Target{URL: server.URL}, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	in := Installer{App: 7, AppKey: "the-app-key", Certificate: 1, First: 100, Secrets: make([][]byte, 20)}
	for i, w := range []Workload{in.Register(), in.Register().From(20), in.Refresh(20)} {
		r, err := client.Run(t.Context(), w, Options{Duration: time.Minute, Requests: 20})
		if err != nil || r.Err() != nil || r.Requests != 20 {
			t.Errorf("run %d: %v, %v", i, r, err)
		}
	}
	if len(s.is) != 40 || s.is[Phone(139).ChosenID()] == "" {
		t.Errorf("%d phones are registered: %v", len(s.is), s.is)
	}
}

func TestPost(t *testing.T) {
	sim, err := simulate.Start(simulate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	post := Post{
		URL: sim.URL() + "/v1/projects/tidings-simulator/messages:send", Ready: sim.URL() + "/simulate/fates", Token: sim.AccessToken(),
		Body:  `{"message":{"token":"` + PostToken + `","notification":{"title":"t"},"data":{"tidings":"` + PostReport + `"}}}`,
		First: 10, Messages: 500, Connections: 3, InFlight: 20,
	}
	run := func(p Post) (done Posted, err error) {
		in, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := PostProcess(t.Context(), bytes.NewReader(in), &out); err != nil {
			return done, err
		}
		return done, json.Unmarshal(out.Bytes(), &done)
	}
	done, err := run(post)
	if err != nil || done.Seconds <= 0 {
		t.Fatalf("%v, %v", done, err)
	}
	total := sim.Totals()
	if total.Delivered != 500 || total.Tokens != 500 || total.IDs != 500 || sim.TokenCount(Phone(10).Token()) != 1 {
		t.Errorf("the simulator has %+v", total)
	}
	post.Token = "none"
	if _, err := run(post); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("with a wrong token: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := post.send(ctx); err == nil {
		t.Error("no error after the end of the context")
	}
}
