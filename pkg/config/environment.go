package config

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/caarlos0/env/v11"
)

// plainEnv names the variables that are wrong, where the library names fields, and leaves their values to what says what is wrong
// with them.
func plainEnv(err error) error {
	var all env.AggregateError
	if !errors.As(err, &all) {
		return fmt.Errorf("environment: %w", err)
	}
	names := variables(reflect.TypeFor[Config](), EnvPrefix, map[string]string{})
	errs := make([]error, len(all.Errors))
	for i, err := range all.Errors {
		errs[i] = fmt.Errorf("environment: %w", err)
		if wrong, ok := errors.AsType[env.ParseError](err); ok && names[wrong.Name] != "" {
			errs[i] = fmt.Errorf("%s: %w", names[wrong.Name], wrong.Err)
		}
	}
	return errors.Join(errs...)
}

// variables adds the names of the variables to the names of the fields, which are different ones in all sections.
func variables(of reflect.Type, prefix string, to map[string]string) map[string]string {
	for i := range of.NumField() {
		field := of.Field(i)
		if name, ok := field.Tag.Lookup("env"); ok {
			to[field.Name] = prefix + name
		}
		if inner, ok := field.Tag.Lookup("envPrefix"); ok && field.Type.Kind() == reflect.Struct {
			variables(field.Type, prefix+inner, to)
		}
	}
	return to
}
