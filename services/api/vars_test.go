package api_test

import (
	"time"

	"github.com/doorbell-sync/doorbell/pkg/store"
)

var (
	farFuture      = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
	errUnavailable = store.ErrUnavailable
)
