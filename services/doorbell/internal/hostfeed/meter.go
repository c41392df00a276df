package hostfeed

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/host"
	"github.com/shirou/gopsutil/v4/load"
	"github.com/shirou/gopsutil/v4/mem"
	"github.com/shirou/gopsutil/v4/net"
)

// figure is one item of the feed.
type figure struct {
	key   string
	value any
}

type cpuFigures struct {
	Percent float64   `json:"percent"`
	Cores   []float64 `json:"cores"`
	Count   int       `json:"count"`
}

type memoryFigures struct {
	Used    uint64  `json:"used"`  // bytes
	Total   uint64  `json:"total"` // bytes
	Percent float64 `json:"percent"`
}

type loadFigures struct {
	Load1  float64 `json:"load1"`
	Load5  float64 `json:"load5"`
	Load15 float64 `json:"load15"`
}

type diskFigures struct {
	Path     string  `json:"path"`
	Used     uint64  `json:"used"`  // bytes
	Total    uint64  `json:"total"` // bytes
	Percent  float64 `json:"percent"`
	ReadBps  float64 `json:"read_bps"`  // bytes a second, all disks
	WriteBps float64 `json:"write_bps"` // bytes a second, all disks
}

type networkFigures struct {
	RecvBps float64 `json:"recv_bps"` // bytes a second, all interfaces
	SentBps float64 `json:"sent_bps"` // bytes a second, all interfaces
}

type hostFigures struct {
	Hostname string    `json:"hostname"`
	OS       string    `json:"os"`
	Platform string    `json:"platform"`
	Kernel   string    `json:"kernel"`
	UptimeS  uint64    `json:"uptime_s"`
	Boot     time.Time `json:"boot"`
}

// meter reads the machine. It keeps the last counters, because rates are differences. A kind of figure that this machine
// doesn't give is left out.
type meter struct {
	at                time.Time
	diskRead, diskOut counter
	netIn, netOut     counter
	host              *hostFigures
	hostSaid          hostFigures
}

func (m *meter) read(ctx context.Context) []figure {
	now := time.Now()
	seconds := now.Sub(m.at).Seconds()
	m.at = now
	var figures []figure
	figures = add(figures, "cpu", readCPU(ctx))
	figures = add(figures, "memory", readMemory(ctx))
	figures = add(figures, "load", readLoad(ctx))
	figures = add(figures, "disk", m.readDisk(ctx, seconds))
	figures = add(figures, "network", m.readNetwork(ctx, seconds))
	return add(figures, "host", m.readHost(ctx))
}

// add leaves out what could not be read.
func add[T any](figures []figure, key string, value *T) []figure {
	if value == nil {
		return figures
	}
	return append(figures, figure{key, value})
}

func readCPU(ctx context.Context) *cpuFigures {
	cores, err := cpu.PercentWithContext(ctx, 0, true) // since the last call
	if err != nil || len(cores) == 0 {
		return nil
	}
	f := &cpuFigures{Cores: make([]float64, len(cores)), Count: len(cores)}
	for i, c := range cores {
		f.Percent += c / float64(len(cores))
		f.Cores[i] = tenths(c)
	}
	f.Percent = tenths(f.Percent)
	return f
}

func readMemory(ctx context.Context) *memoryFigures {
	v, err := mem.VirtualMemoryWithContext(ctx)
	if err != nil {
		return nil
	}
	return &memoryFigures{Used: v.Used, Total: v.Total, Percent: tenths(v.UsedPercent)}
}

func readLoad(ctx context.Context) *loadFigures {
	v, err := load.AvgWithContext(ctx)
	if err != nil {
		return nil
	}
	return &loadFigures{Load1: v.Load1, Load5: v.Load5, Load15: v.Load15}
}

func (m *meter) readDisk(ctx context.Context, seconds float64) *diskFigures {
	root := filepath.VolumeName(os.TempDir()) + string(filepath.Separator)
	v, err := disk.UsageWithContext(ctx, root)
	if err != nil {
		return nil
	}
	f := &diskFigures{Path: root, Used: v.Used, Total: v.Total, Percent: tenths(v.UsedPercent)}
	if counters, err := disk.IOCountersWithContext(ctx); err == nil {
		var read, written uint64
		for _, c := range counters {
			read += c.ReadBytes
			written += c.WriteBytes
		}
		f.ReadBps, f.WriteBps = m.diskRead.rate(read, seconds), m.diskOut.rate(written, seconds)
	}
	return f
}

func (m *meter) readNetwork(ctx context.Context, seconds float64) *networkFigures {
	counters, err := net.IOCountersWithContext(ctx, false)
	if err != nil || len(counters) == 0 {
		return nil
	}
	return &networkFigures{
		RecvBps: m.netIn.rate(counters[0].BytesRecv, seconds),
		SentBps: m.netOut.rate(counters[0].BytesSent, seconds),
	}
}

// readHost gives what changes slowly once a minute, when the uptime does: an item that says nothing new is not written.
func (m *meter) readHost(ctx context.Context) *hostFigures {
	if m.host == nil {
		v, err := host.InfoWithContext(ctx)
		if err != nil {
			return nil
		}
		m.host = &hostFigures{
			Hostname: v.Hostname, OS: v.OS, Platform: v.Platform + " " + v.PlatformVersion, Kernel: v.KernelVersion,
			Boot: time.Unix(int64(v.BootTime), 0).UTC(),
		}
	}
	now := *m.host
	now.UptimeS = uint64(time.Since(now.Boot).Truncate(time.Minute).Seconds())
	if now == m.hostSaid {
		return nil
	}
	m.hostSaid = now
	return &now
}

// unsaid makes the next reading whole: nobody has been told what the last one said.
func (m *meter) unsaid() { m.hostSaid = hostFigures{} }

// counter turns a count that only grows into a rate.
type counter struct {
	last uint64
	seen bool
}

func (c *counter) rate(now uint64, seconds float64) float64 {
	defer func() { c.last, c.seen = now, true }()
	if !c.seen || now < c.last || seconds <= 0 { // a device went away, say
		return 0
	}
	return math.Round(float64(now-c.last) / seconds)
}

func tenths(x float64) float64 { return math.Round(x*10) / 10 }
