package report_test

import (
	"strings"
	"testing"

	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/report"
)

func TestTable(t *testing.T) {
	r := &report.Report{Bench: "x"}
	s := r.Section("small", "a few")
	s.Set("doorbell", "memory", "KB", 6.0421)
	s.Set("other", "memory", "KB", 12345.6)
	s.Set("doorbell", "only here", "", 3)
	s.AtMost("memory", 6.04, 7)
	s.AtLeast("share", 0.7, 0.9)
	if err := r.Failed(); err != nil {
		t.Errorf("failed: %v; a missed target is no failure", err)
	}
	s.Failf("%d connections are behind", 2)
	if err := r.Failed(); err == nil || !strings.Contains(err.Error(), "small: 2 connections are behind") {
		t.Errorf("failed: %v", err)
	}
	var b strings.Builder
	s.Print(&b)
	want := `
== small: a few

                         doorbell      other
  memory, KB                 6.04      12346
  only here                     3          –
  target: memory: met (6.04; target 7)
  target: share: missed (0.700; target 0.900)
  WRONG: 2 connections are behind
`
	if b.String() != want {
		t.Errorf("printed:\n%s\nwant:\n%s", b.String(), want)
	}
}

func TestPercentile(t *testing.T) {
	values := []int64{5, 1, 4, 2, 3}
	for p, want := range map[float64]int64{0: 1, 20: 1, 21: 2, 50: 3, 99: 5, 100: 5} {
		if got := report.Percentile(values, p); got != want {
			t.Errorf("p%v is %d; want %d", p, got, want)
		}
	}
	if got := report.Percentile([]int64(nil), 50); got != 0 {
		t.Errorf("of none it is %d", got)
	}
}
