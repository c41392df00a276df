package sse

import (
	"context"
	"maps"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/hub"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/outlet"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/shard"
)

// streamed is an answer on a connection that others share. Its writing is the handler's: nobody else can claim it.
type streamed struct {
	Conn

	// Static.
	w       http.ResponseWriter
	control *http.ResponseController
	gone    context.Context // ends with the request
	from    string
	shard   *shard.Shard
	wake    chan struct{}

	deadline sync.Mutex
	// Guarded by deadline, with the stream's.
	end   time.Time // when writing ends whatever the progress; zero: never
	ended bool      // the handler has returned, or is about to
}

var (
	_ link       = (*streamed)(nil)
	_ hub.Outlet = (*streamed)(nil)
)

func stream(w http.ResponseWriter, r *http.Request, header http.Header, opt *Options) *Conn {
	s := &streamed{
		w: w, control: http.NewResponseController(w), gone: r.Context(), from: r.RemoteAddr,
		shard: opt.Shards.Pick(), wake: make(chan struct{}, 1),
	}
	s.init(opt, s, header)
	_ = s.control.SetReadDeadline(time.Time{}) // the server's
	return &s.Conn
}

func (s *streamed) side() hub.Outlet { return s }

// Wake is the hub's.
func (s *streamed) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *streamed) Claim() bool         { return false }
func (s *streamed) Send([]byte)         { panic("never claimed") }
func (s *streamed) Release()            { panic("never claimed") }
func (s *streamed) Fail(error)          { panic("never claimed") }
func (s *streamed) Shard() *shard.Shard { return s.shard }

func (s *streamed) run(feeds []feed.Name) {
	defer s.through(reading)
	s.begin(feeds)
	for buf := []byte(nil); s.said != all; {
		if buf = s.next(buf[:0], s.answer); len(buf) > 0 {
			if err := s.write(buf); err != nil {
				s.said = all
				s.failed("write", err)
				s.through(writing)
			}
			continue
		}
		if s.said >= farewell {
			continue
		}
		select {
		case <-s.wake:
		case <-s.gone.Done():
			s.failed("read", s.gone.Err())
		}
	}
}

func (s *streamed) answer(b []byte, status int, header http.Header) []byte {
	maps.Copy(s.w.Header(), header)
	s.w.WriteHeader(status)
	return b
}

// most is how much is written at a time: each part has the stall for itself.
const most = 4 << 10

// write writes b in parts, and none of it may wait for longer than the stall. What the library says of that is only that the stream
// has ended.
func (s *streamed) write(b []byte) error {
	defer s.arm(time.Time{})
	for len(b) > 0 {
		part := b[:min(len(b), most)]
		b = b[len(part):]
		stalled := time.Now().Add(s.opt.Outlet.Stall)
		if !s.arm(stalled) {
			return os.ErrDeadlineExceeded
		}
		_, err := s.w.Write(part)
		if err == nil {
			err = s.control.Flush()
		}
		switch {
		case err == nil:
		case !time.Now().Before(stalled):
			return outlet.ErrStalled
		default:
			return err
		}
	}
	return nil
}

// arm gives the next write its deadline, and tells whether there is time left at all. Without one the stream has none: it would be
// reset then, whether or not anything is being written.
func (s *streamed) arm(t time.Time) bool {
	s.deadline.Lock()
	defer s.deadline.Unlock()
	if !s.end.IsZero() && (t.IsZero() || s.end.Before(t)) {
		t = s.end
		if !time.Now().Before(t) {
			return false
		}
	}
	_ = s.control.SetWriteDeadline(t)
	return true
}

func (s *streamed) endBy(t time.Time) {
	s.deadline.Lock()
	defer s.deadline.Unlock()
	if s.end = t; !s.ended {
		_ = s.control.SetWriteDeadline(t)
	}
}

// close does not end what is being written, which has its deadline.
func (s *streamed) close(bool) {
	s.deadline.Lock()
	defer s.deadline.Unlock()
	s.ended = true
}

func (s *streamed) remote() string { return s.from }
