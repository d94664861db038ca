package server

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"tidings/internal/admin"
	"tidings/internal/app"
	"tidings/internal/channel"
	"tidings/internal/device"
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

// blocked returns why nothing is sent with a certificate of an app.
func (s *Server) blocked(id uint32, certificate int) (string, bool) {
	for _, l := range s.dispatcher.Lanes(id) {
		if l.Certificate == certificate && l.State == dispatch.LaneBlocked {
			return l.Reason, true
		}
	}
	return "", false
}

// testLife is how long a provider may keep the push of a test, and testTime how long it may
// take to answer.
const (
	testLife = time.Minute
	testTime = 30 * time.Second
)

// testPush sends a push to one device, past all tasks and counts, and returns what its
// provider says. A device that cannot be reached is a mistake of the operator's.
func (s *Server) testPush(ctx context.Context, id uint32, name string) (r admin.PushTest, err error) {
	d, err := s.store.Devices.Device(ctx, id, name)
	if err != nil {
		return r, err
	}
	a, facet := s.apps.App(id), d.Facet()
	if a == nil {
		return r, &app.Error{Msg: fmt.Sprintf("app %d does not exist", id)}
	}
	channels := device.ChannelsOf(a)
	choice := channels.Choose(&facet)
	if choice.Reason != device.Sendable {
		return r, &app.Error{Msg: fmt.Sprintf("device %s cannot be reached: %s", name, choice.Reason)}
	}
	sender, err := s.sender(a.Certificate(choice.Certificate), id)
	if err != nil {
		return r, &app.Error{Msg: err.Error()}
	}
	defer func() { _ = sender.Close() }()
	ctx, cancel := context.WithTimeout(ctx, testTime)
	defer cancel()
	token := d.Token(&choice)
	r.Certificate, r.Provider = choice.Certificate, choice.Provider
	job := &channel.Job{Message: &channel.Message{Title: "Test", Desc: "A test push of Tidings"}, Expires: time.Now().Add(testLife)}
	target := channel.Target{Kind: token.Kind, Address: token.Address, Language: d.Language, SendID: randomUUID(), Badge: -1}
	sender.Send(ctx, job, []channel.Target{target}, func(_ int, answer channel.Result) {
		r.OK, r.Outcome = answer.Outcome == channel.Accepted, answer.Outcome.String()
		r.Status, r.Code, r.Words, r.Took = answer.Status, answer.Code, answer.Words, answer.Took
	})
	return r, nil
}

// randomUUID returns a UUID of version 4.
func randomUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// sender returns a Sender of its own for a certificate of an app.
func (s *Server) sender(c *app.Certificate, id uint32) (channel.Sender, error) {
	driver := s.drivers[c.Provider]
	if driver == nil {
		return nil, fmt.Errorf("this program cannot reach %s", c.Provider)
	}
	opened, err := s.key.Open(id, c)
	if err != nil {
		return nil, fmt.Errorf("certificate %d cannot be used: %w", c.ID, err)
	}
	return driver.Open(opened, nil)
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
