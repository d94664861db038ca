//go:build unix

package server

import (
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
)

// makePrivate creates the data directory if it does not exist.
//
// Only the owner of a data directory may read the keys and users in it. So each file
// and directory that this process creates from now on has mode 0600 or 0700, whichever
// mode a library asks for, and a data directory that exists becomes 0700. If the mode of
// the directory cannot be changed, as on a volume of another owner, the directory stays
// as it is, and the files in it are private.
func makePrivate(dir string, log *slog.Logger) error {
	keepPrivate()
	if err := checkOwner(dir, os.Geteuid()); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	mode := info.Mode().Perm()
	if mode&0o077 == 0 {
		return nil
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		log.Warn("others than the owner can open the data directory, and its mode cannot be changed to 0700", "data", dir, "mode", octal(mode), "error", err)
		return nil
	}
	log.Warn("others than the owner could open the data directory, its mode is 0700 now", "data", dir, "mode", octal(mode))
	return nil
}

// keepPrivate sets the umask, so that others cannot read what this process creates from
// now on.
func keepPrivate() { syscall.Umask(0o077) }

// checkOwner returns an error for root in a data directory that the server of another
// user has filled: that server could not open files that root leaves in it. A user who
// is not root cannot open such a directory at all.
func checkOwner(dir string, uid int) error {
	info, err := os.Stat(filepath.Join(dir, "db"))
	if uid != 0 || err != nil {
		return nil // nothing there, or found out later
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid != 0 {
		return fmt.Errorf("data directory %s belongs to user %d: run this as that user, for root would leave files that the server cannot open (or make all of it root's with chown)", dir, stat.Uid)
	}
	return nil
}

// othersCanRead reports whether every user of the machine can read a file, as far as its
// own mode says.
func othersCanRead(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().Perm()&0o004 != 0
}

func octal(mode fs.FileMode) string { return fmt.Sprintf("%04o", mode) }
