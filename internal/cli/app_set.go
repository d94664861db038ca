package cli

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/spf13/cobra"

	"tidings/internal/admin"
	"tidings/internal/api"
	"tidings/internal/app"
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
		if reflect.DeepEqual(d, app.Declaration{ID: id}) {
			return usagef("nothing to change; see tidings app set --help")
		}
		a, err := change(e, cmd, admin.SetApp, d, id, given(d)...)
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

// given returns the names of the settings that a declaration has.
func given(d app.Declaration) (names []string) {
	if d.SecretKey != nil {
		names = append(names, keySettings...)
	}
	for _, s := range d.Table() {
		if s.Given() {
			names = append(names, s.Name)
		}
	}
	return names
}

// settingsFlags adds the flags that describe an app. The function that it returns makes a
// declaration of the flags that were given.
func (e *env) settingsFlags(cmd *cobra.Command) func(id uint32) (app.Declaration, error) {
	d := new(app.Declaration)
	for _, s := range d.Table() {
		if s.Name == "status" {
			continue // enable, disable and suspend say it
		}
		f := cmd.Flags().VarPF(&settingFlag{s}, s.Flag, "", settingHelp(s))
		if s.Type() == "bool" {
			f.NoOptDefVal = "true"
		}
		if choices := s.Choices(); choices != nil {
			complete(cmd, s.Flag, cobra.FixedCompletions(choices, cobra.ShellCompDirectiveNoFileComp))
		}
	}
	var secretFile string
	secretFlag(cmd, &secretFile, "`FILE` with the primary key")
	return func(id uint32) (app.Declaration, error) {
		d.ID = id
		if secretFile != "" {
			secret, err := e.secret(secretFile)
			if err != nil {
				return *d, err
			}
			d.SecretKey = &secret
		}
		return *d, checkSettings(*d)
	}
}

// settingHelp returns the help of the flag of a setting: the first sentence of its
// document.
func settingHelp(s app.Setting) string {
	help, _, _ := strings.Cut(s.Doc, ". ")
	help = strings.ToLower(help[:1]) + strings.TrimSuffix(strings.ReplaceAll(help[1:], "`", ""), ".")
	if s.Shape() != app.One {
		help += " (repeatable)"
	}
	return help
}

// settingFlag is the flag of a setting. It writes into a declaration.
type settingFlag struct{ app.Setting }

// String returns nothing: the value that the app has is not known here.
func (f *settingFlag) String() string { return "" }

// Type returns the word for the value in the help.
func (f *settingFlag) Type() string {
	if f.Value == nil { // the help asks about the zero flag
		return ""
	}
	if f.Setting.Type() == "bool" {
		return "bool"
	}
	return f.Arg
}

// Set puts a value into the declaration. An empty one empties a list.
func (f *settingFlag) Set(text string) error {
	switch {
	case f.Shape() == app.One:
		return f.Put("", text)
	case text == "" && !f.Given():
		f.Clear()
		return nil
	case f.Shape() == app.List:
		return f.Put("", text)
	}
	key, value, ok := strings.Cut(text, "=")
	if !ok {
		return fmt.Errorf("not of the form %s", f.Arg)
	}
	return f.Put(key, value)
}

// checkSettings returns all mistakes of a declaration as one error.
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
