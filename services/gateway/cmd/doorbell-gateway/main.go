// Command doorbell-gateway runs Doorbell's gateway service.
package main

import (
	"os"

	"github.com/doorbell-sync/doorbell/pkg/command"
	"github.com/doorbell-sync/doorbell/services/gateway/node"
)

func main() { os.Exit(command.Main(command.New(node.Service()))) }
