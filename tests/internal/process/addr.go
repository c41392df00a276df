package process

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// given are the addresses that this process has been given: nobody may listen there yet.
var given sync.Map

// FreeAddr is a loopback address that nobody listens on. Its port lies below those that systems give to outgoing
// connections: otherwise, while a server is down, one of the many to what is in front of it could be given it. Nobody is given it twice.
func FreeAddr() (string, error) {
	const low, high, tries = 10_240, 32_000, 100
	var err error
	for range tries {
		addr := fmt.Sprintf("127.0.0.1:%d", low+rand.IntN(high-low))
		if _, taken := given.LoadOrStore(addr, true); taken {
			continue
		}
		var l net.Listener
		if l, err = net.Listen("tcp4", addr); err == nil { //nolint:noctx // it doesn't wait for anybody
			return addr, l.Close()
		}
	}
	return "", fmt.Errorf("no free port: %w", err)
}
