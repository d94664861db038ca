package suite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"tidings/bench/load"
	"tidings/internal/app"
)

// Sizes of the cases about checkpoints, at Scale 1.
const (
	checkpointUsers = 10_000_000
	checkpointApps  = 100
	changedUsers    = 1_000_000
	defaultLog      = 256 * mebi // checkpoint_log of a server that is not told another
)

// memberAttrs is the number of attributes of a user in the cases about checkpoints and
// memory: all but the unique one.
const memberAttrs = 5

// longestTime bounds the time to write the longest log, and the time to write a
// checkpoint.
const longestTime = time.Hour

// checkpointCases measures what a checkpoint costs the changes while it is written, and
// how long a start takes that has a log to read.
func (s *suite) checkpointCases(ctx context.Context) (err error) {
	users := s.scaled(checkpointUsers)
	apps := max(int(checkpointApps*min(s.opts.Scale, 1)), 2)
	perApp := max(users/uint64(apps), 2*batch)
	name := fmt.Sprintf("%s users in %d apps", count(perApp*uint64(apps)), apps)
	offered, err := s.checkpointsOffered(ctx)
	if err != nil {
		return err
	}
	if !offered {
		s.notOffered("set_attr and remove_attr, 100 users a request, while a checkpoint is written, "+name, duringAim)
		for _, l := range s.logCases() {
			for _, e := range endings {
				s.notOffered(startName(l, e, name), fmt.Sprintf("<= %g s", l.aim))
			}
		}
		return nil
	}
	st, err := s.openWith(ctx, setup{noCheckpoints: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	st.name, st.users = name, perApp
	if err := s.addApps(ctx, st, apps); err != nil {
		return err
	}
	if err := st.client.NameAttrs(ctx, load.TraitNames); err != nil {
		return err
	}
	if err := s.importMembers(ctx, st); err != nil {
		return err
	}
	c, err := s.alternate(ctx, st, batch, load.MemberAttrs())
	if err != nil {
		return err
	}
	if err := s.during(ctx, c, checkpointTask); err != nil {
		return err
	}
	return s.startsWithLog(ctx, c)
}

// addApps creates apps and makes them the targets of a store.
func (s *suite) addApps(ctx context.Context, st *store, n int) error {
	s.logf("creating %s apps", count(uint64(n)))
	var wait sync.WaitGroup
	const helpers = 8
	errs := make([]error, helpers)
	for h := range helpers {
		wait.Go(func() {
			for i := h; i < n && errs[h] == nil; i += helpers {
				errs[h] = st.control(ctx, "app/create", app.Declaration{
					ID: uint32(sdkAppID + 1 + i), SecretKey: &st.secret, Admins: []string{identifier}, Limits: app.Limits{"default": 0},
				}, nil)
			}
		})
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	st.targets = nil
	for i := range n {
		t := s.target(st, uint32(sdkAppID+1+i))
		t.URL = st.url
		st.targets = append(st.targets, t)
	}
	st.client.Close()
	client, err := load.DialAll(ctx, st.targets, s.opts.Connections)
	if err != nil {
		return err
	}
	st.client = client
	return nil
}

// importMembers imports the same population into each app of a store.
func (s *suite) importMembers(ctx context.Context, st *store) error {
	file := filepath.Join(s.dir, "users.ndjson")
	if err := s.writePopulation(ctx, file, st.users, memberAttrs); err != nil {
		return err
	}
	logged := time.Now()
	for i, t := range st.targets {
		if err := runProgram(ctx, st.importArgs(t.SDKAppID, file)); err != nil {
			return fmt.Errorf("import: %w", err)
		}
		if time.Since(logged) > 5*time.Second {
			logged = time.Now()
			s.logf("%s: imported %d of %d apps", st.name, i+1, len(st.targets))
		}
	}
	s.logf("%s: imported", st.name)
	return errors.Join(os.Remove(file), s.settle(ctx, st.process))
}

// A logCase is a start with a log to read.
type logCase struct {
	name  string
	aim   float64                                                      // seconds
	write func(ctx context.Context, c *changes, done checkpoint) error // the log after the checkpoint
}

// logCases returns the logs that starts are measured with.
func (s *suite) logCases() []logCase {
	return []logCase{
		{fmt.Sprintf("%s changed since the checkpoint", count(s.scaled(changedUsers))), 5, s.changeSome},
		{"the longest log", 15, s.changeLongest},
	}
}

// An ending is a way to end a server before its start is measured.
type ending struct {
	name string
	end  func(*process) error
}

var endings = []ending{{"stop", (*process).stop}, {"kill -9", (*process).kill}}

func startName(l logCase, e ending, users string) string {
	return fmt.Sprintf("start after %s, %s, %s", e.name, users, l.name)
}

// startsWithLog measures starts after a stop and after a kill.
func (s *suite) startsWithLog(ctx context.Context, c *changes) error {
	for _, l := range s.logCases() {
		if err := s.writeLog(ctx, c, l); err != nil {
			return err
		}
		long, err := c.logBytes(ctx)
		if err != nil {
			return err
		}
		for _, e := range endings {
			var took []float64
			for range s.opts.Rounds {
				// A stop may have written a checkpoint.
				size, err := c.logBytes(ctx)
				if err == nil && size < long*9/10 {
					err = s.writeLog(ctx, c, l)
				}
				if err != nil {
					return err
				}
				c.client.Close()
				if err := e.end(c.process); err != nil {
					return err
				}
				if err := s.start(ctx, c.store); err != nil {
					return err
				}
				took = append(took, c.ready.Seconds())
			}
			s.add(Row{
				Case: startName(l, e, c.name), Ours: fmt.Sprintf("%.2f s, %.0f MB of log", median(took), long/mebi),
				Baseline: "-", Ratio: "-", Aim: fmt.Sprintf("<= %g s", l.aim), Met: median(took) <= l.aim,
			})
		}
	}
	return nil
}

// writeLog writes a checkpoint, then a log.
func (s *suite) writeLog(ctx context.Context, c *changes, l logCase) error {
	done, err := c.checkpoint(ctx)
	if err != nil {
		return err
	}
	s.logf("checkpoint of %.0f MB; writing the log: %s", done.Bytes/mebi, l.name)
	if err := l.write(ctx, c, done); err != nil {
		return err
	}
	return s.settle(ctx, c.process)
}

func (s *suite) changeSome(ctx context.Context, c *changes, _ checkpoint) error {
	_, err := c.run(ctx, load.Options{Duration: longestTime, Requests: s.scaled(changedUsers) / batch})
	return err
}

// changeLongest makes the log as long as it may become. A checkpoint is due when the log
// is half as long as the last checkpoint, or as long as checkpoint_log, and until the
// checkpoint is complete the log may grow as much again.
func (s *suite) changeLongest(ctx context.Context, c *changes, done checkpoint) error {
	goal := 2 * max(done.Bytes/2, defaultLog*min(s.opts.Scale, 1))
	began := time.Now()
	logged := began
	for {
		size, err := c.logBytes(ctx)
		if err != nil {
			return err
		}
		if size >= goal {
			return nil
		}
		if time.Since(began) > longestTime {
			return fmt.Errorf("the log has %.0f of %.0f bytes after %v of changes", size, goal, longestTime)
		}
		if time.Since(logged) > 5*time.Second {
			logged = time.Now()
			s.logf("%.0f of %.0f MB of log", size/mebi, goal/mebi)
		}
		if _, err := c.run(ctx, load.Options{Duration: min(s.opts.Round, time.Second)}); err != nil {
			return err
		}
	}
}

// logBytes returns the bytes of log since the last checkpoint.
func (st *store) logBytes(ctx context.Context) (float64, error) {
	m, err := st.metrics(ctx)
	if err != nil {
		return 0, err
	}
	n, exists := m["tidings_log_bytes"]
	if !exists {
		return 0, errors.New("the server has checkpoints and no metric tidings_log_bytes")
	}
	return n, nil
}

// A checkpoint is the answer to store/checkpoint.
type checkpoint struct {
	Position uint64  `json:"position"`
	Bytes    float64 `json:"bytes"`
	Seconds  float64 `json:"seconds"`
}

// checkpoint writes a checkpoint, and returns when it is complete.
func (st *store) checkpoint(ctx context.Context) (done checkpoint, err error) {
	err = st.control(ctx, opCheckpoint, struct{}{}, &done)
	return done, err
}

// opCheckpoint is the operation that writes a checkpoint.
const opCheckpoint = "store/checkpoint"

// notOffered adds a row for a case that the server, an older one, does not have.
func (s *suite) notOffered(name, aim string) {
	s.add(Row{Case: name, Ours: "not offered", Baseline: "-", Ratio: "-", Aim: aim})
}
