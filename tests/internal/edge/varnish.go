package edge

import (
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/doorbell-sync/doorbell/tests/internal/process"
)

// Varnish starts varnishd with deployments/varnish/doorbell.vcl and returns when it serves. Its files go into folder, whose path
// has to be short: Varnish makes sockets below it.
func Varnish(folder string, o Origin) (*Edge, error) {
	bin, err := find("VARNISHD", "/usr/sbin/varnishd", "varnishd")
	if err != nil {
		return nil, err
	}
	addr, err := process.FreeAddr()
	if err != nil {
		return nil, err
	}
	apis, gateways := o.pairs()
	var words [][2]string
	for name, at := range map[string]string{
		"api-1": apis[0], "api-2": apis[1], "gateway-1": gateways[0], "gateway-2": gateways[1],
	} {
		host, port, err := net.SplitHostPort(at)
		if err != nil {
			return nil, err
		}
		words = append(words, [2]string{
			fmt.Sprintf(`.host = %q; .port = "8080";`, name), fmt.Sprintf(`.host = %q; .port = %q;`, host, port),
		})
	}
	text, err := adapted(Shipped("varnish", "doorbell.vcl"), words)
	if err != nil {
		return nil, err
	}
	vcl := filepath.Join(folder, "doorbell.vcl")
	// Varnish drops root's rights before it compiles.
	if err := os.WriteFile(vcl, []byte(text), 0o644); err != nil { //nolint:gosec // no secret
		return nil, err
	}
	if err := os.Chmod(folder, 0o755); err != nil { //nolint:gosec // likewise
		return nil, err
	}
	run, err := process.Start(bin, []string{
		"-F", "-n", filepath.Join(folder, "work"), "-a", addr, "-f", vcl, "-s", "malloc,256m",
		// Without the command line that it would listen for, and with threads for a crowd from the beginning.
		"-T", "none", "-p", "thread_pool_min=200", "-p", "thread_pools=2",
	}, process.Options{})
	if err != nil {
		return nil, err
	}
	e := &Edge{Name: "Varnish", Log: run.Err, addr: addr, run: run}
	return e, e.serves()
}
