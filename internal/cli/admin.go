package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"tidings/internal/admin"
	"tidings/internal/app"
)

func (e *env) adminCommand() *cobra.Command {
	cmd := group("admin", "Say which accounts of an app may call the API",
		e.adminChangeCommand("add", admin.AddAdmin, "Make an account an admin, creating the account if need be"),
		e.adminChangeCommand("remove", admin.RemoveAdmin, "Make an admin an ordinary account again"),
		e.adminListCommand())
	cmd.Long = fmt.Sprintf("Say which accounts of an app may call the API, at most %d. %s is built in.", app.MaxAdmins, app.BuiltInAdmin)
	dataFlag(cmd.PersistentFlags())
	return cmd
}

func (e *env) adminListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list SDKAPPID", Short: "List the admins of an app", Args: takes("SDKAPPID")}
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
		return e.printAdmins(a.Admins, *asJSON)
	}
	return cmd
}

// adminChangeCommand is add or remove.
func (e *env) adminChangeCommand(name string, op admin.Op[admin.AccountRequest, []string], short string) *cobra.Command {
	cmd := &cobra.Command{Use: name + " SDKAPPID ACCOUNT", Short: short, Args: takes("SDKAPPID", "ACCOUNT")}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := parseApp(args[0])
		if err != nil {
			return err
		}
		admins, err := change(e, cmd, op, admin.AccountRequest{ID: id, Account: args[1]}, id, "admins")
		if err != nil {
			return err
		}
		return e.printAdmins(admins, *asJSON)
	}
	return cmd
}

func (e *env) printAdmins(admins []string, asJSON bool) error {
	if asJSON {
		return e.printJSON(admins)
	}
	for _, a := range admins {
		if _, err := fmt.Fprintln(e.stdout, plain(a)); err != nil {
			return err
		}
	}
	return nil
}
