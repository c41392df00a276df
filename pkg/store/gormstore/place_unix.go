//go:build unix

package gormstore

import (
	"io/fs"
	"strconv"
	"syscall"
)

// nameOf is what the file system calls the file: another name than before is another file, such as one that was copied back. The
// device is left out, because it may be called otherwise after a restart of the machine.
func nameOf(info fs.FileInfo) string {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return strconv.FormatUint(uint64(stat.Ino), 10) //nolint:unconvert // its size differs between systems
}
