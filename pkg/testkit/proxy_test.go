//go:build unix

package testkit_test

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/testkit"
)

// echo is a server that answers each connection with its name once, then with whatever it is sent, and with "bye" when
// it is told that no more comes.
func echo(t *testing.T, name string) string {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				conn.Write([]byte(name))
				io.Copy(conn, conn)
				conn.Write([]byte("bye"))
			}()
		}
	}()
	return listener.Addr().String()
}

func dial(t *testing.T, addr, want string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	wantRead(t, conn, want)
	return conn.(*net.TCPConn)
}

func wantRead(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	got := make([]byte, len(want))
	if n, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got[:n], err, want)
	}
}

func wantSilence(t *testing.T, conn net.Conn) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read %d bytes, %v; want silence", n, err)
	}
}

func wantEnd(t *testing.T, conn net.Conn, want error) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, want) {
		t.Fatalf("read: %v; want %v", err, want)
	}
}

func TestProxyPassesAndHalfCloses(t *testing.T) {
	p := testkit.NewProxy(t, echo(t, "a"))
	conn := dial(t, p.Addr, "a")
	conn.Write([]byte("hello"))
	wantRead(t, conn, "hello")
	conn.CloseWrite()
	wantRead(t, conn, "bye")
	wantEnd(t, conn, io.EOF)
}

func TestProxyCutAndHeal(t *testing.T) {
	p := testkit.NewProxy(t, echo(t, "a"))
	conn := dial(t, p.Addr, "a")
	p.Cut()
	p.Cut() // twice is fine
	wantEnd(t, conn, io.EOF)
	if _, err := net.Dial("tcp4", p.Addr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("dialled a proxy that is cut: %v; want it refused", err)
	}
	if n := p.Connections(); n != 0 {
		t.Fatalf("%d connections after a cut", n)
	}
	p.Heal()
	p.Heal()
	dial(t, p.Addr, "a")
}

func TestProxyReset(t *testing.T) {
	p := testkit.NewProxy(t, echo(t, "a"))
	conn := dial(t, p.Addr, "a")
	p.Reset()
	wantEnd(t, conn, syscall.ECONNRESET)
	dial(t, p.Addr, "a")
}

func TestProxyFreeze(t *testing.T) {
	p := testkit.NewProxy(t, echo(t, "a"))
	conn := dial(t, p.Addr, "a")
	p.Freeze()
	conn.Write([]byte("hello"))
	wantSilence(t, conn)
	fresh := dial(t, p.Addr, "") // accepted
	wantSilence(t, fresh)
	p.Heal()
	wantRead(t, conn, "hello")
	wantRead(t, fresh, "a")
	p.Freeze() // and the test ends
}

func TestProxyForget(t *testing.T) {
	p := testkit.NewProxy(t, echo(t, "a"))
	conn := dial(t, p.Addr, "a")
	p.Forget()
	conn.Write([]byte("hello"))
	wantSilence(t, conn)
	p.Heal()
	wantSilence(t, conn)
	dial(t, p.Addr, "a")
	p.Reset()
	wantEnd(t, conn, syscall.ECONNRESET)
}

func TestProxyDelay(t *testing.T) {
	const delay, calls = 30 * time.Millisecond, 3
	p := testkit.NewProxy(t, echo(t, "a"))
	conn := dial(t, p.Addr, "a")
	p.Delay(delay)
	start := time.Now()
	for range calls {
		conn.Write([]byte("hello"))
		wantRead(t, conn, "hello")
	}
	if took := time.Since(start); took < 2*delay*calls {
		t.Fatalf("%d calls took %s; want at least %s", calls, took, 2*delay*calls)
	}
	start = time.Now() // much at once waits once
	go conn.Write(make([]byte, 1<<20))
	wantRead(t, conn, string(make([]byte, 1<<20)))
	if took := time.Since(start); took > time.Second {
		t.Fatalf("a megabyte took %s: a delay bounds the rate", took)
	}
	p.Heal()
	conn.Write([]byte("hello"))
	wantRead(t, conn, "hello")
}

func TestProxyRetarget(t *testing.T) {
	p := testkit.NewProxy(t, "127.0.0.1:1")
	conn, err := net.Dial("tcp4", p.Addr) // nobody there: reset, perhaps before dialling is done
	if err == nil {
		_, err = conn.Read(make([]byte, 1))
		conn.Close()
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("a proxy to nobody: %v; want a reset", err)
	}
	p.Retarget(echo(t, "a"))
	dial(t, p.Addr, "a")
	p.Retarget(echo(t, "b"))
	dial(t, p.Addr, "b")
}
