package outlet

import (
	"syscall"
	"unsafe"
)

// WaitReadable returns once there is something to read, or the socket is at its end or fails; at once if it can't be waited
// for. It needs 150 bytes of stack less than a read that waits, which is what keeps an idle reader's stack at its smallest.
func (o *Outlet) WaitReadable() {
	if o.raw != nil {
		_ = o.raw.Read(readable) // the read that follows has the same error
	}
}

// readable peeks. It must not have a large frame, which [syscall.Recvfrom] has.
func readable(fd uintptr) bool {
	var b byte
	_, _, err := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b)), 1,
		syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
	return err != syscall.EAGAIN
}
