package transfer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// NoteSuffix follows the name of a file in the name of the note about its import.
const NoteSuffix = ".tidings-import"

// noteInterval is how often an import notes how far it got.
const noteInterval = time.Second

// A Note says how far the import of a file into an app got. Everything before that is
// durable, so a note may be old, but never ahead. It is not taken for that of another
// import: of another file, app or data directory, or of an app that was deleted and
// made again.
type Note struct {
	path  string
	saved time.Time

	App     uint32    `json:"app"`
	Created time.Time `json:"app_created"`
	Data    string    `json:"data"` // data directory
	Size    int64     `json:"size"`
	Changed time.Time `json:"changed"` // the file
	Format  Format    `json:"format"`
	Devices bool      `json:"devices,omitempty"`
	Replace bool      `json:"replace"`
	Progress
}

// NewNote returns the note of an import that begins, into an app that was created at a
// time; nil if the file is none that can be read again.
func NewNote(data string, created time.Time, im *Import, format Format) *Note {
	in := im.File
	if in.size == 0 {
		return nil
	}
	info, err := in.file.Stat()
	if err != nil {
		return nil
	}
	if abs, err := filepath.Abs(data); err == nil {
		data = abs
	}
	return &Note{
		path: in.name + NoteSuffix, saved: time.Now(),
		App: im.App, Created: created, Data: data, Size: info.Size(), Changed: info.ModTime().UTC(),
		Format: format, Devices: im.Devices, Replace: im.Replace,
	}
}

// Before returns how far the same import got when it was interrupted; nil if it was not.
// Why says that there is a note of something else.
func (n *Note) Before() (before *Progress, why string) {
	b, err := os.ReadFile(n.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ""
	}
	old := new(Note)
	if err == nil {
		err = json.Unmarshal(b, old)
	}
	if err != nil {
		return nil, fmt.Sprintf("%s cannot be read (%v)", n.path, err)
	}
	switch {
	case old.Size != n.Size || !old.Changed.Equal(n.Changed):
		return nil, n.path + " is about a file that has changed since"
	case old.App != n.App || !old.Created.Equal(n.Created) || old.Data != n.Data:
		return nil, n.path + " is about another app or data directory"
	case old.Format != n.Format || old.Devices != n.Devices || old.Replace != n.Replace:
		return nil, n.path + " is about an import with other flags"
	case old.Bytes < 0 || old.Bytes > 0 && old.Lines <= 0:
		return nil, n.path + " is damaged"
	case old.Lines == 0:
		return nil, ""
	}
	return &old.Progress, ""
}

// saveSometimes saves the note if the last time is long enough ago.
func (n *Note) saveSometimes(p Progress) error {
	if time.Since(n.saved) < noteInterval {
		return nil
	}
	return n.save(p)
}

// save notes how far the import got.
func (n *Note) save(p Progress) error {
	n.saved, n.Progress = time.Now(), p
	b, err := json.Marshal(n)
	if err != nil {
		return err
	}
	if err := os.WriteFile(n.path+".new", append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("noting the progress (--no-resume does without): %w", err)
	}
	return os.Rename(n.path+".new", n.path)
}

// Remove removes the note.
func (n *Note) Remove() { _ = os.Remove(n.path) }
