package rest

import (
	"testing"
	"testing/synctest"
)

// TestACrewMakesNobodyWait for work that takes its time, keeps some goroutines for what comes next, and none in the end.
func TestACrewMakesNobodyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew()
		const n = 3 * maxIdle
		release, done := make(chan struct{}), make(chan struct{}, n)
		for range n {
			c.do(func() { <-release; done <- struct{}{} })
		}
		close(release)
		for range n {
			<-done
		}
		synctest.Wait()
		if idle := len(c.room); idle != maxIdle {
			t.Errorf("%d are idle; want %d", idle, maxIdle)
		}
		ran := false
		c.do(func() { ran = true; done <- struct{}{} })
		<-done
		synctest.Wait()
		if idle := len(c.room); !ran || idle != maxIdle {
			t.Errorf("ran: %t; %d are idle; want %d", ran, idle, maxIdle)
		}
		c.close()
		c.close()
		c.do(func() { done <- struct{}{} })
		<-done // and nobody is left, or synctest complains
	})
}
