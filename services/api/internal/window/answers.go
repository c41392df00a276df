package window

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
)

// Answer is a finished answer, shared by everybody who asks the same at the same head.
type Answer interface {
	// Weight is about how many bytes of memory it takes, whatever of it is built yet.
	Weight() int
}

// Key names what an answer is to: a kind of read, and the text of its query.
type Key struct {
	Kind  uint8
	Query string
}

// keyMemory is about what a kept answer takes beside itself.
const keyMemory = 128

// errNotBuilt is what those get who waited for a build that panicked.
var errNotBuilt = errors.New("the answer could not be built")

// answers are those that are kept with a view: they are right for as long as it is.
type answers struct {
	mu     sync.RWMutex
	slots  map[Key]*slot
	weight atomic.Int64
}

// slot is an answer that is being built, or has been.
type slot struct {
	build  sync.Once
	done   atomic.Bool // answer and err are set
	answer Answer
	err    error
}

// Answer is the one that is kept, or nil.
func (v *View) Answer(k Key) Answer {
	a := &v.answers
	a.mu.RLock()
	s := a.slots[k]
	a.mu.RUnlock()
	if s == nil || !s.done.Load() {
		return nil
	}
	return s.answer
}

// make has the answer built, once however many ask at once, and keeps it if there is room below most.
func (v *View) make(k Key, most int64, build func() (Answer, error)) (Answer, error) {
	a := &v.answers
	a.mu.Lock()
	s := a.slots[k]
	if s == nil {
		s = &slot{err: errNotBuilt}
		if a.slots == nil {
			a.slots = make(map[Key]*slot)
		}
		k.Query = strings.Clone(k.Query) // it is a part of a request
		a.slots[k] = s
	}
	a.mu.Unlock()
	s.build.Do(func() {
		keep := false
		defer func() { // also when build panics
			if !keep {
				a.mu.Lock()
				delete(a.slots, k)
				a.mu.Unlock()
			}
		}()
		s.answer, s.err = build()
		s.done.Store(s.err == nil)
		if s.err == nil {
			weight := int64(s.answer.Weight() + len(k.Query) + keyMemory)
			if keep = a.weight.Add(weight) <= most; !keep {
				a.weight.Add(-weight)
			}
		}
	})
	return s.answer, s.err
}

// alias keeps an answer under one more key.
func (v *View) alias(k Key, answer Answer, most int64) {
	a := &v.answers
	weight := int64(len(k.Query) + keyMemory)
	if a.weight.Add(weight) > most {
		a.weight.Add(-weight)
		return
	}
	s := &slot{answer: answer}
	s.build.Do(func() {})
	s.done.Store(true)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.slots == nil {
		a.slots = make(map[Key]*slot)
	}
	k.Query = strings.Clone(k.Query)
	a.slots[k] = s
}
