//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"
)

const (
	feed = "bench:signal"
	// warmUp is how many writes come before those that count: connections, caches and the database's file are new.
	warmUp = 20
	// patience is how long one signal may take before measuring makes no sense.
	patience = 10 * time.Second
)

// results are one duration for each write, or each request.
type results struct {
	toSignal, fromAnswer, toAnswer []time.Duration
	roundTrip                      []time.Duration
}

// ring is a signalled head, and when its frame was received.
type ring struct {
	head string
	at   time.Time
}

// measure writes at the API with the key ("": none), one at a time, and hears of it from the gateway.
func measure(ctx context.Context, api, gateway, key string, writes int) (results, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	signals, err := follow(ctx, gateway)
	if err != nil {
		return results{}, err
	}
	client := keyClient(key, 1)
	defer client.CloseIdleConnections()
	var r results
	for n := range warmUp + writes {
		if err := pause(ctx, 5*time.Millisecond+rand.N(15*time.Millisecond)); err != nil {
			return r, err
		}
		sent := time.Now()
		head, err := write(ctx, client, api, feed, "price", n)
		answered := time.Now()
		if err != nil {
			return r, err
		}
		received, err := await(ctx, signals, head)
		if err != nil {
			return r, err
		}
		if n >= warmUp {
			r.toSignal = append(r.toSignal, received.Sub(sent))
			r.fromAnswer = append(r.fromAnswer, received.Sub(answered))
			r.toAnswer = append(r.toAnswer, answered.Sub(sent))
		}
	}
	for range 500 {
		sent := time.Now()
		if _, err := request(ctx, client, http.MethodGet, api+"/healthz", ""); err != nil {
			return r, err
		}
		r.roundTrip = append(r.roundTrip, time.Since(sent))
	}
	return r, nil
}

// follow opens a WebSocket, subscribes, and gives each signal from then on. No client library is between: it is the
// frame that counts.
func follow(ctx context.Context, url string) (<-chan ring, error) {
	conn, _, err := websocket.Dial(ctx, url+"/v1/signals", nil) //nolint:bodyclose // the library has done that
	if err != nil {
		return nil, fmt.Errorf("open the WebSocket: %w", err)
	}
	if err := conn.Write(ctx, websocket.MessageText, []byte(`{"subscribe":{"`+feed+`":""}}`)); err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	signals := make(chan ring, 100)
	subscribed := make(chan error, 1)
	go func() {
		defer conn.CloseNow() //nolint:errcheck // it is of no use any more
		defer close(signals)
		for {
			_, frame, err := conn.Read(ctx)
			at := time.Now()
			if err != nil {
				subscribed <- err
				return
			}
			var message struct {
				Subscribed map[string]string `json:"subscribed"`
				Changed    map[string]string `json:"changed"`
			}
			if err := json.Unmarshal(frame, &message); err != nil {
				subscribed <- err
				return
			}
			if message.Subscribed != nil {
				subscribed <- nil
			}
			if head, ok := message.Changed[feed]; ok {
				signals <- ring{head, at}
			}
		}
	}()
	if err := <-subscribed; err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	return signals, nil
}

func await(ctx context.Context, signals <-chan ring, head string) (time.Time, error) {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		select {
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		case <-limit.C:
			return time.Time{}, fmt.Errorf("no signal for %s within %s", head, patience)
		case s, ok := <-signals:
			if !ok {
				return time.Time{}, errors.New("the WebSocket was closed")
			}
			if s.head == head {
				return s.at, nil
			}
		}
	}
}

// write puts one item and gives the feed's head after it.
func write(ctx context.Context, client *http.Client, url, feed, key string, n int) (string, error) {
	body := fmt.Sprintf(`{"changes":[{"key":%q,"value":{"n":%d}}]}`, key, n)
	answer, err := request(ctx, client, http.MethodPost, url+"/v1/feeds/"+feed+"/changes", body)
	if err != nil {
		return "", err
	}
	var written struct {
		Cursor string `json:"cursor"`
	}
	if err := json.Unmarshal(answer, &written); err != nil {
		return "", fmt.Errorf("the answer to a write: %w", err)
	}
	return written.Cursor, nil
}

// keyClient keeps that many connections, and sends the key with every request, "": none.
func keyClient(key string, connections int) *http.Client {
	return &http.Client{Transport: &keyed{&http.Transport{MaxIdleConnsPerHost: connections}, key}}
}

type keyed struct {
	*http.Transport

	key string
}

func (k *keyed) RoundTrip(r *http.Request) (*http.Response, error) {
	if k.key != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+k.key)
	}
	return k.Transport.RoundTrip(r)
}

func request(ctx context.Context, client *http.Client, method, url, body string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, url, res.Status, answer)
	}
	return answer, err
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// percentile is the duration that p percent of them don't exceed.
func percentile(took []time.Duration, p int) time.Duration {
	sorted := slices.Sorted(slices.Values(took))
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}

func ms(d time.Duration) string {
	return strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', 2, 64)
}
