package doorbell

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"
)

// fakeCache stands before a fake as a CDN does: what is pinned it keeps for ever, and asks for once however many want it.
type fakeCache struct {
	origin *fake
	delay  time.Duration // of each answer to a read; a round trip

	mu   sync.Mutex
	kept map[string]*kept // by URL
}

type kept struct {
	once   sync.Once
	answer *httptest.ResponseRecorder
}

func newFakeCache(f *fake) *fakeCache { return &fakeCache{origin: f, kept: map[string]*kept{}} }

// forget drops what is kept of the URLs that pick picks.
func (c *fakeCache) forget(pick func(url string) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for url := range c.kept {
		if pick(url) {
			delete(c.kept, url)
		}
	}
}

func (c *fakeCache) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.URL.Path, "/v1/feeds/") {
		c.origin.ServeHTTP(w, r)
		return
	}
	time.Sleep(c.delay)
	url := r.RequestURI
	if !r.URL.Query().Has("at_least") {
		c.origin.ServeHTTP(w, r)
		return
	}
	c.mu.Lock()
	k := c.kept[url]
	if k == nil {
		k = &kept{answer: httptest.NewRecorder()}
		c.kept[url] = k
	}
	c.mu.Unlock()
	k.once.Do(func() { c.origin.ServeHTTP(k.answer, r) })
	if k.answer.Code != http.StatusOK {
		c.forget(func(u string) bool { return u == url })
	}
	maps.Copy(w.Header(), k.answer.Header())
	w.WriteHeader(k.answer.Code)
	_, _ = w.Write(k.answer.Body.Bytes())
}
