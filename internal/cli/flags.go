package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tidings/internal/admin"
	"tidings/internal/wording"
)

// takes returns a check of the arguments of a command, by their names. Arguments whose
// names are in brackets may be left out.
func takes(names ...string) cobra.PositionalArgs {
	required := 0
	for required < len(names) && !strings.HasPrefix(names[required], "[") {
		required++
	}
	return func(_ *cobra.Command, args []string) error {
		if len(args) < required {
			return fmt.Errorf("%s is missing", enumerate(names[len(args):required], "and"))
		}
		if len(args) > len(names) {
			return fmt.Errorf("unexpected argument %q", args[len(names)])
		}
		return nil
	}
}

// flagError returns the error of flags that cannot be parsed. If a command before the
// flags is not known, that command is the mistake, and not the flags.
func flagError(cmd *cobra.Command, err error) error {
	if args := cmd.Flags().Args(); cmd.HasSubCommands() && len(args) > 0 {
		return cmd.Args(cmd, args)
	}
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok && unknown.GetSpecifiedShortnames() == "" {
		return fmt.Errorf("%w%s", err, didYouMean(nearFlags(cmd.Flags(), unknown.GetSpecifiedName())))
	}
	return err
}

// nearFlags returns the flags that a wrong name most likely means. Up to two letters may be
// wrong, of a short name one.
func nearFlags(flags *pflag.FlagSet, name string) (near []string) {
	best := 2
	flags.VisitAll(func(f *pflag.Flag) {
		d := wording.Distance(name, f.Name)
		if f.Hidden || d > best || d >= max(2, len(f.Name)/2) {
			return
		}
		if d < best {
			best, near = d, nil
		}
		near = append(near, "--"+f.Name)
	})
	return near
}

// appID is the value of --app and of the argument SDKAPPID.
type appID uint32

// String returns the number; empty if there is none.
func (a *appID) String() string {
	if *a == 0 {
		return ""
	}
	return strconv.FormatUint(uint64(*a), 10)
}

// Type returns the word for the value in the help.
func (*appID) Type() string { return "SDKAPPID" }

// Set reads a number.
func (a *appID) Set(text string) error {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n == 0 {
		return errors.New("not a number from 1 to 4294967295")
	}
	*a = appID(n)
	return nil
}

// parseApp reads the argument SDKAPPID.
func parseApp(text string) (uint32, error) {
	var a appID
	if err := a.Set(text); err != nil {
		return 0, usagef("SDKAPPID %q is %w", text, err)
	}
	return uint32(a), nil
}

// appFlag adds --app, which is required.
func appFlag(cmd *cobra.Command, into *appID) {
	cmd.Flags().Var(into, "app", "the app (required)")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if *into == 0 {
			return errors.New("--app is missing")
		}
		return nil
	}
}

// span is a duration that may be written in days.
type span time.Duration

// String writes whole days as days.
func (s *span) String() string { return wording.Duration(time.Duration(*s)) }

// Type returns the word for the value in the help.
func (*span) Type() string { return "duration" }

// Set reads what wording.ParseDuration reads, from a second to maxDays.
func (s *span) Set(text string) error {
	d, err := wording.ParseDuration(text)
	if err != nil || d < time.Second || d > maxDays*24*time.Hour {
		return fmt.Errorf("not a duration from 1s to %dd such as 90m, 24h or 180d", maxDays)
	}
	*s = span(d)
	return nil
}

const maxDays = 36500

// dataFlag adds --data to a command and those below it.
func dataFlag(flags *pflag.FlagSet) {
	flags.String("data", defaultData, "data `directory`; TIDINGS_DATA sets another default")
}

const defaultData = "./tidings-data"

// data returns the data directory a command acts on.
func (e *env) data(cmd *cobra.Command) string {
	dir, _ := cmd.Flags().GetString("data")
	if value, _ := e.lookup("TIDINGS_DATA"); value != "" && !cmd.Flags().Changed("data") {
		dir = value
	}
	return dir
}

// A plainSwitch is a flag without a value whose help says no more than its name, where
// pflag writes --json[=true|false]. Both are still read.
type plainSwitch struct{ pflag.Value }

// plainSwitches turns the switches of a command, and of the commands below it, into
// plainSwitch flags.
func plainSwitches(cmd *cobra.Command) {
	cmd.InitDefaultHelpFlag()
	for _, flags := range []*pflag.FlagSet{cmd.Flags(), cmd.PersistentFlags()} {
		flags.VisitAll(func(f *pflag.Flag) {
			if f.Value.Type() == "bool" {
				f.Value = plainSwitch{f.Value}
			}
		})
	}
	for _, c := range cmd.Commands() {
		plainSwitches(c)
	}
}

// completeApps returns the apps in the data directory, with which a shell completes the
// number of an app; nothing if the directory cannot be read.
func (e *env) completeApps(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	apps, err := ask(e, cmd, admin.ListApps, admin.None{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var numbers []string
	for _, a := range apps {
		numbers = append(numbers, cobra.CompletionWithDesc(strconv.FormatUint(uint64(a.ID), 10), *a.Name))
	}
	return numbers, cobra.ShellCompDirectiveNoFileComp
}

// completeAppNumbers lets a shell complete the flag --app and the argument SDKAPPID of a
// command and of the commands below it.
func (e *env) completeAppNumbers(cmd *cobra.Command) {
	if cmd.Flags().Lookup("app") != nil {
		complete(cmd, "app", func(cmd *cobra.Command, _ []string, text string) ([]string, cobra.ShellCompDirective) {
			return e.completeApps(cmd, nil, text)
		})
	}
	if strings.Contains(cmd.Use, " SDKAPPID") && !strings.Contains(cmd.Use, "--app") && cmd.ValidArgsFunction == nil {
		cmd.ValidArgsFunction = e.completeApps
	}
	for _, c := range cmd.Commands() {
		e.completeAppNumbers(c)
	}
}

// complete lets a shell complete the values of a flag.
func complete(cmd *cobra.Command, flag string, f cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic(err) // there is no such flag
	}
}

// secretFlag adds --secret-key-file. A key is never an argument, because the list of
// processes shows arguments.
func secretFlag(cmd *cobra.Command, into *string, usage string) {
	cmd.Flags().StringVar(into, "secret-key-file", "", usage+"; - is standard input")
}

// secret reads the file that --secret-key-file names, without the white space around the
// key. Errors show nothing of the content.
func (e *env) secret(name string) (string, error) { return e.secretText("secret key", name) }

// secretText reads a file with a secret of a kind, without the white space around it.
func (e *env) secretText(kind, name string) (string, error) {
	in := e.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return "", fmt.Errorf("%s: %w", kind, err)
		}
		defer f.Close()
		in = f
	}
	const limit = 4 << 10 // far more than a key has
	b, err := io.ReadAll(io.LimitReader(in, limit+1))
	switch key := strings.TrimSpace(string(b)); {
	case err != nil:
		return "", fmt.Errorf("%s: %w", kind, err)
	case len(b) > limit:
		return "", fmt.Errorf("%s: %s is larger than a key can be", kind, shownName(name))
	case key == "":
		return "", fmt.Errorf("%s: %s is empty", kind, shownName(name))
	default:
		return key, nil
	}
}

func shownName(file string) string {
	if file == "-" {
		return "standard input"
	}
	return file
}
