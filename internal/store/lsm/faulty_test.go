package lsm_test

import (
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// inLog reports whether a file is a segment of the log.
func inLog(name string) bool { return strings.Contains(name, "/log/") }

// vfsNothing is a power loss that keeps nothing that was not synced.
var vfsNothing = vfs.CrashCloneCfg{}
