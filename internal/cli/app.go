package cli

import (
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"

	"github.com/spf13/cobra"

	"tidings/internal/admin"
	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/wording"
)

func (e *env) appCommand() *cobra.Command {
	cmd := group("app", "Make and change apps",
		e.appCreateCommand(), e.appSetCommand(), e.appListCommand(), e.appShowCommand(),
		e.appStatusCommand("disable", "Refuse all requests of an app with 60016", app.Disabled),
		e.appStatusCommand("enable", "Answer the requests of an app again", app.Enabled),
		e.appStatusCommand("suspend", "Refuse all requests of an app with 60020, as if its quota were used up", app.Suspended),
		e.appDeleteCommand())
	dataFlag(cmd.PersistentFlags())
	return cmd
}

func (e *env) appListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List the apps", Args: takes()}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		apps, err := ask(e, cmd, admin.ListApps, admin.None{})
		if err != nil {
			return err
		}
		if *asJSON {
			return e.printJSON(apps)
		}
		if len(apps) == 0 {
			_, err := fmt.Fprintln(e.stdout, "There are no apps; tidings app create makes one.")
			return err
		}
		return table(e.stdout, func(row func(...any)) {
			row("SDKAPPID", "STATUS", "USERS", "KEYS", "ADMINS", "NAME")
			for _, a := range apps {
				row(a.ID, a.Status, number(a.Users), len(a.Keys), len(a.Admins), plain(a.Name))
			}
		})
	}
	return cmd
}

func (e *env) appShowCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "show SDKAPPID", Short: "Show an app with its settings", Args: takes("SDKAPPID")}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := parseApp(args[0])
		if err != nil {
			return err
		}
		a, err := ask(e, cmd, admin.ShowApp, admin.AppRequest{ID: id})
		if err != nil {
			return err
		}
		if *asJSON {
			return e.printJSON(a)
		}
		return showApp(e.stdout, a)
	}
	return cmd
}

func showApp(w io.Writer, a admin.App) error {
	s := a.Settings
	userIDs := app.ASCII
	if s.UserIDs != "" {
		userIDs = s.UserIDs
	}
	var limits, attributes []string
	for _, name := range slices.Sorted(maps.Keys(s.Limits)) {
		n := "unlimited"
		if s.Limits[name] > 0 {
			n = fmt.Sprintf("%d/s", s.Limits[name])
		}
		limits = append(limits, name+" "+n)
	}
	for slot, attr := range a.Attributes {
		if attr.Name == "" {
			continue
		}
		text := fmt.Sprintf("%d=%s", slot, attr.Name)
		if attr.Kind == audience.RegistrationID {
			text += " (RegistrationID)"
		}
		attributes = append(attributes, text)
	}
	reimportWait := "none"
	if s.ReimportWait > 0 {
		reimportWait = wording.Duration(s.ReimportWait)
	}
	return table(w, func(row func(...any)) {
		row("SDKAppID", a.ID)
		row("Name", plain(a.Name))
		row("Description", list(nonEmpty(a.Description)))
		row("Status", a.Status)
		row("Created", moment(a.Created))
		row("Users", number(a.Users))
		row("Keys", len(a.Keys))
		row("Admins", list(a.Admins))
		row("Attributes", list(attributes))
		row("Create accounts", yesNo(s.CreateAccounts))
		row("Accounts", atMost(s.MaxAccounts))
		row("UserIDs", userIDs)
		row("Delete accounts", yesNo(!s.KeepAccounts))
		row("Reimport wait", reimportWait)
		row("Different tags", atMost(s.AppTags()))
		row("Limits", orElse(limits, "those of the API"))
		row("Hosts", orElse(s.Hosts, "any"))
		row("Addresses", orElse(texts(s.Addresses), "any"))
		row("Blocked accounts", list(s.BlockedAccounts))
		row("Disabled commands", list(s.DisabledCommands))
	})
}

// atMost is a limit that 0 takes away.
func atMost(limit int) string {
	if limit == 0 {
		return "no limit"
	}
	return "at most " + number(limit)
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

func orElse(items []string, none string) string {
	if len(items) == 0 {
		return none
	}
	return list(items)
}

func texts(prefixes []netip.Prefix) (s []string) {
	for _, p := range prefixes {
		s = append(s, p.String())
	}
	return s
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func (e *env) appStatusCommand(name, short string, status app.Status) *cobra.Command {
	cmd := &cobra.Command{Use: name + " SDKAPPID", Short: short, Args: takes("SDKAPPID")}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := parseApp(args[0])
		if err != nil {
			return err
		}
		a, err := ask(e, cmd, admin.SetStatus, admin.StatusRequest{ID: id, Status: status})
		if err != nil {
			return err
		}
		if *asJSON {
			return e.printJSON(a)
		}
		_, err = fmt.Fprintf(e.stdout, "App %d is %s.\n", a.ID, a.Status)
		return err
	}
	return cmd
}

func (e *env) appDeleteCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "delete SDKAPPID",
		Short: "Delete a disabled app with its users, keys and settings",
		Long: `Delete a disabled app with its users, keys and settings. This cannot be undone.

On a terminal it asks before it deletes. Elsewhere it needs --yes.`,
		Args: takes("SDKAPPID"),
	}
	yes := cmd.Flags().Bool("yes", false, "delete without asking")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := parseApp(args[0])
		if err != nil {
			return err
		}
		if !*yes && !isTerminal(e.stdin) {
			return usagef("deleting app %d cannot be undone; say --yes if it is meant", id)
		}
		if !*yes {
			if err := e.confirmDelete(cmd, id); err != nil {
				return err
			}
		}
		if _, err := ask(e, cmd, admin.DeleteApp, admin.AppRequest{ID: id}); err != nil {
			return err
		}
		_, err = fmt.Fprintf(e.stdout, "App %d is deleted.\n", id)
		return err
	}
	return cmd
}

// confirmDelete asks whether an app may go. It does not hold the data directory
// open while it waits.
func (e *env) confirmDelete(cmd *cobra.Command, id uint32) error {
	a, err := ask(e, cmd, admin.ShowApp, admin.AppRequest{ID: id})
	if err != nil {
		return err
	}
	if a.Status != app.Disabled {
		return nil // the operation says so
	}
	question := fmt.Sprintf("Delete app %d, %s, with %s? This cannot be undone.\nWrite its SDKAppID to delete it: ", id, plain(a.Name), counted(a.Users, "user", "users"))
	if answer := prompt(e.stdin, e.stderr, question); answer != fmt.Sprint(id) {
		return fmt.Errorf("app %d is not deleted", id)
	}
	return nil
}
