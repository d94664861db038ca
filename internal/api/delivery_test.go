package api_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings/internal/channel"
	dev "tidings/internal/device"
	"tidings/internal/dispatch"
	"tidings/internal/gate"
	"tidings/internal/report"
	"tidings/internal/task"
)

// phone is a device that FCM reaches.
func pixel(id string) dev.Device {
	at := time.Date(2026, 11, 1, 8, 0, 0, 0, time.UTC)
	return dev.Device{
		ID: id, Version: 1, User: "Mary", Platform: "android", Model: "Pixel 9", AppVersion: "4.2", Language: "de", Permission: dev.Allowed, Badge: 3,
		Registered: at, LastActive: at.AddDate(0, 0, 20),
		Tokens: []dev.Token{{Certificate: 1, Kind: channel.Alert, Address: "secret-token-abcdef", Registered: at, Refreshed: at}},
	}
}

var byFCM = dev.Choice{Certificate: 1, Provider: channel.FCM, Kind: channel.Alert}

// delivered is what the answer of explain_delivery says.
type delivered struct {
	Sentence, Advice, State string
	Matched                 bool
	Devices                 []struct {
		RegistrationID, Outcome, Token, Advice string
		Steps                                  []struct{ Step, State, Text string }
	}
}

func (d *delivered) steps() string {
	var all []string
	for _, s := range d.Devices[0].Steps {
		all = append(all, s.Step+" "+s.State)
	}
	return strings.Join(all, ", ")
}

func explain(t *testing.T, n *node, account string, e *task.Explanation) (d delivered, raw string) {
	t.Helper()
	n.tasks.explain[account] = e
	a := n.post("tidings/explain_delivery", fmt.Sprintf(`{"TaskId":"task_1","To_Account":%q}`, account)).ok(t)
	if err := json.Unmarshal([]byte(a.raw), &d); err != nil {
		t.Fatal(err)
	}
	return d, a.raw
}

// TestExplainDelivery: each outcome and each reason has a sentence that names who, what and
// the provider's own words, the steps end where the push ended, and there is something to do
// about whatever can be mended.
func TestExplainDelivery(t *testing.T) {
	n := start(t, gate.Options{}).direct()
	n.post("timpush/push", bodies["timpush/push"]).ok(t)
	sentAt := time.Date(2026, 11, 22, 12, 0, 3, 0, time.UTC)
	sent := func(o report.Outcome, edit ...func(*task.Trace)) task.Trace {
		tr := task.Trace{Device: pixel("device-1234567890"), Sent: true, Outcome: o, Choice: byFCM, Tries: 1, At: sentAt, Took: 12 * time.Millisecond}
		for _, f := range edit {
			f(&tr)
		}
		return tr
	}
	said := func(status int, code, words string) func(*task.Trace) {
		return func(tr *task.Trace) { tr.Status, tr.Code, tr.Words = status, code, words }
	}
	way := func(r dev.Reason) func(*task.Trace) {
		return func(tr *task.Trace) { tr.Choice, tr.Tries, tr.At = dev.Choice{Reason: r}, 0, time.Time{} }
	}
	const matched = "matched yes, device yes, token yes, certificate yes, permission yes"
	for _, c := range []struct {
		name     string
		trace    task.Trace
		sentence string
		steps    string
		mend     string // a part of the advice; empty: there is none
	}{
		{"accepted", sent(report.Accepted), `"Mary", Pixel 9, app 4.2: fcm took it at 2026-11-22 12:00:03 UTC, and the device has not reported that it arrived.`, matched + ", sent yes, arrived unknown, clicked unknown", "offline"},
		{"arrived", sent(report.Accepted, func(tr *task.Trace) { tr.Arrived = sentAt.Add(time.Second) }), `it arrived at 2026-11-22 12:00:04 UTC and was not clicked.`, matched + ", sent yes, arrived yes, clicked unknown", ""},
		{"clicked", sent(report.Accepted, func(tr *task.Trace) { tr.Arrived, tr.Clicked = sentAt, sentAt.Add(time.Minute) }), `it arrived and was clicked at 2026-11-22 12:01:03 UTC.`, matched + ", sent yes, arrived yes, clicked yes", ""},
		{"clicked alone", sent(report.Accepted, func(tr *task.Trace) { tr.Clicked = sentAt.Add(time.Minute) }), `it arrived and was clicked at 2026-11-22 12:01:03 UTC.`, matched + ", sent yes, arrived yes, clicked yes", ""},
		{"live activity", sent(report.Accepted, func(tr *task.Trace) { tr.Choice.Kind, tr.Choice.Provider = channel.LiveActivity, channel.APNs }), `apns took it at 2026-11-22 12:00:03 UTC, which it does for dead Live Activities too.`, matched + ", sent yes, arrived unknown, clicked unknown", "activity"},
		{"gone", sent(report.Gone, said(404, "UNREGISTERED", "Requested entity was not found.")), `fcm says that its token is dead (404 UNREGISTERED: Requested entity was not found.).`, matched + ", sent no", "registers anew"},
		{"rejected", sent(report.Rejected, said(400, "INVALID_ARGUMENT", "Message too big")), `fcm will never take this message (400 INVALID_ARGUMENT: Message too big).`, matched + ", sent no", "preview_push"},
		{"unknown", sent(report.Unknown, said(0, "", "connection reset")), `the connection to fcm broke at 2026-11-22 12:00:03 UTC after it was written, so it may have arrived (connection reset).`, matched + ", sent unknown, arrived unknown, clicked unknown", "ring twice"},
		{"unknown and arrived", sent(report.Unknown, func(tr *task.Trace) { tr.Arrived = sentAt }), `and it arrived.`, matched + ", sent unknown, arrived yes, clicked unknown", ""},
		{"expired", sent(report.Expired, said(503, "UNAVAILABLE", "")), `no provider took it before it expired at 2026-11-23 12:00:00 UTC (503 UNAVAILABLE).`, matched + ", sent no", "LifeTime"},
		{"no certificate", sent(report.NoCertificate, way(dev.NoCertificate)), `the app has no certificate for the device.`, "matched yes, device yes, token yes, certificate no", "tidings channel add"},
		{"no token", sent(report.NoToken, way(dev.NoToken)), `the device has no token.`, "matched yes, device yes, token no", "register again"},
		{"permission off", sent(report.PermissionOff, way(dev.PermissionOff)), `the person does not permit notifications.`, "matched yes, device yes, permission no", "Only the person"},
		{"no device", sent(report.NoDevice, way("")), `"Mary" was in the audience and has no device, so there was nothing to send to.`, "matched yes, device no", "register"},
		{"in the list of retries", sent(0, func(tr *task.Trace) { tr.Waiting, tr.Status, tr.Code, tr.Next = true, 503, "UNAVAILABLE", sentAt }), `it is tried again at 2026-11-22 12:00:03 UTC, for the 2nd time (503 UNAVAILABLE).`, matched + ", sent waiting", ""},
		{"stopped", sent(report.Stopped, way("")), `the task was stopped before it was its turn.`, "matched yes, device yes, permission yes, sent no", ""},
		{"its turn", task.Trace{Device: pixel("device-1234567890"), Choice: byFCM, Waiting: true}, `it waits for its turn.`, matched + ", sent waiting", "get_task"},
		{"next try", task.Trace{Device: pixel("device-1234567890"), Choice: byFCM, Waiting: true, Tries: 2, Status: 503, Next: sentAt}, `it is tried again at 2026-11-22 12:00:03 UTC, for the 3rd time (503).`, matched + ", sent waiting", ""},
		{"waits without a token", task.Trace{Device: pixel("device-1234567890"), Choice: dev.Choice{Reason: dev.NoToken}}, `the device has no token.`, "matched yes, device yes, token no", "register again"},
		{"deleted", task.Trace{Deleted: true, Sent: true, Outcome: report.Accepted, Choice: byFCM, At: sentAt}, `"Mary", a device that was deleted since: fcm took it`, "matched yes, device unknown, sent yes", "offline"},
	} {
		d, raw := explain(t, n, "Mary", &task.Explanation{Exists: true, Fixed: true, Chosen: true, Devices: []task.Trace{c.trace}})
		if !strings.HasSuffix(d.Sentence, c.sentence) && !strings.HasPrefix(d.Sentence, c.sentence) {
			t.Errorf("%s: %s, want %s", c.name, d.Sentence, c.sentence)
		}
		if got := d.steps(); got != c.steps {
			t.Errorf("%s: steps are %s, want %s", c.name, got, c.steps)
		}
		if !strings.Contains(d.Advice, c.mend) || (d.Advice == "") != (c.mend == "") {
			t.Errorf("%s: the advice is %q, want %q in it", c.name, d.Advice, c.mend)
		}
		if c.trace.Outcome == report.Accepted && !strings.Contains(raw, `"Step":"sent","State":"yes","Text":"`+string(c.trace.Choice.Provider)+` took it at 2026-11-22 12:00:03 UTC`) {
			t.Errorf("%s: %s does not say when the provider took it", c.name, raw)
		}
		if want := c.trace.Outcome.String(); c.trace.Sent && !c.trace.Waiting && d.Devices[0].Outcome != want {
			t.Errorf("%s: the outcome is %q, want %q", c.name, d.Devices[0].Outcome, want)
		}
		if strings.Contains(raw, "secret-token") {
			t.Errorf("%s: %s holds a token", c.name, raw)
		}
		if strings.Contains(strings.ToLower(d.Sentence), "delivered") {
			t.Errorf("%s: %s", c.name, d.Sentence)
		}
	}
}

// TestExplainDeliveryOfTask: what the state of the task and of its lanes says.
func TestExplainDeliveryOfTask(t *testing.T) {
	n := start(t, gate.Options{}).direct()
	n.post("timpush/push", bodies["timpush/push"]).ok(t)
	at := n.clock.now()
	of := func(edit func(*task.Task)) *task.Task {
		c := *n.tasks.tasks[0]
		c.State, c.Frozen = task.Sending, 1
		edit(&c)
		return &c
	}
	waits := []task.Trace{{Device: pixel("device-1234567890"), Choice: byFCM, Waiting: true}}
	chosen := func(edit func(*task.Task)) *task.Explanation {
		return &task.Explanation{Task: of(edit), Exists: true, Fixed: true, Chosen: true, Devices: waits}
	}
	alone := func(fixed bool, edit func(*task.Task)) *task.Explanation {
		return &task.Explanation{Task: of(edit), Exists: true, Fixed: fixed}
	}
	blocked := dispatch.TaskStatus{Blocked: true, Reason: "x", Lanes: []dispatch.LaneStatus{{Certificate: 1, State: dispatch.LaneBlocked, Reason: "fcm: 401 THIRD_PARTY_AUTH_ERROR.", Since: at}}}
	two := chosen(func(*task.Task) {})
	two.Devices = []task.Trace{
		{Device: pixel("device-1"), Sent: true, Outcome: report.Gone, Choice: byFCM},
		{Device: pixel("device-2"), Sent: true, Outcome: report.Accepted, Choice: byFCM, At: at},
		{Device: pixel("device-3"), Waiting: true, Choice: byFCM},
	}
	for _, c := range []struct {
		name     string
		e        *task.Explanation
		status   dispatch.TaskStatus
		sentence string
		state    string
	}{
		{"blocked", chosen(func(*task.Task) {}), blocked, "it waits, since certificate 1 of fcm is blocked: fcm: 401 THIRD_PARTY_AUTH_ERROR.", "blocked"},
		{"paused", chosen(func(k *task.Task) { k.Paused = true }), dispatch.TaskStatus{}, "it waits, since the task is paused.", "paused"},
		{"stopped", chosen(func(k *task.Task) { k.State = task.Stopped }), dispatch.TaskStatus{}, "the task was stopped before it was its turn.", "stopped"},
		{"expired", chosen(func(k *task.Task) { k.State = task.Expired }), dispatch.TaskStatus{}, "no provider took it before it expired", "expired"},
		{"three devices", two, dispatch.TaskStatus{}, `"Mary", on the device of 3 that it came nearest to (Pixel 9, app 4.2): fcm took it`, "sending"},
		{"no device", &task.Explanation{Task: of(func(*task.Task) {}), Exists: true, Fixed: true, Chosen: true}, dispatch.TaskStatus{}, `"Mary" was in the audience and has no device, so there was nothing to send to.`, "sending"},
		{"nobody", alone(false, func(k *task.Task) { k.State = task.Done }), dispatch.TaskStatus{}, "The push went to nobody: its audience was empty when it was fixed.", "done"},
		{"nothing, of a batch", &task.Explanation{Task: of(func(k *task.Task) {
			k.State, k.Reason, k.Audience.Named = task.Done, "PushFlag is 1: nothing is sent through vendors", 1
		}), Exists: true, Fixed: true}, dispatch.TaskStatus{}, "The push went to nobody: PushFlag is 1", "done"},
		{"after its turn", &task.Explanation{Task: of(func(k *task.Task) { k.State = task.Done }), Exists: true, Fixed: true, Chosen: true, Devices: []task.Trace{{Device: pixel("device-1"), Choice: byFCM}}}, dispatch.TaskStatus{}, "the device came to the account, or could be reached, when its turn was over.", "done"},
		{"kept no more", &task.Explanation{Task: of(func(k *task.Task) { k.State, k.Ended = task.Done, at }), Exists: true, Dropped: true}, dispatch.TaskStatus{}, "The push ended at 2026-11-22 12:00:00 UTC, and what became of each device is kept no more.", "done"},
		{"not in it", alone(true, func(*task.Task) {}), dispatch.TaskStatus{}, `"Mary" was not in the audience when it was fixed.`, "sending"},
		{"not in it, with a device", &task.Explanation{Task: of(func(k *task.Task) { k.State = task.Done }), Exists: true, Fixed: true, Devices: []task.Trace{{Device: pixel("device-1"), Choice: byFCM}}}, dispatch.TaskStatus{}, `"Mary" was not in the audience when it was fixed.`, "done"},
		{"not named", alone(true, func(k *task.Task) { k.Audience.Named = 2 }), dispatch.TaskStatus{}, `"Mary" was not among the accounts that the batch named.`, "sending"},
		{"not fixed", alone(false, func(k *task.Task) { k.State = task.Resolving }), dispatch.TaskStatus{}, "The audience of the push is not fixed yet", "resolving"},
		{"failed", alone(false, func(k *task.Task) { k.State, k.Reason = task.Failed, "the attribute plan is not set any more" }), dispatch.TaskStatus{}, `The push could not begin, so "Mary" did not get it: the attribute plan is not set any more.`, "failed"},
		{"stopped before", alone(false, func(k *task.Task) { k.State = task.Stopped }), dispatch.TaskStatus{}, `The push was stopped before its audience was fixed, so "Mary" did not get it.`, "stopped"},
		{"nothing", alone(false, func(k *task.Task) { k.State, k.Reason = task.Done, "PushFlag is 1: nothing is sent through vendors" }), dispatch.TaskStatus{}, "The push went to nobody: PushFlag is 1: nothing is sent through vendors.", "done"},
	} {
		n.sending.status = c.status
		d, _ := explain(t, n, "Mary", c.e)
		if !c.e.Chosen && len(d.Devices) > 0 && d.Devices[0].Advice != "" {
			t.Errorf("%s: advice %q about a device that was not meant", c.name, d.Devices[0].Advice)
		}
		if !strings.Contains(d.Sentence, c.sentence) || d.State != c.state {
			t.Errorf("%s: %s (%s), want %s (%s)", c.name, d.Sentence, d.State, c.sentence, c.state)
		}
	}
	n.post("tidings/explain_delivery", `{"TaskId":"task_1","To_Account":"ghost"}`).code(t, 70107, "ghost")
	n.post("tidings/explain_delivery", `{"TaskId":"nope","To_Account":"Mary"}`).code(t, 90049, "nope")
}

// TestTasks: what is shown of tasks, and what can be done to them.
func TestTasks(t *testing.T) {
	n := start(t, gate.Options{}).direct()
	for i := range 5 {
		n.clock.advance(time.Minute)
		n.post("timpush/batch", fmt.Sprintf(`{"From_Account":"ada","To_Account":["Mary","ada"],"MsgRandom":%d,"DataId":"d%d","OfflinePushInfo":{"Title":"T"}}`, i, i%2)).ok(t)
	}
	ids := func(body string) (ids []string, next string) {
		a := n.post("tidings/list_tasks", body).ok(t)
		var out struct {
			Tasks []struct {
				ID string `json:"TaskId"`
			}
			Next string
		}
		if err := json.Unmarshal([]byte(a.raw), &out); err != nil {
			t.Fatal(err)
		}
		for _, k := range out.Tasks {
			ids = append(ids, strings.TrimPrefix(k.ID, "batch_task_"))
		}
		return ids, out.Next
	}
	for body, want := range map[string]string{
		`{}`:                      "5 4 3 2 1",
		`{"DataId":"d1"}`:         "4 2",
		`{"States":["done"]}`:     "",
		`{"States":["accepted"]}`: "5 4 3 2 1",
		fmt.Sprintf(`{"Since":%d,"Until":%d}`, n.clock.now().Add(-2*time.Minute).Unix(), n.clock.now().Unix()): "4 3",
	} {
		if got, next := ids(body); strings.Join(got, " ") != want || next != "" {
			t.Errorf("%s: %v %s, want %s", body, got, next, want)
		}
	}
	var all []string
	for next := ""; ; {
		page, after := ids(fmt.Sprintf(`{"Limit":2,"Next":%q}`, next))
		if all = append(all, page...); after == "" {
			break
		}
		next = after
	}
	if want := []string{"5", "4", "3", "2", "1"}; !slices.Equal(all, want) {
		t.Errorf("pages list %v, want %v", all, want)
	}
	n.post("tidings/list_tasks", `{"Next":"x"}`).code(t, 95003)
	n.post("tidings/list_tasks", `{"States":["paused"]}`).code(t, 90001, `States[0]: "paused" is none of accepted`)

	k := n.tasks.tasks[0]
	k.State, k.Frozen, k.Progress, k.Begun = task.Sending, 60, counted(), n.clock.now()
	n.sending.status = dispatch.TaskStatus{Rate: 9.5, Ends: n.clock.now().Add(10 * time.Second)}
	n.sending.lanes = []dispatch.LaneStatus{{Certificate: 1, State: dispatch.LaneThrottled, Reason: "429 QUOTA_EXCEEDED", Since: n.clock.now(), Pace: 49.5}, {Certificate: 2, State: dispatch.LaneBlocked}}
	got := n.post("tidings/get_task", `{"TaskId":"batch_task_1","Sample":1,"To_Account":"Mary"}`).ok(t)
	golden(t, "get_task/sending.json", got.raw+"\n")

	act := func(command string, want string) {
		t.Helper()
		if a := n.post("tidings/"+command, `{"TaskId":"batch_task_1"}`).ok(t); a.members["State"] != want {
			t.Errorf("%s: %s, want state %s", command, a.raw, want)
		}
	}
	act("pause_task", "paused")
	act("pause_task", "paused")
	act("resume_task", "sending")
	if len(n.sending.changed) != 3 || n.sending.changed[0] != k.Ref {
		t.Errorf("the dispatcher was told of %v", n.sending.changed)
	}
	n.sending.status = dispatch.TaskStatus{Blocked: true, Reason: "the key is lost"}
	act("resume_task", "blocked")
	n.sending.stuck = true
	n.post("tidings/stop_task", `{"TaskId":"batch_task_1"}`).code(t, 90994)
	if !k.Paused {
		t.Error("a task that cannot be stopped yet is not paused, and goes on after a restart")
	}
	n.sending.stuck = false
	act("stop_task", "stopped")
	act("stop_task", "stopped")
	n.post("tidings/pause_task", `{"TaskId":"batch_task_1"}`).code(t, 95013, "batch_task_1")
	k.State = task.Done
	n.post("tidings/stop_task", `{"TaskId":"batch_task_1"}`).code(t, 95013, "batch_task_1")
	for _, command := range []string{"get_task", "list_receivers", "pause_task", "resume_task", "stop_task"} {
		n.post("tidings/"+command, `{"TaskId":"task_77"}`).code(t, 90049, "task_77")
		n.post("tidings/"+command, `{}`).code(t, 90001, "TaskId is missing")
	}
}
