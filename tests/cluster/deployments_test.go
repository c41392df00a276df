//go:build unix

package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/doorbell-sync/doorbell/tests/internal/cluster"
	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
)

func shipped(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(cluster.Deployments(), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestTheExampleConfigurationIsValid on an address that others can reach, too.
func TestTheExampleConfigurationIsValid(t *testing.T) {
	path := filepath.Join(cluster.Deployments(), "doorbell.example.yaml")
	r := doorbelltest.Shell{}.Run(t, "config", "check", "--config", path, "--listen", "0.0.0.0:8080")
	if r.Code != 0 {
		t.Errorf("config check: %d %s", r.Code, r.Err)
	}
	// With what is commented out as well.
	uncommented := regexp.MustCompile(`(?m)^# (\w+: \S.*)$`).ReplaceAllString(shipped(t, "doorbell.example.yaml"), "$1")
	r = doorbelltest.Shell{}.Run(t, "config", "check", "--config", doorbelltest.File(t, "all.yaml", uncommented))
	if r.Code != 0 || !strings.Contains(uncommented, "\ndatabase_url: ") {
		t.Errorf("config check of the example with all of its keys: %d %s", r.Code, r.Err)
	}
}

// compose is what of compose.yaml the other files have to agree with.
type compose struct {
	Services map[string]struct {
		Image       string
		Command     []string
		Environment map[string]string
	}
	Networks struct {
		Default struct {
			IPAM struct {
				Config []struct{ Subnet string }
			} `yaml:"ipam"`
		}
	}
}

// TestComposeAgreesWithTheRest: its commands are such as Doorbell has, its names those that nginx's configuration has.
func TestComposeAgreesWithTheRest(t *testing.T) {
	var c compose
	if err := yaml.Unmarshal([]byte(shipped(t, "compose.yaml")), &c); err != nil {
		t.Fatal(err)
	}
	var served []string
	for name, s := range c.Services {
		if s.Image != "doorbell" {
			continue
		}
		// All that says where things are comes from the environment; --help so that nothing is started.
		if r := (doorbelltest.Shell{}).Run(t, append(s.Command, "--help")...); r.Code != 0 || !strings.Contains(r.Out, "Usage:") {
			t.Errorf("%s: doorbell %q: %d %s", name, s.Command, r.Code, r.Err)
		}
		if got, want := s.Environment["DOORBELL_TRUSTED_PROXIES"], c.Networks.Default.IPAM.Config[0].Subnet; got != want {
			t.Errorf("%s trusts %q; nginx is in %q", name, got, want)
		}
		if strings.HasPrefix(name, "api-") || strings.HasPrefix(name, "gateway-") {
			served = append(served, name+":8080")
		}
	}
	var balanced []string
	for _, found := range regexp.MustCompile(`(?m)^\s+server (\S+:\d+)`).FindAllStringSubmatch(shipped(t, "nginx/doorbell.conf"), -1) {
		balanced = append(balanced, found[1])
	}
	slices.Sort(served)
	slices.Sort(balanced)
	if balanced = slices.Compact(balanced); !slices.Equal(served, balanced) {
		t.Errorf("nginx balances %q; compose has %q", balanced, served)
	}
}

// TestTheDockerfileBuildsWithOurGo, or an old one would be there and not allowed to fetch another.
func TestTheDockerfileBuildsWithOurGo(t *testing.T) {
	work, err := os.ReadFile(filepath.Join(cluster.Deployments(), "..", "go.work"))
	if err != nil {
		t.Fatal(err)
	}
	wanted := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(string(work))
	if !strings.Contains(shipped(t, "Dockerfile"), fmt.Sprintf("FROM golang:%s ", wanted[1])) {
		t.Errorf("the Dockerfile doesn't build with Go %s, as go.work asks for", wanted[1])
	}
}

// TestSystemdUnits are such as systemd understands, where there is one, and run what Doorbell has.
func TestSystemdUnits(t *testing.T) {
	units, err := filepath.Glob(filepath.Join(cluster.Deployments(), "systemd", "*.service"))
	if err != nil || len(units) != 4 {
		t.Fatalf("the units are %q, %v", units, err)
	}
	folder := t.TempDir()
	start := regexp.MustCompile(`(?m)^ExecStart=/usr/local/bin/doorbell (.*)$`)
	var verify []string
	for _, unit := range units {
		text := shipped(t, "systemd/"+filepath.Base(unit))
		found := start.FindStringSubmatch(text)
		if found == nil {
			t.Fatalf("%s starts nothing", unit)
		}
		if r := (doorbelltest.Shell{}).Run(t, append(strings.Fields(found[1]), "--help")...); r.Code != 0 {
			t.Errorf("%s runs %q: %d %s", filepath.Base(unit), found[1], r.Code, r.Err)
		}
		// The binary has to be there for systemd-analyze.
		here := filepath.Join(folder, filepath.Base(unit))
		text = strings.Replace(text, "ExecStart=/usr/local/bin/doorbell", "ExecStart="+doorbelltest.Binary(t), 1)
		if err := os.WriteFile(here, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		verify = append(verify, here)
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Logf("there is no systemd-analyze here, so that nobody has looked at their keys")
		return
	}
	if said, err := exec.CommandContext(t.Context(), analyze, append([]string{"verify"}, verify...)...).CombinedOutput(); err != nil || len(said) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, said)
	}
}
