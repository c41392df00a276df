package session

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/auth"
)

func TestRegistryKnowsWhoIsThere(t *testing.T) {
	r := NewRegistry()
	there := make(map[string]map[*Session]bool)
	var all []*Session
	for range 5000 {
		subject := fmt.Sprint(rand.IntN(5))
		if there[subject] == nil {
			there[subject] = make(map[*Session]bool)
		}
		if s := new(Session); rand.IntN(2) == 0 || len(all) == 0 {
			s.ends.principal = &auth.Principal{Subject: subject}
			r.enter(s, subject, 0)
			r.enter(s, subject, 0) // a second token of the same subject
			all = append(all, s)
			there[subject][s] = true
			continue
		}
		i := rand.IntN(len(all))
		s := all[i]
		all = slices.Delete(all, i, i+1)
		subject = s.Principal().Subject
		r.leave(s)
		r.leave(s)
		r.enter(s, subject, 0) // too late
		delete(there[subject], s)
	}
	for subject, want := range there {
		got := r.Of(subject)
		if len(got) != len(want) || slices.ContainsFunc(got, func(s *Session) bool { return !want[s] }) {
			t.Errorf("of %s there are %d; want %d", subject, len(got), len(want))
		}
	}
	for _, s := range all {
		r.leave(s)
	}
	if r.Len() != 0 {
		t.Errorf("%d subjects are kept", r.Len())
	}
}

// TestWhoeverLeavesLeavesTheListItIsIn: a session may be closed while its first token is being weighed.
func TestWhoeverLeavesLeavesTheListItIsIn(t *testing.T) {
	r := NewRegistry()
	stays, goes := new(Session), new(Session)
	r.enter(stays, "ann", 0)
	r.enter(goes, "ann", 0) // who it is isn't known to it yet
	r.leave(goes)
	if all := r.Of("ann"); len(all) != 1 || all[0] != stays || len(r.Of("")) != 0 {
		t.Errorf("of ann there are %d, of nobody %d", len(all), len(r.Of("")))
	}
	r.leave(stays)
	if r.Len() != 0 {
		t.Errorf("%d subjects are kept", r.Len())
	}
}

func TestRegistryFromManySides(t *testing.T) {
	r := NewRegistry()
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 500 {
				s := new(Session)
				s.ends.principal = &auth.Principal{Subject: fmt.Sprint(i % 2)}
				r.enter(s, fmt.Sprint(i%2), 0)
				r.Of("0")
				r.leave(s)
			}
		})
	}
	all.Wait()
	if r.Len() != 0 {
		t.Errorf("%d subjects are kept", r.Len())
	}
}

func TestWarning(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		issued, expires time.Time
		want            time.Duration // before the end
	}{
		"an hour":            {now, now.Add(time.Hour), 30 * time.Second},
		"half gone":          {now.Add(-time.Minute), now.Add(time.Minute), 12 * time.Second},
		"doesn't say":        {time.Time{}, now.Add(time.Minute), 6 * time.Second},
		"from the future":    {now.Add(time.Second), now.Add(time.Minute), 6 * time.Second},
		"about to end":       {now.Add(-time.Hour), now.Add(time.Second), 30 * time.Second},
		"five minutes, just": {now, now.Add(300 * time.Second), 30 * time.Second},
	} {
		p := &auth.Principal{Issued: c.issued, Expires: c.expires}
		if got := p.Expires.Sub(warnAt(p, now)); got != c.want {
			t.Errorf("%s: warned %s before; want %s", name, got, c.want)
		}
	}
}
