package config

import (
	"bytes"
	"cmp"
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

// readFile reads the YAML file over c. With an error, c has what could be read of it.
func (c *Config) readFile(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	strict := yaml.NewDecoder(bytes.NewReader(text))
	strict.KnownFields(true)
	wrong := strict.Decode(c)
	if errors.Is(wrong, io.EOF) { // an empty file is fine
		wrong = nil
	}
	if _, some := errors.AsType[*yaml.TypeError](wrong); wrong != nil && !some { // no YAML at all
		return fmt.Errorf("%s: %w", path, wrong)
	}
	// Once more for the namespaces, now that their default is known: each begins with it.
	var named struct {
		Namespaces map[string]yaml.Node `yaml:"namespaces"`
	}
	if err := yaml.Unmarshal(text, &named); err != nil {
		wrong = cmp.Or(wrong, err)
	}
	c.Namespaces = make(map[string]policy.Namespace, len(named.Namespaces))
	for name, node := range named.Namespaces {
		n := c.Default
		wrong = cmp.Or(wrong, node.Decode(&n)) // what is wrong with it has been said the first time
		c.Namespaces[name] = n
	}
	if wrong != nil {
		return fmt.Errorf("%s: %w", path, plain(wrong))
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
