package suite

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"tidings/bench/load"
)

// A fanOut is a broadcast to all devices, compared with a bare client that posts the same
// messages to the same simulator.
type fanOut struct {
	latency     time.Duration // of the simulator's answers
	connections int           // of the bare client
	inFlight    int           // messages of the bare client
	wanted      int           // messages a second
}

// The connections and messages in flight are those with which the bare client is fastest;
// after 50 ms as many messages are in flight as a server may have.
var fanOutCases = []fanOut{
	{latency: 0, connections: 4, inFlight: 64, wanted: 18_000},
	{latency: 50 * time.Millisecond, connections: 16, inFlight: 1600, wanted: 16_000},
}

func (s *suite) fanOuts(ctx context.Context, p *pushed) error {
	body, err := p.messageBody(ctx)
	if err != nil {
		return err
	}
	for _, f := range fanOutCases {
		if err := s.fanOut(ctx, p, f, body); err != nil {
			return err
		}
	}
	return nil
}

// A sending is one turn of a fanOut.
type sending struct {
	rate      float64       // messages a second
	sender    time.Duration // CPU
	simulator time.Duration // CPU
}

func (s *suite) fanOut(ctx context.Context, p *pushed, f fanOut, body string) error {
	var r ratios
	var ours, bare []sending
	for range s.opts.Rounds {
		b, err := s.sends(ctx, p, f, func() (time.Duration, time.Duration, error) { return s.post(ctx, p, f, body) })
		if err != nil {
			return fmt.Errorf("bare client: %w", err)
		}
		o, err := s.sends(ctx, p, f, func() (time.Duration, time.Duration, error) { return p.broadcast(ctx) })
		if err != nil {
			return err
		}
		bare, ours, r = append(bare, b), append(ours, o), append(r, o.rate/b.rate)
	}
	name := "answers at once"
	if f.latency > 0 {
		name = fmt.Sprintf("answers after %v", f.latency)
	}
	s.add(Row{
		Case: fmt.Sprintf("broadcast to %s, FCM simulator %s", p.name, name),
		Ours: speed(ours), Baseline: fmt.Sprintf("bare client, %d connections, %d in flight, %s", f.connections, f.inFlight, speed(bare)),
		Ratio: r.String(), Aim: fmt.Sprintf(">= 0.7, wanted %s/s", count(uint64(f.wanted))), Met: median(r) >= 0.7,
	})
	n := p.phones
	s.report.Notes = append(s.report.Notes, fmt.Sprintf(
		"CPU of a message when the simulator %s: server %.1f µs and simulator %.1f µs; bare client %.1f µs and simulator %.1f µs. By CPU the ratio is %.2f.",
		name, cpuOf(ours, n, sender), cpuOf(ours, n, receiver), cpuOf(bare, n, sender), cpuOf(bare, n, receiver),
		(cpuOf(bare, n, sender)+cpuOf(bare, n, receiver))/(cpuOf(ours, n, sender)+cpuOf(ours, n, receiver))))
	return nil
}

func sender(x sending) time.Duration   { return x.sender }
func receiver(x sending) time.Duration { return x.simulator }

func speed(list []sending) string {
	var rates []float64
	for _, x := range list {
		rates = append(rates, x.rate)
	}
	return count(median(rates)) + " messages/s"
}

// cpuOf returns the microseconds of CPU for each of n messages.
func cpuOf(list []sending, n uint64, of func(sending) time.Duration) float64 {
	var all []float64
	for _, x := range list {
		all = append(all, float64(of(x).Microseconds())/float64(n))
	}
	return median(all)
}

// sends measures one turn. Each device must have got one message.
func (s *suite) sends(ctx context.Context, p *pushed, f fanOut, send func() (took, cpu time.Duration, err error)) (x sending, err error) {
	if err := errors.Join(s.settle(ctx, p.process), p.sim.answerAfter(ctx, f.latency)); err != nil {
		return x, err
	}
	before := p.sim.cpu()
	took, cpu, err := send()
	if err != nil {
		return x, err
	}
	x = sending{perSecond(p.phones, took), cpu, p.sim.cpu() - before}
	t, err := p.sim.totals(ctx)
	if err == nil && (t.Delivered != int64(p.phones) || t.Tokens != t.Delivered || t.IDs != t.Delivered) {
		err = fmt.Errorf("%d messages were delivered to %d devices of %d with %d report ids", t.Delivered, t.Tokens, p.phones, t.IDs)
	}
	return x, err
}

// broadcast pushes to everyone, and returns the time from the answer until the last message
// has arrived, and the CPU of the server until the task has ended.
func (p *pushed) broadcast(ctx context.Context) (took, cpu time.Duration, err error) {
	before := p.cpu()
	id, err := p.push(ctx, everyMember)
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	if err := p.sim.wait(ctx, p.phones); err != nil {
		return 0, 0, err
	}
	took = time.Since(began)
	state, err := p.ended(ctx, id)
	if err == nil && state != "done" {
		err = fmt.Errorf("task %s ended as %s", id, state)
	}
	return took, p.cpu() - before, err
}

// post has the bare client send to all devices.
func (s *suite) post(ctx context.Context, p *pushed, f fanOut, body string) (took, cpu time.Duration, err error) {
	account := struct {
		Project string `json:"project_id"`
	}{}
	if err := p.sim.call(ctx, "GET", "service-account", nil, &account); err != nil {
		return 0, 0, err
	}
	token, err := p.sim.accessToken(ctx)
	if err != nil {
		return 0, 0, err
	}
	in, err := json.Marshal(load.Post{
		URL: p.sim.url + "/v1/projects/" + account.Project + "/messages:send", Ready: p.sim.url + "/simulate/fates",
		Token: token, Body: body, Messages: int(p.phones), Connections: f.connections, InFlight: f.inFlight,
	})
	if err != nil {
		return 0, 0, err
	}
	cmd := exec.CommandContext(ctx, s.opts.Post[0], s.opts.Post[1:]...)
	var out, problems bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = bytes.NewReader(in), &out, &problems, environment()
	if err := cmd.Run(); err != nil {
		return 0, 0, fmt.Errorf("%w\n%s", err, &problems)
	}
	var done load.Posted
	if err := json.Unmarshal(out.Bytes(), &done); err != nil {
		return 0, 0, err
	}
	state := cmd.ProcessState
	return time.Duration(done.Seconds * float64(time.Second)), state.UserTime() + state.SystemTime(), nil
}

// messageBody returns what the server sends to a device, with the places of token and report id.
func (p *pushed) messageBody(ctx context.Context) (string, error) {
	body, err := p.preview(ctx, everyMember)
	if err != nil {
		return "", err
	}
	for name, place := range map[string]string{`"token":"`: load.PostToken, `"tidings":"`: load.PostReport} {
		before, after, found := strings.Cut(body, name)
		_, after, closed := strings.Cut(after, `"`)
		if !found || !closed {
			return "", fmt.Errorf("the payload of the preview has no %s: %s", name, body)
		}
		body = before + name + place + `"` + after
	}
	return body, nil
}

// preview asks what a push would come to, and returns what one of the devices would get.
func (p *pushed) preview(ctx context.Context, where string) (body string, err error) {
	var out struct {
		Groups []struct {
			Payload struct{ Body json.RawMessage }
		}
	}
	in := map[string]any{"Where": where, "OfflinePushInfo": json.RawMessage(pushMessage)}
	if err := p.call(ctx, "tidings/preview_push", in, &out); err != nil {
		return "", err
	}
	if len(out.Groups) == 0 {
		return "", errors.New("a push would reach no device")
	}
	return string(out.Groups[0].Payload.Body), nil
}
