package shard

import (
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type job func()

func (j job) Run() { j() }

func TestInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(3)
		defer p.Close()
		var ran [3][]int // each by its shard alone
		for i := range 30_000 {
			s := p.Pick()
			s.Push(job(func() { ran[s.Index()] = append(ran[s.Index()], i) }))
		}
		synctest.Wait()
		for _, order := range ran {
			if len(order) != 10_000 {
				t.Fatalf("%d jobs on a shard", len(order))
			}
			for i := range order[1:] {
				if order[i] >= order[i+1] {
					t.Fatalf("%d before %d", order[i], order[i+1])
				}
			}
		}
	})
}

// TestJobsPushJobs: what a job pushes runs after what was pushed before.
func TestJobsPushJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(1)
		defer p.Close()
		var order []string
		s := p.At(0)
		s.Push(job(func() {
			order = append(order, "first")
			s.Push(job(func() { order = append(order, "third") }))
		}))
		s.Push(job(func() { order = append(order, "second") }))
		synctest.Wait()
		if len(order) != 3 || order[1] != "second" {
			t.Error(order)
		}
	})
}

func TestClose(t *testing.T) {
	p := New(0)
	var pushers sync.WaitGroup
	for range 4 {
		pushers.Go(func() {
			for range 10_000 {
				p.Pick().Push(job(func() {}))
			}
		})
	}
	p.Close()
	p.Close()
	pushers.Wait()
	p.At(0).Push(job(func() { t.Error("ran after the end") }))
}
