package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tidings/internal/simulate"
)

// simulateListen is where tidings simulate listens if nothing else is asked for.
const simulateListen = "127.0.0.1:9099"

// A simulation is what the flags of tidings simulate ask for.
type simulation struct {
	options     simulate.Options
	latency     string
	shares      []string
	retryAfter  time.Duration
	clock       time.Duration
	quiet, json bool
}

func (e *env) simulateCommand() *cobra.Command {
	var s simulation
	b := &s.options.Behaviour
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Run push providers that check, misbehave and count",
		Long: `Run a simulator of push providers until it is interrupted: FCM, with its token endpoint.

It checks what it receives as strictly as the real one, misbehaves when it is asked to, by
flags, by the beginning of a token or through /simulate/, and counts everything, so that a
sender can be shown to lose nothing and to repeat nothing. It listens on loopback only, with
and without TLS on one port, and prints a line for each message; a summary at the end goes
to standard error.

Give a sender the service account (--dir, or /simulate/service-account) and the address in
place of https://fcm.googleapis.com. All of it is in doc/simulator.md.

A token may begin with a fate, always or the first so many times: gone-, throttle3-, slow250-.
The fates are ` + strings.Join(simulate.FateNames(), ", ") + `.`,
		Example: `  tidings simulate --dir /tmp/fcm
  tidings simulate --latency 20ms-80ms --dead 0.02 --share unavailable=0.01,lost=0.001 --retry-after 10s
  tidings simulate --go-away 1000 --abrupt --quiet`,
		Args: takes(),
	}
	f := cmd.Flags()
	f.StringVar(&s.options.Listen, "listen", simulateListen, "`ADDRESS` on loopback; port 0 takes a free one")
	f.StringVar(&s.options.Dir, "dir", "", "`DIRECTORY` for ca.pem and service-account.json, which are kept and used again")
	f.StringVar(&s.options.IDKey, "id-key", "tidings", "`MEMBER` of data that holds the id of a message, for which repetitions are counted")
	f.StringVar(&s.options.Project, "project", "tidings-simulator", "Firebase `PROJECT` of the service account")
	f.IntVar(&s.options.Streams, "streams", 100, "requests at once on a connection of HTTP/2")
	f.DurationVar(&s.options.TokenLife, "token-life", 3599*time.Second, "how long an access token is good")
	f.IntVar(&s.options.Counted, "counted", 10_000_000, "tokens, and report ids, that are counted")
	f.Uint64Var(&s.options.Seed, "seed", 1, "what decides which tokens and messages a share takes")
	f.StringVar(&s.latency, "latency", "0s", "`TIME` until an answer, as 50ms or 20ms-80ms")
	f.Float64Var(&b.Dead, "dead", 0, "`SHARE` of all tokens that are unregistered, 0 to 1")
	f.StringSliceVar(&s.shares, "share", nil, "`FATE=SHARE` of the messages, such as unavailable=0.01")
	f.StringVar(&b.All, "all", "", "`FATE` of all messages")
	f.IntVar(&b.Rate, "rate", 0, "messages a second that the project may send; 0: any number")
	f.DurationVar(&s.retryAfter, "retry-after", 0, "Retry-After of 429 and 503; 0s: none")
	f.IntVar(&b.RevokeAfter, "revoke-after", 0, "accepted messages after which the credentials stop working; 0: never")
	f.IntVar(&b.ForbidAfter, "forbid-after", 0, "accepted messages after which the account may not send; 0: never")
	f.IntVar(&b.GoAway, "go-away", 0, "requests after which a connection says GOAWAY; 0: never")
	f.BoolVar(&b.Abrupt, "abrupt", false, "GOAWAY ends the connection without the answers that are due")
	f.IntVar(&b.Refuse, "refuse", 0, "a connection refuses each so many-th request (REFUSED_STREAM); 0: none")
	f.DurationVar(&s.clock, "clock", 0, "how far the clock of the provider is ahead; less than 0: behind")
	f.BoolVar(&s.quiet, "quiet", false, "print no line for each message")
	f.BoolVar(&s.json, "json", false, "print JSON, a line each")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := s.behave(); err != nil {
			return usagef("%w", err)
		}
		return e.simulate(cmd, &s)
	}
	return cmd
}

// behave takes the flags that are texts into the behaviour.
func (s *simulation) behave() (err error) {
	b := &s.options.Behaviour
	if b.MinLatency, b.MaxLatency, err = simulate.ParseLatency(s.latency); err != nil {
		return fmt.Errorf("--latency: %w", err)
	}
	b.RetryAfter, b.Clock = simulate.Duration(s.retryAfter), simulate.Duration(s.clock)
	b.Share = map[string]float64{}
	for _, text := range s.shares {
		fate, share, ok := strings.Cut(text, "=")
		n, err := strconv.ParseFloat(share, 64)
		if !ok || err != nil {
			return fmt.Errorf("--share %q is not of the form FATE=SHARE", text)
		}
		b.Share[fate] = n
	}
	return s.options.Check()
}

// simulate runs a simulator until ctx ends or a signal to stop comes.
func (e *env) simulate(cmd *cobra.Command, s *simulation) error {
	ctx, stop := untilTold(cmd.Context())
	defer stop()
	out := bufio.NewWriter(e.stdout)
	show := simulated(s.json, out)
	if !s.quiet {
		s.options.Delivered = func(d simulate.Delivery) {
			show(event{Time: d.Time, Event: "delivered", Provider: d.Provider, Token: simulate.Last6(d.Token), ID: d.ID, Title: d.Title, Text: d.Text, Channel: d.ChannelID, Size: d.Size})
		}
		s.options.Refused = func(r simulate.Refusal) {
			show(event{Time: r.Time, Event: "refused", Provider: r.Provider, Token: simulate.Last6(r.Token), ID: r.ID, Fate: r.Fate.String(), Words: r.Words})
		}
	}
	sim, err := simulate.Start(s.options)
	if err != nil {
		return err
	}
	account := "curl " + sim.URL() + "/simulate/service-account"
	if s.options.Dir != "" {
		account = "in " + s.options.Dir
	}
	ready := fmt.Sprintf("tidings: simulating FCM on %s and %s (service account: %s)\n", sim.URL(), sim.TLSURL(), account)
	to := e.stdout
	if s.json {
		to = e.stderr // standard output is JSON
	}
	fmt.Fprint(to, ready)
	<-ctx.Done()
	err = sim.Close()
	return e.summarize(sim.Totals(), err)
}

// An event is a message in the output.
type event struct {
	Time     time.Time `json:"time"`
	Event    string    `json:"event"`
	Provider string    `json:"provider"`
	Token    string    `json:"token,omitempty"` // its last 6 characters
	ID       string    `json:"id,omitempty"`
	Title    string    `json:"title,omitempty"`
	Text     string    `json:"text,omitempty"`
	Channel  string    `json:"channel,omitempty"`
	Size     int       `json:"size,omitempty"`
	Fate     string    `json:"fate,omitempty"`
	Words    string    `json:"words,omitempty"`
}

// simulated returns a function that prints an event. It is called by one goroutine.
func simulated(asJSON bool, out *bufio.Writer) func(event) {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	return func(v event) {
		if asJSON {
			_ = enc.Encode(v) // the output is gone
		} else {
			fmt.Fprintf(out, "%s  %s", v.Time.Local().Format("15:04:05.000"), v.Token)
			if v.Event == "delivered" {
				fmt.Fprintf(out, "  %s", plain(v.Title))
				if v.Text != "" {
					fmt.Fprintf(out, ": %s", plain(v.Text))
				}
				if v.Channel != "" {
					fmt.Fprintf(out, "  [%s]", plain(v.Channel))
				}
				fmt.Fprintf(out, "  %d bytes\n", v.Size)
			} else {
				fmt.Fprintf(out, "  %s: %s\n", v.Fate, plain(v.Words))
			}
		}
		_ = out.Flush() // the output is gone
	}
}

// summarize prints what a simulator has counted.
func (e *env) summarize(t simulate.Totals, err error) error {
	var fates []string
	for _, fate := range slices.Sorted(maps.Keys(t.Fates)) {
		fates = append(fates, fmt.Sprintf("%d %s", t.Fates[fate], fate))
	}
	if len(fates) == 0 {
		fates = []string{"nothing came"}
	}
	fmt.Fprintf(e.stderr, "tidings: %s; %d delivered to %s, %s repeated\n", strings.Join(fates, ", "), t.Delivered,
		counted(int(t.Tokens), "token", "tokens"), counted(int(t.RepeatedIDs), "id", "ids"))
	if t.Overflow > 0 {
		fmt.Fprintf(e.stderr, "tidings: %d deliveries were not counted by token and id: there are more than --counted\n", t.Overflow)
	}
	if t.Unheard > 0 {
		fmt.Fprintf(e.stderr, "tidings: %s left out of the output, which was read too slowly\n", counted(int(t.Unheard), "line was", "lines were"))
	}
	return err
}
