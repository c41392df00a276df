package e2e

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
)

// TestHeaderBombs: headers without end are refused before they take much memory, and everybody else is served on.
func TestHeaderBombs(t *testing.T) {
	server := doorbelltest.Dev(t)
	addr := strings.TrimPrefix(server.URL(), "http://")
	for name, bomb := range map[string]string{
		"one long header": "X: " + strings.Repeat("x", 2<<20) + "\r\n",
		"many headers":    strings.Repeat("X-Y: z\r\n", 300_000),
		"a long path":     "",
	} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(doorbelltest.Patience))
		path := "/v1/feeds/orders"
		if bomb == "" {
			path += "?x=" + strings.Repeat("y", 2<<20)
		}
		// The server may stop listening at any moment, and says why before it closes.
		go func() { _, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", path, addr, bomb) }()
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else {
			if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
				t.Errorf("%s: %d; want 431", name, res.StatusCode)
			}
			_ = res.Body.Close()
		}
		_ = conn.Close()
	}
	if _, err := server.Client().Put(t.Context(), "orders", "a", []byte(`1`)); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
