package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
)

// TestEpochBump: an operator copies a backup over the database's files, which nobody can notice, and says so.
func TestEpochBump(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	server := doorbelltest.Dev(t, "--data", data)
	sh := doorbelltest.Shell{Env: []string{"DOORBELL_URL=" + server.URL()}}
	run := func(code int, args ...string) doorbelltest.Result {
		t.Helper()
		r := sh.Run(t, args...)
		if r.Code != code {
			t.Fatalf("doorbell %q: %d\n%s%s", args, r.Code, r.Out, r.Err)
		}
		return r
	}
	first := strings.TrimSpace(run(0, "put", "demo:a", "k", "-5").Out)
	second := strings.TrimSpace(run(0, "put", "demo:b", "-7", "-1.5e3", "--url", server.URL()).Out)
	if got := run(0, "get", "demo:b").Out; got != `{"key":"-7","seq":1,"value":-1.5e3}`+"\n" {
		t.Errorf("get printed %s", got)
	}
	run(0, "delete", "demo:b", "-7")
	run(2, "put", "demo:b", "-x", "1")
	run(2, "put", "demo:b", "-5")
	if help := run(0, "put", "--help"); !strings.Contains(help.Out, "put FEED KEY JSON") {
		t.Errorf("help printed %s", help.Out)
	}
	watch := sh.Start(t, "watch", "demo:a")
	doorbelltest.WaitCursor(t, watch.Out, first)

	if r := run(1, "epoch", "bump", "--data", data, "--all"); !strings.Contains(r.Err, "another doorbell uses") {
		t.Errorf("while it runs: %s", r.Err)
	}
	server.Stop()
	run(2, "epoch", "bump", "--data", data)
	if r := run(2, "epoch", "jump", "--data", data); !strings.Contains(r.Err, `unknown command "jump"`) {
		t.Errorf("an unknown command: %s", r.Err)
	}
	if r := run(2, "epoch", "bump", "--data", data, "--all", "demo:a"); !strings.Contains(r.Err, "both --all and feeds") {
		t.Errorf("all and some: %s", r.Err)
	}
	run(2, "epoch", "bump", "--data", data, "Not a feed")
	run(1, "epoch", "bump", "--data", data, "demo:a", "demo:none")
	run(1, "epoch", "bump", "--data", filepath.Join(data, "none"), "--all")
	bumped := run(0, "epoch", "bump", "--data", data, "demo:a").Out
	cursor := strings.TrimSpace(strings.TrimPrefix(bumped, "demo:a "))
	if epochOf(cursor) <= epochOf(first) || !strings.HasSuffix(cursor, "-1") {
		t.Fatalf("bump printed %q; want seq 1 of an epoch after %s", bumped, first)
	}
	if all := run(0, "epoch", "bump", "--data", data, "--all").Out; strings.Contains(all, epochOf(second)) || strings.Count(all, "\n") < 2 {
		t.Errorf("bumping all printed\n%s", all)
	}
	server.Restart()
	lines := doorbelltest.WaitCursor(t, watch.Out, server.Head("demo:a"))
	resets := 0
	for _, l := range lines {
		if l.Reset {
			resets++
		}
	}
	if state := doorbelltest.Apply(lines); resets != 1 || string(state.Items["k"].Value) != "-5" {
		t.Errorf("watch was reset %d times and has %+v", resets, state)
	}
}

// TestDeletedDataFolder: whoever deletes it under a running process is told, and nothing is acknowledged that would be lost.
func TestDeletedDataFolder(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	server := doorbelltest.Dev(t, "--data", data)
	sh := doorbelltest.Shell{Env: []string{"DOORBELL_URL=" + server.URL()}}
	if r := sh.Run(t, "put", "demo:a", "k", "1"); r.Code != 0 {
		t.Fatalf("put: %+v", r)
	}
	if err := os.RemoveAll(data); err != nil {
		t.Fatal(err)
	}
	if r := sh.Run(t, "put", "demo:a", "k", "2"); r.Code != 1 || !strings.Contains(r.Err, "503") {
		t.Errorf("put into a deleted folder: %+v; want 503", r)
	}
	res, err := doorbelltest.HTTP(t).Get(server.URL() + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("/readyz says %d", res.StatusCode)
	}
	if !strings.Contains(server.Log(), "its file was removed") {
		t.Errorf("the log doesn't say why:\n%s", server.Log())
	}
}
