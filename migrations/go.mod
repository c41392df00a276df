module github.com/doorbell-sync/doorbell/migrations

go 1.26
