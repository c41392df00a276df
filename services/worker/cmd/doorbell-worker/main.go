// Command doorbell-worker runs Doorbell's worker service.
package main

import (
	"os"

	"github.com/doorbell-sync/doorbell/pkg/command"
	"github.com/doorbell-sync/doorbell/services/worker/node"
)

func main() { os.Exit(command.Main(command.New(node.Service()))) }
