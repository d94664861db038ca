package control

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"tidings/internal/admin"
	"tidings/internal/store"
)

// TestBackupStream: lines come while the backup is being made, its failure comes after
// them, and a caller that goes away ends it.
func TestBackupStream(t *testing.T) {
	dir, err := os.MkdirTemp("", "control") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	step, ended := make(chan error), make(chan error, 1)
	s := &admin.Service{Backup: func(ctx context.Context, dir string, progress func(done, total int64)) (b store.Backup, err error) {
		defer func() { ended <- err }()
		progress(1, 2)
		select {
		case err = <-step:
		case <-ctx.Done():
			err = ctx.Err()
		}
		return store.Backup{Dir: dir, Bytes: 2}, err
	}}
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: Handler(s)}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	defer func() {
		_ = server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}()
	remote, err := Dial(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer remote.Close()
	for name, c := range map[string]admin.Caller{"remote": remote, "local": Local(s, func() error { return nil })} {
		t.Run(name, func(t *testing.T) {
			begin := func() (io.ReadCloser, *json.Decoder) {
				t.Helper()
				answer, err := admin.BackUp.Open(t.Context(), c, admin.BackupRequest{Dir: "/backup"}, nil)
				if err != nil {
					t.Fatal(err)
				}
				in := json.NewDecoder(answer)
				var line admin.BackupLine
				if err := in.Decode(&line); err != nil || line != (admin.BackupLine{Done: 1, Total: 2}) {
					t.Fatalf("the first line is %+v, %v", line, err)
				}
				return answer, in
			}
			var line admin.BackupLine
			answer, in := begin()
			step <- nil
			if err := in.Decode(&line); err != nil || line.Backup == nil || line.Backup.Dir != "/backup" {
				t.Errorf("the last line is %+v, %v", line, err)
			}
			if _, err := in.Token(); !errors.Is(err, io.EOF) {
				t.Errorf("after the last line: %v", err)
			}
			answer.Close()
			if err := <-ended; err != nil {
				t.Error(err)
			}

			answer, in = begin()
			step <- errors.New("the disk is full")
			if err := in.Decode(&line); err == nil || !strings.Contains(err.Error(), "the disk is full") {
				t.Errorf("a backup that failed: %+v, %v", line, err)
			}
			answer.Close()
			if err := <-ended; err == nil {
				t.Error("the backup did not fail")
			}

			answer, _ = begin()
			answer.Close()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("a backup whose caller went away: %v", err)
			}
		})
	}
	if _, err := admin.BackUp.Open(t.Context(), remote, admin.BackupRequest{Dir: "backup"}, nil); err == nil || !strings.Contains(err.Error(), "no absolute path") {
		t.Errorf("a relative path: %v", err)
	}
}
