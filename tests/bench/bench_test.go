//go:build linux

package bench

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
	"github.com/doorbell-sync/doorbell/tests/internal/process"
)

// benchPatience is for a bench that is kept as small as it can be, on a machine that is busy.
const benchPatience = 4 * time.Minute

// benchReport is what a test wants to know of a report.
type benchReport struct {
	Sections []struct {
		Name string `json:"name"`
		Rows []struct {
			Name   string             `json:"name"`
			Values map[string]float64 `json:"values"`
		} `json:"rows"`
		Notes []string `json:"notes"`
		Wrong []string `json:"wrong"`
	} `json:"sections"`
}

// TestBenches runs one of each bench, tiny: whether what it says is right nobody can tell here, but that it measures, and that
// every client has the last write.
func TestBenches(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		rows map[string]string // of each section, one of its rows
	}{
		"signals": {
			[]string{"signals", "--only", "burst,drain", "--against", "doorbell", "--conns", "60", "--settle", "0s"},
			map[string]string{"burst": "messages per connection", "drain": "reconnects"},
		},
		"reads": {
			[]string{"reads", "--only", "hot", "--for", "100ms", "--requests", "300"},
			map[string]string{"hot": "delta: requests a second"},
		},
		"herd": {
			[]string{"herd", "--only", "small-late", "--caches", "nginx", "--clients", "40", "--changes", "10", "--deployments", "../../deployments"},
			map[string]string{"small-late": "clients that are right"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "report.json")
			p := doorbelltest.Shell{}.Start(t, append(append([]string{"bench"}, c.args...), "--json", file)...)
			select {
			case <-p.Done():
			case <-time.After(benchPatience):
				t.Fatalf("not done within %s:\n%s", benchPatience, p.Out)
			}
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatalf("exit %d, and no report: %v\n%s", p.ExitCode(), err, p.Err)
			}
			var r benchReport
			if err := json.Unmarshal(b, &r); err != nil {
				t.Fatal(err)
			}
			if len(r.Sections) != len(c.rows) {
				t.Fatalf("%d sections; want %d", len(r.Sections), len(c.rows))
			}
			for _, s := range r.Sections {
				found := false
				for _, row := range s.Rows {
					found = found || row.Name == c.rows[s.Name] && len(row.Values) > 0
				}
				if !found || len(s.Wrong) > 0 || strings.Contains(strings.Join(s.Notes, "\n"), "could not be measured") {
					t.Errorf("exit %d:\n%s", p.ExitCode(), p.Out)
				}
			}
		})
	}
}

// TestBenchBadInput: everything that is wrong is said, and nothing is started.
func TestBenchBadInput(t *testing.T) {
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"signals", "--only", "x", "--against", "y", "--conns", "5"}, []string{`--only has "x"`, `--against has "y"`, "--conns is 5"}},
		{[]string{"reads", "--waiting", "100000", "--for", "1h"}, []string{"--waiting is 100000", "--for is 1h"}},
		{[]string{"herd", "--caches", "squid", "--cache", "127.0.0.1:1"}, []string{`--caches has "squid"`, "--origin-listen"}},
	} {
		r := doorbelltest.Shell{}.Run(t, append([]string{"bench"}, c.args...)...)
		for _, want := range c.want {
			if r.Code != 2 || !strings.Contains(r.Err, want) {
				t.Errorf("bench %v: exit %d, nothing of %q in\n%s", c.args, r.Code, want, r.Err)
			}
		}
	}
}

// TestBenchEndsWhatItStarted interrupts a bench that has everything running.
func TestBenchEndsWhatItStarted(t *testing.T) {
	p := doorbelltest.Shell{}.Start(t, "bench", "signals", "--only", "churn", "--against", "doorbell", "--conns", "60")
	var started []int
	waitFor(t, p, "servers and clients run", func() bool {
		// The API, the worker, a gateway, a crowd; Postgres and Redis have a shell each that watches them.
		started = descendants(t, p.PID())
		return strings.Contains(p.Err.String(), "churn: doorbell") && len(started) > 6
	})
	p.Signal(syscall.SIGINT)
	select {
	case <-p.Done():
	case <-time.After(doorbelltest.Patience):
		t.Fatal("it goes on after an interrupt")
	}
	waitFor(t, nil, "all of them are gone", func() bool {
		for _, pid := range started {
			if syscall.Kill(pid, 0) == nil && !zombie(pid) {
				return false
			}
		}
		return true
	})
}

func waitFor(t *testing.T, p *process.Process, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(benchPatience); !condition(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) || p != nil && !p.Running() {
			t.Fatalf("not reached: %s", what)
		}
	}
}

// descendants are the processes that a process has started, and those that they have.
func descendants(t *testing.T, pid int) []int {
	t.Helper()
	var all []int
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range tasks {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // gone since
		}
		for text := range strings.FieldsSeq(string(b)) {
			child, err := strconv.Atoi(text)
			if err != nil {
				t.Fatal(err)
			}
			all = append(append(all, child), descendants(t, child)...)
		}
	}
	return all
}

// zombie tells whether a process has ended and only nobody has asked.
func zombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(b), ") Z ")
}
