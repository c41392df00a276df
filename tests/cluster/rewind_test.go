//go:build unix

package cluster

import (
	"bufio"
	"context"
	crand "crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	doorbell "github.com/doorbell-sync/doorbell/clients/go"

	"github.com/doorbell-sync/doorbell/tests/internal/cluster"
	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
)

// TestPostgresIsRewound: a backup is put in the place of a Postgres that has committed more since, while Redis and all clients
// remember. Nobody's cursor goes backwards within an epoch, and everybody ends up with what there is now.
func TestPostgresIsRewound(t *testing.T) {
	t.Run("to another timeline", func(t *testing.T) { rewindPostgres(t, true) })
	t.Run("by a copy of its files", func(t *testing.T) { rewindPostgres(t, false) })
}

func rewindPostgres(t *testing.T, timeline bool) {
	const still, hot, quiet, born = "rewind:still", "rewind:hot", "rewind:quiet", "rewind:born"
	c := cluster.Start(t, cluster.Options{Workers: 2})
	client := c.Client()
	write := func(feed, key string) string {
		t.Helper()
		w, err := client.Put(t.Context(), feed, key, json.RawMessage(`"before"`))
		if err != nil {
			t.Fatal(err)
		}
		return w.Cursor
	}
	heads := map[string]string{}
	for _, feed := range []string{still, hot, quiet} {
		write(feed, "first")
		heads[feed] = write(feed, "second")
	}
	backup := c.Postgres.Copy()
	for _, n := range c.Nodes() {
		n.WaitReady()
	}
	for i := range 5 {
		heads[hot] = write(hot, fmt.Sprint("lost", i))
	}
	heads[quiet], heads[born] = write(quiet, "lost"), write(born, "lost")
	// More than what a crash may take back of the database's log.
	noise := make([]byte, 100<<10)
	_, _ = crand.Read(noise)
	if _, err := client.Put(t.Context(), "rewind:other", "noise", json.RawMessage(fmt.Sprintf("\"%x\"", noise))); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	var following sync.WaitGroup
	var followers []*epochWatcher
	var ears []*cluster.Ear
	defer following.Wait()
	defer cancel()
	for _, feed := range []string{still, hot, quiet, born} {
		f := &epochWatcher{follower: follower{feed: feed}}
		followers = append(followers, f)
		following.Go(func() { f.run(ctx, client) })
		ears = append(ears, cluster.Listen(t, c.Nginx.URL(), feed))
		doorbelltest.Eventually(t, feed+" is followed", func() bool { return f.at() == heads[feed] })
	}
	waitMark(t, c)

	c.Postgres.PutBack(backup, timeline)
	back := time.Now()
	codes := map[string]int{}
	doorbelltest.Eventually(t, "writes are taken again", func() bool {
		w, err := client.Put(t.Context(), hot, "after", json.RawMessage(`"after"`))
		if err == nil {
			return epochOf(w.Cursor) != epochOf(heads[hot])
		}
		p := problem(err)
		if p == nil || p.Status != http.StatusServiceUnavailable || p.RetryAfter <= 0 {
			t.Fatalf("a write: %v", err)
		}
		codes[p.Code]++
		return false
	})
	t.Logf("%s after it was back a write was taken; before that: %v", time.Since(back).Round(time.Millisecond), codes)
	if timeline && codes["recovering"] == 0 {
		t.Errorf("writes were refused with %v; want some recovering", codes)
	}

	for i, f := range followers {
		var state *doorbell.State
		doorbelltest.Eventually(t, f.feed+" has the state that there is now", func() bool {
			var err error
			if state, err = client.Load(t.Context(), f.feed); err != nil {
				return false
			}
			return f.at() == state.Cursor && (f.feed == still && timeline || epochOf(state.Cursor) != epochOf(heads[f.feed]))
		})
		if f.feed == still && timeline && state.Cursor != heads[still] {
			t.Errorf("%s lost nothing and went from %s to %s", still, heads[still], state.Cursor)
		}
		for key := range state.Items {
			if strings.HasPrefix(key, "lost") {
				t.Errorf("%s still has %s", f.feed, key)
			}
		}
		if err := ears[i].Err(); err != nil {
			t.Errorf("a socket: %v", err)
		}
	}
	// The new history goes on, for all.
	for _, f := range followers {
		cursor := write(f.feed, "new")
		doorbelltest.Eventually(t, f.feed+" is followed on", func() bool { return f.at() == cursor })
	}
	cancel()
	following.Wait()
	for _, f := range followers {
		want, err := client.Load(t.Context(), f.feed)
		if err != nil {
			t.Fatal(err)
		}
		doorbelltest.SameState(t, f.feed, f.state, want)
		for _, wrong := range f.wrong {
			t.Errorf("%s: %s", f.feed, wrong)
		}
	}
}

// epochWatcher is a follower that may be sent back to the beginning, but not within an epoch.
type epochWatcher struct{ follower }

func (f *epochWatcher) run(ctx context.Context, client *doorbell.Client) {
	whole := ""
	for event, err := range client.Follow(ctx, f.feed, doorbell.FollowOptions{}) {
		if err != nil {
			if ctx.Err() == nil {
				f.wrong = append(f.wrong, err.Error())
			}
			return
		}
		f.state.Apply(event)
		if event.Kind != doorbell.CaughtUp {
			continue
		}
		if order, err := doorbell.CompareCursors(whole, event.Cursor); whole != "" && (err != nil || order > 0) {
			f.wrong = append(f.wrong, fmt.Sprintf("from %s it went to %s", whole, event.Cursor))
		}
		whole = event.Cursor
		f.mu.Lock()
		f.cursor = event.Cursor
		f.mu.Unlock()
	}
}

// waitMark waits until the worker has left a mark that covers all that was committed until now: the second from here on.
func waitMark(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	last := redisText(t, c.Redis.Addr, "HGET doorbell:mark text")
	for range 2 {
		doorbelltest.Eventually(t, "the worker leaves a mark", func() bool {
			// Something has to have happened, and not in a feed that matters.
			if _, err := c.Client().Touch(t.Context(), "rewind:other"); err != nil {
				t.Fatal(err)
			}
			mark := redisText(t, c.Redis.Addr, "HGET doorbell:mark text")
			moved := mark != last
			last = mark
			return moved
		})
	}
}

// redisText gives what Redis answers to a command, which is a text.
func redisText(t *testing.T, addr, command string) string {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := fmt.Fprintf(conn, "%s\r\n", command); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(conn)
	lines.Scan() // its length comes first
	lines.Scan()
	return lines.Text()
}

func epochOf(cursor string) string {
	epoch, _, _ := strings.Cut(cursor, "-")
	return epoch
}
