//go:build linux

package crowd_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// gateway is a fake one: it says what the test has it say.
type gateway struct {
	*httptest.Server

	refusals atomic.Int64 // how many are still to be answered with 503

	mu         sync.Mutex
	says       map[net.Conn]func(string) // guarded by mu
	subscribed []string                  // the commands, guarded by mu
	head       string                    // guarded by mu
}

func newGateway(t *testing.T, tls bool) *gateway {
	t.Helper()
	g := &gateway{says: map[net.Conn]func(string){}, head: "0k3f9xa-1"}
	g.Server = httptest.NewUnstartedServer(http.HandlerFunc(g.serve))
	if tls {
		g.StartTLS()
	} else {
		g.Start()
	}
	t.Cleanup(g.Close)
	t.Cleanup(func() { g.cut() })
	return g
}

func (g *gateway) addr() string { return g.Listener.Addr().String() }

func (g *gateway) serve(w http.ResponseWriter, r *http.Request) {
	if g.refusals.Add(-1) >= 0 {
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	conn, buf, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	if r.Header.Get("Accept") == "text/event-stream" {
		fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
		g.hold(conn, buf.Reader, func(message string) {
			event := "event: x\ndata: " + message + "\n\n"
			fmt.Fprintf(conn, "%x\r\n%s\r\n", len(event), event)
		})
		return
	}
	fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
	command := make([]byte, 2)
	if _, err := readFull(buf.Reader, command); err != nil {
		return
	}
	rest := make([]byte, 4+int(command[1]&0x7f)) // its mask is zero
	if _, err := readFull(buf.Reader, rest); err != nil {
		return
	}
	g.mu.Lock()
	g.subscribed = append(g.subscribed, string(rest[4:]))
	g.mu.Unlock()
	g.hold(conn, buf.Reader, func(message string) { conn.Write(append([]byte{0x81, byte(len(message))}, message...)) })
}

func readFull(r *bufio.Reader, b []byte) (int, error) {
	for n := range b {
		var err error
		if b[n], err = r.ReadByte(); err != nil {
			return n, err
		}
	}
	return len(b), nil
}

// hold tells the head and keeps the connection until it ends.
func (g *gateway) hold(conn net.Conn, r *bufio.Reader, say func(string)) {
	g.mu.Lock()
	say(`{"subscribed":{"` + feed + `":"` + g.head + `"}}`)
	g.says[conn] = say
	g.mu.Unlock()
	for {
		if _, err := r.ReadByte(); err != nil {
			break
		}
	}
	g.mu.Lock()
	delete(g.says, conn)
	g.mu.Unlock()
}

// tell tells everybody.
func (g *gateway) tell(message string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, say := range g.says {
		say(message)
	}
}

// move moves the head, and tells everybody.
func (g *gateway) move(head string) {
	g.mu.Lock()
	g.head = head
	g.mu.Unlock()
	g.tell(`{"changed":{"` + feed + `":"` + head + `"}}`)
}

// cut ends all connections.
func (g *gateway) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for conn := range g.says {
		conn.Close()
	}
}

func (g *gateway) commands() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return strings.Join(g.subscribed, "\n")
}
