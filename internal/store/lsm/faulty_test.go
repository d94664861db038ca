package lsm_test

import (
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// tapFS calls before in front of every operation that can change what a power
// loss leaves; an error becomes that of the operation.
type tapFS struct {
	vfs.FS
	before func(op, name string) error
}

func (t *tapFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := t.before("create", name); err != nil {
		return nil, err
	}
	return t.file(name)(t.FS.Create(name, c))
}

func (t *tapFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return t.file(name)(t.FS.OpenReadWrite(name, c, o...))
}

func (t *tapFS) OpenDir(name string) (vfs.File, error) { return t.file(name)(t.FS.OpenDir(name)) }

func (t *tapFS) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := t.before("reuse", to); err != nil {
		return nil, err
	}
	return t.file(to)(t.FS.ReuseForWrite(from, to, c))
}

func (t *tapFS) Rename(from, to string) error {
	if err := t.before("rename", to); err != nil {
		return err
	}
	return t.FS.Rename(from, to)
}

func (t *tapFS) Link(from, to string) error {
	if err := t.before("link", to); err != nil {
		return err
	}
	return t.FS.Link(from, to)
}

func (t *tapFS) Remove(name string) error {
	if err := t.before("remove", name); err != nil {
		return err
	}
	return t.FS.Remove(name)
}

func (t *tapFS) Unwrap() vfs.FS { return t.FS }

func (t *tapFS) file(name string) func(vfs.File, error) (vfs.File, error) {
	return func(f vfs.File, err error) (vfs.File, error) {
		if err != nil {
			return nil, err
		}
		return &tapFile{f, t, name}, nil
	}
}

type tapFile struct {
	vfs.File
	fs   *tapFS
	name string
}

func (f *tapFile) Write(b []byte) (int, error) {
	if err := f.fs.before("write", f.name); err != nil {
		return 0, err
	}
	return f.File.Write(b)
}

func (f *tapFile) Sync() error {
	if err := f.fs.before("sync", f.name); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *tapFile) SyncData() error {
	if err := f.fs.before("sync", f.name); err != nil {
		return err
	}
	return f.File.SyncData()
}

func (f *tapFile) SyncTo(n int64) (bool, error) {
	if err := f.fs.before("sync", f.name); err != nil {
		return false, err
	}
	return f.File.SyncTo(n)
}

func (f *tapFile) Close() error {
	if err := f.fs.before("close", f.name); err != nil {
		return err
	}
	return f.File.Close()
}

// inLog reports whether a file is a segment of the log.
func inLog(name string) bool { return strings.Contains(name, "/log/") }

// vfsNothing is a power loss that keeps nothing that was not synced.
var vfsNothing = vfs.CrashCloneCfg{}

// gate holds what passes through it while it is shut.
type gate struct {
	mu     sync.Mutex
	opened sync.Cond
	closed bool
	passes int // how many may pass a closed gate
}

func newGate() *gate {
	g := &gate{}
	g.opened.L = &g.mu
	return g
}

func (g *gate) set(closed bool, passes int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed, g.passes = closed, passes
	g.opened.Broadcast()
}

func (g *gate) shut() { g.set(true, 0) }
func (g *gate) lift() { g.set(false, 0) }
func (g *gate) step() { g.set(true, 1) }

func (g *gate) pass() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.closed && g.passes == 0 {
		g.opened.Wait()
	}
	g.passes = max(0, g.passes-1)
}
