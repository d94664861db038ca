package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tidings/client"
	"tidings/internal/admin"
	"tidings/internal/control"
	"tidings/internal/server"
	"tidings/internal/store/lsm"
)

// TestKillBackup kills the real server while it is under load and backed up all the time.
// Each backup that was answered restores to what its users were at some moment while it was
// made; one that was not is complete or refused. A start leaves nothing of those that the
// kill cut off.
func TestKillBackup(t *testing.T) {
	rounds := killRounds(t, 3)
	b := &backedUp{killer: newKiller(t, "checkpoint_log: 1MiB\n")}
	for range rounds {
		b.round()
	}
	cmd, url := b.start()
	if _, err := os.Stat(filepath.Join(b.data(), "backup.tmp")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after a start: %v", err)
	}
	c, err := client.New(url, killApp, killSecret)
	if err != nil {
		t.Fatal(err)
	}
	b.compare(c)
	kill(t, cmd)
	_ = cmd.Wait()
	t.Logf("%d rounds, %d requests answered, %d backups", rounds, b.answered, b.made)
	if b.made == 0 {
		t.Error("no backup was made")
	}
}

type backedUp struct {
	*killer
	made int
}

// A made is a backup, and what the users of each worker may be in it.
type made struct {
	dir      string
	possible [killWorkers][]string
	answered bool
}

func (b *backedUp) round() {
	t := b.t
	cmd, url := b.start()
	c, err := client.New(url, killApp, killSecret, client.WithRetry(client.Retry{Attempts: 1}))
	if err != nil {
		t.Fatal(err)
	}
	b.compare(c)
	var wg sync.WaitGroup
	for w := range killWorkers {
		wg.Go(func() { b.work(c, w) })
	}
	var list []*made
	wg.Go(func() { list = b.backups() })
	time.Sleep(300*time.Millisecond + time.Duration(b.r.IntN(300))*time.Millisecond) // any moment will do
	kill(t, cmd)
	wg.Wait()
	_ = cmd.Wait()
	b.check()
	for _, m := range list {
		b.verify(m)
	}
	if t.Failed() {
		t.FailNow()
	}
}

// backups makes backups until the server is gone.
func (b *backedUp) backups() (list []*made) {
	ctx := context.Background()
	c, err := control.Dial(ctx, b.data())
	if err != nil {
		return nil
	}
	defer c.Close()
	for i := 0; ; i++ {
		m := &made{dir: filepath.Join(b.t.TempDir(), fmt.Sprint("backup", i))}
		var done [killWorkers]int // requests that were answered before
		b.mu.Lock()
		for w := range done {
			if done[w] = len(b.own[w]); done[w] > 0 && b.own[w][done[w]-1].end.IsZero() {
				done[w]--
			}
		}
		b.mu.Unlock()
		err := backUp(ctx, c, m.dir)
		b.mu.Lock()
		for w := range done {
			var last *request
			if done[w] > 0 {
				last = b.own[w][done[w]-1]
			}
			m.possible[w] = []string{last.after()}
			for _, q := range b.own[w][done[w]:] {
				m.possible[w] = append(m.possible[w], q.after())
			}
		}
		b.mu.Unlock()
		m.answered = err == nil
		if list = append(list, m); err != nil {
			return list
		}
		b.made++
	}
}

func backUp(ctx context.Context, c admin.Caller, dir string) error {
	answer, err := admin.BackUp.Open(ctx, c, admin.BackupRequest{Dir: dir}, nil)
	if err != nil {
		return err
	}
	defer answer.Close()
	in := json.NewDecoder(answer)
	for {
		var line admin.BackupLine
		if err := in.Decode(&line); err != nil {
			return err
		}
		if line.Backup != nil {
			_, err = io.Copy(io.Discard, in.Buffered())
			return err
		}
	}
}

// verify restores a backup and compares its users.
func (b *backedUp) verify(m *made) {
	t := b.t
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	data := filepath.Join(t.TempDir(), "restored")
	restored, err := server.Restore(t.Context(), m.dir, data, quiet, server.RestoreOptions{})
	if err != nil {
		if m.answered || !strings.Contains(err.Error(), "no complete backup") {
			t.Errorf("backup %+v: %v", m, err)
		}
		return
	}
	s, err := lsm.Open(data, lsm.Options{Logger: quiet})
	if err != nil {
		t.Errorf("backup %+v, restored %+v: %v", m, restored, err)
		return
	}
	defer s.Close()
	for w := range killWorkers {
		users, err := s.Users.Users(t.Context(), killApp, ownUsers(w))
		if err != nil {
			t.Fatal(err)
		}
		var values []string
		for _, u := range users {
			value := "-"
			if u.Exists {
				value = u.Values[0]
			}
			values = append(values, value)
		}
		if !same(values) || !slices.Contains(m.possible[w], values[0]) {
			t.Errorf("backup %+v: users of worker %d are %q", m, w, values)
		}
	}
}
