package h2

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// maxTries is how often a request is sent that the provider did not process.
const maxTries = 3

// A RefusedError says that the provider did not process a request, on several connections.
type RefusedError struct{ Err error }

func (e *RefusedError) Error() string { return "not processed: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *RefusedError) Unwrap() error { return e.Err }

// RoundTrip sends a request, whose GetBody is set and whose context has a deadline, on a
// connection of Acquire. What the provider says that it did not process is sent
// again on another connection. With an answer it returns the connection that the answer
// came on, which the caller releases once the body is closed. Of the errors, a *DialError
// and a *RefusedError mean that the request was not processed; with any other it may have
// been.
func (p *Pool) RoundTrip(c *Conn, r *http.Request) (*http.Response, *Conn, error) {
	for try := 1; ; {
		sent := time.Now()
		answer, err := c.cc.RoundTrip(r)
		if err == nil {
			p.heard(c)
			return answer, c, nil
		}
		why := cause(err)
		if why == lost {
			p.release(c, c.cc.Err() != nil || p.silent(c, sent))
			return nil, nil, err
		}
		p.release(c, why == ended)
		if why == refused {
			try++
		}
		if try > maxTries {
			return nil, nil, &RefusedError{err}
		}
		if c, err = p.Acquire(r.Context()); err != nil {
			if d := (*DialError)(nil); errors.As(err, &d) {
				return nil, nil, d
			}
			return nil, nil, &RefusedError{fmt.Errorf("no connection in time: %w", err)}
		}
		if r.Body, err = r.GetBody(); err != nil {
			p.Release(c)
			return nil, nil, &RefusedError{err}
		}
	}
}

// heard notes that an answer came. The first one brought the provider's settings.
func (p *Pool) heard(c *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.heard = time.Now()
	if c.looked.IsZero() {
		p.look(c, c.heard)
		p.wake()
	}
}

// silent reports whether nothing came on a connection since a request was sent. Then it is
// not the request that is stuck.
func (p *Pool) silent(c *Conn, sent time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return c.heard.Before(sent)
}

// A reason says what became of a request that has no answer.
type reason int

const (
	lost    reason = iota // it may have been processed
	refused               // it was not processed, and the connection goes on
	ended                 // it was not processed, and the connection takes no more
)

// cause returns what an error of RoundTrip means. net/http exports none of these errors, so
// that some are told apart by their text; TestCause pins it (spec/channels.md, 15).
func cause(err error) reason {
	var reset streamError
	if errors.As(err, &reset) && reset.Code == refusedStream {
		return refused
	}
	switch text := err.Error(); {
	case text == "http2: Transport received Server's graceful shutdown GOAWAY",
		text == "http2: client conn not usable",
		text == "http2: client conn could not be established",
		strings.HasPrefix(text, "http2: Transport received GOAWAY from server ErrCode:"):
		return ended
	}
	return lost
}

// streamError has the fields of the error of net/http for a stream that was reset, which
// errors.As fills in.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (streamError) Error() string { return "the stream was reset" }

const refusedStream = 7 // REFUSED_STREAM (RFC 9113, 7)
