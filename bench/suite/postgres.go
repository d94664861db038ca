package suite

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"tidings/bench/load"
)

// postgresQuestions is the number of questions that PostgreSQL is asked. Each is asked
// twice: the first time reads what it needs into memory.
const postgresQuestions = 20

// postgres compares estimate_audience, over HTTP and with all its clauses, with a
// count of PostgreSQL on the same users: an array of terms with a GIN index.
func (s *suite) postgres(ctx context.Context, st *store) (err error) {
	pg, err := s.openPostgres(ctx)
	if errors.Is(err, exec.ErrNotFound) {
		s.report.Notes = append(s.report.Notes, "PostgreSQL is not installed: counting was not compared with it.")
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pg.close()) }()
	s.logf("filling PostgreSQL")
	if err := pg.fill(ctx, st.users); err != nil {
		return err
	}
	var ours, theirs []float64
	var r ratios
	for i := range uint64(postgresQuestions) {
		q := load.Question5(i)
		if _, _, err := pg.ask(ctx, q); err != nil {
			return err
		}
		want, base, err := pg.ask(ctx, q)
		if err != nil {
			return err
		}
		// The server remembers counts, so other questions make it warm.
		for other := range uint64(5) {
			if _, _, err := st.estimate(ctx, load.Question5(1000+10*i+other)); err != nil {
				return err
			}
		}
		answer, mine, err := st.estimate(ctx, q)
		if err != nil {
			return err
		}
		if m := counted.FindSubmatch(answer); m == nil || string(m[1]) != want {
			return fmt.Errorf("PostgreSQL counts %s, the server answers %s: %s", want, answer, q.Where())
		}
		ours, theirs = append(ours, mine.Seconds()), append(theirs, base.Seconds())
		r = append(r, base.Seconds()/mine.Seconds())
	}
	s.add(Row{
		Case: "estimate_audience, 5 clauses, " + st.name, Ours: fmt.Sprintf("%.1f ms", 1000*median(ours)),
		Baseline: fmt.Sprintf("PostgreSQL, GIN index, warm, %.0f ms", 1000*median(theirs)), Ratio: r.String() + " times faster",
		Aim: ">= 50 times faster", Met: median(r) >= 50,
	})
	return nil
}

// estimate asks the server, and returns its answer and how long it took.
func (st *store) estimate(ctx context.Context, q load.Question) (answer []byte, d time.Duration, err error) {
	began := time.Now()
	answer, err = st.client.Call(ctx, "tidings/estimate_audience", `{"Where":`+strconv.Quote(q.Where())+`}`)
	return answer, time.Since(began), err
}

var counted = regexp.MustCompile(`"Count":([0-9]+)`)

// A postgres is a running PostgreSQL, which can be reached by a unix socket only.
type postgres struct {
	*process
	dir  string
	bin  string
	user *syscall.Credential // that it runs as: it refuses to be root
	psql string
}

// openPostgres makes a database cluster and starts it. The error is
// exec.ErrNotFound if there is no PostgreSQL on this machine.
func (s *suite) openPostgres(ctx context.Context) (pg *postgres, err error) {
	pg = &postgres{dir: filepath.Join(s.dir, "pg")}
	if pg.bin, err = postgresPrograms(); err != nil {
		return nil, err
	}
	if pg.psql, err = exec.LookPath("psql"); err != nil {
		return nil, exec.ErrNotFound
	}
	if err := os.Mkdir(pg.dir, 0o700); err != nil {
		return nil, err
	}
	if os.Getuid() == 0 {
		if err := pg.dropRoot(); err != nil {
			return nil, err
		}
	}
	data := filepath.Join(pg.dir, "data")
	if _, err := pg.run(ctx, nil, filepath.Join(pg.bin, "initdb"), "-D", data, "-U", "bench", "-A", "trust", "--no-sync", "--no-locale", "-E", "UTF8"); err != nil {
		return nil, err
	}
	args := []string{
		filepath.Join(pg.bin, "postgres"), "-D", data, "-k", pg.dir, "-c", "listen_addresses=", "-c", "shared_buffers=2GB",
		"-c", "work_mem=512MB", "-c", "maintenance_work_mem=1GB", "-c", "max_wal_size=8GB", "-c", "fsync=off",
	}
	// SIGINT ends it without waiting for queries.
	pg.process, _, err = spawnAs(ctx, args, pg.user, syscall.SIGINT, nil, filepath.Join(s.dir, "postgres.log"))
	if err != nil {
		return nil, err
	}
	for range 300 {
		if _, err = pg.query(ctx, nil, "SELECT 1"); err == nil {
			return pg, nil
		}
		select {
		case <-pg.done:
			return nil, fmt.Errorf("postgres ended: %w\n%s", pg.err, pg.logTail())
		case <-time.After(100 * time.Millisecond):
		}
	}
	return nil, errors.Join(err, pg.close())
}

// postgresPrograms returns the directory of initdb and postgres.
func postgresPrograms() (string, error) {
	dirs, err := filepath.Glob("/usr/lib/postgresql/*/bin") // Debian, not in PATH
	if err != nil {
		return "", err
	}
	if p, err := exec.LookPath("postgres"); err == nil {
		dirs = append(dirs, filepath.Dir(p))
	}
	slices.Reverse(dirs)
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, "initdb")); err == nil {
			return dir, nil
		}
	}
	return "", exec.ErrNotFound
}

// dropRoot makes the programs run as user postgres, or nobody.
func (pg *postgres) dropRoot() error {
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return err
		}
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return err
	}
	pg.user = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	// That user must be able to enter the directory, and not to read what else is in it.
	return errors.Join(os.Chmod(filepath.Dir(pg.dir), 0o711), os.Chown(pg.dir, int(uid), int(gid)))
}

// close stops the server and deletes its data.
func (pg *postgres) close() error {
	return errors.Join(pg.stop(), os.RemoveAll(pg.dir))
}

// run runs a program to its end and returns its output.
func (pg *postgres) run(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Stdin, cmd.SysProcAttr = pg.dir, stdin, &syscall.SysProcAttr{Credential: pg.user}
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", args[0], err, stderr.String())
	}
	return stdout.String(), nil
}

func (pg *postgres) query(ctx context.Context, stdin io.Reader, commands ...string) (string, error) {
	args := []string{pg.psql, "-h", pg.dir, "-U", "bench", "-d", "postgres", "-XAtq", "-v", "ON_ERROR_STOP=1"}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	return pg.run(ctx, stdin, args...)
}

// fill creates the table of a population.
func (pg *postgres) fill(ctx context.Context, n uint64) error {
	if _, err := pg.query(ctx, nil, "CREATE UNLOGGED TABLE users (id bigint, terms text[])"); err != nil {
		return err
	}
	in, out := io.Pipe()
	var wait sync.WaitGroup
	wait.Go(func() {
		w := bufio.NewWriterSize(out, 1<<20)
		line := make([]byte, 0, 512)
		for m := range load.Member(n) {
			line = m.AppendTerms(line[:0])
			if _, err := w.Write(line); err != nil {
				return // psql is gone
			}
		}
		_ = out.CloseWithError(w.Flush())
	})
	_, err := pg.query(ctx, in, "COPY users FROM STDIN")
	_ = in.Close() // ends the writer, also after an error
	wait.Wait()
	if err != nil {
		return err
	}
	_, err = pg.query(ctx, nil, "CREATE INDEX ON users USING gin (terms)", "VACUUM ANALYZE users")
	return err
}

var timing = regexp.MustCompile(`(?s)^([0-9]+)\nTime: ([0-9.]+) ms`)

// ask counts, and returns how long psql waited for the result.
func (pg *postgres) ask(ctx context.Context, q load.Question) (n string, d time.Duration, err error) {
	out, err := pg.query(ctx, nil, `\timing on`, q.SQL())
	if err != nil {
		return "", 0, err
	}
	m := timing.FindStringSubmatch(out)
	if m == nil {
		return "", 0, fmt.Errorf("psql printed %q", out)
	}
	ms, err := strconv.ParseFloat(m[2], 64)
	return m[1], time.Duration(ms * float64(time.Millisecond)), err
}
