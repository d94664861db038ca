package server

import (
	"context"
	"time"

	"tidings/internal/app"
	"tidings/internal/channel"
	"tidings/internal/dispatch"
)

// newDispatcher returns what carries out the tasks of the store.
func (s *Server) newDispatcher() *dispatch.Dispatcher {
	return dispatch.New(s.store.Tasks, s.apps, s.drivers, dispatch.Options{
		Unseal:  s.unseal,
		Grace:   s.cfg.ShutdownTimeout,
		Logger:  s.log,
		Metrics: s.registry,
	})
}

// unseal returns the credential of a certificate.
func (s *Server) unseal(id uint32, c *app.Certificate) (channel.Secret, error) {
	opened, err := s.key.Open(id, c)
	return opened.Secret, err
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
