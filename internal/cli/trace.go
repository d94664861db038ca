package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"tidings/client"
)

func (e *env) traceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trace --app SDKAPPID [--task TASK] ACCOUNT",
		Short: "Say why an account got a push or did not",
		Long: `Say why an account got a push or did not: one sentence, what to do about it, and for
each device of the account the steps up to where the push ended, with the provider's own
words. Without --task it is about the latest task of the app, which the last line names.`,
		Example: `  tidings trace --app 1400000001 --task 6a1f20c4_1_19d3b7e84c02a5f6 Mary`,
		Args:    takes("ACCOUNT"),
	}
	f := e.targetFlags(cmd)
	appFlag(cmd, &f.app)
	asJSON := jsonFlag(cmd)
	id := cmd.Flags().String("task", "", "`TASK` that it is about; default the latest")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		t, err := e.target(cmd, f, ticketLife)
		if err != nil {
			return err
		}
		var latest *client.Task
		if *id == "" {
			if latest, err = t.latestTask(cmd.Context()); err != nil {
				return err
			}
			*id = latest.ID
		}
		var d *client.Delivery
		err = t.use(cmd.Context(), func(ctx context.Context, c *client.Client) (err error) {
			d, err = c.ExplainDelivery(ctx, *id, args[0])
			return err
		})
		if err != nil {
			return err
		}
		if *asJSON {
			return e.printJSON(d)
		}
		err = e.printDelivery(d)
		if latest != nil {
			fmt.Fprintf(e.stdout, "\nTask %s of %s: %s\n", plain(latest.ID), moment(latest.Accepted.Time), orDash(latest.Title))
		}
		return err
	}
	return cmd
}

// latestTask returns the task that was accepted last.
func (t *target) latestTask(ctx context.Context) (*client.Task, error) {
	tasks, err := t.tasks(ctx, client.TaskFilter{}, 1)
	if err == nil && len(tasks) == 0 {
		err = fmt.Errorf("app %d has pushed nothing yet", t.app)
	}
	if err != nil {
		return nil, err
	}
	return &tasks[0], nil
}

func (e *env) printDelivery(d *client.Delivery) error {
	if _, err := fmt.Fprintln(e.stdout, plain(d.Sentence)); err != nil {
		return err
	}
	if d.Advice != "" {
		fmt.Fprintln(e.stdout, plain(d.Advice))
	}
	for _, device := range d.Devices {
		fmt.Fprintln(e.stdout)
		if device.RegistrationID != "" { // empty: the account had no device
			fmt.Fprintln(e.stdout, plain(device.RegistrationID))
		}
		err := table(e.stdout, func(row func(...any)) {
			for _, s := range device.Steps {
				row("  "+plain(s.Step), plain(s.State), plain(s.Text))
			}
		})
		if err != nil {
			return err
		}
		if device.Advice != "" && device.Advice != d.Advice {
			fmt.Fprintln(e.stdout, "  "+plain(device.Advice))
		}
	}
	return nil
}
