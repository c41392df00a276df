//go:build unix

package cluster

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/doorbell-sync/doorbell/tests/internal/cluster"
	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
)

// openBrowser starts a browser that ends with the test.
func openBrowser(t *testing.T) context.Context {
	t.Helper()
	path := os.Getenv("CHROMIUM")
	for _, name := range []string{
		"google-chrome", "chromium", "chromium-browser",
		"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome", "/Applications/Chromium.app/Contents/MacOS/Chromium",
	} {
		if found, err := exec.LookPath(name); path == "" && err == nil {
			path = found
		}
	}
	if path == "" {
		t.Fatal("there is no Chromium or Google Chrome here; run scripts/setup.sh chromium, or set CHROMIUM to its path")
	}
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), //nolint:usetesting // the cleanup needs it
		chromedp.ExecPath(path), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.NoDefaultBrowserCheck, chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true), chromedp.Flag("disable-dev-shm-usage", true))
	ctx, _ := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		within, done := context.WithTimeout(ctx, doorbelltest.StopWithin)
		defer done()
		_ = chromedp.Cancel(within) // what is left is ended with the allocator
		cancel()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start the browser: %v", err)
	}
	return ctx
}

// page opens the live page through nginx, and looks whether it lives. What it looks like is for tests/page.
func page(t *testing.T, c *cluster.Cluster) {
	host := doorbelltest.Shell{Env: []string{"DOORBELL_KEY=" + cluster.Key}}.Start(t, "host", "--url", c.Nginx.URL())
	parent := openBrowser(t)
	var mu sync.Mutex
	var failures []string
	signals := 0
	tab, cancel := chromedp.NewContext(parent, chromedp.WithNewBrowserContext(), chromedp.WithListener(func(event any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			failures = append(failures, "exception: "+e.ExceptionDetails.Text)
		case *log.EventEntryAdded:
			failures = append(failures, e.Entry.Text+" "+e.Entry.URL)
		case *network.EventWebSocketFrameReceived:
			if strings.HasPrefix(string(e.Response.PayloadData), `{"changed"`) {
				signals++
			}
		}
	}))
	defer cancel()
	if err := chromedp.Do(tab); err != nil { // the tab lasts as long as the context of its first Do
		t.Fatal(err)
	}
	ctx, done := context.WithTimeout(tab, doorbelltest.Patience)
	defer done()
	if _, err := chromedp.Run(ctx, chromedp.Navigate(c.Nginx.URL()+"/")); err != nil {
		t.Fatal(err)
	}
	eval := func(expression string) string {
		value, err := chromedp.Run(ctx, chromedp.Evaluate[string](expression))
		if err != nil {
			t.Fatalf("in the browser: %v", err)
		}
		return value
	}
	doorbelltest.Eventually(t, "the page is live", func() bool {
		return eval(`document.getElementById("state")?.dataset.state ?? ""`) == "live"
	})
	cursors := map[string]bool{}
	doorbelltest.Eventually(t, "the page's cursor moves", func() bool {
		cursors[eval(`document.getElementById("cursor").textContent`)] = true
		return len(cursors) > 3
	})
	if cpu := eval(`document.getElementById("cpu-value").textContent`); cpu == "" || cpu == "–" {
		t.Errorf("the page shows %q for the processor", cpu)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(failures) > 0 || signals == 0 {
		t.Errorf("the page got %d signals; its console says %q", signals, failures)
	}
	if !host.Running() || host.Err.String() != "" {
		t.Errorf("doorbell host says %s", host.Err)
	}
}
