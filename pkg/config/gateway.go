package config

import (
	"errors"
	"fmt"
	"time"
)

// Gateway is how the gateway holds connections. What a process refuses it counts.
type Gateway struct {
	// MaxConnections is how many a process takes. 0: as many as it may have file descriptors, but for a twentieth.
	MaxConnections int `yaml:"max_connections" env:"MAX_CONNECTIONS"`
	// MaxPerSubject is how many of one subject a process takes. Nobody's (without a token) aren't counted.
	MaxPerSubject int `yaml:"max_per_subject" env:"MAX_PER_SUBJECT"`
	// MaxFeeds is how many feeds one connection may follow.
	MaxFeeds int `yaml:"max_feeds" env:"MAX_FEEDS"`
	// CommandsPerSecond is how many one connection may send, and ten times as many at once.
	CommandsPerSecond int `yaml:"commands_per_second" env:"COMMANDS_PER_SECOND"`
	// HandshakesPerSecond is how many a process begins.
	HandshakesPerSecond int `yaml:"handshakes_per_second" env:"HANDSHAKES_PER_SECOND"`
	// MaxAge is how old a connection becomes, up to 20 % more or less, before its client is asked to reconnect. 0: any age.
	MaxAge time.Duration `yaml:"max_age" env:"MAX_AGE"`
	// DrainWindow is the time over which clients are asked to reconnect elsewhere when a gateway stops, after DrainWait. 0: all are
	// closed at once.
	DrainWindow time.Duration `yaml:"drain_window" env:"DRAIN_WINDOW"`
}

func defaultGateway() Gateway {
	return Gateway{
		MaxPerSubject: 1000, MaxFeeds: 10_000, CommandsPerSecond: 100, HandshakesPerSecond: 10_000,
		MaxAge: 4 * time.Hour, DrainWindow: 10 * time.Second,
	}
}

const (
	maxDrainWindow = 30 * time.Minute
	minAge         = time.Minute
)

func (g Gateway) validate() error {
	var errs []error
	for _, limit := range []struct {
		name  string
		value int
		least int
	}{
		{"max_connections", g.MaxConnections, 0},
		{"max_per_subject", g.MaxPerSubject, 1},
		{"max_feeds", g.MaxFeeds, 1},
		{"commands_per_second", g.CommandsPerSecond, 1},
		{"handshakes_per_second", g.HandshakesPerSecond, 1},
	} {
		if limit.value < limit.least {
			errs = append(errs, fmt.Errorf("gateway.%s is %d; allowed: %d or more", limit.name, limit.value, limit.least))
		}
	}
	if g.MaxAge != 0 && g.MaxAge < minAge {
		errs = append(errs, fmt.Errorf("gateway.max_age is %s; allowed: 0 for any age, or %s or more", g.MaxAge, minAge))
	}
	if g.DrainWindow < 0 || g.DrainWindow > maxDrainWindow {
		errs = append(errs, fmt.Errorf("gateway.drain_window is %s; allowed: 0 to %s", g.DrainWindow, maxDrainWindow))
	}
	return errors.Join(errs...)
}
