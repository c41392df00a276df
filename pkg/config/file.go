package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/doorbell-sync/doorbell/pkg/policy"
)

// readFile reads the YAML file over c.
func (c *Config) readFile(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	strict := yaml.NewDecoder(bytes.NewReader(text))
	strict.KnownFields(true)
	if err := strict.Decode(c); err != nil && !errors.Is(err, io.EOF) { // an empty file is fine
		return fmt.Errorf("%s: %w", path, plain(err))
	}
	// Once more for the namespaces, now that their default is known: each begins with it.
	var named struct {
		Namespaces map[string]yaml.Node `yaml:"namespaces"`
	}
	if err := yaml.Unmarshal(text, &named); err != nil {
		return fmt.Errorf("%s: %w", path, plain(err))
	}
	c.Namespaces = make(map[string]policy.Namespace, len(named.Namespaces))
	for name, node := range named.Namespaces {
		n := c.Default
		if err := node.Decode(&n); err != nil {
			return fmt.Errorf("%s: %w", path, plain(err))
		}
		c.Namespaces[name] = n
	}
	return nil
}

var goType = regexp.MustCompile(` (in|into) (type )?[\w.\[\]*]*(Config|Namespace|Cache|Key|Tokens|TokenKey|Authorization)\b`)

// plain takes the names of Go types out of the YAML library's messages: they say nothing to an operator.
func plain(err error) error {
	var types *yaml.TypeError
	if !errors.As(err, &types) {
		return err
	}
	errs := make([]error, len(types.Errors))
	for i, text := range types.Errors {
		errs[i] = errors.New(goType.ReplaceAllString(text, ""))
	}
	return errors.Join(errs...)
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}
