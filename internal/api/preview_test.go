package api_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/channel"
	dev "tidings/internal/device"
	"tidings/internal/gate"
	"tidings/internal/task"
)

// withGroups starts a node with an audience of several kinds of devices.
func withGroups(t *testing.T, edits ...func(*app.Declaration)) *node {
	t.Helper()
	n := start(t, gate.Options{}, edits...).direct()
	d := pixel("device-1234567890")
	n.devices.shown[d.ID] = &d
	n.tasks.preview = task.Preview{
		Accounts: 1500, NoDevice: 7, Failures: []audience.Failure{{Account: "ghost", Err: apierr.UnknownAccount.Errorf("account does not exist")}},
		Groups: []task.Group{
			{Choice: dev.Choice{Reason: dev.PermissionOff}, Language: "de", Platform: "ios", Devices: 30, Sample: "device-ios"},
			{Choice: byFCM, Language: "fr", Platform: "android", Devices: 100, Sample: "device-gone"},
			{Choice: byFCM, Language: "de", Platform: "android", Devices: 1000, Sample: d.ID},
			{Choice: dev.Choice{Reason: dev.NoToken}, Platform: "web", Devices: 2, Sample: "device-web"},
		},
	}
	return n
}

func TestPreview(t *testing.T) {
	n := withGroups(t)
	const message = `"OfflinePushInfo":{"Title":"T","BadgeAddNum":2}`
	got := n.post("tidings/preview_push", `{`+message+`}`).ok(t)
	golden(t, "preview_push/groups.json", got.raw+"\n")
	if strings.Contains(got.raw, "secret-token") {
		t.Error("the preview shows a token")
	}
	if apple := n.post("tidings/preview_push", `{"OfflinePushInfo":{"Title":"T","ApnsInfo":{"BadgeMode":0}}}`).ok(t); !strings.Contains(apple.raw, `"badge":-1`) {
		t.Errorf("BadgeMode, which is for Apple devices, changes the badge of another: %s", apple.raw)
	}
	dry := n.post("timpush/push", `{"MsgRandom":1,"DryRun":1,`+message+`}`).ok(t)
	if fmt.Sprint(dry.members["Preview"]) == "" || dry.members["TaskId"] != "" {
		t.Errorf("%s", dry.raw)
	}
	for name, want := range got.members {
		if in := dry.members["Preview"].(map[string]any)[name]; name != "ActionStatus" && name != "ErrorCode" && name != "ErrorInfo" && fmt.Sprint(in) != fmt.Sprint(want) {
			t.Errorf("%s is %v with DryRun and %v in the preview", name, in, want)
		}
	}
	batch := n.post("timpush/batch", `{"From_Account":"ada","To_Account":["Mary"],"MsgRandom":1,"DryRun":1,`+message+`}`).ok(t)
	if batch.members["Preview"] == nil || batch.members["TaskId"] != "" {
		t.Errorf("%s", batch.raw)
	}
	if len(n.tasks.created) > 0 {
		t.Error("a dry run made a task")
	}
	if a := n.post("tidings/preview_push", `{"OfflinePushInfo":{"Title":"too large"}}`).ok(t); !strings.Contains(a.raw, `"Problem":"the message takes 5000 bytes, FCM takes 4096"`) {
		t.Errorf("%s, want the problem", a.raw)
	}
	n.sending.sender = nil
	if a := n.post("tidings/preview_push", `{`+message+`}`).ok(t); !strings.Contains(a.raw, `"Problem":"certificate 1 cannot be used: its key is lost"`) {
		t.Errorf("%s, want the problem", a.raw)
	}
	for body, want := range map[string]string{
		`{"To_Account":[],` + message + `}`:                                "To_Account is empty",
		`{"To_Account":["a"],"Where":"true",` + message + `}`:              "excludes Condition and Where",
		`{"To_Account":["a"],"MsgBody":[{"MsgType":"x","MsgContent":{}}]}`: "excludes MsgBody",
		`{"Where":" ",` + message + `}`:                                    "Where is empty",
		`{"dryrun":1,` + message + `}`:                                     "did you mean DryRun?",
		`{"Sample":1,` + message + `}`:                                     "Sample is no member",
	} {
		n.post("tidings/preview_push", body).code(t, 90001, want)
	}
	n.post("tidings/preview_push", `{"OfflinePushInfo":{"Title":"T","New":1,"AndroidInfo":{"New":1},"ApnsInfo":{"LiveActivity":{"LaId":"a","Event":"end","ContentState":{},"New":1}}}}`).ok(t)
}

// TestPreviewTimes: how long a push takes at the pace of the providers and of the app.
func TestPreviewTimes(t *testing.T) {
	for _, c := range []struct {
		name   string
		limits channel.Limits
		app    func(*app.Declaration)
		pace   float64
		last   float64 // seconds from now
	}{
		{"100 a second", channel.Limits{Rate: 100}, func(*app.Declaration) {}, 100, 11},
		{"with a ramp that ends", channel.Limits{Rate: 100, Ramp: 10 * time.Second}, func(*app.Declaration) {}, 100, 16},
		{"within the ramp", channel.Limits{Rate: 88, Ramp: 100 * time.Second}, func(*app.Declaration) {}, 88, 50},
		{"pace of the app", channel.Limits{Rate: 100}, func(d *app.Declaration) { d.PushPace = new(10) }, 10, 110},
		{"pace of a task", channel.Limits{}, func(d *app.Declaration) { d.PushPace, d.TaskPace = new(100), new(20) }, 20, 55},
		{"as fast as it takes", channel.Limits{}, func(*app.Declaration) {}, 0, -1},
	} {
		n := withGroups(t, c.app)
		n.sending.sender = &plainSender{limits: c.limits}
		a := n.post("tidings/preview_push", `{`+info+`}`).ok(t)
		now := float64(n.clock.now().Unix())
		last := a.members["Last"].(float64) - now
		if c.last < 0 {
			last = a.members["Last"].(float64) - 1
		}
		if a.members["Pace"] != c.pace || a.members["First"] != now || last != c.last {
			t.Errorf("%s: %s, want pace %v, first %v, last %v later", c.name, a.raw, c.pace, now, c.last)
		}
	}
}

// TestPlan: a push that names a plan is what was previewed, or is refused.
func TestPlan(t *testing.T) {
	n := withGroups(t)
	const message = `"Where":"sex == \"f\"","OfflinePushInfo":{"Title":"T","Desc":"D"}`
	plan := func() string {
		t.Helper()
		return n.post("tidings/preview_push", `{`+message+`}`).ok(t).members["PlanId"].(string)
	}
	random := 0
	push := func(id, members string) answer {
		random++
		return n.post("timpush/push", fmt.Sprintf(`{"MsgRandom":%d,"PlanId":%q,%s}`, random, id, members))
	}
	id := plan()
	push(id, message).ok(t)
	push(id, `"Condition":{"AttrsAnd":{"sex":"f"}},"OfflinePushInfo":{"Desc":"D","Title":"T"}`).ok(t) // the same in other words
	for name, members := range map[string]string{
		"title":     strings.Replace(message, `"T"`, `"U"`, 1),
		"where":     strings.Replace(message, `\"f\"`, `\"m\"`, 1),
		"life":      message + `,"LifeTime":1`,
		"sender":    message + `,"From_Account":"ada"`,
		"overrides": message + `,"Overrides":{"Fcm":{"a":1}}`,
	} {
		a := push(id, members).code(t, 95011, id, "are not those of the preview")
		if a.ErrorCode == 0 {
			t.Errorf("%s: %s", name, a.raw)
		}
	}

	// Counts that moved: 1 % of 1500 is 15, of 1100 devices 11.
	n.tasks.preview.Accounts = 1515
	push(id, message).ok(t)
	n.tasks.preview.Accounts = 1516
	push(id, message).code(t, 95011, "1516 accounts", "1500", "1%")
	n.tasks.preview.Accounts = 1500
	n.tasks.preview.Groups[1].Devices -= 11
	push(id, message).ok(t)
	n.tasks.preview.Groups[1].Devices--
	push(id, message).code(t, 95011, "1088 devices", "1100")
	n.declare(declaration(func(d *app.Declaration) { d.PreviewDrift = new(2) }))
	push(id, message).code(t, 95011, "settings")
	push(plan(), message).ok(t)

	// A certificate that was added, and a plan that is too old.
	id = plan()
	n.certify()
	push(id, message).code(t, 95011, "certificates")
	id = plan()
	n.clock.advance(10*time.Minute - time.Second)
	push(id, message).ok(t)
	n.clock.advance(time.Second)
	push(id, message).code(t, 95011, "ended at")

	// A retry gets the first answer, whatever became of the plan meanwhile.
	id = plan()
	keyed := `{"MsgRandom":77,"IdempotencyKey":"k","PlanId":"` + id + `",` + message + `}`
	first := n.post("timpush/push", keyed).ok(t)
	n.tasks.preview.Accounts *= 2
	n.clock.advance(time.Hour)
	if again := n.post("timpush/push", keyed).ok(t); again.members["TaskId"] != first.members["TaskId"] {
		t.Errorf("got %s, want the answer to the first request, %s", again.raw, first.raw)
	}
	n.post("timpush/push", strings.Replace(keyed, "77", "78", 1)).code(t, 95010)
	for _, id := range []string{"plan_", "plan_x", id + "x", strings.ToUpper(id), "é"} {
		push(id, message).code(t, 95011, "is not the id of a plan")
	}
	made := len(n.tasks.created)
	push("plan_", message)
	if len(n.tasks.created) != made {
		t.Error("a refused push made a task")
	}
}

// TestPreviewsAtATime: two are made at a time, and a newer one of a caller ends the older.
func TestPreviewsAtATime(t *testing.T) {
	n := start(t, gate.Options{}, func(d *app.Declaration) { d.Admins = []string{"ops", "dev"} }).direct()
	var mu sync.Mutex
	running, most := 0, 0
	began, release := make(chan struct{}, 10), make(chan struct{})
	n.tasks.before = func(ctx context.Context) error {
		mu.Lock()
		running++
		most = max(most, running)
		mu.Unlock()
		defer func() { mu.Lock(); running--; mu.Unlock() }()
		began <- struct{}{}
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	answers := make(chan answer, 10)
	preview := func(account string) {
		ticket := n.ticket(account)
		go func() {
			answers <- n.post("tidings/preview_push", `{`+info+`}`, with("identifier", &account), with("usersig", &ticket))
		}()
	}
	preview(admin)
	<-began
	preview("ops")
	<-began
	preview(admin) // ends the first
	(<-answers).code(t, 95014)
	<-began
	preview("dev") // waits for a place
	close(release)
	for range 3 {
		(<-answers).ok(t)
	}
	if most != 2 {
		t.Errorf("%d previews were made at a time, want 2", most)
	}
}
