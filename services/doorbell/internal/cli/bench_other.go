//go:build !linux

package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/doorbell-sync/doorbell/pkg/command"
)

func newBench() *cobra.Command {
	return &cobra.Command{
		Use: "bench", Short: "Measure Doorbell on this machine, at full size (on Linux)", DisableFlagParsing: true,
		RunE: func(*cobra.Command, []string) error {
			return command.Usage(errors.New("bench works on Linux only: its clients need epoll, and it reads processes' memory from /proc"))
		},
	}
}
