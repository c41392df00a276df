package command

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

// TestAnAddressInUse: whoever starts a second one is told what to do.
func TestAnAddressInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, err = net.Listen("tcp", l.Addr().String())
	if got := text(fmt.Errorf("start listener: %w", err)); !strings.Contains(got, "--listen") {
		t.Error(got)
	}
}
