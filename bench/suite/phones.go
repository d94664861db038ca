package suite

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"tidings/bench/load"
	"tidings/internal/channel"
	"tidings/internal/device"
	"tidings/internal/store/lsm"
)

// fillers are the goroutines that register devices at once.
const fillers = 256

// givePhones gives each user of a server a device, while the server is stopped.
func (s *suite) givePhones(ctx context.Context, p *pushed) error {
	p.client.Close()
	if err := p.stop(); err != nil {
		return err
	}
	s.logf("%s: making devices", p.name)
	began := time.Now()
	if err := p.fillPhones(ctx); err != nil {
		return err
	}
	s.logf("%s: made, %s a second", p.name, count(perSecond(p.phones, time.Since(began))))
	return cmp.Or(s.start(ctx, p.store), s.settle(ctx, p.process))
}

func (p *pushed) fillPhones(ctx context.Context) (err error) {
	db, err := lsm.Open(p.data(), lsm.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Uint64
	var wait sync.WaitGroup
	operator := device.Proof{Admin: true}
	for range fillers {
		wait.Go(func() {
			for n := next.Add(1) - 1; n < p.phones && ctx.Err() == nil; n = next.Add(1) - 1 {
				d := phone(load.Phone(n), p.installer.Certificate)
				if _, err := db.Devices.Register(ctx, p.installer.App, operator, d); err != nil {
					cancel(err)
				}
				if err := db.Devices.Bind(ctx, p.installer.App, operator, d.ID, load.User(n), false); err != nil {
					cancel(err)
				}
			}
		})
	}
	wait.Wait()
	return context.Cause(ctx)
}

// phone returns a phone as the server keeps it.
func phone(n load.Phone, certificate int) device.Device {
	now := time.Now().UTC().Truncate(time.Second)
	return device.Device{
		ID: n.ID(), Platform: "android", Model: n.Model(), System: "Android", SystemVersion: "16", AppVersion: "3.1",
		Language: n.Language(), Permission: device.Allowed, Registered: now, LastActive: now,
		Tokens: []device.Token{{Certificate: certificate, Kind: channel.Alert, Address: channel.Address(n.Token()), Registered: now, Refreshed: now}},
	}
}
