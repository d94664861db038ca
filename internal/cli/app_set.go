package cli

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tidings/internal/admin"
	"tidings/internal/api"
	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/wording"
)

func (e *env) appCreateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create [SDKAPPID]",
		Short: "Make an app",
		Long: `Make an app, with the next free SDKAppID if none is given. Prints the SDKAppID
and, if no key was given, the new secret key.`,
		Example: `  tidings app create --name shop --attr 0=sex --attr 1=city
  tidings app create 1400000007 --secret-key-file key.txt --limit default=0`,
		Args: takes("[SDKAPPID]"),
	}
	settings := e.settingsFlags(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var id uint32
		if len(args) > 0 {
			var err error
			if id, err = parseApp(args[0]); err != nil {
				return err
			}
		}
		d, err := settings(id)
		if err != nil {
			return err
		}
		a, err := ask(e, cmd, admin.CreateApp, d)
		if err != nil {
			return err
		}
		if d.SecretKey != nil {
			for i := range a.Keys {
				a.Keys[i].Secret = app.Secret("").String() // whoever gave it knows it
			}
		}
		if *asJSON {
			return e.printJSON(a)
		}
		return table(e.stdout, func(row func(...any)) {
			row("SDKAppID", a.ID)
			if d.SecretKey == nil {
				row("Secret key", a.Keys[0].Secret)
			}
		})
	}
	return cmd
}

func (e *env) appSetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set SDKAPPID",
		Short: "Change the settings of an app",
		Long: `Change the settings of an app. What is not named stays as it is.

A flag that may be repeated sets its whole list, except --attr, which names the
slots it lists; one empty value (--host '') empties the list.`,
		Example: `  tidings app set 1400000001 --attr 3=plan --limit default=0
  tidings app set 1400000001 --address 10.0.0.0/8 --address 192.0.2.7
  tidings app set 1400000001 --address ''`,
		Args: takes("SDKAPPID"),
	}
	settings := e.settingsFlags(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := parseApp(args[0])
		if err != nil {
			return err
		}
		d, err := settings(id)
		if err != nil {
			return err
		}
		if !changesAny(cmd) {
			return usagef("nothing to change; see tidings app set --help")
		}
		a, err := ask(e, cmd, admin.SetApp, d)
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

// changesAny reports whether any flag about the app was given.
func changesAny(cmd *cobra.Command) bool {
	for _, name := range settingNames {
		if cmd.Flags().Changed(name) {
			return true
		}
	}
	return false
}

var settingNames = []string{
	"name", "description", "secret-key-file", "admin", "attr", "attr-type", "create-accounts", "max-accounts",
	"user-ids", "delete-accounts", "reimport-wait", "max-tags", "limit", "host", "address", "blocked-account", "disabled-command",
}

// settingsFlags adds the flags that describe an app, and returns what makes a
// declaration of those that were given.
func (e *env) settingsFlags(cmd *cobra.Command) func(id uint32) (app.Declaration, error) {
	var name, description, secretFile, userIDs, reimportWait string
	var createAccounts, deleteAccounts bool
	var maxAccounts, maxTags int
	var admins, attrs, attrTypes, limits, hosts, addresses, blocked, disabled []string
	f := cmd.Flags()
	f.StringVar(&name, "name", "", "`NAME` for people")
	f.StringVar(&description, "description", "", "`TEXT` for people")
	secretFlag(cmd, &secretFile, "`FILE` with the primary key")
	f.StringArrayVar(&admins, "admin", nil, "`ACCOUNT` that may call the API besides administrator (repeatable)")
	f.StringArrayVar(&attrs, "attr", nil, "`SLOT=NAME` names an attribute slot, 0=sex (repeatable)")
	f.StringArrayVar(&attrTypes, "attr-type", nil, "`SLOT=TYPE` says whom a new attribute is about, 2=1: 0 is a UserID, 1 a RegistrationID (repeatable)")
	f.BoolVar(&createAccounts, "create-accounts", false, "let set_attr create accounts")
	f.IntVar(&maxAccounts, "max-accounts", 0, "`N` accounts the app may have; 0 is no limit")
	f.StringVar(&userIDs, "user-ids", "", "characters a UserID may have: `ascii|utf8`")
	f.BoolVar(&deleteAccounts, "delete-accounts", true, "let account_delete work")
	f.StringVar(&reimportWait, "reimport-wait", "0", "`DURATION` from its deletion until an account can be made again, such as 30d")
	f.IntVar(&maxTags, "max-tags", audience.DefaultAppTags, "`N` different tags the app may have; 0 is no limit of its own")
	f.StringArrayVar(&limits, "limit", nil, "`COMMAND=N` calls per second, also default=N and total=N; 0 is unlimited (repeatable)")
	f.StringArrayVar(&hosts, "host", nil, "host `NAME` that requests may be sent to (repeatable)")
	f.StringArrayVar(&addresses, "address", nil, "`ADDRESS` or network that requests may come from (repeatable)")
	f.StringArrayVar(&blocked, "blocked-account", nil, "`ACCOUNT` whose requests are refused (repeatable)")
	f.StringArrayVar(&disabled, "disabled-command", nil, "`COMMAND` that is refused, such as timpush/set_attr (repeatable)")

	return func(id uint32) (d app.Declaration, err error) {
		given := f.Changed
		d.ID = id
		if given("name") {
			d.Name = &name
		}
		if given("description") {
			d.Description = &description
		}
		if given("secret-key-file") {
			secret, err := e.secret(secretFile)
			if err != nil {
				return d, err
			}
			d.SecretKey = &secret
		}
		if given("create-accounts") {
			d.CreateAccounts = &createAccounts
		}
		if given("max-accounts") {
			d.MaxAccounts = &maxAccounts
		}
		if given("user-ids") {
			d.UserIDs = (*app.UserIDs)(&userIDs)
		}
		if given("delete-accounts") {
			d.DeleteAccounts = &deleteAccounts
		}
		if given("reimport-wait") {
			wait, err := wording.ParseDuration(reimportWait)
			if err != nil {
				return d, usagef("--reimport-wait %q is not a duration such as 0, 12h or 30d", reimportWait)
			}
			d.ReimportWait = &wait
		}
		if given("max-tags") {
			d.MaxTags = &maxTags
		}
		if d.AttrNames, err = pairs("attr", attrs, "0=sex", func(s string) (string, error) { return s, nil }); err != nil {
			return d, err
		}
		if d.AttrTypes, err = pairs("attr-type", attrTypes, "2=1", strconv.Atoi); err != nil {
			return d, err
		}
		d.Admins, d.Hosts, d.BlockedAccounts, d.DisabledCommands = whole(admins), whole(hosts), whole(blocked), whole(disabled)
		if limits = whole(limits); limits != nil {
			if d.Limits, err = pairs("limit", limits, "default=0", strconv.Atoi); err != nil {
				return d, err
			}
		}
		if addresses = whole(addresses); addresses != nil {
			d.Addresses = []netip.Prefix{}
			for _, text := range addresses {
				p, err := parseNetwork(text)
				if err != nil {
					return d, err
				}
				d.Addresses = append(d.Addresses, p)
			}
		}
		return d, checkSettings(d)
	}
}

// checkSettings lists what is wrong with what was given, by the names of the
// flags.
func checkSettings(d app.Declaration) error {
	if d.ID == 0 {
		d.ID = 1 // the next free one will be right
	}
	var mistakes []string
	for _, m := range d.Check(api.Commands()) {
		mistakes = append(mistakes, m.Error())
	}
	switch len(mistakes) {
	case 0:
		return nil
	case 1:
		return usagef("%s", mistakes[0])
	}
	return usagef("the settings have %d mistakes:\n  %s", len(mistakes), strings.Join(mistakes, "\n  "))
}

// whole is a repeated flag as a list: nil if it was not given, empty if it was
// given once with nothing.
func whole(values []string) []string {
	if len(values) == 1 && values[0] == "" {
		return []string{}
	}
	return values
}

// pairs reads a repeated flag of the form key=value.
func pairs[T any](flag string, values []string, example string, parse func(string) (T, error)) (map[string]T, error) {
	if values == nil {
		return nil, nil
	}
	all := map[string]T{}
	for _, v := range values {
		key, text, ok := strings.Cut(v, "=")
		value, err := parse(text)
		if !ok || err != nil {
			return nil, usagef("--%s %q is not of the form %s", flag, v, example)
		}
		if _, twice := all[key]; twice {
			return nil, usagef("--%s gives %s twice", flag, key)
		}
		all[key] = value
	}
	return all, nil
}

// parseNetwork reads an address or a network.
func parseNetwork(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, usagef("--address %q is not an address or network such as 192.0.2.7 or 10.0.0.0/8", text)
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	if p != p.Masked() {
		return netip.Prefix{}, usagef("--address %q is an address in a network, the network is %v", text, p.Masked())
	}
	return p, nil
}
