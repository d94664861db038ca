//go:build !unix

package journal

import "io/fs"

// inode returns the inode number of a file; 0 if it has none.
func inode(fs.FileInfo) uint64 { return 0 }
