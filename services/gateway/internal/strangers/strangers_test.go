package strangers

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// listen gives a log, and the lines that have come since it was last asked.
func listen() (*Log, func() []string) {
	var buf bytes.Buffer
	return New(slog.New(slog.NewTextHandler(&buf, nil))), func() []string {
		text := strings.TrimSpace(buf.String())
		buf.Reset()
		if text == "" {
			return nil
		}
		return strings.Split(text, "\n")
	}
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
		if len(got) != most || len(l.times) != most || len(got[0]) > 1000 {
			t.Errorf("%d lines, %d kept: %.2000q", len(got), len(l.times), got[0])
		}
		time.Sleep(every)
		synctest.Wait()
		if got := lines(); len(got) != 1 || !strings.Contains(got[0], "times=4936") || len(l.times) != 0 {
			t.Errorf("a minute later there is %q, and %d are kept", got, len(l.times))
		}
	})
}
