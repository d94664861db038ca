package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tidings/client"
	"tidings/internal/api"
	"tidings/internal/wording"
)

func (e *env) callCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "call --app SDKAPPID COMMAND [BODY] | --list | --help [COMMAND]",
		Short: "Call a command of the API and print the answer",
		Long: `Call a command of the API and print the answer.

It finds the server that runs on the data directory and signs the request there.
For a server elsewhere give --url and --secret-key-file. BODY is JSON, @FILE, or -
for standard input; without it, {} is sent. --list prints the commands of this version,
and --help COMMAND what one of them takes and answers.

Exit codes: 0 the ErrorCode is 0; 1 it is not, or there was no answer.

--curl prints a curl line that does the same instead. It holds a ticket, which is
good for ten minutes.`,
		Example: `  tidings call --app 1400000001 timpush/get_attr '{"To_Account":["Mary"]}'
  tidings call --app 1400000001 timpush/get_attr_name
  tidings call --help timpush/get_attr
  tidings call --app 1400000001 --url https://push.example.com --secret-key-file key.txt timpush/set_attr @attrs.json`,
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return api.Commands(), cobra.ShellCompDirectiveNoFileComp
		},
	}
	flags := e.targetFlags(cmd)
	appFlag(cmd, &flags.app)
	raw := cmd.Flags().Bool("raw", false, "print the answer as it came")
	curl := cmd.Flags().Bool("curl", false, "print a curl line instead of calling")
	list := cmd.Flags().Bool("list", false, "print the commands and what each does")
	e.callHelp(cmd)
	needsApp := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if *list {
			return nil
		}
		return needsApp(cmd, args)
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if *list {
			return takes()(cmd, args)
		}
		return takes("COMMAND", "[BODY]")(cmd, args)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *list {
			return e.listCommands()
		}
		command, err := e.command(args[0], flags.url != "")
		if err != nil {
			return err
		}
		body := []byte("{}")
		if len(args) > 1 {
			if body, err = e.body(args[1], flags.secretFile); err != nil {
				return err
			}
		}
		t, err := e.target(cmd, flags, ticketLife)
		if err != nil {
			return err
		}
		if *curl {
			_, err := fmt.Fprintln(e.stdout, t.curl(command, body, flags))
			return err
		}
		return e.call(cmd.Context(), t, command, body, *raw)
	}
	return cmd
}

const (
	ticketLife = 10 * time.Minute // of a ticket for one call
	callTime   = 30 * time.Second // far more than a server takes
)

var commandForm = regexp.MustCompile(`^[A-Za-z0-9_]+/[A-Za-z0-9_]+$`)

// command checks a name against the commands of this version. A server
// elsewhere may have others.
func (e *env) command(name string, elsewhere bool) (string, error) {
	name = strings.TrimPrefix(strings.TrimPrefix(name, "/"), "v4/")
	known := api.Commands()
	if slices.Contains(known, name) {
		return name, nil
	}
	unknown := fmt.Sprintf("unknown command %q%s", name, didYouMean(nearCommands(name, known)))
	if !elsewhere || !commandForm.MatchString(name) {
		return "", usagef("%s", unknown)
	}
	fmt.Fprintf(e.stderr, "tidings: warning: %s\n", unknown)
	return name, nil
}

// nearCommands returns the commands that a wrong name may mean: those that end in
// it, else the one with the fewest letters changed.
func nearCommands(name string, known []string) []string {
	_, method, whole := strings.Cut(name, "/")
	if !whole {
		method = name
	}
	var near []string
	for _, k := range known {
		if strings.HasSuffix(k, "/"+method) {
			near = append(near, k)
		}
	}
	best := 4
	for _, k := range known {
		like := k
		if !whole {
			_, like, _ = strings.Cut(k, "/")
		}
		switch d := wording.Distance(name, like); {
		case d < best:
			best, near = d, []string{k}
		case d == best:
			near = append(near, k)
		}
	}
	return near
}

// body reads the argument BODY.
func (e *env) body(arg, secretFile string) ([]byte, error) {
	name, isFile := strings.CutPrefix(arg, "@")
	switch {
	case arg == "-" && secretFile == "-":
		return nil, usagef("body and secret key cannot both be read from standard input")
	case arg == "-":
		return io.ReadAll(e.stdin)
	case isFile:
		b, err := os.ReadFile(name)
		if err != nil {
			err = fmt.Errorf("body: %w", err)
		}
		return b, err
	}
	return []byte(arg), nil
}

// call sends one request and prints the answer.
func (e *env) call(ctx context.Context, t *target, command string, body []byte, raw bool) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	resp, answer, err := t.post(ctx, command, body)
	if err != nil {
		return fmt.Errorf("%s: %w", t.url, t.explain(withoutURL(err)))
	}
	var out struct{ ErrorCode *int }
	isAnswer := json.Unmarshal(answer, &out) == nil && out.ErrorCode != nil
	if !raw && isAnswer {
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, answer, "", "  "); err == nil {
			answer = append(pretty.Bytes(), '\n')
		}
	}
	if _, err := e.stdout.Write(answer); err != nil {
		return err
	}
	switch {
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("%s answered with HTTP status %s", t.url, resp.Status)
	case !isAnswer:
		return fmt.Errorf("%s did not answer as the API does", t.url)
	case *out.ErrorCode != 0:
		id := ""
		if s := resp.Header.Get("X-Request-Id"); s != "" {
			id = ", request " + plain(s)
		}
		return fmt.Errorf("%s: error %d%s", command, *out.ErrorCode, id)
	}
	return nil
}

func (t *target) post(ctx context.Context, command string, body []byte) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.requestURL(command), bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "tidings/"+currentVersion().Version)
	c := http.Client{
		Transport: &http.Transport{TLSClientConfig: t.tls, Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true},
		// A redirect would carry the ticket to another server.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, client.MaxAnswerBytes+1))
	if err == nil && len(answer) > client.MaxAnswerBytes {
		err = fmt.Errorf("the answer is longer than %d bytes", client.MaxAnswerBytes)
	}
	return resp, answer, err
}

// withoutURL takes the URL, which holds the ticket, out of an error.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

func (t *target) requestURL(command string) string {
	return fmt.Sprintf("%s/v4/%s?usersig=%s&identifier=%s&sdkappid=%d&random=%d&contenttype=json",
		t.url, command, url.QueryEscape(t.ticket), url.QueryEscape(t.identifier), t.app, rand.Uint32())
}

// curl is a shell command that makes the same request.
func (t *target) curl(command string, body []byte, f *targetFlags) string {
	line := "curl -sS"
	if f.ca != "" {
		line += " --cacert " + shellQuote(f.ca)
	}
	if f.insecure {
		line += " --insecure"
	}
	return line + " " + shellQuote(t.requestURL(command)) + " --data-raw " + shellQuote(string(body)) + "; echo"
}

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
