// Generate writes the Go code of every .proto file below the folder given (the module's root), beside the file. It needs
// no protoc: the files are compiled here, and protoc-gen-go runs in this process, at the versions that go.mod pins.
//
//	go run ./cmd/generate .
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/doorbell-sync/doorbell/proto/internal/generate"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: generate FOLDER")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run(folder string) error {
	files, err := generate.All(context.Background(), folder)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	for name, text := range files {
		if err := root.WriteFile(name, text, 0o644); err != nil {
			return err
		}
	}
	return root.Close()
}
