//go:build unix

package cluster

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	doorbell "github.com/doorbell-sync/doorbell/clients/go"

	"github.com/doorbell-sync/doorbell/tests/internal/cluster"
	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
)

// TestTheLoopBehindNginx is all that a user does, on servers that scale out.
func TestTheLoopBehindNginx(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Workers: 2})
	t.Run("a write at either API reaches both gateways", func(t *testing.T) { eitherReachesBoth(t, c) })
	t.Run("the shell", func(t *testing.T) { shell(t, c) })
	t.Run("the page", func(t *testing.T) { page(t, c) })
	t.Run("paths, headers and bodies pass as they are", func(t *testing.T) { unchanged(t, c) })
	t.Run("nobody writes without a key", func(t *testing.T) { needsKey(t, c) })
}

func eitherReachesBoth(t *testing.T, c *cluster.Cluster) {
	const feed = "loop:both"
	var ears []*cluster.Ear
	for _, url := range []string{c.Gateways[0].URL(), c.Gateways[1].URL(), c.Nginx.URL(), c.Nginx.URL()} {
		ears = append(ears, cluster.Listen(t, url, feed))
	}
	for i := range 6 {
		api := c.APIs[i%2]
		written, err := api.Client().Put(t.Context(), feed, fmt.Sprint(i), json.RawMessage(`"x"`))
		if err != nil {
			t.Fatal(err)
		}
		if cluster.Seq(written.Cursor) != int64(i+1) {
			t.Fatalf("write %d made %s", i, written.Cursor)
		}
		for _, e := range ears {
			e.WaitHeard(t, int64(i+1))
		}
		// Signal never outruns data, at the other API neither.
		for _, at := range c.APIs {
			state, err := at.Client().Load(t.Context(), feed)
			if err != nil || state.Cursor != written.Cursor || len(state.Items) != i+1 {
				t.Fatalf("after %s an API has %+v, %v", written.Cursor, state, err)
			}
		}
	}
}

func shell(t *testing.T, c *cluster.Cluster) {
	sh := doorbelltest.Shell{Env: []string{"DOORBELL_URL=" + c.Nginx.URL(), "DOORBELL_KEY=" + cluster.Key}}
	watch := sh.Start(t, "watch", "loop:shell")
	put := func(key, value string) string {
		r := sh.Run(t, "put", "loop:shell", key, value)
		if r.Code != 0 {
			t.Fatalf("put: %d %s", r.Code, r.Err)
		}
		return strings.TrimSpace(r.Out)
	}
	doorbelltest.WaitCursor(t, watch.Out, put("price", `{"krw":"50140000"}`))
	lines := doorbelltest.WaitCursor(t, watch.Out, put("halt", `true`))
	doorbelltest.Eventually(t, "watch is live", func() bool {
		said := watch.Err.Lines()
		return len(said) > 0 && said[len(said)-1] == "live"
	})
	get := sh.Run(t, "get", "loop:shell")
	if want := "{\"key\":\"price\",\"seq\":1,\"value\":{\"krw\":\"50140000\"}}\n{\"key\":\"halt\",\"seq\":2,\"value\":true}\n"; get.Out != want {
		t.Errorf("get printed\n%s\nwant\n%s", get.Out, want)
	}
	if state := doorbelltest.Apply(lines); len(state.Items) != 2 {
		t.Errorf("watch has built %+v", state)
	}
	if r := sh.Run(t, "delete", "loop:shell", "halt"); r.Code != 0 {
		t.Errorf("delete: %d %s", r.Code, r.Err)
	} else {
		doorbelltest.WaitCursor(t, watch.Out, strings.TrimSpace(r.Out))
	}
}

// unchanged: what goes through nginx is what came, both ways.
func unchanged(t *testing.T, c *cluster.Cluster) {
	client := c.Client()
	for _, key := range []string{"a/b", "a//b", "100%", "ein Schlüssel", "a+b", "a?b#c"} {
		if _, err := client.Put(t.Context(), "loop:keys", key, json.RawMessage(`"`+key+`"`)); err != nil {
			t.Errorf("put %q: %v", key, err)
		}
	}
	state, err := client.Load(t.Context(), "loop:keys")
	if err != nil || len(state.Items) != 6 {
		t.Errorf("the keys are %v, %v", state, err)
	}
	big := json.RawMessage(`"` + strings.Repeat("x", 200<<10) + `"`)
	var changes []doorbell.Change
	for i := range 30 { // 6 MB: a temporary file in nginx on the way in, several pages on the way out
		changes = append(changes, doorbell.Change{Key: fmt.Sprint(i), Value: big})
	}
	if _, err := client.Write(t.Context(), "loop:big", changes); err != nil {
		t.Error(err)
	}
	if state, err := client.Load(t.Context(), "loop:big"); err != nil || len(state.Items) != 30 || string(state.Items["7"].Value) != string(big) {
		t.Errorf("the big feed has %d items, %v", len(state.Items), err)
	}

	for path, want := range map[string]map[string]string{
		"/v1/feeds/loop:keys?at_least=" + state.Cursor: {"Cache-Control": "public, max-age=3600, immutable", "Content-Type": "application/json"},
		"/v1/feeds/loop:keys": {
			"Cache-Control": "public, max-age=0, must-revalidate", "Doorbell-Cursor": state.Cursor,
			"ETag": `W/"` + state.Cursor + `"`, "Surrogate-Key": "feed-loop:keys", "Access-Control-Allow-Origin": "*",
		},
		"/v1/feeds/loop:none":   {"Content-Type": "application/problem+json"},
		"/v1/signals":           {"Content-Type": "application/problem+json"}, // not an upgrade
		"/v1//feeds/loop:keys":  {"Content-Type": "application/problem+json"}, // not cleaned
		"/v1/feeds/loop:keys/":  {"Content-Type": "application/problem+json"},
		"/readyz":               {"Content-Type": "text/html"}, // nginx's own 404
		"/v1/heads?feed=loop:a": {"Cache-Control": "no-store"},
		"/v1/heads?feed=" + strings.Repeat("loop:keys&feed=", 600) + "loop:keys": {"Cache-Control": "no-store"},
	} {
		res, err := doorbelltest.HTTP(t).Get(c.Nginx.URL() + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		for name, value := range want {
			if got := res.Header.Get(name); got != value {
				t.Errorf("%.60s answers %d with %s %q; want %q", path, res.StatusCode, name, got, value)
			}
		}
	}
	tooLarge := strings.NewReader(strings.Repeat("x", 8<<20+1000))
	res := send(t, http.MethodPost, c.Nginx.URL()+"/v1/feeds/loop:big/changes", tooLarge, cluster.Key)
	if res.StatusCode != http.StatusRequestEntityTooLarge || res.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("a body that is too large got %d, %s; want Doorbell's own 413", res.StatusCode, res.Header.Get("Content-Type"))
	}
}

// needsKey: to the APIs nginx is somebody on this machine, and must not lend that to whoever comes through it.
func needsKey(t *testing.T, c *cluster.Cluster) {
	res := send(t, http.MethodPut, c.Nginx.URL()+"/v1/feeds/loop:keys/items/x", strings.NewReader("1"), "")
	if res.StatusCode != http.StatusUnauthorized {
		t.Errorf("a write without a key got %d", res.StatusCode)
	}
}
