//go:build unix

package front

import (
	"errors"
	"syscall"
)

// isBusy tells whether accepting failed because of something that passes.
func isBusy(err error) bool {
	for _, passes := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, passes) {
			return true
		}
	}
	return false
}
