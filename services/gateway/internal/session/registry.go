package session

import (
	"sync"

	"github.com/doorbell-sync/doorbell/pkg/auth"
)

// Registry knows the sessions of each subject, nobody's left out. It is safe for concurrent use. A session's lock may be taken
// under its own, not the other way round.
type Registry struct {
	mu    sync.Mutex
	first map[string]*Session // of each subject's list
	sizes map[string]int      // of lists of more than one
}

// NewRegistry makes one without sessions.
func NewRegistry() *Registry {
	return &Registry{first: make(map[string]*Session), sizes: make(map[string]int)}
}

// place is a session's in its subject's list. Guarded by Registry.mu.
type place struct {
	prev, next *Session
	subject    string // whose list it is in, whoever the session is by now
	in, left   bool
}

// enter puts the session to those of the subject, once, unless it has left already. It tells whether there was room: whether
// there were fewer than most; 0: there always is.
func (r *Registry) enter(s *Session, subject string, most int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.place.in || s.place.left {
		return true
	}
	size := r.sizeLocked(subject)
	if most > 0 && size >= most {
		return false
	}
	s.place.in, s.place.subject = true, subject
	r.resizeLocked(subject, size+1)
	if s.place.next = r.first[subject]; s.place.next != nil {
		s.place.next.place.prev = s
	}
	r.first[subject] = s
	return true
}

func (r *Registry) sizeLocked(subject string) int {
	switch n, ok := r.sizes[subject]; {
	case ok:
		return n
	case r.first[subject] != nil:
		return 1
	}
	return 0
}

// resizeLocked keeps sizes small: most subjects have one session.
func (r *Registry) resizeLocked(subject string, size int) {
	if size > 1 {
		r.sizes[subject] = size
	} else {
		delete(r.sizes, subject)
	}
}

// leave takes it out, for good.
func (r *Registry) leave(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &s.place
	if p.in {
		subject := p.subject
		r.resizeLocked(subject, r.sizeLocked(subject)-1)
		if p.next != nil {
			p.next.place.prev = p.prev
		}
		switch {
		case p.prev != nil:
			p.prev.place.next = p.next
		case p.next != nil:
			r.first[subject] = p.next
		default:
			delete(r.first, subject)
		}
	}
	*p = place{left: true}
}

// Of lists a subject's sessions.
func (r *Registry) Of(subject string) []*Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []*Session
	for s := r.first[subject]; s != nil; s = s.place.next {
		all = append(all, s)
	}
	return all
}

// Revoked lists the sessions whose tokens have been taken back.
func (r *Registry) Revoked(by auth.Revoker) []*Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []*Session
	for _, s := range r.first {
		for ; s != nil; s = s.place.next {
			if by.Revoked(s.Principal()) {
				all = append(all, s)
			}
		}
	}
	return all
}

// Len is how many subjects have sessions.
func (r *Registry) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.first)
}
