package config

import (
	"errors"
	"fmt"
)

// API is how much the API service may use of its machine and of the database.
type API struct {
	// CacheBytes is about how much memory the feeds that are read at the moment may take.
	CacheBytes int `yaml:"cache_bytes" env:"CACHE_BYTES"`
	// DatabaseCalls is how many calls of the database may be under way at once; as many again and more wait for up to a second,
	// the rest is refused with 503.
	DatabaseCalls int `yaml:"database_calls" env:"DATABASE_CALLS"`
}

func defaultAPI() API { return API{CacheBytes: 64 << 20, DatabaseCalls: 16} }

// validate joins everything that is wrong.
func (a API) validate() error {
	var errs []error
	if a.CacheBytes < 1<<20 || a.CacheBytes > 1<<40 {
		errs = append(errs, fmt.Errorf("api.cache_bytes is %d; allowed: %d to %d", a.CacheBytes, 1<<20, 1<<40))
	}
	if a.DatabaseCalls < 1 || a.DatabaseCalls > 10_000 {
		errs = append(errs, fmt.Errorf("api.database_calls is %d; allowed: 1 to 10000", a.DatabaseCalls))
	}
	return errors.Join(errs...)
}
