package api_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/doorbell-sync/doorbell/pkg/bus/membus"
	"github.com/doorbell-sync/doorbell/pkg/store/gormstore"
	api "github.com/doorbell-sync/doorbell/services/api"
)

// BenchmarkHot compares reads of a hot feed of 2 KB with a bare Gin handler that returns the same bytes from a variable: 64
// connections that are kept, both in turns. x_gin is the API's rate as a share of Gin's, x_gin_same_headers that of a Gin
// handler that sends the same headers, too; queries is what 100,000 requests ask the store.
func BenchmarkHot(b *testing.B) {
	h, head := hotFeed(b)
	epoch := head[:7]
	ours := httptest.NewServer(h.Handler())
	defer ours.Close()
	for _, c := range []struct{ name, target, header string }{
		{"snapshot", "/v1/feeds/pub:hot", ""},
		{"delta", "/v1/feeds/pub:hot/changes?since=" + epoch + "-1&at_least=" + head, ""},
		{"304", "/v1/feeds/pub:hot", `If-None-Match: W/"` + head + "\"\r\n"},
		{"delta304", "/v1/feeds/pub:hot/changes?since=" + head, `If-None-Match: W/"` + head + ".." + head[8:] + "\"\r\n"},
	} {
		b.Run(c.name, func(b *testing.B) {
			res, err := http.Get(ours.URL + c.target)
			if err != nil {
				b.Fatal(err)
			}
			body, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			tag := res.Header.Get("ETag")
			gin.SetMode(gin.ReleaseMode)
			serve := func(more http.Header) *httptest.Server {
				e := gin.New()
				handler := func(g *gin.Context) { bare(g, body, c.header != "", tag, more) }
				e.GET("/v1/feeds/:feed", handler)
				e.GET("/v1/feeds/:feed/changes", handler)
				return httptest.NewServer(e)
			}
			theirs := serve(nil)
			defer theirs.Close()
			more := res.Header.Clone()
			for _, own := range []string{"Date", "Content-Type", "Content-Length", "ETag"} {
				more.Del(own)
			}
			dressed := serve(more)
			defer dressed.Close()

			request := "GET " + c.target + " HTTP/1.1\r\nHost: x\r\n" + c.header + "\r\n"
			const conns = 64
			sides := [][]*rawConn{dialMany(b, ours, conns), dialMany(b, theirs, conns), dialMany(b, dressed, conns)}
			h.queries.Store(0)
			var took, cpu [3]time.Duration
			const round = 20_000
			b.ResetTimer()
			done := 0
			for done < b.N {
				n := min(round, b.N-done)
				for i, side := range sides {
					begin, used := time.Now(), cpuTime()
					hammer(b, side, request, n)
					took[i] += time.Since(begin)
					cpu[i] += cpuTime() - used
				}
				done += n
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N)/took[0].Seconds(), "doorbell/s")
			b.ReportMetric(float64(b.N)/took[1].Seconds(), "gin/s")
			b.ReportMetric(took[1].Seconds()/took[0].Seconds(), "x_gin")
			b.ReportMetric(cpu[1].Seconds()/cpu[0].Seconds(), "x_gin_cpu")
			b.ReportMetric(took[2].Seconds()/took[0].Seconds(), "x_gin_same_headers")
			b.ReportMetric(float64(cpu[0].Nanoseconds())/float64(b.N), "cpu-ns")
			b.ReportMetric(float64(h.queries.Load())*100_000/float64(b.N), "queries")
			for _, side := range sides {
				for _, c := range side {
					_ = c.Close()
				}
			}
		})
	}
}

func bare(g *gin.Context, body []byte, unchanged bool, tag string, more http.Header) {
	for name, values := range more {
		g.Header(name, values[0])
	}
	if unchanged {
		g.Header("ETag", tag)
		g.Status(http.StatusNotModified)
		return
	}
	g.Data(http.StatusOK, "application/json", body)
}

type hotAPI struct {
	*api.API
	queries *atomic.Int64
}

// hotFeed is an API with the feed pub:hot of 2 KB, which has been read.
func hotFeed(b *testing.B) (hotAPI, string) {
	b.Helper()
	st, err := gormstore.OpenSQLite(b.Context(), filepath.Join(b.TempDir(), "doorbell.db"), gormstore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	h := hotAPI{queries: new(atomic.Int64)}
	p := &probe{Store: st, calls: map[string]int{}}
	p.before(counting(h.queries))
	mb := membus.New(membus.Options{})
	h.API, err = api.New(api.Options{Store: p, Bus: mb, Policies: testPolicies(), OpenWrites: true, Logger: discard(), Limits: api.Limits{
		Reads: api.Limit{PerSecond: 1000, Burst: 10_000}, Polls: api.Limit{PerSecond: 1000, Burst: 10_000},
	}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		h.Close()
		_ = mb.Close()
		_ = st.Close()
	})
	var head string
	for i := range 20 {
		req := httptest.NewRequest(http.MethodPut, fmt.Sprintf("http://localhost/v1/feeds/pub:hot/items/k%d", i), strings.NewReader(`"`+strings.Repeat("x", 70)+`"`))
		req.Header.Set("Content-Type", "application/json")
		req.RemoteAddr = "127.0.0.1:1"
		rec := httptest.NewRecorder()
		h.Handler().ServeHTTP(rec, req)
		if rec.Code != http.StatusOK {
			b.Fatal(rec.Body.String())
		}
		_, rest, _ := strings.Cut(rec.Body.String(), `"cursor":"`)
		head, _, _ = strings.Cut(rest, `"`)
	}
	return h, head
}

// rawConn is a client that costs next to nothing.
type rawConn struct {
	net.Conn
	r *bufio.Reader
}

// dialMany opens connections.
// cpuTime is what the process has used so far: on a machine with other work it says more than the clock.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func dialMany(b *testing.B, s *httptest.Server, n int) []*rawConn {
	b.Helper()
	conns := make([]*rawConn, n)
	for i := range conns {
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		conns[i] = &rawConn{Conn: c}
	}
	return conns
}

func (c *rawConn) reader() *bufio.Reader {
	if c.r == nil {
		c.r = bufio.NewReaderSize(c, 8<<10)
	}
	return c.r
}

// hammer does n requests, spread over the connections.
func hammer(b *testing.B, conns []*rawConn, request string, n int) {
	b.Helper()
	var wg sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(n))
	for _, c := range conns {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := c.do(request); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// do sends a request and reads the answer.
func (c *rawConn) do(request string) error {
	if _, err := io.WriteString(c, request); err != nil {
		return err
	}
	c.reader()
	end, have := -1, 0
	for end < 0 {
		if _, err := c.r.Peek(have + 1); err != nil {
			return err
		}
		have = c.r.Buffered()
		head, _ := c.r.Peek(have)
		end = bytes.Index(head, []byte("\r\n\r\n"))
	}
	head, _ := c.r.Peek(end + 2)
	status := string(head[9:12])
	if status != "200" && status != "304" && status != "404" {
		return fmt.Errorf("%s", head)
	}
	length := 0
	if _, field, ok := bytes.Cut(head, []byte("Content-Length: ")); ok {
		for _, digit := range field {
			if digit < '0' || digit > '9' {
				break
			}
			length = length*10 + int(digit-'0')
		}
	}
	if _, err := c.r.Discard(end + 4); err != nil {
		return err
	}
	_, err := c.r.Discard(length)
	return err
}
