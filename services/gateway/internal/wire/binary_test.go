package wire_test

import (
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	doorbellv1 "github.com/doorbell-sync/doorbell/proto/doorbell/v1"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/hub"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/wire"
)

func TestBinaryMessages(t *testing.T) {
	head := feed.Cursor{Epoch: 1_000_000_000, Seq: 7}
	known := hub.FeedHead{Feed: "a:1", Number: 3, Head: bus.At(head)}
	fresh := hub.FeedHead{Feed: "a:2", Number: 4, Head: bus.At(head), NewEpoch: true}
	absent := hub.FeedHead{Feed: "b", Number: 5, Head: bus.At(feed.Cursor{})}
	unknown := hub.FeedHead{Feed: "c", Number: 6}
	id, text := []byte{9}, head.String()
	for _, c := range []struct {
		what string
		got  []byte
		want *doorbellv1.ServerMessage
	}{
		{"hello", wire.Proto.AppendHello(nil, "s-1", 25000),
			&doorbellv1.ServerMessage{What: &doorbellv1.ServerMessage_Hello{Hello: &doorbellv1.Hello{Session: "s-1", PingMs: 25000}}}},
		{"subscribed", wire.Proto.AppendSubscribed(nil, id, []hub.FeedHead{known, absent, unknown}, []wire.Denial{{Feed: "d", Reason: wire.Forbidden}}),
			&doorbellv1.ServerMessage{Id: 9, What: &doorbellv1.ServerMessage_Subscribed{Subscribed: &doorbellv1.Subscribed{
				Heads: []*doorbellv1.Head{
					{Name: "a:1", Feed: 3, Cursor: text}, {Name: "b", Feed: 5}, {Name: "c", Feed: 6, Unknown: true},
				},
				Denied: map[string]string{"d": "forbidden"},
			}}}},
		{"unsubscribed", wire.Proto.AppendUnsubscribed(nil, id, []feed.Name{"a", "b"}),
			&doorbellv1.ServerMessage{Id: 9, What: &doorbellv1.ServerMessage_Unsubscribed{
				Unsubscribed: &doorbellv1.Unsubscribe{Feeds: []string{"a", "b"}},
			}}},
		{"denied", wire.Proto.AppendDenied(nil, nil, []feed.Name{"a"}),
			&doorbellv1.ServerMessage{What: &doorbellv1.ServerMessage_Denied{
				Denied: &doorbellv1.Denied{Feeds: map[string]string{"a": "forbidden"}},
			}}},
		{"a signal", wire.Proto.AppendChanged(nil, []hub.FeedHead{known}), &doorbellv1.ServerMessage{Feed: 3, Seq: 7}},
		{"a new epoch", wire.Proto.AppendChanged(nil, []hub.FeedHead{fresh}),
			changed(nil, &doorbellv1.Head{Feed: 4, Cursor: text})},
		{"no such feed", wire.Proto.AppendChanged(nil, []hub.FeedHead{absent}), changed(nil, &doorbellv1.Head{Feed: 5})},
		{"several", wire.Proto.AppendChanged(nil, []hub.FeedHead{known, fresh, unknown}),
			changed([]*doorbellv1.Signal{{Feed: 3, Seq: 7}}, &doorbellv1.Head{Feed: 4, Cursor: text}, &doorbellv1.Head{Feed: 6, Unknown: true})},
		{"a signal to many", wire.Proto.AppendChanged(nil, []hub.FeedHead{{Feed: "a:1", Number: 3, Head: bus.At(head), Spread: 800}}),
			&doorbellv1.ServerMessage{What: &doorbellv1.ServerMessage_Changed{Changed: &doorbellv1.Changed{
				Signals: []*doorbellv1.Signal{{Feed: 3, Seq: 7}}, SpreadMs: 800,
			}}}},
		{"a traced signal", wire.Proto.AppendChanged(nil, []hub.FeedHead{{Feed: "a:1", Number: 3, Head: bus.At(head), Trace: "00-x"}}),
			&doorbellv1.ServerMessage{What: &doorbellv1.ServerMessage_Changed{Changed: &doorbellv1.Changed{
				Signals: []*doorbellv1.Signal{{Feed: 3, Seq: 7}}, Traceparent: "00-x",
			}}}},
		{"degraded", wire.Proto.AppendDegraded(nil, true), &doorbellv1.ServerMessage{What: &doorbellv1.ServerMessage_Degraded{Degraded: true}}},
		{"no longer degraded", wire.Proto.AppendDegraded(nil, false), &doorbellv1.ServerMessage{What: &doorbellv1.ServerMessage_Degraded{}}},
		{"goaway", wire.Proto.AppendGoaway(nil, "drain", 5000),
			&doorbellv1.ServerMessage{What: &doorbellv1.ServerMessage_Goaway{Goaway: &doorbellv1.Goaway{Reason: "drain", InMs: 5000}}}},
		{"expiring", wire.Proto.AppendExpiring(nil, 60000),
			&doorbellv1.ServerMessage{What: &doorbellv1.ServerMessage_Expiring{Expiring: &doorbellv1.Expiring{InMs: 60000}}}},
		{"pong 0", wire.Proto.AppendPong(nil, nil, []byte{0}), &doorbellv1.ServerMessage{What: &doorbellv1.ServerMessage_Pong{}}},
		{"error", wire.Proto.AppendError(nil, id, wire.Errorf("c", "say %s", "\xff")),
			&doorbellv1.ServerMessage{Id: 9, What: &doorbellv1.ServerMessage_Error{Error: &doorbellv1.Error{Code: "c", Detail: "say \uFFFD"}}}},
	} {
		var got doorbellv1.ServerMessage
		if err := proto.Unmarshal(c.got, &got); err != nil || !proto.Equal(&got, c.want) {
			t.Errorf("%s: got %v, %v; want %v", c.what, &got, err, c.want)
		}
		if len(c.got) == 0 {
			t.Errorf("%s is empty, which would be no message at all", c.what)
		}
	}
}

func changed(signals []*doorbellv1.Signal, heads ...*doorbellv1.Head) *doorbellv1.ServerMessage {
	return &doorbellv1.ServerMessage{What: &doorbellv1.ServerMessage_Changed{
		Changed: &doorbellv1.Changed{Signals: signals, Heads: heads},
	}}
}

// TestBinarySignalsAreSmall: with the two bytes of the frame, 16 at most for feeds numbered below 2^28 and seqs below 2^49.
func TestBinarySignalsAreSmall(t *testing.T) {
	for _, c := range []struct {
		number uint32
		seq    int64
		most   int
	}{
		{1, 1, 6}, {100_000, 1_000_000, 10}, {1<<28 - 1, 1<<49 - 1, 16}, {math.MaxUint32, math.MaxInt64, 18},
	} {
		h := hub.FeedHead{Feed: "orders", Number: c.number, Head: bus.At(feed.Cursor{Epoch: 1_000_000_000, Seq: c.seq})}
		if n := 2 + len(wire.Proto.AppendChanged(nil, []hub.FeedHead{h})); n > c.most {
			t.Errorf("feed %d at %d takes %d bytes; want at most %d", c.number, c.seq, n, c.most)
		}
	}
}

// TestFullFramesStayBelow64KiB: what the hub puts into one message fits a frame in binary, too.
func TestFullFramesStayBelow64KiB(t *testing.T) {
	heads := make([]hub.FeedHead, 1000)
	for i := range heads {
		heads[i] = hub.FeedHead{
			Feed: feed.Name(strings.Repeat("x", 27)), Number: math.MaxUint32, NewEpoch: true,
			Head: bus.At(feed.Cursor{Epoch: 1_000_000_000, Seq: math.MaxInt64}),
		}
	}
	if n := len(wire.Proto.AppendChanged(nil, heads)); n > 64<<10 {
		t.Errorf("1,000 feeds take %d bytes", n)
	}
}
