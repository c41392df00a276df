//go:build unix

package testkit

import (
	"errors"
	"fmt"
	"slices"
)

// Run lends the package's servers to a program that is no test, such as a load generator: it calls f, then all that f has
// left to clean up, the latest first, and gives everything that failed. A failure of the package ends f at once, by a panic
// that stays within Run; so f calls the package from its own goroutine only.
func Run(f func(t TB) error) error {
	p := new(program)
	p.try(func() {
		if err := f(p); err != nil {
			p.errs = append(p.errs, err)
		}
	})
	for _, c := range slices.Backward(p.cleanups) {
		p.try(c)
	}
	return errors.Join(p.errs...)
}

// program is a TB without a test.
type program struct {
	cleanups []func()
	errs     []error
}

type failure struct{ err error }

func (*program) Helper()            {}
func (p *program) Cleanup(f func()) { p.cleanups = append(p.cleanups, f) }
func (p *program) Fatalf(format string, args ...any) {
	panic(failure{fmt.Errorf(format, args...)})
}

func (p *program) Errorf(format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf(format, args...))
}

// try calls f, and keeps its failure.
func (p *program) try(f func()) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case failure:
			p.errs = append(p.errs, r.err)
		default:
			panic(r)
		}
	}()
	f()
}
