package journal

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// dir is the data directory in the file systems of the tests.
const dir = "/var/lib/toy"

// quiet is for databases whose disks fail on purpose.
var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// A toy is a Memory: maps of strings, one for each app. Its entries are "set K V",
// "drop" and "poison", which CheckEntry refuses.
type toy struct {
	db *DB

	mu   sync.Mutex
	apps map[uint32]*toyApp
}

type toyApp struct {
	mu     sync.Mutex
	values map[string]string
	pos    Pos // of the last change
	loaded Pos // up to which a checkpoint has everything
}

// The tables of toys: copies has what the maps have, tops the largest number that was
// asked for, which outlives a drop.
var (
	copies = &Table{ID: 1, Name: "copy", PerApp: true, Check: func(key, value []byte) error {
		if len(key) == 0 || string(value) == "poison" {
			return errors.New("no copy")
		}
		return nil
	}}
	tops     = &Table{ID: 2, Name: "top"}
	toyTable = []*Table{copies, tops}
)

func (m *toy) app(id uint32) *toyApp {
	m.mu.Lock()
	defer m.mu.Unlock()
	x := m.apps[id]
	if x == nil {
		x = &toyApp{values: map[string]string{}}
		if m.apps == nil {
			m.apps = map[uint32]*toyApp{}
		}
		m.apps[id] = x
	}
	return x
}

func (m *toy) CheckEntry(entry []byte) error {
	switch f := strings.Split(string(entry), " "); {
	case f[0] == "set" && len(f) == 3, f[0] == "drop" && len(f) == 1:
		return nil
	}
	return fmt.Errorf("%.20q is no entry", entry)
}

func (m *toy) Replay(pos Pos, id uint32, entry []byte) error {
	if err := m.CheckEntry(entry); err != nil {
		return err
	}
	x := m.app(id)
	if pos <= x.loaded {
		return nil
	}
	if pos < x.pos {
		return fmt.Errorf("group %d comes after %d", pos, x.pos)
	}
	x.apply(string(entry))
	x.pos = pos
	return nil
}

func (x *toyApp) apply(entry string) {
	if f := strings.Split(entry, " "); f[0] == "set" {
		x.values[f[1]] = f[2]
	} else {
		clear(x.values)
	}
}

func (m *toy) Save(ctx context.Context, _ Pos, seal func(Pos), out io.Writer) (newest Pos, err error) {
	w := bufio.NewWriter(out)
	m.mu.Lock()
	apps := maps.Clone(m.apps)
	m.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(apps)) {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		x := apps[id]
		x.mu.Lock()
		seal(x.pos)
		values, pos := maps.Clone(x.values), x.pos
		x.mu.Unlock()
		newest = max(newest, pos)
		fmt.Fprintf(w, "%d %d %d\n", id, pos, len(values))
		for _, k := range slices.Sorted(maps.Keys(values)) {
			fmt.Fprintf(w, "%s %s\n", k, values[k])
		}
	}
	return newest, w.Flush()
}

func (m *toy) Load(r io.Reader, size int64) (err error) {
	defer func() {
		if err != nil {
			m.apps = nil
		}
	}()
	text, err := io.ReadAll(r)
	if err != nil || int64(len(text)) != size {
		return fmt.Errorf("%d bytes of %d, %w", len(text), size, err)
	}
	in := bufio.NewScanner(bytes.NewReader(text))
	in.Buffer(nil, len(text)+1)
	for in.Scan() {
		var id uint32
		var pos Pos
		var n int
		if _, err := fmt.Sscanf(in.Text(), "%d %d %d", &id, &pos, &n); err != nil {
			return err
		}
		x := m.app(id)
		x.pos, x.loaded = pos, pos
		for range n {
			in.Scan()
			k, v, _ := strings.Cut(in.Text(), " ")
			x.values[k] = v
		}
	}
	return in.Err()
}

func (m *toy) Loaded() error { return nil }

// commit makes a change under the lock of an app.
func (m *toy) commit(id uint32, bulk bool, f func(x *toyApp, b *Batch)) (Pos, error) {
	x := m.app(id)
	x.mu.Lock()
	defer x.mu.Unlock()
	pos, err := m.db.Commit(id, bulk, func(b *Batch) { f(x, b) })
	x.pos = max(x.pos, pos)
	return pos, err
}

// half changes the memory of an app and panics before the change is in the batch.
func (m *toy) half(t testing.TB, id uint32, key string) {
	t.Helper()
	defer func() {
		if p := recover(); p != "on purpose" {
			t.Errorf("Commit ended with panic %v", p)
		}
	}()
	pos, err := m.commit(id, false, func(x *toyApp, b *Batch) {
		b.Memory([]byte("set " + key + " half"))
		x.values[key] = "half"
		panic("on purpose")
	})
	t.Errorf("Commit = %d, %v, want a panic", pos, err)
}

// begin sets a value and returns the position to wait for.
func (m *toy) begin(id uint32, key, value string) (Pos, error) {
	return m.commit(id, false, func(x *toyApp, b *Batch) {
		b.Memory([]byte("set " + key + " " + value))
		b.Set(copies, []byte(key), []byte(value))
		x.values[key] = value
	})
}

// set sets a value, and returns when that is durable.
func (m *toy) set(id uint32, key, value string) error {
	pos, err := m.begin(id, key, value)
	if err != nil {
		return err
	}
	return m.db.Wait(context.Background(), pos)
}

// drop takes all values of an app away.
func (m *toy) drop(id uint32, top uint64) error {
	pos, err := m.commit(id, false, func(x *toyApp, b *Batch) {
		b.Memory([]byte("drop"))
		b.Clear()
		b.Raise(tops, []byte("n"), top)
		clear(x.values)
	})
	if err != nil {
		return err
	}
	return m.db.Wait(context.Background(), pos)
}

// dump is all that the memory and the tables hold. It reports an error if the one
// does not fit the other.
func (m *toy) dump() (string, error) {
	var out strings.Builder
	m.mu.Lock()
	defer m.mu.Unlock()
	copied := map[string]string{}
	err := m.db.Check(context.Background(), func(where, what string) { fmt.Fprintf(&out, "wrong: %s: %s\n", where, what) },
		func(t *Table, app uint32, key, value []byte) {
			if t == copies {
				copied[fmt.Sprintf("%d %s", app, key)] = string(value)
			} else {
				fmt.Fprintf(&out, "top %d %s %d\n", app, key, binary.BigEndian.Uint64(value))
			}
		})
	if err != nil {
		return "", err
	}
	for _, id := range slices.Sorted(maps.Keys(m.apps)) {
		x := m.apps[id]
		for _, k := range slices.Sorted(maps.Keys(x.values)) {
			name := fmt.Sprintf("%d %s", id, k)
			if copied[name] != x.values[k] {
				err = errors.Join(err, fmt.Errorf("%s is %.40q in memory and %.40q in the tables", name, x.values[k], copied[name]))
			}
			delete(copied, name)
			fmt.Fprintf(&out, "%s %s\n", name, x.values[k])
		}
	}
	for name := range copied {
		err = errors.Join(err, fmt.Errorf("%s is in the tables and not in memory", name))
	}
	return out.String(), err
}

// state is dump of what has to fit.
func (m *toy) state(t testing.TB) string {
	t.Helper()
	s, err := m.dump()
	if err != nil {
		t.Error(err)
	}
	return s
}

// openToy opens a toy in a file system. Segments are small; a checkpoint is written
// when it is asked for.
func openToy(fs vfs.FS, o Options) (*toy, error) {
	o.FS = fs
	o.Logger = cmp.Or(o.Logger, quiet)
	o.MemtableSize = cmp.Or(o.MemtableSize, 64<<10)
	o.SegmentSize = cmp.Or(o.SegmentSize, 4<<10)
	o.CheckpointLog = cmp.Or(o.CheckpointLog, 1<<40)
	m := &toy{}
	var err error
	if m.db, err = Open(dir, o, m, toyTable...); err != nil {
		return nil, err
	}
	return m, nil
}

func open(t testing.TB, fs vfs.FS) *toy {
	t.Helper()
	m, err := openToy(fs, Options{})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return m
}

func (m *toy) mustSet(t testing.TB, id uint32, key, value string) {
	t.Helper()
	if err := m.set(id, key, value); err != nil {
		t.Fatalf("set %s: %v", key, err)
	}
}

func (m *toy) checkpoint(t testing.TB) {
	t.Helper()
	if _, err := m.db.Checkpoint(t.Context()); err != nil {
		t.Fatalf("Checkpoint: %v", err)
	}
}

func (m *toy) close(t testing.TB) {
	t.Helper()
	if err := m.db.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}
