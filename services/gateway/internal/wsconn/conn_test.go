package wsconn

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/doorbell-sync/doorbell/services/gateway/internal/wire"
)

func TestSilentPeerIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := connect(t, &script{})
		pings := p.drain(false)
		p.ended(1006, 30*time.Second, 40*time.Second)
		if at := <-pings; len(at) != 1 || at[0] < 20*time.Second || at[0] > 30*time.Second {
			t.Errorf("pings at %v", at)
		}
	})
}

// TestWokenBeforeItStarts: the bus may flip, or the node drain, while a connection is being set up.
func TestWokenBeforeItStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := prepare(t, func(c *Conn) {
			c.out.Wake()
			time.Sleep(time.Second)
			c.Start(&script{next: once("hello")})
		})
		p.expect(text, "hello")
		_ = p.Close()
		<-p.done
	})
}

func TestPongsKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := connect(t, &script{})
		pings := p.drain(true)
		time.Sleep(time.Hour)
		_ = p.Close()
		<-p.done
		at := <-pings
		var last time.Duration
		spread := map[time.Duration]bool{}
		for _, ping := range at {
			gap := ping - last
			if last = ping; gap < 20*time.Second || gap > 30*time.Second {
				t.Errorf("a ping after %s", gap)
			}
			spread[gap.Round(time.Second)] = true
		}
		if len(at) < 120 || len(spread) < 5 {
			t.Errorf("%d pings an hour, %d different gaps", len(at), len(spread))
		}
	})
}

func TestMessagesKeepAliveToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := connect(t, &script{})
		p.drain(false)
		for range 500 {
			time.Sleep(9 * time.Second)
			if err := p.send(text, "x"); err != nil {
				t.Fatal(err)
			}
		}
		_ = p.Close()
		<-p.done
	})
}

// TestBytesAloneDoNotKeepAlive: neither the head nor the body of a frame that never ends is a sign of life.
func TestBytesAloneDoNotKeepAlive(t *testing.T) {
	for name, tc := range map[string]struct {
		bytes []byte
		pause time.Duration
	}{
		"head": {[]byte{0x81, 0xff, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0}, 9 * time.Second},
		"body": {frame(text, strings.Repeat("x", 900)), time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := connect(t, &script{})
				p.drain(false)
				go func() {
					for _, b := range tc.bytes {
						if _, err := p.Write([]byte{b}); err != nil {
							return
						}
						time.Sleep(tc.pause)
					}
				}()
				p.ended(1006, 30*time.Second, 40*time.Second)
				time.Sleep(tc.pause)
			})
		})
	}
}

// TestMessagesMustEnd: a peer that is alive but never comes to the end of a message holds no buffer for ever.
func TestMessagesMustEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := connect(t, &script{})
		p.drain(true)
		if _, err := p.Write([]byte{0x01, 0x81, 0, 0, 0, 0, 'x'}); err != nil { // not final
			t.Fatal(err)
		}
		go func() {
			for {
				time.Sleep(3 * time.Second)
				if _, err := p.Write([]byte{0x00, 0x81, 0, 0, 0, 0, 'x'}); err != nil {
					return
				}
			}
		}()
		p.ended(1006, 30*time.Second, 30*time.Second)
		time.Sleep(3 * time.Second)
	})
}

func TestDeadSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := connect(t, &script{next: once(strings.Repeat("x", 5000))})
		p.ended(wire.CloseDead, 40*time.Second, 45*time.Second)
	})
}

// TestSlowSocket: a peer that takes a byte now and then is only behind.
func TestSlowSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := connect(t, &script{next: once(strings.Repeat("x", 300))})
		began := time.Now()
		one := make([]byte, 1)
		for i := range 304 {
			time.Sleep(38 * time.Second)
			if _, err := io.ReadFull(p.Conn, one); err != nil {
				t.Fatalf("byte %d: %v", i, err)
			}
		}
		if took := time.Since(began); took < 3*time.Hour {
			t.Errorf("took %s only", took)
		}
		pings := p.drain(true)
		time.Sleep(time.Minute)
		_ = p.Close()
		<-p.done
		if at := <-pings; len(at) == 0 || at[0] > time.Second {
			t.Errorf("the ping that was due for long came at %v", at)
		}
	})
}

func TestPanics(t *testing.T) {
	for name, d := range map[string]*script{
		"open":    {open: func() error { panic("open") }},
		"receive": {receive: func(context.Context, []byte, bool) error { panic("receive") }},
		"next":    {next: func([]byte) []byte { panic("next") }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := connect(t, d)
				go func() { _ = p.send(text, "x") }()
				p.expect(closE, closing(wire.CloseInternal, "internal error"))
				_ = p.send(closE, closing(wire.CloseInternal, ""))
				p.ended(wire.CloseInternal, 0, 0)
			})
		})
	}
}

// TestAWriterThatFails: who writes on its own, as the hub does, may give the connection up.
func TestAWriterThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closed := make(chan struct{})
		p := connect(t, &script{close: func() { close(closed) }})
		if !p.conn.out.Claim() {
			t.Fatal("somebody else writes")
		}
		p.conn.out.Fail(errors.New("a panic"))
		p.ended(1006, 0, 0)
		<-closed
	})
}

// TestErrorsAreNotTold: a mistake of ours says nothing of itself.
func TestErrorsAreNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := connect(t, &script{open: func() error { return errors.New("the password is 123") }})
		p.expect(closE, closing(wire.CloseInternal, "internal error"))
		p.ended(wire.CloseInternal, 5*time.Second, 5*time.Second)
	})
}

// TestBackPressure: while the dialogue waits the peer is not read from, and that is not held against it.
func TestBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room, received := make(chan struct{}), 0
		p := connect(t, &script{receive: func(context.Context, []byte, bool) error {
			received++
			<-room
			return nil
		}})
		pings := p.drain(false)
		sent := 0
		go func() {
			for range 300 {
				if p.send(text, strings.Repeat("x", 500)) != nil {
					return
				}
				sent++
			}
		}()
		time.Sleep(35 * time.Minute)
		synctest.Wait()
		p.conn.mu.Lock()
		if due := p.conn.due; due.pong == 0 || due.timer != due.ping {
			t.Errorf("the next time is %d, with the ping at %d and a pong owed since %d", due.timer, due.ping, due.pong)
		}
		p.conn.mu.Unlock()
		if received != 1 || sent > 2 {
			t.Errorf("%d sent, %d received", sent, received)
		}
		close(room)
		time.Sleep(time.Second)
		synctest.Wait()
		if received != 300 {
			t.Errorf("%d received once there was room", received)
		}
		_ = p.Close()
		<-p.done
		<-pings
	})
}

// TestDeadWhileWaiting: a connection that ends makes its dialogue return, too.
func TestDeadWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closed := make(chan struct{})
		p := connect(t, &script{
			receive: func(ctx context.Context, _ []byte, _ bool) error {
				<-ctx.Done()
				<-closed
				return ctx.Err()
			},
			next:  once("x"),
			close: func() { close(closed) },
		})
		go func() { _ = p.send(text, "x") }()
		p.ended(wire.CloseDead, 40*time.Second, 45*time.Second)
	})
}

func TestCloseHandshake(t *testing.T) {
	t.Run("the peer answers", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := connect(t, &script{})
			p.conn.Close(wire.Close{Code: 1012, Reason: "restart"})
			p.conn.Close(wire.Close{Code: 4001, Reason: "too late"})
			go func() { _ = p.send(text, "unread") }()
			p.expect(closE, closing(1012, "restart"))
			_ = p.send(closE, closing(1012, ""))
			p.ended(1012, 0, 0)
		})
	})
	t.Run("the peer doesn't", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := connect(t, &script{})
			p.drain(true)
			p.conn.Close(wire.Close{Code: 1012})
			p.ended(1012, 5*time.Second, 5*time.Second)
		})
	})
	t.Run("the peer doesn't even read", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := connect(t, &script{next: once(strings.Repeat("x", 500))})
			time.Sleep(time.Second)
			p.conn.Close(wire.Close{Code: 1012})
			p.ended(1012, 5*time.Second, 5*time.Second)
		})
	})
	t.Run("the peer begins", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := connect(t, &script{})
			_ = p.send(closE, closing(1000, "bye"))
			p.expect(closE, closing(1000, ""))
			p.ended(1000, 0, 0)
		})
	})
	t.Run("abort", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := connect(t, &script{next: once(strings.Repeat("x", 500))})
			time.Sleep(time.Second)
			p.conn.Abort()
			p.ended(1006, 0, 0)
		})
	})
}

// TestNothingComesAfterTheCloseFrame: it is not written before the dialogue is closed, whose hub writes on its own.
func TestNothingComesAfterTheCloseFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p *peer
		p = connect(t, &script{close: func() {
			p.conn.out.Wake()
			time.Sleep(time.Second)
			p.conn.out.Claim()
			p.conn.out.Send(control(nil, text, []byte("a signal")))
		}})
		go p.conn.Close(wire.Close{Code: 1012, Reason: "restart"})
		p.expect(text, "a signal")
		p.expect(closE, closing(1012, "restart"))
		_ = p.send(closE, closing(1012, ""))
		p.ended(1012, 0, 0)
	})
}

func TestFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		p := connect(t, &script{receive: func(_ context.Context, m []byte, binary bool) error {
			kind := "text "
			if binary {
				kind = "binary "
			}
			got = append(got, kind+string(m))
			return nil
		}})
		_ = p.send(text, "a")
		_ = p.send(bin, "b")
		_ = p.send(ping, "are you there")
		p.expect(pong, "are you there")
		_ = p.send(text, strings.Repeat("c", 1000))
		_ = p.send(text, "")
		synctest.Wait()
		if want := "text a,binary b,text " + strings.Repeat("c", 1000) + ",text "; strings.Join(got, ",") != want {
			t.Errorf("received %q", got)
		}
		go func() { _ = p.send(text, strings.Repeat("d", 1001)) }()
		p.expect(closE, closing(wire.CloseMalformed, "the command is too large; allowed: up to 1000 bytes"))
		_ = p.send(closE, closing(wire.CloseMalformed, ""))
		<-p.done
		if len(got) != 4 {
			t.Errorf("received %q", got)
		}
	})
}

func TestProtocolErrors(t *testing.T) {
	for name, bytes := range map[string][]byte{
		"unmasked":        {0x81, 0x01, 'x'},
		"reserved bit":    {0xc1, 0x80, 0, 0, 0, 0},
		"unknown opcode":  {0x83, 0x80, 0, 0, 0, 0},
		"stray continued": {0x80, 0x80, 0, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := connect(t, &script{})
				go func() { _, _ = p.Write(bytes) }()
				opcode, payload, err := p.next()
				if err != nil || opcode != closE || !strings.HasPrefix(payload, closing(1002, "")) {
					t.Errorf("got frame %d %q, %v", opcode, payload, err)
				}
				p.ended(1002, 0, time.Second)
			})
		})
	}
}
