//go:build unix

package gateway

import "syscall"

// Of the file descriptors that the process may have, so many are kept for what is no connection: the bus, requests that don't
// become one, logs.
const (
	spareLeast   = 64
	sparePortion = 20 // one in so many
)

// descriptors is how many connections the process may have at most. Go has raised the soft limit to the hard one.
func descriptors() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return unknownDescriptors
	}
	const most = 10_000_000 // there is no limit
	n := int(min(limit.Cur, most))
	return max(1, n-max(spareLeast, n/sparePortion))
}
