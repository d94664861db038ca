package suite

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	readyTime = 2 * time.Minute  // for a server to say that it is ready
	stopTime  = 30 * time.Second // for it to stop when asked; then it is killed
	clockTick = 10 * time.Millisecond
)

// A process is a server that was started, and its URL.
type process struct {
	cmd   *exec.Cmd
	term  syscall.Signal // asks it to end
	url   string
	began time.Time
	ready time.Duration // from the start to the line with the URL
	done  chan struct{} // closed when it has exited
	err   error         // of its exit; read after done
	log   string        // file with what it wrote to stderr
	wait  sync.WaitGroup
}

// start starts a process and waits for a line with its URL on stdout. The
// process ends with ctx at the latest.
func start(ctx context.Context, args []string, stdin io.Reader, log string) (*process, error) {
	p, announced, err := spawn(ctx, args, stdin, log)
	if err != nil {
		return nil, err
	}
	timeout := time.NewTimer(readyTime)
	defer timeout.Stop()
	select {
	case a := <-announced:
		p.url, p.ready = a.url, a.time.Sub(p.began)
		return p, nil
	case <-p.done:
		err = fmt.Errorf("%s exited before it was ready: %w\n%s", args[0], p.err, p.logTail())
	case <-timeout.C:
		err = fmt.Errorf("%s was not ready after %v\n%s", args[0], readyTime, p.logTail())
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	_ = p.stop() // the reason is known
	return nil, err
}

// spawn starts a process whose first URL on stdout is announced.
func spawn(ctx context.Context, args []string, stdin io.Reader, log string) (*process, <-chan announcement, error) {
	return spawnAs(ctx, args, nil, syscall.SIGTERM, stdin, log)
}

// spawnAs starts a process as another user, that ends at the signal term. The process
// leads a group, so that what it starts can be ended with it.
func spawnAs(
	ctx context.Context, args []string, user *syscall.Credential, term syscall.Signal, stdin io.Reader, log string,
) (*process, <-chan announcement, error) {
	logFile, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = logFile.Close() }() // the process has its own handle
	out := &announcer{found: make(chan announcement, 1)}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = stdin, out, logFile, environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user, Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(term) }
	cmd.WaitDelay = stopTime
	p := &process{cmd: cmd, term: term, done: make(chan struct{}), log: log}
	p.began = time.Now()
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	p.wait.Go(func() {
		p.err = cmd.Wait()
		close(p.done)
	})
	return p, out.found, nil
}

// environment returns the environment of the processes. The variables with which a server
// is configured are left out: with them it would fill the data directory of whoever
// measures.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "TIDINGS_") })
}

// stop asks the process to end, waits, and kills it if it does not.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(p.term) // it may have ended
	timeout := time.NewTimer(stopTime)
	defer timeout.Stop()
	var err error
	select {
	case <-p.done:
	case <-timeout.C:
		err = fmt.Errorf("%s did not stop within %v", p.cmd.Args[0], stopTime)
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	}
	p.wait.Wait()
	return err
}

// kill ends the process without asking, and waits until it has ended.
func (p *process) kill() error {
	err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	p.wait.Wait()
	return err
}

// cpu returns the processor time of the process, to a clock tick; 0 if it has ended.
func (p *process) cpu() time.Duration {
	b, err := os.ReadFile(p.proc("stat"))
	if err != nil {
		return 0
	}
	// The name of the program, in parentheses, may hold anything. utime and
	// stime are fields 14 and 15, proc_pid_stat(5).
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	utime, _ := strconv.ParseInt(fields[11], 10, 64)
	stime, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(utime+stime) * clockTick
}

// rss returns the resident memory in bytes.
func (p *process) rss() (uint64, error) { return p.memory("VmRSS:") }

// peakRSS returns the largest resident memory in bytes since resetPeak.
func (p *process) peakRSS() (uint64, error) { return p.memory("VmHWM:") }

// memory returns a field of proc_pid_status(5) in bytes.
func (p *process) memory(field string) (uint64, error) {
	b, err := os.ReadFile(p.proc("status"))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(b), field)
	var kib uint64
	if _, err := fmt.Sscan(after, &kib); err != nil {
		return 0, fmt.Errorf("%s: no %s", p.proc("status"), field)
	}
	return kib << 10, nil
}

// resetPeak makes peakRSS begin at the present resident memory.
func (p *process) resetPeak() error {
	const peak = "5" // proc_pid_clear_refs(5)
	return os.WriteFile(p.proc("clear_refs"), []byte(peak), 0)
}

func (p *process) proc(file string) string {
	return filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), file)
}

// logTail returns the end of what the process logged.
func (p *process) logTail() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-2000):])
}

// An announcement is the URL that a process prints when it is ready.
type announcement struct {
	url  string
	time time.Time
}

// An announcer takes the output of a process and looks for the first URL.
type announcer struct {
	found chan announcement
	seen  []byte // nil again after the URL was found
	done  bool
}

var announcedURL = regexp.MustCompile(`(https?://[0-9.]+:[0-9]+)[^0-9]`)

func (a *announcer) Write(b []byte) (int, error) {
	if a.done {
		return len(b), nil
	}
	now := time.Now()
	a.seen = append(a.seen, b...)
	if m := announcedURL.FindSubmatch(a.seen); m != nil {
		a.found <- announcement{string(m[1]), now}
		a.seen, a.done = nil, true
	}
	return len(b), nil
}
