package wsconn

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/doorbell-sync/doorbell/services/gateway/internal/wire"
)

// TestControlFramesAreCounted: all that the peer begins, and not for ever.
func TestControlFramesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counted := 0
		p := connect(t, &script{control: func() error {
			if counted++; counted > 20 {
				return &wire.Close{Code: wire.CloseTooMany, Reason: "1000 ms"}
			}
			return nil
		}})
		go func() {
			for n := range 100 {
				_ = p.send([]byte{ping, pong}[n%2], "x")
			}
		}()
		for opcode := byte(pong); opcode != closE; {
			var payload string
			var err error
			if opcode, payload, err = p.next(); err != nil || (opcode == closE && payload != closing(wire.CloseTooMany, "1000 ms")) {
				t.Fatalf("frame %d %q, %v", opcode, payload, err)
			}
		}
		_ = p.send(closE, closing(wire.CloseTooMany, ""))
		p.ended(wire.CloseTooMany, 0, 0)
		if counted != 21 {
			t.Errorf("%d counted", counted)
		}
	})
}

// TestPieces: a message may come in many, but not in any number of empty ones, which nobody would ever see.
func TestPieces(t *testing.T) {
	piece := func(opcode byte, payload string) []byte {
		b := frame(opcode, payload)
		b[0] &^= 0x80
		return b
	}
	t.Run("many", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			received := make(chan string, 3)
			p := connect(t, &script{receive: func(_ context.Context, message []byte, _ bool) error {
				received <- string(message)
				return nil
			}})
			p.drain(true)
			for range cap(received) { // one after another: the count begins anew
				_, _ = p.Write(piece(text, "x"))
				for range 999 {
					_, _ = p.Write(piece(0, "x"))
					_ = p.send(pong, "")
				}
				_ = p.send(0, "")
				if got := <-received; got != strings.Repeat("x", 1000) {
					t.Errorf("received %.20q…, %d bytes", got, len(got))
				}
			}
			_ = p.Close()
			<-p.done
		})
	})
	t.Run("without end", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := connect(t, &script{receive: func(context.Context, []byte, bool) error {
				t.Error("received")
				return nil
			}})
			go func() {
				_, _ = p.Write(piece(text, "x"))
				for range 5000 {
					_, _ = p.Write(piece(0, ""))
				}
			}()
			p.expect(closE, closing(wire.CloseMalformed, "the command comes in too many pieces"))
			p.ended(wire.CloseMalformed, 0, 5*time.Second)
		})
	})
}
