//go:build linux

package stage

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
)

// Machine says in a line what this is measured on, and how busy it was before.
func Machine() string {
	model := "unknown processor"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if found := regexp.MustCompile(`(?m)^model name\s*: (.*)$`).FindSubmatch(b); found != nil {
			model = string(found[1])
		}
	}
	load := "unknown"
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		load, _, _ = strings.Cut(string(b), " ")
	}
	return fmt.Sprintf("%d × %s, %s, load before %s", runtime.NumCPU(), model, runtime.Version(), load)
}

// PackageVersion is the version of one of Debian's packages, "unknown" elsewhere.
func PackageVersion(name string) string {
	out, err := exec.Command("dpkg-query", "--show", "--showformat=${Version}", name).Output() //nolint:noctx // it ends by itself
	if err != nil {
		return "unknown"
	}
	return string(out)
}
