package cli

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"tidings/internal/admin"
)

func (e *env) channelListCommand() *cobra.Command {
	var id appID
	cmd := &cobra.Command{Use: "list --app SDKAPPID", Short: "List the certificates of an app", Args: takes()}
	appFlag(cmd, &id)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		certificates, err := ask(e, cmd, admin.ListCertificates, admin.AppRequest{ID: uint32(id)})
		if err != nil {
			return err
		}
		if *asJSON {
			return e.printJSON(certificates)
		}
		if len(certificates) == 0 {
			_, err := fmt.Fprintf(e.stdout, "App %d has no certificates; tidings channel add --app %d adds one.\n", id, id)
			return err
		}
		return table(e.stdout, func(row func(...any)) {
			row("ID", "PROVIDER", "STATE", "ENDS", "NAME", "HINT")
			for _, c := range certificates {
				row(c.ID, plain(string(c.Provider)), c.State, moment(c.Ends), cmp.Or(plain(c.Name), "-"), cmp.Or(plain(c.Hint), "-"))
			}
		})
	}
	return cmd
}

func (e *env) channelShowCommand() *cobra.Command {
	var id appID
	cmd := &cobra.Command{
		Use: "show --app SDKAPPID ID", Short: "Show a certificate, without its credential",
		Long: "Show a certificate, without its credential.\n\nExit codes: 0 it can be used; 1 it cannot.", Args: takes("ID"),
	}
	appFlag(cmd, &id)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		certificate, err := certificateID(args[0])
		if err != nil {
			return err
		}
		c, err := ask(e, cmd, admin.ShowCertificate, admin.CertificateRequest{ID: uint32(id), Certificate: certificate})
		if err != nil {
			return err
		}
		if err := e.printCertificate(c, *asJSON); err != nil {
			return err
		}
		if c.State == admin.Unusable || c.State == admin.Blocked || c.State == admin.Ended {
			return errNo
		}
		return nil
	}
	return cmd
}

func (e *env) printCertificate(c admin.Certificate, asJSON bool) error {
	if asJSON {
		return e.printJSON(c)
	}
	return table(e.stdout, func(row func(...any)) {
		row("Certificate", c.ID)
		row("Provider", plain(string(c.Provider)))
		row("Name", cmp.Or(plain(c.Name), "-"))
		row("Credential", cmp.Or(plain(c.Hint), "-"))
		row("State", c.State)
		if c.Reason != "" {
			row("Reason", plain(c.Reason))
		}
		row("Package", cmp.Or(plain(c.Options.Package), "-"))
		if c.Options.Environment != "" {
			row("Environment", c.Options.Environment)
		}
		row("A tap opens", plain(formatClick(c.Options.Click)))
		row("Android channel", cmp.Or(plain(c.Options.ChannelID), "-"))
		row("Data messages", yesNo(c.Options.Data))
		row("Created", moment(c.Created))
		row("Replaced", moment(c.Replaced))
		row("Ends", moment(c.Ends))
		if c.Devices != nil {
			row("Devices", number(*c.Devices))
		}
		if c.Health != nil {
			row("Tried out", fmt.Sprintf("%s, in %v", plain(cmp.Or(c.Health.Words, "good")), c.Health.Took.Round(100*time.Microsecond)))
		}
	})
}

func (e *env) channelTestCommand() *cobra.Command {
	var id appID
	cmd := &cobra.Command{
		Use:   "test --app SDKAPPID ID",
		Short: "Ask the provider about a credential; no device notices",
		Long: `Ask the provider about a credential; no device notices. It needs a server that runs.

Exit codes: 0 the provider takes it; 1 it does not, or was not reached.`,
		Args: takes("ID"),
	}
	appFlag(cmd, &id)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		certificate, err := certificateID(args[0])
		if err != nil {
			return err
		}
		t, err := ask(e, cmd, admin.TestCertificate, admin.CertificateRequest{ID: uint32(id), Certificate: certificate})
		if err != nil {
			return err
		}
		if *asJSON {
			err = e.printJSON(t)
		} else {
			err = e.printTest(t)
		}
		if err == nil && !t.OK {
			err = errNo
		}
		return err
	}
	return cmd
}

func (e *env) printTest(t admin.CertificateTest) error {
	return table(e.stdout, func(row func(...any)) {
		row("Good", yesNo(t.OK))
		row("Answer", cmp.Or(plain(t.Words), "-"))
		row("Took", t.Took.Round(100*time.Microsecond))
		if t.PerConn > 0 {
			row("At once on a connection", number(t.PerConn))
		}
		if t.Rate > 0 {
			row("Allows", number(t.Rate)+" messages a second")
		}
		if off := t.Clock.Abs(); off > time.Minute {
			row("Clock", fmt.Sprintf("this machine differs from the provider by %v; set it right, or credentials are refused", off.Round(time.Second)))
		}
	})
}

func (e *env) channelRemoveCommand() *cobra.Command {
	var id appID
	cmd := &cobra.Command{
		Use:   "remove --app SDKAPPID ID",
		Short: "Remove a certificate: its devices are not reached through it any more",
		Long: `Remove a certificate. Devices whose tokens belong to it are not reached through it any
more, and its number is never given again: to renew a credential, use tidings channel replace.

On a terminal it asks before it removes. Elsewhere it needs --yes.`,
		Args: takes("ID"),
	}
	appFlag(cmd, &id)
	yes := cmd.Flags().Bool("yes", false, "remove without asking")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		certificate, err := certificateID(args[0])
		if err != nil {
			return err
		}
		if !*yes && !isTerminal(e.stdin) {
			return usagef("removing certificate %d of app %d cannot be undone; say --yes if it is meant", certificate, id)
		}
		if !*yes {
			if err := e.confirmRemove(cmd, uint32(id), certificate); err != nil {
				return err
			}
		}
		if _, err := ask(e, cmd, admin.RemoveCertificate, admin.RemoveCertificateRequest{ID: uint32(id), Certificate: certificate, Used: true}); err != nil {
			return err
		}
		_, err = fmt.Fprintf(e.stdout, "Certificate %d of app %d is removed.\n", certificate, id)
		return err
	}
	return cmd
}

// confirmRemove asks whether a certificate may go.
func (e *env) confirmRemove(cmd *cobra.Command, id uint32, certificate int) error {
	c, err := ask(e, cmd, admin.ShowCertificate, admin.CertificateRequest{ID: id, Certificate: certificate})
	if err != nil {
		return err
	}
	used := ""
	if c.Devices != nil {
		used = fmt.Sprintf(" %s through it and would not be any more.", counted(*c.Devices, "device is reached", "devices are reached"))
	}
	question := fmt.Sprintf("Remove certificate %d of app %d, %s %s?%s This cannot be undone.\nWrite its number to remove it: ", certificate, id, plain(string(c.Provider)), plain(c.Name), used)
	if answer := prompt(e.stdin, e.stderr, question); answer != strconv.Itoa(certificate) {
		return errors.New("nothing is removed")
	}
	return nil
}
