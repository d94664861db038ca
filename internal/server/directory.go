package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"tidings/internal/store/lsm"
)

// DemoMarker is a file in the data directory of a demo. It tells a later demo that
// an earlier one made the directory.
const DemoMarker = "demo"

func markDemo(dir string) error {
	if err := os.WriteFile(filepath.Join(dir, DemoMarker), []byte("made by tidings serve --demo\n"), 0o600); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	return nil
}

// isData reports whether a directory has two of the parts of a data directory, one of
// which may be lost. One is not enough: /var has a log and a db too, and neither is ours.
func isData(dir string) (bool, error) {
	have := map[string]bool{}
	for _, part := range []string{"db", "log", "checkpoints"} {
		if _, err := os.Stat(filepath.Join(dir, part)); err == nil {
			have[part] = true
		} else if !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	if have["db"] && have["log"] && !have["checkpoints"] {
		names, err := filepath.Glob(filepath.Join(dir, "db", "marker.*")) // of Pebble
		return len(names) > 0, err
	}
	return len(have) > 1, nil
}

// isNew reports whether a data directory is yet to be made: nothing is there, or an
// empty directory. A directory of somebody else is refused, for becoming a data
// directory would shut everybody else out of it. The marker of a demo, hidden files
// and lost+found do not count.
func isNew(dir string) (bool, error) {
	if ours, err := isData(dir); err != nil || ours {
		return false, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("data directory: %w", err)
	}
	for _, e := range entries {
		if name := e.Name(); name != DemoMarker && name != "lost+found" && !strings.HasPrefix(name, ".") {
			return false, fmt.Errorf("%s is no data directory of tidings, and %s is in it: choose another with --data, an empty one or one that does not exist", dir, name)
		}
	}
	return true, nil
}

// IsDamage reports whether an error is that of a data directory whose files are not as
// they were written.
func IsDamage(err error) bool { return lsm.IsDamage(err) }
