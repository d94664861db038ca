package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tidings/bench/load"
	"tidings/internal/apierr"
)

// The commands that run can measure, by what they are called on the command line.
const (
	removeAttr = "remove_attr"
	setAttr    = "set_attr"
	getAttr    = "get_attr"
	importing  = "import"
)

var commands = []string{removeAttr, setAttr, getAttr, importing}

// A bencher puts load on an app.
type bencher struct {
	*program
	command     string
	batch       int // users in a request
	users       uint64
	duration    time.Duration
	rate        float64
	fill        bool
	connections int

	target load.Target
	client *load.Client
}

func (p *program) runCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run --app SDKAPPID",
		Short: "Put load on an app of a server, and measure the answers",
		Long: `Put load on the app --app of a server, and measure how fast it answers.

The requests are about users named user0000000, user0000001 and so on: THEY ARE
CREATED AND CHANGED. Use an app that is there for it. A server that is not on this
machine needs --yes. Lift the limits of the app first:
tidings app set SDKAPPID --limit default=0

  remove_attr  takes attributes from users; they get them back, off the clock
  set_attr     gives users attributes that were taken away, off the clock
  get_attr     reads the attributes of users
  import       creates accounts, each once; those that exist stay`,
		Example: `  tidings-bench run --data /var/lib/tidings --app 1400000001 --fill
  tidings-bench run --app 1400000001 --command get_attr --rate 1000 --duration 1m`,
		Args: noArguments,
	}
	b := &bencher{program: p}
	var target targetFlags
	var yes, asJSON bool
	f := cmd.Flags()
	target.add(f)
	f.StringVar(&b.command, "command", removeAttr, "`COMMAND`: "+strings.Join(commands, ", "))
	f.IntVar(&b.batch, "users-per-request", 100, "users in one request, from 1 to 100")
	f.Uint64Var(&b.users, "users", 1_000_000, "users that requests are about")
	f.DurationVar(&b.duration, "duration", 10*time.Second, "time that is measured")
	f.Float64Var(&b.rate, "rate", 0, "requests per second in all; 0 is as fast as the server answers")
	f.BoolVar(&b.fill, "fill", false, "create the users with their attributes first")
	f.BoolVar(&yes, "yes", false, "go on although the server is not on this machine")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	connections := connectionsFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		b.connections = *connections
		if err := cmp.Or(b.check(), checkConnections(b.connections)); err != nil {
			return err
		}
		if b.target, err = target.target(cmd.Context(), p.stdin, b.duration+24*time.Hour); err != nil {
			return err
		}
		if !isLoopback(b.target.URL) && target.url != "" && !yes {
			return usagef("this puts load on %s and changes users named %s and so on in app %d; say --yes if that is meant", b.target.URL, load.User(0), target.app)
		}
		fmt.Fprintf(p.stderr, "This changes the users %s to %s in app %d of %s.\n", load.User(0), load.User(b.users-1), target.app, b.target.URL)
		r, err := b.run(cmd.Context())
		if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
			return fmt.Errorf("%w; trust it with --ca FILE, or name the server in --url as its certificate does", err)
		}
		if err != nil {
			return err
		}
		if asJSON {
			err = p.printJSON(b.report(r))
		} else {
			err = b.print(r)
		}
		return cmp.Or(err, b.failed(r))
	}
	return cmd
}

// check returns the first mistake on the command line.
func (b *bencher) check() error {
	switch {
	case !slices.Contains(commands, b.command):
		return usagef("--command %q is none of %s", b.command, strings.Join(commands, ", "))
	case b.batch < 1 || b.batch > 100:
		return usagef("--users-per-request %d is not a number from 1 to 100", b.batch)
	case b.users < uint64(b.batch) || b.users > load.MaxUsers:
		return usagef("--users %d is not a number from %d, as many as a request has, to %d", b.users, b.batch, load.MaxUsers)
	case b.duration < 10*time.Millisecond:
		return usagef("--duration %v is less than 10ms", b.duration)
	case !(b.rate >= 0): // also if it is no number
		return usagef("--rate %v is less than 0", b.rate)
	}
	return nil
}

// stretch is how many users lose their attributes before they get them back.
const stretch = 200_000

// run fills the app if that is asked for, and makes the requests.
func (b *bencher) run(ctx context.Context) (load.Result, error) {
	if b.fill {
		progress := func(done, total uint64) {
			fmt.Fprintf(b.stderr, "filling: %d%%\n", 100*done/total)
		}
		if err := load.Fill(ctx, b.target, b.users, everyFewSeconds(progress)); err != nil {
			return load.Result{}, fmt.Errorf("%w; if it answers %d, %s", err, apierr.RateLimited.Code, b.liftLimits())
		}
	}
	var err error
	if b.client, err = load.Dial(ctx, b.target, b.connections); err != nil {
		return load.Result{}, err
	}
	defer b.client.Close()
	o := load.Options{Duration: b.duration, Rate: b.rate}
	switch b.command {
	case getAttr:
		return b.measure(ctx, load.GetAttr(load.Random(b.users, 1), b.batch), o)
	case importing:
		return b.measure(ctx, load.Import(load.InOrder(b.users), b.batch), o)
	}
	return b.change(ctx)
}

func (b *bencher) measure(ctx context.Context, w load.Workload, o load.Options) (load.Result, error) {
	o.Progress = func(requests uint64) { fmt.Fprintf(b.stderr, "%d requests\n", requests) }
	return b.client.Run(ctx, w, o)
}

// change measures remove_attr or set_attr on one stretch of users after the other. Off
// the clock it brings about what was there before.
func (b *bencher) change(ctx context.Context) (sum load.Result, err error) {
	window := min(b.users, stretch) / uint64(b.batch)
	users := load.Shuffled(b.users, 1)
	for sum.Elapsed < b.duration {
		o := load.Options{Duration: b.duration - sum.Elapsed, Rate: b.rate, Requests: window}
		var r load.Result
		var runErr error
		if b.command == removeAttr {
			r, runErr = b.measure(ctx, load.RemoveAttr(users, b.batch), o)
		} else {
			r, runErr = b.client.Run(ctx, load.RemoveAttr(users, b.batch), load.Options{Requests: window, Duration: time.Hour})
			if runErr == nil && r.Err() == nil {
				r, runErr = b.measure(ctx, load.SetAttr(users, b.batch), o)
			}
		}
		sum.Add(r)
		if runErr == nil && r.Err() != nil {
			return sum, nil // the result has the errors
		}
		// Also after an interrupt.
		if err := cmp.Or(b.client.Restore(context.WithoutCancel(ctx), users, window*uint64(b.batch)), runErr); err != nil {
			return sum, err
		}
		users = users.From(window * uint64(b.batch))
	}
	return sum, nil
}

// everyFewSeconds returns a function that calls f less often.
func everyFewSeconds(f func(done, total uint64)) func(done, total uint64) {
	var last time.Time
	return func(done, total uint64) {
		if time.Since(last) >= 5*time.Second {
			last = time.Now()
			f(done, total)
		}
	}
}

// failed returns an error that lists the requests in error and says what may help; nil
// if there are none.
func (b *bencher) failed(r load.Result) error {
	err := r.Err()
	for _, hint := range []struct {
		kind *apierr.Kind
		text string
	}{
		{apierr.RateLimited, b.liftLimits()},
		{apierr.UnknownAccount, "create the users first: --fill"},
		{apierr.InvalidAttribute, "name the attributes and create the users first: --fill"},
	} {
		if r.Errors[hint.kind.Code] > 0 {
			return fmt.Errorf("%w; %s", err, hint.text)
		}
	}
	return err
}

func (b *bencher) liftLimits() string {
	return fmt.Sprintf("lift the limits of the app: tidings app set %d --limit default=0", b.target.SDKAppID)
}
