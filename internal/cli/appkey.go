package cli

import (
	"cmp"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"tidings/internal/admin"
	"tidings/internal/app"
)

func (e *env) appKeyCommand() *cobra.Command {
	cmd := group("appkey", "Add, list and remove the AppKeys that client apps register with",
		e.appKeyAddCommand(), e.appKeyListCommand("list", admin.ListAppKeys, "List the AppKeys of an app"),
		e.appKeyListCommand("reveal", admin.RevealAppKeys, "List the AppKeys of an app as they are"), e.appKeyRemoveCommand())
	cmd.Long = `Add, list and remove the AppKeys of an app. They ship in client apps and permit only to
make a device. Give each place where one ships an AppKey of its own.`
	dataFlag(cmd.PersistentFlags())
	return cmd
}

func (e *env) appKeyAddCommand() *cobra.Command {
	var id appID
	var file string
	cmd := &cobra.Command{
		Use:     "add --app SDKAPPID",
		Short:   "Add an AppKey, a new one if none is given",
		Example: `  tidings appkey add --app 1400000001 --name android`,
		Args:    takes(),
	}
	appFlag(cmd, &id)
	name := cmd.Flags().String("name", "", "`NAME` that says where it ships")
	cmd.Flags().StringVar(&file, "file", "", "`FILE` with the AppKey; - is standard input")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		in := admin.NewAppKeyRequest{ID: uint32(id), Name: *name}
		var err error
		if file != "" {
			if in.Secret, err = e.secretText("AppKey", file); err != nil {
				return err
			}
		}
		k, err := ask(e, cmd, admin.AddAppKey, in)
		if err != nil {
			return err
		}
		if in.Secret != "" {
			k.Secret = app.Secret("").String() // whoever gave it knows it
		}
		if *asJSON {
			return e.printJSON(k)
		}
		return table(e.stdout, func(row func(...any)) {
			row("Number", k.ID)
			row("Name", cmp.Or(plain(k.Name), "-"))
			if in.Secret == "" {
				row("AppKey", k.Secret)
			}
		})
	}
	return cmd
}

// appKeyListCommand is list or reveal.
func (e *env) appKeyListCommand(name string, op admin.Op[admin.AppRequest, []admin.AppKey], short string) *cobra.Command {
	var id appID
	cmd := &cobra.Command{Use: name + " --app SDKAPPID", Short: short, Args: takes()}
	appFlag(cmd, &id)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		keys, err := ask(e, cmd, op, admin.AppRequest{ID: uint32(id)})
		if err != nil {
			return err
		}
		if *asJSON {
			return e.printJSON(keys)
		}
		if len(keys) == 0 {
			_, err := fmt.Fprintf(e.stdout, "App %d has no AppKeys; tidings appkey add --app %d adds one.\n", id, id)
			return err
		}
		return table(e.stdout, func(row func(...any)) {
			row("NUMBER", "CREATED", "NAME", "APPKEY")
			for _, k := range keys {
				row(k.ID, moment(k.Created), cmp.Or(plain(k.Name), "-"), plain(k.Secret))
			}
		})
	}
	return cmd
}

func (e *env) appKeyRemoveCommand() *cobra.Command {
	var id appID
	cmd := &cobra.Command{
		Use:   "remove --app SDKAPPID NUMBER",
		Short: "Remove an AppKey at once: client apps with it make no more devices",
		Long:  "Remove an AppKey at once: client apps with it make no more devices. Devices that exist stay, and go on.",
		Args:  takes("NUMBER"),
	}
	appFlag(cmd, &id)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		key, err := strconv.Atoi(args[0])
		if err != nil || key <= 0 {
			return usagef("NUMBER %q is not the number of an AppKey; tidings appkey list shows them", args[0])
		}
		if _, err := change(e, cmd, admin.RemoveAppKey, admin.AppKeyRequest{ID: uint32(id), Key: key}, uint32(id), "app_keys"); err != nil {
			return err
		}
		_, err = fmt.Fprintf(e.stdout, "AppKey %d of app %d is removed.\n", key, id)
		return err
	}
	return cmd
}
