package doorbell

// State is a feed's items by key, built from events. The zero State is empty and ready. It has no lock of its own.
type State struct {
	Cursor string            // where the state is; the Since to go on from
	Items  map[string]Change // live items; nil while there were none
}

// Apply takes one event of the feed, in order.
func (s *State) Apply(e Event) {
	switch e.Kind {
	case Reset:
		clear(s.Items)
	case Changed:
		s.set(e.Change)
	case Trimmed:
		s.trim(e.Trimmed)
	case CaughtUp: // has a cursor alone
	}
	s.Cursor = e.Cursor
}

func (s *State) applyPage(p *Page) {
	s.trim(p.Trimmed)
	for _, ch := range p.Changes {
		s.set(ch)
	}
	s.Cursor = p.Cursor
}

func (s *State) set(ch Change) {
	if ch.Deleted {
		delete(s.Items, ch.Key)
		return
	}
	if s.Items == nil {
		s.Items = make(map[string]Change)
	}
	s.Items[ch.Key] = ch
}

func (s *State) trim(seq int64) {
	for key, item := range s.Items {
		if item.Seq <= seq {
			delete(s.Items, key)
		}
	}
}
