package hub_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/hub"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/shard"
)

// pushed is an Outlet that takes all it is sent at once.
type pushed struct {
	shard *shard.Shard
	c     *hub.Client
	sent  []string // owned by the shard, once subscribed
	then  func()   // called with each frame

	failed error
}

var _ hub.Outlet = (*pushed)(nil)

func (p *pushed) Wake()               {}
func (p *pushed) Claim() bool         { return true }
func (p *pushed) Release()            {}
func (p *pushed) Fail(err error)      { p.failed = err }
func (p *pushed) Shard() *shard.Shard { return p.shard }

func (p *pushed) Send(frame []byte) {
	p.sent = append(p.sent, string(frame))
	if p.then != nil {
		p.then()
	}
}

// seqs is a Form that counts how often it was asked.
type seqs struct{ made int }

func (s *seqs) AppendSignal(b []byte, h hub.FeedHead) []byte {
	s.made++
	return fmt.Appendf(b, "%s=%d,%v", h.Feed, h.Head.Cursor.Seq, h.NewEpoch)
}

func follow(t *testing.T, b *fakeBus, h *hub.Hub, form hub.Form, name feed.Name) *pushed {
	t.Helper()
	p := &pushed{shard: b.shards.At(0)}
	c, err := h.NewClient(p, form)
	if err != nil {
		t.Fatal(err)
	}
	p.c = c
	if err := c.Subscribe([]feed.Name{name}, "x", 0); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	var ev hub.Event
	if c.Next(&ev); ev.Kind != hub.Answer {
		t.Fatalf("told %v", ev.Kind)
	}
	return p
}

// TestHeadMovesWhileACrowdIsTold: those who were told the older head are told the newer one, once, and the others that alone; and
// frames are shared.
func TestHeadMovesWhileACrowdIsTold(t *testing.T) {
	run(t, func(t *testing.T, b *fakeBus, h *hub.Hub) {
		const crowd = 1000
		b.set("a", 1)
		form := &seqs{}
		var all []*pushed
		for range crowd {
			all = append(all, follow(t, b, h, form, "a"))
		}
		told := 0
		for _, p := range all {
			p.then = func() {
				if told++; told == crowd/2 {
					b.set("a", 3)
				}
			}
		}
		b.set("a", 2)
		synctest.Wait()
		both, one := 0, 0
		for _, p := range all {
			switch fmt.Sprint(p.sent) {
			case "[a=2,false a=3,false]":
				both++
			case "[a=3,false]":
				one++
			default:
				t.Fatalf("sent %q", p.sent)
			}
		}
		if both < crowd/2 || one < crowd/4 {
			t.Errorf("%d were told both heads, %d the newer one alone", both, one)
		}
		if form.made > crowd/50 {
			t.Errorf("%d frames were made for %d", form.made, told)
		}
	})
}

// TestCrowdChangesWhileItIsTold: whoever stays is told, whoever else leaves or comes in the midst of it.
func TestCrowdChangesWhileItIsTold(t *testing.T) {
	run(t, func(t *testing.T, b *fakeBus, h *hub.Hub) {
		form := &seqs{}
		var stays, goes []*pushed
		for i := range 2000 {
			if p := follow(t, b, h, form, "a"); i%2 == 0 {
				stays = append(stays, p)
			} else {
				goes = append(goes, p)
			}
		}
		rand.Shuffle(len(goes), func(i, j int) { goes[i], goes[j] = goes[j], goes[i] })
		for _, p := range stays {
			p.then = func() {
				if len(goes) > 0 {
					goes[0].c.Close()
					goes = goes[1:]
				}
			}
		}
		b.set("a", 1)
		synctest.Wait()
		for i, p := range stays {
			if len(p.sent) != 1 || p.sent[0] != "a=1,true" {
				t.Fatalf("client %d was sent %q", i, p.sent)
			}
		}
	})
}
