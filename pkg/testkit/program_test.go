//go:build unix

package testkit_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/doorbell-sync/doorbell/pkg/testkit"
)

func TestRunCleansUpWhateverFails(t *testing.T) {
	own, cleaning := errors.New("own"), errors.New("cleaning")
	for name, c := range map[string]struct {
		f    func(t testkit.TB) error
		want []error
	}{
		"nothing fails": {func(testkit.TB) error { return nil }, nil},
		"f fails":       {func(testkit.TB) error { return own }, []error{own}},
		"the kit fails": {func(t testkit.TB) error { t.Fatalf("%w", own); return nil }, []error{own}},
		"cleaning fails, too": {func(t testkit.TB) error {
			t.Cleanup(func() { t.Fatalf("%w", cleaning) })
			return own
		}, []error{own, cleaning}},
	} {
		t.Run(name, func(t *testing.T) {
			var order []int
			err := testkit.Run(func(p testkit.TB) error {
				p.Cleanup(func() { order = append(order, 1) })
				p.Cleanup(func() { order = append(order, 2) })
				return c.f(p)
			})
			if !slices.Equal(order, []int{2, 1}) {
				t.Errorf("cleaned up in the order %v; want the latest first", order)
			}
			for _, want := range c.want {
				if !errors.Is(err, want) {
					t.Errorf("the error is %v; want %v in it", err, want)
				}
			}
			if c.want == nil && err != nil {
				t.Errorf("failed: %v", err)
			}
		})
	}
}
