package doorbell

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// The same over real sockets, once: two hosts, a key, a server that dies and comes back at its address.
func TestFollowOverTCP(t *testing.T) {
	f := newFake()
	f.put("a", `1`)
	keyed := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			sendProblem(w, http.StatusUnauthorized, "unauthorized", nil)
			return
		}
		f.ServeHTTP(w, r)
	})
	api, gateway := httptest.NewServer(keyed), httptest.NewServer(keyed)
	defer api.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	c, err := New(api.URL, WithKey("secret"), WithGateway(gateway.URL), WithHTTPClient(&http.Client{Transport: transport}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	// Deep enough for every status that this test can see.
	polling, live := make(chan struct{}, 1000), make(chan struct{}, 1000)
	onStatus := func(s Status) {
		switch s.Mode {
		case Polling:
			polling <- struct{}{}
		case Live:
			live <- struct{}{}
		case Connecting:
		}
	}
	address := gateway.Listener.Addr().String()
	changed := 0
	for e, err := range c.Follow(ctx, feedX, FollowOptions{OnStatus: onStatus}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind != Changed {
			continue
		}
		switch changed++; changed {
		case 1:
			go func() {
				<-live
				_ = gateway.Listener.Close()
				f.closeAll(1012, "restart")
				<-polling
				f.put("a", `2`) // seen by polling
			}()
		case 2:
			listener, err := net.Listen("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			again := httptest.NewUnstartedServer(keyed)
			_ = again.Listener.Close()
			again.Listener = listener
			again.Start()
			defer again.Close()
			go func() {
				<-live
				f.put("a", `3`)
			}()
		}
		if changed == 3 {
			if string(e.Change.Value) != "3" {
				t.Errorf("the third change is %s", e.Change.Value)
			}
			break
		}
	}
	gateway.Close()
}
