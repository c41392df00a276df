package doorbell

import "slices"

// maxBacklog is how many heads a follower remembers that it hasn't reached.
const maxBacklog = 16

// backlog is the heads that were signalled and are not reached yet, oldest first, all of one epoch, maxBacklog at most. They are
// the steps that followers which were on time have taken. It is never changed in place, because views of an inbox share it.
type backlog []cursor

// with adds a head that is newer than all of them. What is too much, or of an epoch that is over, is forgotten: the newest
// alone is enough to get there.
func (b backlog) with(head cursor) backlog {
	if len(b) >= maxBacklog || len(b) > 0 && b[0].epoch != head.epoch {
		return backlog{head}
	}
	return append(slices.Clip(b), head)
}

// beyond are those that a follower at have has not reached.
func (b backlog) beyond(have cursor) backlog {
	for len(b) > 0 && b[0].compare(have) <= 0 {
		b = b[1:]
	}
	return b
}
