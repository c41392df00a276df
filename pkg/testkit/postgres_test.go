//go:build unix

package testkit_test

import (
	"errors"
	"net"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/testkit"
)

func TestPostgresMayBeStoppedAndKilled(t *testing.T) {
	p := testkit.NewPostgres(t, "max_connections=11")
	if got := p.Exec("SHOW max_connections"); got != "11" {
		t.Fatalf("max_connections is %s; want what was asked for", got)
	}
	p.Exec("CREATE TABLE a (n INT)")
	for i, end := range []func(){p.Stop, p.Kill, p.Restart} {
		p.Exec("INSERT INTO a VALUES (1)")
		end()
		if i < 2 {
			if conn, err := net.Dial("tcp4", p.Addr); err == nil {
				conn.Close()
				t.Fatalf("way %d of ending it: still there", i)
			}
		}
		p.Start()
		if got := p.Exec("SELECT count(*) FROM a"); got != string(rune('1'+i)) {
			t.Fatalf("%s rows after %d inserts and ends", got, i+1)
		}
	}
	// "a" < "B" to people, not to bytes.
	if got := p.Exec("SELECT x FROM (VALUES ('B'), ('a')) v (x) ORDER BY x"); got != "a\nB" {
		t.Errorf("the database sorts %q: like bytes, so that nobody notices a missing COLLATE", got)
	}
	if got := p.Exec("SHOW fsync"); got != "on" {
		t.Errorf("fsync is %s", got)
	}
}

func TestPostgresIsSharedWithASchemaEach(t *testing.T) {
	a, b := testkit.Postgres(t), testkit.Postgres(t)
	if a.Addr != b.Addr || a.Name == b.Name {
		t.Fatalf("two places: %+v and %+v; want one server and two schemas", a, b)
	}
	u, err := url.Parse(a.URL)
	if err != nil || u.Query().Get("search_path") != a.Name || !strings.HasSuffix(u.Host, a.Addr) {
		t.Fatalf("the URL is %s, %v", a.URL, err)
	}
}

// TestPostgresFreezes: connections are taken, and nobody answers on them, nor on those that there were.
func TestPostgresFreezes(t *testing.T) {
	p := testkit.NewPostgres(t)
	p.Freeze()
	conn, err := net.Dial("tcp4", p.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// "Do you speak TLS?", to which the answer is a letter.
	if _, err := conn.Write([]byte{0, 0, 0, 8, 4, 210, 22, 47}); err != nil {
		t.Fatal(err)
	}
	letter := make([]byte, 1)
	if err := conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(letter); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("while it is frozen: %q, %v", letter, err)
	}
	p.Thaw()
	if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(letter); err != nil || string(letter) != "N" {
		t.Fatalf("after it was thawed: %q, %v", letter, err)
	}
	p.Freeze() // the end of the test has to do with it
}
