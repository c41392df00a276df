package gateway_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"runtime/metrics"
	"syscall"
	"testing"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/services/gateway"
)

// BenchmarkIdle tells what an idle connection costs after a garbage collection, in bytes of heap and of stack. Resident
// memory is about twice the heap plus the stacks.
func BenchmarkIdle(b *testing.B) {
	const connections = 2000
	one := func(int) feed.Name { return "prices:BTC-KRW" }
	own := func(i int) feed.Name { return feed.Name(fmt.Sprintf("orders:%d", i)) }
	for _, c := range []struct {
		name   string
		feedOf func(int) feed.Name
		open   func(testing.TB, *net.TCPAddr, feed.Name) int
	}{
		{"one feed", one, bareClient}, {"own feeds", own, bareClient},
		{"events of one feed", one, bareListener}, {"events of own feeds", own, bareListener},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				h := start(b, func(o *gateway.Options) { o.Logger = slog.New(slog.DiscardHandler) })
				h.publish("prices:BTC-KRW", 1)
				addr := h.server.Listener.Addr().(*net.TCPAddr)
				c.open(b, addr, "prices:BTC-KRW")
				heap, stacks := memory()
				for i := range connections {
					c.open(b, addr, c.feedOf(i))
				}
				after, stacksAfter := memory()
				b.ReportMetric(float64(after-heap)/connections, "heap-B/conn")
				b.ReportMetric(float64(stacksAfter-stacks)/connections, "stack-B/conn")
			}
		})
	}
}

func memory() (heap, stacks uint64) {
	for range 3 { // what has ended is forgotten step by step
		runtime.GC()
	}
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64(), samples[1].Value.Uint64()
}

// bareClient is a client that costs this process nothing but a file descriptor. It has subscribed to a feed.
func bareClient(t testing.TB, addr *net.TCPAddr, name feed.Name) int {
	t.Helper()
	command := fmt.Appendf(nil, `{"subscribe":{"%s":""}}`, name)
	return bare(t, addr,
		"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "",
		"hello", string(append([]byte{0x81, 0x80 | byte(len(command)), 0, 0, 0, 0}, command...)), "subscribed")
}

// bareListener is one of events.
func bareListener(t testing.TB, addr *net.TCPAddr, name feed.Name) int {
	t.Helper()
	return bare(t, addr, "Accept: text/event-stream", "?feed="+string(name), "subscribed")
}

// bare asks for signals with a header, waits for a word, says the next one, and so on.
func bare(t testing.TB, addr *net.TCPAddr, header, query string, dialogue ...string) int {
	t.Helper()
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	check(err)
	t.Cleanup(func() { _ = syscall.Close(fd) })
	check(syscall.Connect(fd, &syscall.SockaddrInet4{Port: addr.Port, Addr: [4]byte(addr.IP.To4())}))
	write := func(b []byte) {
		_, err := syscall.Write(fd, b)
		check(err)
	}
	var got []byte
	await := func(what string) {
		buf := make([]byte, 4096)
		for !bytes.Contains(got, []byte(what)) {
			n, err := syscall.Read(fd, buf)
			if check(err); n == 0 {
				t.Fatalf("closed after %q", got)
			}
			got = append(got, buf[:n]...)
		}
	}
	write([]byte("GET " + gateway.Path + query + " HTTP/1.1\r\nHost: x\r\n" + header + "\r\n\r\n"))
	for i, words := range dialogue {
		if i%2 == 0 {
			await(words)
		} else {
			write([]byte(words))
		}
	}
	return fd
}

// BenchmarkFanOut is one signal to a crowd, over loopback sockets: what isn't the kernel's write is ours.
func BenchmarkFanOut(b *testing.B) {
	const connections = 2000
	h := start(b, func(o *gateway.Options) { o.Logger = slog.New(slog.DiscardHandler) })
	addr := h.server.Listener.Addr().(*net.TCPAddr)
	var fds []int
	for range connections {
		fds = append(fds, bareClient(b, addr, "prices:BTC-KRW"))
	}
	buf := make([]byte, 4096)
	seq := int64(0)
	for b.Loop() {
		seq++
		h.publish("prices:BTC-KRW", seq)
		for _, fd := range fds {
			if _, err := syscall.Read(fd, buf); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/connections, "ns/delivery")
}
