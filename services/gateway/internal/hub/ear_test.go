package hub_test

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/hub"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/shard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const linger = 5 * time.Second

// run makes a hub on a fake bus and a fake clock.
func run(t *testing.T, test func(t *testing.T, b *fakeBus, h *hub.Hub)) {
	t.Helper()
	runTraced(t, nil, test)
}

// runTraced is run with a hub that follows traces.
func runTraced(t *testing.T, trace func(feed.Name, bus.Head, string) hub.Trace, test func(t *testing.T, b *fakeBus, h *hub.Hub)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBus(t)
		b.shards = shard.New(2)
		defer b.shards.Close()
		h, err := hub.New(hub.Options{
			Shards: b.shards, Bus: busOf{b}, Logger: slog.New(slog.DiscardHandler), MaxFeeds: 1500,
			FollowTimeout: 3 * time.Second, RetryMin: 250 * time.Millisecond, RetryMax: 5 * time.Second, Linger: linger, Trace: trace,
		})
		if err != nil {
			t.Fatal(err)
		}
		test(t, b, h)
		h.Close()
		h.Close()
		if !b.closed {
			t.Error("the bus subscription is still open")
		}
	})
}

// ear is a client whose events are read as text.
type ear struct {
	*hub.Client
	t     *testing.T
	woken atomic.Int64
}

func listen(t *testing.T, b *fakeBus, h *hub.Hub) *ear {
	t.Helper()
	e := &ear{t: t}
	e.Client = pull(t, h, b.shards, func() { e.woken.Add(1) })
	return e
}

func (e *ear) subscribe(tag string, names ...feed.Name) {
	e.t.Helper()
	if err := e.Subscribe(names, tag, 0); err != nil {
		e.t.Fatal(err)
	}
}

// told is all there is to tell right now.
func (e *ear) told() []string {
	synctest.Wait()
	var all []string
	for {
		if text := e.one(); text != "" {
			all = append(all, text)
			continue
		}
		return all
	}
}

func (e *ear) one() string {
	synctest.Wait()
	var ev hub.Event
	e.Next(&ev)
	var heads []string
	for _, h := range ev.Heads {
		head := "null"
		if h.Head.Known {
			head = fmt.Sprint(h.Head.Cursor.Seq)
		}
		heads = append(heads, string(h.Feed)+"="+head)
	}
	list := strings.Join(heads, ",")
	switch ev.Kind {
	case hub.Answer:
		return fmt.Sprintf("%v[%s]", ev.Tag, list)
	case hub.Changed:
		return "changed[" + list + "]"
	case hub.Liveness:
		return fmt.Sprintf("alive=%v", ev.Alive)
	default:
		return ""
	}
}

func (e *ear) expect(want ...string) {
	e.t.Helper()
	if got := e.told(); !slices.Equal(got, want) {
		e.t.Errorf("told %q, want %q", got, want)
	}
}

func (b *fakeBus) expect(want ...string) {
	b.t.Helper()
	synctest.Wait()
	if got := b.said(); !slices.Equal(got, want) {
		b.t.Errorf("the bus heard %q, want %q", got, want)
	}
}
