// Package front takes the requests for signals off a listener, before an http.Server spends its buffers on them: it has 4 KB for
// reading and 4 KB for writing of each connection, and can't have them back once the connection is hijacked. With thousands of
// handshakes that is most of the garbage that there is, and garbage decides how large the heap grows.
//
//	accept ─▶ the head of the first request ─┬─ a plain handshake ─▶ http.ReadRequest ─▶ handler
//	                                         └─ anything else ─▶ Accept ─▶ http.Server, which reads it from the beginning
//
// Whatever is unusual is the http.Server's to judge: a head that is large, slow to come, malformed, or asks for something else.
package front

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

const (
	// largest is the longest head that is looked at; a larger one goes on to the http.Server.
	largest = 4 << 10
	// patience is how long a head may take, and an answer that is none.
	patience = 10 * time.Second
)

// Listener is what an http.Server is to accept from.
type Listener struct {
	// Static.
	net.Listener
	begins  []byte // of heads that are taken
	handler http.Handler
	log     *slog.Logger
	others  chan net.Conn
	closed  chan struct{}
	once    sync.Once
	working sync.WaitGroup

	mu sync.Mutex
	// Guarded by mu.
	failed error // of accepting
	looked map[net.Conn]struct{}
}

// Listen takes WebSocket handshakes for path off l, for handler; the rest is accepted. It works until it is closed, which closes
// l; handlers that are running go on.
func Listen(l net.Listener, path string, handler http.Handler, log *slog.Logger) *Listener {
	f := &Listener{
		Listener: l, begins: []byte("GET " + path), handler: handler, log: log,
		others: make(chan net.Conn), closed: make(chan struct{}), looked: make(map[net.Conn]struct{}),
	}
	f.working.Go(f.run)
	return f
}

// Accept gives the next connection that is not a handshake.
func (f *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-f.others:
		return c, nil
	case <-f.closed:
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return nil, f.failed
}

// Close ends accepting, and connections that have not said what they want. It waits for handlers. Closing twice is fine.
func (f *Listener) Close() error {
	err := f.end(net.ErrClosed)
	f.mu.Lock()
	for c := range f.looked {
		_ = c.Close()
	}
	f.mu.Unlock()
	f.working.Wait()
	return err
}

// end has Accept fail from now on.
func (f *Listener) end(why error) error {
	err := f.Listener.Close()
	f.mu.Lock()
	if f.failed == nil {
		f.failed = why
	}
	f.mu.Unlock()
	f.once.Do(func() { close(f.closed) })
	return err
}

func (f *Listener) run() {
	for {
		conn, err := f.Listener.Accept()
		var temporary net.Error
		switch {
		case err == nil:
			f.working.Go(func() { f.look(conn) })
		case errors.As(err, &temporary) && temporary.Timeout() || isBusy(err):
			f.log.Warn("a connection can't be accepted right now", "err", err)
			select {
			case <-time.After(100 * time.Millisecond):
			case <-f.closed:
				return
			}
		default:
			_ = f.end(err)
			return
		}
	}
}

// buffers lends what a handshake is read and answered with.
var buffers = sync.Pool{New: func() any {
	return bufio.NewReadWriter(bufio.NewReaderSize(nil, largest), bufio.NewWriterSize(nil, 512))
}}

// look finds out what a connection wants.
func (f *Listener) look(conn net.Conn) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		f.pass(conn)
		return
	}
	if !f.note(conn) {
		return
	}
	rw := buffers.Get().(*bufio.ReadWriter) //nolint:forcetypeassert // the pool has nothing else
	rw.Reader.Reset(conn)
	rw.Writer.Reset(conn)
	defer func() {
		rw.Reader.Reset(nil)
		rw.Writer.Reset(nil)
		buffers.Put(rw)
	}()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	head, err := f.head(rw.Reader)
	f.forget(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		_ = conn.Close()
		return
	}
	if r := handshake(rw.Reader, head, conn); r != nil {
		f.serve(conn, rw, r)
		return
	}
	// All that has been read is in the buffer's beginning: as much as head.
	_ = conn.SetReadDeadline(time.Time{})
	f.pass(&replay{TCPConn: tcp, left: bytes.Clone(head)})
}

func (f *Listener) note(conn net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed != nil {
		_ = conn.Close()
		return false
	}
	f.looked[conn] = struct{}{}
	return true
}

func (f *Listener) forget(conn net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.looked, conn)
}

func (f *Listener) pass(conn net.Conn) {
	select {
	case f.others <- conn:
	case <-f.closed:
		_ = conn.Close()
	}
}

// blankLine ends a head.
var blankLine = []byte("\r\n\r\n")

// head reads until it has a whole head, or knows that it isn't one to be taken, and gives all that has come so far.
func (f *Listener) head(r *bufio.Reader) ([]byte, error) {
	for n := 1; ; n++ {
		_, err := r.Peek(n)
		n = r.Buffered()
		all, _ := r.Peek(n)
		same := min(len(all), len(f.begins))
		if err != nil || !bytes.Equal(all[:same], f.begins[:same]) || bytes.Contains(all, blankLine) || n == largest {
			return all, err
		}
	}
}

// handshake reads a request from its head, if it is one to be taken and all that has come; nil: it isn't.
func handshake(r *bufio.Reader, head []byte, conn net.Conn) *http.Request {
	if end := bytes.Index(head, blankLine); end < 0 || end+len(blankLine) != len(head) {
		return nil
	}
	request, err := http.ReadRequest(r)
	if err != nil || !request.ProtoAtLeast(1, 1) || !plainHost(request.Host) || !plain(request.Header) ||
		request.Header.Get("Upgrade") == "" || request.Header.Get("Expect") != "" ||
		request.ContentLength != 0 || len(request.TransferEncoding) > 0 {
		return nil
	}
	request.RemoteAddr = conn.RemoteAddr().String()
	return request
}

func plainHost(host string) bool {
	for i := range len(host) {
		if host[i] <= ' ' || host[i] >= 0x7f {
			return false
		}
	}
	return host != ""
}

// plain tells whether names are tokens and values have no control characters, which http.ReadRequest leaves to its caller.
func plain(header http.Header) bool {
	for name, values := range header {
		for i := range len(name) {
			c := name[i]
			letter := (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
			if !letter && (c < '0' || c > '9') && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
				return false
			}
		}
		for _, value := range values {
			if strings.ContainsFunc(value, func(r rune) bool { return (r < ' ' && r != '\t') || r == 0x7f }) {
				return false
			}
		}
	}
	return true
}

// serve has the handler answer. What it hasn't hijacked is over after that.
func (f *Listener) serve(conn net.Conn, rw *bufio.ReadWriter, r *http.Request) {
	a := &answer{conn: conn, rw: rw, header: make(http.Header)}
	defer func() {
		if p := recover(); p != nil {
			f.log.Error("panic in a handshake", "panic", fmt.Sprint(p), "remote", r.RemoteAddr, "stack", string(debug.Stack()))
			_ = conn.Close()
		}
	}()
	f.handler.ServeHTTP(a, r)
	if a.hijacked {
		return
	}
	_ = conn.SetWriteDeadline(time.Now().Add(patience))
	a.WriteHeader(http.StatusOK)
	response := http.Response{
		StatusCode: a.status, ProtoMajor: 1, ProtoMinor: 1, Header: a.header, Request: r, Close: true,
		Body: io.NopCloser(&a.body), ContentLength: int64(a.body.Len()),
	}
	_ = response.Write(conn)
	_ = conn.Close()
}

// answer is the ResponseWriter of a handshake.
type answer struct {
	conn     net.Conn
	rw       *bufio.ReadWriter
	header   http.Header
	status   int // 0: not written
	body     bytes.Buffer
	hijacked bool
}

var _ http.Hijacker = (*answer)(nil)

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *answer) Write(p []byte) (int, error) {
	if a.hijacked {
		return 0, http.ErrHijacked
	}
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

// Hijack gives the connection. The buffers are good until the handler returns.
func (a *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if a.hijacked {
		return nil, nil, http.ErrHijacked
	}
	a.hijacked = true
	return a.conn, a.rw, nil
}

// replay is a connection whose beginning has been read already.
type replay struct {
	*net.TCPConn
	left []byte
}

func (r *replay) Read(p []byte) (int, error) {
	if len(r.left) == 0 {
		return r.TCPConn.Read(p)
	}
	n := copy(p, r.left)
	if r.left = r.left[n:]; len(r.left) == 0 {
		r.left = nil
	}
	return n, nil
}

// Below gives the connection itself once there is nothing left to replay; before that, r.
func (r *replay) Below() net.Conn {
	if len(r.left) == 0 {
		return r.TCPConn
	}
	return r
}
