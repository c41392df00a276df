package strangers

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// text is what was logged.
type text struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (t *text) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.Write(p)
}

// lines gives those that have come since it was last asked.
func (t *text) lines() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := strings.TrimSpace(t.buf.String())
	t.buf.Reset()
	if all == "" {
		return nil
	}
	return strings.Split(all, "\n")
}

func listen() (*Log, func() []string) {
	t := new(text)
	return New(slog.New(slog.NewTextHandler(t, nil))), t.lines
}

// kept is how many origins are told apart.
func (l *Log) kept() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.times)
}

func TestOneLineAtOnceAndOneAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, lines := listen()
		for n := range 1500 {
			l.Refused("https://evil.example", "doorbell.example", "192.0.2.1:1")
			if n == 0 {
				if got := lines(); len(got) != 1 || !strings.Contains(got[0], "https://evil.example") {
					t.Errorf("at once there is %q", got)
				}
			}
		}
		if got := lines(); got != nil {
			t.Errorf("then there are %d lines, such as %q", len(got), got[0])
		}
		time.Sleep(every)
		synctest.Wait()
		if got := lines(); len(got) != 1 || !strings.Contains(got[0], "times=1499") {
			t.Errorf("a minute later there is %q", got)
		}
		time.Sleep(2 * every) // quiet: it is forgotten, and nothing runs
		synctest.Wait()
		l.Refused("https://evil.example", "", "")
		if got := lines(); len(got) != 1 || strings.Contains(got[0], "times=") {
			t.Errorf("later there is %q", got)
		}
		l.Refused("https://evil.example", "", "")
		l.Close()
		l.Close()
		time.Sleep(2 * every)
		synctest.Wait()
		l.Refused("https://other.example", "", "")
		if got := lines(); got != nil {
			t.Errorf("after the end there is %q", got)
		}
	})
}

// TestManyOrigins: whoever says another one each time fills neither the log nor the memory.
func TestManyOrigins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, lines := listen()
		for n := range 5000 {
			l.Refused(fmt.Sprint("https://", n, ".example/", strings.Repeat("x", 1000)), strings.Repeat("h", 1000), "")
		}
		got := lines()
		if len(got) != most || l.kept() != most || len(got[0]) > 1000 {
			t.Errorf("%d lines, %d kept: %.2000q", len(got), l.kept(), got[0])
		}
		time.Sleep(every)
		synctest.Wait()
		if got := lines(); len(got) != 1 || !strings.Contains(got[0], "times=4936") || l.kept() != 0 {
			t.Errorf("a minute later there is %q, and %d are kept", got, l.kept())
		}
	})
}
