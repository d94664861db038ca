package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tidings/client"
)

func (e *env) taskCommand() *cobra.Command {
	return group("task", "Follow, pause and stop push tasks of a running server",
		e.taskListCommand(), e.taskShowCommand(), e.taskWatchCommand(),
		e.taskChangeCommand("pause", "Stop sending a task until it is resumed", (*client.Client).PauseTask),
		e.taskChangeCommand("resume", "Let a task go on that was paused", (*client.Client).ResumeTask),
		e.taskChangeCommand("stop", "End a task for good; what was not sent is not sent any more", (*client.Client).StopTask))
}

func (e *env) taskListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list --app SDKAPPID", Short: "List the tasks of an app, the latest first", Args: takes(),
		Example: `  tidings task list --app 1400000001 --state sending`,
	}
	f := e.targetFlags(cmd)
	appFlag(cmd, &f.app)
	asJSON := jsonFlag(cmd)
	states := cmd.Flags().StringSlice("state", nil, "only tasks in one of these `STATES`: accepted, resolving, sending (paused and blocked ones too), done, stopped, expired, failed")
	dataID := cmd.Flags().String("data-id", "", "only tasks with this `ID` of the caller")
	limit := cmd.Flags().Int("limit", 20, "list at most `N` tasks; 0 is all")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *limit < 0 {
			return usagef("--limit %d is less than 0", *limit)
		}
		filter := client.TaskFilter{DataID: *dataID}
		for _, s := range *states {
			filter.States = append(filter.States, client.TaskState(s))
		}
		t, err := e.target(cmd, f, ticketLife)
		if err != nil {
			return err
		}
		tasks, err := t.tasks(cmd.Context(), filter, *limit)
		if err != nil {
			return err
		}
		if *asJSON {
			return e.printJSON(tasks)
		}
		return table(e.stdout, func(row func(...any)) {
			for i, k := range tasks {
				if i == 0 {
					row("TASK", "ACCEPTED", "STATE", "RECEIVERS", "DEVICES", "SENT", "TITLE")
				}
				row(plain(k.ID), moment(k.Accepted.Time), plain(string(k.State)), number(k.Receivers), number(k.Total), number(k.Sent), orDash(k.Title))
			}
		})
	}
	return cmd
}

// tasks returns the latest tasks, at most limit of them unless that is 0.
func (t *target) tasks(ctx context.Context, f client.TaskFilter, limit int) (tasks []client.Task, err error) {
	tasks = []client.Task{}
	err = t.use(ctx, func(ctx context.Context, c *client.Client) error {
		for k, err := range c.Tasks(ctx, f) {
			if err != nil {
				return err
			}
			if tasks = append(tasks, k); len(tasks) == limit {
				break
			}
		}
		return nil
	})
	return tasks, err
}

// task returns a task.
func (t *target) task(ctx context.Context, id string) (k *client.TaskReport, err error) {
	err = t.use(ctx, func(ctx context.Context, c *client.Client) (err error) {
		k, err = c.Task(ctx, id)
		return err
	})
	return k, err
}

func (e *env) taskShowCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "show --app SDKAPPID TASK", Short: "Show a task and what became of it", Args: takes("TASK")}
	f := e.targetFlags(cmd)
	appFlag(cmd, &f.app)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		t, err := e.target(cmd, f, ticketLife)
		if err != nil {
			return err
		}
		k, err := t.task(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if *asJSON {
			return e.printJSON(k)
		}
		return e.printTask(k)
	}
	return cmd
}

func (e *env) printTask(k *client.TaskReport) error {
	aim := "everyone"
	switch {
	case k.Named > 0:
		aim = counted(k.Named, "account", "accounts")
	case k.Where != "":
		aim = k.Where
	}
	err := table(e.stdout, func(row func(...any)) {
		row("Task", plain(k.ID))
		row("State", strings.TrimSuffix(plain(string(k.State))+": "+plain(k.Reason), ": "))
		row("Title", orDash(k.Title))
		row("Text", orDash(k.Desc))
		row("For", plain(aim))
		row("Receivers", number(k.Receivers))
		row("From", fmt.Sprintf("%s, called by %s", orDash(k.From), orDash(k.Caller)))
		if k.DataID != "" {
			row("DataId", plain(k.DataID))
		}
		row("Accepted", moment(k.Accepted.Time))
		row("Begun", moment(k.Begun.Time))
		row("Ended", moment(k.Ended.Time))
		row("Expires", moment(k.Ends.Time))
		if !k.State.Ended() {
			rate := number(k.Rate) + " a second"
			if !k.Done.IsZero() {
				rate += ", done about " + moment(k.Done.Time)
			}
			row("Rate", rate)
		}
		if k.Retries > 0 {
			row("Tried again", counted(int(k.Retries), "device", "devices"))
		}
	})
	if err != nil {
		return err
	}
	for _, l := range k.Lanes {
		if l.State != "" && l.State != "ok" {
			fmt.Fprintf(e.stdout, "\nCertificate %d of %s is %s since %s: %s\n", l.Certificate, orDash(l.Provider), plain(l.State), moment(l.Since.Time), plain(l.Reason))
		}
	}
	fmt.Fprintln(e.stdout)
	return e.printOutcomes(&k.Task)
}

// printOutcomes prints what became of a task.
func (e *env) printOutcomes(k *client.Task) error {
	if len(k.Outcomes) == 0 {
		_, err := fmt.Fprintln(e.stdout, "No device has an outcome.")
		return err
	}
	return table(e.stdout, func(row func(...any)) {
		row("DEVICES", "OUTCOME", "MEANING")
		for _, o := range k.Outcomes {
			row(number(o.Count), plain(o.Outcome), plain(o.Meaning))
		}
	})
}

func (e *env) taskWatchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "watch --app SDKAPPID TASK", Short: "Follow a task until it has ended", Args: takes("TASK"),
		Long: `Follow a task until it has ended.

Exit codes: 0 it is done; 1 it ended otherwise. Ctrl-C does not stop the task.`,
	}
	f := e.targetFlags(cmd)
	appFlag(cmd, &f.app)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		t, err := e.target(cmd, f, watchLife)
		if err != nil {
			return err
		}
		k, err := e.watch(cmd.Context(), t, args[0], *asJSON)
		if err == nil && *asJSON {
			err = e.printJSON(k)
		}
		if err == nil && k.State != client.TaskDone {
			err = errNo
		}
		return err
	}
	return cmd
}

// Between two looks at a task: soon at first, since most are done in no time.
const (
	firstLook = 50 * time.Millisecond
	lastLook  = time.Second
)

// watch follows a task until it has ended, and prints what became of it unless quiet.
func (e *env) watch(ctx context.Context, t *target, id string, quiet bool) (*client.TaskReport, error) {
	p := newProgress(e.stderr, 0, "devices")
	defer p.clear()
	for pause := firstLook; ; pause = min(2*pause, lastLook) {
		k, err := t.task(ctx, id)
		if ctx.Err() != nil {
			return nil, leftAlone(ctx)
		}
		if err != nil {
			return nil, err
		}
		if k.State.Ended() {
			p.clear()
			if quiet {
				return k, nil
			}
			return k, e.printEnd(k)
		}
		p.update(int64(min(k.Units, math.MaxInt64)), int(k.Units), func() string { return " " + progressText(k) })
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, leftAlone(ctx)
		}
	}
}

// leftAlone is the error of whoever does not wait for the end of a task.
func leftAlone(ctx context.Context) error {
	return fmt.Errorf("not followed any further; the task goes on: %w", context.Cause(ctx))
}

// progressText says how a task is.
func progressText(k *client.TaskReport) string {
	text := "(" + plain(string(k.State))
	if k.Reason != "" {
		text += ": " + plain(k.Reason)
	}
	for _, l := range k.Lanes {
		if l.State != "" && l.State != "ok" && k.State != client.TaskBlocked {
			text += fmt.Sprintf(", certificate %d %s: %s", l.Certificate, plain(l.State), plain(l.Reason))
		}
	}
	if k.Retries > 0 {
		text += fmt.Sprintf(", %s to be tried again", number(k.Retries))
	}
	if !k.Done.IsZero() {
		text += ", done about " + moment(k.Done.Time)
	}
	return text + ")"
}

func (e *env) printEnd(k *client.TaskReport) error {
	text := plain(string(k.State))
	if k.Reason != "" {
		text += ": " + plain(k.Reason)
	}
	_, err := fmt.Fprintf(e.stdout, "%s, %s, %s handed to a provider\n", text, counted(int(k.Total), "device", "devices"), number(k.Sent))
	if len(k.Outcomes) == 0 {
		return err
	}
	return errors.Join(err, e.printOutcomes(&k.Task))
}

// taskChangeCommand is a command that changes a task.
func (e *env) taskChangeCommand(name, short string, change func(*client.Client, context.Context, string) (*client.Task, error)) *cobra.Command {
	cmd := &cobra.Command{Use: name + " --app SDKAPPID TASK", Short: short, Args: takes("TASK")}
	f := e.targetFlags(cmd)
	appFlag(cmd, &f.app)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		t, err := e.target(cmd, f, ticketLife)
		if err != nil {
			return err
		}
		var k *client.Task
		err = t.use(cmd.Context(), func(ctx context.Context, c *client.Client) (err error) {
			k, err = change(c, ctx, args[0])
			return err
		})
		if err != nil {
			return err
		}
		if *asJSON {
			return e.printJSON(k)
		}
		_, err = fmt.Fprintf(e.stdout, "task %s: %s, %s with an outcome\n", plain(k.ID), plain(string(k.State)), counted(int(k.Total), "device", "devices"))
		return err
	}
	return cmd
}
