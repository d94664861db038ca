package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The places in Post.Body that differ between messages.
const (
	PostToken  = "\x00token\x00"
	PostReport = "\x00report\x00"
)

// A Post is messages for a provider that a bare client sends: what a push server is
// compared with.
type Post struct {
	URL         string // of the messages
	Ready       string // URL that is asked for first on each connection, so that it is open
	Token       string // that the messages show
	Body        string // of a message, with PostToken and PostReport in the places of these
	First       Phone
	Messages    int
	Connections int // with HTTP/2, without TLS
	InFlight    int // messages on all connections together
}

// Posted is what came of a Post.
type Posted struct {
	Seconds float64 // from the first message to the last answer
}

// PostProcess reads a Post from in, sends it and prints what came of it, as the whole work
// of a process. It is a loop around net/http: a message is made from the body, posted, and its
// answer read. It knows no retries and keeps nothing.
func PostProcess(ctx context.Context, in io.Reader, out io.Writer) error {
	var p Post
	if err := json.NewDecoder(in).Decode(&p); err != nil {
		return err
	}
	done, err := p.send(ctx)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(done)
}

func (p *Post) send(ctx context.Context) (done Posted, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	clients := make([]*http.Client, min(p.Connections, p.InFlight))
	for i := range clients {
		var only http.Protocols
		only.SetUnencryptedHTTP2(true)
		t := &http.Transport{Protocols: &only, MaxConnsPerHost: 1}
		defer t.CloseIdleConnections()
		clients[i] = &http.Client{Transport: t}
		if err := exchange(ctx, clients[i], http.MethodGet, p.Ready, "", nil); err != nil {
			return done, err
		}
	}
	parts := p.parts()
	var next atomic.Int64
	var wait sync.WaitGroup
	began := time.Now()
	for i := range p.InFlight {
		wait.Go(func() {
			var body []byte
			for n := next.Add(1) - 1; n < int64(p.Messages) && ctx.Err() == nil; n = next.Add(1) - 1 {
				body = appendMessage(body[:0], parts, p.First+Phone(n))
				if err := exchange(ctx, clients[i%len(clients)], http.MethodPost, p.URL, p.Token, body); err != nil {
					cancel(err)
				}
			}
		})
	}
	wait.Wait()
	done.Seconds = time.Since(began).Seconds()
	return done, context.Cause(ctx)
}

// parts returns the body in parts, the places that differ as parts of their own.
func (p *Post) parts() (parts []string) {
	for i, text := range strings.Split(p.Body, PostToken) {
		if i > 0 {
			parts = append(parts, PostToken)
		}
		for j, text := range strings.Split(text, PostReport) {
			if j > 0 {
				parts = append(parts, PostReport)
			}
			parts = append(parts, text)
		}
	}
	return parts
}

// appendMessage appends the message for a phone. Its report id is as long as those of the
// server are.
func appendMessage(dst []byte, parts []string, p Phone) []byte {
	for _, part := range parts {
		switch part {
		case PostToken:
			dst = p.AppendToken(dst)
		case PostReport:
			dst = fmt.Appendf(dst, "%040x", uint64(p))
		default:
			dst = append(dst, part...)
		}
	}
	return dst
}

// exchange makes a request and reads its answer.
func exchange(ctx context.Context, c *http.Client, method, url, token string, body []byte) error {
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header["Content-Type"] = []string{"application/json"}
	r.Header["Authorization"] = []string{"Bearer " + token}
	answer, err := c.Do(r)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, answer.Body)
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s is answered %s", url, answer.Status)
	}
	return nil
}
