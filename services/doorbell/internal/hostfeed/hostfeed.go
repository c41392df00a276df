// Package hostfeed writes this machine's own figures to a feed once a second, through the API like anybody else, so that
// there is something real to look at from the first minute.
package hostfeed

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	doorbell "github.com/doorbell-sync/doorbell/clients/go"
)

// Feed is where the figures go: the items cpu, memory, load, disk, network and host.
const Feed = "host:local"

const every = time.Second

// Run writes until ctx ends. A write that fails is logged, once per spell of failures, and the next one comes a second later
// all the same.
func Run(ctx context.Context, url, key string, log *slog.Logger) error {
	client, err := doorbell.New(url, doorbell.WithKey(key))
	if err != nil {
		return err
	}
	var m meter
	m.read(ctx) // rates need a reading before
	m.unsaid()
	tick := time.NewTicker(every)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := write(ctx, client, m.read(ctx))
		if err != nil {
			m.unsaid()
		}
		if err != nil && ctx.Err() == nil && !failing {
			log.Warn("this machine's figures can't be written; trying on", "feed", Feed, "error", err)
		}
		failing = err != nil
	}
}

func write(ctx context.Context, client *doorbell.Client, figures []figure) error {
	ctx, cancel := context.WithTimeout(ctx, 5*every)
	defer cancel()
	changes := make([]doorbell.Change, 0, len(figures))
	for _, f := range figures {
		value, err := json.Marshal(f.value)
		if err != nil {
			return fmt.Errorf("%s: %w", f.key, err)
		}
		changes = append(changes, doorbell.Change{Key: f.key, Value: value})
	}
	if len(changes) == 0 {
		return nil
	}
	_, err := client.Write(ctx, Feed, changes)
	return err
}
