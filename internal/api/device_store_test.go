package api_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	devices "tidings/internal/device"
	"tidings/internal/task"
)

// brokenDevices are those of a real store, of which a registration fails with an error.
type brokenDevices struct {
	devices.Store
	err   error
	shown map[string]*devices.Device // in place of those that are stored
}

func (d *brokenDevices) Device(ctx context.Context, app uint32, id string) (*devices.Device, error) {
	if shown := d.shown[id]; shown != nil {
		return shown, nil
	}
	return d.Store.Device(ctx, app, id)
}

func (d *brokenDevices) Register(ctx context.Context, app uint32, p devices.Proof, is devices.Device) (devices.Registered, error) {
	if d.err != nil {
		return devices.Registered{}, d.err
	}
	return d.Store.Register(ctx, app, p, is)
}

// device returns a device as it is stored.
func (n *node) device(id string) devices.Device {
	n.t.Helper()
	d, err := n.store.Devices.Device(n.t.Context(), appID, id)
	if err != nil {
		n.t.Fatal(err)
	}
	return *d
}

// events are what devices reported, in place of tasks.
type events struct {
	task.Store
	mu       sync.Mutex
	reported []string // "DEVICE REPORT EVENT"
	err      error
}

func (e *events) Reported(_ context.Context, _ uint32, id, report string, event task.Event, _ time.Time) (bool, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return false, e.err
	}
	e.reported = append(e.reported, fmt.Sprint(id, " ", report, " ", event))
	return true, nil
}

// errDisk has a reason that no client is to see.
var errDisk = errors.New("the disk is full")
