package gateway

import (
	"crypto/rand"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/audience"
)

// audienceEvery is how often gateways tell each other how many follow their large feeds.
const audienceEvery = 5 * time.Second

// listenForAudience makes what tells how long pulls are to be spread over; nil where nodes can't tell each other, or no policy
// wants it.
func (g *Gateway) listenForAudience(opt Options) func(feed.Name, int) time.Duration {
	carrier, ok := opt.Bus.(bus.Broadcaster)
	wanted := false
	for _, p := range opt.Policies.All() {
		wanted = wanted || p.PullRateTarget > 0
	}
	if !ok || !wanted {
		return nil
	}
	g.audience = audience.New(audience.Options{
		Bus: carrier, Node: rand.Text(), Every: audienceEvery,
		Large:  func() map[feed.Name]int { return g.hub.Large() },
		Target: func(name feed.Name) int { return opt.Policies.For(name).PullRateTarget },
	})
	return g.audience.Spread
}
