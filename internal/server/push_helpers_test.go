package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tidings/client"
	"tidings/internal/simulate"
	"tidings/internal/usersig"
)

// pushAppKey is the AppKey of the apps that push.
const pushAppKey = "an app key, which ships in the app"

// patience is how long a test waits for what has to come. A test that passes does not wait
// so long.
const patience = 2 * time.Minute

// A backend calls a server as the back end of an app does, and as its client apps do.
type backend struct {
	t   testing.TB
	url string
	app uint32
	key string // SecretKey
	*client.Client
	http *http.Client
}

func newBackend(t testing.TB, url string, app uint32, key string) *backend {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	b := &backend{t: t, url: url, app: app, key: key, http: &http.Client{Transport: transport, Timeout: patience}}
	var err error
	b.Client, err = client.New(url, app, key, client.WithHTTPClient(b.http), client.WithRetry(client.Retry{Attempts: 1}))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// must calls a command that succeeds.
func (b *backend) must(command string, in, out any) {
	b.t.Helper()
	if err := b.Call(context.Background(), command, in, out); err != nil {
		b.t.Fatalf("%s %v: %v", command, in, err)
	}
}

// refused calls a command that is refused with a code.
func (b *backend) refused(code int, command string, in any) {
	b.t.Helper()
	err := b.Call(context.Background(), command, in, nil)
	refused, ok := errors.AsType[*client.Error](err)
	if !ok || int(refused.Code) != code {
		b.t.Fatalf("%s %v: %v, want code %d", command, in, err, code)
	}
}

// fields is an object of JSON.
type fields map[string]any

// with returns an object with more members.
func (f fields) with(more fields) fields {
	all := fields{}
	for _, m := range []fields{f, more} {
		for k, v := range m {
			all[k] = v
		}
	}
	return all
}

// message is the body of a push to everyone that shows a title.
func message(title string) fields {
	return fields{
		"From_Account": "administrator", "MsgRandom": rand.Uint32(),
		"OfflinePushInfo": fields{"Title": title, "Desc": "text of " + title},
	}
}

// push pushes to everyone, and to less with more members, and returns the TaskId.
func (b *backend) push(title string, more fields) string {
	b.t.Helper()
	return b.send("timpush/push", message(title).with(more))
}

// batch pushes to accounts and returns the TaskId.
func (b *backend) batch(title string, accounts []string, more fields) string {
	b.t.Helper()
	return b.send("timpush/batch", message(title).with(fields{"To_Account": accounts}).with(more))
}

func (b *backend) send(command string, body fields) string {
	b.t.Helper()
	var out struct {
		TaskID string `json:"TaskId"`
	}
	b.must(command, body, &out)
	if out.TaskID == "" {
		b.t.Fatalf("%s %v: there is no TaskId", command, body)
	}
	return out.TaskID
}

// A pushTask is a task as get_task and list_tasks show it.
type pushTask struct {
	TaskID    string `json:"TaskId"`
	Title     string
	State     string
	Reason    string
	Units     uint64
	Total     uint64
	Sent      uint64
	Outcomes  []outcomeCount
	Lanes     []lane
	Receivers uint64
	Retries   int
}

type lane struct {
	Certificate int
	State       string
	Reason      string
	Alarm       string
	Outcomes    []outcomeCount
}

type outcomeCount struct {
	Outcome string
	Count   uint64
}

// counts returns how many units have each outcome.
func (p *pushTask) counts() map[string]uint64 {
	all := map[string]uint64{}
	for _, o := range p.Outcomes {
		all[o.Outcome] = o.Count
	}
	return all
}

// is compares the outcomes of a task with those wanted.
func (p *pushTask) is(t testing.TB, state string, want map[string]uint64) {
	t.Helper()
	if got := p.counts(); p.State != state || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("task %s (%s) is %s %s with %v, want %s with %v", p.TaskID, p.Title, p.State, p.Reason, got, state, want)
	}
}

func (b *backend) task(id string) *pushTask {
	b.t.Helper()
	var out pushTask
	b.must("tidings/get_task", fields{"TaskId": id}, &out)
	return &out
}

func ended(state string) bool {
	return slices.Contains([]string{"done", "stopped", "expired", "failed"}, state)
}

// await asks for a task until it is as wanted.
func (b *backend) await(id, what string, ok func(*pushTask) bool) *pushTask {
	b.t.Helper()
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) { // between two looks
		p := b.task(id)
		if ok(p) {
			return p
		}
		if time.Since(begun) > patience {
			b.t.Fatalf("task %s is not %s: %+v", id, what, p)
		}
	}
}

// awaitEnd waits until a task has ended.
func (b *backend) awaitEnd(id string) *pushTask {
	b.t.Helper()
	return b.await(id, "ended", func(p *pushTask) bool { return ended(p.State) })
}

// tasks returns all tasks, by the title of their message.
func (b *backend) tasks() map[string][]pushTask {
	b.t.Helper()
	all := map[string][]pushTask{}
	for next := ""; ; {
		var out struct {
			Tasks []pushTask
			Next  string
		}
		b.must("tidings/list_tasks", fields{"Limit": 100, "Next": next}, &out)
		for _, p := range out.Tasks {
			all[p.Title] = append(all[p.Title], p)
		}
		if next = out.Next; next == "" {
			return all
		}
	}
}

// A trace is the answer of explain_delivery.
type trace struct {
	Sentence, Advice string
	Matched          bool
	State            string
	Devices          []struct {
		RegistrationID string
		Outcome        string
		Token          string
		Tries          int
		Status         int
		Code, Words    string
		Arrived        int64
		Clicked        int64
		Steps          []struct{ Step, State, Text string }
	}
}

func (b *backend) trace(id, account string) (out trace) {
	b.t.Helper()
	b.must("tidings/explain_delivery", fields{"TaskId": id, "To_Account": account}, &out)
	return out
}

func (b *backend) ticket(user string) string {
	return usersig.Make(b.key, b.app, user, time.Now().Add(-time.Minute), time.Hour, nil)
}

// A phone is an installation of the app.
type phone struct {
	b                       *backend
	id, secret, token, user string
}

// answerTo is the answer to a client app.
type answerTo struct {
	Status         int `json:"-"`
	Raw            string
	ErrorCode      int
	ErrorInfo      string
	RegistrationID string
	DeviceSecret   string
}

// v1 calls a route of client apps.
func (b *backend) v1(method, path, authorization string, in any) (answerTo, error) {
	body := ""
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return answerTo{}, err
		}
		body = string(text)
	}
	r, err := http.NewRequest(method, fmt.Sprintf("%s/v1/devices%s?sdkappid=%d", b.url, path, b.app), strings.NewReader(body))
	if err != nil {
		return answerTo{}, err
	}
	r.Header.Set("Authorization", authorization)
	resp, err := b.http.Do(r)
	if err != nil {
		return answerTo{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return answerTo{}, err
	}
	a := answerTo{Status: resp.StatusCode, Raw: string(text)}
	if err := json.Unmarshal(text, &a); err != nil {
		return a, fmt.Errorf("%d: %q: %w", resp.StatusCode, text, err)
	}
	return a, nil
}

// as calls with an Authorization and wants a status.
func (b *backend) as(authorization, method, path string, in any, status int) answerTo {
	b.t.Helper()
	a, err := b.v1(method, path, authorization, in)
	if err != nil || a.Status != status {
		b.t.Fatalf("%s /v1/devices%s: %d %s, %v, want %d", method, path, a.Status, a.Raw, err, status)
	}
	return a
}

// installation is what an Android phone with a token says of itself; token "" is none.
func installation(certificate int, token string) fields {
	f := fields{"Platform": "android", "Model": "Pixel 9", "Language": "en", "Permission": "allowed"}
	if token != "" {
		f["Tokens"] = []fields{{"Certificate": certificate, "Token": token}}
	}
	return f
}

// install registers a phone with a token of certificate 1.
func (b *backend) install(token string, more fields) *phone {
	b.t.Helper()
	a := b.as("Bearer "+pushAppKey, "POST", "", installation(1, token).with(more), http.StatusCreated)
	return &phone{b: b, id: a.RegistrationID, secret: a.DeviceSecret, token: token}
}

// call calls for a phone with its secret.
func (p *phone) call(method, what string, in any, status int) answerTo {
	p.b.t.Helper()
	return p.b.as("Bearer "+p.secret, method, "/"+p.id+what, in, status)
}

// login binds a phone to a user.
func (p *phone) login(user string) *phone {
	p.b.t.Helper()
	p.call("PUT", "/user", fields{"UserID": user, "UserSig": p.b.ticket(user)}, http.StatusOK)
	p.user = user
	return p
}

// A witness hears all that a simulator took and refused.
type witness struct {
	mu       sync.Mutex
	taken    []simulate.Delivery
	declined []simulate.Refusal
	close    func() // ends the simulator
}

// simulator starts a simulator that a witness hears.
func simulator(t testing.TB, o simulate.Options) (*simulate.Simulator, *witness) {
	t.Helper()
	w := &witness{}
	o.Delivered = func(d simulate.Delivery) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.taken = append(w.taken, d)
	}
	o.Refused = func(r simulate.Refusal) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.declined = append(w.declined, r)
	}
	sim, err := simulate.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	w.close = sync.OnceFunc(func() { _ = sim.Close() })
	t.Cleanup(w.close)
	return sim, w
}

// tokenURI returns where a simulator issues access tokens.
func tokenURI(t testing.TB, sim *simulate.Simulator) string {
	t.Helper()
	var account struct {
		TokenURI string `json:"token_uri"`
	}
	if err := json.Unmarshal(sim.ServiceAccount(), &account); err != nil {
		t.Fatal(err)
	}
	return account.TokenURI
}

// behave replaces the behaviour of a simulator.
func behave(t testing.TB, sim *simulate.Simulator, b simulate.Behaviour) {
	t.Helper()
	if err := sim.SetBehaviour(b); err != nil {
		t.Fatal(err)
	}
}
