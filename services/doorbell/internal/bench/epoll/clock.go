//go:build linux

package epoll

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// A clock that all processes of the machine share: CLOCK_MONOTONIC, read through Go's cheaper one.
var (
	began     = time.Now()
	beganMono = func() int64 {
		var t unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
			panic(fmt.Sprintf("CLOCK_MONOTONIC: %v", err)) // Linux always has it
		}
		return t.Nano()
	}()
)

// Now is the time in nanoseconds since some moment that is the same in all processes.
func Now() int64 { return beganMono + int64(time.Since(began)) }
