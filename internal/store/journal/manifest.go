package journal

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A backup is a directory with the parts of a data directory as they were at one moment,
// and with a manifest, which is written last: without one a backup is not complete.
const (
	manifestFile   = "manifest.json"
	manifestFormat = 1
)

// A Manifest says what is in a backup.
type Manifest struct {
	Format     int          `json:"format"`
	History    string       `json:"history"`    // of the directory, hexadecimal
	Checkpoint Pos          `json:"checkpoint"` // position of the checkpoint in it; 0: there is none
	Tables     Pos          `json:"tables"`     // position of its tables
	End        Pos          `json:"end"`        // position of the last group in it
	Chain      string       `json:"chain"`      // of that group, hexadecimal
	Second     int64        `json:"second"`     // of that group, Unix time
	Begun      time.Time    `json:"begun"`
	Ended      time.Time    `json:"ended"`
	Files      []BackupFile `json:"files"` // in the order of their names
}

// A BackupFile is a file of a backup.
type BackupFile struct {
	Name   string `json:"name"` // with a slash: log/0000000001
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// Size returns how many bytes the files of the backup have.
func (m *Manifest) Size() (n int64) {
	for _, f := range m.Files {
		n += f.Bytes
	}
	return n
}

// sealedManifest is what the file holds: the manifest, and the checksum of its JSON.
type sealedManifest struct {
	Backup Manifest `json:"backup"`
	SHA256 string   `json:"sha256"`
}

// encode returns the content of the file of a manifest.
func (m *Manifest) encode() ([]byte, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	b, err := json.MarshalIndent(sealedManifest{*m, hex.EncodeToString(sum[:])}, "", "  ")
	return append(b, '\n'), err
}

// maxManifest is more than a manifest has: some 150 bytes for each file.
const maxManifest = 256 << 20

// IsBackup reports whether a directory is a backup, or may become one.
func IsBackup(fsys vfs.FS, dir string) (bool, error) {
	for _, name := range []string{manifestFile, manifestFile + tempSuffix} {
		if _, err := fsys.Stat(fsys.PathJoin(dir, name)); err == nil {
			return true, nil
		} else if !isNotExist(err) {
			return false, err
		}
	}
	return false, nil
}

// ReadManifest reads the manifest of a backup. It is a *Damage if a byte is not as it was
// written.
func ReadManifest(fsys vfs.FS, dir string) (m Manifest, err error) {
	name := fsys.PathJoin(dir, manifestFile)
	f, err := fsys.Open(name)
	if isNotExist(err) {
		return m, fmt.Errorf("%s is no complete backup: it has no %s", dir, manifestFile)
	}
	if err != nil {
		return m, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxManifest))
	if err != nil {
		return m, err
	}
	var version struct {
		Backup struct {
			Format int `json:"format"`
		} `json:"backup"`
	}
	if err := json.Unmarshal(text, &version); err != nil {
		return m, &Damage{name, -1, err.Error()}
	}
	var sealed sealedManifest
	err = json.Unmarshal(text, &sealed)
	// The text is one that this program writes, down to the last byte, so it says what
	// its checksum vouches for.
	if again, encodeErr := sealed.Backup.encode(); err != nil || encodeErr != nil || !bytes.Equal(again, text) {
		if n := version.Backup.Format; n > manifestFormat {
			return m, fmt.Errorf("%s has format %d, this program reads %d: use a newer program", name, n, manifestFormat)
		}
		return m, &Damage{name, -1, "it is not as it was written"}
	}
	if n := sealed.Backup.Format; n != manifestFormat {
		return m, fmt.Errorf("%s has format %d, this program reads %d", name, n, manifestFormat)
	}
	return sealed.Backup, nil
}

// VerifyBackup returns the manifest of a backup, and reports the files that differ from what
// it says. It reads one file after the other and changes nothing. An error is that there
// is no good manifest, or that ctx ended.
func VerifyBackup(ctx context.Context, fsys vfs.FS, dir string, wrong func(file, what string), progress func(done, total int64)) (Manifest, error) {
	fsys = cmp.Or[vfs.FS](fsys, vfs.Default)
	m, err := ReadManifest(fsys, dir)
	if err != nil {
		return m, err
	}
	c := &copier{ctx: ctx, fs: fsys, total: m.Size(), progress: progress}
	listed := map[string]bool{}
	for _, f := range m.Files {
		listed[f.Name] = true
		name := fsys.PathJoin(dir, f.Name)
		sum, size, err := c.sum(name)
		switch {
		case ctx.Err() != nil:
			return m, context.Cause(ctx)
		case isNotExist(err):
			wrong(name, "the file is missing")
		case err != nil:
			wrong(name, fmt.Sprintf("it cannot be read: %v", err))
		case size != f.Bytes:
			wrong(name, fmt.Sprintf("it has %d bytes, and had %d when it was written", size, f.Bytes))
		case sum != f.SHA256:
			wrong(name, "its checksum is wrong: bytes have changed")
		}
	}
	for _, part := range []string{tablesDir, logDir, checkpointDir} {
		names, err := fsys.List(fsys.PathJoin(dir, part))
		if err != nil {
			wrong(fsys.PathJoin(dir, part), fmt.Sprintf("it cannot be read: %v", err))
			continue
		}
		slices.Sort(names)
		for _, name := range names {
			if name != "LOCK" && !isForeign(name) && !listed[part+"/"+name] {
				wrong(fsys.PathJoin(dir, part, name), "it is no file of the backup")
			}
		}
	}
	return m, nil
}

// ReadBackup returns the manifest of a backup whose files are all as they were written, or an
// error that names those that are not.
func ReadBackup(ctx context.Context, fsys vfs.FS, dir string, progress func(done, total int64)) (Manifest, error) {
	var damage []error
	more := 0
	m, err := VerifyBackup(ctx, fsys, dir, func(file, what string) {
		if len(damage) < maxDamage {
			damage = append(damage, &Damage{file, -1, what})
		} else {
			more++
		}
	}, progress)
	if more > 0 {
		damage = append(damage, fmt.Errorf("and %d more", more))
	}
	return m, errors.Join(append(damage, err)...)
}

// maxDamage is how many files an error names.
const maxDamage = 20

// copier copies and reads files piece by piece, no faster than its pace.
type copier struct {
	ctx      context.Context //nolint:containedctx // it lives as long as one call that has the context
	fs       vfs.FS
	pace     int64 // bytes a second; 0: as fast as it can
	total    int64
	done     int64
	start    time.Time
	progress func(done, total int64) // may be nil
	buf      []byte
}

// copy copies the first bytes of a file into a new one, durably, and returns its checksum.
func (c *copier) copy(from, to string, size int64) (sum string, err error) {
	in, err := c.fs.Open(from, vfs.SequentialReadsOption)
	if err != nil {
		return "", err
	}
	defer in.Close()
	out, err := c.fs.Create(to, vfs.WriteCategoryUnspecified)
	if err != nil {
		return "", err
	}
	synced := vfs.NewSyncingFile(out, vfs.SyncingFileOptions{BytesPerSync: checkpointPiece})
	sum, n, err := c.read(io.LimitReader(in, size), synced)
	if err == nil && n != size {
		err = fmt.Errorf("%s has %d bytes, it had %d", from, n, size)
	}
	if err == nil {
		err = synced.Sync()
	}
	return sum, errors.Join(err, out.Close())
}

// sum returns checksum and size of a file.
func (c *copier) sum(name string) (sum string, size int64, err error) {
	in, err := c.fs.Open(name, vfs.SequentialReadsOption)
	if err != nil {
		return "", 0, err
	}
	defer in.Close()
	return c.read(in, io.Discard)
}

func (c *copier) read(in io.Reader, out io.Writer) (sum string, size int64, err error) {
	if c.buf == nil {
		c.buf, c.start = make([]byte, checkpointPiece), time.Now()
	}
	hash := sha256.New()
	for {
		if c.ctx.Err() != nil {
			return "", size, context.Cause(c.ctx)
		}
		n, err := in.Read(c.buf)
		_, _ = hash.Write(c.buf[:n]) // never fails; before the file, which may spoil what it is given
		if _, err := out.Write(c.buf[:n]); err != nil {
			return "", size, err
		}
		size += int64(n)
		c.advance(int64(n))
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(hash.Sum(nil)), size, nil
		}
		if err != nil {
			return "", size, err
		}
	}
}

// advance notes that bytes are done, and waits if they were done too soon.
func (c *copier) advance(n int64) {
	c.done += n
	if c.progress != nil {
		c.progress(c.done, c.total)
	}
	if c.pace == 0 {
		return
	}
	if early := time.Duration(float64(c.done)/float64(c.pace)*float64(time.Second)) - time.Since(c.start); early > time.Millisecond {
		select {
		case <-time.After(early):
		case <-c.ctx.Done():
		}
	}
}
