package client

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"time"
)

// A Time is a moment in an answer: Unix seconds on the wire, 0 for none.
type Time struct{ time.Time }

// UnmarshalJSON reads Unix seconds.
func (t *Time) UnmarshalJSON(b []byte) error {
	var seconds int64
	if err := json.Unmarshal(b, &seconds); err != nil {
		return fmt.Errorf("a moment: %w", err)
	}
	t.Time = time.Time{}
	if seconds != 0 {
		t.Time = time.Unix(seconds, 0)
	}
	return nil
}

// MarshalJSON writes Unix seconds.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("0"), nil
	}
	return json.Marshal(t.Unix())
}

// A Task is a push that was accepted.
type Task struct {
	ID        string `json:"TaskId"`
	Command   string // push, im_push or batch
	Caller    string // who called
	From      string `json:"From_Account"`
	DataID    string `json:"DataId,omitempty"`
	Title     string `json:",omitempty"`
	Desc      string `json:",omitempty"`
	Where     string `json:",omitempty"` // whom it is for; empty for everyone and for a batch
	Named     int    `json:",omitempty"` // accounts that a batch named
	State     TaskState
	Reason    string    `json:",omitempty"` // of the state
	Accepted  Time      // when
	Ends      Time      // when what was not sent expires
	Begun     Time      // when the first message was sent
	Ended     Time      // when it ended
	Receivers uint64    // accounts in the audience, once that is fixed
	Units     uint64    // devices that have an outcome, and receivers without a device
	Total     uint64    // of Units, those that are devices
	Sent      uint64    // of Total, those that were handed to a provider
	Outcomes  []Outcome // each that there is
}

// A TaskState is how far a task is.
type TaskState string

// The states of tasks.
const (
	TaskAccepted  TaskState = "accepted"
	TaskResolving TaskState = "resolving" // its audience is being fixed
	TaskSending   TaskState = "sending"
	TaskPaused    TaskState = "paused"
	TaskBlocked   TaskState = "blocked" // all certificates that it still needs are
	TaskDone      TaskState = "done"
	TaskStopped   TaskState = "stopped" // by somebody
	TaskExpired   TaskState = "expired" // its life ended first
	TaskFailed    TaskState = "failed"  // it could not begin
)

// Ended reports whether nothing more will happen in a state.
func (s TaskState) Ended() bool {
	return s == TaskDone || s == TaskStopped || s == TaskExpired || s == TaskFailed
}

// An Outcome says how many devices have an outcome. Accepted means that the provider took the
// message, not that it arrived.
type Outcome struct {
	Outcome string
	Meaning string
	Count   uint64
}

// A TaskFilter selects tasks. The zero value selects all.
type TaskFilter struct {
	States []TaskState // a task that is paused or blocked is TaskSending
	Since  time.Time   // accepted then or later
	Until  time.Time   // accepted before
	DataID string
}

// Tasks iterates over the tasks of the app, the latest first, asking for 100 at a time. The
// iteration ends after an error.
//
// Command: tidings/list_tasks, which only Tidings has.
func (c *Client) Tasks(ctx context.Context, f TaskFilter) iter.Seq2[Task, error] {
	const command = "tidings/list_tasks"
	type request struct {
		States []TaskState `json:",omitempty"`
		Since  Time
		Until  Time
		DataID string `json:"DataId,omitempty"`
		Limit  int
		Next   string `json:",omitempty"`
	}
	return func(yield func(Task, error) bool) {
		if err := checkText(command, f.DataID); err != nil {
			yield(Task{}, err)
			return
		}
		for next := ""; ; {
			var page struct {
				Tasks []Task
				Next  string
			}
			if err := c.Call(ctx, command, request{f.States, Time{f.Since}, Time{f.Until}, f.DataID, 100, next}, &page); err != nil {
				yield(Task{}, err)
				return
			}
			for _, t := range page.Tasks {
				if !yield(t, nil) {
					return
				}
			}
			if next = page.Next; next == "" {
				return
			}
		}
	}
}

// A TaskReport is a task with what is known of it at the moment.
type TaskReport struct {
	Task
	Lanes   []Lane // by certificate
	Retries int    // devices that wait for another try
	Rate    int    // devices a second that got their outcome lately
	Done    Time   // about when it is done at this rate; zero: nobody knows
}

// A Lane is what became of the devices of a task that are reached with one certificate.
type Lane struct {
	Certificate int    // 0: devices that cannot be sent to
	Provider    string `json:",omitempty"`
	Outcomes    []Outcome
	State       string `json:",omitempty"` // ok, throttled, blocked
	Reason      string `json:",omitempty"` // of the state, in the provider's words
	Since       Time
	Alarm       string `json:",omitempty"` // why dead tokens were kept
	Pace        int    // messages a second that may go; 0: any number
}

// taskRequest is the body of commands that only name a task.
type taskRequest struct {
	ID string `json:"TaskId"`
}

// Task returns a task. One that does not exist, or is kept no more, is [ErrUnknownTask].
//
// Command: tidings/get_task, which only Tidings has.
func (c *Client) Task(ctx context.Context, id string) (*TaskReport, error) {
	out := new(TaskReport)
	return out, c.ofTask(ctx, "tidings/get_task", id, out)
}

// PauseTask stops sending a task until [Client.ResumeTask]. Its life goes on. A task that has
// ended is [ErrTaskEnded].
//
// Command: tidings/pause_task, which only Tidings has.
func (c *Client) PauseTask(ctx context.Context, id string) (*Task, error) {
	out := new(Task)
	return out, c.ofTask(ctx, "tidings/pause_task", id, out)
}

// ResumeTask lets a task go on that was paused. A task that has ended is [ErrTaskEnded].
//
// Command: tidings/resume_task, which only Tidings has.
func (c *Client) ResumeTask(ctx context.Context, id string) (*Task, error) {
	out := new(Task)
	return out, c.ofTask(ctx, "tidings/resume_task", id, out)
}

// StopTask ends a task for good: what was not sent gets the outcome stopped. A task that has
// ended otherwise is [ErrTaskEnded].
//
// Command: tidings/stop_task, which only Tidings has.
func (c *Client) StopTask(ctx context.Context, id string) (*Task, error) {
	out := new(Task)
	return out, c.ofTask(ctx, "tidings/stop_task", id, out)
}

func (c *Client) ofTask(ctx context.Context, command, id string, out any) error {
	if err := checkText(command, id); err != nil {
		return err
	}
	return c.Call(ctx, command, taskRequest{id}, out)
}

// Receivers iterates over the accounts that the audience of a task was fixed to, without those
// deleted since, asking for 1000 at a time. The iteration ends after an error.
//
// Command: tidings/list_receivers, which only Tidings has.
func (c *Client) Receivers(ctx context.Context, taskID string) iter.Seq2[string, error] {
	const command = "tidings/list_receivers"
	type request struct {
		taskRequest
		Limit int
		Next  string `json:",omitempty"`
	}
	return func(yield func(string, error) bool) {
		if err := checkText(command, taskID); err != nil {
			yield("", err)
			return
		}
		for next := ""; ; {
			var page struct {
				Accounts []string
				Next     string
			}
			if err := c.Call(ctx, command, request{taskRequest{taskID}, 1000, next}, &page); err != nil {
				yield("", err)
				return
			}
			for _, account := range page.Accounts {
				if !yield(account, nil) {
					return
				}
			}
			if next = page.Next; next == "" {
				return
			}
		}
	}
}

// A Delivery is what became of a push for an account.
type Delivery struct {
	Sentence string // in one sentence
	Advice   string `json:",omitempty"` // what to do about it
	Matched  bool   // the account was in the audience, itself or through its user
	State    TaskState
	Devices  []DeviceTrace
}

// A DeviceTrace is what became of a push at one device, which is shown as it was when the
// push was sent.
type DeviceTrace struct {
	RegistrationID string
	Deleted        bool   `json:",omitempty"` // since then: nothing else is known of the device
	Platform       string `json:",omitempty"`
	Model          string `json:",omitempty"`
	AppVersion     string `json:",omitempty"`
	Language       string `json:",omitempty"`
	Token          string `json:",omitempty"` // its last characters
	Provider       string `json:",omitempty"`
	Certificate    int    `json:",omitempty"`
	Kind           string `json:",omitempty"` // of token
	Outcome        string `json:",omitempty"` // empty while it waits
	Tries          int
	Status         int    `json:",omitempty"` // of HTTP
	Code           string `json:",omitempty"` // the provider's own word
	Words          string `json:",omitempty"` // what the provider said
	At             Time   // when it was sent last
	Took           int64  // milliseconds that the provider took
	Next           Time   // when it is tried again
	Arrived        Time   // when the device reported it; zero: it has not
	Clicked        Time
	Steps          []TraceStep
	Advice         string `json:",omitempty"`
}

// A TraceStep is one step on the way to a device.
type TraceStep struct {
	Step  string // matched, device, token, certificate, permission, sent, arrived, clicked
	State string // yes, no, waiting, unknown
	Text  string
}

// ExplainDelivery says why an account got a push or did not. An account that does not exist and
// was not in the audience is [ErrUnknownAccount].
//
// Command: tidings/explain_delivery, which only Tidings has.
func (c *Client) ExplainDelivery(ctx context.Context, taskID, account string) (*Delivery, error) {
	const command = "tidings/explain_delivery"
	if err := checkText(command, taskID, account); err != nil {
		return nil, err
	}
	in := struct {
		taskRequest
		Account string `json:"To_Account"`
	}{taskRequest{taskID}, account}
	out := new(Delivery)
	if err := c.Call(ctx, command, in, out); err != nil {
		return nil, err
	}
	return out, nil
}
