package server_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tidings/client"
	"tidings/internal/admin"
	"tidings/internal/control"
	"tidings/internal/transfer"
)

const (
	crowdWriters = 3
	crowdBlocks  = 12  // of a writer
	crowdUsers   = 100 // of a block; one request changes or reads them all
	importUsers  = 3000
)

// TestKillBusy kills the real server while it is busy with more than requests:
// checkpoints are written all the time, users are imported, and the server starts.
// Whatever was answered OK is there after the next start that is left to end, each
// request and each batch of an import whole, and a check finds nothing.
func TestKillBusy(t *testing.T) {
	rounds := killRounds(t, 3)
	b := &busy{killer: newKiller(t, "checkpoint_log: 1MiB\n")}
	for range rounds {
		b.round()
	}
	cmd, url := b.start()
	b.compareAll(url)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after an orderly stop: %v", err)
	}
	b.check()
	t.Logf("%d rounds, %d requests and %d imports answered, %d checkpoints", rounds, b.answered, b.imports, b.checkpoints.Load())
}

type busy struct {
	*killer
	sent, acked [crowdWriters][crowdBlocks]int // stamps of each block
	imports     int                            // that were answered
	begun       int                            // imports; the last may not be answered
	checkpoints atomic.Int64
}

// round serves under load, kills, and kills some starts.
func (b *busy) round() {
	t := b.t
	cmd, url := b.start()
	c := b.compareAll(url)
	if t.Failed() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		t.FailNow()
	}
	var wg sync.WaitGroup
	for w := range killWorkers {
		wg.Go(func() { b.work(c, w) })
	}
	for w := range crowdWriters {
		wg.Go(func() { b.crowd(c, w) })
	}
	ctx, cancel := context.WithCancel(t.Context())
	wg.Go(func() { b.checkpoint(ctx) })
	wg.Go(func() { b.bulk(ctx) })
	time.Sleep(200*time.Millisecond + time.Duration(b.r.IntN(500))*time.Millisecond) // any moment will do
	kill(t, cmd)
	cancel()
	wg.Wait()
	_ = cmd.Wait()
	b.check()
	for range b.r.IntN(4) {
		cmd, stdout := b.launch()
		time.Sleep(time.Duration(b.r.IntN(60)) * time.Millisecond) // somewhere in its start
		kill(t, cmd)
		_, _ = io.Copy(io.Discard, stdout)
		_ = cmd.Wait()
		b.check()
	}
}

func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func crowdBlock(w, block int) []string {
	names := make([]string, crowdUsers)
	for i := range names {
		names[i] = fmt.Sprintf("crowd-%d-%d-%d", w, block, i)
	}
	return names
}

// crowd changes one block of users after the other.
func (b *busy) crowd(c *client.Client, w int) {
	for n := 0; ; n++ {
		block := n % crowdBlocks
		stamp := b.acked[w][block] + 1
		b.sent[w][block] = stamp
		var users []client.UserAttrs
		for _, name := range crowdBlock(w, block) {
			attrs := map[string]string{}
			for i := range killSlots {
				attrs[fmt.Sprintf("attr%d", i)] = crowdValue(stamp)
			}
			users = append(users, client.UserAttrs{Account: name, Attrs: attrs})
		}
		if err := c.SetAttrs(context.Background(), users); err != nil {
			if refused, ok := errors.AsType[*client.Error](err); ok {
				b.t.Errorf("block %d of writer %d: %v", block, w, refused)
			}
			return
		}
		b.acked[w][block] = stamp
	}
}

func crowdValue(stamp int) string { return fmt.Sprintf("%d%s", stamp, strings.Repeat(".", 40)) }

// checkpoint writes checkpoints until the server is gone.
func (b *busy) checkpoint(ctx context.Context) {
	c, err := control.Dial(ctx, b.data())
	if err != nil {
		return
	}
	defer c.Close()
	for c.Call(ctx, string(admin.Checkpoint), struct{}{}, nil) == nil {
		b.checkpoints.Add(1)
		time.Sleep(time.Millisecond) // between two is when the log begins a segment
	}
}

// importName is a user of an import: each other import is of the same users.
func importName(n, i int) string { return fmt.Sprintf("import-%d-%04d", n%2, i) }

// bulk imports users until the server is gone.
func (b *busy) bulk(ctx context.Context) {
	c, err := control.Dial(ctx, b.data())
	if err != nil {
		return
	}
	defer c.Close()
	for {
		b.begun++
		var chunk bytes.Buffer
		for i := range importUsers {
			fmt.Fprintf(&chunk, `{"To_Account":%q,"Attrs":{"attr0":"%d"},"Nick":"nick %d"}`+"\n", importName(b.begun, i), b.begun, i)
		}
		answer, err := admin.ImportUsers.Open(ctx, c, transfer.Chunk{App: killApp}, chunk.Bytes())
		if err != nil {
			return
		}
		var result transfer.Result
		err = json.NewDecoder(answer).Decode(&result)
		_ = answer.Close()
		if err != nil {
			return
		}
		if result.Users != importUsers {
			b.t.Errorf("import %d: %+v", b.begun, result)
		}
		b.imports = b.begun
	}
}

// compareAll looks at what the last round left.
func (b *busy) compareAll(url string) *client.Client {
	t := b.t
	t.Helper()
	c, err := client.New(url, killApp, killSecret, client.WithRetry(client.Retry{Attempts: 1}))
	if err != nil {
		t.Fatal(err)
	}
	b.compare(c)
	for w := range crowdWriters {
		for block := range crowdBlocks {
			got, err := read(c, crowdBlock(w, block))
			if err != nil {
				t.Fatal(err)
			}
			stamp := b.acked[w][block]
			if sent := b.sent[w][block]; got[0] == crowdValue(sent) {
				stamp = sent
			}
			if want := crowdValue(stamp); !same(got) || got[0] != want && (stamp > 0 || got[0] != "-") {
				t.Errorf("block %d of writer %d is %.200q, want stamp %d, or %d", block, w, got, b.acked[w][block], b.sent[w][block])
			}
			b.acked[w][block], b.sent[w][block] = stamp, stamp
		}
	}
	// The last import that was answered is there. Of the one that was not, a first part.
	for n := max(1, b.imports); n <= b.begun; n++ {
		got := imported(t, c, n)
		done := 0
		for done < len(got) && got[done] == fmt.Sprint(n) {
			done++
		}
		before := "-"
		if n > 2 {
			before = fmt.Sprint(n - 2)
		}
		for i, v := range got[done:] {
			if n <= b.imports || v != before {
				t.Errorf("import %d, answered: %t, has %d users; user %d has %q", n, n <= b.imports, done, done+i, v)
				break
			}
		}
	}
	b.begun = b.imports
	return c
}

// imported returns the value of each user of an import; "-" if it does not exist.
func imported(t *testing.T, c *client.Client, n int) (values []string) {
	t.Helper()
	for i := 0; i < importUsers; i += crowdUsers {
		var names []string
		for j := range crowdUsers {
			names = append(names, importName(n, i+j))
		}
		users, err := c.Attrs(context.Background(), names)
		if _, missing := errors.AsType[*client.AccountErrors](err); err != nil && !missing {
			t.Fatal(err)
		}
		found := map[string]string{}
		for _, u := range users {
			found[u.Account] = u.Attrs["attr0"]
		}
		for _, name := range names {
			values = append(values, cmp.Or(found[name], "-"))
		}
	}
	return values
}
