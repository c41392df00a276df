package page

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	closeBrowser()
	doorbelltest.Clean()
	os.Exit(code)
}

// closeBrowser does nothing unless there is a browser.
var closeBrowser = func() {}

// browser is one for all tests; each has a tab with a profile of its own.
var browser = sync.OnceValues(func() (context.Context, error) {
	path, err := chromium()
	if err != nil {
		return nil, err
	}
	allocator, cancel := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath(path), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.NoDefaultBrowserCheck, chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("hide-scrollbars", true))
	ctx, _ := chromedp.NewContext(allocator)
	closeBrowser = func() {
		within, done := context.WithTimeout(ctx, doorbelltest.StopWithin)
		defer done()
		_ = chromedp.Cancel(within) // what is left is ended with the allocator
		cancel()
	}
	return ctx, chromedp.Do(ctx)
})

// chromium finds the browser in the places that scripts/setup.sh looks in.
func chromium() (string, error) {
	if path := os.Getenv("CHROMIUM"); path != "" {
		return path, nil
	}
	for _, name := range []string{
		"google-chrome", "chromium", "chromium-browser",
		"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome", "/Applications/Chromium.app/Contents/MacOS/Chromium",
	} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("there is no Chromium or Google Chrome here; run scripts/setup.sh chromium, or set CHROMIUM to its path")
}

// look is how somebody looks at the page.
type look struct {
	width, height int64
	dark          bool
}

func (l look) String() string {
	if l.dark {
		return fmt.Sprintf("%d-dark", l.width)
	}
	return fmt.Sprintf("%d-light", l.width)
}

// tab is a browser with one tab, and what has happened in it.
type tab struct {
	*testing.T
	ctx context.Context

	mu sync.Mutex
	// Guarded by mu.
	failures []string // exceptions and errors on the console
	refused  int      // errors that the browser itself writes there when a server can't be reached
	hosts    map[string]bool
	frames   []string // received on WebSockets
}

// open opens the page in a tab.
func open(t *testing.T, page string, l look) *tab {
	t.Helper()
	parent, err := browser()
	if err != nil {
		t.Fatal(err)
	}
	b := &tab{T: t, hosts: map[string]bool{}}
	var cancel context.CancelFunc
	b.ctx, cancel = chromedp.NewContext(parent, chromedp.WithNewBrowserContext(), chromedp.WithListener(b.heard))
	t.Cleanup(cancel)
	scheme := "light"
	if l.dark {
		scheme = "dark"
	}
	// The first Do opens the tab, which lasts as long as the context of that call.
	if err := chromedp.Do(b.ctx); err != nil {
		t.Fatalf("open a tab: %v", err)
	}
	b.do(command(network.Enable, network.EnableParams{}), command(log.Enable, cdp.Empty{}),
		command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		}),
		chromedp.EmulateViewport(l.width, l.height), chromedp.Navigate(page))
	return b
}

// command is an action that sends one command of the browser's protocol.
func command[P any](c cdp.Command[P, cdp.Empty], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, c, params)
		return err
	})
}

func (b *tab) heard(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		b.failures = append(b.failures, fmt.Sprintf("exception: %s %+v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception))
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			var said bytes.Buffer
			for _, arg := range e.Args {
				said.Write(arg.Value)
				said.WriteString(arg.Description)
			}
			b.failures = append(b.failures, fmt.Sprintf("console.%s: %s", e.Type, &said))
		}
	case *log.EventEntryAdded:
		switch {
		case strings.Contains(e.Entry.Text, "net::ERR_CONNECTION_") || strings.Contains(e.Entry.Text, "net::ERR_SOCKET_"):
			b.refused++
		case e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning:
			b.failures = append(b.failures, fmt.Sprintf("%s: %s (%s)", e.Entry.Source, e.Entry.Text, e.Entry.URL))
		}
	case *network.EventRequestWillBeSent:
		b.reached(e.Request.URL)
	case *network.EventWebSocketCreated:
		b.reached(e.URL)
	case *network.EventWebSocketFrameReceived:
		b.frames = append(b.frames, string(e.Response.PayloadData))
	}
}

func (b *tab) reached(address string) {
	if u, err := url.Parse(address); err == nil && u.Scheme != "data" {
		b.hosts[u.Host] = true
	}
}

// do acts in the tab.
func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	run(b, chromedp.Steps(actions...))
}

// eval gives the value of an expression in the page.
func eval[T any](b *tab, expression string) T {
	b.Helper()
	return run(b, chromedp.Evaluate[T](expression))
}

func run[T any](b *tab, action chromedp.Action[T]) T {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, doorbelltest.Patience)
	defer cancel()
	value, err := chromedp.Run(ctx, action)
	if err != nil {
		b.Fatalf("in the browser: %v", err)
	}
	return value
}

// row is the data of a row of one of the logs.
type row struct {
	Direction, Kind, Bytes, Text                            string
	URL, Status, CacheControl, CDNCacheControl, ETag, Error string
}

// rows are those of a log, newest first.
func (b *tab) rows(id string) []row {
	b.Helper()
	return eval[[]row](b, `[...document.querySelectorAll("#`+id+` > li")].map((li) => {
		const d = li.dataset;
		return { Direction: d.direction ?? "", Kind: d.kind ?? "", Bytes: d.bytes ?? "", Text: li.querySelector(".frame").textContent,
			URL: d.url ?? "", Status: d.status ?? "", CacheControl: d.cacheControl ?? "", CDNCacheControl: d.cdnCacheControl ?? "",
			ETag: d.etag ?? "", Error: d.error ?? "" };
	})`)
}

func (b *tab) text(id string) string {
	b.Helper()
	return eval[string](b, `document.getElementById("`+id+`").textContent`)
}

// waitState waits until the page says that it is in that state.
func (b *tab) waitState(state string) {
	b.Helper()
	doorbelltest.Eventually(b, "the page is "+state, func() bool {
		return eval[string](b, `document.getElementById("state")?.dataset.state ?? ""`) == state
	})
}

// waitMoves waits until the cursor on the page has changed so many times, and gives the cursors, oldest first.
func (b *tab) waitMoves(n int) []string {
	b.Helper()
	var seen []string
	doorbelltest.Eventually(b, "the cursor moves", func() bool {
		if cursor := b.text("cursor"); strings.Contains(cursor, "-") && (len(seen) == 0 || seen[len(seen)-1] != cursor) {
			seen = append(seen, cursor)
		}
		return len(seen) > n
	})
	return seen
}

// wantClean checks that nothing went wrong in the tab and that it reached the server and nobody else.
func (b *tab) wantClean(host string, refusalsExpected bool) {
	b.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.failures {
		b.Errorf("the console has an error: %s", f)
	}
	if b.refused > 0 && !refusalsExpected {
		b.Errorf("%d times the server could not be reached", b.refused)
	}
	if len(b.hosts) != 1 || !b.hosts[host] {
		b.Errorf("the page has reached %v; want %s alone", b.hosts, host)
	}
}

// screenshot keeps a picture of the whole page.
func (b *tab) screenshot(folder, name string) {
	b.Helper()
	picture := run(b, chromedp.FullScreenshot(100))
	if err := os.WriteFile(folder+"/"+name+".png", picture, 0o600); err != nil {
		b.Fatal(err)
	}
	if len(picture) < 10_000 {
		b.Errorf("the picture %s has %d bytes: there can't be much on it", name, len(picture))
	}
}
