package doorbell

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/coder/websocket"
)

// subprotocol is what the frames' form is called in the handshake.
const subprotocol = "doorbell.v1.json"

const (
	closeInvalidToken = 4001
	closeForbidden    = 4003
	closeBadCommand   = 4009
	closeTooMany      = 4029
)

const (
	dialTimeout      = 10 * time.Second
	writeTimeout     = 10 * time.Second
	answerTimeout    = 15 * time.Second // for hello, and for the pong to a ping of ours
	subscribeTimeout = 5 * time.Second  // then the follower polls; the connection is kept
	defaultPing      = 25 * time.Second // until hello says otherwise
	closeTimeout     = time.Second      // for the close frame, after a command could not be sent
	stableAfter      = 10 * time.Second // a connection that lasted so long makes the next delay short again
	tooManyDelay     = 30 * time.Second // for 4029 without a readable delay
	maxTooManyDelay  = 10 * time.Minute
	maxMillis        = 10 * 60 * 1000 // for anything in a frame that is a time
	maxFrame         = 1 << 20        // bytes; the server's frames are far smaller
)

// errGoaway ends a connection that the gateway asked to leave.
var errGoaway = errors.New("doorbell: the gateway asked to reconnect")

// socket keeps one feed's subscription alive over WebSockets, one after the other, and tells an inbox what it hears.
type socket struct {
	client *Client
	feed   string
	box    *inbox
	upAt   time.Time // when this connection's subscription was confirmed; zero: not yet
}

// run connects again and again until ctx ends or the gateway refuses for good.
func (s *socket) run(ctx context.Context) {
	var retry backoff
	for {
		s.upAt = time.Time{}
		err := s.connect(ctx)
		if ctx.Err() != nil {
			return
		}
		if _, final := errors.AsType[*Refused](err); final {
			s.box.fail(err)
			return
		}
		up := !s.upAt.IsZero()
		stable := up && time.Since(s.upAt) >= stableAfter
		if stable {
			retry.reset()
		}
		asked := errors.Is(err, errGoaway)
		if !asked || !up { // a goaway is no failure: the link counts as up until the next connection fails
			s.box.down(err)
		}
		delay := time.Duration(0)
		if !asked || !stable {
			delay = max(retry.next(), askedDelay(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(delay):
		}
	}
}

// connect is the life of one connection. It gives the reason of its end, never nil.
func (s *socket) connect(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	heard := make(chan struct{}, 1)
	conn, err := s.dial(ctx, heard)
	if err != nil {
		cancel()
		return err
	}
	frames := make(chan []byte)
	ended := make(chan error, 1)
	go func() {
		for {
			_, data, err := conn.Read(ctx)
			if err != nil {
				ended <- err
				close(frames)
				return
			}
			select {
			case frames <- data:
			case <-ctx.Done(): // nobody listens any more; the next Read ends it
			}
		}
	}()
	defer func() {
		cancel()
		_ = conn.CloseNow()
		for range frames { // until the reader has gone
		}
	}()

	s.box.connected()
	command := map[string]any{"id": 1, "subscribe": map[string]string{s.feed: s.box.resumeFrom()}}
	if err := s.send(ctx, conn, command); err != nil {
		return whyUnsent(err, frames, ended)
	}
	l := &listener{socket: s, ping: defaultPing, answer: time.NewTimer(answerTimeout), late: time.NewTimer(subscribeTimeout)}
	defer l.stop()
	for {
		select {
		case data, ok := <-frames:
			if !ok {
				return explainClose(<-ended)
			}
			if err := l.frame(data); err != nil {
				return err
			}
		case <-heard:
			l.alive()
		case <-l.answer.C:
			// Nothing was heard for a ping interval: ask. Nothing again: there is nobody.
			if l.pinged || !l.greeted {
				return errors.New("doorbell: the gateway is silent")
			}
			l.pings++
			l.pinged = true
			l.answer.Reset(answerTimeout)
			if err := s.send(ctx, conn, map[string]int{"ping": l.pings}); err != nil {
				return whyUnsent(err, frames, ended)
			}
		case <-l.late.C:
			s.box.down(errors.New("doorbell: the gateway has not confirmed the subscription yet"))
		case <-l.leave:
			return errGoaway
		}
	}
}

// dial makes the handshake. heard gets a token for each of the server's pings.
func (s *socket) dial(ctx context.Context, heard chan<- struct{}) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	header := make(http.Header)
	if s.client.key != "" {
		header.Set("Authorization", "Bearer "+s.client.key)
	}
	//nolint:bodyclose // Dial closes it
	conn, resp, err := websocket.Dial(ctx, s.client.gateway+"/v1/signals", &websocket.DialOptions{
		HTTPClient:   s.client.http,
		HTTPHeader:   header,
		Subprotocols: []string{subprotocol},
		OnPingReceived: func(context.Context, []byte) bool {
			select {
			case heard <- struct{}{}:
			default:
			}
			return true
		},
	})
	if err != nil {
		// A refusal here says nothing about the key: it may be a proxy that knows no WebSocket. Reads will tell.
		if resp != nil && resp.StatusCode >= http.StatusBadRequest {
			return nil, parseProblem(resp, nil)
		}
		return nil, fmt.Errorf("doorbell: %w", err)
	}
	conn.SetReadLimit(maxFrame)
	return conn, nil
}

func (s *socket) send(ctx context.Context, conn *websocket.Conn, command any) error {
	data, err := json.Marshal(command)
	if err != nil {
		return fmt.Errorf("doorbell: a command: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if err := conn.Write(ctx, websocket.MessageText, data); err != nil {
		return fmt.Errorf("doorbell: sending to the gateway: %w", err)
	}
	return nil
}

// whyUnsent finds out why a command could not be sent. A gateway that refuses a client closes before it has been told
// anything, and the close frame, which says whether to come back, has been read beside the failing write.
func whyUnsent(failed error, frames <-chan []byte, ended <-chan error) error {
	limit := time.NewTimer(closeTimeout)
	defer limit.Stop()
	for {
		select {
		case _, ok := <-frames:
			if ok {
				continue // the command was lost, so nothing before the end matters
			}
			if err := <-ended; websocket.CloseStatus(err) != -1 {
				return explainClose(err)
			}
			return failed
		case <-limit.C:
			return failed
		}
	}
}

// askedDelay is how long the gateway wants this client to stay away, with up to a quarter added so that not all come back at once.
func askedDelay(err error) (delay time.Duration) {
	if p, ok := errors.AsType[*Problem](err); ok {
		delay = p.RetryAfter
	} else if c, ok := errors.AsType[websocket.CloseError](err); ok && c.Code == closeTooMany {
		delay = delayIn(c.Reason)
	}
	return delay + random(delay/4)
}

var delayText = regexp.MustCompile(`(\d{1,9}(?:\.\d+)?) ?(ms|s\b|$|[^\w.])`)

// delayIn finds the first number in a close reason: milliseconds if "ms" follows, else seconds.
func delayIn(reason string) time.Duration {
	found := delayText.FindStringSubmatch(reason)
	if found == nil {
		return tooManyDelay
	}
	n, _ := strconv.ParseFloat(found[1], 64) // the expression lets numbers through only
	unit := time.Second
	if found[2] == "ms" {
		unit = time.Millisecond
	}
	return min(time.Duration(n*float64(unit)), maxTooManyDelay)
}
