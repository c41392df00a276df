package membus_test

import (
	"testing"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/bus/bustest"
	"github.com/doorbell-sync/doorbell/pkg/bus/membus"
)

func open(_ *testing.T, opts bustest.Options) bustest.Harness {
	b := membus.New(membus.Options{Interval: opts.Interval})
	nodes := make([]bus.Bus, opts.Nodes)
	for i := range nodes {
		nodes[i] = b
	}
	return bustest.Harness{Nodes: nodes, Interrupt: b.Interrupt, Resume: b.Resume}
}

func TestConformance(t *testing.T)           { bustest.RunInBubble(t, open) }
func TestConformanceInRealTime(t *testing.T) { bustest.Run(t, open) }
