// Package suite measures a server binary against the project's aims for speed,
// memory and start. It starts the server and what it is compared with as
// processes of their own, on loopback and in a temporary directory, and removes
// everything at the end.
//
// Machines are noisy. So a case and its baseline run in turns, each ratio is that of one
// turn, and the median of the ratios counts. The suite needs /proc, that is Linux.
package suite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"tidings/bench/load"
)

// Options says what to measure and how long. Program and Baseline are required.
type Options struct {
	Program  string   // the tidings program that is measured
	Baseline []string // command line that calls load.BaselineProcess
	Post     []string // command line that calls load.PostProcess; needed for Push

	Only        string        // a Group; default all
	Before      string        // an older tidings program, to compare changes with; default none
	Scale       float64       // of the populations and of Round; default 1, quick 0.05
	Rounds      int           // turns of each comparison; default 3
	Round       time.Duration // measured time of one turn; default 5s scaled, at least 1s
	Connections int           // default load.DefaultConnections
	Dir         string        // where the temporary directory goes: the disk that is measured; default os.TempDir()
	Config      string        // YAML lines appended to the server's configuration
	Log         io.Writer     // progress; default none
}

// Sizes of the populations at Scale 1.
const (
	mainUsers  = 1_000_000
	largeUsers = 5_000_000
	smallUsers = 10_000
	batch      = 100 // users in a large request
)

const (
	sdkAppID   = 1400000001
	identifier = "administrator"
)

// A suite is one run of all cases.
type suite struct {
	opts   Options
	dir    string
	stores int // started so far: each has its own directory
	report Report

	probed      bool
	checkpoints bool // the server writes checkpoints; set when probed

	heavyAsked uint64 // heavy questions so far
}

// Run runs all cases. With an error it returns the rows so far.
func Run(ctx context.Context, o Options) (Report, error) {
	o.Scale = cmp.Or(o.Scale, 1)
	o.Rounds = cmp.Or(o.Rounds, 3)
	o.Round = cmp.Or(o.Round, max(time.Second, time.Duration(o.Scale*float64(5*time.Second))))
	o.Connections = cmp.Or(o.Connections, load.DefaultConnections)
	o.Log = cmp.Or[io.Writer](o.Log, io.Discard)
	dir, err := os.MkdirTemp(o.Dir, "tidings-bench-")
	if err != nil {
		return Report{}, err
	}
	s := &suite{opts: o, dir: dir}
	s.report.Machine = fmt.Sprintf("%d cores, %s/%s, data in %s, scale %g, %d turns of %v, %d connections",
		runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, filepath.Dir(dir), o.Scale, o.Rounds, o.Round, o.Connections)
	err = s.runParts(ctx)
	return s.report, errors.Join(err, os.RemoveAll(dir))
}

// Groups of cases, by what they need.
const (
	Requests    = "requests"    // one large server, memory and start of that and an empty one
	Changes     = "changes"     // one large server beside Redis, and Sizes
	Sizes       = "sizes"       // a very large server and a small one
	Checkpoints = "checkpoints" // ten million users in a hundred apps
	Memory      = "memory"      // ten million users in one app, then ten thousand apps
	Audiences   = "audiences"   // ten million users with attributes and tags
	Questions   = "questions"   // ten million users that are asked about and changed at a time
	Flood       = "flood"       // a well-behaved app beside strangers and a greedy app
	Push        = "push"        // pushes to a simulator of FCM, and ten million devices
)

// parts are the parts of a run, in order, each with the groups that it belongs to.
var parts = []struct {
	groups []string
	run    func(*suite, context.Context) error
}{
	{[]string{Requests}, (*suite).mainStore},
	{[]string{Changes}, (*suite).changeCases},
	{[]string{Changes, Sizes}, (*suite).sizes},
	{[]string{Checkpoints}, (*suite).checkpointCases},
	{[]string{Memory}, (*suite).memoryCases},
	{[]string{Audiences}, (*suite).audiences},
	{[]string{Questions}, (*suite).questionCases},
	{[]string{Flood}, (*suite).flood},
	{[]string{Push}, (*suite).pushCases},
	{[]string{Push}, (*suite).deviceCases},
}

// Groups returns the groups in the order in which they run.
func Groups() (groups []string) {
	for _, p := range parts {
		for _, g := range p.groups {
			if !slices.Contains(groups, g) {
				groups = append(groups, g)
			}
		}
	}
	return groups
}

func (s *suite) runParts(ctx context.Context) error {
	for _, p := range parts {
		if s.opts.Only != "" && !slices.Contains(p.groups, s.opts.Only) {
			continue
		}
		if err := p.run(s, ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *suite) mainStore(ctx context.Context) (err error) {
	st, err := s.open(ctx, s.scaled(mainUsers))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	for _, c := range []func(context.Context, *store) error{s.get, s.indexed, s.footprint} {
		if err := c(ctx, st); err != nil {
			return err
		}
	}
	return nil
}

func (s *suite) logf(format string, args ...any) {
	_, _ = fmt.Fprintf(s.opts.Log, "%s "+format+"\n", append([]any{time.Now().Format(time.TimeOnly)}, args...)...)
}

// scaled returns a population of n users at Scale 1.
func (s *suite) scaled(n float64) uint64 { return max(uint64(n*s.opts.Scale), 20*batch) }

// settle waits until a server is idle: its background work after one case must not be
// charged to the next.
func (s *suite) settle(ctx context.Context, p *process) error {
	interval := min(500*time.Millisecond, max(s.opts.Round/4, 20*time.Millisecond))
	quiet := 0
	for range 120 {
		before := p.cpu()
		select {
		case <-time.After(interval):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		quiet++
		if p.cpu()-before > interval/20 {
			quiet = 0
		}
		if quiet == 3 {
			return nil
		}
	}
	s.logf("the server is still busy after %v of nothing to do", 120*interval)
	return nil
}

// median returns the median of xs, which must not be empty.
func median(xs []float64) float64 {
	xs = slices.Sorted(slices.Values(xs))
	return (xs[(len(xs)-1)/2] + xs[len(xs)/2]) / 2
}

// count returns a population or a rate as text for people: 1 000 000.
func count[N uint64 | float64](n N) string {
	s := fmt.Sprintf("%.0f", float64(n))
	var groups []string
	for len(s) > 3 {
		groups = append([]string{s[len(s)-3:]}, groups...)
		s = s[:len(s)-3]
	}
	return strings.Join(append([]string{s}, groups...), " ")
}
