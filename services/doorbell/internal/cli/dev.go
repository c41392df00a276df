package cli

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/doorbell-sync/doorbell/pkg/command"
	"github.com/doorbell-sync/doorbell/pkg/config"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/allinone"
)

func newDev() *cobra.Command {
	return command.New(command.Service{
		Name:  "dev",
		Short: "Run all of Doorbell in this process, with every namespace public",
		Long: "Runs gateway, API and worker in one process on SQLite, with every namespace public. Without configured keys\n" +
			"everybody on this machine may write. This machine's own figures are written to the feed host:local once a second.",
		Data: true,
		Adjust: func(c *config.Config) {
			c.Public()
			c.DrainWait = 0 // nobody balances here
		},
		New: func(c config.Config, log *slog.Logger) (command.Process, error) {
			if len(c.Keys) > 0 || len(c.Namespaces) > 0 {
				// Whoever tries a real configuration here may take its private namespaces for private.
				log.Warn("dev makes every namespace public, whatever the configuration says; doorbell all keeps to it")
			}
			return allinone.Embedded(c, log), nil
		},
		Greet: func(w io.Writer, c config.Config, url string) {
			fmt.Fprintf(w, "Doorbell is running; its data is in %s; Ctrl-C stops it.\n", c.Data)
			fmt.Fprintf(w, "Live page: %s/\n", url)
		},
	})
}
