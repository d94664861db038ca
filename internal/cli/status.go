package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"tidings/internal/admin"
)

func (e *env) statusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how the server is",
		Long: `Show how the server of a data directory is: its version and address, how long it
runs, how many apps and users it has, what it uses of the disk, and whether it takes
changes. If no server runs, it shows what can be seen of the directory without
opening it.

Exit codes: 0 a server runs and takes changes; 1 it takes none, or none runs.`,
		Args: takes(),
	}
	dataFlag(cmd.Flags())
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		st, err := ask(e, cmd, admin.StoreStatus, admin.None{})
		if err != nil {
			return err
		}
		if *asJSON {
			err = e.printJSON(st)
		} else {
			err = e.printStatus(&st)
		}
		if err == nil && !st.TakesChanges {
			err = errNo
		}
		return err
	}
	return cmd
}

func (e *env) printStatus(st *admin.Status) error {
	return table(e.stdout, func(row func(cells ...any)) {
		switch {
		case st.Running:
			row("Server", fmt.Sprintf("tidings %s, process %d", st.Version, st.PID))
			row("Ready since", fmt.Sprintf("%s (%s)", moment(st.Started), ago(st.Started)))
			row("Address", st.URL)
			if st.Metrics != "" {
				row("Metrics", st.Metrics)
			}
			changes := "taken"
			if !st.TakesChanges {
				changes = "NOT taken, or slowed: " + plain(st.Reason)
			}
			row("Changes", changes)
		case st.Interrupted:
			row("Server", "none answers; one is starting, or the last was killed")
		default:
			row("Server", "none is running; the last was stopped in order")
		}
		row("Data", plain(st.Data))
		if st.Apps != nil {
			row("Apps", number(*st.Apps))
		}
		if st.Users != nil {
			row("Users", number(*st.Users))
		}
		if st.Devices != nil {
			row("Devices", number(*st.Devices))
		}
		for _, c := range st.Channels {
			row("Channel", channelTrouble(c))
		}
		d := &st.Disk
		row("Disk", fmt.Sprintf("log %s, kept log %s, checkpoints %s, tables %s", size(d.Log), size(d.KeptLog), size(d.Checkpoints), size(d.Tables)))
		if c := st.Checkpoint; c != nil {
			row("Checkpoint", fmt.Sprintf("%s (%s), %s", moment(c.Time), ago(c.Time), size(c.Bytes)))
		} else {
			row("Checkpoint", "none yet")
		}
		if !st.CertificateEnds.IsZero() {
			row("Certificate", "until "+moment(st.CertificateEnds))
		}
		if last := st.LastError; last != nil {
			text := last.Message
			if last.Error != "" {
				text += ": " + last.Error
			}
			row("Last error", moment(last.Time)+" "+plain(text))
		} else if st.Running {
			row("Last error", "none since the start")
		}
	})
}

// ago writes how long ago a moment was: 3m12s, 5h7m, 41 days.
func ago(t time.Time) string {
	d := max(0, time.Since(t)).Truncate(time.Second)
	switch {
	case d >= 48*time.Hour:
		return counted(int(d/(24*time.Hour)), "day", "days")
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return d.String()
}

// channelTrouble says what is wrong with a channel.
func channelTrouble(c admin.ChannelStatus) string {
	text := fmt.Sprintf("%s of app %d, certificate %d: %s", c.Provider, c.App, c.Certificate, c.State)
	if c.Reason != "" {
		text += fmt.Sprintf(" since %s: %s", moment(c.Since), c.Reason)
	}
	if c.Alarm != "" {
		text += "; " + c.Alarm
	}
	return plain(text)
}
