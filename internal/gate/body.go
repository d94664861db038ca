package gate

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"sync"
	"time"

	"tidings/internal/apierr"
)

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxPooledBytes keeps a rare large body from holding memory for ever.
const maxPooledBytes = 64 << 10

func putBuffer(b *bytes.Buffer) {
	if b.Cap() <= maxPooledBytes {
		b.Reset()
		buffers.Put(b)
	}
}

// What a body becomes in memory, as a multiple of its bytes: at most while it is
// decoded, since the shortest string in a list takes three bytes and, with room to grow,
// some twenty in memory; and what a request keeps of it.
const (
	decodingFactor = 8
	decodedFactor  = 3
)

// bodyStep is how much memory a body gets at a time, beyond what has come of it.
const bodyStep = 64 << 10

// body reads and decodes the body of a request.
func (g *Gate) body(r *request) (in any, err error) {
	b, err := g.readBody(r)
	if err != nil {
		return nil, err
	}
	defer putBuffer(b)
	n := int64(b.Len())
	if n > bodyStep {
		done, err := g.large.enter(g.opts.RequestTimeout - r.waited)
		if err != nil {
			return nil, err
		}
		defer done()
	}
	if err := r.takeBytes(decodingFactor * n); err != nil {
		return nil, err
	}
	if r.command.Effect == Once {
		r.sum = sha256.Sum256(b.Bytes())
	}
	in, err = r.command.run.decode(b.Bytes(), r.command.Family)
	r.bytes.shrink(decodedFactor * n)
	return in, err
}

// turns lets only so many do something at a time.
type turns chan struct{}

// halfOfProcessors returns turns for work that takes long: half of the processors are left
// for requests that are done in microseconds.
func halfOfProcessors() turns { return make(turns, max(1, runtime.GOMAXPROCS(0)/2)) }

// enter waits for a turn, for as long as patience. It returns the function that ends the
// turn.
func (t turns) enter(patience time.Duration) (done func(), err error) {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case t <- struct{}{}:
		return func() { <-t }, nil
	case <-timeout.C:
		return nil, context.DeadlineExceeded
	}
}

// readBody reads the body, no more of it than the limit. The buffer is given
// back with putBuffer.
//
// Memory is taken as the bytes come, and not as the header announces them: for all
// bodies together there is room for MaxBodyMemory, and for those of one app for a share
// of it.
func (g *Gate) readBody(r *request) (*bytes.Buffer, error) {
	limit, over := g.bodyLimit(r.command)
	tooLarge := func() error { return over.Errorf("request body is over %d bytes", limit) }
	if r.http.ContentLength > limit {
		return nil, tooLarge()
	}
	r.bytes = r.rooms.bodies.claim(r.app.ID)
	r.begun = true
	b := buffers.Get().(*bytes.Buffer)
	err := g.fill(b, r, limit)
	switch {
	case err == nil && int64(b.Len()) <= limit:
		r.read = true
		return b, nil
	case err == nil:
		err = tooLarge()
	case errors.Is(err, apierr.Overloaded):
	case errors.Is(err, os.ErrDeadlineExceeded):
		r.read = true
		err = apierr.Timeout.Because(fmt.Errorf("reading the body: %w", err))
	case errors.Is(err, http.ErrBodyReadAfterClose), errors.Is(err, io.ErrUnexpectedEOF):
		r.read = true
		err = apierr.BadHTTP.Errorf("the request body ends before its length")
	default:
		r.read = true
		err = apierr.BadHTTP.Errorf("the request body cannot be read")
	}
	putBuffer(b)
	return nil, err
}

// bodyLimit returns the largest body of a command, and the code of larger ones.
func (g *Gate) bodyLimit(c *command) (int64, *apierr.Kind) {
	limit, over := g.opts.MaxBodyBytes, c.Family.TooLarge
	if c.Body.Bytes > 0 {
		limit = c.Body.Bytes
	}
	if c.Body.Over != nil {
		over = c.Body.Over
	}
	return limit, over
}

// fill reads up to one byte more than the limit.
func (g *Gate) fill(b *bytes.Buffer, r *request, limit int64) error {
	body := io.LimitReader(r.http.Body, limit+1)
	for {
		step := int64(bodyStep)
		if n := r.http.ContentLength - int64(b.Len()); r.http.ContentLength >= 0 && n < step {
			step = n + 1 // as much as there is, and the end
		}
		if err := r.takeBytes(step); err != nil {
			return err
		}
		b.Grow(int(step) + bytes.MinRead)
		switch _, err := io.CopyN(b, body, step); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// takeBytes takes memory for a body.
func (r *request) takeBytes(n int64) error {
	switch r.bytes.take(n) {
	case appFull:
		return apierr.Overloaded.Errorf("the request bodies of app %d take %d bytes of memory, as many as it gets; try again later", r.app.ID, r.rooms.bodies.share)
	case roomFull:
		return apierr.Overloaded.Errorf("all request bodies take %d bytes of memory, as many as they get; try again later", r.rooms.bodies.size)
	}
	return nil
}

// maxDiscarding is of how many requests bodies are read at once that nobody wants.
const maxDiscarding = 1024

// maxDiscarded is how much of a body is read that nobody wants. It is four times the
// largest body of any command.
const maxDiscarded = 16 << 20

// discard reads the rest of a body that was refused: many clients read no answer
// before they have sent all, and of a connection that is closed before they see
// nothing at all. The deadline for bodies bounds how long it takes.
//
// Requests that wait for this hold no place of an app, so they have a bound of their own:
// beyond it the answer comes at once.
func (g *Gate) discard(r *request) {
	if n := r.http.ContentLength; r.read || n == 0 || n > maxDiscarded {
		return
	}
	if !r.begun && r.http.Header.Get("Expect") != "" {
		return // the client waits with its body for us
	}
	defer g.discarding.Add(-1)
	if g.discarding.Add(1) <= maxDiscarding {
		_, _ = io.CopyN(io.Discard, r.http.Body, maxDiscarded) // what cannot be read is not wanted either
	}
}
