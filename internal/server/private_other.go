//go:build !unix

package server

import (
	"fmt"
	"log/slog"
	"os"
)

// makePrivate creates the data directory if it does not exist. Modes mean nothing
// here: the new directory has the permissions of the one above it.
func makePrivate(dir string, _ *slog.Logger) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	return nil
}

// keepPrivate does nothing: modes mean nothing here.
func keepPrivate() {}

// othersCanRead reports nothing: modes mean nothing here.
func othersCanRead(string) bool { return false }

// checkOwner refuses nothing.
func checkOwner(string, int) error { return nil }
