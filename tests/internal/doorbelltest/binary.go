// Package doorbelltest gives tests the built doorbell binary, servers of it that end with the test, and its commands.
//
// Only what a user could reach is used: command lines, standard output, HTTP, WebSockets and signals.
package doorbelltest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

var build = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "doorbell-binary.")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(folder, "doorbell")
	_, here, _, _ := runtime.Caller(0)
	cmd := exec.Command("go", "build", "-o", bin, "./cmd/doorbell")
	cmd.Dir = filepath.Join(filepath.Dir(here), "..", "..", "..", "services", "doorbell")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as scripts/build.sh builds it
	if said, err := cmd.CombinedOutput(); err != nil {
		_ = os.RemoveAll(folder)
		return "", fmt.Errorf("build doorbell: %w\n%s", err, said)
	}
	return bin, nil
})

// Binary is the path of the doorbell binary, which is built once for each test process.
func Binary(tb testing.TB) string {
	tb.Helper()
	bin, err := build()
	if err != nil {
		tb.Fatal(err)
	}
	return bin
}

// Clean removes the binary; TestMain calls it when all tests are done.
func Clean() {
	if bin, err := build(); err == nil {
		_ = os.RemoveAll(filepath.Dir(bin))
	}
}
