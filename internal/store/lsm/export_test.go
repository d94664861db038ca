package lsm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/zeebo/xxh3"

	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/channel"
	"tidings/internal/device"
	"tidings/internal/index"
	"tidings/internal/report"
	"tidings/internal/store/journal"
	"tidings/internal/task"
)

// WithSegments makes the files of the log small.
func WithSegments(o *Options, bytes int64) *Options {
	o.segmentSize = bytes
	return o
}

// WithRoom makes changes wait for the disk earlier.
func WithRoom(o *Options, bytes int) *Options {
	o.room = bytes
	return o
}

// WithViews makes every question one that is asked of a view, and has it call pace again
// and again.
func WithViews(o *Options, pace func()) *Options {
	o.pace = pace
	return o
}

// WithLargeAudiences has the devices of audiences of more than n accounts looked for among
// all numbers.
func WithLargeAudiences(o *Options, n int) *Options {
	o.small = n
	return o
}

// SharePlace reports whether two accounts wait for each other's changes, as one
// pair in lastSize does.
func (s *Store) SharePlace(a, b string) bool { return s.tenants.place(a) == s.tenants.place(b) }

// NextNumber returns the number that the next user of an app gets who takes none of
// the free ones.
func (s *Store) NextNumber(app uint32) uint32 {
	x := s.tenants.find(app)
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.users.Limit()
}

// Digests stands for all that the store holds: of each app its record, its users as
// canonical bytes and which numbers rest, and the records of the tables. Nothing
// changes meanwhile.
func (s *Store) Digests(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	records := map[uint32]*xxh3.Hasher{}
	all := xxh3.New()
	err := s.journal.Check(context.Background(), func(where, what string) { t.Errorf("%s: %s", where, what) }, func(table *journal.Table, app uint32, key, value []byte) {
		sum := all
		if table.PerApp {
			if sum = records[app]; sum == nil {
				sum = xxh3.New()
				records[app] = sum
			}
		}
		fmt.Fprintf(sum, "%d %d %q %q\n", table.ID, app, key, value)
	})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&b, "all %x", all.Sum64())
	for _, x := range s.tenants.all() {
		x.mu.RLock()
		if x.app != nil {
			sum, err := digest(x)
			if err != nil {
				t.Error(err)
			}
			fmt.Fprintf(&b, ", app %d with %d users %x", x.id, x.users.Len(), sum)
			if r := records[x.id]; r != nil {
				fmt.Fprintf(&b, " and records %x", r.Sum64())
			}
		}
		x.mu.RUnlock()
	}
	return b.String()
}

// State returns why the store takes no change and never will; nil if it does.
func (s *Store) State() error { return s.journal.State() }

// Gone reports whether an app is deleted or was never made, durably or not.
func (s *Store) Gone(app uint32) bool {
	x := s.tenants.find(app)
	return x == nil || x.isGone()
}

// Saved writes the memory as a checkpoint does and returns which apps are there when it
// is read. It calls between whenever an app is about to be copied.
func (s *Store) Saved(ctx context.Context, between func()) (apps []uint32, err error) {
	var b bytes.Buffer
	seal := func(pos journal.Pos) {
		between()
		s.journal.Seal(pos)
	}
	if _, err := (&memory{tenants: s.tenants}).Save(ctx, s.journal.Applied(), seal, &b); err != nil {
		return nil, err
	}
	loaded := newTenants()
	if err := (&memory{tenants: loaded}).Load(&b, int64(b.Len())); err != nil {
		return nil, err
	}
	for _, x := range loaded.all() {
		if !x.gone {
			apps = append(apps, x.id)
		}
	}
	return apps, nil
}

// Position returns the position of the last group that is durable.
func (s *Store) Position() uint64 { return uint64(s.journal.Applied()) }

// SkewTask makes a task that has ended say that one unit more was rejected by the provider
// of a certificate.
func (s *Store) SkewTask(t testing.TB, ref task.Ref, certificate int) {
	t.Helper()
	r, err := s.Tasks.ended(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	r.p.lane(certificate).Counts[report.Rejected]++
	record, err := recordJSON(&r.p)
	if err != nil {
		t.Fatal(err)
	}
	pos, err := s.journal.Commit(ref.App, false, func(b *journal.Batch) { b.Set(tableEndedTask, taskKey(ref.Number), record) })
	if err != nil {
		t.Fatal(err)
	}
	if err := s.journal.Wait(t.Context(), pos); err != nil {
		t.Fatal(err)
	}
}

// DeviceVersion returns a device as it was in a version.
func (s *Store) DeviceVersion(app uint32, id string, version uint32) (d *device.Device, err error) {
	x := s.tenants.find(app)
	x.mu.RLock()
	defer x.mu.RUnlock()
	n, err := x.findDevice(id)
	if err != nil {
		return nil, err
	}
	err = s.journal.Read(func(v *journal.View) error {
		d, err = s.Users.readDeviceVersion(v, &x.users.View, app, n, version)
		return err
	})
	return d, err
}

// Retire takes a token from a device.
func (s *Store) Retire(app uint32, id string, certificate int, address channel.Address, reason, task string) (had bool, err error) {
	var pos journal.Pos
	err = s.Users.write(context.Background(), app, false, func(x *tenant) error {
		n, exists := x.users.Find(id)
		if !exists {
			return nil
		}
		c := s.Users.changeDevices(x, nil)
		if had, err = c.retireDead(&deadToken{number: n, certificate: certificate, address: address, words: reason}, task); err != nil {
			return err
		}
		return c.commit(false, &pos)
	})
	return had, s.tenants.waitFor(context.Background(), pos, err)
}

// Plant sets a record of a table without a reason, or deletes it.
func (s *Store) Plant(app uint32, table byte, key, value []byte) error {
	i := slices.IndexFunc(tables, func(t *journal.Table) bool { return t.ID == table })
	pos, err := s.journal.Commit(app, false, func(b *journal.Batch) {
		if value == nil {
			b.Delete(tables[i], key)
		} else {
			b.Set(tables[i], key, value)
		}
	})
	return s.tenants.waitFor(context.Background(), pos, err)
}

// Record returns a record of a table.
func (s *Store) Record(app uint32, table byte, key []byte) (value []byte) {
	i := slices.IndexFunc(tables, func(t *journal.Table) bool { return t.ID == table })
	_ = s.journal.Read(func(v *journal.View) (err error) {
		value, err = v.Get(tables[i], app, key)
		return err
	})
	return value
}

// DeviceMemory returns the memory that the devices of an app take beyond their accounts.
func (s *Store) DeviceMemory(app uint32) int64 {
	x := s.tenants.find(app)
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.users.Memory().Devices
}

// ChoiceMemory returns how many choices are kept for devices with so many facets, and fails
// the test if one is another than that of the facet.
func ChoiceMemory(t testing.TB, a *app.App, facets int) int {
	t.Helper()
	u, channels := index.NewUsers(), device.ChannelsOf(a)
	for i := range facets {
		f := device.Facet{Language: fmt.Sprint(i), Ways: []device.Way{{Kind: channel.Alert, Certificate: i % 4}}}
		e := audience.Effect{Op: audience.Make, User: u.NextNumber(), Account: fmt.Sprint(i), Kind: audience.RegistrationID, Created: 1}
		if err := errors.Join(u.Apply(&e, 0), u.ApplyDevice(&index.Device{Number: e.User, Facet: string(f.Encode(nil))})); err != nil {
			t.Fatal(err)
		}
	}
	c := newChooser(a)
	for range 2 {
		c.begin()
		for id := range u.Facets() {
			f, err := device.ParseFacet(u.FacetText(id))
			if err != nil {
				t.Fatal(err)
			}
			if got, want := c.choice(&u.View, id), channels.Choose(&f); got != want {
				t.Fatalf("facet %d is reached by %+v, want %+v", id, got, want)
			}
		}
	}
	return max(cap(c.choices), cap(c.known))
}
