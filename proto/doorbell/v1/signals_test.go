package doorbellv1_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	doorbellv1 "github.com/doorbell-sync/doorbell/proto/doorbell/v1"
)

// TestASignalFits16Bytes: with the two bytes of its WebSocket frame, for feeds numbered up to 2^28 and seqs up to 2^56.
func TestASignalFits16Bytes(t *testing.T) {
	const frame = 2
	for _, c := range []struct {
		feed uint32
		seq  uint64
		most int
	}{
		{1, 1, 6},
		{100_000, 1_000_000, 10},
		{1<<28 - 1, 1<<56 - 1, 16},
	} {
		b, err := proto.Marshal(&doorbellv1.ServerMessage{Feed: c.feed, Seq: c.seq})
		if err != nil {
			t.Fatal(err)
		}
		if got := frame + len(b); got > c.most {
			t.Errorf("the signal of feed %d at %d takes %d bytes; want at most %d", c.feed, c.seq, got, c.most)
		}
	}
}
