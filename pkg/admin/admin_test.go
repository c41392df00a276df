package admin

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/doorbell-sync/doorbell/pkg/auth"
	"github.com/doorbell-sync/doorbell/pkg/auth/revoked"
	"github.com/doorbell-sync/doorbell/pkg/bus/membus"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a gateway with sessions of one subject.
type fake struct {
	subject string
	count   int

	mu   sync.Mutex
	done []string
}

func (f *fake) Sessions(subject string) []Session {
	if subject != f.subject {
		return nil
	}
	all := make([]Session, f.count)
	expires := time.Now().Add(time.Hour)
	for i := range all {
		all[i] = Session{ID: fmt.Sprintf("s-%016x", i), TokenID: strings.Repeat("<", revoked.MaxID), Expires: &expires}
	}
	return all
}

func (f *fake) Disconnect(subject string, forbid bool, reason string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done = append(f.done, fmt.Sprintf("%s %t %s", subject, forbid, reason))
	return len(f.Sessions(subject))
}

func (f *fake) Rebalance(fraction float64) int { return int(fraction * float64(f.count)) }

const (
	operator = "operator-secret-0123456789"
	shop     = "shop-secret-0123456789"
)

type harness struct {
	t      *testing.T
	bus    *membus.Bus
	list   *revoked.List
	server *httptest.Server
}

func start(t *testing.T, gateways map[string]*fake) *harness {
	t.Helper()
	keys, err := auth.NewKeys([]auth.Key{
		{Name: "op", Secret: operator, Admin: true}, {Name: "shop", Secret: shop, Write: []string{"*"}, Read: []string{"*"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	b := membus.New(membus.Options{})
	list := revoked.New(b, log)
	h := NewHandler(Options{Auth: keys, Revocations: list, Bus: b, Logger: log, Wait: 400 * time.Millisecond})
	server := httptest.NewServer(h)
	t.Cleanup(func() {
		server.Close()
		h.Close()
		list.Close()
		_ = b.Close()
	})
	for name, g := range gateways {
		t.Cleanup(Serve(b, name, g, log))
	}
	return &harness{t, b, list, server}
}

func (h *harness) do(method, path, key, body string) (status int, answer string) {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), method, h.server.URL+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	if resp.Header.Get("Cache-Control") != "no-store" {
		h.t.Errorf("%s %s may be held by caches", method, path)
	}
	return resp.StatusCode, string(text)
}

func TestAllGatewaysAnswer(t *testing.T) {
	one, two := &fake{subject: "ann lee/1", count: 120}, &fake{subject: "bob", count: 10}
	h := start(t, map[string]*fake{"one": one, "two": two})
	status, text := h.do("GET", "/v1/admin/subjects/ann%20lee%2F1/sessions", operator, "")
	var listed struct {
		Subject     string
		Connections int
		Nodes       []struct {
			Node        string
			Connections int
			Sessions    []Session
		}
	}
	if err := json.Unmarshal([]byte(text), &listed); err != nil || status != 200 {
		t.Fatalf("%d %s: %v", status, text, err)
	}
	if listed.Subject != "ann lee/1" || listed.Connections != 120 || len(listed.Nodes) != 2 || listed.Nodes[0].Connections != 120 ||
		len(listed.Nodes[0].Sessions) != 120 || listed.Nodes[0].Sessions[119].ID != "s-0000000000000077" || listed.Nodes[1].Connections != 0 {
		t.Errorf("listed %.300s", text)
	}
	status, text = h.do("POST", "/v1/admin/subjects/bob/disconnect", operator, `{"forbid":true,"reason":"enough"}`)
	if want := `{"connections":10,"nodes":[{"node":"one","connections":0},{"node":"two","connections":10}]}`; status != 200 || text != want {
		t.Errorf("disconnect: %d %s; want %s", status, text, want)
	}
	if got := fmt.Sprint(two.done); got != "[bob true enough]" {
		t.Errorf("the gateway was told %s", got)
	}
	status, text = h.do("POST", "/v1/admin/rebalance?fraction=0.5", operator, "")
	if status != 200 || !strings.HasPrefix(text, `{"connections":65,`) {
		t.Errorf("rebalance: %d %s", status, text)
	}
}

func TestWhoMayEnter(t *testing.T) {
	h := start(t, nil)
	for key, want := range map[string]int{"": 401, "wrong-0123456789": 401, shop: 403} {
		for _, path := range []string{"revocations", "rebalance?fraction=1", "subjects/ann/sessions", "nothing"} {
			if status, text := h.do("POST", Path+path, key, `{"jti":"x"}`); status != want {
				t.Errorf("%s with the key %q: %d %s; want %d", path, key, status, text, want)
			}
		}
	}
	if h.list.Len() != 0 {
		t.Error("something was revoked all the same")
	}
}

// TestWhatIsWrongIsNamed, by code and by name.
func TestWhatIsWrongIsNamed(t *testing.T) {
	h := start(t, nil)
	ahead := func(d time.Duration) string {
		return fmt.Sprintf(`{"subject":"ann","issued_before":%q}`, time.Now().Add(d).Format(time.RFC3339))
	}
	for _, c := range []struct{ path, body, code, says string }{
		{"revocations", `{"jti":"a","issued":1}`, "unknown_field", `\"issued\"; allowed: issued_before, jti, subject, ttl`},
		{"revocations", `{"JTI":"a"}`, "unknown_field", `\"JTI\"`},
		{"subjects/ann/disconnect", `{"force":true}`, "unknown_field", `\"force\"; allowed: forbid, reason`},
		{"subjects/ann/disconnect", `{"forbid":"yes"}`, "bad_body", `forbid can't be \"yes\"; allowed: true or false`},
		{"revocations", `{"subject":"a","issued_before":"yesterday"}`, "bad_body", "RFC 3339"},
		{"revocations", `{"jti":7}`, "bad_body", "jti can't be 7; allowed: a string"},
		{"revocations", ahead(2 * time.Minute), "bad_issued_before", "allowed: up to now"},
		{"revocations", ahead(24 * 365 * time.Hour), "bad_issued_before", "allowed: up to now"},
		{"revocations", `{"jti":"a","issued_before":"2026-01-01T00:00:00Z"}`, "bad_issued_before", "goes with subject"},
	} {
		status, text := h.do("POST", Path+c.path, operator, c.body)
		if status != 400 || !strings.Contains(text, `"code":"`+c.code+`"`) || !strings.Contains(text, c.says) {
			t.Errorf("%s %s: %d %s; want %s and %s", c.path, c.body, status, text, c.code, c.says)
		}
	}
	if h.list.Len() != 0 {
		t.Error("something was revoked all the same")
	}
	if status, text := h.do("POST", Path+"revocations", operator, ahead(30*time.Second)); status != 200 {
		t.Errorf("a clock that is half a minute ahead: %d %s", status, text)
	}
}

func TestRevocations(t *testing.T) {
	h := start(t, nil)
	now := time.Now()
	for _, body := range []string{
		`{"jti":"t1"}`, `{"subject":"ann","ttl":"2h"}`, `{"subject":"bob","issued_before":"2020-01-01T00:00:00Z"}`,
	} {
		if status, text := h.do("POST", "/v1/admin/revocations", operator, body); status != 200 || !strings.HasPrefix(text, `{"until":"`) {
			t.Errorf("%s: %d %s", body, status, text)
		}
	}
	later := now.Add(time.Hour)
	for p, want := range map[*auth.Principal]bool{
		{Subject: "x", ID: "t1", Issued: now, Expires: later}:                           true,
		{Subject: "ann", ID: "t2", Issued: now, Expires: later}:                         true,
		{Subject: "ann", ID: "t2", Issued: now.Add(time.Minute), Expires: later}:        false,
		{Subject: "bob", ID: "t3", Issued: now, Expires: later}:                         false,
		{Subject: "bob", ID: "t3", Issued: time.Unix(1_500_000_000, 0), Expires: later}: true,
	} {
		if got := h.list.Revoked(p); got != want {
			t.Errorf("%+v is revoked: %t; want %t", p, got, want)
		}
	}
	h.bus.Interrupt()
	if status, text := h.do("POST", "/v1/admin/revocations", operator, `{"jti":"t9"}`); status != 503 {
		t.Errorf("without the bus: %d %s", status, text)
	}
	if status, text := h.do("GET", "/v1/admin/subjects/ann/sessions", operator, ""); status != 503 {
		t.Errorf("without the bus: %d %s", status, text)
	}
}

func TestBadRequestsChangeNothing(t *testing.T) {
	h := start(t, nil)
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{"POST", "revocations", `{}`, 400},
		{"POST", "revocations", ``, 400},
		{"POST", "revocations", `{"jti":"a","subject":"b"}`, 400},
		{"POST", "revocations", `{"jti":"a","x":1}`, 400},
		{"POST", "revocations", `{"jti":"a"} {}`, 400},
		{"POST", "revocations", `{"jti":7}`, 400},
		{"POST", "revocations", `["a"]`, 400},
		{"POST", "revocations", `{"jti":"a\nb"}`, 400},
		{"POST", "revocations", `{"jti":"a","ttl":"0s"}`, 400},
		{"POST", "revocations", `{"jti":"a","ttl":"soon"}`, 400},
		{"POST", "revocations", `{"jti":"a","ttl":"100000h"}`, 400},
		{"POST", "revocations", `{"subject":"a","issued_before":"yesterday"}`, 400},
		{"POST", "revocations", `{"jti":"` + strings.Repeat("x", 200) + `"}`, 400},
		{"POST", "revocations", `{"jti":"` + strings.Repeat("x", 5000) + `"}`, 413},
		{"GET", "revocations", ``, 405},
		{"POST", "rebalance", ``, 400},
		{"POST", "rebalance?fraction=0", ``, 400},
		{"POST", "rebalance?fraction=1.1", ``, 400},
		{"POST", "rebalance?fraction=NaN", ``, 400},
		{"POST", "rebalance?fraction=-1", ``, 400},
		{"POST", "subjects/ann/sessions", ``, 405},
		{"POST", "subjects//disconnect", ``, 400},
		{"POST", "subjects/" + strings.Repeat("x", 300) + "/disconnect", ``, 400},
		{"POST", "subjects/ann/disconnect", `{"reason":"` + strings.Repeat("x", 200) + `"}`, 400},
		{"POST", "subjects/ann/else", ``, 404},
		{"POST", "", ``, 404},
	} {
		status, text := h.do(c.method, Path+c.path, operator, c.body)
		if status != c.want || !strings.Contains(text, `"code":`) {
			t.Errorf("%s %s %.60s: %d %s; want %d", c.method, c.path, c.body, status, text, c.want)
		}
	}
	if h.list.Len() != 0 {
		t.Error("something was revoked all the same")
	}
}
