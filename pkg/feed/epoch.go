package feed

import (
	"time"
)

// Epoch is a feed's birth mark: tenths of a second since 2020-01-01 UTC, written as seven digits of base 36
// ("0k3f9xa"), so that epochs of equal width sort by time as text too. Tenths of a second keep two births of the same
// feed apart in practice while seven digits last until the year 2268. The zero Epoch is none.
type Epoch uint64

const (
	epochWidth = 7
	epochBase  = 36
	epochUnit  = 100 * time.Millisecond
	// MaxEpoch is the last epoch that seven digits of base 36 can write.
	MaxEpoch Epoch = 78364164095 // 36^7 - 1
)

var epochZero = time.Date(2020, time.January, 1, 0, 0, 0, 0, time.UTC)

// NextEpoch is the epoch of a feed that is born or reborn at now and whose last epoch was previous (0: none).
// It is later than previous whatever the clock says, so that no epoch is ever used twice.
func NextEpoch(previous Epoch, now time.Time) Epoch {
	var clock Epoch
	if d := now.Sub(epochZero); d > 0 {
		clock = Epoch(d / epochUnit)
	}
	return max(clock, previous+1)
}

// String is the epoch in its seven digits.
func (e Epoch) String() string {
	return string(e.append(nil))
}

func (e Epoch) append(b []byte) []byte {
	const digits = "0123456789abcdefghijklmnopqrstuvwxyz"
	var buf [epochWidth]byte
	for i := epochWidth - 1; i >= 0; i-- {
		buf[i] = digits[e%epochBase]
		e /= epochBase
	}
	return append(b, buf[:]...)
}

func parseEpoch(s string) (Epoch, bool) {
	if len(s) != epochWidth {
		return 0, false
	}
	var e Epoch
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9':
			e = e*epochBase + Epoch(c-'0')
		case 'a' <= c && c <= 'z':
			e = e*epochBase + Epoch(c-'a') + 10
		default:
			return 0, false
		}
	}
	return e, e != 0
}
