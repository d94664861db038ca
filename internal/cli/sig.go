package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tidings/internal/admin"
	"tidings/internal/apierr"
	"tidings/internal/app"
	"tidings/internal/usersig"
)

func (e *env) sigCommand() *cobra.Command {
	cmd := group("sig", "Make and check UserSig tickets", e.sigMakeCommand(), e.sigCheckCommand())
	cmd.Long = `Make and check UserSig tickets, with the keys of an app in the data directory, or
with the key in --secret-key-file and no data directory.`
	dataFlag(cmd.PersistentFlags())
	return cmd
}

func (e *env) sigMakeCommand() *cobra.Command {
	var id appID
	var identifier, secretFile string
	life := span(usersig.DefaultLife)
	cmd := &cobra.Command{
		Use:   "make --app SDKAPPID",
		Short: "Print a new ticket, and nothing else",
		Example: `  tidings sig make --app 1400000001
  tidings sig make --app 1400000001 --identifier ops --expire 24h
  tidings sig make --app 1400000001 --secret-key-file key.txt`,
		Args: takes(),
	}
	appFlag(cmd, &id)
	cmd.Flags().StringVar(&identifier, "identifier", app.BuiltInAdmin, "`ACCOUNT` the ticket is for")
	cmd.Flags().Var(&life, "expire", "how long it is good, such as 24h or 180d")
	secretFlag(cmd, &secretFile, "`FILE` with the key to sign with")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var sig admin.Sig
		var err error
		if secretFile == "" {
			sig, err = ask(e, cmd, admin.MakeSig, admin.SigRequest{ID: uint32(id), Identifier: identifier, Life: time.Duration(life)})
		} else {
			sig, err = e.makeSig(secretFile, uint32(id), identifier, time.Duration(life))
		}
		if err != nil {
			return err
		}
		if secretFile == "" && !sig.Admin {
			fmt.Fprintf(e.stderr, "tidings: warning: %s is no admin of app %d: the ticket binds devices to that user, and commands refuse it\n", plain(identifier), id)
		}
		if *asJSON {
			return e.printJSON(sigView{sig, optional(secretFile == "", sig.Admin)})
		}
		_, err = fmt.Fprintln(e.stdout, sig.Ticket)
		return err
	}
	return cmd
}

// makeSig returns a ticket made with the key in a file.
func (e *env) makeSig(secretFile string, id uint32, identifier string, life time.Duration) (admin.Sig, error) {
	secret, err := e.secret(secretFile)
	if err != nil {
		return admin.Sig{}, err
	}
	now := time.Now().UTC().Truncate(time.Second)
	return admin.Sig{
		Ticket:     usersig.Make(secret, id, identifier, now, life, nil),
		SDKAppID:   int64(id),
		Identifier: identifier,
		Issued:     now,
		Expires:    now.Add(life),
	}, nil
}

func (e *env) sigCheckCommand() *cobra.Command {
	var id appID
	var identifier, secretFile string
	cmd := &cobra.Command{
		Use:   "check --app SDKAPPID TICKET|-",
		Short: "Print what a ticket says, and whether it is good",
		Long: `Print what a ticket says, and whether it is good or why not. With - the ticket is
read from standard input.

Exit codes: 0 it is good; 1 it is not.`,
		Args: takes("TICKET"),
	}
	appFlag(cmd, &id)
	cmd.Flags().StringVar(&identifier, "identifier", "", "`ACCOUNT` the ticket must be for; default any")
	secretFlag(cmd, &secretFile, "`FILE` with the key to verify with")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ticket, err := e.ticket(args[0], secretFile)
		if err != nil {
			return err
		}
		var sig admin.Sig
		if secretFile == "" {
			sig, err = ask(e, cmd, admin.CheckSig, admin.TicketRequest{ID: uint32(id), Identifier: identifier, Ticket: ticket})
		} else {
			sig, err = e.checkSig(secretFile, uint32(id), identifier, ticket)
		}
		if err != nil {
			return err
		}
		view := sigView{sig, optional(secretFile == "", sig.Admin)}
		if *asJSON {
			err = e.printJSON(view)
		} else {
			err = e.printSig(view)
		}
		if err == nil && sig.Code != 0 {
			err = errNo
		}
		return err
	}
	return cmd
}

// ticket returns the argument TICKET, or what is on standard input.
func (e *env) ticket(arg, secretFile string) (string, error) {
	if arg != "-" {
		return arg, nil
	}
	if secretFile == "-" {
		return "", usagef("ticket and secret key cannot both be read from standard input")
	}
	b, err := io.ReadAll(io.LimitReader(e.stdin, 4*usersig.MaxTicketChars)) // enough to see that a ticket is too long
	return strings.TrimSpace(string(b)), err
}

// checkSig verifies a ticket with the key in a file. It cannot know what was
// invalidated, nor who is an admin.
func (e *env) checkSig(secretFile string, id uint32, identifier, ticket string) (admin.Sig, error) {
	secret, err := e.secret(secretFile)
	if err != nil {
		return admin.Sig{}, err
	}
	claims, err := usersig.Parse(ticket, false)
	if err == nil {
		if identifier == "" {
			identifier = claims.Identifier
		}
		_, _, err = usersig.Verify(usersig.Request{Ticket: ticket, Identifier: identifier, SDKAppID: id, Keys: []string{secret}, Now: time.Now()})
	}
	sig := admin.Sig{
		SDKAppID: claims.SDKAppID, Identifier: claims.Identifier,
		Issued: time.Unix(claims.Issued, 0).UTC(), Expires: claims.Expires(),
	}
	if err != nil {
		bad := apierr.From(err)
		sig.Code, sig.Error = bad.Kind.Code, bad.Info()
	}
	return sig, nil
}

// A sigView is a Sig in which it may be unknown whether the account is an admin.
type sigView struct {
	admin.Sig
	Admin *bool `json:"admin,omitempty"`
}

// optional returns a value that is absent from JSON unless it is present.
func optional(present, value bool) *bool {
	if !present {
		return nil
	}
	return &value
}

func (e *env) printSig(s sigView) error {
	return table(e.stdout, func(row func(...any)) {
		if s.Identifier != "" || s.SDKAppID != 0 { // it could be read
			row("SDKAppID", s.SDKAppID)
			row("Identifier", plain(s.Identifier))
			if s.Admin != nil {
				row("Admin", yesNo(*s.Admin))
			}
			row("Issued", moment(s.Issued))
			row("Expires", moment(s.Expires))
		}
		if s.Code == 0 {
			row("Good", "yes")
		} else {
			row("Good", fmt.Sprintf("no: %d %s", s.Code, plain(s.Error)))
		}
	})
}
