package suite

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"tidings/bench/load"
	"tidings/internal/channel"
	"tidings/internal/device"
)

// givePhones imports a device for each user of a server, and returns how many it took a
// second.
func (s *suite) givePhones(ctx context.Context, p *pushed) (rate float64, err error) {
	file := filepath.Join(s.dir, "phones.ndjson")
	s.logf("writing %s to a file", p.name)
	if err := writePhones(ctx, file, p.phones, p.installer.Certificate); err != nil {
		return 0, err
	}
	began := time.Now()
	args := []string{p.program, "device", "import", "--data", p.data(), "--app", fmt.Sprint(p.installer.App), "--no-resume", file}
	if err := runProgram(ctx, args); err != nil {
		return 0, fmt.Errorf("device import: %w", err)
	}
	rate = perSecond(p.phones, time.Since(began))
	s.logf("%s: imported, %s a second", p.name, count(rate))
	return rate, cmp.Or(os.Remove(file), s.settle(ctx, p.process))
}

// writePhones writes an import file of n phones, each with a user.
func writePhones(ctx context.Context, file string, n uint64, certificate int) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	lines := json.NewEncoder(w)
	for i := range n {
		if i%4096 == 0 && ctx.Err() != nil {
			break
		}
		if err := lines.Encode(phone(load.Phone(i), certificate)); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return errors.Join(context.Cause(ctx), w.Flush(), f.Close())
}

// phone returns a phone as a file of devices has it.
func phone(n load.Phone, certificate int) device.Moved {
	now := time.Now().UTC().Truncate(time.Second)
	return device.Moved{Device: device.Device{
		ID: n.ID(), User: load.User(uint64(n)), Platform: "android", Model: n.Model(), System: "Android", SystemVersion: "16", AppVersion: "3.1",
		Language: n.Language(), Permission: device.Allowed, Registered: now, LastActive: now,
		Tokens: []device.Token{{Certificate: certificate, Kind: channel.Alert, Address: channel.Address(n.Token()), Registered: now, Refreshed: now}},
	}}
}
