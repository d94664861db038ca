package api

import (
	"context"
	"errors"
	"math"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/channel"
	"tidings/internal/dispatch"
	"tidings/internal/gate"
	"tidings/internal/report"
	"tidings/internal/task"
)

// The commands of this file are ours: the hosted service answers a push with a TaskId and says
// no more until its statistics come.

// States of a task that are beside the state that is kept: see package task.
const (
	statePaused  = "paused"
	stateBlocked = "blocked"
)

// taskInfo is a task.
type taskInfo struct {
	TaskID    string         `json:"TaskId"` // The id of the task.
	Command   string         // How it came: push, im_push or batch.
	Caller    string         // Who called.
	From      string         `json:"From_Account"`     // The sender.
	DataID    string         `json:"DataId,omitempty"` // The id that the caller gave it.
	Title     string         `json:",omitempty"`       // The title of the message.
	Desc      string         `json:",omitempty"`       // The text of the message.
	Where     string         `json:",omitempty"`       // Whom it is for, as an expression. It is absent for everyone and for a batch.
	Named     int            `json:",omitzero"`        // How many accounts a batch named.
	State     string         // accepted, resolving, sending, paused, blocked, done, stopped, expired or failed.
	Reason    string         `json:",omitempty"` // Why it is in that state, if there is something to say.
	Accepted  int64          // When it was accepted, as Unix time.
	Ends      int64          // When what was not sent expires.
	Begun     int64          // When the first message was sent; 0 if none was.
	Ended     int64          // When it ended; 0 if it has not.
	Receivers uint64         // How many accounts the audience has, once it is fixed.
	Units     uint64         // How many devices have an outcome, with receivers that have no device.
	Total     uint64         // How many devices it counts: those of Units without receivers that have no device.
	Sent      uint64         // How many of these were handed to a provider.
	Outcomes  []outcomeCount // What became of them, each outcome that there is.
}

// outcomeCount says how many devices have an outcome.
type outcomeCount struct {
	Outcome string // The word for it: accepted, gone, rejected, unknown, expired, no certificate, no token, permission off, no device or stopped.
	Meaning string // What the word means.
	Count   uint64 // How many there are.
}

func infoOf(t *task.Task, status *dispatch.TaskStatus) taskInfo {
	counts := t.Progress.Counts()
	info := taskInfo{
		TaskID: t.ID, Command: t.Command, Caller: t.Caller, From: t.From, DataID: t.DataID, Title: t.Message.Title, Desc: t.Message.Desc,
		Where: t.Audience.Where, Named: t.Audience.Named, State: string(t.State), Reason: t.Reason,
		Accepted: at(t.Accepted), Ends: at(t.Ends), Begun: at(t.Begun), Ended: at(t.Ended), Receivers: t.Frozen, Units: counts.Sum(),
		Outcomes: outcomesOf(counts),
	}
	info.Total, info.Sent = counts.Total()
	switch {
	case t.State.Ended():
	case t.Paused:
		info.State = statePaused
	case t.State == task.Sending && status.Blocked:
		info.State, info.Reason = stateBlocked, status.Reason
	}
	return info
}

// status returns what the dispatcher knows of a task.
func (s *Server) status(t *task.Task) dispatch.TaskStatus {
	if t.State.Ended() {
		return dispatch.TaskStatus{}
	}
	status, _ := s.dispatcher.Task(t.Ref)
	return status
}

// findTask returns a task by its id.
func (s *Server) findTask(ctx context.Context, c *gate.Caller, id string) (*task.Task, error) {
	t, err := s.tasks.Task(ctx, c.App.ID, id)
	return t, taskError(id, err)
}

// taskError gives errors of the store of tasks their codes.
func taskError(id string, err error) error {
	switch {
	case errors.Is(err, task.ErrUnknown):
		return apierr.UnknownTask.Errorf("there is no task %s", gate.Quote(id))
	case errors.Is(err, task.ErrEnded):
		return apierr.TaskEnded.Errorf("task %s has ended", gate.Quote(id))
	}
	return err
}

type listTasksRequest struct {
	States []string `items:"0-7" over:"90001" words:"accepted|resolving|sending|done|stopped|expired|failed"` // Only tasks in one of these states. A task that is paused or blocked is sending.
	Since  int64    `range:"0-4294967295"`                                                                    // Only tasks that were accepted at this moment or later, as Unix time.
	Until  int64    `range:"0-4294967295"`                                                                    // Only tasks that were accepted before this moment; 0 is no limit.
	DataID string   `json:"DataId"`                                                                           // Only tasks with this id.
	Limit  int64    `range:"1-100" default:"20"`                                                              // How many tasks are on a page.
	Next   string   // Next of the answer with the page before. It is absent for the first page.
}

type listTasksResponse struct {
	Tasks []taskInfo // The tasks, the latest first.
	Next  string     `json:",omitempty"` // The token of the next page, which is absent on the last one.
}

// listTasks lists the tasks of the app, the latest first.
func (s *Server) listTasks(ctx context.Context, c *gate.Caller, in *listTasksRequest) (out listTasksResponse, err error) {
	f := task.Filter{DataID: in.DataID}
	for _, text := range in.States {
		f.States = append(f.States, task.State(text))
	}
	if in.Since > 0 {
		f.Since = time.Unix(in.Since, 0)
	}
	if in.Until > 0 {
		f.Until = time.Unix(in.Until, 0)
	}
	tasks, next, err := s.tasks.List(ctx, c.App.ID, f, int(in.Limit), in.Next)
	if err != nil {
		return out, err
	}
	out.Next, out.Tasks = next, make([]taskInfo, len(tasks))
	for i, t := range tasks {
		status := s.status(t)
		out.Tasks[i] = infoOf(t, &status)
	}
	return out, nil
}

type getTaskRequest struct {
	TaskID  string `json:"TaskId" need:"yes"`        // The task.
	Account string `json:"To_Account" account:"yes"` // An account: the answer says whether it was in the audience.
	Sample  int64  `range:"0-100"`                   // How many accounts of the audience to show.
}

type getTaskResponse struct {
	taskInfo
	Lanes   []laneInfo // What became of the devices by certificate.
	Retries int        // How many devices wait for another try.
	Rate    int        // Devices a second that got their outcome lately.
	Done    int64      // About when it is done at this rate, as Unix time; 0 if nobody knows.
	Sample  []string   `json:",omitempty"` // Some accounts of the audience, if they were asked for.
	Chosen  *bool      `json:",omitzero"`  // Whether To_Account was in the audience, itself or through its user.
}

// laneInfo is what became of the devices of a task that are reached with one certificate.
type laneInfo struct {
	Certificate int              // The id of the certificate; 0 for devices that cannot be sent to.
	Provider    channel.Provider `json:",omitempty"` // Its provider.
	Outcomes    []outcomeCount   // What became of the devices.
	State       string           `json:",omitempty"` // ok, throttled: it waits as long as the provider wants, or blocked: nothing goes until somebody acts.
	Reason      string           `json:",omitempty"` // Why, in the words of the provider.
	Since       int64            `json:",omitzero"`  // Since when, as Unix time.
	Alarm       string           `json:",omitempty"` // Why dead tokens were kept, if they were.
	Pace        int              // Messages a second that may go with the certificate; 0 is any number.
}

// getTask returns a task: its state, what became of its devices so far, which certificates
// are blocked and why, how fast it goes and how long it takes yet. Until it has ended the
// total is what has been counted so far.
func (s *Server) getTask(ctx context.Context, c *gate.Caller, in *getTaskRequest) (out getTaskResponse, err error) {
	t, err := s.findTask(ctx, c, in.TaskID)
	if err != nil {
		return out, err
	}
	status := s.status(t)
	out = getTaskResponse{
		taskInfo: infoOf(t, &status), Lanes: lanesOf(t, s.dispatcher.Lanes(c.App.ID)), Retries: t.Progress.Retries,
		Rate: int(math.Ceil(status.Rate)), Done: at(status.Ends),
	}
	if in.Sample > 0 && t.Frozen > 0 {
		if out.Sample, _, _, err = s.tasks.Receivers(ctx, c.App.ID, in.TaskID, int(in.Sample), ""); err != nil {
			return out, taskError(in.TaskID, err)
		}
	}
	if in.Account != "" {
		e, err := s.tasks.Explain(ctx, c.App.ID, in.TaskID, in.Account)
		if err != nil {
			return out, taskError(in.TaskID, err)
		}
		out.Chosen = &e.Chosen
	}
	return out, nil
}

// lanesOf joins what is kept of the lanes of a task with how those of the app are now.
func lanesOf(t *task.Task, now []dispatch.LaneStatus) []laneInfo {
	lanes := make([]laneInfo, len(t.Progress.Lanes))
	for i, l := range t.Progress.Lanes {
		lanes[i] = laneInfo{Certificate: l.Certificate, Provider: l.Provider, Outcomes: outcomesOf(l.Counts)}
		if t.State.Ended() {
			continue
		}
		for _, s := range now {
			if s.Certificate == l.Certificate {
				lanes[i].State, lanes[i].Reason, lanes[i].Since, lanes[i].Alarm, lanes[i].Pace = string(s.State), s.Reason, at(s.Since), s.Alarm, int(math.Ceil(s.Pace))
			}
		}
	}
	return lanes
}

// outcomesOf returns the outcomes that there are.
func outcomesOf(counts report.Counts) []outcomeCount {
	list := []outcomeCount{}
	for o, n := range counts {
		if n > 0 {
			m := report.Meanings[o]
			list = append(list, outcomeCount{m.Word, m.Sentence, n})
		}
	}
	return list
}

type listReceiversRequest struct {
	TaskID string `json:"TaskId" need:"yes"`     // The task.
	Limit  int64  `range:"1-1000" default:"100"` // How many accounts are on a page.
	Next   string // Next of the answer with the page before. It is absent for the first page.
}

type listReceiversResponse struct {
	Accounts []string // The accounts of the page.
	Deleted  int      // How many accounts of the page were deleted since.
	Next     string   `json:",omitempty"` // The token of the next page, which is absent on the last one.
}

// listReceivers lists the accounts that the audience of a task was fixed to, in pages.
func (s *Server) listReceivers(ctx context.Context, c *gate.Caller, in *listReceiversRequest) (out listReceiversResponse, err error) {
	out.Accounts, out.Deleted, out.Next, err = s.tasks.Receivers(ctx, c.App.ID, in.TaskID, int(in.Limit), in.Next)
	if out.Accounts == nil {
		out.Accounts = []string{}
	}
	return out, taskError(in.TaskID, err)
}

type taskRequest struct {
	TaskID string `json:"TaskId" need:"yes"` // The task.
}

// pauseTask stops sending a task until it is resumed. What is on its way arrives. The life of
// the task goes on. A task that has ended is 95013.
func (s *Server) pauseTask(ctx context.Context, c *gate.Caller, in *taskRequest) (taskInfo, error) {
	return s.setPaused(ctx, c, in.TaskID, true)
}

// resumeTask lets a task go on that was paused. A task that has ended is 95013.
func (s *Server) resumeTask(ctx context.Context, c *gate.Caller, in *taskRequest) (taskInfo, error) {
	return s.setPaused(ctx, c, in.TaskID, false)
}

func (s *Server) setPaused(ctx context.Context, c *gate.Caller, id string, paused bool) (taskInfo, error) {
	t, err := s.findTask(ctx, c, id)
	if err != nil {
		return taskInfo{}, err
	}
	if err := s.tasks.SetPaused(ctx, c.App.ID, id, paused); err != nil {
		return taskInfo{}, taskError(id, err)
	}
	s.dispatcher.Changed(t.Ref)
	return s.taskAsItIs(ctx, c, id)
}

// stopTask ends a task for good. What is on its way arrives, and each device that is left has
// the outcome stopped. If that takes longer than a request may, with a provider that does not
// answer, it is 90994: then nothing more of the task is sent, it stops as soon as it can, and
// after a restart it is paused. To stop a task that was stopped does nothing. A task that
// has ended otherwise is 95013.
func (s *Server) stopTask(ctx context.Context, c *gate.Caller, in *taskRequest) (taskInfo, error) {
	t, err := s.findTask(ctx, c, in.TaskID)
	if err != nil {
		return taskInfo{}, err
	}
	if t.State != task.Stopped {
		// Only the end of a task is kept, and that waits for what is on its way.
		if err := s.tasks.SetPaused(ctx, c.App.ID, in.TaskID, true); err != nil && !errors.Is(err, task.ErrEnded) {
			return taskInfo{}, taskError(in.TaskID, err)
		}
		if err := s.dispatcher.Stop(ctx, t.Ref, "stopped by "+c.Name); err != nil {
			return taskInfo{}, taskError(in.TaskID, err)
		}
	}
	return s.taskAsItIs(ctx, c, in.TaskID)
}

// taskAsItIs returns a task after a change.
func (s *Server) taskAsItIs(ctx context.Context, c *gate.Caller, id string) (taskInfo, error) {
	t, err := s.findTask(ctx, c, id)
	if err != nil {
		return taskInfo{}, err
	}
	status := s.status(t)
	return infoOf(t, &status), nil
}
