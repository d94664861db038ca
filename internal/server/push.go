package server

import (
	"context"
	"fmt"
	"time"

	"tidings/internal/app"
	"tidings/internal/channel"
	"tidings/internal/dispatch"
	"tidings/internal/task"
)

// newDispatcher returns what carries out the tasks of the store.
func (s *Server) newDispatcher() *dispatch.Dispatcher {
	return dispatch.New(s.store.Tasks, s.apps, s.drivers, dispatch.Options{
		Unseal: func(id uint32, c *app.Certificate) (channel.Secret, error) {
			opened, err := s.key.Open(id, c)
			return opened.Secret, err
		},
		Grace:   s.cfg.ShutdownTimeout,
		Logger:  s.log,
		Metrics: s.registry,
	})
}

// A sending is the dispatcher as the commands see it.
type sending struct {
	*dispatch.Dispatcher
	server *Server
}

// Sender returns what would send with a certificate. It makes payloads, and has no
// connection.
func (s sending) Sender(id uint32, certificate int) (channel.Sender, error) {
	var c *app.Certificate
	if a := s.server.apps.App(id); a != nil {
		c = a.Certificate(certificate)
	}
	if c == nil {
		return nil, fmt.Errorf("app %d has no certificate %d", id, certificate)
	}
	driver := s.server.drivers[c.Provider]
	if driver == nil {
		return nil, fmt.Errorf("certificate %d is for %s, which this program cannot reach", certificate, c.Provider)
	}
	opened, err := s.server.key.Open(id, c)
	if err != nil {
		return nil, fmt.Errorf("certificate %d cannot be used: %w", certificate, err)
	}
	return driver.Open(opened, nil)
}

// Status returns what the dispatcher knows of a task.
func (s sending) Status(r task.Ref) (status task.Status) {
	known, ok := s.Task(r)
	if !ok {
		return status
	}
	status.Rate, status.Left = int(known.Rate), known.Left
	for _, l := range known.Lanes {
		lane := task.LaneStatus{Certificate: l.Certificate, Rate: int(l.Pace), Pages: l.Pages}
		switch l.State {
		case dispatch.LaneBlocked:
			lane.Blocked, lane.Since = l.Reason, l.Since
		case dispatch.LaneThrottled:
			lane.Held = l.Until
		}
		status.Lanes = append(status.Lanes, lane)
	}
	return status
}

// sweepPause is the time between two looks for devices that are to be retired.
const sweepPause = time.Hour

// sweepDevices retires devices that were not seen for long, and drops what is kept of
// devices no longer, until ctx ends.
func (s *Server) sweepDevices(ctx context.Context) {
	tick := time.NewTicker(sweepPause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if err := s.store.Devices.Sweep(ctx, now); err != nil && ctx.Err() == nil {
				s.log.Warn("idle devices could not be retired", "error", err)
			}
		}
	}
}
