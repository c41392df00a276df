package delivery

// queue holds each Follow at most once, first in, first out. The zero queue is empty.
type queue struct{ first, last *Follow }

func (q *queue) push(f *Follow) {
	if f.queued {
		return
	}
	f.queued = true
	if f.prev = q.last; q.last == nil {
		q.first = f
	} else {
		q.last.next = f
	}
	q.last = f
}

func (q *queue) pop() *Follow {
	f := q.first
	if f != nil {
		q.remove(f)
	}
	return f
}

func (q *queue) remove(f *Follow) {
	if !f.queued {
		return
	}
	if f.prev == nil {
		q.first = f.next
	} else {
		f.prev.next = f.next
	}
	if f.next == nil {
		q.last = f.prev
	} else {
		f.next.prev = f.prev
	}
	f.prev, f.next, f.queued = nil, nil, false
}

func (q *queue) clear() {
	for q.first != nil {
		q.remove(q.first)
	}
}
