package feed

import "slices"

// Scope is a set of namespaces: those named, or (Except) all but those named. The zero Scope is empty.
type Scope struct {
	Namespaces []string
	Except     bool
}

// Holds tells whether the feed's namespace is in the scope.
func (s Scope) Holds(n Name) bool {
	return slices.Contains(s.Namespaces, n.Namespace()) != s.Except
}
