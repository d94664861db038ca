package suite

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"tidings/internal/admin"
	"tidings/internal/control"
)

// longLog is a checkpoint_log that no case reaches.
const longLog = "64GiB"

// control carries out an operation through the control socket of a server.
func (st *store) control(ctx context.Context, op string, in, out any) error {
	c, err := control.Dial(ctx, st.data())
	if err != nil {
		return err
	}
	if err := errors.Join(c.Call(ctx, op, in, out), c.Close()); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}

// metrics are the metrics of a server by name, summed over all labels.
type metrics map[string]float64

// page requests a page of the metrics listener.
func (st *store) page(ctx context.Context, path string) (_ io.ReadCloser, err error) {
	var info admin.Info
	if err := st.control(ctx, "info", struct{}{}, &info); err != nil {
		return nil, err
	}
	url := strings.TrimSuffix(info.Metrics, "/metrics") + path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("%s: status %s", url, resp.Status), resp.Body.Close())
	}
	return resp.Body, nil
}

// metrics asks a server for its metrics.
func (st *store) metrics(ctx context.Context) (_ metrics, err error) {
	page, err := st.page(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, page.Close()) }()
	return readMetrics(page)
}

// readMetrics reads the text format of Prometheus, without timestamps.
func readMetrics(r io.Reader) (metrics, error) {
	all := make(metrics)
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		end := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseFloat(line[end+1:], 64)
		if end < 0 || err != nil {
			return nil, fmt.Errorf("metrics: %q is not a name and a number", line)
		}
		name, _, _ := strings.Cut(line[:end], "{")
		all[name] += value
	}
	return all, lines.Err()
}

// checkpointsOffered reports whether the server writes checkpoints. An old one does not.
func (s *suite) checkpointsOffered(ctx context.Context) (bool, error) {
	if s.probed {
		return s.checkpoints, nil
	}
	st, err := s.open(ctx, 0)
	if err != nil {
		return false, err
	}
	m, err := st.metrics(ctx)
	if err := errors.Join(err, st.close()); err != nil {
		return false, err
	}
	_, s.checkpoints = m["tidings_checkpoint_running"]
	s.probed = true
	if !s.checkpoints {
		s.logf("the server does not offer checkpoints")
	}
	return s.checkpoints, nil
}
