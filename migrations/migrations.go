// Package migrations holds the database schemas, one folder per database, in the form that goose reads. A file that has
// been released is never edited; a change is a new file.
package migrations

import "embed"

// FS holds postgres/*.sql and sqlite/*.sql.
//
//go:embed postgres/*.sql sqlite/*.sql
var FS embed.FS
