package fcm

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"tidings/internal/channel"
	"tidings/internal/channel/h2"
)

// A page is one call of Send. One goroutine waits for the pace, an access token and a
// place on a connection, in the order of the targets, and hands each target to a worker that is free or
// to a new one, so there are as many workers as requests in flight. Workers end with the page.
type page struct {
	*sender
	job     *channel.Job
	targets []channel.Target
	done    func(i int, r channel.Result)
	texts   *channel.Texts
	begun   time.Time

	templates map[shape]*shaped

	stop atomic.Pointer[channel.Result] // FCM refuses the credentials: what is left gets this

	mu    sync.Mutex
	doubt []doubted
}

// A shape is what targets have in common that get the same body but for holes.
type shape struct {
	kind  channel.TokenKind
	text  int // its place in texts
	badge bool
}

// A shaped is the template of a shape.
type shaped struct {
	*template
	shape
	err   error
	taken atomic.Bool // FCM took it for some token: the payload is good
	bad   atomic.Bool // FCM did not take it, whatever the token
}

// A doubted is a target about which the end of the page decides.
type doubted struct {
	i      int
	result channel.Result
	doubt  doubt
}

// A parcel is a target on its way.
type parcel struct {
	i      int
	shaped *shaped
	bearer *bearer
	conn   *h2.Conn
}

// maxToken bounds a registration token, in bytes; those of FCM have about 160.
const maxToken = 4096

// Send sends a job to targets.
func (s *sender) Send(ctx context.Context, job *channel.Job, targets []channel.Target, done func(i int, r channel.Result)) {
	p := &page{
		sender:    s,
		job:       job,
		targets:   targets,
		done:      done,
		texts:     channel.NewTexts(job.Message),
		begun:     s.now(),
		templates: map[shape]*shaped{},
	}
	work := make(chan parcel)
	var workers sync.WaitGroup
	for i := range targets {
		next, result := p.next(ctx, i)
		if result.Outcome != 0 {
			done(i, result)
			continue
		}
		select {
		case work <- next:
		default:
			workers.Go(func() {
				p.send(next)
				for next := range work {
					p.send(next)
				}
			})
		}
	}
	close(work)
	workers.Wait()
	p.settle()
}

// next waits until a target may be sent; a result with an outcome says why it is not.
func (p *page) next(ctx context.Context, i int) (parcel, channel.Result) {
	t := &p.targets[i]
	shaped, result := p.check(t)
	if result.Outcome != 0 {
		return parcel{}, result
	}
	if err := p.pace.Wait(ctx); err != nil {
		return parcel{}, stopped()
	}
	if stop := p.stop.Load(); stop != nil {
		return parcel{}, *stop
	}
	if p.job.Expires.After(p.begun) && !p.job.Expires.After(p.now()) {
		return parcel{}, stopped() // its time has passed while it waited
	}
	bearer, err := p.tokens.token(ctx)
	if err != nil {
		return parcel{}, p.noToken(err)
	}
	conn, err := p.pool.Acquire(ctx)
	if err != nil {
		if ctx.Err() != nil || errors.Is(err, h2.ErrClosed) {
			return parcel{}, stopped()
		}
		return parcel{}, lost(err)
	}
	return parcel{i, shaped, bearer, conn}, channel.Result{}
}

// stopped is the result of what was not sent.
func stopped() channel.Result {
	return channel.Result{Outcome: channel.Retry, Code: channel.CodeStopped}
}

// check returns the template for a target, or why it cannot be sent.
func (p *page) check(t *channel.Target) (*shaped, channel.Result) {
	reject := func(code, words string) (*shaped, channel.Result) {
		return nil, channel.Result{Outcome: channel.Rejected, Code: code, Words: words}
	}
	switch {
	case t.Kind != channel.Alert && t.Kind != channel.FID:
		return reject(channel.CodeTokenKind, "FCM takes no tokens of kind "+clean(string(t.Kind)))
	case t.Address == "" || len(t.Address) > maxToken || !utf8.ValidString(string(t.Address)):
		return reject(channel.CodeToken, "the token is empty, above 4096 bytes or no UTF-8, and was not sent")
	}
	of := shape{t.Kind, p.texts.Place(t.Language), t.Badge >= 0}
	s := p.templates[of]
	if s == nil {
		title, desc := p.texts.Of(t.Language)
		s = &shaped{shape: of}
		s.template, s.err = newTemplate(p.job, p.opts, of.kind, title, desc, of.badge)
		p.templates[of] = s
	}
	if s.err != nil {
		return reject(channel.CodePayload, clean(s.err.Error()))
	}
	if n := s.bytes(t); n > maxPayload {
		return reject(channel.CodeTooLarge, "the payload has "+strconv.Itoa(n)+" bytes, FCM takes "+strconv.Itoa(maxPayload)+"; it was not sent")
	}
	return s, channel.Result{}
}

// noToken is the result of what could not be sent for want of an access token.
func (p *page) noToken(err error) channel.Result {
	var e *tokenError
	if !errors.As(err, &e) {
		return stopped() // ctx has ended
	}
	r := channel.Result{Outcome: channel.Retry, Status: e.status, Code: e.code, Words: e.words, Lane: true}
	if e.refused() {
		r.Outcome = channel.Unauthorized
		p.stop.Store(&r)
	}
	return r
}

// send sends a parcel and tells its result.
func (p *page) send(next parcel) {
	t := &p.targets[next.i]
	r, d := p.try(next.shaped, next.conn, next.bearer, t)
	if d == whichOne {
		r, d = p.probe(next.shaped, t, r)
	}
	switch r.Outcome {
	case channel.Accepted:
		p.proven.Store(true)
		next.shaped.taken.Store(true)
	case channel.Gone:
		if r.Code == "UNREGISTERED" {
			next.shaped.taken.Store(true) // FCM looks at the payload first
		}
	case channel.Unknown:
		r.Replaces = next.shaped.replaces
		if p.job.ValidateOnly {
			r.Outcome = channel.Retry // nothing could arrive
		}
	case channel.Throttled, channel.Retry:
		if r.Lane && r.Status != 0 {
			p.pace.Slow(r.After)
		}
	case channel.Unauthorized:
		if d == settled {
			p.stop.Store(&r)
		}
	}
	if d == foreign || d == appleKey {
		p.mu.Lock()
		p.doubt = append(p.doubt, doubted{next.i, r, d})
		p.mu.Unlock()
		return
	}
	p.done(next.i, r)
}

// try sends a body, again with another access token if FCM refuses the first.
func (p *page) try(s *shaped, conn *h2.Conn, b *bearer, t *channel.Target) (channel.Result, doubt) {
	body := s.fill(make([]byte, 0, s.size+len(t.Address)), t, ttl(p.job.Expires, p.now()))
	return p.deliver(conn, b, body, string(t.Address))
}

// deliver posts a body on a connection, and once more with another access token if FCM
// refuses the first.
func (s *sender) deliver(conn *h2.Conn, b *bearer, body []byte, secret string) (channel.Result, doubt) {
	r, d := s.post(conn, b, body, secret)
	if d != tokenRefused || !s.tokens.drop(b) {
		return r, settle(d)
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	other, err := s.tokens.token(ctx)
	if err != nil {
		var e *tokenError
		if errors.As(err, &e) && !e.refused() {
			r.Outcome, r.Lane = channel.Retry, true
		}
		return r, settled
	}
	if conn, err = s.pool.Acquire(ctx); err != nil {
		r.Outcome, r.Lane = channel.Retry, true
		return r, settled
	}
	r, d = s.post(conn, other, body, secret)
	return r, settle(d)
}

// settle returns what is open about an answer once a refused access token is final.
func settle(d doubt) doubt {
	if d == tokenRefused {
		return settled
	}
	return d
}

// settle tells the results about which the whole page decides. A token of another sender
// is dead if FCM took others from these credentials; if it took none, the credentials are of the
// wrong project. In the same way, a missing key for APNs or Web Push is about the device
// alone if others pass.
func (p *page) settle() {
	for _, d := range p.doubt {
		if p.proven.Load() {
			d.result.Outcome = channel.Gone
			if d.doubt == appleKey {
				d.result.Outcome = channel.Rejected
			}
		}
		p.done(d.i, d.result)
	}
}
