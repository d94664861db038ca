package lsm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"unsafe"

	"tidings/internal/audience"
	"tidings/internal/index"
	"tidings/internal/store/journal"
)

// memory is the tenants as the journal sees them.
type memory struct {
	*tenants
	replay  *replayer       // of the start that is under way; nil before its first effect
	checked audience.Effect // of CheckEntry, whose lists are used again
}

// CheckEntry returns why Replay could not read an entry.
func (m *memory) CheckEntry(entry []byte) error { return checkEntry(entry, &m.checked) }

// Replay applies an entry, an effect not at once: the error of one may come later.
func (m *memory) Replay(pos journal.Pos, id uint32, entry []byte) error {
	if len(entry) == 0 {
		return m.CheckEntry(entry)
	}
	x := m.byID[id]
	if x != nil && pos <= x.loaded {
		return nil // the checkpoint has it
	}
	if entry[0] == entryEffect || entry[0] == entryDevice {
		if x == nil || x.gone {
			return errNoApp
		}
		if m.replay == nil {
			m.replay = newReplayer()
		}
		return m.replay.add(x, pos, entry)
	}
	if m.replay != nil { // the effects before concern the app as it was
		if err := m.replay.wait(); err != nil {
			return err
		}
	}
	switch entry[0] {
	case entryApp:
		a, err := parseApp(entry[1:])
		if err != nil {
			return err
		}
		if a.ID != id {
			return fmt.Errorf("the record is of app %d", a.ID)
		}
		if x == nil || x.gone {
			x = newTenant(id)
			m.byID[id] = x
		}
		x.app = a
	case entryDeleted:
		if x == nil || x.gone {
			return errNoApp
		}
		x.gone, x.app, x.users = true, nil, noUsers
	default:
		return m.CheckEntry(entry)
	}
	x.changed(pos)
	return nil
}

// stop ends the goroutines of a replay, also of one that failed.
func (m *memory) stop() {
	if m.replay != nil {
		m.replay.end()
		m.replay = nil
	}
}

var errNoApp = errors.New("the app does not exist")

func replayError(item *replayItem, err error) error {
	return fmt.Errorf("an effect in group %d does not fit app %d: %w", item.pos, item.x.id, err)
}

// Loaded ends a replay, of which nothing more comes.
func (m *memory) Loaded() (err error) {
	if m.replay != nil {
		err = m.replay.wait()
	}
	m.stop()
	for id, x := range m.byID {
		if x.gone {
			delete(m.byID, id)
		}
	}
	return err
}

// A tenant in a checkpoint: its SDKAppID, the position of its last change, and 1 if
// it is there; then the record of the app and the users. Of one that is deleted
// there is nothing more: the position says which groups of the log no longer concern
// it. A zero ends the list.

// Save writes all tenants, each as it is at some moment, which its position names.
// A deleted one is forgotten once no start can meet a group with a change of it.
func (m *memory) Save(ctx context.Context, pos journal.Pos, seal func(journal.Pos), out io.Writer) (newest journal.Pos, err error) {
	w := index.NewWriter(out)
	for _, x := range m.all() {
		if err := ctx.Err(); err != nil {
			return 0, context.Cause(ctx)
		}
		v, at, gone := m.seal(x, seal)
		for y := m.find(x.id); gone && y != nil && y != x; y = m.find(x.id) {
			x = y // made again, maybe in the group of the deletion
			v, at, gone = m.seal(x, seal)
		}
		switch {
		case gone && at <= pos:
			m.drop(x)
			continue
		case !gone && v == nil:
			continue // it is about to be made, in a group after pos
		}
		newest = max(newest, at)
		w.Uint(uint64(x.id))
		w.Uint(uint64(at))
		if gone {
			w.Uint(0)
			continue
		}
		w.Uint(1)
		entry, err := appendApp(v.app)
		if err != nil {
			return 0, err
		}
		w.Bytes(entry)
		v.users.Write(w)
	}
	w.Uint(0)
	return newest, w.Flush()
}

// seal returns a view of a tenant, and the position that has it so. What changes later
// is in later groups, and so is an app that takes the place of one that is gone,
// unless it has done so already.
func (t *tenants) seal(x *tenant, seal func(journal.Pos)) (v *view, pos journal.Pos, gone bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	seal(x.pos)
	if x.gone || x.app == nil {
		return nil, x.pos, x.gone
	}
	return x.view(), x.pos, false
}

// Load reads what Save wrote. If it fails it leaves no tenant.
func (m *memory) Load(in io.Reader, size int64) (err error) {
	defer func() {
		if err != nil {
			clear(m.byID)
		}
	}()
	r := index.NewReader(in, size)
	for {
		id := uint32(r.Uint())
		if id == 0 {
			break
		}
		if m.byID[id] != nil {
			return fmt.Errorf("app %d is there twice", id)
		}
		x := newTenant(id)
		x.pos = journal.Pos(r.Uint())
		x.loaded = x.pos
		m.byID[id] = x
		if x.gone = r.Uint() == 0; x.gone {
			continue
		}
		entry := r.Bytes()
		if r.Err() != nil {
			break
		}
		if len(entry) == 0 || entry[0] != entryApp {
			return fmt.Errorf("app %d has no record", id)
		}
		if x.app, err = parseApp(entry[1:]); err != nil {
			return err
		}
		if x.app.ID != id {
			return fmt.Errorf("app %d has the record of app %d", id, x.app.ID)
		}
		if x.users = index.ReadUsers(r); r.Err() != nil {
			break
		}
		if err := x.users.Verify(); err != nil {
			return fmt.Errorf("app %d: %w", id, err)
		}
	}
	if n, _ := in.Read(make([]byte, 1)); r.Err() == nil && n > 0 {
		return errors.New("there are bytes after the last app")
	}
	return r.Err()
}

// textOf returns a string that is the memory of b, which must not change as long as the
// string is used: what is read of an entry is copied by whoever keeps it.
func textOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
