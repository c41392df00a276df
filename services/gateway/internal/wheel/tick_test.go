package wheel

import "testing"

func TestFirst(t *testing.T) {
	for _, c := range []struct {
		ticks []Tick
		want  Tick
	}{{nil, 0}, {[]Tick{0, 0}, 0}, {[]Tick{0, 7, 3, 0, 9}, 3}, {[]Tick{5}, 5}} {
		if got := First(c.ticks...); got != c.want {
			t.Errorf("the first of %v is %d; want %d", c.ticks, got, c.want)
		}
	}
}

func TestTake(t *testing.T) {
	for _, c := range []struct {
		tick, now, left Tick
		taken           bool
	}{{0, 9, 0, false}, {5, 4, 5, false}, {5, 5, 0, true}, {5, 9, 0, true}} {
		left := c.tick
		if taken := left.Take(c.now); taken != c.taken || left != c.left {
			t.Errorf("%d at %d: %v, and %d is left; want %v and %d", c.tick, c.now, taken, left, c.taken, c.left)
		}
	}
}
