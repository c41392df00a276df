package main

import (
	"os"
	"syscall"
)

const syncName = "fdatasync"

func syncData(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }
