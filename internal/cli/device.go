package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"tidings/internal/admin"
)

func (e *env) deviceCommand() *cobra.Command {
	cmd := group("device", "Show, test, import, export and remove devices, and restore their tokens",
		e.deviceListCommand(), e.deviceShowCommand(), e.deviceTestCommand(), e.deviceRestoreCommand(), e.deviceRemoveCommand(),
		e.deviceImportCommand(), e.deviceExportCommand())
	cmd.Long = `Show, test, import, export and remove devices of an app, and restore their tokens, on a
running server or, with none, on the data directory. Only an export shows tokens whole.`
	dataFlag(cmd.PersistentFlags())
	return cmd
}

func (e *env) deviceListCommand() *cobra.Command {
	var id appID
	cmd := &cobra.Command{
		Use: "list --app SDKAPPID [ACCOUNT]", Short: "List the devices of an app, or of an account",
		Example: `  tidings device list --app 1400000001 Mary`,
		Args:    takes("[ACCOUNT]"),
	}
	appFlag(cmd, &id)
	asJSON := jsonFlag(cmd)
	limit := cmd.Flags().Int("limit", 100, "list at most `N` devices; 0 is all")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *limit < 0 {
			return usagef("--limit: %d is not a number from 0 (all)", *limit)
		}
		in := admin.DevicesRequest{ID: uint32(id), Account: strings.Join(args, "")}
		var list []admin.Device
		more := false
		err := e.operate(cmd, reads, func(ctx context.Context, c admin.Caller) error {
			for {
				if in.Account == "" && *limit > 0 {
					in.Limit = min(*limit-len(list), admin.MaxDevices)
				}
				page, err := admin.ListDevices.Do(ctx, c, in)
				if err != nil {
					return err
				}
				list, in.Next = append(list, page.Devices...), page.Next
				if more = in.Next != ""; !more || len(list) == *limit {
					return nil
				}
			}
		})
		if err != nil {
			return err
		}
		if *asJSON {
			return e.printJSON(append([]admin.Device{}, list...))
		}
		if err := table(e.stdout, func(row func(...any)) {
			row("REGISTRATIONID", "USER", "PLATFORM", "MODEL", "APP", "LANGUAGE", "PERMISSION", "TOKENS", "LAST ACTIVE")
			for i := range list {
				d := &list[i]
				row(plain(d.ID), dash(d.User), dash(d.Platform), dash(d.Model), dash(d.AppVersion), dash(d.Language), cmp.Or(d.Permission, "unknown"), len(d.Tokens), moment(d.LastActive))
			}
		}); err != nil {
			return err
		}
		if more {
			fmt.Fprintf(e.stderr, "tidings: there are more devices; --limit 0 lists all\n")
		}
		return nil
	}
	return cmd
}

// dash returns a text for a table, or - if there is none.
func dash(text string) string { return cmp.Or(plain(text), "-") }

func (e *env) deviceShowCommand() *cobra.Command {
	var id appID
	cmd := &cobra.Command{
		Use: "show --app SDKAPPID DEVICE", Short: "Show what is known of a device, and its retired tokens",
		Args: takes("DEVICE"),
	}
	appFlag(cmd, &id)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		d, err := ask(e, cmd, admin.ShowDevice, admin.DeviceRequest{ID: uint32(id), Device: args[0]})
		if err != nil {
			return err
		}
		if *asJSON {
			return e.printJSON(d)
		}
		return showDevice(e.stdout, &d)
	}
	return cmd
}

func showDevice(w io.Writer, d *admin.Device) error {
	return table(w, func(row func(...any)) {
		row("RegistrationID", plain(d.ID))
		row("User", dash(d.User))
		row("Platform", dash(d.Platform))
		row("Model", dash(d.Model))
		row("System", dash(strings.TrimSpace(d.System+" "+d.SystemVersion)))
		row("App version", dash(d.AppVersion))
		row("SDK version", dash(d.SDKVersion))
		row("Push version", dash(d.PushVersion))
		row("Language", dash(d.Language))
		row("Time zone", dash(d.TimeZone))
		row("Notifications", cmp.Or(d.Permission, "unknown"))
		row("For tests", yesNo(d.Test))
		row("Badge", d.Badge)
		row("Registered", moment(d.Registered))
		row("Last active", moment(d.LastActive))
		for _, t := range d.Tokens {
			row("Token", tokenText(&t))
		}
		for _, t := range d.Retired {
			text := tokenText(&t) + ", retired " + moment(t.Retired) + ": " + plain(t.Reason)
			if t.Task != "" {
				text += ", task " + plain(t.Task)
			}
			row("Retired", text)
		}
	})
}

// tokenText returns a token as people see it.
func tokenText(t *admin.Token) string {
	text := fmt.Sprintf("%s %s of certificate %d", plain(t.Kind), plain(t.Token), t.Certificate)
	for _, more := range []struct{ name, value string }{{"activity", t.LaID}, {"environment", t.Environment}, {"topic", t.Topic}} {
		if more.value != "" {
			text += ", " + more.name + " " + plain(more.value)
		}
	}
	if !t.Expires.IsZero() {
		text += ", until " + moment(t.Expires)
	}
	return text + ", refreshed " + moment(t.Refreshed)
}

func (e *env) deviceTestCommand() *cobra.Command {
	var id appID
	cmd := &cobra.Command{
		Use: "test --app SDKAPPID DEVICE", Short: "Send a push to one device and show what its provider says",
		Long: `Send a push to one device and show what its provider says. The push is no task and
counts nowhere.

Exit codes: 0 the provider took it; 1 it did not.`,
		Args: takes("DEVICE"),
	}
	appFlag(cmd, &id)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := ask(e, cmd, admin.TestDevice, admin.DeviceRequest{ID: uint32(id), Device: args[0]})
		if err != nil {
			return err
		}
		if *asJSON {
			err = e.printJSON(r)
		} else {
			err = table(e.stdout, func(row func(...any)) {
				row("Certificate", r.Certificate)
				row("Provider", dash(string(r.Provider)))
				row("Outcome", dash(r.Outcome))
				row("Status", r.Status)
				row("Code", dash(r.Code))
				row("Words", dash(r.Words))
				row("Took", r.Took)
			})
		}
		if err == nil && !r.OK {
			err = errNo
		}
		return err
	}
	return cmd
}

func (e *env) deviceRestoreCommand() *cobra.Command {
	var id appID
	cmd := &cobra.Command{
		Use: "restore --app SDKAPPID [DEVICE]", Short: "Give retired tokens back to their devices",
		Long: `Give tokens back that were retired in the last 30 days because a provider said that they
were dead: those of a device, or with --task those of all devices that were retired
during a task. Where a device has a newer token in the place of an old one, that stays.`,
		Example: `  tidings device restore --app 1400000001 --task 3f0c9b52-7a41-4e0d-9c66-18d2b7a40e5f`,
		Args:    takes("[DEVICE]"),
	}
	appFlag(cmd, &id)
	task := cmd.Flags().String("task", "", "`TASKID` of the push that retired them")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if (len(args) == 0) == (*task == "") {
			return usagef("name a DEVICE, or a task with --task TASKID")
		}
		out, err := ask(e, cmd, admin.RestoreTokens, admin.RestoreRequest{ID: uint32(id), Device: strings.Join(args, ""), Task: *task})
		if err != nil {
			return err
		}
		if *asJSON {
			return e.printJSON(out)
		}
		_, err = fmt.Fprintf(e.stdout, "%s restored.\n", counted(out.Tokens, "token is", "tokens are"))
		return err
	}
	return cmd
}

func (e *env) deviceRemoveCommand() *cobra.Command {
	var id appID
	cmd := &cobra.Command{
		Use: "remove --app SDKAPPID DEVICE", Short: "Remove a device with its attributes and tags",
		Long: `Remove a device with its attributes and tags. This cannot be undone. An app that is still
installed on it registers anew when it calls next.

On a terminal it asks before it removes. Elsewhere it needs --yes.`,
		Args: takes("DEVICE"),
	}
	appFlag(cmd, &id)
	yes := cmd.Flags().Bool("yes", false, "remove without asking")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case *yes:
		case !isTerminal(e.stdin):
			return usagef("removing device %s of app %d cannot be undone; say --yes if it is meant", plain(args[0]), id)
		case prompt(e.stdin, e.stderr, fmt.Sprintf("Remove device %s of app %d? This cannot be undone.\nWrite yes to remove: ", plain(args[0]), id)) != "yes":
			return fmt.Errorf("no device is removed")
		}
		if _, err := ask(e, cmd, admin.RemoveDevice, admin.DeviceRequest{ID: uint32(id), Device: args[0]}); err != nil {
			return err
		}
		_, err := fmt.Fprintf(e.stdout, "Device %s is removed.\n", plain(args[0]))
		return err
	}
	return cmd
}
