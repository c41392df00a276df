package wheel

// First is the earliest of the ticks; 0 stands for none, and is the answer where there is none.
func First(ticks ...Tick) (first Tick) {
	for _, t := range ticks {
		if t != 0 && (first == 0 || t < first) {
			first = t
		}
	}
	return first
}

// Take tells whether t has come by now; if so, it is none from then on.
func (t *Tick) Take(now Tick) bool {
	if *t == 0 || *t > now {
		return false
	}
	*t = 0
	return true
}
