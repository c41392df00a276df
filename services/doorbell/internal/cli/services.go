package cli

import (
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/doorbell-sync/doorbell/pkg/command"
	"github.com/doorbell-sync/doorbell/pkg/config"
	apinode "github.com/doorbell-sync/doorbell/services/api/node"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/allinone"
	"github.com/doorbell-sync/doorbell/services/doorbell/internal/page"
	gatewaynode "github.com/doorbell-sync/doorbell/services/gateway/node"
	workernode "github.com/doorbell-sync/doorbell/services/worker/node"
)

// newServices are the services on Postgres and Redis, each on its own and all in one.
func newServices() []*cobra.Command {
	api := apinode.Service()
	api.New = func(c config.Config, log *slog.Logger) (command.Process, error) {
		return apinode.New(c, log, page.Handler()), nil
	}
	return []*cobra.Command{
		command.New(api), command.New(gatewaynode.Service()), command.New(workernode.Service()),
		command.New(command.Service{
			Name: "all", Short: "Run gateway, API and worker in one process, on Postgres and Redis",
			Database: true, Redis: true,
			New: func(c config.Config, log *slog.Logger) (command.Process, error) { return allinone.Full(c, log), nil },
		}),
	}
}
