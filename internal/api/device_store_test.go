package api_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"tidings/internal/channel"
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

// addPhones makes devices of the test app: two of Mary and one of nobody.
func (n *node) addPhones() {
	n.t.Helper()
	for _, d := range []devices.Device{
		{
			ID: device, User: "Mary", Platform: "ios", Model: "iPhone17,1", System: "iOS", SystemVersion: "26.1", AppVersion: "3.1", SDKVersion: "8.1", PushVersion: "8.1",
			Language: "fr-FR", TimeZone: "Europe/Paris", Permission: devices.Allowed,
			Tokens: []devices.Token{
				{Certificate: 2, Kind: channel.Alert, Address: "a-token-that-is-not-shown-a1b2c3", Environment: channel.Sandbox, Topic: "com.example.app"},
				{Certificate: 2, Kind: channel.LiveActivity, LaID: "game-7", Address: "another-token-not-shown-d4e5f6", Expires: time.Unix(1_900_000_000, 0)},
			},
		},
		{ID: "7D1E-a-tablet-of-Mary", User: "Mary", Platform: "ios", Model: "iPad16,3", Test: true},
		{ID: "an_Android-of-nobody", Platform: "android", Permission: devices.Denied, Tokens: []devices.Token{{Certificate: 1, Kind: channel.Alert, Address: "short"}}},
	} {
		if _, err := n.store.Devices.Register(n.t.Context(), appID, devices.Proof{}, d); err != nil {
			n.t.Fatal(err)
		}
		if d.User != "" {
			if err := n.store.Devices.Bind(n.t.Context(), appID, devices.Proof{Admin: true}, d.ID, d.User, false); err != nil {
				n.t.Fatal(err)
			}
		}
	}
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
