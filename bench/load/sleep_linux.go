package load

import (
	"syscall"
	"time"
)

// sleep waits for d to about 0.1 ms. time.Sleep waits in epoll, which counts
// in whole milliseconds, and the lateness would be taken for the server's.
func sleep(d time.Duration) {
	ts := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&ts, nil) // the caller looks at the clock again
}
