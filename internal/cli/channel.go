package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tidings/internal/admin"
	"tidings/internal/channel"
	"tidings/internal/channel/credential"
)

func (e *env) channelCommand() *cobra.Command {
	cmd := group("channel", "Add, try out and replace the credentials of push providers",
		e.channelAddCommand(), e.channelReplaceCommand(), e.channelSetCommand(), e.channelListCommand(), e.channelShowCommand(),
		e.channelTestCommand(), e.channelRemoveCommand())
	cmd.Long = `Add, try out and replace the credentials of push providers.

A certificate is what an app is known by at a provider: a credential and some options.
Client apps have its number built in, so the number stays when the credential is replaced.
The credential is never shown again. See doc/channels.md.`
	dataFlag(cmd.PersistentFlags())
	return cmd
}

// certificateChoices are the flags of options of a certificate.
type certificateChoices struct {
	packageName, environment, click, channelID string
	dataMessages                               bool
}

// choicesFlags adds the flags of options. What it returns changes options as those flags say
// that were given, and reports whether any was.
func choicesFlags(cmd *cobra.Command) func(*channel.Options) (given bool, err error) {
	var c certificateChoices
	f := cmd.Flags()
	f.StringVar(&c.packageName, "package", "", "package or bundle `NAME` of the client app")
	f.StringVar(&c.environment, "environment", "", "production or sandbox `SYSTEM` of the provider, where it has two")
	f.StringVar(&c.click, "click", "", "`WHAT` a tap opens: app, url=URL or page=NAME")
	f.BoolVar(&c.dataMessages, "data-messages", false, "FCM: send data messages, which the client app shows itself")
	f.StringVar(&c.channelID, "channel-id", "", "Android channel `ID` of pushes that name none")
	complete(cmd, "environment", cobra.FixedCompletions([]string{string(channel.Production), string(channel.Sandbox)}, cobra.ShellCompDirectiveNoFileComp))
	return func(o *channel.Options) (given bool, err error) {
		for name, set := range map[string]func(){
			"package":       func() { o.Package = c.packageName },
			"environment":   func() { o.Environment = channel.Environment(c.environment) },
			"click":         func() { o.Click = parseClick(c.click) },
			"data-messages": func() { o.Data = c.dataMessages },
			"channel-id":    func() { o.ChannelID = c.channelID },
		} {
			if f.Changed(name) {
				set()
				given = true
			}
		}
		if given {
			if err := o.Check(); err != nil {
				return given, usagef("%w", err)
			}
		}
		return given, nil
	}
}

// credentialFlags adds the flags of a credential. What it returns reads it.
func (e *env) credentialFlags(cmd *cobra.Command) (offline *bool, read func() ([]byte, error)) {
	file := cmd.Flags().String("file", "", "`FILE` with the credential as the provider gave it; - is standard input (required)")
	offline = cmd.Flags().Bool("offline", false, "do not ask the provider whether it takes the credential")
	return offline, func() ([]byte, error) {
		if *file == "" {
			return nil, usagef("--file is missing: the file with the credential, such as service-account.json")
		}
		return e.credential(*file)
	}
}

// credential reads the file of a credential, as it is. Errors show nothing of the content.
func (e *env) credential(name string) ([]byte, error) {
	in := e.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("credential: %w", err)
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, credential.MaxBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("credential: %w", err)
	case len(b) > credential.MaxBytes:
		return nil, fmt.Errorf("credential: %s is larger than %d bytes, which no credential is", shownName(name), credential.MaxBytes)
	case len(b) == 0:
		return nil, fmt.Errorf("credential: %s is empty", shownName(name))
	}
	return b, nil
}

// certificateID reads the argument ID.
func certificateID(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n <= 0 {
		return 0, usagef("ID %q is not the number of a certificate; tidings channel list shows them", text)
	}
	return n, nil
}

func (e *env) channelAddCommand() *cobra.Command {
	var id appID
	cmd := &cobra.Command{
		Use:   "add --app SDKAPPID --provider PROVIDER --file FILE",
		Short: "Add a certificate, after its credential was checked and tried out",
		Long: `Add a certificate to an app and print its number, which client apps register their
tokens with. The credential is checked, and the provider is asked whether it takes it;
--offline leaves that out. It needs a server that runs.`,
		Example: `  tidings channel add --app 1400000001 --provider fcm --name android \
      --package com.example.shop --file service-account.json
  pass show shop/fcm | tidings channel add --app 1400000001 --provider fcm --file -`,
		Args: takes(),
	}
	appFlag(cmd, &id)
	provider := cmd.Flags().String("provider", "", "`PROVIDER` that the credential is for, such as fcm (required)")
	name := cmd.Flags().String("name", "", "`NAME` to tell it from others")
	choose := choicesFlags(cmd)
	offline, read := e.credentialFlags(cmd)
	asJSON := jsonFlag(cmd)
	complete(cmd, "provider", cobra.FixedCompletions(providerNames(), cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		in := admin.NewCertificateRequest{ID: uint32(id), Provider: channel.Provider(*provider), Name: *name, Offline: *offline}
		if *provider == "" {
			return usagef("--provider is missing, such as fcm")
		}
		if _, err := choose(&in.Options); err != nil {
			return err
		}
		var err error
		if in.Secret, err = read(); err != nil {
			return err
		}
		c, err := ask(e, cmd, admin.AddCertificate, in)
		if err != nil {
			return err
		}
		return e.printCertificate(c, *asJSON)
	}
	return cmd
}

func providerNames() (names []string) {
	for _, p := range channel.Providers() {
		names = append(names, string(p))
	}
	return names
}

func (e *env) channelReplaceCommand() *cobra.Command {
	var id appID
	cmd := &cobra.Command{
		Use:   "replace --app SDKAPPID ID --file FILE",
		Short: "Give a certificate another credential, under the same number",
		Long: `Give a certificate another credential, under the same number. The new one is checked and
tried out before it takes over; until then, and if it is refused, the old one serves.
Options stay as they are, except those that are named. It needs a server that runs.`,
		Example: `  tidings channel replace --app 1400000001 1 --file service-account.json`,
		Args:    takes("ID"),
	}
	appFlag(cmd, &id)
	choose := choicesFlags(cmd)
	offline, read := e.credentialFlags(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		certificate, err := certificateID(args[0])
		if err != nil {
			return err
		}
		in := admin.ReplaceRequest{ID: uint32(id), Certificate: certificate, Offline: *offline}
		if in.Secret, err = read(); err != nil {
			return err
		}
		var c admin.Certificate
		err = e.operate(cmd, changes, func(ctx context.Context, caller admin.Caller) error {
			if in.Options, err = chosen(ctx, caller, uint32(id), certificate, choose); err != nil {
				return err
			}
			c, err = admin.ReplaceCertificate.Do(ctx, caller, in)
			return err
		})
		if err != nil {
			return err
		}
		return e.printCertificate(c, *asJSON)
	}
	return cmd
}

// chosen returns the options of a certificate with what the flags change; nil if they change
// nothing.
func chosen(ctx context.Context, c admin.Caller, id uint32, certificate int, choose func(*channel.Options) (bool, error)) (*channel.Options, error) {
	if given, err := choose(new(channel.Options)); !given {
		return nil, err
	}
	old, err := admin.ShowCertificate.Do(ctx, c, admin.CertificateRequest{ID: id, Certificate: certificate})
	if err != nil {
		return nil, err
	}
	_, err = choose(&old.Options)
	return &old.Options, err
}

func (e *env) channelSetCommand() *cobra.Command {
	var id appID
	cmd := &cobra.Command{
		Use:     "set --app SDKAPPID ID",
		Short:   "Change name and options of a certificate",
		Long:    "Change name and options of a certificate. What is not named stays as it is; an empty value takes it away.",
		Example: `  tidings channel set --app 1400000001 1 --click url=https://shop.example.com/sale --channel-id offers`,
		Args:    takes("ID"),
	}
	appFlag(cmd, &id)
	name := cmd.Flags().String("name", "", "`NAME` to tell it from others")
	choose := choicesFlags(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		certificate, err := certificateID(args[0])
		if err != nil {
			return err
		}
		in := admin.SetCertificateRequest{ID: uint32(id), Certificate: certificate}
		if cmd.Flags().Changed("name") {
			in.Name = name
		}
		var c admin.Certificate
		err = e.operate(cmd, changes, func(ctx context.Context, caller admin.Caller) error {
			if in.Options, err = chosen(ctx, caller, uint32(id), certificate, choose); err != nil {
				return err
			}
			if in.Name == nil && in.Options == nil {
				return usagef("nothing to change; see tidings channel set --help")
			}
			c, err = admin.SetCertificate.Do(ctx, caller, in)
			return err
		})
		if err != nil {
			return err
		}
		return e.printCertificate(c, *asJSON)
	}
	return cmd
}

// parseClick reads app, url=URL or page=NAME. Options.Check says what is wrong with others.
func parseClick(text string) channel.Click {
	action, target, _ := strings.Cut(text, "=")
	return channel.Click{Action: action, Target: target}
}

// formatClick writes what parseClick reads.
func formatClick(c channel.Click) string {
	if c.Target == "" {
		return cmp.Or(c.Action, channel.ClickApp)
	}
	return c.Action + "=" + c.Target
}
