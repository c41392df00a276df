package api_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
)

// BenchmarkParked has b.N long polls wait (-benchtime 10000x), and as many requests in a bare Gin handler: x_gin is the
// memory of the first as a share of the second's, answered-ms how long it takes after one change until all are answered.
// On warm connections a request has been answered before, as it is for who polls again and again: net/http's stacks have
// grown by then.
func BenchmarkParked(b *testing.B) {
	for _, warm := range []bool{false, true} {
		b.Run(map[bool]string{false: "cold", true: "warm"}[warm], func(b *testing.B) { benchParked(b, warm) })
	}
}

func benchParked(b *testing.B, warm bool) {
	b.Helper()
	h, head := hotFeed(b)
	ours := httptest.NewServer(h.Handler())
	defer ours.Close()
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	release := make(chan struct{})
	var parked sync.WaitGroup
	parked.Add(b.N)
	e.GET("/v1/feeds/:feed/changes", func(g *gin.Context) {
		parked.Done()
		<-release
		g.Data(http.StatusOK, "application/json", []byte("{}"))
	})
	theirs := httptest.NewServer(e)
	defer theirs.Close()
	request := "GET /v1/feeds/pub:hot/changes?since=" + head + "&wait=30 HTTP/1.1\r\nHost: x\r\n\r\n"

	before := memory()
	gins := park(b, theirs, request, b.N, warm)
	parked.Wait()
	bare := memory() - before
	close(release)
	answered(b, gins)
	for _, c := range gins {
		_ = c.Close()
	}
	theirs.CloseClientConnections()
	time.Sleep(time.Second)

	before = memory()
	mine := park(b, ours, request, b.N, warm)
	for h.Polling() < b.N {
		time.Sleep(time.Millisecond)
	}
	held := memory() - before
	h.queries.Store(0)
	begin := time.Now()
	req := httptest.NewRequest(http.MethodPut, "http://localhost/v1/feeds/pub:hot/items/k1", strings.NewReader("1"))
	req.Header.Set("Content-Type", "application/json")
	req.RemoteAddr = "127.0.0.1:1"
	h.Handler().ServeHTTP(httptest.NewRecorder(), req)
	answered(b, mine)
	b.ReportMetric(float64(time.Since(begin).Milliseconds()), "answered-ms")
	b.ReportMetric(float64(held)/float64(bare), "x_gin")
	b.ReportMetric(float64(held)/float64(b.N), "B/poll")
	b.ReportMetric(float64(bare)/float64(b.N), "B/gin")
	b.ReportMetric(float64(h.queries.Load()), "queries")
	for _, c := range mine {
		_ = c.Close()
	}
}

func park(b *testing.B, s *httptest.Server, request string, n int, warm bool) []*rawConn {
	b.Helper()
	conns := dialMany(b, s, n) // their buffers come later: this is about the server's memory
	for _, c := range conns {
		if warm {
			if err := c.do("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				b.Fatal(err)
			}
			c.r = nil
		}
		if _, err := io.WriteString(c, request); err != nil {
			b.Fatal(err)
		}
	}
	return conns
}

func answered(b *testing.B, conns []*rawConn) {
	b.Helper()
	var wg sync.WaitGroup
	for part := range 64 {
		wg.Go(func() {
			for i := part; i < len(conns); i += 64 {
				if line, err := conns[i].reader().ReadString('\n'); err != nil || !strings.Contains(line, "200") {
					b.Error(fmt.Sprint(line, err))
					return
				}
			}
		})
	}
	wg.Wait()
}

// memory is what is in use, stacks included, after a collection.
func memory() int64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
