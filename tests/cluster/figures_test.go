//go:build unix

package cluster

import (
	"fmt"
	"slices"
	"time"
)

// spread sums up durations for a log line.
func spread(d []time.Duration) string {
	if len(d) == 0 {
		return "none"
	}
	d = slices.Sorted(slices.Values(d))
	at := func(part float64) time.Duration { return d[int(part*float64(len(d)-1))].Round(time.Millisecond) }
	return fmt.Sprintf("p50 %s, p99 %s, max %s", at(0.5), at(0.99), at(1))
}
