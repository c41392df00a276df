package api_test

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		all := true // tests, not a selection
		for _, name := range []string{"test.run", "test.skip", "test.bench", "test.fuzz", "test.list"} {
			all = all && flag.Lookup(name).Value.String() == ""
		}
		if code == 0 && all && !reportUnseen(os.Stderr) {
			code = 1
		}
		os.Exit(code)
	}))
}
