package outlet

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/doorbell-sync/doorbell/services/gateway/internal/shard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// level is a source with one number to tell, the newest: in frames of many bytes, so that a socket is full soon.
type level struct {
	now    atomic.Int64
	size   int
	failed chan error

	mu    sync.Mutex
	told  int64 // by whoever owns the write side
	calls int
	busy  atomic.Bool // a call is under way
}

func frameOf(n int64, size int) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(size))
	for range size {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return b
}

func (l *level) Frame(b []byte) []byte {
	if l.busy.Swap(true) {
		panic("two ask at a time")
	}
	defer l.busy.Store(false)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls++
	n := l.now.Load()
	if n == l.told {
		return nil
	}
	l.told = n
	return append(b, frameOf(n, l.size)...)
}

func (l *level) WriteFailed(err error) { l.failed <- err }

// asked is how often the source has been asked.
func (l *level) asked() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.calls
}

// sockets is two ends of a connection with small buffers.
func sockets(t testing.TB) (here, there net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if there, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if here, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	_ = there.(*net.TCPConn).SetReadBuffer(4 << 10)
	_ = here.(*net.TCPConn).SetWriteBuffer(4 << 10)
	t.Cleanup(func() {
		_ = here.Close()
		_ = there.Close()
	})
	return here, there
}

// outletTo makes an outlet of a level on a shard of its own, or the one given.
func outletTo(t testing.TB, conn net.Conn, s *shard.Shard, size int, stall time.Duration) (*Outlet, *level) {
	t.Helper()
	if s == nil {
		p := shard.New(1)
		t.Cleanup(p.Close)
		s = p.At(0)
	}
	l := &level{size: size, failed: make(chan error, 1)}
	o := new(Outlet)
	o.Init(conn, s, l, &Options{Stall: stall})
	return o, l
}

// readFrame wants one whole frame of one number.
func readFrame(r io.Reader) (int64, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size == 0 || size > 1<<20 {
		return 0, errors.New("frames have mixed: a size is none")
	}
	body := make([]byte, 8*size)
	if _, err := io.ReadFull(r, body); err != nil {
		return 0, err
	}
	first := binary.BigEndian.Uint64(body)
	for ; len(body) > 0; body = body[8:] {
		if binary.BigEndian.Uint64(body) != first {
			return 0, errors.New("frames have mixed: a body has two numbers")
		}
	}
	return int64(first), nil
}

// transports are what an outlet writes to: a socket that it can try, and one that it can't.
var transports = map[string]func(t testing.TB) (here, there net.Conn){
	"tried": sockets,
	"not tried": func(t testing.TB) (net.Conn, net.Conn) {
		here, there := sockets(t)
		return struct{ net.Conn }{here}, there
	},
}

// TestFramesNeverMixAndTheLastComes: many wake and send at once, the reader dawdles at random, and what it reads is whole
// frames that only go forward, up to the last.
func TestFramesNeverMixAndTheLastComes(t *testing.T) {
	for name, connect := range transports {
		t.Run(name, func(t *testing.T) {
			here, there := connect(t)
			o, l := outletTo(t, here, nil, 700, patience)
			const last = 20_000
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					for l.now.Load() < last {
						switch rand.IntN(3) {
						case 0:
							l.now.Add(1)
							o.Wake()
						case 1:
							if !o.Claim() {
								l.now.Add(1)
								o.Wake()
								continue
							}
							l.mu.Lock()
							l.told = l.now.Add(1)
							frame := frameOf(l.told, rand.IntN(300)+1)
							l.mu.Unlock()
							o.Send(frame)
						case 2:
							if o.Claim() {
								o.Release()
							}
						}
					}
				})
			}
			r := bufio.NewReader(there)
			_ = there.SetReadDeadline(time.Now().Add(3 * patience))
			for seen := int64(0); seen < last; {
				n, err := readFrame(r)
				if err != nil || n < seen {
					t.Fatalf("%d after %d: %v", n, seen, err)
				}
				if seen = n; rand.IntN(200) == 0 {
					time.Sleep(time.Millisecond)
				}
			}
			all.Wait()
		})
	}
}

// TestAStuckSocketHoldsUpNobody on the same shard; the source isn't even asked while it is stuck; and when it is read again,
// it takes one frame that was under way and the newest.
func TestAStuckSocketHoldsUpNobody(t *testing.T) {
	p := shard.New(1)
	defer p.Close()
	here, there := sockets(t)
	stuck, heads := outletTo(t, here, p.At(0), 8_000, patience)
	heads.now.Store(1)
	stuck.Wake()
	other, ear := sockets(t)
	free, news := outletTo(t, other, p.At(0), 1, patience)
	asked := 0
	for n := int64(1); n <= 1000; n++ {
		heads.now.Store(n)
		news.now.Store(n)
		stuck.Wake()
		free.Wake()
		_ = ear.SetReadDeadline(time.Now().Add(patience))
		if got, err := readFrame(ear); err != nil || got != n {
			t.Fatal(got, err)
		}
		if n == 10 {
			asked = heads.asked()
		}
	}
	if now := heads.asked(); now != asked {
		t.Errorf("a source was asked %d times while its socket was stuck", now-asked)
	}
	var got []int64
	for len(got) == 0 || got[len(got)-1] < 1000 {
		_ = there.SetReadDeadline(time.Now().Add(patience))
		n, err := readFrame(there)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, n)
	}
	if len(got) > 2 {
		t.Errorf("frames of %v", got)
	}
}

// TestStuckAndFreeAgain: the deadline by which the rest of a frame is watched must not end what is written later.
func TestStuckAndFreeAgain(t *testing.T) {
	here, there := sockets(t)
	const stall = 4 * time.Second
	o, l := outletTo(t, here, nil, 5_000, stall)
	for n := int64(1); n <= 3; n++ {
		l.now.Store(n)
		o.Wake()
		for {
			_ = there.SetReadDeadline(time.Now().Add(patience))
			got, err := readFrame(there)
			if err != nil {
				t.Fatal(err)
			}
			if got == n {
				break
			}
		}
		time.Sleep(stall/stallChecks + 50*time.Millisecond)
	}
	select {
	case err := <-l.failed:
		t.Fatal(err)
	default:
	}
}

func TestStalled(t *testing.T) {
	here, _ := sockets(t)
	o, l := outletTo(t, here, nil, 1_000_000, 100*time.Millisecond)
	l.now.Store(1)
	o.Wake()
	select {
	case err := <-l.failed:
		if !errors.Is(err, ErrStalled) {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("never given up")
	}
	o.Wake()
	if o.Claim() {
		t.Error("somebody could write after the end")
	}
}

func TestPeerIsGone(t *testing.T) {
	here, there := sockets(t)
	o, l := outletTo(t, here, nil, 1, patience)
	_ = there.(*net.TCPConn).SetLinger(0)
	_ = there.Close()
	for n, end := int64(1), time.Now().Add(patience); ; n++ {
		l.now.Store(n)
		o.Wake()
		select {
		case <-l.failed:
			return
		case <-time.After(time.Millisecond):
		}
		if time.Now().After(end) {
			t.Fatal("not noticed")
		}
	}
}

// TestEndBy: whatever the progress.
func TestEndBy(t *testing.T) {
	for name, connect := range transports {
		t.Run(name, func(t *testing.T) {
			here, _ := connect(t)
			o, l := outletTo(t, here, nil, 1_000_000, time.Hour)
			l.now.Store(1)
			o.Wake()
			o.EndBy(time.Now().Add(50 * time.Millisecond))
			select {
			case <-l.failed:
			case <-time.After(patience):
				t.Fatal("it goes on")
			}
		})
	}
}
