//go:build unix

// Package testkit gives tests real servers: private Postgres and Redis on free loopback ports with their data in
// temporary folders, and a TCP proxy that breaks connections in the ways that networks do.
//
//	redis := testkit.NewRedis(t)            // one's own: stop, kill, freeze, flush, replace it
//	url := testkit.Redis(t).URL             // one for the whole test process: keep to the Prefix
//	url := testkit.Postgres(t).URL          // one for the whole test process, with a schema of one's own
//	pg := testkit.NewPostgres(t)            // one's own
//	proxy := testkit.NewProxy(t, redis.Addr)
//
// A server ends with its test, or with the test process, however that ends: beside each server waits a shell that
// holds the reading end of a pipe, and when the kernel closes the other end it stops the server and removes its
// folder. So there is nothing to run at exit, and no goroutine that a leak detector would find. All of them stay in
// the process group of the test.
//
// A program that isn't there fails the test, and says what to install; nothing is ever skipped.
package testkit

import "fmt"

// TB is what the package needs of a *testing.T or *testing.B, so that a load generator can use it, too.
type TB interface {
	Helper()
	Cleanup(f func())
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// or fails the test when err isn't nil.
func or(t TB, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("testkit: %s: %v", what, err)
	}
}

// missing says in one line what to install.
func missing(what, debian, brew string) error {
	return fmt.Errorf("please install %s: `scripts/setup.sh`, `apt-get install %s` or `brew install %s`", what, debian, brew)
}
