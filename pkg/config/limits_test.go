package config

import (
	"math"
	"strings"
	"testing"
)

func TestLimits(t *testing.T) {
	c, err := Load(write(t, "limits: {reads: {per_second: 5}, writes: {per_second: 2.5, burst: 7}}\n"), []string{"DOORBELL_LIMITS_HEADS_BURST=3"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	want := defaultLimits()
	want.Reads.PerSecond, want.Writes, want.Heads.Burst = 5, Limit{2.5, 7}, 3
	if c.Limits != want {
		t.Errorf("got %+v; want %+v", c.Limits, want)
	}
	c.Limits = Limits{
		Reads: Limit{-1, 1}, Polls: Limit{1, 0}, Heads: Limit{math.NaN(), 1}, Writes: Limit{math.Inf(1), -1},
	}
	err = c.Validate()
	for _, part := range []string{"limits.reads.per_second", "limits.polls.burst", "limits.heads.per_second", "limits.writes.per_second", "limits.writes.burst"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s isn't named: %v", part, err)
		}
	}
	if _, err := Load(write(t, "limits: {nothing: {per_second: 5}}\n"), nil); err == nil {
		t.Error("a class that there is none of was taken")
	}
}
