package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"tidings/internal/admin"
)

// progressSuffix makes the name of the file that tells how far an import got.
const progressSuffix = ".tidings-import"

// noteInterval is how often an import notes how far it got.
const noteInterval = time.Second

// An importNote is how far the import of a file into an app got. Everything
// before it is durable, so it may be old, but never ahead. It is not taken for
// that of another import: of another file, app or data directory, or of an app
// that was deleted and made again.
type importNote struct {
	path  string
	saved time.Time

	App     uint32    `json:"app"`
	Created time.Time `json:"app_created"`
	Data    string    `json:"data"` // data directory
	Size    int64     `json:"size"`
	Changed time.Time `json:"changed"` // the file
	Format  string    `json:"format"`
	Replace bool      `json:"replace"`
	position
	Users int `json:"users"`
	Bad   int `json:"bad"`
}

// newNote is the note of an import that begins; nil if the file is none that
// can be read again.
func newNote(data string, app *admin.App, in *input, format string, replace bool) *importNote {
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
	return &importNote{
		path: in.name + progressSuffix, saved: time.Now(),
		App: app.ID, Created: app.Created, Data: data, Size: info.Size(), Changed: info.ModTime().UTC(), Format: format, Replace: replace,
	}
}

// read finds the note of an import of the same that was interrupted; why says
// that there is one of something else.
func (n *importNote) read() (before *importNote, why string) {
	b, err := os.ReadFile(n.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ""
	}
	before = new(importNote)
	if err == nil {
		err = json.Unmarshal(b, before)
	}
	if err != nil {
		return nil, fmt.Sprintf("%s cannot be read (%v)", n.path, err)
	}
	same := *before
	same.path, same.saved, same.position, same.Users, same.Bad = n.path, n.saved, n.position, n.Users, n.Bad
	switch {
	case same.Size != n.Size || !same.Changed.Equal(n.Changed):
		return nil, n.path + " is about a file that has changed since"
	case same.App != n.App || !same.Created.Equal(n.Created) || same.Data != n.Data:
		return nil, n.path + " is about another app or data directory"
	case same.Format != n.Format || same.Replace != n.Replace:
		return nil, n.path + " is about an import with other flags"
	case before.Bytes < 0 || before.Bytes > 0 && before.Lines <= 0:
		return nil, n.path + " is damaged"
	case before.Lines == 0:
		return nil, ""
	}
	return before, ""
}

// saveSometimes saves the note if the last time is long enough ago.
func (n *importNote) saveSometimes(j *importJob) error {
	if time.Since(n.saved) < noteInterval {
		return nil
	}
	return n.save(j)
}

// save notes how far an import got.
func (n *importNote) save(j *importJob) error {
	n.saved = time.Now()
	n.position, n.Users, n.Bad = j.at, j.users, j.bad
	b, err := json.Marshal(n)
	if err != nil {
		return err
	}
	if err := os.WriteFile(n.path+".new", append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("noting the progress (--no-resume does without): %w", err)
	}
	return os.Rename(n.path+".new", n.path)
}

func (n *importNote) remove() { _ = os.Remove(n.path) }
