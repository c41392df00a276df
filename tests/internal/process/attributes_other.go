//go:build !linux

package process

import "syscall"

// attributes are none: only Linux ends a process with the one that started it. Elsewhere they share a process group.
func attributes() *syscall.SysProcAttr { return nil }
