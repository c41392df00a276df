package doorbell

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// fakeSocket is one connection of a fake gateway.
type fakeSocket struct {
	conn       *websocket.Conn
	subscribed bool
	since      string
	mute       atomic.Bool
}

func (f *fake) serveSignals(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.dials = append(f.dials, time.Now())
	status := f.handshake
	f.mu.Unlock()
	if status != 0 {
		w.WriteHeader(status)
		return
	}
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"doorbell.v1.json"}})
	if err != nil {
		return
	}
	defer conn.CloseNow()
	s := &fakeSocket{conn: conn}
	f.with(func() { f.sockets[s] = true })
	defer f.with(func() { delete(f.sockets, s) })
	ping := f.pingMS
	if ping == 0 {
		ping = 25000
	}
	ctx := context.Background() // the request's ends with the hijack
	s.send(fmt.Sprintf(`{"hello":{"session":"s-1","ping_ms":%d}}`, ping))
	for {
		_, data, err := conn.Read(ctx)
		if err != nil {
			return
		}
		var c struct {
			ID        int
			Subscribe map[string]string
			Ping      int
		}
		if json.Unmarshal(data, &c) != nil {
			_ = conn.Close(4009, "malformed")
			return
		}
		if c.Ping > 0 {
			s.send(fmt.Sprintf(`{"pong":%d}`, c.Ping))
		}
		if since, ok := c.Subscribe[feedX]; ok {
			// The subscription is live before the head is read.
			f.mu.Lock()
			s.subscribed, s.since = true, since
			head := f.headLocked()
			answer := fmt.Sprintf(`{"id":%d,"subscribed":{%q:%q}}`, c.ID, feedX, head)
			if f.subscribed != nil {
				answer = f.subscribed(head)
			}
			f.mu.Unlock()
			if answer != "" {
				s.send(answer)
			}
		}
	}
}

func (s *fakeSocket) send(frame string) {
	if s.mute.Load() {
		return
	}
	_ = s.conn.Write(context.Background(), websocket.MessageText, []byte(frame))
}

// broadcast sends a frame to every subscriber.
func (f *fake) broadcast(frame string) {
	for _, s := range f.subscribers() {
		s.send(frame)
	}
}

// closeAll ends every connection with a close frame.
func (f *fake) closeAll(code int, reason string) {
	for _, s := range f.subscribers() {
		_ = s.conn.Close(websocket.StatusCode(code), reason)
	}
}

func (f *fake) subscribers() (found []*fakeSocket) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.sockets {
		if s.subscribed {
			found = append(found, s)
		}
	}
	return found
}

// dialled gives when connections were tried since the last call.
func (f *fake) dialled() []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := f.dials
	f.dials = nil
	return at
}
