package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// A View is the tables at one moment.
type View struct {
	reader pebble.Reader
	close  func() error
}

// Get returns a record; nil if there is none.
func (v *View) Get(t *Table, app uint32, key []byte) ([]byte, error) {
	value, err := get(v.reader, tableKey(t.ID, app, key))
	if err != nil {
		return nil, fmt.Errorf("%s %q of app %d: %w", t.Name, key, app, err)
	}
	return value, nil
}

// A Cursor walks the records of an app in a table in the order of their keys.
type Cursor struct{ it *pebble.Iterator }

// Cursor returns a cursor at the first record. The caller closes it.
func (v *View) Cursor(ctx context.Context, t *Table, app uint32) (*Cursor, error) {
	it, err := v.reader.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: tableKey(t.ID, app, nil), UpperBound: tableEnd(t.ID, app)})
	if err != nil {
		return nil, err
	}
	it.First()
	return &Cursor{it}, nil
}

// Seek moves on to a key and returns its value; nil if there is no such record. Keys
// must ascend from call to call.
func (c *Cursor) Seek(key []byte) ([]byte, error) {
	for c.it.Valid() && bytes.Compare(c.it.Key()[5:], key) < 0 {
		c.it.Next()
	}
	if !c.it.Valid() || !bytes.Equal(c.it.Key()[5:], key) {
		return nil, c.it.Error()
	}
	value, err := c.it.ValueAndErr()
	return append([]byte{}, value...), err
}

// Close closes the cursor.
func (c *Cursor) Close() error { return c.it.Close() }

// Each calls f with the records of an app in a table, in the order of their keys.
func (v *View) Each(ctx context.Context, t *Table, app uint32, f func(key, value []byte) error) error {
	c, err := v.Cursor(ctx, t, app)
	if err != nil {
		return err
	}
	for c.it.Valid() && err == nil {
		var value []byte
		if value, err = c.it.ValueAndErr(); err == nil {
			err = f(c.it.Key()[5:], value)
		}
		c.it.Next()
	}
	return errors.Join(err, c.it.Error(), c.Close())
}

// Walk calls f with the records of an app in a table whose keys begin with a prefix, from a
// key on in the order of the keys, until f returns false. The key and the value are
// valid until f returns. From is of the same prefix, or empty.
func (v *View) Walk(ctx context.Context, t *Table, app uint32, prefix, from []byte, f func(key, value []byte) (more bool, err error)) error {
	it, err := v.within(ctx, t, app, prefix)
	if err != nil {
		return err
	}
	valid := it.First
	if len(from) > 0 {
		valid = func() bool { return it.SeekGE(tableKey(t.ID, app, from)) }
	}
	return walk(it, valid(), it.Next, f)
}

// WalkBack is Walk against the order of the keys, with the records before a key; empty:
// with all.
func (v *View) WalkBack(ctx context.Context, t *Table, app uint32, prefix, before []byte, f func(key, value []byte) (more bool, err error)) error {
	it, err := v.within(ctx, t, app, prefix)
	if err != nil {
		return err
	}
	valid := it.Last
	if len(before) > 0 {
		valid = func() bool { return it.SeekLT(tableKey(t.ID, app, before)) }
	}
	return walk(it, valid(), it.Prev, f)
}

// within returns an iterator over the records whose keys begin with a prefix.
func (v *View) within(ctx context.Context, t *Table, app uint32, prefix []byte) (*pebble.Iterator, error) {
	lower, upper := tableKey(t.ID, app, prefix), tableEnd(t.ID, app)
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			upper = tableKey(t.ID, app, prefix[:i+1])
			upper[len(upper)-1]++
			break
		}
	}
	return v.reader.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: lower, UpperBound: upper})
}

func walk(it *pebble.Iterator, valid bool, next func() bool, f func(key, value []byte) (bool, error)) error {
	var err error
	for more := true; valid && more && err == nil; {
		var value []byte
		if value, err = it.ValueAndErr(); err != nil {
			break
		}
		if more, err = f(it.Key()[5:], value); more && err == nil {
			valid = next()
		}
	}
	return errors.Join(err, it.Error(), it.Close())
}

// Close ends the view.
func (v *View) Close() error { return v.close() }
