package lsm_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/internal/audience"
	"tidings/internal/channel"
	"tidings/internal/device"
	"tidings/internal/store/faulty"
	"tidings/internal/store/lsm"
	"tidings/internal/store/storetest"
)

var byAdmin = device.Proof{Admin: true}

// phone returns a device with tokens of certificate 1.
func phone(name string, addresses ...string) device.Device {
	d := device.Device{ID: name + strings.Repeat("-", 16-len(name)), Platform: "android"}
	for i, a := range addresses {
		d.Tokens = append(d.Tokens, device.Token{Certificate: 1 + i, Kind: channel.Alert, Address: channel.Address(a)})
	}
	return d
}

func mustRegister(t testing.TB, s *opened, d device.Device) device.Registered {
	t.Helper()
	r, err := s.lsm.Devices.Register(t.Context(), id, byAdmin, d)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestDeviceDecisionsBeforeTheDisk: while an fsync is held, so that nothing is in the
// tables, each change of devices is decided by those before it, and none returns.
func TestDeviceDecisionsBeforeTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g := held(t)
		defer s.Close()
		mustRegister(t, s, phone("old", "o"))
		g.Shut()
		c := &calls{t: t}
		ctx, devices := t.Context(), s.lsm.Devices
		start := func(name string, f func() error) {
			c.start(name, f)
			synctest.Wait() // decided
		}
		register := func(d device.Device) func() error {
			return func() error { _, err := devices.Register(ctx, id, byAdmin, d); return err }
		}
		var secret string
		start("a", func() error {
			r, err := devices.Register(ctx, id, device.Proof{}, phone("a", "x"))
			secret = r.Secret
			return err
		})
		start("a forbidden", func() error { _, err := devices.Register(ctx, id, device.Proof{}, phone("a")); return err })
		start("bind", func() error { return devices.Bind(ctx, id, byAdmin, phone("a").ID, "alice", true) })
		start("badge", func() error { return devices.SetBadge(ctx, id, device.Proof{User: "alice"}, phone("a").ID, 7) })
		start("b takes the token of a", register(phone("b", "x")))
		start("old takes it from b", register(phone("old", "x")))
		start("changed", register(phone("old", "x", "y")))
		start("kick", func() error { return s.Revoke(ctx, id, "alice", time.Now()) })
		start("removed", func() error { return devices.Remove(ctx, id, byAdmin, phone("b").ID) })
		start("removed again", func() error { return devices.Remove(ctx, id, byAdmin, phone("b").ID) })
		start("read", func() error { _, err := devices.Device(ctx, id, phone("a").ID); return err })
		c.want()
		c.finish(g, map[string]error{"a forbidden": device.ErrForbidden, "removed again": device.ErrUnknown})
		for name, want := range map[string]string{"a": "4  7", "old": "3 x y 0"} {
			d, err := devices.Device(ctx, id, phone(name).ID)
			if err != nil {
				t.Fatal(err)
			}
			var tokens []string
			for _, t := range d.Tokens {
				tokens = append(tokens, string(t.Address))
			}
			slices.Sort(tokens)
			if got := fmt.Sprint(d.Version, " ", strings.Join(tokens, " "), " ", d.Badge); got != want || d.User != "" {
				t.Errorf("%s is %q of %q, want %q", name, got, d.User, want)
			}
		}
		if _, err := devices.Register(ctx, id, device.Proof{Secret: secret}, phone("a", "z")); err != nil {
			t.Error(err)
		}
		sound(t, s)
	})
}

// TestDevicesAtOnce: many change the same devices at the same time, and no change is made of
// what was there before another. Each that has written has made a version, and a token that
// all want is in one device.
func TestDevicesAtOnce(t *testing.T) {
	mem := faulty.NewDisk(t, dir)
	s := open(t, archiving(mem))
	defer s.Close()
	if err := s.SaveApp(t.Context(), storetest.NewApp(id)); err != nil {
		t.Fatal(err)
	}
	const names, workers, rounds = 3, 8, 60
	for n := range names {
		mustRegister(t, s, phone(fmt.Sprint("d", n)))
	}
	var changed atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range rounds {
				d := phone(fmt.Sprint("d", (w+i)%names))
				d.Model = fmt.Sprint(w, " ", i)
				if i%4 == 0 {
					d.Tokens = phone("x", "hot").Tokens
				}
				r, err := s.lsm.Devices.Register(t.Context(), id, byAdmin, d)
				if err != nil {
					t.Error(err)
					return
				}
				if r.Changed {
					changed.Add(1)
				}
				if err := s.lsm.Devices.Bind(t.Context(), id, byAdmin, d.ID, fmt.Sprint("user", w), true); err != nil {
					t.Error(err)
				}
				if err := s.lsm.Devices.SetBadge(t.Context(), id, byAdmin, d.ID, i); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	versions, hot := int64(0), 0
	for n := range names {
		d, err := s.lsm.Devices.Device(t.Context(), id, phone(fmt.Sprint("d", n)).ID)
		if err != nil {
			t.Fatal(err)
		}
		versions += int64(d.Version) - 1
		hot += len(d.Tokens)
	}
	t.Logf("%d changes, %d versions, %d tokens", changed.Load(), versions, hot)
	if versions < changed.Load() || hot > 1 {
		t.Errorf("%d registrations changed something, and there are %d versions; %d devices have the token", changed.Load(), versions, hot)
	}
	sound(t, s)
	agrees(t, s, mem, nil)
}

// TestDeviceVersions: a device is shown as it was in any of its last versions, with the user
// that it was bound to, unless that one is gone.
func TestDeviceVersions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, faulty.NewDisk(t, dir))
		defer func() { s.Close() }()
		if err := s.SaveApp(t.Context(), storetest.NewApp(id)); err != nil {
			t.Fatal(err)
		}
		ctx, devices, a := t.Context(), s.lsm.Devices, phone("a", "x")
		mustRegister(t, s, a) // 1
		for _, user := range []string{"alice", "bob"} {
			if err := devices.Bind(ctx, id, byAdmin, a.ID, user, true); err != nil { // 2, 3
				t.Fatal(err)
			}
		}
		a.Model = "new"
		mustRegister(t, s, a)                                        // 4
		if err := s.Revoke(ctx, id, "bob", time.Now()); err != nil { // 5
			t.Fatal(err)
		}
		want := func(want ...string) {
			t.Helper()
			for i, want := range want {
				d, err := s.lsm.DeviceVersion(id, a.ID, uint32(i+1))
				if err != nil {
					t.Fatal(err)
				}
				got := "-"
				if d != nil {
					got = fmt.Sprintf("%d %s %s", d.Version, d.User, d.Model)
				}
				if got != want || d != nil && (d.ID != a.ID || len(d.Tokens) != 1) {
					t.Errorf("version %d is %q, want %q", i+1, got, want)
				}
			}
		}
		want("1  ", "2 alice ", "3 bob ", "4 bob new", "5  new", "-")
		if _, err := s.Delete(ctx, id, audience.UserID, []string{"alice", "bob"}); err != nil {
			t.Fatal(err)
		}
		mustChange(t, s, set("dave", "again"), set("carol", "")) // with the numbers of before
		want("1  ", "2  ", "3  ", "4  new", "5  new")
		for i := range 120 {
			a.Model = fmt.Sprint("m", i)
			mustRegister(t, s, a)
		}
		list := slices.Repeat([]string{"-"}, 24)
		want(append(list, "25  m19", "26  m20")...)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(31 * 24 * time.Hour)
		s = open(t, s.fs.(*vfs.MemFS))
		if err := s.lsm.Devices.Sweep(ctx, time.Now()); err != nil {
			t.Fatal(err)
		}
		want(append(slices.Repeat([]string{"-"}, 124), "125  m119")...)
		sound(t, s)
	})
}

// TestVersionsAreSmall: a version has of a token what a trace shows, however long that is.
func TestVersionsAreSmall(t *testing.T) {
	s := open(t, faulty.NewDisk(t, dir))
	defer s.Close()
	if err := s.SaveApp(t.Context(), storetest.NewApp(id)); err != nil {
		t.Fatal(err)
	}
	a := phone("a", strings.Repeat("x", device.MaxAddress-6)+"abcdef", "short")
	mustRegister(t, s, a)
	had := a.Tokens
	a = phone("a", strings.Repeat("y", device.MaxAddress))
	mustRegister(t, s, a)
	is, err := s.lsm.Devices.Device(t.Context(), id, a.ID)
	if err != nil || len(is.Tokens[0].Address) != device.MaxAddress {
		t.Fatalf("the device is %+v, %v", is, err)
	}
	was, err := s.lsm.DeviceVersion(id, a.ID, 1)
	if err != nil || len(was.Tokens) != len(had) {
		t.Fatalf("version 1 is %+v, %v", was, err)
	}
	for _, token := range was.Tokens {
		i := slices.IndexFunc(had, func(o device.Token) bool { return o.SamePlace(&token) })
		if len(token.Address) > 20 || i < 0 || token.Address.Last6() != had[i].Address.Last6() {
			t.Errorf("version 1 has %d bytes of a token that ends with %s, want its end alone", len(token.Address), token.Address.Last6())
		}
	}
	sound(t, s)
}

// TestRetire: what a page finds dead is taken from devices that still have it, with all
// that is said of it, and a run can be taken back.
func TestRetire(t *testing.T) {
	s := open(t, faulty.NewDisk(t, dir))
	defer s.Close()
	if err := s.SaveApp(t.Context(), storetest.NewApp(id)); err != nil {
		t.Fatal(err)
	}
	ctx, devices := t.Context(), s.lsm.Devices
	for _, name := range []string{"a", "b", "c"} {
		mustRegister(t, s, phone(name, name, name+"2"))
	}
	for _, c := range []struct {
		name, address string
		certificate   int
		want          bool
	}{{"a", "a", 1, true}, {"a", "a", 1, false}, {"b", "a", 1, false}, {"b", "b", 2, false}, {"b", "b", 1, true}, {"nobody", "a", 1, false}} {
		got, err := s.lsm.Retire(id, phone(c.name).ID, c.certificate, channel.Address(c.address), strings.Repeat("é", 300), "task1")
		if err != nil || got != c.want {
			t.Fatalf("%+v: %v, %v", c, got, err)
		}
	}
	if _, err := s.lsm.Retire(id, phone("c").ID, 2, "c2", "UNREGISTERED", "task2"); err != nil {
		t.Fatal(err)
	}
	list, err := devices.Retired(ctx, id, "", "task1", 10)
	if err != nil || len(list) != 2 || list[0].Task != "task1" || len(list[0].Reason) != 256 {
		t.Fatalf("retired: %+v, %v", list, err)
	}
	sound(t, s)
	if n, err := devices.Restore(ctx, id, "", "task1"); err != nil || n != 2 {
		t.Fatalf("Restore = %d, %v", n, err)
	}
	for name, want := range map[string]int{"a": 2, "b": 2, "c": 1} {
		if d, err := devices.Device(ctx, id, phone(name).ID); err != nil || len(d.Tokens) != want {
			t.Errorf("%s is %+v, %v", name, d, err)
		}
	}
	sound(t, s)
}

// TestCheckFindsDevices: a check finds what is wrong between tables and index.
func TestCheckFindsDevices(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*lsm.Store) error
		want  string
	}{
		{"a device without a record", func(s *lsm.Store) error { return s.Plant(id, 0x08, number32(2), nil) }, "the device has no record"},
		{"a record of no device", func(s *lsm.Store) error { return s.Plant(id, 0x08, number32(1), phoneRecord(s)) }, "device 1 does not exist"},
		{"another facet", func(s *lsm.Store) error { return s.Plant(id, 0x08, number32(3), phoneRecord(s)) }, "facet"},
		{"an address of nobody", func(s *lsm.Store) error { return s.Plant(id, 0x09, []byte(strings.Repeat("h", 16)), number32(2)) }, "addresses"},
		{"a badge of no device", func(s *lsm.Store) error { return s.Plant(id, 0x0c, number32(1), []byte{0, 1}) }, "device 1 does not exist"},
	} {
		t.Run(c.name, func(t *testing.T) {
			disk := faulty.NewDisk(t, dir)
			s := open(t, disk)
			if err := s.SaveApp(t.Context(), storetest.NewApp(id)); err != nil {
				t.Fatal(err)
			}
			mustChange(t, s, set("user", ""))
			mustRegister(t, s, phone("a", "x"))
			mustRegister(t, s, phone("b"))
			if found := findings(t, disk, dir); len(found) != 1 { // the directory is open
				t.Fatalf("%q", found)
			}
			if err := c.spoil(s.lsm); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			found := findings(t, disk, dir)
			if !slices.ContainsFunc(found, func(f string) bool { return strings.Contains(f, c.want) }) {
				t.Errorf("found %q, want %q", found, c.want)
			}
		})
	}
}

func number32(n byte) []byte { return []byte{0, 0, 0, n} }

// phoneRecord is the record of device 2.
func phoneRecord(s *lsm.Store) []byte { return s.Record(id, 0x08, number32(2)) }
