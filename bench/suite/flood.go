package suite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"tidings/bench/load"
	"tidings/internal/app"
	"tidings/internal/usersig"
)

// Sizes of the flood at Scale 1. It is larger than what a server takes that may open
// floodFiles files.
const (
	floodFiles  = 4096
	politeUsers = 100_000 // of the well-behaved app
	politeRate  = 500     // its requests per second
	politeBatch = 10      // users in a request of it
	greedyUsers = 1000    // of the greedy app
	greedyRate  = 300     // its requests per second of three commands, as many as the contract allows
	greedyConns = 200     // connections of these requests
	badTickets  = 200     // requests per second with tickets that are not good

	idleStrangers    = 2250 // connections, as are the following
	unfinishedHeads  = 2250
	unfinishedBodies = 2100
	slowSenders      = 200
	slowReaders      = 20

	floodMemory = 512             // MB that a flood may add to the resident memory
	longestRise = 3 * time.Second // from the beginning of a flood to the first measured request
)

// flood measures a well-behaved app quietly, and while strangers, a greedy app, slow
// senders and slow readers are there at once.
func (s *suite) flood(ctx context.Context) (err error) {
	st, err := s.openWith(ctx, setup{users: s.scaled(politeUsers), openFiles: floodFiles})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	f := &flooded{store: st, share: min(s.opts.Scale, 1), failed: map[int]uint64{}}
	f.greedy, err = s.addGreedy(ctx, st, 1, nil) // the limits of the contract
	if err != nil {
		return err
	}
	f.reader, err = s.addGreedy(ctx, st, 2, app.Limits{"default": 0})
	if err != nil {
		return err
	}
	var quiet, beside []load.Result
	var rests, peaks []float64
	for range s.opts.Rounds {
		rest, err := s.rssAtRest(ctx, st)
		if err != nil {
			return err
		}
		q, err := f.polite(ctx, s.opts.Round)
		if err := cmp.Or(err, q.Err(), st.resetPeak()); err != nil {
			return fmt.Errorf("quiet: %w", err)
		}
		b, err := f.inFlood(ctx, s.opts.Round)
		if err != nil {
			return err
		}
		quiet, beside = append(quiet, q), append(beside, b)
		peak, err := st.peakRSS()
		if err != nil { // there is no such process any more
			s.report.Notes = append(s.report.Notes, "The server ended in the flood: "+lastLines(st.logTail(), 3))
			break
		}
		rests, peaks = append(rests, rest), append(peaks, float64(peak)/mebi)
	}
	s.addFlood(f, quiet, beside, rests, peaks)
	return nil
}

// addGreedy creates the n-th further app with some users.
func (s *suite) addGreedy(ctx context.Context, st *store, n uint32, limits app.Limits) (load.Target, error) {
	t := s.target(st, sdkAppID+n)
	t.URL = st.url
	d := app.Declaration{ID: t.SDKAppID, SecretKey: &st.secret, Admins: []string{identifier}, Limits: limits}
	if err := st.control(ctx, "app/create", d, nil); err != nil {
		return t, err
	}
	if err := load.Fill(ctx, t, greedyUsers, nil); err != nil {
		return t, fmt.Errorf("app %d: %w", t.SDKAppID, err)
	}
	return t, nil
}

// addFlood adds the rows of the flood.
func (s *suite) addFlood(f *flooded, quiet, beside []load.Result, rests, peaks []float64) {
	var r ratios
	var all load.Result
	for i := range beside {
		r = append(r, float64(beside[i].Latency.Quantile(0.99))/float64(quiet[i].Latency.Quantile(0.99)))
		all.Add(beside[i])
	}
	name := fmt.Sprintf("of set_attr and get_attr of a well-behaved app, %d users a request, %d requests/s, in a flood", politeBatch, politeRate)
	s.add(Row{
		Case: "p99 " + name, Ours: p99(beside).String(), Baseline: "quiet " + p99(quiet).String(), Ratio: r.String(),
		Aim: "<= 2", Met: median(r) <= 2,
	})
	s.add(Row{
		Case: "requests refused or broken " + name, Ours: fmt.Sprintf("%d of %d (%s)", all.Failed(), all.Requests+all.Failed(), codes(all.Errors)),
		Baseline: "quiet 0", Ratio: "-", Aim: "0", Met: all.Failed() == 0,
	})
	memory := Row{
		Case: "peak of the resident memory in a flood", Ours: "the server ended", Baseline: "-", Ratio: "-",
		Aim: fmt.Sprintf("<= +%d MB", floodMemory),
	}
	if len(peaks) == len(beside) {
		growth := slices.Max(peaks) - median(rests)
		memory.Ours, memory.Baseline = fmt.Sprintf("%.0f MB", slices.Max(peaks)), fmt.Sprintf("quiet %.0f MB", median(rests))
		memory.Ratio, memory.Met = fmt.Sprintf("%+.0f MB", growth), growth <= floodMemory
	}
	s.add(memory)
	s.report.Notes = append(s.report.Notes, fmt.Sprintf(
		"The flood, at a server that may open %d files: %s. At the end of the last flood %s. Requests of strangers and the greedy app that were answered: %d; in error %s.",
		floodFiles, f.describe(), f.crowd, f.answered, codes(f.failed)))
}

// A flooded is a store that is flooded.
type flooded struct {
	*store
	greedy   load.Target // an app that asks as much as the contract allows
	reader   load.Target // an app that does not read its answers
	share    float64     // of the sizes above
	requests uint64      // of the well-behaved app, so far

	crowd    string         // at the end of the last flood
	mu       sync.Mutex     // guards answered and failed
	answered uint64         // requests of strangers and the greedy app
	failed   map[int]uint64 // requests of theirs in error, by code
}

// scaled returns n connections or requests per second, scaled.
func (f *flooded) scaled(n int) int { return max(int(float64(n)*f.share), 4) }

// polite makes requests of the well-behaved app. Requests in error do not end it.
func (f *flooded) polite(ctx context.Context, d time.Duration) (load.Result, error) {
	users := load.Shuffled(f.users, 1)
	set, get := load.GiveAttr(users, politeBatch, int(f.requests)), load.GetAttr(users, politeBatch)
	w := load.Workload{Users: politeBatch, Append: func(dst []byte, seq uint64) (string, []byte) {
		if seq%2 == 0 {
			return set.Append(dst, seq/2)
		}
		return get.Append(dst, seq/2)
	}}
	r, err := f.client.Run(ctx, w.From(f.requests), load.Options{Duration: d, Rate: politeRate, Persist: true})
	f.requests += r.Requests + r.Failed()
	return r, err
}

// inFlood makes requests of the well-behaved app in a flood.
func (f *flooded) inFlood(ctx context.Context, d time.Duration) (load.Result, error) {
	flood, stop := context.WithCancel(ctx)
	var wait sync.WaitGroup
	wait.Go(func() {
		f.press(flood, f.strangers(), load.GetAttr(load.InOrder(f.users), 1), f.scaled(badTickets), f.scaled(badTickets))
	})
	wait.Go(func() {
		f.press(flood, []load.Target{f.from(f.greedy, 6)}, oversized(), f.scaled(greedyConns), f.scaled(greedyRate))
	})
	crowd := gather(flood, f.kinds())
	pause(ctx, min(longestRise, d)) // until the crowd is there
	r, err := f.polite(ctx, d)
	f.crowd = crowd.String()
	stop()
	crowd.disperse()
	wait.Wait()
	return r, err
}

// press puts paced load on the server until ctx ends, also if the server refuses it.
func (f *flooded) press(ctx context.Context, targets []load.Target, w load.Workload, connections, rate int) {
	w = load.Workload{Users: w.Users, Append: w.Append, Target: func(seq uint64) int { return int(seq % uint64(len(targets))) }}
	for ctx.Err() == nil {
		client, err := load.DialAll(ctx, targets, connections)
		if err != nil {
			pause(ctx, redialPause)
			continue
		}
		r, _ := client.Run(ctx, w, load.Options{Duration: longestTime, Rate: float64(rate), Persist: true}) // it ends with ctx
		client.Close()
		f.mu.Lock()
		f.answered += r.Requests + r.Failed() - r.Errors[load.Broken]
		for code, n := range r.Errors {
			f.failed[code] += n
		}
		f.mu.Unlock()
	}
}

// from returns a target whose connections come from the n-th address of loopback. So a
// server that limits what comes from an address does not limit the well-behaved app.
func (f *flooded) from(t load.Target, n byte) load.Target {
	t.Source = netip.AddrFrom4([4]byte{127, 0, 0, n})
	return t
}

// strangers returns targets whose tickets are signed with a key that is not the app's.
func (f *flooded) strangers() []load.Target {
	const n = 100
	list := make([]load.Target, n)
	for i := range list {
		t := f.from(f.targets[0], 5)
		t.Identifier = load.User(uint64(i))
		t.Ticket = usersig.Make("not-the-key-of-the-app", t.SDKAppID, t.Identifier, time.Now(), usersig.DefaultLife, nil)
		list[i] = t
	}
	return list
}

// kinds returns the hostile connections of a flood.
func (f *flooded) kinds() []hostile {
	stranger := func(i int) load.Target { return f.from(f.targets[0], byte(2+i%3)) }
	only := func(t load.Target, n byte) func(int) load.Target {
		return func(int) load.Target { return f.from(t, n) }
	}
	return []hostile{
		{"idle strangers", f.scaled(idleStrangers), stranger, silent, wholeHead},
		{"strangers with unfinished requests", f.scaled(unfinishedHeads), stranger, silent, openHead},
		{"slow strangers", f.scaled(slowSenders), stranger, drip, openHead},
		{"half-sent bodies of the greedy app", f.scaled(unfinishedBodies), only(f.greedy, 7), silent, largeBody},
		{"slowly sent bodies of it", f.scaled(slowSenders), only(f.greedy, 8), drip, largeBody},
		{"connections of a third app that never read", f.scaled(slowReaders), only(f.reader, 9), drip, manyAnswers},
	}
}

// describe returns what a flood is made of.
func (f *flooded) describe() string {
	var parts []string
	for _, k := range f.kinds() {
		parts = append(parts, fmt.Sprintf("%d %s", k.n, k.name))
	}
	parts = append(parts, fmt.Sprintf("%d requests/s with bad tickets", f.scaled(badTickets)),
		fmt.Sprintf("%d requests/s of the greedy app, most of %d bytes", f.scaled(greedyRate), declaredBytes))
	return strings.Join(parts, ", ")
}

// codes returns the numbers of requests by code, as text.
func codes(counts map[int]uint64) string {
	var parts []string
	for _, code := range slices.Sorted(maps.Keys(counts)) {
		name := fmt.Sprint(code)
		if code == load.Broken {
			name = "broken"
		}
		parts = append(parts, fmt.Sprintf("%s: %d", name, counts[code]))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// lastLines returns the last n lines of a text, in one.
func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], " / ")
}
