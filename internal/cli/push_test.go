package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// An apiStub answers commands in turn, the last answer of a command for good, and remembers
// the bodies. What it answers are answers of the API's golden packets.
type apiStub struct {
	mu      sync.Mutex
	answers map[string][]string // by command, without the envelope
	calls   []string            // "push {...}"
}

func (s *apiStub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	_, command, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v4/"), "/")
	s.mu.Lock()
	defer s.mu.Unlock()
	var m map[string]any
	_ = json.Unmarshal(body, &m)
	if _, ok := m["IdempotencyKey"]; ok && len(fmt.Sprint(m["IdempotencyKey"])) == 32 {
		m["IdempotencyKey"] = "KEY"
	}
	delete(m, "MsgRandom")
	text, _ := json.Marshal(m)
	s.calls = append(s.calls, command+" "+string(text))
	list := s.answers[command]
	if len(list) == 0 {
		_, _ = io.WriteString(w, `{"ActionStatus":"FAIL","ErrorInfo":"no such service or command","ErrorCode":60009}`)
		return
	}
	if len(list) > 1 {
		s.answers[command] = list[1:]
	}
	if strings.HasPrefix(list[0], "FAIL ") {
		var code int
		var info string
		_, _ = fmt.Sscanf(list[0], "FAIL %d %q", &code, &info)
		_, _ = fmt.Fprintf(w, `{"ActionStatus":"FAIL","ErrorInfo":%q,"ErrorCode":%d}`, info, code)
		return
	}
	_, _ = io.WriteString(w, `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,`+list[0]+`}`)
}

// seen returns the calls so far.
func (s *apiStub) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

const (
	sendingTask = `"TaskId":"t-1","Command":"push","Caller":"administrator","From_Account":"administrator","Title":"Gold week","Desc":"Two for one.","Where":"plan == \"gold\"","State":"sending","Accepted":1795348800,"Ends":1795435200,"Begun":1795348801,"Ended":0,"Receivers":1500,"Units":10,"Total":9,"Sent":9,"Outcomes":[{"Outcome":"accepted","Meaning":"the provider took it","Count":9},{"Outcome":"no device","Meaning":"the receiver has no device","Count":1}],"Lanes":[{"Certificate":1,"Provider":"fcm","Outcomes":[],"State":"throttled","Reason":"429 QUOTA_EXCEEDED","Since":1795348801,"Pace":10}],"Retries":3,"Rate":90,"Done":1795348820`
	goneTask    = `"TaskId":"t-1","Command":"push","Caller":"administrator","From_Account":"administrator","Title":"Gold week","State":"done","Accepted":1795348800,"Ends":1795435200,"Begun":1795348801,"Ended":1795348830,"Receivers":1500,"Units":1510,"Total":1500,"Sent":1480,"Outcomes":[{"Outcome":"accepted","Meaning":"the provider took it","Count":1470},{"Outcome":"gone","Meaning":"the provider says that the token is dead","Count":10},{"Outcome":"permission off","Meaning":"the person does not permit notifications","Count":20},{"Outcome":"no device","Meaning":"the receiver has no device","Count":10}],"Lanes":[],"Retries":0,"Rate":0,"Done":0`
	nothingTask = `"TaskId":"t-2","Command":"push","Caller":"administrator","From_Account":"administrator","State":"done","Reason":"PushFlag is 1: nothing is sent through vendors","Accepted":1795348800,"Ends":1795435200,"Begun":0,"Ended":1795348800,"Receivers":0,"Units":0,"Total":0,"Sent":0,"Outcomes":[]`
	stoppedTask = `"TaskId":"t-1","State":"stopped","Reason":"stopped by administrator","Accepted":1795348800,"Ended":1795348830,"Units":10,"Total":9,"Sent":9,"Outcomes":[]`
	ghosts      = `"TaskId":"batch_1","ErrorList":[{"To_Account":"ghost","ErrorCode":70107,"ErrorInfo":"account does not exist"}]`
)

// pushSession is what is done at the stub.
const pushSession = `
push --app 9
push --app 9 --all
push --app 9 --all --to Mary --title T
push --app 9 --where = --title T
push --app 9 --where x --title T --wait --no-wait
push --app 9 --to , --title T
push --app 9 --to Mary --plan p --title T
push --app 9 --all --title T --lifetime 1.5s
push --app 9 --condition {"TagAnd":[]} --title T
push --app 9 --all --message-file BAD
push --app 9 --all --title T --no-wait
push --app 9 --where plan=="gold" --title Gold --desc Two --ext {} --data-id d --lifetime 2d --android-channel c --image https://x/y.png --priority high --from ops --key k --plan p
push --app 9 --where plan=="gold" --title Gold --json
push --app 9 --condition {"TagsAnd":["beta"]} --title Gold --no-wait --json
push --app 9 --to Mary,ghost,Mary --title T
push --app 9 --to-file - --message-file MESSAGE --title T --no-wait < Mary
push --app 9 --all --title T --dry-run
push --app 9 --to Mary --title T --dry-run --json
task list --app 9 --limit 1
task list --app 9 --limit -1
task list --app 9 --state sending,done --data-id d --json
task show --app 9 t-1
task watch --app 9 t-2
task pause --app 9 t-1
task resume --app 9 t-1
task stop --app 9 t-1 --json
task stop --app 9
trace --app 9 Mary
trace --app 9 --task t-1 Mary --json
trace --app 9
`

func TestPush(t *testing.T) {
	stub := &apiStub{answers: map[string][]string{
		"push":             {`"TaskId":"t-1"`},
		"batch":            {ghosts},
		"get_task":         {sendingTask, goneTask, sendingTask, stoppedTask, goneTask, sendingTask, nothingTask},
		"list_tasks":       {`"Tasks":[{` + sendingTask + `},{` + goneTask + `}]`},
		"pause_task":       {`"TaskId":"t-1","State":"paused","Units":10`},
		"resume_task":      {`"TaskId":"t-1","State":"sending","Units":1`},
		"stop_task":        {stoppedTask},
		"preview_push":     {stubPreview, stubPreview},
		"explain_delivery": {`"Sentence":"\"Mary\", Pixel 9: the person does not permit notifications.","Advice":"Only the person can change that, in the settings of the device.","Matched":true,"State":"done","Devices":[{"RegistrationID":"device-1","Tries":0,"At":0,"Took":0,"Next":0,"Arrived":0,"Clicked":0,"Steps":[{"Step":"matched","State":"yes","Text":"the account was in the audience"},{"Step":"permission","State":"no","Text":"the person does not permit notifications"}],"Advice":"Only the person can change that, in the settings of the device."}]`},
	}}
	server := httptest.NewServer(stub)
	defer server.Close()
	key := write(t, "key", "secret key of the app")
	files := map[string]string{
		"MESSAGE": write(t, "message.json", `{"Title":"from the file","Desc":"D","ApnsInfo":{"Sound":"gong.caf"}}`),
		"BAD":     write(t, "bad.json", `{"Titel":"x"}`),
	}
	var transcript strings.Builder
	for line := range strings.Lines(strings.TrimSpace(pushSession)) {
		line = strings.TrimSpace(line)
		command, stdin, _ := strings.Cut(line, " < ")
		args := append(strings.Fields(command), "--url", server.URL, "--secret-key-file", key)
		for i, a := range args {
			if file := files[a]; file != "" {
				args[i] = file
			}
			if a == "=" {
				args[i] = ""
			}
		}
		stub.calls = nil
		r := shell{}.run(t.Context(), stdin, args...)
		fmt.Fprintf(&transcript, "$ tidings %s\n", line)
		for _, c := range stub.seen() {
			fmt.Fprintf(&transcript, "> %s\n", c)
		}
		text := r.stdout
		for l := range strings.Lines(r.stderr) {
			text += "! " + l
		}
		if r.code != 0 {
			text += fmt.Sprintf("exit code %d\n", r.code)
		}
		transcript.WriteString(text + "\n")
	}
	golden(t, "push.txt", strings.NewReplacer(server.URL, "URL", filepath.Dir(files["BAD"])+string(os.PathSeparator), "").Replace(transcript.String()))
}

const stubPreview = `"PlanId":"plan_x","PlanEnds":1795349400,"Accounts":1500,"Devices":1100,"NoDevice":7,"Groups":[{"Provider":"fcm","Certificate":1,"Kind":"alert","Language":"de","Platform":"android","Devices":1000,"Sample":"device-1","Payload":{"Body":{"token":"x"},"Bytes":59,"Limit":4096,"Cuts":["Title"]}},{"Provider":"fcm","Certificate":2,"Kind":"alert","Language":"","Platform":"android","Devices":100,"Problem":"the message takes 5000 bytes, FCM takes 4096"}],"LeftOut":[{"Reason":"permission off","Why":"the person does not permit notifications","Language":"de","Platform":"ios","Devices":30}],"More":2,"Quota":{"Next":0,"Left":1,"Anew":1795392000,"Pending":0,"Limit":1000},"First":1795348800,"Last":1795348811,"Pace":100,"ErrorList":[{"To_Account":"ghost","ErrorCode":70107,"ErrorInfo":"account does not exist"}]`

// TestPushToMany: more accounts than a batch may have become several tasks, and keys of their
// own keep them apart.
func TestPushToMany(t *testing.T) {
	stub := &apiStub{answers: map[string][]string{"batch": {`"TaskId":"b-1"`, `"TaskId":"b-2"`, `FAIL 90045 "off"`}}}
	server := httptest.NewServer(stub)
	defer server.Close()
	key := write(t, "key", "secret key of the app")
	var accounts strings.Builder
	for i := range 1100 {
		fmt.Fprintf(&accounts, "u%d\n\n", i)
	}
	r := tidings(t, "push", "--app", "9", "--to-file", write(t, "to", accounts.String()), "--title", "T", "--key", "k", "--no-wait", "--url", server.URL, "--secret-key-file", key)
	if r.code != 1 || r.stdout != "b-1\nb-2\n" || !strings.Contains(r.stderr, "timpush/batch: error 90045: off") {
		t.Errorf("%+v", r)
	}
	stub.answers["batch"] = []string{`"TaskId":"b-1"`, `FAIL 90045 "off"`}
	asJSON := tidings(t, "push", "--app", "9", "--to-file", write(t, "to", accounts.String()), "--title", "T", "--json", "--url", server.URL, "--secret-key-file", key)
	if asJSON.code != 1 || !strings.Contains(asJSON.stdout, `"b-1"`) {
		t.Errorf("the task that was made is not named: %+v", asJSON)
	}
	calls := stub.seen()
	for i, want := range []string{`"IdempotencyKey":"k"`, `"IdempotencyKey":"k-1"`, `"IdempotencyKey":"k-2"`} {
		if !strings.Contains(calls[i], want) || strings.Count(calls[i], `"u`) != []int{500, 500, 100}[i] {
			t.Errorf("call %d is %.200s, want %s", i, calls[i], want)
		}
	}
}

// TestWatchInterrupted: who stops waiting does not stop the task.
func TestWatchInterrupted(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stub := &apiStub{answers: map[string][]string{"get_task": {sendingTask}}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		stub.ServeHTTP(w, r)
		if len(stub.seen()) == 3 {
			stop()
		}
	}))
	defer server.Close()
	r := shell{}.run(ctx, "", "task", "watch", "--app", "9", "t-1", "--url", server.URL, "--secret-key-file", write(t, "key", "secret key of the app"))
	if r.code != 1 || !strings.Contains(r.stderr, "the task goes on") {
		t.Errorf("%+v", r)
	}
	for _, c := range stub.seen() {
		if !strings.HasPrefix(c, "get_task ") {
			t.Errorf("%s was called", c)
		}
	}
}
