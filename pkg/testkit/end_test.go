//go:build unix

package testkit_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/testkit"
)

// childEnv makes the test below the process that is killed.
const childEnv = "DOORBELL_TESTKIT_CHILD"

// TestServersEndWithTheirProcess kills a process that has servers of every kind, or lets it exit without a word.
func TestServersEndWithTheirProcess(t *testing.T) {
	t.Parallel()
	if os.Getenv(childEnv) != "" {
		beTheChild(t)
		return
	}
	for how, end := range map[string]func(*exec.Cmd, *os.File) error{
		"killed": func(child *exec.Cmd, _ *os.File) error { return child.Process.Kill() },
		"exited": func(_ *exec.Cmd, leave *os.File) error { return leave.Close() },
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			tmp, err := os.MkdirTemp("", "doorbell-testkit-") //nolint:usetesting // t.TempDir fails while the servers remove it
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(tmp) })
			if err := os.Chmod(tmp, 0o777); err != nil { // and that user removes its folder
				t.Fatal(err)
			}
			child := exec.Command(os.Args[0], "-test.run=^TestServersEndWithTheirProcess$")
			child.Env = append(os.Environ(), childEnv+"=1", "TMPDIR="+tmp)
			stay, leave, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			child.Stdin, child.Stderr = stay, os.Stderr
			out, err := child.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			stay.Close()
			var addrs []string
			for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != "ready"; {
				addrs = append(addrs, lines.Text())
			}
			if len(addrs) != 3 {
				t.Fatalf("the child has servers at %q; want three", addrs)
			}
			for _, addr := range addrs {
				conn, err := net.Dial("tcp4", addr)
				if err != nil {
					t.Fatal(err)
				}
				conn.Close()
			}
			if err := end(child, leave); err != nil {
				t.Fatal(err)
			}
			child.Wait()
			for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
				left := leftOf(t, addrs, tmp)
				if left == "" {
					return
				}
				if time.Now().After(deadline) {
					t.Fatalf("left behind: %s", left)
				}
			}
		})
	}
}

func leftOf(t *testing.T, addrs []string, tmp string) string {
	var left []string
	for _, addr := range addrs {
		if conn, err := net.Dial("tcp4", addr); err == nil {
			conn.Close()
			left = append(left, addr)
		}
	}
	folders, err := filepath.Glob(filepath.Join(tmp, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(append(left, folders...), " ")
}

func beTheChild(t *testing.T) {
	shared, frozen, postgres := testkit.Redis(t), testkit.NewRedis(t), testkit.Postgres(t)
	fmt.Fprintf(os.Stdout, "%s\n%s\n%s\nready\n", shared.Addr, frozen.Addr, postgres.Addr)
	frozen.Freeze()
	os.Stdin.Read(make([]byte, 1))
	os.Exit(0) //nolint:revive // as a test that panics does: no cleanup
}

func TestMissingProgramsFailInOneLine(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for what, start := range map[string]func(testkit.TB){
		"redis-server": func(t testkit.TB) { testkit.NewRedis(t) },
	} {
		f := &failure{TB: t}
		func() {
			defer func() { recover() }()
			start(f)
		}()
		if !strings.Contains(f.said, "please install "+what) || strings.Contains(f.said, "\n") {
			t.Errorf("without %s: %q; want one line that says what to install", what, f.said)
		}
	}
}

// failure keeps what a test fails with.
type failure struct {
	testkit.TB
	said string
}

func (f *failure) Fatalf(format string, args ...any) {
	f.said = fmt.Sprintf(format, args...)
	panic(f.said)
}
