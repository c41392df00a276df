package e2e

import (
	"strings"
	"testing"

	"github.com/doorbell-sync/doorbell/pkg/testkit"
	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
)

// TestConfigCommands: what is wrong is said, all of it; what holds is printed, and no secret with it.
func TestConfigCommands(t *testing.T) {
	var shell doorbelltest.Shell
	bad := doorbelltest.File(t, "bad.yaml", "origins: [nope]\nnamespaces: {Bad: {public: true}}\ndrain_wait: -1s\ngateway: {max_feeds: many}\n")
	r := shell.Run(t, "config", "check", "--config", bad)
	for _, want := range []string{`"nope"`, `"Bad"`, "drain_wait", "many"} {
		if r.Code != 2 || !strings.Contains(r.Err, want) {
			t.Errorf("config check: exit %d, nothing of %s in:\n%s", r.Code, want, r.Err)
		}
	}
	good := doorbelltest.File(t, "good.yaml", "keys: [{name: a, secret: hunter2-hunter2-hunter2}]\nnamespaces: {prices: {public: true}}\n")
	if r := shell.Run(t, "config", "check", "--config", good); r.Code != 0 || r.Out != "ok\n" {
		t.Errorf("config check: exit %d, %q, %s", r.Code, r.Out, r.Err)
	}
	r = shell.Run(t, "config", "print", "--config", good, "--database-url", "postgres://me:hunter2@h/d")
	if r.Code != 0 || strings.Contains(r.Out, "hunter2") || !strings.Contains(r.Out, "prices:") {
		t.Errorf("config print: exit %d, %s\n%s", r.Code, r.Err, r.Out)
	}
}

// TestMigrateCommands: status, up, up again.
func TestMigrateCommands(t *testing.T) {
	var shell doorbelltest.Shell
	url := testkit.Postgres(t).URL
	for _, step := range []struct{ command, want string }{
		{"status", "pending"}, {"up", "00001"}, {"up", ""}, {"status", "Z\n"},
	} {
		r := shell.Run(t, "migrate", step.command, "--database-url", url)
		if r.Code != 0 || !strings.Contains(r.Out, step.want) || (step.want == "" && r.Out != "") {
			t.Errorf("migrate %s: exit %d, %q, %s; want %q", step.command, r.Code, r.Out, r.Err, step.want)
		}
	}
	if r := shell.Run(t, "migrate", "up", "--database-url", "postgres://me:hunter2@127.0.0.1:1/d"); r.Code != 1 || strings.Contains(r.Err, "hunter2") {
		t.Errorf("migrate without a database: exit %d, %s", r.Code, r.Err)
	}
	for _, service := range []string{"api", "gateway", "worker", "all"} {
		if r := shell.Run(t, service, "--listen", "127.0.0.1:0"); r.Code != 2 || !strings.Contains(r.Err, "DOORBELL_REDIS_URL") {
			t.Errorf("%s without servers: exit %d, %s", service, r.Code, r.Err)
		}
	}
}
