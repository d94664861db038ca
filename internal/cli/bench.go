package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"tidings/internal/apierr"
	"tidings/internal/load"
)

func (e *env) benchCommand() *cobra.Command {
	var suite bool
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure how fast a server answers",
		Long: `Measure how fast a server answers.

With --suite it starts servers of its own in a temporary directory, measures them
against the aims of the project and prints a table.

Else it puts load on the app --app of a server, as call finds it. The requests are
about users named user0000000, user0000001 and so on: IT CREATES AND CHANGES THEM.
Use an app that is there for it. A server that is not on this machine needs --yes.
Lift the limits of the app first: tidings app set SDKAPPID --limit default=0

  remove_attr  takes attributes from users; they get them back, off the clock
  set_attr     gives users attributes that were taken away, off the clock
  get_attr     reads the attributes of users
  import       creates accounts, each once; those that exist stay`,
		Example: `  tidings bench --suite --quick
  tidings bench --app 1400000001 --fill
  tidings bench --app 1400000001 --command get_attr --rate 1000 --duration 1m`,
		Args: takes(),
	}
	cmd.Flags().BoolVar(&suite, "suite", false, "measure servers of its own against the aims of the project")
	connections := cmd.Flags().Int("connections", load.DefaultConnections, "connections that requests are sent on")
	asJSON := jsonFlag(cmd)
	runSuite, suiteOnly := e.benchSuite(cmd)
	runLoad, loadOnly := e.benchLoad(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		others, with := suiteOnly, "only goes with --suite"
		if suite {
			others, with = loadOnly, "does not go with --suite"
		}
		for _, name := range others {
			if cmd.Flags().Changed(name) {
				return usagef("--%s %s", name, with)
			}
		}
		if *connections < 1 || *connections > maxConnections {
			return usagef("--connections %d is not a number from 1 to %d", *connections, maxConnections)
		}
		ctx, stop := untilTold(cmd.Context())
		defer stop()
		cmd.SetContext(ctx)
		run := runLoad
		if suite {
			run = runSuite
		}
		err := run(cmd, *connections, *asJSON)
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		return err
	}
	return cmd
}

const maxConnections = 10_000

// benchOptions says what load to put on a server.
type benchOptions struct {
	command  string
	each     int // users in a request
	users    uint64
	duration span
	rate     float64
	fill     bool
	yes      bool
}

// benchLoad adds the flags of a bench without --suite, and returns what runs
// it and the names of the flags.
func (e *env) benchLoad(cmd *cobra.Command) (run func(*cobra.Command, int, bool) error, names []string) {
	var o benchOptions
	o.duration = span(10 * time.Second)
	t := e.targetFlags(cmd)
	f := cmd.Flags()
	f.Var(&t.app, "app", "the app")
	f.StringVar(&o.command, "command", "remove_attr", "`COMMAND`: remove_attr, set_attr, get_attr or import")
	f.IntVar(&o.each, "users-per-request", 100, "users in one request, from 1 to 100")
	f.Uint64Var(&o.users, "users", 1_000_000, "users that requests are about")
	f.Var(&o.duration, "duration", "time that is measured")
	f.Float64Var(&o.rate, "rate", 0, "requests per second in all; 0 is as fast as the server answers")
	f.BoolVar(&o.fill, "fill", false, "create the users with their attributes first")
	f.BoolVar(&o.yes, "yes", false, "go on although the server is not on this machine")
	names = []string{
		"app", "url", "identifier", "secret-key-file", "ca", "insecure", "data",
		"command", "users-per-request", "users", "duration", "rate", "fill", "yes",
	}
	return func(cmd *cobra.Command, connections int, asJSON bool) error {
		if err := o.check(); err != nil {
			return err
		}
		if t.app == 0 {
			return usagef("--app is missing; or say --suite")
		}
		target, err := e.target(cmd, t, time.Duration(o.duration)+24*time.Hour)
		if err != nil {
			return err
		}
		if !target.local && !isLoopback(target.url) && !o.yes {
			return usagef("this puts load on %s and changes users named %s and so on in app %d; say --yes if that is meant", target.url, load.User(0), t.app)
		}
		fmt.Fprintf(e.stderr, "This changes the users %s to %s in app %d of %s.\n", load.User(0), load.User(o.users-1), t.app, target.url)
		b := &bencher{benchOptions: o, env: e, target: load.Target{
			URL: target.url, SDKAppID: target.app, Identifier: target.identifier, Ticket: target.ticket, TLS: target.tls,
		}}
		r, err := b.run(cmd.Context(), connections)
		if err != nil {
			return target.explain(err)
		}
		if asJSON {
			err = e.printJSON(b.report(r, connections))
		} else {
			err = b.print(r, connections)
		}
		return cmp.Or(err, b.failed(r))
	}, names
}

func (o benchOptions) check() error {
	switch {
	case !slices.Contains([]string{"remove_attr", "set_attr", "get_attr", "import"}, o.command):
		return usagef("--command %q is none of remove_attr, set_attr, get_attr and import", o.command)
	case o.each < 1 || o.each > 100:
		return usagef("--users-per-request %d is not a number from 1 to 100", o.each)
	case o.users < uint64(o.each) || o.users > load.MaxUsers:
		return usagef("--users %d is not a number from %d, as many as a request has, to %d", o.users, o.each, load.MaxUsers)
	case o.rate < 0:
		return usagef("--rate %v is less than 0", o.rate)
	}
	return nil
}

// A bencher puts load on a server.
type bencher struct {
	benchOptions
	env    *env
	target load.Target
	client *load.Client
}

// stretch is how many users lose their attributes before they get them back.
const stretch = 200_000

func (b *bencher) run(ctx context.Context, connections int) (load.Result, error) {
	if b.fill {
		progress := func(done, of uint64) {
			fmt.Fprintf(b.env.stderr, "filling: %d%%\n", 100*done/of)
		}
		if err := load.Fill(ctx, b.target, b.users, everyFewSeconds(progress)); err != nil {
			return load.Result{}, fmt.Errorf("%w; if it answers 60007, %s", err, b.liftLimits())
		}
	}
	var err error
	if b.client, err = load.Dial(ctx, b.target, connections); err != nil {
		return load.Result{}, err
	}
	defer b.client.Close()
	switch b.command {
	case "get_attr":
		return b.measure(ctx, load.GetAttr(load.Random(b.users, 1), b.each), b.options(time.Duration(b.duration)))
	case "import":
		return b.measure(ctx, load.Import(load.InOrder(b.users), b.each), b.options(time.Duration(b.duration)))
	}
	return b.change(ctx)
}

func (b *bencher) options(d time.Duration) load.Options {
	return load.Options{Duration: d, Rate: b.rate}
}

func (b *bencher) measure(ctx context.Context, w load.Workload, o load.Options) (load.Result, error) {
	o.Progress = func(requests uint64) { fmt.Fprintf(b.env.stderr, "%s requests\n", number(requests)) }
	return b.client.Run(ctx, w, o)
}

// change measures remove_attr or set_attr on one stretch of users after the
// other, and off the clock brings about what was there before.
func (b *bencher) change(ctx context.Context) (sum load.Result, err error) {
	window := min(b.users, stretch) / uint64(b.each)
	users := load.Shuffled(b.users, 1)
	for sum.Elapsed < time.Duration(b.duration) {
		o := b.options(time.Duration(b.duration) - sum.Elapsed)
		o.Requests = window
		var r load.Result
		var runErr error
		if b.command == "remove_attr" {
			r, runErr = b.measure(ctx, load.RemoveAttr(users, b.each), o)
		} else {
			if r, runErr = b.client.Run(ctx, load.RemoveAttr(users, b.each), load.Options{Requests: window, Duration: time.Hour}); runErr == nil && r.Err() == nil {
				r, runErr = b.measure(ctx, load.SetAttr(users, b.each), o)
			}
		}
		sum.Add(r)
		if runErr == nil && r.Err() != nil {
			return sum, nil // the result says it
		}
		// Even if it was interrupted.
		if err := cmp.Or(b.client.Restore(context.WithoutCancel(ctx), users, window*uint64(b.each)), runErr); err != nil {
			return sum, err
		}
		users = users.From(window * uint64(b.each))
	}
	return sum, nil
}

// everyFewSeconds calls f less often.
func everyFewSeconds(f func(done, of uint64)) func(done, of uint64) {
	var last time.Time
	return func(done, of uint64) {
		if time.Since(last) >= 5*time.Second {
			last = time.Now()
			f(done, of)
		}
	}
}

// failed is an error that tells of the requests in error, and what may help.
func (b *bencher) failed(r load.Result) error {
	err := r.Err()
	for _, h := range []struct {
		kind *apierr.Kind
		do   string
	}{
		{apierr.RateLimited, b.liftLimits()},
		{apierr.UnknownAccount, "create the users first: --fill"},
		{apierr.InvalidAttribute, "name the attributes and create the users first: --fill"},
	} {
		if r.Errors[h.kind.Code] > 0 {
			return fmt.Errorf("%w; %s", err, h.do)
		}
	}
	return err
}

func (b *bencher) liftLimits() string {
	return fmt.Sprintf("lift the limits of the app: tidings app set %d --limit default=0", b.target.SDKAppID)
}

var quantiles = []struct {
	name  string
	share float64
}{{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"max", 1}}

func (b *bencher) print(r load.Result, connections int) error {
	rate := "as fast as the server answers"
	if b.rate > 0 {
		rate = fmt.Sprintf("%g requests/s", b.rate)
	}
	return table(b.env.stdout, func(row func(...any)) {
		row("Command", fmt.Sprintf("%s, %s a request", b.command, counted(b.each, "user", "users")))
		row("Load", fmt.Sprintf("%s on %s", rate, counted(connections, "connection", "connections")))
		row("Time", fmt.Sprintf("%.2f s", r.Elapsed.Seconds()))
		row("Requests", fmt.Sprintf("%s, %s/s", number(r.Requests), number(uint64(r.RequestsPerSecond()))))
		row("Users", fmt.Sprintf("%s, %s/s", number(r.Users), number(uint64(r.UsersPerSecond()))))
		for _, code := range slices.Sorted(maps.Keys(r.Errors)) {
			row("Failed "+codeName(code), number(r.Errors[code]))
		}
		for _, q := range quantiles {
			row("Latency "+q.name, r.Latency.Quantile(q.share).Round(time.Microsecond))
		}
	})
}

func codeName(code int) string {
	if code == load.Broken {
		return "broken"
	}
	return strconv.Itoa(code)
}

// benchReport is the result of a run, for programs.
type benchReport struct {
	Command           string             `json:"command"`
	UsersPerRequest   int                `json:"users_per_request"`
	Connections       int                `json:"connections"`
	Rate              float64            `json:"rate,omitempty"`
	Seconds           float64            `json:"seconds"`
	Requests          uint64             `json:"requests"`
	RequestsPerSecond float64            `json:"requests_per_second"`
	Users             uint64             `json:"users"`
	UsersPerSecond    float64            `json:"users_per_second"`
	Failed            map[string]uint64  `json:"failed"` // by ErrorCode, HTTP status or "broken"
	LatencyMillis     map[string]float64 `json:"latency_ms"`
}

func (b *bencher) report(r load.Result, connections int) benchReport {
	out := benchReport{
		Command: b.command, UsersPerRequest: b.each, Connections: connections, Rate: b.rate, Seconds: r.Elapsed.Seconds(),
		Requests: r.Requests, RequestsPerSecond: r.RequestsPerSecond(), Users: r.Users, UsersPerSecond: r.UsersPerSecond(),
		Failed: map[string]uint64{}, LatencyMillis: map[string]float64{},
	}
	for code, n := range r.Errors {
		out.Failed[codeName(code)] = n
	}
	for _, q := range quantiles {
		out.LatencyMillis[q.name] = float64(r.Latency.Quantile(q.share)) / float64(time.Millisecond)
	}
	return out
}
