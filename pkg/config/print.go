package config

import (
	"io"
	"net/url"
	"slices"

	"go.yaml.in/yaml/v3"
)

const hidden = "(hidden)"

// Print writes the configuration as YAML that Load would take, but for its secrets, which are left out.
func (c Config) Print(w io.Writer) error {
	c.DatabaseURL, c.RedisURL = withoutPassword(c.DatabaseURL), withoutPassword(c.RedisURL)
	c.DatabaseReplicaURLs = slices.Clone(c.DatabaseReplicaURLs)
	for i, text := range c.DatabaseReplicaURLs {
		c.DatabaseReplicaURLs[i] = withoutPassword(text)
	}
	keys := c.Keys
	c.Keys = nil
	for _, key := range keys {
		if key.Secret != "" {
			key.Secret = hidden
		}
		c.Keys = append(c.Keys, key)
	}
	c.Tokens, c.Authorization = c.Tokens.withoutSecrets(), c.Authorization.withoutSecrets()
	c.Traces = c.Traces.withoutSecrets()
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(c); err != nil {
		return err
	}
	return enc.Close()
}

func withoutPassword(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return hidden
	}
	if _, has := u.User.Password(); has {
		u.User = url.UserPassword(u.User.Username(), "hidden")
	}
	if q := u.Query(); q.Has("password") { // libpq's way
		q.Set("password", "hidden")
		u.RawQuery = q.Encode()
	}
	return u.String()
}
