//go:build unix

package cdn

import (
	"context"
	"errors"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	doorbell "github.com/doorbell-sync/doorbell/clients/go"

	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
)

// TestAProxyThatDropsQueries: every delta becomes the first page. The client says what is wrong, and asks ever more slowly.
func TestAProxyThatDropsQueries(t *testing.T) {
	t.Parallel()
	server := doorbelltest.Dev(t)
	upstream, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	transport := doorbelltest.HTTP(t).Transport
	proxy := httptest.NewServer(&httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(upstream)
		r.Out.URL.RawQuery = ""
	}})
	t.Cleanup(proxy.Close)
	first, err := server.Client().Put(t.Context(), "orders", "a", []byte(`1`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.Client().Put(t.Context(), "orders", "a", []byte(`2`)); err != nil {
		t.Fatal(err)
	}

	client, err := doorbell.New(proxy.URL, doorbell.WithHTTPClient(doorbelltest.HTTP(t)))
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Changes(t.Context(), "orders", first.Cursor, doorbell.ReadOptions{})
	if _, ok := errors.AsType[*doorbell.Misfit](err); !ok {
		t.Errorf("a read says %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), doorbelltest.Patience)
	defer cancel()
	options := doorbell.FollowOptions{Since: first.Cursor, OnStatus: func(s doorbell.Status) {
		if _, ok := errors.AsType[*doorbell.Misfit](s.Err); ok {
			cancel()
		}
	}}
	began := time.Now()
	for event, err := range client.Follow(ctx, "orders", options) {
		if err == nil && event.Kind == doorbell.Changed {
			t.Errorf("a follower takes %+v for the delta", event)
		}
	}
	if time.Since(began) >= doorbelltest.Patience {
		t.Error("the follower didn't say that anything is wrong")
	}
}
