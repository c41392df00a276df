//go:build unix && !linux

package main

import "os"

const syncName = "fsync"

func syncData(f *os.File) error { return f.Sync() }
