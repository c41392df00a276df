//go:build unix

package cdn

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/doorbell-sync/doorbell/tests/internal/edge"
)

// TestCachesKnowTheSameServers as the balancer's configuration does, and so as compose.yaml (tests/cluster).
func TestCachesKnowTheSameServers(t *testing.T) {
	t.Parallel()
	names := func(expression string, path ...string) []string {
		text, err := os.ReadFile(edge.Shipped(path...))
		if err != nil {
			t.Fatal(err)
		}
		var found []string
		for _, m := range regexp.MustCompile(expression).FindAllStringSubmatch(string(text), -1) {
			found = append(found, m[1])
		}
		slices.Sort(found)
		return slices.Compact(found)
	}
	const server = `(?m)^\s+server ([a-z]\S+):8080`
	want := names(server, "nginx", "doorbell.conf")
	if got := names(server, "nginx", "doorbell-cache.conf"); !slices.Equal(got, want) {
		t.Errorf("doorbell-cache.conf has %q; doorbell.conf %q", got, want)
	}
	if got := names(`\.host = "(\S+)"`, "varnish", "doorbell.vcl"); !slices.Equal(got, want) {
		t.Errorf("doorbell.vcl has %q; doorbell.conf %q", got, want)
	}
}
