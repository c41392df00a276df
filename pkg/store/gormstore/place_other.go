//go:build !unix

package gormstore

import "io/fs"

// nameOf: here, who puts a backup in the place of the database has to say so.
func nameOf(fs.FileInfo) string { return "" }
