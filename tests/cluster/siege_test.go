//go:build unix

package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/doorbell-sync/doorbell/tests/internal/cluster"
)

// send makes one request of the API whose turn it is, and notes what came of it.
func (s *siege) send(kind string, n int, method, path, body, etag string) (status int) {
	a := asked{begun: time.Now()}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.c.APIs[n%len(s.c.APIs)].URL()+path, strings.NewReader(body))
	if err != nil {
		s.t.Error(err)
		return 0
	}
	if method == http.MethodPut {
		req.Header.Set("Authorization", "Bearer "+cluster.Key)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	res, err := s.http.Do(req)
	if err != nil {
		a.ended, a.what = time.Now(), err.Error()
		s.note(kind, a)
		return 0
	}
	text, err := io.ReadAll(res.Body)
	a.ended, a.status = time.Now(), res.StatusCode
	if err = errors.Join(err, res.Body.Close()); err != nil {
		a.what = err.Error()
	}
	switch {
	case kind == "poll" && res.StatusCode == http.StatusOK:
		a.status, a.what = pollOutcome(text)
	case res.StatusCode >= 500:
		a.what = badRefusal(res.StatusCode, res.Header, text)
	case kind == "hot" && res.StatusCode == http.StatusOK:
		s.mu.Lock()
		s.etag[path] = res.Header.Get("ETag")
		s.mu.Unlock()
	}
	s.note(kind, a)
	return res.StatusCode
}

func (s *siege) note(kind string, a asked) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[kind] = append(s.asked[kind], a)
}

// badRefusal says what is wrong with an answer of 500 or more; "": it is 503, says why, and when to come back.
func badRefusal(status int, h http.Header, body []byte) string {
	var p struct {
		Status int
		Code   string
	}
	err := json.Unmarshal(body, &p)
	if err != nil || status != http.StatusServiceUnavailable || p.Status != status || (p.Code != "unavailable" && p.Code != "overloaded") ||
		h.Get("Retry-After") == "" || h.Get("Content-Type") != "application/problem+json" || h.Get("Cache-Control") != "no-store" {
		return fmt.Sprintf("%d %v %s", status, h, body)
	}
	return ""
}

// pollOutcome is 503 when a problem of that status stands in the place of a feed.
func pollOutcome(body []byte) (status int, wrong string) {
	var answer struct {
		Feeds map[string]struct{ Status int }
	}
	if err := json.Unmarshal(body, &answer); err != nil || len(answer.Feeds) == 0 {
		return 0, fmt.Sprintf("%v: %s", err, body)
	}
	for name, one := range answer.Feeds {
		switch one.Status {
		case http.StatusServiceUnavailable:
			status = one.Status
		case http.StatusNotFound:
		default:
			return 0, fmt.Sprintf("of %s: %+v", name, one)
		}
	}
	return max(status, http.StatusOK), ""
}

// check looks at everything that was answered since begun, and at what was written. Postgres was gone from gone on, was asked to
// come back at ending, and was back at back.
func (s *siege) check(begun, gone, ending, back time.Time) {
	t := s.t
	t.Helper()
	for kind, all := range s.asked {
		var within, refused, recovered []time.Duration
		fails, last := 0, time.Time{}
		for _, a := range all {
			if a.ended.Before(begun) {
				continue
			}
			took := a.ended.Sub(a.begun)
			if a.begun.Before(gone) { // it was under way
				took = a.ended.Sub(gone)
			}
			if a.what != "" {
				if fails++; fails <= 3 {
					t.Errorf("%s: %s", kind, a.what)
				}
			}
			out := a.ended.After(gone) && a.begun.Before(ending)
			switch {
			case a.status >= 500:
				refused = append(refused, took)
				if a.ended.After(last) {
					last = a.ended
				}
				if kind == "hot" || kind == "304" {
					if fails++; fails <= 3 {
						t.Errorf("%s: %d, %s after Postgres was gone", kind, a.status, a.ended.Sub(gone))
					}
				}
			case out && (kind == "hot" || kind == "304"):
				within = append(within, took)
			}
			// (An item may be of a feed that is in memory.)
			if !slices.Contains([]string{"hot", "304", "item"}, kind) && out && a.begun.After(gone) && a.ended.Before(ending) && a.status < 500 && a.status != 0 {
				t.Errorf("%s: %d without a database", kind, a.status)
			}
		}
		if last.After(back) {
			recovered = append(recovered, last.Sub(back))
		}
		t.Logf("%-11s served meanwhile: %d (%s); refused: %d (%s); the last refusal after it was back: %s",
			kind, len(within), spread(within), len(refused), spread(refused), spread(recovered))
		if len(refused) > 0 && slices.Max(refused) > refusedWithin {
			t.Errorf("%s: a refusal took %s; want a second", kind, slices.Max(refused))
		}
		if len(recovered) > 0 && recovered[0] > soon {
			t.Errorf("%s: refused %s after Postgres was back", kind, recovered[0])
		}
		if (kind == "hot" || kind == "304") && (len(within) < 200 || slices.Max(within) > refusedWithin) {
			t.Errorf("%s: %d were served meanwhile, within %s", kind, len(within), spread(within))
		}
	}
	lost := 0
	for at, value := range s.acked {
		feed, key, _ := strings.Cut(at, " ")
		status, body, err := cluster.Get(s.c.APIs[0].URL() + "/v1/feeds/" + feed + "/items/" + key)
		if err != nil || status != http.StatusOK || !strings.Contains(body, `"value":`+value+`}`) {
			if lost++; lost <= 3 {
				t.Errorf("an acknowledged write of %s to %s: %d %s, %v", value, at, status, body, err)
			}
		}
	}
	t.Logf("%d acknowledged writes, %d lost", len(s.acked), lost)
}
