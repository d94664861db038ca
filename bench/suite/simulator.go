package suite

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"time"

	"tidings/internal/simulate"
)

// A simulator is a process that serves FCM.
type simulator struct{ *process }

// simulate starts a simulator of the program that is measured.
func (s *suite) simulate(ctx context.Context) (*simulator, error) {
	args := []string{s.opts.Program, "simulate", "--listen", "127.0.0.1:0", "--quiet"}
	p, err := start(ctx, args, nil, filepath.Join(s.dir, "simulator.log"))
	if err != nil {
		return nil, err
	}
	return &simulator{p}, nil
}

// call makes a request to the control API. In and out may be nil.
func (m *simulator) call(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, m.url+"/simulate/"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(answer.Body)
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("simulator: %s %s: %s: %s", method, path, answer.Status, text)
	}
	switch out := out.(type) {
	case nil:
		return nil
	case *[]byte:
		*out = text
		return nil
	default:
		return json.Unmarshal(text, out)
	}
}

// answerAfter has the simulator answer after a time, and forget what it counted.
func (m *simulator) answerAfter(ctx context.Context, latency time.Duration) error {
	is := map[string]any{"min_latency": latency.String(), "max_latency": latency.String()}
	return errors.Join(m.call(ctx, http.MethodPatch, "behaviour", is, nil), m.reset(ctx))
}

// stall has the simulator answer nothing, or go on.
func (m *simulator) stall(ctx context.Context, stalled bool) error {
	return m.call(ctx, http.MethodPatch, "behaviour", map[string]any{"stalled": stalled}, nil)
}

func (m *simulator) reset(ctx context.Context) error {
	return m.call(ctx, http.MethodPost, "reset", nil, nil)
}

// wait waits until n messages were delivered since the last reset. That nothing comes for a
// while is an error.
func (m *simulator) wait(ctx context.Context, n uint64) error {
	const patience = "1m"
	for last := int64(-1); ; {
		err := m.call(ctx, http.MethodGet, fmt.Sprintf("wait?delivered=%d&timeout=%s", n, patience), nil, nil)
		if err == nil || ctx.Err() != nil {
			return err
		}
		t, again := m.totals(ctx)
		if again != nil || t.Delivered == last {
			return errors.Join(err, again)
		}
		last = t.Delivered
	}
}

// totals returns what the simulator counted.
func (m *simulator) totals(ctx context.Context) (t simulate.Totals, err error) {
	return t, m.call(ctx, http.MethodGet, "totals", nil, &t)
}

// accessToken returns a token that messages can be sent with.
func (m *simulator) accessToken(ctx context.Context) (string, error) {
	var out struct {
		Token string `json:"access_token"`
	}
	return out.Token, m.call(ctx, http.MethodPost, "access-token", nil, &out)
}

// arrived returns when a message for a token arrived first; zero: none has.
func (m *simulator) arrived(ctx context.Context, token string) (time.Time, error) {
	var out struct {
		History []simulate.Entry `json:"history"`
	}
	if err := m.call(ctx, http.MethodGet, "token?token="+url.QueryEscape(token), nil, &out); err != nil || len(out.History) == 0 {
		return time.Time{}, err
	}
	return out.History[0].Time, nil
}
