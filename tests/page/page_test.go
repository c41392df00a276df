// Package page tests the live page of `doorbell dev` in a real browser.
package page

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
)

// start starts a server and waits until there is something to look at.
func start(t *testing.T) *doorbelltest.Server {
	t.Helper()
	server := doorbelltest.Dev(t)
	doorbelltest.Eventually(t, "host:local is written", func() bool { return server.Head("host:local") != "" })
	return server
}

// TestThePageIsLive at both widths and in both colours.
//
//nolint:tparallel // its tabs are enough at a time
func TestThePageIsLive(t *testing.T) {
	server := start(t)
	// With a folder to keep the pictures in, somebody wants to look at them, and at plots with more than a few points.
	folder, moves := os.Getenv("DOORBELL_SCREENSHOTS"), 2
	if folder == "" {
		folder = t.TempDir()
	} else {
		moves = 25
	}
	for _, l := range []look{{1280, 800, false}, {1280, 800, true}, {390, 844, false}, {390, 844, true}} {
		t.Run(l.String(), func(t *testing.T) {
			t.Parallel() // most of it is waiting for the next second
			b := open(t, server.URL()+"/", l)
			b.waitState("live")
			cursors := b.waitMoves(moves)
			for i := 1; i < len(cursors); i++ {
				if epoch(cursors[i]) != epoch(cursors[0]) || seq(cursors[i]) <= seq(cursors[i-1]) {
					t.Errorf("the cursor went %q", cursors)
				}
			}
			checkFigures(b)
			checkAge(b)
			checkSignals(b)
			checkPulls(b)
			if wide := eval[[2]int](b, `[document.documentElement.scrollWidth, document.documentElement.clientWidth]`); wide[0] > wide[1] ||
				wide[1] != int(l.width) {
				t.Errorf("the page is %d wide in a window of %d (want %d): it scrolls sideways", wide[0], wide[1], l.width)
			}
			bright := eval[float64](b, `(() => { const [r, g, b] = getComputedStyle(document.body).backgroundColor.match(/[\d.]+/g).map(Number);
				return (0.299 * r + 0.587 * g + 0.114 * b) / 255 })()`)
			if l.dark != (bright < 0.5) {
				t.Errorf("the background's brightness is %.2f of 1", bright)
			}
			b.screenshot(folder, l.String())
			b.wantClean(server.Addr(), false)
		})
	}
}

func checkFigures(b *tab) {
	b.Helper()
	number := regexp.MustCompile(`^\d+(\.\d+)?$`)
	for _, id := range []string{"cpu-value", "memory-value", "disk-value"} {
		percent, err := strconv.ParseFloat(b.text(id), 64)
		if err != nil || percent < 0 || percent > 100 {
			b.Errorf("#%s is %q; want a percentage", id, b.text(id))
		}
	}
	for _, id := range []string{"load-value", "network-value"} {
		if text := b.text(id); !number.MatchString(text) {
			b.Errorf("#%s is %q; want a number", id, text)
		}
	}
	if name, err := os.Hostname(); err == nil && !strings.Contains(b.text("host-value"), name) {
		b.Errorf("#host-value is %q; want this machine's name", b.text("host-value"))
	}
	// A plot that has been drawn has points of more than one colour.
	for _, id := range []string{"cpu-plot", "memory-plot", "load-plot"} {
		if n := eval[int](b, `(() => { const c = document.getElementById("`+id+`"), d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
			let n = 0; for (let i = 3; i < d.length; i += 4) if (d[i]) n++; return n })()`); n == 0 {
			b.Errorf("#%s is empty", id)
		}
	}
}

// checkAge waits until the age has grown and until it has been young again.
func checkAge(b *tab) {
	b.Helper()
	var ages []int
	doorbelltest.Eventually(b, "the age of the data grows, and is small again", func() bool {
		ages = append(ages, eval[int](b, `Number(document.getElementById("age").dataset.ms)`))
		grew, shrank := false, false
		for i := 1; i < len(ages); i++ {
			grew = grew || ages[i] > ages[i-1]
			shrank = shrank || ages[i] < ages[i-1]
		}
		return grew && shrank
	})
	if oldest := slices.Max(ages); oldest > 5000 {
		b.Errorf("the data on the page was %d ms old", oldest)
	}
}

// checkSignals compares what the page shows with what the browser has received.
func checkSignals(b *tab) {
	b.Helper()
	rows := b.rows("signal-log")
	b.mu.Lock()
	frames := slices.Clone(b.frames)
	b.mu.Unlock()
	kinds := map[string]int{}
	for _, r := range rows {
		kinds[r.Direction+" "+r.Kind]++
		if n, err := strconv.Atoi(r.Bytes); err != nil || n != len(r.Text) {
			b.Errorf("the frame %s is shown as %q bytes", r.Text, r.Bytes)
		}
		if r.Direction == "in" && !slices.Contains(frames, r.Text) {
			b.Errorf("the page shows the frame %s, which was not received", r.Text)
		}
		if r.Kind == "changed" && len(r.Text) > 60 {
			b.Errorf("a signal has %d bytes: %s", len(r.Text), r.Text)
		}
	}
	if kinds["in hello"] != 1 || kinds["out subscribe"] != 1 || kinds["in subscribed"] != 1 || kinds["in changed"] < 2 {
		b.Errorf("the signals shown are %v", kinds)
	}
	if n, err := strconv.Atoi(b.text("signals-count")); err != nil || n < kinds["in changed"]+2 {
		b.Errorf("#signals-count is %q; %v are shown", b.text("signals-count"), kinds)
	}
}

var pinned = regexp.MustCompile(`^/v1/feeds/host:local(\?|/changes\?since=[0-9a-z]{7}-\d+&)at_least=[0-9a-z]{7}-\d+$`)

// checkPulls checks that all pulls have the one canonical URL that caches may keep, and are shown as they were.
func checkPulls(b *tab) {
	b.Helper()
	const immutable = "public, max-age=3600, immutable"
	sizes := eval[map[string]int](b, `Object.fromEntries(performance.getEntriesByType("resource").map((e) => [e.name.slice(location.origin.length), e.decodedBodySize]))`)
	rows := b.rows("pull-log")
	if len(rows) < 2 {
		b.Errorf("%d pulls are shown", len(rows))
	}
	for i, r := range rows {
		if !pinned.MatchString(r.URL) || r.Status != "200" || r.CacheControl != immutable || r.CDNCacheControl != immutable || r.Error != "" {
			b.Errorf("a pull is not pinned, or not kept by caches: %+v", r)
		}
		if !strings.HasPrefix(r.ETag, `W/"`) {
			b.Errorf("a pull has the ETag %q", r.ETag)
		}
		if want := map[bool]string{true: "delta", false: "snapshot"}[strings.Contains(r.URL, "since=")]; r.Kind != want {
			b.Errorf("the pull of %s is shown as a %s", r.URL, r.Kind)
		}
		n, err := strconv.Atoi(r.Bytes)
		if size, ok := sizes[r.URL]; err != nil || n == 0 || (ok && n != size) {
			b.Errorf("the pull of %s is shown as %q bytes; it had %d", r.URL, r.Bytes, size)
		}
		if oldest := i == len(rows)-1; oldest && len(rows) < 50 && r.Kind != "snapshot" {
			b.Errorf("the first pull was a %s", r.Kind)
		}
	}
	if n, err := strconv.Atoi(b.text("pulls-count")); err != nil || n < len(rows) {
		b.Errorf("#pulls-count is %q; %d are shown", b.text("pulls-count"), len(rows))
	}
}

// TestThePageSurvivesARestart by itself, and goes on where it was.
func TestThePageSurvivesARestart(t *testing.T) {
	server := start(t)
	b := open(t, server.URL()+"/", look{1280, 800, false})
	b.waitState("live")
	b.waitMoves(1)
	b.wantClean(server.Addr(), false)
	for _, end := range []func(){server.Kill, server.Stop} {
		end()
		b.waitState("reconnecting")
		before := b.text("cursor")
		server.Restart()
		b.waitState("live")
		cursors := b.waitMoves(2)
		if after := cursors[len(cursors)-1]; epoch(after) != epoch(before) || seq(after) <= seq(before) {
			t.Errorf("the cursor was %s, and is %s after a restart", before, after)
		}
		for _, r := range b.rows("pull-log") {
			// While nobody answers there may be tries without an answer, and polls, which nobody pins.
			if r.Status != "0" && r.Status != "200" && r.Status != "304" {
				t.Errorf("a pull got %+v", r)
			}
		}
		if kinds := b.rows("signal-log"); kinds[0].Kind != "changed" {
			t.Errorf("the newest frame is %+v; want a signal", kinds[0])
		}
	}
	b.wantClean(server.Addr(), true)
}

// TestThePageWithoutItsFeed: it says so, rather than waiting for ever.
func TestThePageWithoutItsFeed(t *testing.T) {
	// With so small a batch, this machine's figures are refused.
	server := doorbelltest.Dev(t, "--config", doorbelltest.File(t, "doorbell.yaml", "default: {max_batch: 1}\n"))
	b := open(t, server.URL()+"/", look{390, 844, false})
	b.waitState("live")
	doorbelltest.Eventually(t, "it says that there is no such feed", func() bool {
		return eval[bool](b, `document.getElementById("notice").checkVisibility()`)
	})
	if text := b.text("cpu-value"); text != "–" {
		t.Errorf("#cpu-value is %q without data", text)
	}
}

func epoch(cursor string) string {
	epoch, _, _ := strings.Cut(cursor, "-")
	return epoch
}

func seq(cursor string) int {
	_, text, _ := strings.Cut(cursor, "-")
	n, err := strconv.Atoi(text)
	if err != nil {
		return -1
	}
	return n
}
