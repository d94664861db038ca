package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tidings/client"
	"tidings/internal/wording"
)

// watchLife is the lifetime of a ticket with which a task is watched.
const watchLife = 24 * time.Hour

// pushFlags are the flags of push.
type pushFlags struct {
	*targetFlags
	all                                      bool
	where, condition, toFile                 string
	to                                       []string
	title, desc, ext, from, dataID, key      string
	lifetime, androidChannel, image, message string
	priority, plan                           string
	dryRun, wait, noWait                     bool
	json                                     *bool
}

func (e *env) pushCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "push --app SDKAPPID (--all | --where EXPRESSION | --condition JSON | --to ACCOUNT,... | --to-file FILE) --title TEXT --desc TEXT",
		Short: "Push to everyone, to whom a condition selects, or to accounts",
		Long: `Push to everyone, to whom a condition selects, or to accounts, and follow the task
until it has ended.

With --dry-run it says who would get the push, who not and why, and what a device would
get, and pushes nothing. The id that it prints with --plan makes sure that what is pushed
is what was looked at. More than 500 accounts become several tasks.

Exit codes: 0 it is done, or with --no-wait accepted; 1 it was refused, or ended
otherwise, or there were accounts that do not exist. Ctrl-C while it waits does not stop
the task.`,
		Example: `  tidings push --app 1400000001 --where 'plan == "gold" && !tag("muted")' --title 'Gold week' --desc 'Two for one until Sunday.' --dry-run
  tidings push --app 1400000001 --to Mary,kenji --title Invoice --desc 'Your invoice has arrived.'
  tidings push --app 1400000001 --all --message-file message.json --no-wait`,
		Args: takes(),
	}
	f := &pushFlags{targetFlags: e.targetFlags(cmd), json: jsonFlag(cmd)}
	appFlag(cmd, &f.app)
	flags := cmd.Flags()
	flags.BoolVar(&f.all, "all", false, "push to everyone")
	flags.StringVar(&f.where, "where", "", "`EXPRESSION` that selects users")
	flags.StringVar(&f.condition, "condition", "", "`JSON` of a Condition, or @FILE")
	flags.StringSliceVar(&f.to, "to", nil, "`ACCOUNT,...` that get it")
	flags.StringVar(&f.toFile, "to-file", "", "`FILE` with an account on each line; - is standard input")
	flags.StringVar(&f.title, "title", "", "`TEXT` of the title")
	flags.StringVar(&f.desc, "desc", "", "`TEXT` of the notification")
	flags.StringVar(&f.ext, "ext", "", "`TEXT` for the app, best JSON")
	flags.StringVar(&f.message, "message-file", "", "`FILE` with an OfflinePushInfo in JSON, which other flags add to; - is standard input")
	flags.StringVar(&f.androidChannel, "android-channel", "", "`ID` of the notification channel on Android (FCM)")
	flags.StringVar(&f.image, "image", "", "`URL` of a picture, for FCM and Apple devices")
	flags.StringVar(&f.priority, "priority", "", "`normal|high`: of FCM")
	flags.StringVar(&f.lifetime, "lifetime", "", "`DURATION` that it waits for devices, such as 1h or 2d; default as the app is set")
	flags.StringVar(&f.from, "from", "", "`ACCOUNT` that is the sender; default the caller")
	flags.StringVar(&f.dataID, "data-id", "", "`ID` of your own, which comes back in callbacks")
	flags.StringVar(&f.key, "key", "", "`KEY`: for a day the same push with the same key is the same task")
	flags.StringVar(&f.plan, "plan", "", "`ID` that --dry-run printed: refuse the push if it would come to something else")
	flags.BoolVar(&f.dryRun, "dry-run", false, "say what it would come to, and push nothing")
	flags.BoolVar(&f.wait, "wait", false, "follow the task until it has ended; the default")
	flags.BoolVar(&f.noWait, "no-wait", false, "end when the push is accepted")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		p, accounts, err := e.push(cmd, f)
		if err != nil {
			return err
		}
		t, err := e.target(cmd, f.targetFlags, watchLife)
		if err != nil {
			return err
		}
		if f.dryRun {
			return e.previewPush(cmd.Context(), t, p, accounts, *f.json)
		}
		return e.doPush(cmd.Context(), t, p, accounts, f)
	}
	return cmd
}

// push returns what the flags say.
func (e *env) push(cmd *cobra.Command, f *pushFlags) (p client.Push, accounts []string, err error) {
	given := cmd.Flags().Changed
	var aims []string
	for _, name := range []string{"all", "where", "condition", "to", "to-file"} {
		if given(name) {
			aims = append(aims, "--"+name)
		}
	}
	switch {
	case len(aims) == 0:
		return p, nil, usagef("whom is it for? Give --all, --where, --condition, --to or --to-file")
	case len(aims) > 1:
		return p, nil, usagef("%s exclude each other", enumerate(aims, "and"))
	case given("all") && !f.all:
		return p, nil, usagef("--all=false selects nobody")
	case given("where") && strings.TrimSpace(f.where) == "":
		return p, nil, usagef("--where is empty; --all pushes to everyone")
	case f.wait && f.noWait:
		return p, nil, usagef("--wait and --no-wait exclude each other")
	case f.plan != "" && (given("to") || given("to-file")):
		return p, nil, usagef("--plan is not for accounts")
	case f.toFile == "-" && f.message == "-":
		return p, nil, usagef("accounts and message cannot both be read from standard input")
	}
	p = client.Push{Where: f.where, From: f.from, DataID: f.dataID, Key: f.key, PlanID: f.plan}
	if p.Condition, err = conditionFlag(f.condition); err != nil {
		return p, nil, err
	}
	if f.lifetime != "" {
		d, err := wording.ParseDuration(f.lifetime)
		if err != nil || d < 0 || d%time.Second != 0 {
			return p, nil, usagef("--lifetime %q is no time in whole seconds, such as 90s, 1h or 2d", f.lifetime)
		}
		p.LifeTime = new(int(d / time.Second))
	}
	if p.Notification, err = e.notification(f); err != nil {
		return p, nil, err
	}
	if given("to") || given("to-file") {
		if accounts, err = e.receivers(f); err == nil && len(accounts) == 0 {
			err = usagef("%s names no account", aims[0])
		}
	}
	return p, accounts, err
}

// conditionFlag reads --condition.
func conditionFlag(text string) (*client.Condition, error) {
	if text == "" {
		return nil, nil
	}
	b := []byte(text)
	if name, isFile := strings.CutPrefix(text, "@"); isFile {
		var err error
		if b, err = os.ReadFile(name); err != nil {
			return nil, fmt.Errorf("--condition: %w", err)
		}
	}
	c := new(client.Condition)
	if err := strictJSON(b, c); err != nil {
		return nil, usagef("--condition is not JSON such as {\"TagsAnd\":[\"beta\"]}: %w", err)
	}
	return c, nil
}

// strictJSON reads JSON, and refuses members that v does not have.
func strictJSON(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if d.More() {
		return errors.New("there is something behind it")
	}
	return nil
}

// notification returns the message that the flags say.
func (e *env) notification(f *pushFlags) (*client.Notification, error) {
	n := new(client.Notification)
	if f.message != "" {
		b, err := e.readFlag("message-file", f.message)
		if err != nil {
			return nil, err
		}
		if err := strictJSON(b, n); err != nil {
			switch {
			case errors.Is(err, io.EOF):
				return nil, errors.New("--message-file is empty: it holds an OfflinePushInfo, such as {\"Title\":\"Hello\"}")
			case strings.Contains(err.Error(), "unknown field"):
				return nil, fmt.Errorf("--message-file: %w; members that this program does not know can be sent with tidings call", err)
			}
			return nil, fmt.Errorf("--message-file: %w", err)
		}
	}
	if f.title == "" && f.desc == "" && f.ext == "" && f.message == "" {
		return nil, usagef("there is nothing to say: give --title, --desc or --message-file")
	}
	for to, from := range map[*string]string{&n.Title: f.title, &n.Desc: f.desc, &n.Ext: f.ext} {
		if from != "" {
			*to = from
		}
	}
	if f.androidChannel != "" || f.image != "" || f.priority != "" {
		if n.Android == nil {
			n.Android = new(client.AndroidInfo)
		}
		for to, from := range map[*string]string{&n.Android.GoogleChannelID: f.androidChannel, &n.Android.GoogleImage: f.image, &n.Android.GooglePriority: f.priority} {
			if from != "" {
				*to = from
			}
		}
	}
	if f.image != "" {
		if n.Apns == nil {
			n.Apns = new(client.ApnsInfo)
		}
		n.Apns.Image = f.image
	}
	return n, nil
}

// readFlag reads the file that a flag names.
func (e *env) readFlag(flag, name string) (b []byte, err error) {
	if name == "-" {
		b, err = io.ReadAll(e.stdin)
	} else {
		b, err = os.ReadFile(name)
	}
	if err != nil {
		err = fmt.Errorf("--%s: %w", flag, err)
	}
	return b, err
}

// receivers returns the accounts of --to or --to-file, each once.
func (e *env) receivers(f *pushFlags) (accounts []string, err error) {
	named := f.to
	if f.toFile != "" {
		b, err := e.readFlag("to-file", f.toFile)
		if err != nil {
			return nil, err
		}
		lines := bufio.NewScanner(bytes.NewReader(b))
		for lines.Scan() {
			named = append(named, strings.TrimSpace(lines.Text()))
		}
		if err := lines.Err(); err != nil {
			return nil, fmt.Errorf("--to-file: %w", err)
		}
	}
	seen := map[string]bool{"": true}
	for _, account := range named {
		if !seen[account] {
			seen[account] = true
			accounts = append(accounts, account)
		}
	}
	return accounts, nil
}

// doPush pushes, and follows what comes of it.
func (e *env) doPush(ctx context.Context, t *target, p client.Push, accounts []string, f *pushFlags) error {
	var ids []string
	missing := 0
	send := func(call func(context.Context, *client.Client) (string, error)) error {
		return t.use(ctx, func(ctx context.Context, c *client.Client) error {
			id, err := call(ctx, c)
			if failed, ok := errors.AsType[*client.AccountErrors](err); ok {
				missing += e.printFailures(failed.List)
				err = nil
			}
			if err == nil {
				ids = append(ids, id)
				if !*f.json {
					fmt.Fprintln(e.stdout, plain(id))
				}
			}
			return err
		})
	}
	var err error
	if accounts == nil {
		err = send(func(ctx context.Context, c *client.Client) (string, error) { return c.Push(ctx, p) })
	}
	for part := range slices.Chunk(accounts, client.MaxReceivers) {
		if len(ids) > 0 && p.Key != "" {
			p.Key = fmt.Sprintf("%s-%d", f.key, len(ids)) // each part is a push of its own
		}
		if err = send(func(ctx context.Context, c *client.Client) (string, error) { return c.Batch(ctx, part, p) }); err != nil {
			break
		}
	}
	if err != nil {
		return e.partOf(ids, *f.json, err)
	}
	failed := missing > 0
	var tasks []*client.TaskReport
	for _, id := range ids {
		if f.noWait {
			break
		}
		task, err := e.watch(ctx, t, id, *f.json)
		if err != nil {
			return e.partOf(ids, *f.json, err)
		}
		tasks = append(tasks, task)
		failed = failed || task.State != client.TaskDone
	}
	switch {
	case *f.json && f.noWait:
		err = e.printJSON(ids)
	case *f.json:
		err = e.printJSON(tasks)
	}
	if err == nil && failed {
		err = errNo
	}
	return err
}

// partOf returns why a push was not done, and prints the tasks that were made all the same
// where they are not printed yet.
func (e *env) partOf(ids []string, asJSON bool, err error) error {
	if asJSON && len(ids) > 0 {
		if failed := e.printJSON(ids); failed != nil {
			return errors.Join(err, failed)
		}
	}
	return err
}

// printFailures says which accounts do not get a push, and returns how many.
func (e *env) printFailures(failures []client.AccountError) int {
	const shown = 10
	for i, f := range failures {
		if i == shown {
			fmt.Fprintf(e.stderr, "tidings: and %s more\n", number(len(failures)-shown))
			break
		}
		fmt.Fprintf(e.stderr, "tidings: %s: %d %s\n", plain(f.Account), int(f.Code), plain(f.Info))
	}
	return len(failures)
}
