package doorbell

import (
	"slices"
	"strconv"
)

const (
	// maxBacklog is how many heads a follower remembers that it hasn't reached, and how many steps it asks for at once.
	maxBacklog = 16
	// maxLeaps is how often it does that in a row.
	maxLeaps = 3
	// maxClimb is how many seqs a follower may be behind that doesn't know what others were told meanwhile: so far it gets by steps.
	maxClimb = 1 + maxLeaps*maxBacklog
	// milestones are so many seqs apart, as many as one leap leads on.
	milestones = maxBacklog
)

// backlog is the heads that were signalled and are not reached yet, oldest first, all of one epoch, maxBacklog at most. At them
// followers have been that were on time. It is never changed in place, because views of an inbox share it.
type backlog []cursor

// with adds a head that is newer than all of them. forgot: there were too many, or they were of an epoch that is over, and it is the
// only one now.
func (b backlog) with(head cursor) (more backlog, forgot bool) {
	if len(b) >= maxBacklog || len(b) > 0 && b[0].epoch != head.epoch {
		return backlog{head}, true
	}
	return append(slices.Clip(b), head), false
}

// beyond are those that a follower at have has not reached.
func (b backlog) beyond(have cursor) backlog {
	for len(b) > 0 && b[0].compare(have) <= 0 {
		b = b[1:]
	}
	return b
}

// milestone is where all who are far behind a head go first: the last one before it, or the head itself where none lies between.
func (c cursor) milestone(head cursor) cursor {
	if seq := head.seq / milestones * milestones; seq > c.seq && seq < head.seq {
		return cursor{text: head.epoch + "-" + strconv.FormatInt(seq, 10), epoch: head.epoch, seq: seq}
	}
	return head
}

// next is the cursor one seq on.
func (c cursor) next() cursor {
	return cursor{text: c.epoch + "-" + strconv.FormatInt(c.seq+1, 10), epoch: c.epoch, seq: c.seq + 1}
}
