package doorbell

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

const (
	// maxAnswer bounds what one answer may take in memory. The server ends a page at about 4 MiB; a single
	// large value may go beyond that.
	maxAnswer = 64 << 20
	// maxFeedName is the longest a feed's name may be, in bytes.
	maxFeedName = 128
)

// ErrFeedName says that a text is not a feed's name: 1 to 128 bytes, parts joined by ':', the first
// [a-z][a-z0-9_-]{0,31}, the others [A-Za-z0-9._~@-]+.
var ErrFeedName = errors.New("not a feed name; allowed: 1 to 128 bytes, parts joined by ':', " +
	"the first [a-z][a-z0-9_-]{0,31}, the others [A-Za-z0-9._~@-]+")

var feedName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}(:[A-Za-z0-9._~@-]+)*$`)

// Client talks to one Doorbell. All of its methods may be called from many goroutines at once.
type Client struct {
	// Static after New.
	api     string // no slash at its end
	gateway string // no slash at its end
	key     string
	http    *http.Client
}

// Option is a choice made at [New].
type Option func(*Client) error

// WithKey sends key as "Authorization: Bearer" with every request and with the WebSocket's handshake.
func WithKey(key string) Option {
	return func(c *Client) error { c.key = key; return nil }
}

// WithHTTPClient uses h for requests and for the WebSocket's handshake. h.Timeout, if set, also cuts reads of large
// pages short; contexts are the better bound. The default has no timeout and the standard transport.
func WithHTTPClient(h *http.Client) Option {
	return func(c *Client) error {
		if h == nil {
			return errors.New("WithHTTPClient(nil)")
		}
		c.http = h
		return nil
	}
}

// WithGateway names the gateway's base URL (http or https) where it is not the API's.
func WithGateway(baseURL string) Option {
	return func(c *Client) (err error) {
		c.gateway, err = parseBase(baseURL)
		return err
	}
}

// New makes a client. baseURL is http or https, with a path if Doorbell is mounted below one, and without a query.
// Nothing is dialled yet.
func New(baseURL string, opts ...Option) (*Client, error) {
	api, err := parseBase(baseURL)
	if err != nil {
		return nil, fmt.Errorf("doorbell: %w", err)
	}
	c := &Client{api: api, gateway: api, http: &http.Client{}}
	for _, o := range opts {
		if err := o(c); err != nil {
			return nil, fmt.Errorf("doorbell: %w", err)
		}
	}
	return c, nil
}

func parseBase(s string) (string, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "", fmt.Errorf("base URL: %w", err)
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return "", fmt.Errorf("base URL %q: want http://host or https://host", u.Redacted())
	case u.RawQuery != "" || u.Fragment != "":
		return "", fmt.Errorf("base URL %q: has a query or fragment", u.Redacted())
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// feedPath is the path of a feed below the base URL. A name needs no escaping in a URL.
func feedPath(feed string) (string, error) {
	if len(feed) > maxFeedName || !feedName.MatchString(feed) {
		return "", fmt.Errorf("doorbell: %q: %w", feed, ErrFeedName)
	}
	return "/v1/feeds/" + feed, nil
}

// answer is a response that was read to its end, with a status of 2xx or 304.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// do sends one request. Anything but 2xx and 304 is a *[Problem]; that no whole answer came is another error.
func (c *Client) do(ctx context.Context, method, path string, header http.Header, body []byte) (*answer, error) {
	// bytes.NewReader also for no body: net/http knows its length and sends none.
	req, err := http.NewRequestWithContext(ctx, method, c.api+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("doorbell: %w", err)
	}
	maps.Copy(req.Header, header)
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if text := tracedAs(ctx); text != "" {
		req.Header.Set("Traceparent", text)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("doorbell: %w", err) // a *url.Error, which names method and URL
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("doorbell: %s %s: reading the answer: %w", method, path, err)
	}
	if len(read) > maxAnswer {
		return nil, fmt.Errorf("doorbell: %s %s: the answer is longer than %d bytes", method, path, maxAnswer)
	}
	if resp.StatusCode/100 != 2 && resp.StatusCode != http.StatusNotModified {
		return nil, parseProblem(resp, read)
	}
	return &answer{status: resp.StatusCode, header: resp.Header, body: read}, nil
}
