//go:build linux

package reads

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/testkit"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/baseline"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/httpload"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/report"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/stage"
)

const (
	feed   = "bench:reads"
	conns  = 64
	rounds = 3
	// api, bare and same are the report's columns: same is a bare Gin that sends the API's header fields, too.
	api, bare, same = "doorbell api", "bare Gin", "with its headers"
	// role is the database's user that the API comes as.
	role = "bench_api"
)

// question is one kind of request, and what it has to be answered with.
type question struct {
	name, path, fields string
	status             int
	body               []byte
	kind               string // Content-Type
	header             map[string]string
}

// hot measures answers that are at hand.
func (b *bench) hot(ctx context.Context, s *report.Section, t testkit.TB) error {
	d, err := stage.NewDoorbell(t, stage.Options{
		Role: role, Postgres: []string{"shared_preload_libraries=pg_stat_statements", "pg_stat_statements.track_utility=on"},
	})
	if err != nil {
		return err
	}
	d.Postgres.Exec("CREATE EXTENSION pg_stat_statements")
	questions, err := ask(ctx, d)
	if err != nil {
		return d.Explain(err)
	}
	answers := map[string]baseline.Answer{}
	for i, q := range questions {
		answers[barePath(i)] = baseline.Answer{Status: q.status, Type: q.kind, Body: q.body}
		answers[samePath(i)] = baseline.Answer{Status: q.status, Type: q.kind, Body: q.body, Fields: q.header}
	}
	gin, err := stage.NewBaseline(t, baseline.Config{Answers: answers})
	if err != nil {
		return err
	}
	for i, q := range questions {
		b.sayf("hot: %s", q.name)
		doorbell := httpload.Load{
			Target: d.APIs[0].Addr, Path: q.path, Fields: q.fields, Conns: conns, Status: q.status, Body: q.body, For: b.o.For,
		}
		plain := doorbell
		plain.Target, plain.Path = gin.Addr, barePath(i)
		headed := plain
		headed.Path = samePath(i)
		err := compare(ctx, s, q.name, side{api, doorbell, d.APIs[0].PID}, side{bare, plain, gin.PID}, side{same, headed, gin.PID})
		if err != nil {
			return d.Explain(err)
		}
	}
	return d.Explain(b.countQueries(ctx, s, d, questions))
}

func barePath(i int) string { return "/answers/" + strconv.Itoa(i) }

func samePath(i int) string { return barePath(i) + "/same" }

// fieldsOf are what an answer's header says beside what net/http adds.
func fieldsOf(h http.Header) map[string]string {
	fields := map[string]string{}
	for name := range h {
		switch name {
		case "Date", "Content-Length", "Content-Type":
		default:
			fields[name] = h.Get(name)
		}
	}
	return fields
}

// ask makes the feed and asks each question once.
func ask(ctx context.Context, d *stage.Doorbell) ([]question, error) {
	w := d.Writer(1)
	since, err := w.Put(ctx, feed, stage.Change{Key: "first", Value: json.RawMessage("1")})
	if err != nil {
		return nil, err
	}
	var changes []stage.Change
	for n := range 18 { // of about 110 bytes each, with what is around them
		value := fmt.Sprintf(`{"price":"%d","volume":"%d","note":"%s"}`, 50_140_000+n, 1000+n, strings.Repeat("x", 30))
		changes = append(changes, stage.Change{Key: fmt.Sprintf("item-%02d", n), Value: json.RawMessage(value)})
	}
	if _, err := w.Put(ctx, feed, changes...); err != nil {
		return nil, err
	}
	if err := pause(ctx, time.Second); err != nil { // the API may hear of its own write a moment later
		return nil, err
	}
	snapshot := "/v1/feeds/" + feed
	delta := snapshot + "/changes?since=" + since.String()
	header, body, err := w.Get(ctx, snapshot)
	if err != nil {
		return nil, err
	}
	kind := header.Get("Content-Type")
	unchanged := "If-None-Match: " + header.Get("ETag") + "\r\n"
	deltaHeader, changed, err := w.Get(ctx, delta)
	if err != nil {
		return nil, err
	}
	return []question{
		{"snapshot", snapshot, "", http.StatusOK, body, kind, fieldsOf(header)},
		{"delta", delta, "", http.StatusOK, changed, kind, fieldsOf(deltaHeader)},
		{"304", snapshot, unchanged, http.StatusNotModified, nil, "", fieldsOf(header)},
	}, nil
}

// side is one of the servers.
type side struct {
	column string
	load   httpload.Load
	pid    int
}

// compare asks them in turn, several times. The first is held against the others.
func compare(ctx context.Context, s *report.Section, name string, sides ...side) error {
	rates := map[string][]int64{}
	for round := range 1 + rounds {
		for _, at := range sides {
			if round == 0 {
				at.load.For /= 4 // warms up
			}
			before, err := stage.CPU([]int{at.pid})
			if err != nil {
				return err
			}
			r, err := httpload.Run(ctx, at.load)
			if err != nil {
				return fmt.Errorf("%s of the %s: %w", name, at.column, err)
			}
			after, err := stage.CPU([]int{at.pid})
			if err != nil {
				return err
			}
			if len(r.Wrong) > 0 {
				s.Failf("%s of the %s: of %d answers these, by status, were not the bytes that they should be: %v",
					name, at.column, r.Answers, r.Wrong)
			}
			if round == 0 {
				continue
			}
			rates[at.column] = append(rates[at.column], int64(r.PerSecond()))
			s.Set(at.column, name+": server CPU per request", "µs", float64((after-before).Nanoseconds())/1000/float64(r.Answers))
			s.Set(at.column, name+": p99", "ms", float64(report.Percentile(r.Latencies, 99).Microseconds())/1000)
		}
	}
	for _, at := range sides {
		s.Set(at.column, name+": requests a second", "", float64(report.Percentile(rates[at.column], 50)))
	}
	ratio := func(of side) float64 {
		return float64(report.Percentile(rates[sides[0].column], 50)) / float64(report.Percentile(rates[of.column], 50))
	}
	s.AtLeast(name+": requests a second, of the bare Gin's", ratio(sides[1]), 0.8)
	s.AtLeast(name+": requests a second, of a Gin's that sends the same header fields", ratio(sides[2]), 0.8)
	return nil
}

// countQueries asks all questions, so many times in all, and looks what the API has asked the database meanwhile.
func (b *bench) countQueries(ctx context.Context, s *report.Section, d *stage.Doorbell, questions []question) error {
	b.sayf("hot: queries at the database")
	d.Postgres.Exec("SELECT pg_stat_statements_reset()")
	for _, q := range questions {
		r, err := httpload.Run(ctx, httpload.Load{
			Target: d.APIs[0].Addr, Path: q.path, Fields: q.fields, Conns: conns, Status: q.status, Body: q.body,
			Requests: b.o.Requests / len(questions), For: time.Minute,
		})
		if err != nil {
			return err
		}
		if r.Answers < b.o.Requests/len(questions) {
			s.Failf("%s: only %d answers within a minute", q.name, r.Answers)
		}
	}
	from := " FROM pg_stat_statements s JOIN pg_roles r ON r.oid = s.userid WHERE r.rolname = '" + role + "'"
	queries, err := strconv.Atoi(d.Postgres.Exec("SELECT coalesce(sum(calls), 0)" + from))
	if err != nil {
		return fmt.Errorf("count queries: %w", err)
	}
	s.Set(api, fmt.Sprintf("the API's queries at the database, for %d requests", b.o.Requests), "", float64(queries))
	s.AtMost("queries at the database", float64(queries), 1)
	if queries > 0 {
		most := d.Postgres.Exec("SELECT calls || ' × ' || left(regexp_replace(query, '\\s+', ' ', 'g'), 80)" + from +
			" ORDER BY calls DESC LIMIT 5")
		s.Notef("queries and how often: %s", strings.ReplaceAll(most, "\n", "; "))
	}
	return nil
}
