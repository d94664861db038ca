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

// DemoMarker is the name of a file in the data directory of a demo. From the file a later
// demo knows that an earlier one made the directory.
const DemoMarker = "demo"

func markDemo(dir string) error {
	if err := os.WriteFile(filepath.Join(dir, DemoMarker), []byte("made by tidings serve --demo\n"), 0o600); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	return nil
}

// isData reports whether a directory has two of the three parts of a data directory: one
// may be lost. A single part is not enough, and of log and db the db must be Pebble's: /var
// has a log and a db too.
func isData(dir string) (bool, error) {
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return false, fmt.Errorf("%s is a file and not a directory: choose another with --data", dir)
	}
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
// empty directory. It returns an error for a directory of somebody else, which nobody
// else could open any more if it became a data directory. The marker of a demo, the key of
// credentials, hidden files and lost+found do not count.
func isNew(dir string) (bool, error) {
	if ours, err := isData(dir); err != nil || ours {
		return false, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("data directory: %w", err)
	}
	for _, e := range entries {
		if name := e.Name(); name != DemoMarker && name != KeyFile && name != "lost+found" && !strings.HasPrefix(name, ".") {
			return false, fmt.Errorf("%s is no data directory of tidings, and %s is in it: choose another with --data, an empty one or one that does not exist", dir, name)
		}
	}
	return true, nil
}

// IsDamage reports whether an error is that of a data directory whose files are not as
// they were written.
func IsDamage(err error) bool { return lsm.IsDamage(err) }
