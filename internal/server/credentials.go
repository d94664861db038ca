package server

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"tidings/internal/app"
	"tidings/internal/channel/credential"
)

// KeyFile is the name of the file in the data directory, and in a backup that was made with
// it, that holds the key of credentials.
const KeyFile = "credentials.key"

// loadKey returns the key of credentials: of the file that the configuration names, or of
// the one in the data directory, which is made if it is not there. A start does not fail
// without a key: the certificates cannot be used then, and all the rest works.
func loadKey(configured, data string, apps []*app.App, log *slog.Logger) *credential.Key {
	file := keyFile(configured, data)
	key := readKey(file)
	if configured == "" && errors.Is(key.Err(), fs.ErrNotExist) {
		key = makeKey(file)
		if key.Err() == nil {
			log.Info("made the key that credentials of providers are sealed with", "file", file, "key", key,
				"hint", "keep a copy apart from the backups: they do not hold it, and without it the credentials have to be entered again")
		}
	}
	if err := key.Err(); err != nil {
		log.Error("there is no key of credentials, so no certificate can be used or added", "error", err)
	} else if othersCanRead(file) {
		log.Warn("every user of this machine can read the key of credentials", "file", file)
	}
	if n, first := unusable(key, apps); n > 0 {
		log.Error("certificates cannot be used; put the right key into the file, or enter the credentials again with tidings channel replace", "certificates", n, "file", file, "error", first)
	}
	return key
}

// keyFile returns the name of the file that holds the key of credentials.
func keyFile(configured, data string) string {
	if configured != "" {
		return configured
	}
	return filepath.Join(data, KeyFile)
}

// keyBeside returns the key of credentials in a data directory, for a command that works on
// the directory without a server, and so without its configuration.
func keyBeside(dir string) *credential.Key {
	key := readKey(keyFile("", dir))
	if errors.Is(key.Err(), fs.ErrNotExist) {
		return credential.Missing(fmt.Errorf("no server runs that would know another key of credentials than %s, which is not there", keyFile("", dir)))
	}
	return key
}

// copyKey returns what copies a file with a key into a directory.
func copyKey(file string) func(dir string) error {
	return func(dir string) error {
		text, err := keyText(file)
		if err != nil {
			return err
		}
		return writeKey(filepath.Join(dir, KeyFile), text)
	}
}

// unusable returns how many certificates cannot be opened, and why the first cannot.
func unusable(key *credential.Key, apps []*app.App) (n int, first error) {
	for _, a := range apps {
		for i := range a.Certificates {
			if _, err := key.Open(a.ID, &a.Certificates[i]); err != nil {
				if n == 0 {
					first = err
				}
				n++
			}
		}
	}
	return n, first
}

// readKey returns the key that a file holds, or one that says why there is none.
func readKey(file string) *credential.Key {
	key, err := tryKey(file)
	if err != nil {
		return credential.Missing(fmt.Errorf("the key of credentials in %s: %w", file, err))
	}
	return key
}

func tryKey(file string) (*credential.Key, error) {
	text, err := keyText(file)
	if err != nil {
		return nil, err
	}
	return credential.Parse(text)
}

// keyText returns the content of a file with a key.
func keyText(file string) (string, error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", withoutName(err)
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("it is no file")
	}
	f, err := os.Open(file)
	if err != nil {
		return "", withoutName(err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, credential.MaxText+1))
	if err != nil {
		return "", withoutName(err)
	}
	if len(text) > credential.MaxText {
		return "", fmt.Errorf("it is larger than %d bytes", credential.MaxText)
	}
	return string(text), nil
}

// withoutName returns an error of a file operation without the name, which the caller adds.
func withoutName(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// makeKey makes a file with a new key.
func makeKey(file string) *credential.Key {
	text := credential.NewText()
	if err := writeKey(file, text+"\n"); err != nil {
		return credential.Missing(fmt.Errorf("making the key of credentials: %w", err))
	}
	return readKey(file)
}

// writeKey writes a file with a key durably, under its name only when it is complete. An
// existing file is never replaced.
func writeKey(file, text string) (err error) {
	temp := filepath.Join(filepath.Dir(file), "."+filepath.Base(file)+".new")
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temp) // it was made here
		}
	}()
	_, err = f.WriteString(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is there already", file)
	}
	if err := os.Rename(temp, file); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	_ = dir.Sync() // some systems cannot
	return dir.Close()
}
