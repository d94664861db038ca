package suite

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"tidings/bench/load"
	"tidings/internal/usersig"
)

// A store is a running server with its data.
type store struct {
	*process
	name    string
	config  string
	program string
	files   int           // setup.openFiles
	secret  string        // key of all apps
	targets []load.Target // apps with users
	client  *load.Client  // of the targets
	users   uint64        // of each of the targets
	cursor  uint64        // where in the order of users the next removal begins
}

// A setup describes a store to open.
type setup struct {
	users         uint64 // that load.Fill gives to the app sdkAppID
	program       string // default Options.Program
	noCheckpoints bool   // no checkpoint is written unless a case asks for it
	openFiles     int    // limit of open files of the server; 0: that of this process
	config        string // YAML lines of its own
}

// open starts a server on a fresh directory and stores users.
func (s *suite) open(ctx context.Context, users uint64) (*store, error) {
	return s.openWith(ctx, setup{users: users})
}

// openWith starts a server on a fresh directory.
func (s *suite) openWith(ctx context.Context, conf setup) (*store, error) {
	lines := s.opts.Config + "\n" + conf.config
	if conf.noCheckpoints {
		offered, err := s.checkpointsOffered(ctx)
		if err != nil {
			return nil, err
		}
		if offered {
			lines += "\ncheckpoint_log: " + longLog
		}
	}
	s.stores++
	dir := filepath.Join(s.dir, fmt.Sprint("store", s.stores))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	var secret [32]byte
	_, _ = rand.Read(secret[:])
	st := &store{
		name: count(conf.users) + " users", config: filepath.Join(dir, "config.yaml"), program: cmp.Or(conf.program, s.opts.Program),
		files: conf.openFiles, secret: hex.EncodeToString(secret[:]), users: conf.users,
	}
	config := fmt.Sprintf(`listen: 127.0.0.1:0
metrics_listen: 127.0.0.1:0
data: %s
apps:
  - sdkappid: %d
    name: bench
    secret_key: %s
    admins: [%s]
    limits: {default: 0}
%s
`, st.data(), sdkAppID, st.secret, identifier, lines)
	if err := os.WriteFile(st.config, []byte(config), 0o600); err != nil {
		return nil, err
	}
	st.targets = []load.Target{s.target(st, sdkAppID)}
	if err := s.start(ctx, st); err != nil {
		return nil, err
	}
	if conf.users == 0 {
		return st, nil
	}
	if err := s.fill(ctx, st); err != nil {
		return nil, errors.Join(err, st.close())
	}
	return st, nil
}

// target returns an app of a store.
func (s *suite) target(st *store, app uint32) load.Target {
	return load.Target{SDKAppID: app, Identifier: identifier, Ticket: usersig.Make(st.secret, app, identifier, time.Now(), usersig.DefaultLife, nil)}
}

// fill gives each target of a store its users.
func (s *suite) fill(ctx context.Context, st *store) error {
	last := time.Now()
	err := load.FillAll(ctx, st.targets, st.users, func(done, total uint64) {
		if time.Since(last) > 5*time.Second {
			last = time.Now()
			s.logf("%s: filled %d%%", st.name, 100*done/total)
		}
	})
	if err := cmp.Or(err, s.settle(ctx, st.process)); err != nil {
		return err
	}
	s.logf("%s: filled", st.name)
	return nil
}

// start starts, or after stop starts again, the server of a store.
func (s *suite) start(ctx context.Context, st *store) error {
	args := []string{st.program, "serve", "--config", st.config}
	if st.files > 0 {
		args = append([]string{"/bin/sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, st.files)}, args...)
	}
	p, err := start(ctx, args, nil, filepath.Join(filepath.Dir(st.config), "log"))
	if err != nil {
		return err
	}
	st.process = p
	for i := range st.targets {
		st.targets[i].URL = p.url
	}
	client, err := load.DialAll(ctx, st.targets, s.opts.Connections)
	if err != nil {
		return errors.Join(err, p.stop())
	}
	st.client = client // after an error the client of before stays, for close
	return nil
}

// data returns the data directory of the server.
func (st *store) data() string { return filepath.Join(filepath.Dir(st.config), "data") }

// close stops the server and deletes its data.
func (st *store) close() error {
	if st.client != nil {
		st.client.Close()
	}
	return errors.Join(st.stop(), os.RemoveAll(filepath.Dir(st.config)))
}

// remove removes attributes from users, n a request, for the time d. Every request must
// change every user in it. So remove works in stretches of at most window users: after
// each stretch its users get the attributes back, off the clock.
func (st *store) remove(ctx context.Context, n int, window uint64, d time.Duration) (measured, error) {
	var sum measured
	for limit := time.Now().Add(10*d + time.Minute); sum.Elapsed < d && time.Now().Before(limit); {
		u := load.Shuffled(st.users, 1).From(st.cursor)
		before := st.cpu()
		r, err := st.client.Run(ctx, load.RemoveAttr(u, n), load.Options{
			Requests: min(window, st.users) / uint64(n), Duration: d - sum.Elapsed,
		})
		if err := cmp.Or(err, r.Err()); err != nil {
			return sum, fmt.Errorf("remove_attr: %w", err)
		}
		sum.cpu += st.cpu() - before
		sum.Add(r)
		if err := st.client.Restore(ctx, u, r.Users); err != nil {
			return sum, err
		}
		st.cursor += r.Users
	}
	return sum, nil
}
