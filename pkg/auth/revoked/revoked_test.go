package revoked

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/doorbell-sync/doorbell/pkg/auth"
	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/bus/membus"
	"github.com/doorbell-sync/doorbell/pkg/bus/redisbus"
	"github.com/doorbell-sync/doorbell/pkg/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newList(t *testing.T, b Bus) *List {
	t.Helper()
	l := New(b, slog.New(slog.DiscardHandler))
	t.Cleanup(l.Close)
	return l
}

func principal(subject, id string, issued time.Time) *auth.Principal {
	return &auth.Principal{Subject: subject, ID: id, Issued: issued, Expires: time.Now().Add(time.Hour)}
}

func TestWhatIsRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(nil, slog.New(slog.DiscardHandler))
		defer l.Close()
		now := time.Now().Truncate(time.Second).Add(500 * time.Millisecond)
		hour := time.Now().Add(time.Hour)
		if err := l.Revoke(t.Context(), ByID("t1", hour), BySubject("ann", now, hour), BySubject("bob", now, time.Now().Add(time.Minute))); err != nil {
			t.Fatal(err)
		}
		key := principal("ann", "t1", time.Time{})
		key.Expires = time.Time{}
		want := func(when string, cases map[*auth.Principal]bool) {
			t.Helper()
			for p, want := range cases {
				if got := l.Revoked(p); got != want {
					t.Errorf("%s, %+v is revoked: %t; want %t", when, p, got, want)
				}
			}
		}
		old, same, next := now.Add(-time.Hour), now.Truncate(time.Second), now.Truncate(time.Second).Add(time.Second)
		bob := principal("bob", "t9", old)
		want("at first", map[*auth.Principal]bool{
			nil: false, key: false,
			principal("eve", "t1", now): true, principal("eve", "t2", now): false, principal("eve", "", now): false,
			principal("ann", "t3", old): true, principal("ann", "t3", same): true, principal("ann", "t3", next): false,
			principal("ann", "t3", time.Time{}): true, bob: true,
		})
		// A later one for the same subject does not shorten the one before.
		if err := l.Revoke(t.Context(), BySubject("ann", next.Add(time.Minute), time.Now().Add(time.Second))); err != nil {
			t.Fatal(err)
		}
		want("with two", map[*auth.Principal]bool{principal("ann", "", old): true, principal("ann", "", next): true})
		time.Sleep(2 * time.Minute)
		want("later", map[*auth.Principal]bool{
			bob: false, principal("ann", "", old): true, principal("ann", "", next): false, principal("eve", "t1", now): true,
		})
		l.mu.Lock()
		l.purgeLocked(time.Now())
		l.mu.Unlock()
		if len(l.entries) != 2 || len(l.subjects) != 1 || len(l.subjects["ann"]) != 1 {
			t.Errorf("what has ended is kept: %v, %v", l.entries, l.subjects)
		}
	})
}

func TestBadEntriesAreRefused(t *testing.T) {
	l := newList(t, nil)
	hour := time.Now().Add(time.Hour)
	for _, bad := range []Entry{
		{Until: hour}, {ID: "a", Subject: "b", Until: hour}, ByID("a\nb", hour), ByID(strings.Repeat("a", MaxID+1), hour),
		BySubject(strings.Repeat("a", MaxSubject+1), hour, hour), BySubject("a\x00", hour, hour), BySubject("\xff", hour, hour),
	} {
		if err := l.Revoke(t.Context(), ByID("good", hour), bad); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
	if l.Len() != 0 {
		t.Errorf("%d entries of calls that failed are in force", l.Len())
	}
}

func TestTheListIsBounded(t *testing.T) {
	l := newList(t, nil)
	hour := time.Now().Add(time.Hour)
	many := make([]Entry, Most)
	for i := range many {
		many[i] = ByID(fmt.Sprint(i), hour)
	}
	if err := l.Revoke(t.Context(), many...); err != nil {
		t.Fatal(err)
	}
	if err := l.Revoke(t.Context(), ByID("more", hour)); !errors.Is(err, ErrFull) {
		t.Errorf("one more: %v; want ErrFull", err)
	}
	end := func(id string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.entries[Entry{ID: id}] = time.Now()
	}
	end("7")
	if err := l.Revoke(t.Context(), ByID("more", hour)); err != nil {
		t.Errorf("when one had ended: %v", err)
	}
	end("8")
	changed := l.Changed()
	longer := ByID("9", hour.Add(time.Hour))
	if err := l.Revoke(t.Context(), ByID("last", hour), ByID("too many", hour), longer); !errors.Is(err, ErrFull) {
		t.Errorf("one of them too many: %v; want ErrFull", err)
	}
	select {
	case <-changed: // sessions of those that were taken end
	default:
		t.Error("nobody is told of those that were taken")
	}
	for id, want := range map[string]bool{"last": true, "too many": false} {
		if got := l.Revoked(principal("ann", id, time.Now())); got != want {
			t.Errorf("%s is revoked: %t; want %t", id, got, want)
		}
	}
	if got := l.entries[Entry{ID: "9"}]; !got.Equal(longer.Until) {
		t.Errorf("what was there already ends at %s; want %s", got, longer.Until)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("1700000000000 id abc\n")
	f.Add("1700000000000 sub 17 ann with a space\n")
	f.Add("x sub -1 \n")
	f.Fuzz(func(t *testing.T, s string) {
		e, ok := parseLine(s)
		if !ok {
			return
		}
		again, ok := parseLine(e.line())
		if !ok || again != e || e.Check() != nil || len(e.text()) > bus.MaxEntry {
			t.Errorf("%q was read as %+v, and that as %+v", s, e, again)
		}
	})
}

const patience = 20 * time.Second

// await waits until the list has p revoked, or not.
func await(t *testing.T, l *List, p *auth.Principal) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ctx, stop := auth.While(ctx, l, p)
	defer stop()
	<-ctx.Done()
	if auth.ReasonOf(context.Cause(ctx)) != auth.Revoked {
		t.Fatalf("%s was not revoked in time: %v", p.ID, context.Cause(ctx))
	}
}

func TestAllNodesKnow(t *testing.T) {
	b := membus.New(membus.Options{})
	defer b.Close()
	one, two := newList(t, b), newList(t, b)
	hour := time.Now().Add(time.Hour)
	var many []Entry
	for i := range 1500 { // more than a message holds
		many = append(many, ByID(fmt.Sprintf("%0100d", i), hour))
	}
	if err := one.Revoke(t.Context(), many...); err != nil {
		t.Fatal(err)
	}
	for _, l := range []*List{one, two} {
		await(t, l, principal("x", fmt.Sprintf("%0100d", 1499), time.Now()))
	}

	b.Interrupt()
	if err := one.Revoke(t.Context(), ByID("meanwhile", hour)); !errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("without the bus: %v; want ErrUnavailable", err)
	}
	await(t, one, principal("x", "meanwhile", time.Now()))
	b.Resume()
	await(t, two, principal("x", "meanwhile", time.Now()))
	await(t, newList(t, b), principal("x", "meanwhile", time.Now())) // one that comes later
}

// TestLosingRedisLosesNothing: while any node lives.
func TestLosingRedisLosesNothing(t *testing.T) {
	server := testkit.NewRedis(t)
	node := func() *redisbus.Bus {
		b, err := redisbus.New(t.Context(), redisbus.Options{
			URL: server.URL, Timeout: 500 * time.Millisecond, ProbeEvery: 100 * time.Millisecond, LostAfter: 700 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = b.Close() })
		return b
	}
	one, two := node(), node()
	l, other := newList(t, one), newList(t, two)
	hour := time.Now().Add(time.Hour)
	if err := l.Revoke(t.Context(), ByID("t1", hour), BySubject("ann lee", time.Now(), hour)); err != nil {
		t.Fatal(err)
	}
	ann := principal("ann lee", "t2", time.Now().Add(-time.Minute))
	await(t, other, ann)

	c := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer c.Close()
	if err := c.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if err := c.Do(t.Context(), "CLIENT", "KILL", "TYPE", "pubsub").Err(); err != nil { // as a restart does
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if kept, err := two.Kept(t.Context(), topic, 10); err == nil && len(kept) == 2 {
			break
		} else if time.Now().After(end) {
			t.Fatalf("what Redis lost was not put back: %v, %v", kept, err)
		}
	}
	l.Close()
	other.Close()
	late := newList(t, node())
	await(t, late, ann)
	await(t, late, principal("x", "t1", time.Now()))
}
