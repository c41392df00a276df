package doorbell

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const feedX = "prices:X"

// fake is a Doorbell with one feed, true to the protocol, in memory.
type fake struct {
	// Set before use.
	pageSize int                                               // 0: 1,000
	pingMS   int                                               // in hello; 0: 25,000
	fault    func(w http.ResponseWriter, r *http.Request) bool // guarded by mu; true: it has answered

	mu        sync.Mutex
	born      bool
	epoch     int
	seq       int64
	floor     int64
	trimmed   int64
	rows      map[string]Change
	pollAfter string
	etags     bool

	requests []request
	dials    []time.Time
	sockets  map[*fakeSocket]bool

	// The gateway's behaviour.
	handshake  int                      // a status to refuse with
	subscribed func(head string) string // what to answer, as JSON; nil: subscribed with the head
	spread     time.Duration
	silent     bool // announce nothing
}

type request struct {
	at          time.Time
	method, url string
	header      http.Header
}

func newFake() *fake {
	return &fake{rows: map[string]Change{}, sockets: map[*fakeSocket]bool{}, epoch: 1}
}

func (f *fake) epochText() string { return fmt.Sprintf("0k%05d", f.epoch) }

func (f *fake) cursorAt(seq int64) string { return f.epochText() + "-" + strconv.FormatInt(seq, 10) }

func (f *fake) headLocked() string {
	if !f.born {
		return ""
	}
	return f.cursorAt(f.seq)
}

func (f *fake) head() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.headLocked()
}

// change commits changes and announces them.
func (f *fake) change(changes ...Change) string {
	f.mu.Lock()
	f.born = true
	for _, ch := range changes {
		f.seq++
		ch.Seq = f.seq
		f.rows[ch.Key] = ch
	}
	head := f.headLocked()
	f.mu.Unlock()
	f.announce(head)
	return head
}

func (f *fake) put(key, value string) string {
	return f.change(Change{Key: key, Value: json.RawMessage(value)})
}

func (f *fake) del(key string) string { return f.change(Change{Key: key, Deleted: true}) }

// drop begins another epoch.
func (f *fake) drop() string {
	f.mu.Lock()
	f.epoch++
	f.seq, f.floor, f.trimmed = 0, 0, 0
	clear(f.rows)
	head := f.headLocked()
	f.mu.Unlock()
	f.announce(head)
	return head
}

// purge forgets the tombstones.
func (f *fake) purge() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, row := range f.rows {
		if row.Deleted {
			f.floor = max(f.floor, row.Seq)
			delete(f.rows, key)
		}
	}
}

// trim removes the oldest items up to seq, without tombstones.
func (f *fake) trim(seq int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.trimmed = seq
	for key, row := range f.rows {
		if row.Seq <= seq {
			delete(f.rows, key)
		}
	}
}

func (f *fake) announce(head string) {
	f.mu.Lock()
	silent, spread := f.silent, f.spread
	f.mu.Unlock()
	if silent {
		return
	}
	extra := ""
	if spread > 0 {
		extra = fmt.Sprintf(`,"spread":%d`, spread.Milliseconds())
	}
	f.broadcast(fmt.Sprintf(`{"changed":{%q:%q}%s}`, feedX, head, extra))
}

// with runs g under the lock.
func (f *fake) with(g func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g()
}

// reads gives the URLs of the reads since the last call.
func (f *fake) reads() (urls []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.requests {
		if r.method == http.MethodGet {
			urls = append(urls, r.url)
		}
	}
	f.requests = nil
	return urls
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/v1/signals" {
		f.serveSignals(w, r)
		return
	}
	f.mu.Lock()
	f.requests = append(f.requests, request{time.Now(), r.Method, r.RequestURI, r.Header.Clone()})
	fault := f.fault
	f.mu.Unlock()
	if fault != nil && fault(w, r) {
		return
	}
	rest, ours := strings.CutPrefix(r.URL.Path, "/v1/feeds/"+feedX)
	switch {
	case !ours:
		sendProblem(w, 404, "no_feed", nil)
	case r.Method == http.MethodGet && (rest == "" || rest == "/changes"):
		f.serveRead(w, r)
	default:
		sendProblem(w, 405, "method", nil)
	}
}

func sendProblem(w http.ResponseWriter, status int, code string, extra map[string]any) {
	body := map[string]any{"type": "about:blank", "title": http.StatusText(status), "status": status, "code": code}
	maps.Copy(body, extra)
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) //nolint:errchkjson // a client that has gone
}

func (f *fake) serveRead(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	q := r.URL.Query()
	since, err1 := parseCursor(q.Get("since"))
	atLeast, err2 := parseCursor(q.Get("at_least"))
	if err1 != nil || err2 != nil {
		sendProblem(w, 400, "bad_cursor", nil)
		return
	}
	head, _ := parseCursor(f.headLocked())
	if head.compare(atLeast) < 0 {
		w.Header().Set("Retry-After", "1")
		sendProblem(w, 503, "behind", nil)
		return
	}
	if !f.born {
		sendProblem(w, 404, "no_feed", nil)
		return
	}
	if f.pollAfter != "" {
		w.Header().Set("Doorbell-Poll-After", f.pollAfter)
	}
	if !since.isZero() && (since.epoch != head.epoch || max(since.seq, since.base) < f.floor || since.seq > head.seq) {
		sendProblem(w, 410, "reset", map[string]any{"snapshot": "/v1/feeds/" + feedX + "?at_least=" + head.text})
		return
	}
	if f.etags {
		tag := fmt.Sprintf(`W/"%s..%s"`, since.text, head.text)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("ETag", tag)
	}
	limit, _ := strconv.Atoi(q.Get("limit"))
	w.Header().Set("Doorbell-Cursor", head.text)
	//nolint:errchkjson // a client that has gone
	_ = json.NewEncoder(w).Encode(f.pageLocked(since, head, cmp.Or(limit, f.pageSize, 1000)))
}

func (f *fake) pageLocked(since, head cursor, limit int) map[string]any {
	var rows []Change
	base := since.base
	if since.isZero() {
		base = head.seq
	}
	for _, row := range f.rows {
		if row.Seq > since.seq && (!row.Deleted || row.Seq > base) {
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, func(a, b Change) int { return cmp.Compare(a.Seq, b.Seq) })
	page := map[string]any{"feed": feedX, "cursor": head.text, "more": false}
	if len(rows) > limit {
		rows = rows[:limit]
		page["more"] = true
		at := f.cursorAt(rows[limit-1].Seq)
		if base > 0 {
			at += "~" + strconv.FormatInt(base, 10)
		}
		page["cursor"] = at
	}
	if since.isZero() {
		page["items"] = append([]Change{}, rows...)
	} else {
		page["since"] = since.text
		page["changes"] = append([]Change{}, rows...)
	}
	if f.trimmed > 0 {
		page["trimmed"] = f.trimmed
	}
	return page
}
