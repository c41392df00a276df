//go:build linux

package reads

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/testkit"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/baseline"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/crowd"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/epoll"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/fleet"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/report"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/stage"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/wire"
)

const (
	// waitFor is how long a long poll waits at most, and more than it takes until all of them wait and memory has settled.
	waitFor = "30"
	settle  = 10 * time.Second

	perWaiter = "resident memory per waiting request"
	answerAll = "change acknowledged → last answer"
)

// longPoll measures requests that wait: the memory that they take, and how soon all are answered.
func (b *bench) longPoll(ctx context.Context, s *report.Section, t testkit.TB) error {
	d, err := stage.NewDoorbell(t, stage.Options{})
	if err != nil {
		return err
	}
	w := d.Writer(1)
	head, err := w.Touch(ctx, feed)
	if err != nil {
		return d.Explain(err)
	}
	b.sayf("long-poll: %s", api)
	err = b.wait(ctx, s, waiters{
		column: api, server: d.APIs[0], path: "/v1/feeds/{feed}/changes?since={cursor}&wait=" + waitFor, from: head,
		change: func() (wire.Cursor, error) { return w.Touch(ctx, feed) },
	})
	if err != nil {
		return d.Explain(err)
	}

	b.sayf("long-poll: %s", bare)
	_, body, err := w.Get(ctx, "/v1/feeds/"+feed+"/changes?since="+head.String())
	if err != nil {
		return err
	}
	next := wire.Cursor{Epoch: head.Epoch, Seq: head.Seq + 1}
	gin, err := stage.NewBaseline(t, baseline.Config{Parked: baseline.Answer{
		Status: http.StatusOK, Type: "application/json", Body: body, Fields: map[string]string{"Doorbell-Cursor": next.String()},
	}})
	if err != nil {
		return err
	}
	err = b.wait(ctx, s, waiters{
		column: bare, server: gin, path: baseline.Park, from: head,
		change: func() (wire.Cursor, error) { return next, release(ctx, gin.URL()+baseline.Release) },
	})
	if err != nil {
		return err
	}
	var per, last [2]float64
	for i, column := range []string{api, bare} {
		for _, r := range s.Rows {
			switch r.Name {
			case perWaiter:
				per[i] = r.Values[column]
			case answerAll:
				last[i] = r.Values[column]
			}
		}
	}
	s.AtMost(perWaiter+", of the bare Gin's", per[0]/per[1], 1.25)
	s.AtMost(answerAll+", ms", last[0], 500)
	return nil
}

// waiters are requests that wait at one server.
type waiters struct {
	column, path string
	server       *stage.Server
	from         wire.Cursor
	change       func() (wire.Cursor, error) // what they wait for
}

func (b *bench) wait(ctx context.Context, s *report.Section, at waiters) error {
	if err := pause(ctx, 2*time.Second); err != nil {
		return err
	}
	pids := []int{at.server.PID}
	before, err := stage.Memory(pids)
	if err != nil {
		return err
	}
	f := fleet.New()
	defer f.Close()
	a, err := f.Open(ctx, crowd.Spec{
		Targets: []string{at.server.Addr}, Conns: b.o.Waiting, Feed: feed, Transport: crowd.LongPoll, Path: at.path, From: at.from,
	}, time.Minute)
	if err != nil {
		return err
	}
	if a.Missing > 0 {
		s.Failf("%s: %d requests were not made: %v", at.column, a.Missing, a.Status.Problems)
	}
	s.Set(at.column, "requests that wait", "", float64(b.o.Waiting-a.Missing))
	if err := pause(ctx, settle); err != nil {
		return err
	}
	status, err := f.Do(ctx, crowd.Command{Op: crowd.Tell})
	if err != nil {
		return err
	}
	if n := status.Status.Frames; n > 0 {
		s.Failf("%s: %d requests were answered when nothing had changed", at.column, n)
	}
	after, err := stage.Memory(pids)
	if err != nil {
		return err
	}
	s.Set(at.column, perWaiter, "KB", float64(after-before)/1000/float64(b.o.Waiting))
	spent, err := stage.CPU(pids)
	if err != nil {
		return err
	}
	target, err := at.change()
	if err != nil {
		return err
	}
	changed := epoll.Now()
	answers, err := f.Await(ctx, target, 20*time.Second)
	if err != nil {
		return err
	}
	spentAfter, err := stage.CPU(pids)
	if err != nil {
		return err
	}
	if answers.Missing > 0 {
		s.Failf("%s: %d requests were not answered with the last durable write within 20 s: %v",
			at.column, answers.Missing, answers.Status.Problems)
	}
	for i := range answers.At {
		answers.At[i] -= changed
	}
	s.Millis(at.column, "change acknowledged → answer, p50", time.Duration(report.Percentile(answers.At, 50)))
	s.Millis(at.column, answerAll, time.Duration(report.Percentile(answers.At, 100)))
	s.Set(at.column, "server CPU per answer", "µs", float64((spentAfter-spent).Microseconds())/float64(max(1, len(answers.At))))
	return nil
}

func release(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, res.Body)
	return errors.Join(err, res.Body.Close())
}
