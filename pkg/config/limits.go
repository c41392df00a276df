package config

import (
	"errors"
	"fmt"
	"math"
)

// Limits are how much one client may ask of the API: the subject of a token, or an address.
type Limits struct {
	// Reads are those of feeds and items (a 304 counts as a tenth), Polls those of many feeds at once, Heads those of heads.
	Reads  Limit `yaml:"reads" envPrefix:"READS_"`
	Polls  Limit `yaml:"polls" envPrefix:"POLLS_"`
	Heads  Limit `yaml:"heads" envPrefix:"HEADS_"`
	Writes Limit `yaml:"writes" envPrefix:"WRITES_"`
}

// Limit is so many requests a second in the long run, and so many at once. A PerSecond of 0 is no limit.
type Limit struct {
	PerSecond float64 `yaml:"per_second" env:"PER_SECOND"`
	Burst     int     `yaml:"burst" env:"BURST"`
}

// defaultLimits are for an address that a whole office is behind, whose clients all refetch on one signal. Who writes has been
// given a token.
func defaultLimits() Limits {
	return Limits{
		Reads: Limit{PerSecond: 1000, Burst: 10_000},
		Polls: Limit{PerSecond: 200, Burst: 2000},
		Heads: Limit{PerSecond: 100, Burst: 1000},
	}
}

func (l Limits) validate() error {
	const most = 10_000_000
	var errs []error
	for _, one := range []struct {
		name string
		Limit
	}{{"reads", l.Reads}, {"polls", l.Polls}, {"heads", l.Heads}, {"writes", l.Writes}} {
		if !(one.PerSecond >= 0 && one.PerSecond <= most) || math.IsNaN(one.PerSecond) {
			errs = append(errs, fmt.Errorf("limits.%s.per_second is %g; allowed: 0 (no limit) to %d", one.name, one.PerSecond, most))
		}
		if one.Burst < 0 || one.Burst > most || (one.PerSecond > 0 && one.Burst == 0) {
			errs = append(errs, fmt.Errorf("limits.%s.burst is %d; allowed: 1 to %d", one.name, one.Burst, most))
		}
	}
	return errors.Join(errs...)
}
