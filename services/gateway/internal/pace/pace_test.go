package pace

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestBurstThenRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start = time.Now()
		l := New(10, 5)
		var m Mark
		take := func(tries int) (let int) {
			for range tries {
				if l.Take(&m) == 0 {
					let++
				}
			}
			return let
		}
		if n := take(100); n != 5 {
			t.Errorf("%d at once", n)
		}
		if early := l.Take(&m); early != 100*time.Millisecond {
			t.Errorf("told to wait for %s", early)
		}
		time.Sleep(time.Second / 10)
		if n := take(100); n != 1 {
			t.Errorf("%d after a tenth of a second", n)
		}
		sum := 0
		for range 1000 { // refusals don't count against it
			time.Sleep(10 * time.Millisecond)
			sum += take(3)
		}
		if sum != 100 {
			t.Errorf("%d in 10 s", sum)
		}
		time.Sleep(time.Hour)
		if n := take(100); n != 5 {
			t.Errorf("%d after an hour", n)
		}
	})
}

func TestNoLimit(t *testing.T) {
	var m Mark
	for range 1000 {
		if (Limit{}).Take(&m) != 0 || New(0, 5).Take(&m) != 0 {
			t.Fatal("limited")
		}
	}
}
