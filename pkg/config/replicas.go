package config

import (
	"errors"
	"fmt"
)

// checkReplicas joins what is wrong with the replicas' URLs.
func (c *Config) checkReplicas() error {
	var errs []error
	for i, text := range c.DatabaseReplicaURLs {
		field := fmt.Sprintf("database_replica_urls[%d]", i)
		if text == "" {
			errs = append(errs, fmt.Errorf("%s is empty", field))
		}
		errs = append(errs, checkURL(field, text, "postgres", "postgresql"))
	}
	if len(c.DatabaseReplicaURLs) > 0 && c.DatabaseURL == "" {
		errs = append(errs, errors.New("database_replica_urls without database_url: a replica is one of that database"))
	}
	return errors.Join(errs...)
}
