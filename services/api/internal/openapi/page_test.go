package openapi

import (
	"regexp"
	"strings"
	"testing"
)

// TestPage: everything is on it, it loads nothing, and what it links to is there.
func TestPage(t *testing.T) {
	page, err := render(YAML)
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	for _, want := range []string{"/v1/feeds/{feed}/changes", "/v1/poll", "at_least", "Idempotency-Key", "too_many_requests", "RateLimit-Policy", "<code>changes?since=&lt;cursor&gt;</code>"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q isn't on the page", want)
		}
	}
	if m := regexp.MustCompile(`(?i)(src=|<script|<link|url\(|@import|https?://)`).FindString(text); m != "" {
		t.Errorf("the page has %q", m)
	}
	ids := map[string]bool{}
	for _, m := range regexp.MustCompile(` id="([^"]+)"`).FindAllStringSubmatch(text, -1) {
		if ids[m[1]] {
			t.Errorf("the id %s is there twice", m[1])
		}
		ids[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`href="#([^"]+)"`).FindAllStringSubmatch(text, -1) {
		if !ids[m[1]] {
			t.Errorf("#%s leads nowhere", m[1])
		}
	}
	for _, left := range []string{"`", "**", "<no value>", "ZgotmplZ"} {
		if strings.Contains(text, left) {
			t.Errorf("the page has %q", left)
		}
	}
}
