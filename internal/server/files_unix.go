//go:build unix

package server

import "syscall"

// openFiles returns how many files the process may have open; 0 if it is not known. Go
// raises the limit to the highest that the process may have when it starts.
func openFiles() uint64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return uint64(limit.Cur) //nolint:unconvert // it is signed on some systems
}
