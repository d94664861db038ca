package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tidings/client"
)

const taskOK = `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"TaskId":"t-1"}`

// members are those of a body.
func members(t *testing.T, body string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestPushIsRepeated: a push whose answer was lost is sent again, byte for byte, with a key by
// which the server knows it.
func TestPushIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{answers: []string{"cut", "502", fail("91000"), taskOK}}
		c, stop := newBubbleClient(t, s)
		defer stop()
		id, err := c.Push(t.Context(), client.Push{Notification: &client.Notification{Title: "T"}})
		if err != nil || id != "t-1" {
			t.Fatalf("Push returns %q, %v", id, err)
		}
		calls := s.seen()
		if len(calls) != 4 || calls[0].body != calls[3].body || calls[0].command != "timpush/push" {
			t.Fatalf("the calls are %+v, want four alike", calls)
		}
		m := members(t, calls[0].body)
		if key, _ := m["IdempotencyKey"].(string); len(key) != 32 {
			t.Errorf("the key is %q, want 32 characters", key)
		}
		if _, err := c.Push(t.Context(), client.Push{Notification: &client.Notification{Title: "T"}}); err != nil {
			t.Fatal(err)
		}
		if other := members(t, s.seen()[4].body); other["IdempotencyKey"] == m["IdempotencyKey"] || other["MsgRandom"] == m["MsgRandom"] {
			t.Error("two pushes have the same key or number")
		}
	})
}

// TestAProgramRepeatsAPush: a program that repeats a call with its key sends the same bytes,
// or the server takes it for another push with the key of the first.
func TestAProgramRepeatsAPush(t *testing.T) {
	s := &server{answers: []string{taskOK}}
	c := newClient(t, s)
	push := func(key string) {
		t.Helper()
		p := client.Push{Key: key, Notification: &client.Notification{Title: "T"}}
		if _, err := c.Push(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Batch(t.Context(), []string{"Mary"}, p); err != nil {
			t.Fatal(err)
		}
	}
	push("k")
	push("k")
	push("l")
	calls := s.seen()
	for i := range 2 {
		if calls[i].body != calls[i+2].body {
			t.Errorf("the same push is first %s and then %s", calls[i].body, calls[i+2].body)
		}
		if members(t, calls[i].body)["MsgRandom"] == members(t, calls[i+4].body)["MsgRandom"] {
			t.Error("pushes with different keys have the same number")
		}
	}
}

// TestPushByCallIsNotRepeated: a push without a key that the client knows of may be done
// twice.
func TestPushByCallIsNotRepeated(t *testing.T) {
	s := &server{answers: []string{"502", taskOK}}
	c := newClient(t, s)
	err := c.Call(t.Context(), "timpush/push", map[string]any{"MsgRandom": 1}, nil)
	if _, ok := errors.AsType[*client.StatusError](err); !ok || len(s.seen()) != 1 {
		t.Errorf("%v after %d calls, want a StatusError after one", err, len(s.seen()))
	}
}

// TestPushTooSoon: the gap between pushes is waited for, and holds nothing else.
func TestPushTooSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{answers: []string{fail("90024"), taskOK}}
		c, stop := newBubbleClient(t, s)
		defer stop()
		began := time.Now()
		done := make(chan error)
		go func() {
			_, err := c.Push(t.Context(), client.Push{Key: "k", Notification: &client.Notification{}})
			done <- err
		}()
		synctest.Wait()
		if _, err := c.Task(t.Context(), "t"); err != nil || time.Since(began) > 0 {
			t.Errorf("another command: %v after %v, want at once", err, time.Since(began))
		}
		if err := <-done; err != nil || time.Since(began) < time.Second {
			t.Errorf("Push: %v after %v, want none after a second", err, time.Since(began))
		}
	})
}

func TestPushBodies(t *testing.T) {
	life := 60
	for _, c := range []struct {
		name string
		call func(context.Context, *client.Client) error
		want string // without MsgRandom
	}{
		{"push", func(ctx context.Context, c *client.Client) error {
			_, err := c.Push(ctx, client.Push{
				From: "ops", Where: `plan == "gold"`, DataID: "d", LifeTime: &life, Key: "k", PlanID: "p", Overrides: json.RawMessage(`{"Fcm":{}}`),
				Notification: &client.Notification{
					Title: "T", Translations: []client.Translation{{Language: "de", Title: "t"}}, BadgeSet: new(0),
					Android: &client.AndroidInfo{GooglePriority: "high", VIVOClassification: new(0)},
					Apns:    &client.ApnsInfo{LiveActivity: &client.LiveActivity{ID: "a", Event: "end", ContentState: json.RawMessage(`{}`)}},
					Harmony: &client.HarmonyInfo{Category: "c"},
				},
				Body: []client.Element{client.TextElement("a")},
			})
			return err
		}, `{"From_Account":"ops","Where":"plan == \"gold\"","DataId":"d","LifeTime":60,"IdempotencyKey":"k","PlanId":"p","Overrides":{"Fcm":{}},"OfflinePushInfo":{"Title":"T","MultiLanguageContent":[{"Language":"de","Title":"t"}],"BadgeSetNum":0,"AndroidInfo":{"GooglePriority":"high","VIVOClassification":0},"ApnsInfo":{"LiveActivity":{"LaId":"a","Event":"end","ContentState":{}}},"HarmonyInfo":{"Category":"c"}},"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"a"}}]}`},
		{"batch", func(ctx context.Context, c *client.Client) error {
			_, err := c.Batch(ctx, []string{"a", "b"}, client.Push{Key: "k", Notification: &client.Notification{}})
			return err
		}, `{"From_Account":"administrator","To_Account":["a","b"],"IdempotencyKey":"k","OfflinePushInfo":{}}`},
		{"preview", func(ctx context.Context, c *client.Client) error {
			_, err := c.Preview(ctx, client.Push{Key: "k", Condition: &client.Condition{TagsAnd: []string{"x"}}, Notification: &client.Notification{}})
			return err
		}, `{"Condition":{"TagsAnd":["x"]},"OfflinePushInfo":{}}`},
		{"preview of a batch", func(ctx context.Context, c *client.Client) error {
			_, err := c.Preview(ctx, client.Push{Notification: &client.Notification{}}, "a")
			return err
		}, `{"To_Account":["a"],"OfflinePushInfo":{}}`},
		{"explain", func(ctx context.Context, c *client.Client) error {
			_, err := c.ExplainDelivery(ctx, "t", "a")
			return err
		}, `{"TaskId":"t","To_Account":"a"}`},
		{"pause", func(ctx context.Context, c *client.Client) error { _, err := c.PauseTask(ctx, "t"); return err }, `{"TaskId":"t"}`},
		{"resume", func(ctx context.Context, c *client.Client) error { _, err := c.ResumeTask(ctx, "t"); return err }, `{"TaskId":"t"}`},
		{"stop", func(ctx context.Context, c *client.Client) error { _, err := c.StopTask(ctx, "t"); return err }, `{"TaskId":"t"}`},
	} {
		s := &server{answers: []string{taskOK}}
		if err := c.call(t.Context(), newClient(t, s)); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		m := members(t, s.seen()[0].body)
		delete(m, "MsgRandom")
		body, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if !sameJSON(t, string(body), c.want) {
			t.Errorf("%s sends %s, want %s", c.name, body, c.want)
		}
	}
	c := newClient(t, &server{answers: []string{taskOK}})
	for name, p := range map[string]client.Push{
		"title": {Notification: &client.Notification{Title: "\xff"}}, "condition": {Condition: &client.Condition{TagsOr: []string{"\xff"}}}, "where": {Where: "\xff"},
	} {
		if _, err := c.Push(t.Context(), p); err == nil || !strings.Contains(err.Error(), "not UTF-8") {
			t.Errorf("%s: %v, want that it is not UTF-8", name, err)
		}
	}
}

// TestBatchFailures: the id comes with the accounts that failed.
func TestBatchFailures(t *testing.T) {
	c := newClient(t, &server{answers: []string{`{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"TaskId":"batch_1","ErrorList":[{"To_Account":"ghost","ErrorCode":70107,"ErrorInfo":"no"}]}`}})
	id, err := c.Batch(t.Context(), []string{"a", "ghost"}, client.Push{Notification: &client.Notification{}})
	if failed, ok := errors.AsType[*client.AccountErrors](err); id != "batch_1" || !ok || failed.List[0].Account != "ghost" || !errors.Is(err, client.ErrUnknownAccount) {
		t.Errorf("Batch returns %q, %v", id, err)
	}
	c = newClient(t, &server{answers: []string{`{"ActionStatus":"FAIL","ErrorInfo":"off","ErrorCode":90045,"TaskId":""}`}})
	if id, err = c.Batch(t.Context(), []string{"a"}, client.Push{}); id != "" || !errors.Is(err, client.ErrPushDisabled) {
		t.Errorf("Batch returns %q, %v, want ErrPushDisabled", id, err)
	}
}

func TestTaskAnswers(t *testing.T) {
	const one = `{"TaskId":"%","State":"done","Accepted":1795348800,"Begun":0,"Outcomes":[{"Outcome":"accepted","Meaning":"m","Count":2}]}`
	s := &server{answers: []string{
		`{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"Tasks":[` + strings.ReplaceAll(one, "%", "3") + `,` + strings.ReplaceAll(one, "%", "2") + `],"Next":"n"}`,
		`{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"Tasks":[` + strings.ReplaceAll(one, "%", "1") + `]}`,
		`{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"Accounts":["a","b"],"Next":"n"}`, `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"Accounts":["c"]}`,
		fail("90049"),
	}}
	c := newClient(t, s)
	var ids []string
	for task, err := range c.Tasks(t.Context(), client.TaskFilter{States: []client.TaskState{client.TaskDone}, Since: time.Unix(7, 0), DataID: "d"}) {
		if err != nil {
			t.Fatal(err)
		}
		if ids = append(ids, task.ID); !task.State.Ended() || !task.Begun.IsZero() || task.Accepted.Unix() != 1795348800 || task.Outcomes[0].Count != 2 {
			t.Errorf("%+v", task)
		}
	}
	var accounts []string
	for account, err := range c.Receivers(t.Context(), "3") {
		if err != nil {
			t.Fatal(err)
		}
		accounts = append(accounts, account)
	}
	if !slices.Equal(ids, []string{"3", "2", "1"}) || !slices.Equal(accounts, []string{"a", "b", "c"}) {
		t.Errorf("%v %v", ids, accounts)
	}
	if want := `{"States":["done"],"Since":7,"Until":0,"DataId":"d","Limit":100,"Next":"n"}`; !sameJSON(t, s.seen()[1].body, want) {
		t.Errorf("the second page is asked with %s, want %s", s.seen()[1].body, want)
	}
	if _, err := c.Task(t.Context(), "x"); !errors.Is(err, client.ErrUnknownTask) {
		t.Errorf("%v, want ErrUnknownTask", err)
	}
}

func TestPreviewAnswer(t *testing.T) {
	golden := `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"PlanId":"plan_x","PlanEnds":1795349400,"Accounts":2,"Devices":1,"NoDevice":0,"Groups":[{"Provider":"fcm","Certificate":1,"Kind":"alert","Language":"de","Platform":"android","Devices":1,"Payload":{"Body":{"a":1},"Bytes":7,"Limit":4096}}],"LeftOut":[{"Reason":"no token","Why":"w","Devices":1}],"Quota":{"Next":0,"Left":-1,"Anew":0,"Pending":0,"Limit":1000},"First":1795348800,"Last":0,"Pace":0,"ErrorList":[{"To_Account":"ghost","ErrorCode":70107,"ErrorInfo":"no"}]}`
	c := newClient(t, &server{answers: []string{golden, fail("95014")}})
	p, err := c.Preview(t.Context(), client.Push{}, "a", "ghost")
	if err != nil || p.PlanID != "plan_x" || p.Groups[0].Payload.Limit != 4096 || p.Failures[0].Account != "ghost" || p.Quota.Left != -1 || !p.Last.IsZero() {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err = c.Preview(t.Context(), client.Push{}); p != nil || !errors.Is(err, client.ErrPreviewReplaced) {
		t.Errorf("%+v, %v, want ErrPreviewReplaced", p, err)
	}
}
