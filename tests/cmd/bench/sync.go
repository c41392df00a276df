//go:build unix

package main

import (
	"os"
	"path/filepath"
	"time"
)

// measureSync appends 4 KiB to a file of the folder and syncs it, n times: less than a durable write can't take.
func measureSync(folder string, n int) (took []time.Duration, err error) {
	name := filepath.Join(folder, "sync")
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	defer os.Remove(name)
	defer f.Close()
	page := make([]byte, 4<<10)
	for range n {
		began := time.Now()
		if _, err := f.Write(page); err != nil {
			return nil, err
		}
		if err := syncData(f); err != nil {
			return nil, err
		}
		took = append(took, time.Since(began))
	}
	return took, nil
}
