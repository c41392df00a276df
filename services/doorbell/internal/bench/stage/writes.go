//go:build linux

package stage

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/wire"
)

// Writer writes at an API, with the stage's key, over connections that stay open. It is safe for concurrent use.
type Writer struct {
	url  string
	http *http.Client
}

// Writer makes a Writer at the first API that keeps so many connections.
func (d *Doorbell) Writer(connections int) *Writer {
	w := &Writer{d.APIs[0].URL(), &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}}}
	d.t.Cleanup(w.http.CloseIdleConnections)
	return w
}

// Touch moves a feed's head. It has been made durable when Touch returns.
func (w *Writer) Touch(ctx context.Context, feed string) (wire.Cursor, error) {
	return w.write(ctx, http.MethodPost, "/v1/feeds/"+feed+"/touch", nil)
}

// Change is one item to put; Value is JSON.
type Change struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"`
}

// Put puts up to 1,000 items in one transaction.
func (w *Writer) Put(ctx context.Context, feed string, changes ...Change) (wire.Cursor, error) {
	body, err := json.Marshal(map[string]any{"changes": changes})
	if err != nil {
		return wire.Cursor{}, err
	}
	return w.write(ctx, http.MethodPost, "/v1/feeds/"+feed+"/changes", body)
}

func (w *Writer) write(ctx context.Context, method, path string, body []byte) (wire.Cursor, error) {
	_, answer, err := w.do(ctx, method, path, body)
	if err != nil {
		return wire.Cursor{}, err
	}
	var written struct {
		Cursor wire.Cursor `json:"cursor"`
	}
	if err := json.Unmarshal(answer, &written); err != nil {
		return wire.Cursor{}, fmt.Errorf("the answer to a write: %w", err)
	}
	return written.Cursor, nil
}

// Head asks the API, not the bus, where a feed is.
func (w *Writer) Head(ctx context.Context, feed string) (wire.Cursor, error) {
	header, _, err := w.do(ctx, http.MethodGet, "/v1/feeds/"+feed+"?limit=1", nil)
	if err != nil {
		return wire.Cursor{}, err
	}
	cursor, _, _ := bytes.Cut([]byte(header.Get("Doorbell-Cursor")), []byte("~"))
	head, ok := wire.ParseCursor(cursor)
	if !ok {
		return wire.Cursor{}, fmt.Errorf("the API says that %s is at %q", feed, cursor)
	}
	return head, nil
}

// Get reads a path.
func (w *Writer) Get(ctx context.Context, path string) (http.Header, []byte, error) {
	return w.do(ctx, http.MethodGet, path, nil)
}

func (w *Writer) do(ctx context.Context, method, path string, body []byte) (http.Header, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, w.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+Key)
	req.Header.Set("Content-Type", "application/json")
	res, err := w.http.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, nil, err
	}
	if res.StatusCode >= 300 {
		return nil, nil, fmt.Errorf("%s %s: %s: %.300s", method, path, res.Status, answer)
	}
	return res.Header, answer, nil
}
