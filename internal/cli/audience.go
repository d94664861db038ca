package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"tidings/client"
	"tidings/internal/api"
)

func (e *env) audienceCommand() *cobra.Command {
	cmd := group("audience", "Ask a running server whom a condition selects", e.audienceCountCommand(), e.audienceListCommand(), e.audienceExplainCommand())
	cmd.Long = `Ask a running server whom a condition selects: with --where in words, such as
plan == "gold" && !tag("muted"), with --condition as push takes it, and with
neither everyone of an account type.`
	return cmd
}

// audienceFlags are the flags that all commands on an audience have.
type audienceFlags struct {
	*targetFlags
	selectionFlags
	json *bool
}

func (e *env) audienceFlags(cmd *cobra.Command) *audienceFlags {
	f := &audienceFlags{targetFlags: e.targetFlags(cmd), json: jsonFlag(cmd)}
	appFlag(cmd, &f.app)
	f.selectionFlags.add(cmd)
	return f
}

// request returns the members of a request that select users.
func (f *audienceFlags) request(cmd *cobra.Command) (map[string]any, error) {
	selection, err := f.selection(cmd)
	if err != nil {
		return nil, err
	}
	in := map[string]any{}
	if selection.Where != nil {
		in["Where"] = *selection.Where
	}
	if selection.Condition != nil {
		in["Condition"] = selection.Condition
	}
	if selection.AccountType != nil {
		in["AccountType"] = *selection.AccountType
	}
	return in, nil
}

// ready returns the request of a command and the target to send it to.
func (e *env) ready(cmd *cobra.Command, f *audienceFlags) (map[string]any, *target, error) {
	in, err := f.request(cmd)
	if err != nil {
		return nil, nil, err
	}
	t, err := e.target(cmd, f.targetFlags, audienceLife)
	return in, t, err
}

// audienceLife is the lifetime of a ticket, enough for all pages of a list.
const audienceLife = time.Hour

type audienceCount struct {
	Count   uint64
	Clauses []struct {
		Clause string
		Count  uint64
	}
	Sample []string `json:",omitempty"`
}

func (e *env) audienceCountCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "count --app SDKAPPID",
		Short: "Count an audience and each clause of its condition",
		Example: `  tidings audience count --app 1400000001 --where 'plan == "gold" && tag("beta")'
  tidings audience count --app 1400000001 --condition '{"TagsOr":["beta","staff"]}' --sample 5`,
		Args: takes(),
	}
	f := e.audienceFlags(cmd)
	sample := cmd.Flags().Int("sample", 0, fmt.Sprintf("show `N` accounts of the audience too, at most %d", api.MaxSample))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *sample < 0 || *sample > api.MaxSample {
			return usagef("--sample %d is not a number from 0 to %d", *sample, api.MaxSample)
		}
		in, t, err := e.ready(cmd, f)
		if err != nil {
			return err
		}
		in["Sample"] = *sample
		var out audienceCount
		if err := t.ask(cmd.Context(), "tidings/estimate_audience", in, &out); err != nil {
			return err
		}
		if *f.json {
			return e.printJSON(out)
		}
		if _, err := fmt.Fprintln(e.stdout, number(out.Count)); err != nil {
			return err
		}
		if len(out.Clauses) > 0 {
			fmt.Fprintln(e.stdout)
		}
		err = table(e.stdout, func(row func(...any)) {
			for i, c := range out.Clauses {
				if i == 0 {
					row("USERS", "CLAUSE")
				}
				row(number(c.Count), plain(c.Clause))
			}
		})
		if len(out.Sample) > 0 {
			fmt.Fprintln(e.stdout)
		}
		for _, account := range out.Sample {
			fmt.Fprintln(e.stdout, plain(account))
		}
		return err
	}
	return cmd
}

func (e *env) audienceListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list --app SDKAPPID",
		Short: "List the accounts of an audience, one a line",
		Long: `List the accounts of an audience, one a line, in the order in which they were made.
The audience is that of the moment of the first page. --json prints each account
as a JSON string.`,
		Example: `  tidings audience list --app 1400000001 --where 'tag("beta")' --limit 10`,
		Args:    takes(),
	}
	f := e.audienceFlags(cmd)
	limit := cmd.Flags().Int("limit", 0, "list at most `N` accounts; 0 is all")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *limit < 0 {
			return usagef("--limit %d is less than 0", *limit)
		}
		in, t, err := e.ready(cmd, f)
		if err != nil {
			return err
		}
		enc := json.NewEncoder(e.stdout)
		enc.SetEscapeHTML(false)
		for listed := 0; ; {
			n := api.MaxPage
			if *limit > 0 {
				n = min(n, *limit-listed)
			}
			in["Limit"] = n
			var out struct {
				Accounts []string
				Next     string
			}
			if err := t.ask(cmd.Context(), "tidings/list_audience", in, &out); err != nil {
				return err
			}
			for _, account := range out.Accounts {
				if *f.json {
					err = enc.Encode(account)
				} else {
					_, err = fmt.Fprintln(e.stdout, plain(account))
				}
				if err != nil {
					return err
				}
			}
			if listed += len(out.Accounts); out.Next == "" || *limit > 0 && listed >= *limit {
				return nil
			}
			in["Next"] = out.Next
		}
	}
	return cmd
}

type audienceExplanation struct {
	Match   bool
	Clauses []struct {
		Clause string
		Match  bool
	}
	Attrs map[string]string
	Tags  []string
}

func (e *env) audienceExplainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "explain --app SDKAPPID ACCOUNT",
		Short:   "Tell why an account is in an audience or not",
		Example: `  tidings audience explain --app 1400000001 Mary --where 'plan == "gold" && tag("beta")'`,
		Args:    takes("ACCOUNT"),
	}
	f := e.audienceFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		in, t, err := e.ready(cmd, f)
		if err != nil {
			return err
		}
		in["To_Account"] = args[0]
		var out audienceExplanation
		if err := t.ask(cmd.Context(), "tidings/explain_audience", in, &out); err != nil {
			return err
		}
		if *f.json {
			return e.printJSON(out)
		}
		verdict := "OUT"
		if out.Match {
			verdict = "IN"
		}
		if _, err := fmt.Fprintf(e.stdout, "%s\n\n", verdict); err != nil {
			return err
		}
		err = table(e.stdout, func(row func(...any)) {
			for _, c := range out.Clauses {
				row(yesNo(c.Match), plain(c.Clause))
			}
		})
		if len(out.Clauses) > 0 {
			fmt.Fprintln(e.stdout)
		}
		return errors.Join(err, table(e.stdout, func(row func(...any)) {
			for _, name := range slices.Sorted(maps.Keys(out.Attrs)) {
				row(plain(name), plain(out.Attrs[name]))
			}
			row("Tags", list(out.Tags))
		}))
	}
	return cmd
}

// ask sends a request and reads the answer into out. All requests of a command share a
// connection. A request that is over a limit of calls is sent again, as a list of many
// pages needs.
func (t *target) ask(ctx context.Context, command string, in, out any) error {
	return t.use(ctx, func(ctx context.Context, c *client.Client) error { return c.Call(ctx, command, in, out) })
}

// use calls the API, and says of an error what a person can do about it.
func (t *target) use(ctx context.Context, call func(context.Context, *client.Client) error) error {
	if t.client == nil {
		var err error
		if t.client, err = t.connect(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	err := call(ctx, t.client)
	if refused, ok := errors.AsType[*client.Error](err); ok {
		return fmt.Errorf("%s: error %d: %s", refused.Command, int(refused.Code), plain(refused.Info))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", t.url, t.explain(err))
	}
	return nil
}

// connect returns a client that calls with the ticket of the target.
func (t *target) connect() (*client.Client, error) {
	return client.New(t.url, t.app, "",
		client.WithIdentifier(t.identifier),
		client.WithTicketSource(func(context.Context) (string, error) { return t.ticket, nil }),
		client.WithUserAgent("tidings/"+currentVersion().Version),
		client.WithHTTPClient(&http.Client{Transport: &http.Transport{TLSClientConfig: t.tls, Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}}))
}
