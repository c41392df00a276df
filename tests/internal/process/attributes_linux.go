package process

import "syscall"

// attributes lets the kernel end the process when the one that started it dies in whatever way.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
