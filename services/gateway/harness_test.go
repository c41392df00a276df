package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"github.com/doorbell-sync/doorbell/pkg/auth"
	"github.com/doorbell-sync/doorbell/pkg/bus/membus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/policy"
	"github.com/doorbell-sync/doorbell/services/gateway"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come; it only passes when something is broken.
const patience = 20 * time.Second

// Tokens of the tests. alice has two: the second sees less.
const (
	alice     = "alice-secret-0123456789"
	aliceLess = "alice-less-0123456789"
	bob       = "bob-secret-0123456789"
	panics    = "a-token-that-panics"
	stuck     = "a-token-nobody-can-tell"
	away      = "a-token-nobody-can-tell-right-now"
)

// keys is static keys, and tokens that make trouble.
type keys struct{ *auth.Keys }

func (k keys) Authenticate(ctx context.Context, token string) (*auth.Principal, error) {
	switch token {
	case panics:
		panic("the authenticator panics")
	case stuck:
		return nil, errors.New("the key server is broken")
	case away:
		return nil, fmt.Errorf("the key server is away: %w", auth.ErrUnavailable)
	}
	return k.Keys.Authenticate(ctx, token)
}

func testKeys(t testing.TB) auth.Authenticator {
	t.Helper()
	k, err := auth.NewKeys([]auth.Key{
		{Name: "alice", Secret: alice, Read: []string{"inbox:7429", "room:*"}},
		{Name: "alice", Secret: aliceLess, Read: []string{"room:*"}},
		{Name: "bob", Secret: bob, Read: []string{"inbox:8"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return keys{k}
}

// logs is what was logged.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

type harness struct {
	*gateway.Gateway
	t      testing.TB
	bus    *membus.Bus
	server *httptest.Server
	logs   *logs
	marks  int64 // of expectNothing
}

// start runs a gateway on a bus of its own, with "prices" and "orders" public and all else private.
func start(t testing.TB, change ...func(*gateway.Options)) *harness {
	t.Helper()
	h := &harness{t: t, bus: membus.New(membus.Options{}), logs: &logs{}}
	public := policy.Default()
	public.Public = true
	opt := gateway.Options{
		Bus:      h.bus,
		Policies: policy.NewSet(policy.Default(), map[string]policy.Namespace{"prices": public, "orders": public}),
		Auth:     testKeys(t),
		Logger:   slog.New(slog.NewTextHandler(h.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, f := range change {
		f(&opt)
	}
	var err error
	if h.Gateway, err = gateway.New(opt); err != nil {
		t.Fatal(err)
	}
	h.server = httptest.NewUnstartedServer(h.Handler())
	h.server.Listener = h.Listen(h.server.Listener)
	h.server.Start()
	t.Cleanup(func() {
		h.Close()
		h.server.Close()
		_ = h.bus.Close()
	})
	return h
}

func cursor(seq int64) feed.Cursor { return feed.Cursor{Epoch: 1_000_000_000, Seq: seq} }

// at is a cursor as it stands in a message.
func at(seq int64) string { return `"` + cursor(seq).String() + `"` }

func (h *harness) publish(name feed.Name, seq int64) {
	h.t.Helper()
	c := cursor(seq)
	if seq < 0 {
		c = feed.Cursor{}
	}
	if err := h.bus.Publish(context.Background(), name, c); err != nil {
		h.t.Fatal(err)
	}
}

func (h *harness) url() string { return "ws" + strings.TrimPrefix(h.server.URL, "http") + gateway.Path }

type client struct {
	*websocket.Conn
	t        testing.TB
	response *http.Response
	binary   *translator // nil: doorbell.v1.json
}

// open upgrades, and reads nothing yet.
func (h *harness) open(header http.Header) *client {
	h.t.Helper()
	ws, response, err := websocket.DefaultDialer.Dial(h.url(), header)
	if err != nil {
		h.t.Fatal("dial:", err)
	}
	h.t.Cleanup(func() { _ = ws.Close() })
	return &client{Conn: ws, t: h.t, response: response}
}

// dial opens a connection and reads its hello. A token goes into the header.
func (h *harness) dial(token string) *client {
	h.t.Helper()
	header := http.Header{}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	c := h.open(header)
	c.hello()
	return c
}

func (c *client) hello() {
	c.t.Helper()
	var m struct {
		Hello struct {
			Session string
			PingMS  int `json:"ping_ms"`
		}
	}
	text := c.next()
	if err := json.Unmarshal([]byte(text), &m); err != nil || !strings.HasPrefix(m.Hello.Session, "s-") || m.Hello.PingMS == 0 {
		c.t.Fatalf("the first message is %s; want a hello", text)
	}
}

func (c *client) send(text string) {
	c.t.Helper()
	kind, message := websocket.TextMessage, []byte(text)
	if c.binary != nil {
		kind, message = websocket.BinaryMessage, c.binary.command(text)
	}
	if err := c.WriteMessage(kind, message); err != nil {
		c.t.Fatal("send:", err)
	}
}

// next reads a message.
func (c *client) next() string {
	c.t.Helper()
	text, err := c.tryNext()
	if err != nil {
		c.t.Fatal("read:", err)
	}
	return text
}

func (c *client) tryNext() (string, error) {
	_ = c.SetReadDeadline(time.Now().Add(patience))
	kind, b, err := c.ReadMessage()
	if c.binary != nil && err == nil {
		return c.binary.message(kind, b), nil
	}
	return string(b), err
}

func (c *client) expect(want ...string) {
	c.t.Helper()
	for _, w := range want {
		if got := c.next(); got != w {
			c.t.Fatalf("got  %s\nwant %s", got, w)
		}
	}
}

// expectNothing follows another feed, makes it move, and wants that to be all that comes: the bus keeps the order of
// signals, so whatever was to be told of earlier ones comes before.
func (c *client) expectNothing(h *harness) {
	c.t.Helper()
	h.marks++
	c.send(`{"subscribe":{"orders:mark":null}}`)
	head := "null"
	if h.marks > 1 {
		head = at(h.marks - 1)
	}
	c.expect(`{"subscribed":{"orders:mark":` + head + `}}`)
	h.publish("orders:mark", h.marks)
	c.expect(`{"changed":{"orders:mark":` + at(h.marks) + `}}`)
	c.send(`{"unsubscribe":["orders:mark"]}`)
}

// expectError wants an error with the code, and all the words in its detail.
func (c *client) expectError(id, code string, words ...string) {
	c.t.Helper()
	text := c.next()
	var m struct {
		ID    json.RawMessage
		Error struct{ Code, Detail string }
	}
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		c.t.Fatalf("%s: %v", text, err)
	}
	if string(m.ID) != id || m.Error.Code != code {
		c.t.Fatalf("got %s; want an error %q with the id %s", text, code, id)
	}
	for _, w := range words {
		if !strings.Contains(m.Error.Detail, w) {
			c.t.Errorf("the detail %q doesn't say %q", m.Error.Detail, w)
		}
	}
}

// expectClose wants the connection to be closed with the code, and gives the reason.
func (c *client) expectClose(code int) (reason string) {
	c.t.Helper()
	for {
		text, err := c.tryNext()
		if err == nil {
			c.t.Logf("before the close: %.200s", text)
			continue
		}
		closed, ok := errors.AsType[*websocket.CloseError](err)
		if !ok || closed.Code != code {
			c.t.Fatalf("ended with %v; want a close with %d", err, code)
		}
		return closed.Text
	}
}

// eventually waits for a state that comes without a message to wait for.
func (h *harness) eventually(what string, holds func() bool) {
	h.t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			h.t.Fatal("never: " + what)
		}
	}
}

// subscribeTo is a subscribe command for n feeds: "orders:0", "orders:1" and so on.
func subscribeTo(from, n int) string {
	var b strings.Builder
	b.WriteString(`{"subscribe":{`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"orders:%d":null`, from+i)
	}
	b.WriteString("}}")
	return b.String()
}
