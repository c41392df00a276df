//go:build unix

package cluster

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/tests/internal/cluster"
	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
)

// refusedWithin is the second in which whoever needs the database has to be refused without it, and what a machine that is busy with
// other tests adds.
const refusedWithin = 1500 * time.Millisecond

// TestPostgresIsGoneUnderLoad, frozen or shut down: what is in memory goes on being served, everything else is refused within
// a second, what was under way included, and all of it recovers by itself.
func TestPostgresIsGoneUnderLoad(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	for _, o := range []outage{
		{name: "frozen", begin: c.Postgres.Freeze, end: c.Postgres.Thaw},
		{name: "shut down", begin: c.Postgres.Stop, end: c.Postgres.Start},
	} {
		t.Run(o.name, func(t *testing.T) { surviveOutage(t, c, o) })
	}
}

type outage struct {
	name       string
	begin, end func()
}

func surviveOutage(t *testing.T, c *cluster.Cluster, o outage) {
	const away = 5 * time.Second
	s := newSiege(t, c, strings.ReplaceAll(o.name, " ", "-"))
	s.start()
	s.waitServed(time.Now(), 30)
	quietly := goroutines(c)

	var crowd sync.WaitGroup
	begun := time.Now()
	for i := range 100 { // they are at whatever there is when it happens
		crowd.Go(func() { s.write(i, fmt.Sprintf("siege:crowd-%s-%d", s.name, i)) })
	}
	time.Sleep(5 * time.Millisecond)
	o.begin()
	gone := time.Now()
	for i := range 600 { // more than the queue holds
		crowd.Go(func() { s.ask("cold", i, fmt.Sprintf("/v1/feeds/siege:unborn-%s-%d", s.name, i), "") })
	}
	crowd.Wait()
	for time.Since(gone) < away {
		time.Sleep(10 * time.Millisecond)
	}
	busily := goroutines(c)
	for i, api := range c.APIs {
		if api.Ready() {
			t.Errorf("without Postgres API %d says that it's ready", i)
		}
	}
	ending := time.Now()
	o.end()
	back := time.Now()
	s.waitServed(back, 30)
	s.end()
	s.check(begun, gone, ending, back)
	t.Logf("goroutines of the APIs before, and at the end of the outage: %v, %v; Postgres had %s connections afterwards",
		quietly, busily, c.Postgres.Exec("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'doorbell'"))
	for i := range busily {
		if busily[i] > quietly[i]+600 {
			t.Errorf("API %d has %g goroutines; before it had %g", i, busily[i], quietly[i])
		}
	}
}

func goroutines(c *cluster.Cluster) []float64 {
	var n []float64
	for _, api := range c.APIs {
		n = append(n, api.Metric("go_goroutines"))
	}
	return n
}

// siege is load of every kind on the APIs, past nginx. Feeds that are hot and written to, feeds that nobody has read, items, polls.
type siege struct {
	t    *testing.T
	c    *cluster.Cluster
	name string
	http *http.Client
	hot  []string // paths
	etag map[string]string
	stop context.CancelFunc
	ctx  context.Context
	all  sync.WaitGroup

	mu    sync.Mutex
	asked map[string][]asked // guarded by mu; by kind
	acked map[string]string  // guarded by mu; feed and key → value
}

// asked is one request and what came of it.
type asked struct {
	begun, ended time.Time
	status       int
	what         string // wrong with it, if anything
}

const siegeWorkers = 4

func newSiege(t *testing.T, c *cluster.Cluster, name string) *siege {
	s := &siege{
		t: t, c: c, name: name, etag: map[string]string{}, asked: map[string][]asked{}, acked: map[string]string{},
		http: doorbelltest.HTTP(t),
	}
	s.http.Transport.(*http.Transport).MaxIdleConnsPerHost = 1000
	s.http.Timeout = doorbelltest.Patience
	s.ctx, s.stop = context.WithCancel(t.Context())
	t.Cleanup(s.end)
	client := c.APIs[0].Client()
	for i := range siegeWorkers {
		name := s.hotFeed(i)
		first, err := client.Put(t.Context(), name, "a", []byte(`1`))
		if err == nil {
			_, err = client.Put(t.Context(), name, "b", []byte(`2`))
		}
		if err != nil {
			t.Fatal(err)
		}
		s.hot = append(s.hot, "/v1/feeds/"+name, "/v1/feeds/"+name+"/changes?since="+first.Cursor)
	}
	return s
}

func (s *siege) hotFeed(i int) string { return fmt.Sprintf("siege:hot-%s-%d", s.name, i) }

// start has everybody go on until end.
func (s *siege) start() {
	again := func(every time.Duration, f func(n int)) {
		s.all.Go(func() {
			for n := 0; s.ctx.Err() == nil; n++ {
				f(n)
				time.Sleep(every)
			}
		})
	}
	for w := range siegeWorkers {
		again(2*time.Millisecond, func(n int) { s.ask("hot", n, s.hot[n%len(s.hot)], "") })
		again(2*time.Millisecond, func(n int) {
			path := s.hot[(n/2)%len(s.hot)]
			s.ask("304", n/2, path, s.etagOf(path))
		})
		again(10*time.Millisecond, func(n int) { s.ask("cold", n, fmt.Sprintf("/v1/feeds/siege:new-%s-%d-%d", s.name, w, n), "") })
		// All of them the same one, for a moment: who joins somebody's question waits no longer.
		again(10*time.Millisecond, func(n int) {
			s.ask("cold shared", n, fmt.Sprintf("/v1/feeds/siege:new-%s-%d", s.name, time.Now().UnixMilli()/50), "")
		})
		again(10*time.Millisecond, func(n int) { s.ask("item", n, "/v1/feeds/"+s.hotFeed(w)+"/items/a", "") })
		again(10*time.Millisecond, func(n int) { s.write(n, fmt.Sprintf("siege:written-%s-%d", s.name, w)) })
		again(50*time.Millisecond, func(n int) { s.poll(n, fmt.Sprintf("siege:polled-%s-%d-%d", s.name, w, n)) })
	}
	// Hot feeds are written to as well: a write whose outcome nobody knows must not take them out of memory.
	again(100*time.Millisecond, func(n int) { s.write(n, s.hotFeed(n%siegeWorkers)) })
}

// end has everybody stop. Ending twice is fine.
func (s *siege) end() {
	s.stop()
	s.all.Wait()
}

func (s *siege) etagOf(path string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.etag[path]
}

// ask reads. n says which API.
func (s *siege) ask(kind string, n int, path, etag string) {
	s.send(kind, n, http.MethodGet, path, "", etag)
}

func (s *siege) write(n int, feed string) {
	key, value := fmt.Sprintf("k%d", n), fmt.Sprint(n)
	if s.send("write", n, http.MethodPut, "/v1/feeds/"+feed+"/items/"+key, value, "") == http.StatusOK {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.acked[feed+" "+key] = value
	}
}

// poll asks for many feeds that nobody has in memory.
func (s *siege) poll(n int, prefix string) {
	var b strings.Builder
	for i := range 50 {
		fmt.Fprintf(&b, `,"%s-%d":""`, prefix, i)
	}
	s.send("poll", n, http.MethodPost, "/v1/poll", `{"feeds":{`+b.String()[1:]+`}}`, "")
}

// waitServed waits until so many requests of each kind that began after at were answered as they should be.
func (s *siege) waitServed(at time.Time, n int) {
	s.t.Helper()
	for _, kind := range []string{"hot", "304", "cold", "cold shared", "item", "write", "poll"} {
		doorbelltest.Eventually(s.t, fmt.Sprintf("%d requests of kind %q are served", n, kind), func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			served := 0
			for _, a := range slices.Backward(s.asked[kind]) {
				if !a.begun.After(at) {
					break
				}
				if a.status < 500 && a.what == "" {
					served++
				}
			}
			return served >= n
		})
	}
}
