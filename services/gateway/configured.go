package gateway

import "github.com/doorbell-sync/doorbell/pkg/config"

// LimitsOf is what a configuration says of limits.
func LimitsOf(c config.Gateway) Limits {
	return Limits{
		Feeds: c.MaxFeeds, Connections: c.MaxConnections, PerSubject: c.MaxPerSubject,
		Commands: c.CommandsPerSecond, Handshakes: c.HandshakesPerSecond,
	}
}

// TimingsOf is what a configuration says of times.
func TimingsOf(c config.Gateway) Timings {
	return Timings{DrainWindow: c.DrainWindow, MaxAge: c.MaxAge}
}
