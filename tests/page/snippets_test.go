package page

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
	"github.com/doorbell-sync/doorbell/tests/internal/process"
)

// snippet gives the lines that the page offers, as they are copied.
func (b *tab) snippet(id string) []string {
	b.Helper()
	lines := eval[[]string](b, `[...document.querySelectorAll("#`+id+` code")].map((code) => code.textContent)`)
	if len(lines) != 3 {
		b.Fatalf("the snippet %s has the lines %q; want three", id, lines)
	}
	return lines
}

// TestTheShellLinesWork: pasted into a shell, where the binary is where the page says.
func TestTheShellLinesWork(t *testing.T) {
	server := start(t)
	lines := open(t, server.URL()+"/", look{1280, 800, false}).snippet("snippet-shell")
	folder := t.TempDir()
	if err := os.Mkdir(folder+"/bin", 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(doorbelltest.Binary(t), folder+"/bin/doorbell"); err != nil {
		t.Fatal(err)
	}
	input, output := new(process.Output), new(process.Output)
	sh := exec.Command("sh")
	sh.Dir = folder
	sh.Stdout, sh.Stderr = output, output
	paste, err := sh.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := sh.Start(); err != nil {
		t.Fatal(err)
	}
	send := func(line string) {
		_, _ = input.Write([]byte(line + "\n"))
		if _, err := io.WriteString(paste, line+"\n"); err != nil {
			t.Errorf("the shell is gone: %v", err)
		}
	}
	defer func() {
		send(`kill "$!"; wait`) // the watch in the background
		_ = paste.Close()
		if err := sh.Wait(); err != nil {
			t.Logf("the shell: %v", err)
		}
		if t.Failed() {
			t.Logf("pasted:\n%sseen:\n%s", input, output)
		}
	}()

	printed := func(text string) func() bool {
		return func() bool { return strings.Contains(output.String(), text) }
	}
	send(lines[0])
	doorbelltest.Eventually(t, "watch runs", printed("live\n"))
	send(lines[1])
	doorbelltest.Eventually(t, "watch prints the first put", printed(`{"key":"hello","seq":1,"value":"world"}`))
	send(lines[2])
	doorbelltest.Eventually(t, "watch prints the second put", printed(`{"key":"hello","seq":2,"value":{"n":2}}`))
	head := server.Head("demo:mine")
	doorbelltest.Eventually(t, "put and watch print the cursor", func() bool {
		return printed("\n"+head+"\n")() && printed(`{"cursor":"`+head+`"}`)()
	})
}

// TestTheJavaScriptLinesWork: pasted into the console of the page.
func TestTheJavaScriptLinesWork(t *testing.T) {
	server := start(t)
	b := open(t, server.URL()+"/", look{1280, 800, false})
	b.waitState("live")
	lines := b.snippet("snippet-js")
	eval[int](b, `window.logged = []; { const log = console.log; console.log = (...args) => { logged.push(JSON.stringify(args)); log(...args); }; } 0`)
	// The console shows what a line gives; here nothing of it is wanted.
	paste := func(line string) { eval[int](b, line+"\n0") }
	logged := func() (entries []string) { return eval[[]string](b, "logged") }

	paste(lines[0])
	paste(lines[1])
	doorbelltest.Eventually(t, "its socket is open", func() bool { return eval[int](b, "ws.readyState") == 1 })
	for n := 1; n <= 2; n++ { // the page says: repeat the third
		paste(lines[2])
		doorbelltest.Eventually(t, "the write is signalled and fetched", func() bool { return len(logged()) == n })
		head := server.Head("demo:mine")
		var entry []json.RawMessage
		var frame string
		var snapshot struct {
			Cursor string
			Items  []struct {
				Key   string
				Value struct{ At int64 }
			}
		}
		for i, to := range []any{&entry, &frame, &snapshot} {
			from := []byte(logged()[n-1])
			if i > 0 {
				from = entry[i-1]
			}
			if err := json.Unmarshal(from, to); err != nil {
				t.Fatalf("logged is %s: %v", logged()[n-1], err)
			}
		}
		if want := `{"changed":{"demo:mine":"` + head + `"}}`; frame != want {
			t.Errorf("the frame logged is %s; want %s", frame, want)
		}
		if snapshot.Cursor != head || len(snapshot.Items) != 1 || snapshot.Items[0].Key != "hello" ||
			time.Since(time.UnixMilli(snapshot.Items[0].Value.At)).Abs() > time.Minute {
			t.Errorf("the snapshot logged is %+v; the head is %s", snapshot, head)
		}
	}
	b.wantClean(server.Addr(), false)
}

// TestCopying: the button gives the lines of the tab that is chosen, or says that it can't.
func TestCopying(t *testing.T) {
	server := start(t)
	b := open(t, server.URL()+"/", look{390, 844, true})
	for tab, list := range map[string]string{"tab-shell": "snippet-shell", "tab-js": "snippet-js"} {
		eval[int](b, `document.getElementById("`+tab+`").click(); document.getElementById("copy").click(); 0`)
		doorbelltest.Eventually(t, "the button says what it has done", func() bool { return b.text("copy-label") != "Copy" })
		if !eval[bool](b, `document.getElementById("`+list+`").checkVisibility()`) {
			t.Errorf("%s doesn't show its lines", tab)
		}
		if b.text("copy-label") != "Selected" {
			continue // a clipboard can't be read without a permission
		}
		selected := bufio.NewScanner(strings.NewReader(eval[string](b, `getSelection().toString()`)))
		for _, want := range b.snippet(list) {
			if !selected.Scan() || strings.TrimSpace(selected.Text()) != want {
				t.Errorf("selected is %q; want %q", selected.Text(), want)
			}
		}
	}
	b.wantClean(server.Addr(), false)
}
