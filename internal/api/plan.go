package api

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"sync"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/channel"
	"tidings/internal/gate"
	"tidings/internal/task"
)

// planLife is how long the plan of a preview can be named.
const planLife = 10 * time.Minute

// A plan is what a preview found, and all that is kept of it: in the id that the caller
// gets, so that the server keeps nothing. A caller who makes one up deceives nobody but
// himself.
type plan struct {
	ends     time.Time // in whole seconds
	accounts uint64
	devices  uint64
	sum      [16]byte
}

const (
	planPrefix = "plan_"
	planBytes  = 4 + 8 + 8 + 16
)

// id returns the plan as a text.
func (p *plan) id() string {
	b := binary.BigEndian.AppendUint32(nil, uint32(p.ends.Unix()))
	b = binary.BigEndian.AppendUint64(b, p.accounts)
	b = binary.BigEndian.AppendUint64(b, p.devices)
	return planPrefix + base64.RawURLEncoding.EncodeToString(append(b, p.sum[:]...))
}

// parsePlan reads what id wrote.
func parsePlan(id string) (p plan, ok bool) {
	if len(id) != len(planPrefix)+base64.RawURLEncoding.EncodedLen(planBytes) || id[:len(planPrefix)] != planPrefix {
		return p, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(id[len(planPrefix):])
	if err != nil || len(b) != planBytes {
		return p, false
	}
	p.ends = time.Unix(int64(binary.BigEndian.Uint32(b)), 0)
	p.accounts, p.devices = binary.BigEndian.Uint64(b[4:]), binary.BigEndian.Uint64(b[12:])
	copy(p.sum[:], b[20:])
	return p, true
}

// planOf returns the plan of a task that has not been made.
func planOf(c *gate.Caller, n *task.New, found *task.Preview) (plan, error) {
	p := plan{ends: c.Now.Add(planLife).Truncate(time.Second), accounts: found.Accounts, devices: sendable(found)}
	type certificate struct {
		ID, Version int
		Provider    channel.Provider
		Options     channel.Options
	}
	var certificates []certificate
	for _, cert := range c.App.Certificates {
		certificates = append(certificates, certificate{cert.ID, cert.Version, cert.Provider, cert.Options})
	}
	b, err := json.Marshal(struct {
		App          uint32
		From, Where  string
		Kind         audience.Kind
		Accounts     []string
		Message      channel.Message
		Nothing      string
		Life         time.Duration
		Certificates []certificate
		Settings     app.Push
	}{c.App.ID, n.From, n.Audience.Where, n.Audience.Kind, n.Audience.Accounts, n.Message, n.Nothing, n.Life, certificates, c.App.Settings.Push})
	if err != nil {
		return p, apierr.Internal.Because(err)
	}
	sum := sha256.Sum256(b)
	copy(p.sum[:], sum[:])
	return p, nil
}

// checkPlan refuses a push that is not what was previewed.
func (s *Server) checkPlan(ctx context.Context, c *gate.Caller, n *task.New, id string) error {
	p, ok := parsePlan(id)
	if !ok {
		return apierr.PlanChanged.Errorf("PlanId %s is not the id of a plan", gate.Quote(id))
	}
	if !c.Now.Before(p.ends) {
		return apierr.PlanChanged.Errorf("PlanId %s ended at %s; preview the push again", id, p.ends.UTC().Format(time.RFC3339))
	}
	found, err := s.tasks.Preview(ctx, c.App.ID, &n.Audience)
	if err != nil {
		return err
	}
	now, err := planOf(c, n, found)
	if err != nil {
		return err
	}
	drift := c.App.Settings.PreviewDrift()
	switch {
	case now.sum != p.sum:
		return apierr.PlanChanged.Errorf("PlanId %s: message, audience, certificates or settings are not those of the preview", id)
	case differs(p.accounts, now.accounts, drift):
		return apierr.PlanChanged.Errorf("PlanId %s: the audience has %s and had %d, which is more than %d%% apart", id, plural(now.accounts, "account"), p.accounts, drift)
	case differs(p.devices, now.devices, drift):
		return apierr.PlanChanged.Errorf("PlanId %s: it would be sent to %s and not to %d, which is more than %d%% apart", id, plural(now.devices, "device"), p.devices, drift)
	}
	return nil
}

// maxPreviews is how many previews are made at a time (push.md, 3).
const maxPreviews = 2

// previews lets only so many previews be made at a time. A newer one of a caller ends the
// older.
type previews struct {
	places chan struct{}

	mu      sync.Mutex
	current map[previewer]*context.CancelCauseFunc
}

// A previewer is who makes previews.
type previewer struct {
	app    uint32
	caller string
}

func newPreviews() *previews {
	return &previews{places: make(chan struct{}, maxPreviews), current: map[previewer]*context.CancelCauseFunc{}}
}

// begin waits for a place. The context ends with apierr.PreviewReplaced when a newer preview of
// the same caller begins.
func (p *previews) begin(ctx context.Context, who previewer) (context.Context, func(), error) {
	ctx, cancel := context.WithCancelCause(ctx)
	p.mu.Lock()
	if older := p.current[who]; older != nil {
		(*older)(apierr.PreviewReplaced)
	}
	p.current[who] = &cancel
	p.mu.Unlock()
	leave := func() {
		p.mu.Lock()
		if p.current[who] == &cancel {
			delete(p.current, who)
		}
		p.mu.Unlock()
		cancel(nil)
	}
	select {
	case p.places <- struct{}{}:
		return ctx, func() { <-p.places; leave() }, nil
	case <-ctx.Done():
		err := context.Cause(ctx)
		leave()
		return nil, nil, err
	}
}
