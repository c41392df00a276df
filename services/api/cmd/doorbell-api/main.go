// Command doorbell-api runs Doorbell's api service.
package main

import (
	"os"

	"github.com/doorbell-sync/doorbell/pkg/command"
	"github.com/doorbell-sync/doorbell/services/api/node"
)

func main() { os.Exit(command.Main(command.New(node.Service()))) }
