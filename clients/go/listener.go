package doorbell

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/coder/websocket"
)

// frame is anything that the gateway sends; one member is set.
type frame struct {
	Hello *struct {
		PingMS int64 `json:"ping_ms"`
	} `json:"hello"`
	Subscribed map[string]*string `json:"subscribed"`
	Denied     map[string]string  `json:"denied"`
	Changed    map[string]*string `json:"changed"`
	Spread     int64              `json:"spread"`
	Trace      string             `json:"traceparent"`
	Goaway     *struct {
		InMS int64 `json:"in_ms"`
	} `json:"goaway"`
	Degraded *bool `json:"degraded"`
	Error    *struct {
		Code   string `json:"code"`
		Detail string `json:"detail"`
	} `json:"error"`
}

// listener is what one connection has been told. Owned by connect.
type listener struct {
	*socket
	ping    time.Duration    // how long the gateway is quiet at most
	answer  *time.Timer      // something has to be heard before it fires
	late    *time.Timer      // fires when the subscription takes long
	leave   <-chan time.Time // after a goaway: when to go
	greeted bool             // hello was heard
	pinged  bool             // our ping is under way
	pings   int
}

func (l *listener) stop() {
	l.answer.Stop()
	l.late.Stop()
}

func (l *listener) alive() {
	if l.greeted {
		l.pinged = false
		l.answer.Reset(l.ping)
	}
}

// frame takes one frame. An error ends the connection.
func (l *listener) frame(data []byte) error {
	var f frame
	if err := json.Unmarshal(data, &f); err != nil {
		return fmt.Errorf("doorbell: a frame of the gateway: %w", err)
	}
	if f.Hello != nil {
		l.greeted = true
		if f.Hello.PingMS > 0 {
			l.ping = millis(f.Hello.PingMS)
		}
	}
	l.alive()
	if reason, denied := f.Denied[l.feed]; denied {
		return &Refused{Reason: reason}
	}
	if text, ok := f.Subscribed[l.feed]; ok {
		l.late.Stop()
		l.upAt = time.Now()
		if text == nil {
			l.box.subscribed(nil)
		} else {
			head, err := parseCursor(*text)
			if err != nil {
				return fmt.Errorf("doorbell: subscribed: %w", err)
			}
			l.box.subscribed(&head)
		}
	}
	if text := f.Changed[l.feed]; text != nil {
		head, err := parseCursor(*text)
		if err != nil {
			return fmt.Errorf("doorbell: changed: %w", err)
		}
		l.box.changed(head, millis(f.Spread), f.Trace)
	}
	if f.Degraded != nil {
		l.box.setDegraded(*f.Degraded)
	}
	if f.Goaway != nil && l.leave == nil {
		l.leave = time.After(random(millis(f.Goaway.InMS)))
	}
	if f.Error != nil {
		return fmt.Errorf("doorbell: the gateway: %s: %s", f.Error.Code, f.Error.Detail)
	}
	return nil
}

// millis is n milliseconds, and no more than a frame can mean.
func millis(n int64) time.Duration {
	return time.Duration(min(max(n, 0), maxMillis)) * time.Millisecond
}

// explainClose makes the close codes that are final *[Refused].
func explainClose(err error) error {
	if c, ok := errors.AsType[websocket.CloseError](err); ok {
		switch c.Code {
		case closeInvalidToken, closeForbidden, closeBadCommand:
			return &Refused{Code: int(c.Code), Reason: c.Reason}
		default: // to be tried again
		}
	}
	return fmt.Errorf("doorbell: the connection to the gateway: %w", err)
}
