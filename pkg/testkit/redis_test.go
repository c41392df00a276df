//go:build unix

package testkit_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/testkit"
)

// ask sends Redis an inline command on a connection of its own, and gives the answer's last line.
func ask(addr, command string, patience time.Duration) (string, error) {
	conn, err := net.DialTimeout("tcp4", addr, patience)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return askOn(conn, command, patience)
}

func askOn(conn net.Conn, command string, patience time.Duration) (string, error) {
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintf(conn, "%s\r\n", command); err != nil {
		return "", err
	}
	r := bufio.NewReader(conn)
	line, err := r.ReadString('\n')
	if err == nil && line[0] == '$' && !strings.HasPrefix(line, "$-1") {
		line, err = r.ReadString('\n')
	}
	return strings.TrimSpace(line), err
}

func wantAnswer(t *testing.T, addr, command, want string) {
	t.Helper()
	if got, err := ask(addr, command, 5*time.Second); err != nil || got != want {
		t.Fatalf("%s: %q, %v; want %q", command, got, err, want)
	}
}

func wantTimeout(t *testing.T, addr, command string) {
	t.Helper()
	if got, err := ask(addr, command, 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%s: %q, %v; want no answer", command, got, err)
	}
}

func TestRedisMayBeBrokenInEveryWay(t *testing.T) {
	r := testkit.NewRedis(t)
	wantAnswer(t, r.Addr, "SET a 1", "+OK")
	r.Freeze()
	wantTimeout(t, r.Addr, "GET a")
	r.Thaw()
	wantAnswer(t, r.Addr, "GET a", "1")
	r.Flush()
	wantAnswer(t, r.Addr, "GET a", "$-1")
	for how, end := range map[string]func(){"stop": r.Stop, "kill": r.Kill, "stop when frozen": func() { r.Freeze(); r.Stop() }} {
		wantAnswer(t, r.Addr, "SET a 1", "+OK")
		end()
		if _, err := ask(r.Addr, "PING", time.Second); err == nil {
			t.Fatalf("%s: still there", how)
		}
		end = r.Start
		end()
		wantAnswer(t, r.Addr, "GET a", "$-1")
	}
	r.Start() // twice is fine
	r.Restart()
	wantAnswer(t, r.Addr, "PING", "+PONG")
}

func TestRedisKeepsWhatItPersistsUntilReplaced(t *testing.T) {
	r := testkit.NewRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	wantAnswer(t, r.Addr, "SET a 1", "+OK")
	r.Restart()
	wantAnswer(t, r.Addr, "GET a", "1")
	r.Replace()
	wantAnswer(t, r.Addr, "GET a", "$-1")
}

func TestRedisIsShared(t *testing.T) {
	a, b := testkit.Redis(t), testkit.Redis(t)
	if a.Addr != b.Addr || a.Prefix == b.Prefix {
		t.Fatalf("two places: %+v and %+v; want one server and two prefixes", a, b)
	}
	wantAnswer(t, a.Addr, "PING", "+PONG")
}
