package doorbell

import (
	"context"
	"errors"
	"net/http"
	"time"
)

const (
	onceHeader = "Idempotency-Key"
	// onceTries is how often a write that has a name is sent at most.
	onceTries = 4
)

// sendWrite is do, and does it again for a write with a name when that may help.
func (c *Client) sendWrite(ctx context.Context, method, path string, header http.Header, body []byte) (*answer, error) {
	var pause backoff
	for try := 1; ; try++ {
		a, err := c.do(ctx, method, path, header, body)
		if err == nil || header.Get(onceHeader) == "" || try == onceTries || ctx.Err() != nil {
			return a, err
		}
		delay := pause.next()
		if p, ok := errors.AsType[*Problem](err); ok {
			if !passes(p) {
				return nil, err
			}
			delay = max(delay, p.RetryAfter+random(p.RetryAfter/2))
		}
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, err
		}
	}
}

// passes tells whether a refusal is one of the moment: the write is being done, or some server can't right now.
func passes(p *Problem) bool {
	switch p.Status {
	case http.StatusConflict:
		return p.Code == "idempotency_key_running"
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}
