//go:build unix

package cluster

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	doorbell "github.com/doorbell-sync/doorbell/clients/go"

	"github.com/doorbell-sync/doorbell/tests/internal/doorbelltest"
	"github.com/doorbell-sync/doorbell/tests/internal/process"
)

// Node is one process of a service, which may be stopped, killed and started again at the same address. Its methods are for
// one goroutine, but for those that only tell.
type Node struct {
	// Addr is its host:port, for all of its lives, and Internal where its metrics are.
	Addr, Internal string

	tb     testing.TB
	name   string
	binary Binary
	args   []string

	mu   sync.Mutex
	runs []*process.Process // guarded by mu
}

func newNode(tb testing.TB, role string, b Binary, args []string) *Node {
	tb.Helper()
	addr, err := process.FreeAddr()
	if err != nil {
		tb.Fatal(err)
	}
	internal, err := process.FreeAddr()
	if err != nil {
		tb.Fatal(err)
	}
	args = append(args, "--listen", addr, "--internal-listen", internal)
	n := &Node{Addr: addr, Internal: internal, tb: tb, name: role + " " + addr, binary: b, args: args}
	tb.Cleanup(func() {
		if len(n.runs) > 0 {
			n.run().Kill()
		}
		log := n.Log()
		if strings.Contains(log, "panic") { // none should be survived in silence
			tb.Errorf("the log of %s has a panic", n.name)
		}
		if tb.Failed() {
			tb.Logf("the end of what %s said:\n%s", n.name, log[max(0, len(log)-4000):])
		}
	})
	return n
}

// Start starts it, without waiting until it serves.
func (n *Node) Start() {
	n.tb.Helper()
	run, err := process.Start(n.binary.Path, n.args, process.Options{Env: n.binary.Env})
	if err != nil {
		n.tb.Fatal(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.runs = append(n.runs, run)
}

// WaitReady waits until /readyz says 200.
func (n *Node) WaitReady() {
	n.tb.Helper()
	doorbelltest.Eventually(n.tb, n.name+" is ready", func() bool {
		if !n.run().Running() {
			n.tb.Fatalf("%s ended with %d:\n%s", n.name, n.run().ExitCode(), n.run().Err)
		}
		status, _, err := Get(n.URL() + "/readyz")
		return err == nil && status == 200
	})
}

// Ready tells what /readyz says.
func (n *Node) Ready() bool {
	status, _, err := Get(n.URL() + "/readyz")
	return err == nil && status == 200
}

// Kill ends it with SIGKILL.
func (n *Node) Kill() { n.run().Kill() }

// Stop asks it to end, which has to be with success and soon.
func (n *Node) Stop() {
	n.tb.Helper()
	if code, err := n.run().Stop(DrainWait + doorbelltest.StopWithin); err != nil || code != 0 {
		n.tb.Fatalf("%s stopped with %d, %v; want 0", n.name, code, err)
	}
}

// Restart is Stop and Start, and returns when it is ready.
func (n *Node) Restart() {
	n.tb.Helper()
	n.Stop()
	n.Start()
	n.WaitReady()
}

// Done is closed when the present run has ended.
func (n *Node) Done() <-chan struct{} { return n.run().Done() }

// URL is where it is, past nginx.
func (n *Node) URL() string { return "http://" + n.Addr }

// Metric is the sum of one of its metrics; 0: there is none.
func (n *Node) Metric(name string) float64 {
	n.tb.Helper()
	status, body, err := Get("http://" + n.Internal + "/metrics")
	if err != nil || status != 200 {
		n.tb.Fatalf("the metrics of %s: %d, %v", n.name, status, err)
	}
	sum := 0.0
	for line := range strings.Lines(body) {
		key, text, found := strings.Cut(strings.TrimSpace(line), " ")
		if bare, _, _ := strings.Cut(key, "{"); bare != name || !found {
			continue
		}
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			n.tb.Fatalf("the metric %s: %v", line, err)
		}
		sum += value
	}
	return sum
}

// Memory is how much of the machine's memory the process has, in bytes (Linux).
func (n *Node) Memory() int64 {
	n.tb.Helper()
	return int64(n.Metric("process_resident_memory_bytes"))
}

// Client is one that goes past nginx. It knows no gateway, unless an option names one.
func (n *Node) Client(opts ...doorbell.Option) *doorbell.Client {
	n.tb.Helper()
	return client(n.tb, n.URL(), opts)
}

// Log is what all of its runs have said on standard error.
func (n *Node) Log() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var b strings.Builder
	for i, run := range n.runs {
		fmt.Fprintf(&b, "--- run %d\n%s", i+1, run.Err)
	}
	return b.String()
}

func (n *Node) run() *process.Process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.runs[len(n.runs)-1]
}
