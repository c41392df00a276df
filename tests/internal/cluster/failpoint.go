//go:build unix

package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

var buildFailing = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "doorbell-binary.")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(folder, "doorbell")
	cmd := exec.Command("go", "build", "-tags", "failpoint", "-o", bin, "./cmd/doorbell")
	cmd.Dir = filepath.Join(Deployments(), "..", "services", "doorbell")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		_ = os.RemoveAll(folder)
		return "", fmt.Errorf("build doorbell with failpoints: %w\n%s", err, said)
	}
	failing = folder
	return bin, nil
})

var failing string // the folder of the binary with failpoints, if there is one

// Failing is the doorbell binary with failpoints in it, of which one is to happen: "after-commit:kill".
func Failing(tb testing.TB, failpoint string) Binary {
	tb.Helper()
	bin, err := buildFailing()
	if err != nil {
		tb.Fatal(err)
	}
	return Binary{Path: bin, Env: []string{"DOORBELL_FAILPOINT=" + failpoint}}
}

// Clean removes what was built; TestMain calls it when all tests are done.
func Clean() {
	if failing != "" {
		_ = os.RemoveAll(failing)
	}
}
