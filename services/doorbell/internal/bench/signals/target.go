//go:build linux

package signals

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/testkit"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/crowd"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/epoll"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/stage"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/wire"
)

// feed is the one that a crowd follows, ownFeeds names one for each connection.
const (
	feed     = "bench:signals"
	ownFeeds = "bench:own-{n}"
)

// target is a server that is measured. Its methods may be called from several goroutines.
type target interface {
	name() string
	// pids are the processes whose memory and CPU count.
	pids() ([]int, error)
	spec(transport string, tls bool, feed string) (crowd.Spec, error)
	// write changes a feed, and gives the cursor that everybody is told.
	write(ctx context.Context, feed string) (wire.Cursor, error)
	// burst changes a feed so many times back to back, and gives the last cursor and the moment (epoll.Now) of the last change.
	burst(ctx context.Context, feed string, changes int) (wire.Cursor, int64, error)
	// head is what the server itself says was written last.
	head(ctx context.Context, feed string) (wire.Cursor, error)
	// explain adds to an error what the server has to say.
	explain(err error) error
}

// bell is Doorbell: one API, one worker, and the gateways.
type bell struct {
	*stage.Doorbell

	writer *stage.Writer
}

func newDoorbell(t testkit.TB, s scenario) (*bell, error) {
	o := stage.Options{Gateways: 1}
	switch s.name {
	case "six-gateways":
		o.Gateways = 6
	case "drain":
		o.Gateways = 2
	case "idle-tls":
		o.TLS = true
	}
	d, err := stage.NewDoorbell(t, o)
	if err != nil {
		return nil, err
	}
	return &bell{d, d.Writer(16)}, nil
}

func (*bell) name() string { return "doorbell" }

func (b *bell) pids() ([]int, error) {
	var all []int
	for _, g := range b.Gateways {
		all = append(all, g.PID)
	}
	return all, nil
}

func (b *bell) spec(transport string, tls bool, feed string) (crowd.Spec, error) {
	s := crowd.Spec{Feed: feed, Transport: transport, TLS: tls, Path: "/v1/signals", Subscribe: true}
	for _, g := range b.Gateways {
		s.Targets = append(s.Targets, g.Addr)
	}
	if transport == crowd.Events {
		s.Path += "?feed={feed}"
	}
	return s, nil
}

func (b *bell) write(ctx context.Context, feed string) (wire.Cursor, error) {
	return b.writer.Touch(ctx, feed)
}

// burst waits for each write to be durable before the next; the last counts from then on.
func (b *bell) burst(ctx context.Context, feed string, changes int) (last wire.Cursor, at int64, err error) {
	for range changes {
		if last, err = b.write(ctx, feed); err != nil {
			return last, 0, err
		}
	}
	return last, epoll.Now(), nil
}

func (b *bell) head(ctx context.Context, feed string) (wire.Cursor, error) {
	return b.writer.Head(ctx, feed)
}

func (b *bell) explain(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) { // it isn't the servers' fault
		return err
	}
	return b.Explain(err)
}

// nchan is nginx with nchan. It is given messages of the same form and size as Doorbell's, so that the same client reads them.
type nchan struct {
	*stage.Nchan

	http *http.Client
	mu   sync.Mutex
	seqs map[string]int64 // guarded by mu
}

func newNchan(t testkit.TB, workers int) (*nchan, error) {
	n, err := stage.NewNchan(t, workers)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	t.Cleanup(client.CloseIdleConnections)
	return &nchan{Nchan: n, http: client, seqs: map[string]int64{}}, nil
}

func (n *nchan) name() string         { return fmt.Sprintf("nchan ×%d", n.Workers) }
func (n *nchan) pids() ([]int, error) { return n.PIDs() }

func (n *nchan) spec(transport string, tls bool, feed string) (crowd.Spec, error) {
	s := crowd.Spec{Feed: feed, Transport: transport, TLS: tls, Path: "/sub/{feed}", Targets: []string{n.Addr}}
	if tls {
		s.Targets = []string{n.TLSAddr}
	}
	return s, nil
}

// epoch makes cursors as long as Doorbell's.
const epoch = 36 * 36 * 36 * 36 * 36 * 10

func (n *nchan) write(ctx context.Context, feed string) (wire.Cursor, error) {
	n.mu.Lock()
	n.seqs[feed]++
	c := wire.Cursor{Epoch: epoch, Seq: n.seqs[feed]}
	n.mu.Unlock()
	body := `{"changed":{"` + feed + `":"` + c.String() + `"}}`
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.URL()+"/pub/"+feed, strings.NewReader(body))
	if err != nil {
		return c, err
	}
	res, err := n.http.Do(req)
	if err != nil {
		return c, err
	}
	_, err = io.Copy(io.Discard, res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return c, err
	}
	if res.StatusCode >= 300 {
		return c, fmt.Errorf("nchan answered a message with %s", res.Status)
	}
	return c, nil
}

// burst doesn't wait for nchan's answers, which come when a message has gone out to everybody.
func (n *nchan) burst(ctx context.Context, feed string, changes int) (last wire.Cursor, at int64, err error) {
	errs := make([]error, changes)
	var writing sync.WaitGroup
	for i := range changes {
		writing.Go(func() { _, errs[i] = n.write(ctx, feed) })
		if err := pause(ctx, time.Millisecond); err != nil {
			return last, 0, err
		}
	}
	at = epoll.Now()
	writing.Wait()
	last, err = n.head(ctx, feed)
	return last, at, errors.Join(errors.Join(errs...), err)
}

func (n *nchan) head(_ context.Context, feed string) (wire.Cursor, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return wire.Cursor{Epoch: epoch, Seq: n.seqs[feed]}, nil
}

func (n *nchan) explain(err error) error {
	if words := n.LastWords(); err != nil && words != "" {
		return errors.Join(err, fmt.Errorf("the end of what nginx says: %s", words))
	}
	return err
}
