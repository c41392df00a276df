package api_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
	api "github.com/doorbell-sync/doorbell/services/api"
)

// TestAClientThatTakesNothingIsCut: it would hold the megabytes of its answer for ever.
func TestAClientThatTakesNothingIsCut(t *testing.T) {
	h := newHarness(t, func(o *api.Options) { o.StallTimeout = 100 * time.Millisecond })
	var w store.Write
	for i := range 60 { // more than the sockets' buffers hold
		value := fmt.Appendf(nil, "%q", strings.Repeat("x", 200<<10))
		w.Edits = append(w.Edits, feed.Edit{Key: fmt.Sprint(i), Value: value})
	}
	if _, err := h.store.Append(t.Context(), "pub:large", w); err != nil {
		t.Fatal(err)
	}
	left := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(left)
		h.api.Handler().ServeHTTP(w, r)
	}))
	defer srv.Close()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprint(conn, "GET /v1/feeds/pub:large HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-left:
	case <-time.After(10 * time.Second):
		t.Fatal("the request is still under way after 10 s")
	}
}
