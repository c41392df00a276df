package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/caarlos0/env/v11"
)

// readEnvironment reads the environment over c. The error names the variables that are wrong, where the library names fields, of
// which several sections have the same: so each variable is tried by itself then.
func (c *Config) readEnvironment(environ []string) error {
	all := env.ToMap(environ)
	whole := parseEnvironment(c, all)
	if whole == nil {
		return nil
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(all)) {
		err := parseEnvironment(new(Config), map[string]string{name: all[name]})
		if wrong, ok := errors.AsType[env.AggregateError](err); ok && len(wrong.Errors) > 0 {
			err = wrong.Errors[0]
		}
		if wrong, ok := errors.AsType[env.ParseError](err); ok {
			err = wrong.Err
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	if len(errs) == 0 {
		return fmt.Errorf("environment: %w", whole)
	}
	return errors.Join(errs...)
}

func parseEnvironment(c *Config, all map[string]string) error {
	return env.ParseWithOptions(c, env.Options{Prefix: EnvPrefix, Environment: all})
}
