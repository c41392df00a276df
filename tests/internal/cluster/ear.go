//go:build unix

package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
)

// Ear is a raw socket that follows one feed and only listens: it never polls, so what it hasn't been told it doesn't know. It
// never reconnects either.
type Ear struct {
	Feed string

	done chan struct{} // closed when the socket has ended

	mu sync.Mutex
	// Guarded by mu.
	told     []Telling // of rising seqs
	degraded []bool    // as they came
	err      error     // why it ended
}

// Telling is what an ear was told, and when.
type Telling struct {
	Seq int64
	At  time.Time
}

// Listen opens a socket at url ("http://…", nginx's or a gateway's), and returns once it is subscribed. It ends with the test.
func Listen(tb testing.TB, url, feed string) *Ear {
	tb.Helper()
	e := &Ear{Feed: feed, done: make(chan struct{})}
	ctx, cancel := context.WithCancel(tb.Context())
	tb.Cleanup(func() {
		cancel()
		<-e.done
	})
	dialing, dialed := context.WithTimeout(ctx, doorbelltest.Patience)
	defer dialed()
	//nolint:bodyclose // Dial closes it
	conn, res, err := websocket.Dial(dialing, url+"/v1/signals", &websocket.DialOptions{Subprotocols: []string{"doorbell.v1.json"}})
	if err != nil {
		close(e.done)
		tb.Fatalf("open a socket at %s: %v", url, err)
	}
	if res.StatusCode != http.StatusSwitchingProtocols || conn.Subprotocol() != "doorbell.v1.json" {
		tb.Errorf("a socket was answered with %d, %q", res.StatusCode, conn.Subprotocol())
	}
	conn.SetReadLimit(1 << 20)
	subscribed := make(chan struct{})
	go func() {
		defer close(e.done)
		defer func() { _ = conn.CloseNow() }()
		e.end(e.hear(ctx, conn, subscribed))
	}()
	if err := conn.Write(dialing, websocket.MessageText, fmt.Appendf(nil, `{"subscribe":{%q:""}}`, feed)); err != nil {
		tb.Fatal(err)
	}
	select {
	case <-subscribed:
	case <-dialing.Done():
		tb.Fatalf("a socket to %s was not subscribed to %s: %v", url, feed, e.Err())
	}
	return e
}

// frame is what of a frame matters here.
type frame struct {
	Subscribed map[string]*string `json:"subscribed"`
	Changed    map[string]*string `json:"changed"`
	Degraded   *bool              `json:"degraded"`
	Denied     map[string]string  `json:"denied"`
	Error      json.RawMessage    `json:"error"`
}

func (e *Ear) hear(ctx context.Context, conn *websocket.Conn, subscribed chan struct{}) error {
	for {
		_, data, err := conn.Read(ctx)
		if err != nil {
			return err
		}
		now := time.Now()
		var f frame
		if err := json.Unmarshal(data, &f); err != nil {
			return fmt.Errorf("the frame %s: %w", data, err)
		}
		if f.Denied != nil || f.Error != nil {
			return fmt.Errorf("refused: %s", data)
		}
		for _, heads := range []map[string]*string{f.Subscribed, f.Changed} {
			if head := heads[e.Feed]; head != nil {
				e.tell(Seq(*head), now)
			}
		}
		if _, ok := f.Subscribed[e.Feed]; ok {
			close(subscribed)
		}
		if f.Degraded != nil {
			e.mu.Lock()
			e.degraded = append(e.degraded, *f.Degraded)
			e.mu.Unlock()
		}
	}
}

func (e *Ear) tell(seq int64, at time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if n := len(e.told); n == 0 || seq > e.told[n-1].Seq {
		e.told = append(e.told, Telling{seq, at})
	}
}

func (e *Ear) end(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.err = err
}

// Err is why the socket has ended; nil: it hasn't.
func (e *Ear) Err() error {
	select {
	case <-e.done:
		e.mu.Lock()
		defer e.mu.Unlock()
		return errors.Join(errors.New("the socket ended"), e.err)
	default:
		return nil
	}
}

// Seq is the newest that it was told.
func (e *Ear) Seq() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.told) == 0 {
		return 0
	}
	return e.told[len(e.told)-1].Seq
}

// Heard is when it was first told of that seq or a later one; zero: not yet.
func (e *Ear) Heard(seq int64) time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, t := range e.told {
		if t.Seq >= seq {
			return t.At
		}
	}
	return time.Time{}
}

// Degraded are the `degraded` frames so far, from the given one on.
func (e *Ear) Degraded(from int) []bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]bool(nil), e.degraded[from:]...)
}

// WaitHeard waits until it was told of that seq, and gives when.
func (e *Ear) WaitHeard(tb testing.TB, seq int64) time.Time {
	tb.Helper()
	doorbelltest.Eventually(tb, fmt.Sprintf("a follower of %s hears of %d", e.Feed, seq), func() bool {
		if err := e.Err(); err != nil {
			tb.Fatal(err)
		}
		return e.Seq() >= seq
	})
	return e.Heard(seq)
}

// Seq is the seq of a cursor; 0 for none.
func Seq(cursor string) int64 {
	_, text, _ := strings.Cut(cursor, "-")
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
