//go:build unix

package cluster

import (
	"io"
	"net/http"
	"testing"

	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
)

// send makes one request and gives the answer, of which the body has been read.
func send(t *testing.T, method, url string, body io.Reader, key string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	res, err := doorbelltest.HTTP(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	return res
}
