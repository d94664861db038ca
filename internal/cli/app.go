package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"tidings/internal/admin"
	"tidings/internal/app"
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
				row(a.ID, *a.Status, number(a.Users), len(a.Keys), len(a.Admins), plain(*a.Name))
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

// showApp prints what is known of an app, its settings in the words of the
// configuration.
func showApp(w io.Writer, a admin.App) error {
	return table(w, func(row func(...any)) {
		row("sdkappid", a.ID)
		row("created", moment(a.Created))
		row("users", number(a.Users))
		row("keys", len(a.Keys))
		for _, s := range a.Table() {
			texts := s.Texts()
			if len(texts) == 0 && s.Shape() != app.One {
				texts = []string{s.Default}
			}
			row(s.Name, list(texts))
		}
	})
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
		a, err := change(e, cmd, admin.SetStatus, admin.StatusRequest{ID: id, Status: status}, id, "status")
		if err != nil {
			return err
		}
		if *asJSON {
			return e.printJSON(a)
		}
		_, err = fmt.Fprintf(e.stdout, "App %d is %s.\n", a.ID, *a.Status)
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
	if *a.Status != app.Disabled {
		return nil // the operation says so
	}
	question := fmt.Sprintf("Delete app %d, %s, with %s? This cannot be undone.\nWrite its SDKAppID to delete it: ", id, plain(*a.Name), counted(a.Users, "user", "users"))
	if answer := prompt(e.stdin, e.stderr, question); answer != fmt.Sprint(id) {
		return fmt.Errorf("app %d is not deleted", id)
	}
	return nil
}
