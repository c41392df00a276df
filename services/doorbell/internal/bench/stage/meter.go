//go:build linux

package stage

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Memory is the resident memory of processes in bytes: what they share (nginx's workers share memory) counts once.
func Memory(pids []int) (int64, error) {
	name := "Rss"
	if len(pids) > 1 {
		name = "Pss"
	}
	var sum int64
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return 0, fmt.Errorf("memory: %w", err)
		}
		found := regexp.MustCompile(`(?m)^` + name + `:\s+(\d+) kB$`).FindSubmatch(b)
		if found == nil {
			return 0, fmt.Errorf("memory: process %d has no %s", pid, name)
		}
		kib, err := strconv.ParseInt(string(found[1]), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("memory: %w", err)
		}
		sum += kib << 10
	}
	return sum, nil
}

// CPU is the time that processes have had on processors, in the kernel and outside, to the nanosecond: from the
// scheduler, not from the ticks of /proc/PID/stat. Threads that have ended count, children don't.
func CPU(pids []int) (time.Duration, error) {
	var sum time.Duration
	for _, pid := range pids {
		var t unix.Timespec
		const scheduler = 2 // CPUCLOCK_SCHED, see clock_getcpuclockid
		if err := unix.ClockGettime(int32(^pid<<3|scheduler), &t); err != nil {
			return 0, fmt.Errorf("the CPU time of process %d: %w", pid, err)
		}
		sum += time.Duration(t.Nano())
	}
	return sum, nil
}

// children are the processes that a process has started: of its main thread, which is all that nginx has.
func children(pid int) ([]int, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil, fmt.Errorf("children: %w", err)
	}
	var found []int
	for text := range strings.FieldsSeq(string(b)) {
		child, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("children: %w", err)
		}
		found = append(found, child)
	}
	return found, nil
}
