package ratelimit

import (
	"testing"
	"unsafe"
)

// reporting is a limiter whose reports are the test's to send.
func reporting(one Limit) *Limiter {
	l := New(Options{Limits: []Limit{one}, Slots: 1})
	l.shared = &shared{l: l, wake: make(chan struct{}, 1)}
	return l
}

// TestRefundAfterTheReport: a tenth is a tenth, also where all of the request had been reported before it was known.
func TestRefundAfterTheReport(t *testing.T) {
	l := reporting(Limit{Name: "reads", PerSecond: 0.001, Burst: 20}) // each request is due at once
	told := int32(0)
	n := 0
	for ; n < 300 && !l.Take(0, 1).Refused; n++ {
		for _, b := range l.shared.next() {
			told += b.tenths
			l.learn(b.client, int64(told)*l.limits[0].cost)
		}
		l.Refund(0, 1, Full-1)
	}
	if n < 180 || n > 200 {
		t.Errorf("%d cheap ones at once; want nearly ten times the burst of 20", n)
	}
	if told < int32(n)-Full || told > int32(n)+Full {
		t.Errorf("%d tenths were reported of %d cheap ones", told, n)
	}
}

// TestWhatCannotBeReportedIsBounded, and adds up until then.
func TestWhatCannotBeReportedIsBounded(t *testing.T) {
	l := reporting(Limit{Name: "reads", PerSecond: 1, Burst: 20})
	for range 5 {
		l.dequeued(client{id: 1}, unsentAtMost-1)
	}
	if got := l.take(client{id: 1}); got != unsentAtMost {
		t.Errorf("%d tenths are kept; want %d", got, unsentAtMost)
	}
	if size := unsafe.Sizeof(slot{}); size != 24 {
		t.Errorf("a slot takes %d bytes; want 24, as is said", size)
	}
}
