package cli

import (
	"io"
	"strings"
	"testing"
)

func TestUnknownCommandsSayWhatThereIs(t *testing.T) {
	for args, want := range map[string]string{
		"nonsense":                `unknown command "nonsense" for "doorbell"; there are all, api, bench, config, delete, dev, `,
		"config nonsense":         `unknown command "nonsense" for "doorbell config"; there are check, print`,
		"bench nonsense --json x": benchNonsense,
	} {
		cmd := New()
		cmd.SetArgs(strings.Fields(args))
		cmd.SetOut(io.Discard)
		cmd.SetErr(io.Discard)
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		if err := cmd.Execute(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("doorbell %s: %v; want %q", args, err, want)
		}
	}
}
