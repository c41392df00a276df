module github.com/doorbell-sync/doorbell/tests

go 1.26.0

require (
	github.com/coder/websocket v1.8.15
	github.com/doorbell-sync/doorbell/clients/go v0.0.0
	github.com/doorbell-sync/doorbell/pkg v0.0.0
)

require (
	github.com/chromedp/cdproto v0.159.0
	github.com/chromedp/chromedp v0.23.0
	go.opentelemetry.io/proto/otlp v1.11.0
	go.uber.org/goleak v1.3.0
	go.yaml.in/yaml/v3 v3.0.6
	google.golang.org/protobuf v1.36.12
)

require (
	github.com/go-json-experiment/json v0.0.0-20260820222146-c27c302e5fc3 // indirect
	github.com/grpc-ecosystem/grpc-gateway/v2 v2.30.0 // indirect
	github.com/stretchr/testify v1.12.1 // indirect
	golang.org/x/net v0.61.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	google.golang.org/genproto/googleapis/api v0.0.0-20261005182115-fad411399dd8 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20261005182115-fad411399dd8 // indirect
	google.golang.org/grpc v1.84.0 // indirect
)

replace github.com/doorbell-sync/doorbell/pkg => ../pkg

replace github.com/doorbell-sync/doorbell/migrations => ../migrations

replace github.com/doorbell-sync/doorbell/clients/go => ../clients/go
