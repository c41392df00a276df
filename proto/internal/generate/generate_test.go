package generate

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

const module = "../.."

// TestCheckedInCodeIsUpToDate: also that no generated file has lost its source.
func TestCheckedInCodeIsUpToDate(t *testing.T) {
	files, err := All(t.Context(), module)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(module, name))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what its .proto file says (%v); run: make generate", name, err)
		}
	}
	found, err := filepath.Glob(filepath.Join(module, "doorbell", "*", "*.pb.go"))
	if err != nil || len(found) != len(files) {
		t.Errorf("%d generated files are checked in, and %d are generated (%v)", len(found), len(files), err)
	}
}

func TestWhatIsWrongIsSaid(t *testing.T) {
	dir := t.TempDir()
	if _, err := All(t.Context(), dir); err == nil {
		t.Error("a folder without .proto files is taken")
	}
	if err := os.WriteFile(filepath.Join(dir, "x.proto"), []byte(`syntax = "proto3"; message A { B b = 1; }`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := All(t.Context(), dir); err == nil {
		t.Error("an unknown type is taken")
	}
}
