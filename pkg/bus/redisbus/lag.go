package redisbus

import (
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
)

var _ bus.Lagger = (*Bus)(nil)

// lag is how long pulses take on one line, in moments as Bus.now tells them.
type lag struct {
	last atomic.Int64 // how long the last one that came back took
	out  atomic.Int64 // when the first one was sent since one came back; 0: none is out
}

// pulse gives a message for the line to send to itself now.
func (g *lag) pulse(now int64) string {
	g.out.CompareAndSwap(0, now)
	return pulse + strconv.FormatInt(now, 10)
}

// came takes a message on the line's own channel, if it is a pulse.
func (g *lag) came(payload string, now int64) {
	text, ok := strings.CutPrefix(payload, pulse)
	if !ok {
		return
	}
	if sent, err := strconv.ParseInt(text, 10, 64); err == nil && sent <= now {
		g.last.Store(now - sent)
		g.out.Store(0)
	}
}

// Lag implements bus.Lagger. It is measured every ProbeEvery.
func (b *Bus) Lag() time.Duration {
	var most int64
	for _, l := range b.lines {
		most = max(most, l.lag.last.Load())
		if out := l.lag.out.Load(); out != 0 {
			most = max(most, b.now()-out)
		}
	}
	return time.Duration(most)
}
