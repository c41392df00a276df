package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
)

// TestCommands goes through what a newcomer does.
func TestCommands(t *testing.T) {
	server := doorbelltest.Dev(t)
	sh := doorbelltest.Shell{Env: []string{"DOORBELL_URL=" + server.URL()}}
	ok := func(out string, args ...string) {
		t.Helper()
		if r := sh.Run(t, args...); r != (doorbelltest.Result{Out: out}) {
			t.Errorf("doorbell %q: exit code %d\n%s%swant 0\n%s", args, r.Code, r.Out, r.Err, out)
		}
	}

	ok("", "get", "demo:mine") // a feed that doesn't exist is an empty one
	born := sh.Run(t, "put", "demo:mine", "hello", `"world"`)
	if !regexp.MustCompile(`^[0-9a-z]{7}-1\n$`).MatchString(born.Out) || born.Code != 0 || born.Err != "" {
		t.Fatalf("put: %+v; want a cursor", born)
	}
	at := func(seq int) string { return fmt.Sprintf("%s-%d\n", epochOf(born.Out), seq) }
	ok(at(2), "put", "demo:mine", "a/b c", `{"<b>": [1, 2.50,"한"]}`)
	ok(at(3), "put", "demo:mine", "hello", `2`)
	sh.In = " [3,\n4]\n"
	ok(at(4), "put", "demo:mine", "from a pipe", "-")
	ok(`{"key":"a/b c","seq":2,"value":{"<b>":[1,2.50,"한"]}}`+"\n"+
		`{"key":"hello","seq":3,"value":2}`+"\n"+
		`{"key":"from a pipe","seq":4,"value":[3,4]}`+"\n", "get", "demo:mine")

	watch := sh.Start(t, "watch", "demo:mine")
	doorbelltest.WaitCursor(t, watch.Out, strings.TrimSpace(at(4)))
	ok(at(5), "delete", "demo:mine", "a/b c")
	ok(at(5), "delete", "demo:mine", "a/b c") // no change
	doorbelltest.WaitCursor(t, watch.Out, strings.TrimSpace(at(5)))
	ok(at(6), "touch", "demo:mine")
	doorbelltest.WaitCursor(t, watch.Out, strings.TrimSpace(at(6)))
	if code, err := watch.Stop(doorbelltest.StopWithin); code != 0 || err != nil {
		t.Errorf("watch stopped with %d, %v; want 0", code, err)
	}
	want := `{"key":"a/b c","seq":2,"value":{"<b>":[1,2.50,"한"]}}
{"key":"hello","seq":3,"value":2}
{"key":"from a pipe","seq":4,"value":[3,4]}
{"cursor":"` + epochOf(born.Out) + `-4"}
{"key":"a/b c","seq":5,"deleted":true}
{"cursor":"` + epochOf(born.Out) + `-5"}
{"cursor":"` + epochOf(born.Out) + `-6"}
`
	if got := watch.Out.String(); got != want {
		t.Errorf("watch printed\n%swant\n%s", got, want)
	}
	ok(`{"key":"hello","seq":3,"value":2}`+"\n"+`{"key":"from a pipe","seq":4,"value":[3,4]}`+"\n",
		"get", "demo:mine", "--url", server.URL()+"/")

	for _, args := range [][]string{{}, {"help"}, {"--help"}} {
		r := sh.Run(t, args...)
		for _, command := range []string{"dev", "put", "delete", "touch", "get", "watch"} {
			if r.Code != 0 || r.Err != "" || !regexp.MustCompile(`(?m)^  `+command+` +\w`).MatchString(r.Out) {
				t.Errorf("doorbell %q doesn't list %s: %+v", args, command, r)
			}
		}
	}
	if r := (doorbelltest.Shell{Env: []string{"DOORBELL_KEY=very-secret"}}).Run(t, "put", "--help"); strings.Contains(r.Out, "secret") {
		t.Errorf("help prints the key:\n%s", r.Out)
	}
}

// TestCalledWrongly: one clear line that says what is allowed, an exit code of 1 or 2 (then with a pointer to the help), and nothing on
// standard output.
func TestCalledWrongly(t *testing.T) {
	server := doorbelltest.Dev(t)
	sh := doorbelltest.Shell{Env: []string{"DOORBELL_URL=" + server.URL()}}
	if r := sh.Run(t, "put", "demo:mine", "hello", "1"); r.Code != 0 {
		t.Fatalf("%+v", r)
	}
	head := server.Head("demo:mine")
	nobody := "http://127.0.0.1:1" // a port that nobody listens on
	for _, tc := range []struct {
		code  int
		words []string
		args  []string
	}{
		{1, []string{"Bad Name", "allowed", "[a-z]"}, []string{"put", "Bad Name", "key", "1"}},
		{1, []string{"demo:", "allowed", "[a-z]"}, []string{"delete", "demo:", "key"}},
		{1, []string{"UP", "allowed", "[a-z]"}, []string{"touch", "UP"}},
		{1, []string{"../x", "allowed", "[a-z]"}, []string{"get", "../x"}},
		{1, []string{"x y", "allowed", "[a-z]"}, []string{"watch", "x y"}},
		{1, []string{"allowed", "256 bytes", "400"}, []string{"put", "demo:mine", "..", "1"}},
		{1, []string{"256 bytes"}, []string{"put", "demo:mine", "", "1"}},
		{1, []string{"allowed", "256"}, []string{"delete", "demo:mine", strings.Repeat("k", 257)}},
		{1, []string{"printable"}, []string{"put", "demo:mine", "a\nb", "1"}},
		{1, []string{"too large", "262144", "413"}, []string{"put", "demo:mine", "key", "-"}},
		{1, []string{`"a"`, "twice"}, []string{"put", "demo:mine", "key", `{"a":1,"a":2}`}},
		{2, []string{"not JSON", "{", "quotes"}, []string{"put", "demo:mine", "key", "{"}},
		{2, []string{"not JSON", "hello", `'"text"'`}, []string{"put", "demo:mine", "key", "hello"}},
		{2, []string{"3 arg", "put FEED KEY JSON"}, []string{"put", "demo:mine", "key"}},
		{2, []string{"1 arg", "get FEED"}, []string{"get"}},
		{2, []string{"--colour"}, []string{"get", "demo:mine", "--colour"}},
		{2, []string{"-x"}, []string{"-x"}},
		{2, []string{"frobnicate"}, []string{"frobnicate"}},
		{1, []string{"yesterday", "cursor"}, []string{"watch", "demo:mine", "--since", "yesterday"}},
		{1, []string{nobody, "connection refused"}, []string{"get", "demo:mine", "--url", nobody}},
		{1, []string{nobody, "connection refused"}, []string{"put", "demo:mine", "key", "1", "--url", nobody}},
		{1, []string{nobody, "connection refused"}, []string{"delete", "demo:mine", "key", "--url", nobody}},
		{1, []string{nobody, "connection refused"}, []string{"touch", "demo:mine", "--url", nobody}},
		{2, []string{"localhost:8080", "http://host"}, []string{"get", "demo:mine", "--url", "localhost:8080"}},
		{2, []string{"nowhere.yaml"}, []string{"dev", "--config", "nowhere.yaml"}},
		{2, []string{"extra"}, []string{"dev", "extra"}},
	} {
		sh.In = `"` + strings.Repeat("x", 256<<10) + `"`
		r := sh.Run(t, tc.args...)
		wantRefusal(t, tc.args, r, tc.code, tc.words...)
	}
	if now := server.Head("demo:mine"); now != head {
		t.Errorf("the feed went from %s to %s", head, now)
	}
}

func wantRefusal(t *testing.T, args []string, r doorbelltest.Result, code int, words ...string) {
	t.Helper()
	if r.Code != code || r.Out != "" {
		t.Errorf("doorbell %.80q: exit code %d, output %.200q; want %d and none\n%s", args, r.Code, r.Out, code, r.Err)
	}
	lines := strings.Split(strings.TrimSuffix(r.Err, "\n"), "\n")
	if len(lines) != code || (code == 2 && !strings.Contains(lines[1], "help")) {
		t.Errorf("doorbell %.80q says\n%swant one line, and with an exit code of 2 one more about help", args, r.Err)
	}
	if text, ok := strings.CutPrefix(lines[0], "doorbell: "); !ok || strings.HasPrefix(text, "doorbell: ") {
		t.Errorf("doorbell %.80q says %q; want one \"doorbell: \" in front", args, lines[0])
	}
	for _, word := range words {
		if !strings.Contains(lines[0], word) {
			t.Errorf("doorbell %.80q says %q, which doesn't say %q", args, lines[0], word)
		}
	}
}

// TestKeys: with keys in the configuration, writes need one that may; reads of `dev` don't, since it makes everything public.
func TestKeys(t *testing.T) {
	config := doorbelltest.File(t, "doorbell.yaml", `
keys:
  - name: app
    secret: app-secret-0123456789
    write: ["demo:*"]
`)
	server := doorbelltest.Dev(t, "--config", config)
	const key = "app-secret-0123456789"
	run := func(env string, args ...string) doorbelltest.Result {
		t.Helper()
		sh := doorbelltest.Shell{Env: []string{"DOORBELL_URL=http://127.0.0.1:1"}} // the flag goes before it
		if env != "" {
			sh.Env = append(sh.Env, "DOORBELL_KEY="+env)
		}
		return sh.Run(t, append(args, "--url", server.URL())...)
	}
	put := []string{"put", "demo:mine", "hello", "1"}
	wantRefusal(t, put, run("", put...), 1, "token is needed", "401 unauthorized")
	wantRefusal(t, put, run("wrong", put...), 1, "not valid", "401 unauthorized")
	wantRefusal(t, put, run(key, append(put, "--key", "wrong")...), 1, "not valid", "401 unauthorized")
	elsewhere := []string{"put", "other:mine", "hello", "1", "--key", key}
	wantRefusal(t, elsewhere, run("", elsewhere...), 1, "write scope", "other:mine", "403 forbidden")
	own := []string{"put", "host:local", "cpu", "1", "--key", key}
	wantRefusal(t, own, run("", own...), 1, "host:local", "403 forbidden")
	if head := server.Head("demo:mine"); head != "" {
		t.Fatalf("refused writes have made %s", head)
	}
	for n, r := range []doorbelltest.Result{
		run(key, put...),
		run("", append(put, "--key", key)...),
		run("wrong", append(put, "--key", key)...), // the flag goes before the environment
		run(key, "delete", "demo:mine", "hello"),
		run(key, "touch", "demo:mine"),
	} {
		if r.Code != 0 || seqOf(strings.TrimSpace(r.Out)) != int64(n+1) {
			t.Errorf("write %d with a key: %+v", n+1, r)
		}
	}
	if r := run("", "get", "demo:mine"); r != (doorbelltest.Result{}) {
		t.Errorf("get without a key: %+v", r)
	}
	head := server.Head("demo:mine")
	watch := doorbelltest.Shell{}.Start(t, "watch", "demo:mine", "--url", server.URL())
	doorbelltest.WaitCursor(t, watch.Out, head)
	bad := []string{"watch", "demo:mine", "--key", "wrong"}
	wantRefusal(t, bad, run("", bad...), 1, "4001", "token")
	// The figures of this machine come with a key of the server's own.
	doorbelltest.Eventually(t, "host:local is written", func() bool { return server.Head("host:local") != "" })
}

// TestDevRefusesToStart in one clear line, and does no harm to who runs already.
func TestDevRefusesToStart(t *testing.T) {
	data := t.TempDir()
	server := doorbelltest.Dev(t, "--data", data)
	misspelt := doorbelltest.File(t, "doorbell.yaml", "listn: 127.0.0.1:0\n")
	short := doorbelltest.File(t, "short.yaml", "keys: [{name: a, secret: short, write: ['*']}]\n")
	file := doorbelltest.File(t, "file", "")
	for _, tc := range []struct {
		code  int
		words []string
		args  []string
	}{
		{2, []string{"0.0.0.0:0", "keys", "loopback"}, []string{"--listen", "0.0.0.0:0"}},
		{2, []string{":0", "keys", "loopback"}, []string{"--listen", ":0"}},
		{2, []string{"doorbell.yaml", "listn"}, []string{"--config", misspelt}},
		{2, []string{"keys[0]", "16"}, []string{"--config", short}},
		{1, []string{server.Addr(), "address already in use"}, []string{"--listen", server.Addr()}},
		{1, []string{"another doorbell", data, "--data"}, []string{"--listen", "127.0.0.1:0", "--data", data}},
		{1, []string{"file"}, []string{"--listen", "127.0.0.1:0", "--data", file + "/data"}},
	} {
		args := []string{"dev", "--data", t.TempDir()}
		r := doorbelltest.Shell{}.Run(t, append(args, tc.args...)...)
		wantRefusal(t, tc.args, r, tc.code, tc.words...)
	}
	if r := (doorbelltest.Shell{Env: []string{"DOORBELL_LISTEN=0.0.0.0:0"}}).Run(t, "dev", "--data", t.TempDir()); r.Code != 2 {
		t.Errorf("DOORBELL_LISTEN of others' reach: %+v", r)
	}
	if r := (doorbelltest.Shell{}).Run(t, "put", "demo:mine", "hello", "1", "--url", server.URL()); r.Code != 0 {
		t.Errorf("a write to the one that runs: %+v", r)
	}
	// With a key, others may reach it.
	config := doorbelltest.File(t, "doorbell.yaml", "keys: [{name: app, secret: app-secret-0123456789, write: ['*']}]\n")
	open := doorbelltest.Shell{}.Start(t, "dev", "--listen", "0.0.0.0:0", "--data", t.TempDir(), "--config", config)
	doorbelltest.Eventually(t, "it serves", func() bool { return strings.Contains(open.Out.String(), "Live page: http://") || !open.Running() })
	if code, err := open.Stop(doorbelltest.StopWithin); code != 0 || err != nil {
		t.Errorf("a server with keys for all: %d, %v\n%s", code, err, open.Err)
	}
}
