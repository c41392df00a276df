package doorbell

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"testing"
)

// network joins one server and its clients by pipes, so that a test can run in a bubble of its own time, and can
// pull the plug.
type network struct {
	accept chan net.Conn
	closed chan struct{}

	mu    sync.Mutex
	down  bool
	mute  bool // accepts connections and lets nothing through
	pipes []net.Conn
}

// serve starts handler on a network of its own until the test ends, and gives a client of it.
func serve(t *testing.T, handler http.Handler, opts ...Option) (*Client, *network) {
	t.Helper()
	n := &network{accept: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(n)
	}()
	transport := &http.Transport{DialContext: n.dial}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = server.Close()
		n.cut()
		<-done
	})
	opts = append([]Option{WithHTTPClient(&http.Client{Transport: transport})}, opts...)
	client, err := New("http://doorbell.test", opts...)
	if err != nil {
		t.Fatal(err)
	}
	return client, n
}

func (n *network) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down {
		return nil, errors.New("connection refused")
	}
	client, server := net.Pipe()
	n.pipes = append(n.pipes, client, server)
	if n.mute {
		return client, nil
	}
	select {
	case n.accept <- server:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-n.closed:
		return nil, errors.New("connection refused")
	}
}

// cut ends all connections without a word.
func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.pipes {
		_ = p.Close()
	}
	n.pipes = nil
}

// setDown makes the server unreachable, or reachable again.
func (n *network) setDown(down bool) {
	n.mu.Lock()
	n.down = down
	n.mu.Unlock()
	if down {
		n.cut()
	}
}

func (n *network) Accept() (net.Conn, error) {
	select {
	case c := <-n.accept:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *network) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.closed:
	default:
		close(n.closed)
	}
	return nil
}

func (n *network) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }
