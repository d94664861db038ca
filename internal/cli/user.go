package cli

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tidings/internal/admin"
	"tidings/internal/audience"
)

func (e *env) userCommand() *cobra.Command {
	cmd := group("user", "Show and delete users", e.userShowCommand(), e.userDeleteCommand())
	cmd.Long = `Show and delete users of an app, on a running server or, with none, on the data
directory. tidings import brings users in,
and tidings audience list lists them.`
	dataFlag(cmd.PersistentFlags())
	return cmd
}

func (e *env) userShowCommand() *cobra.Command {
	var id appID
	cmd := &cobra.Command{
		Use:     "show --app SDKAPPID ACCOUNT",
		Short:   "Show what is known of an account",
		Long:    "Show what is known of an account.\n\nExit codes: 0 it exists; 1 it does not.",
		Example: `  tidings user show --app 1400000001 Mary`,
		Args:    takes("ACCOUNT"),
	}
	appFlag(cmd, &id)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		u, err := ask(e, cmd, admin.ShowUser, admin.AccountRequest{ID: uint32(id), Account: args[0]})
		if err != nil {
			return err
		}
		if *asJSON {
			err = e.printJSON(u)
		} else {
			err = showUser(e.stdout, u)
		}
		if err == nil && !u.Exists {
			err = errNo
		}
		return err
	}
	return cmd
}

func showUser(w io.Writer, u admin.User) error {
	return table(w, func(row func(...any)) {
		row("Account", plain(u.Account))
		row("Exists", yesNo(u.Exists))
		if u.Exists {
			kind := "UserID"
			if u.Kind == audience.RegistrationID {
				kind = "RegistrationID"
			}
			row("Account type", kind)
			row("Admin", yesNo(u.Admin))
			row("Created", moment(u.Created))
			row("Nick", cmp.Or(plain(u.Nick), "-"))
			row("Face URL", cmp.Or(plain(u.FaceURL), "-"))
			for _, name := range slices.Sorted(maps.Keys(u.Attrs)) {
				row("Attribute "+plain(name), plain(u.Attrs[name]))
			}
			row("Tags", list(u.Tags))
		}
		row("Tickets invalid up to", moment(u.TicketsInvalid))
	})
}

func (e *env) userDeleteCommand() *cobra.Command {
	var id appID
	cmd := &cobra.Command{
		Use:   "delete --app SDKAPPID [ACCOUNT]",
		Short: "Delete users with all that belongs to them",
		Long: `Delete a user, or with --from all users that a file lists, an account a line, as
tidings audience list prints them. All that belongs to them goes too, and their
tickets become invalid. This cannot be undone. Accounts that do not exist and
admins are reported, and the others are deleted.

On a terminal it asks before it deletes. Elsewhere, and where the list is standard
input, it needs --yes.

Exit codes: 0 all are deleted; 1 some are not.`,
		Example: `  tidings user delete --app 1400000001 Mary
  tidings user delete --app 1400000001 --from gone.txt --yes`,
		Args: takes("[ACCOUNT]"),
	}
	appFlag(cmd, &id)
	from := cmd.Flags().String("from", "", "`FILE` with an account a line; - is standard input")
	yes := cmd.Flags().Bool("yes", false, "delete without asking")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if (len(args) == 0) == (*from == "") {
			return usagef("name an ACCOUNT or a list with --from FILE")
		}
		accounts := args
		if *from != "" {
			var err error
			if accounts, err = e.accounts(*from); err != nil {
				return err
			}
		}
		who := counted(len(accounts), "user", "users")
		switch {
		case *yes:
		case *from == "-" || !isTerminal(e.stdin):
			return usagef("deleting %s of app %d cannot be undone; say --yes if it is meant", who, id)
		case prompt(e.stdin, e.stderr, fmt.Sprintf("Delete %s of app %d? This cannot be undone.\nWrite yes to delete: ", who, id)) != "yes":
			return fmt.Errorf("no user is deleted")
		}
		return e.deleteUsers(cmd, uint32(id), accounts)
	}
	return cmd
}

// deleteUsers deletes a list of users, part by part.
func (e *env) deleteUsers(cmd *cobra.Command, id uint32, accounts []string) error {
	ctx, stop := untilTold(cmd.Context())
	defer stop()
	deleted, done, failed := 0, 0, 0
	p := newProgress(e.stderr, int64(len(accounts)), "users")
	err := e.operate(cmd, accessOf(admin.DeleteUsers.Effect()), func(_ context.Context, c admin.Caller) error {
		for part := range slices.Chunk(accounts, admin.MaxDeleted) {
			if ctx.Err() != nil {
				return fmt.Errorf("interrupted")
			}
			out, err := admin.DeleteUsers.Do(context.WithoutCancel(ctx), c, admin.UsersRequest{ID: id, Accounts: part})
			if err != nil {
				return err
			}
			if len(out.Failures) > 0 {
				p.clear()
			}
			for _, f := range out.Failures {
				if failed++; failed <= shownFailures {
					fmt.Fprintf(e.stderr, "tidings: %s: %s\n", plain(f.Account), plain(f.Reason))
				}
			}
			deleted, done = deleted+out.Deleted, done+len(part)
			p.update(int64(done), done, nil)
		}
		return nil
	})
	p.clear()
	if failed > shownFailures {
		fmt.Fprintf(e.stderr, "tidings: %s not shown\n", counted(failed-shownFailures, "more account is", "more accounts are"))
	}
	if err != nil && done > 0 {
		err = fmt.Errorf("%w; the first %s of the list are done", err, number(done))
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "%s deleted, %s not.\n", counted(deleted, "user is", "users are"), number(failed))
	if failed > 0 {
		return errNo
	}
	return nil
}

// accounts reads a list of accounts, one a line. Empty lines mean nothing.
func (e *env) accounts(name string) ([]string, error) {
	in := e.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("--from: %w", err)
		}
		defer f.Close()
		in = f
	}
	var list []string
	lines := bufio.NewScanner(in)
	for n := 1; lines.Scan(); n++ {
		account := strings.TrimSuffix(lines.Text(), "\r")
		if len(account) > audience.MaxAccountBytes {
			return nil, fmt.Errorf("--from: line %d of %s has %d bytes, an account has at most %d; no user is deleted", n, shownName(name), len(account), audience.MaxAccountBytes)
		}
		if account != "" {
			list = append(list, account)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("--from: %s: %w", shownName(name), err)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("--from: %s names no account", shownName(name))
	}
	return list, nil
}
