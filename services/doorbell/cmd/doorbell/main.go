// Command doorbell is all of Doorbell in one binary: `doorbell dev` runs it embedded, the other commands are its client.
package main

import (
	"os"

	"github.com/doorbell-sync/doorbell/pkg/command"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/cli"
)

func main() { os.Exit(command.Main(cli.New())) }
