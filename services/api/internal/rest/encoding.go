package rest

import (
	"bytes"
	"compress/gzip"
	"io"
	"strconv"
	"strings"
	"sync"

	kgzip "github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// encoding is a content encoding, the better the larger.
type encoding uint8

const (
	identity encoding = iota
	gzipped
	zstandard
	encodings
)

// worthCompressing is the smallest body, in bytes, that is.
const worthCompressing = 1 << 10

// encodingNames are the values of Content-Encoding.
var encodingNames = [encodings][]string{gzipped: {"gzip"}, zstandard: {"zstd"}}

// accepted is the best encoding that Accept-Encoding allows.
func accepted(values []string) encoding {
	best, most := identity, 0
	for _, value := range values {
		for one := range strings.SplitSeq(value, ",") {
			name, parameter, _ := strings.Cut(one, ";")
			var e encoding
			switch name = strings.TrimSpace(name); {
			case strings.EqualFold(name, "gzip"):
				e = gzipped
			case strings.EqualFold(name, "zstd"):
				e = zstandard
			default: // "*" too: who means one of ours says so
				continue
			}
			if q := quality(parameter); q > most || (q == most && e > best) {
				best, most = e, q
			}
		}
	}
	if most == 0 {
		return identity
	}
	return best
}

// quality reads "q=0.5" in thousandths; 1000 where there is none, 0 for what can't be read.
func quality(parameter string) int {
	parameter = strings.TrimSpace(parameter)
	if parameter == "" {
		return 1000
	}
	value, ok := strings.CutPrefix(strings.ToLower(parameter), "q=")
	q, err := strconv.ParseFloat(value, 64)
	if !ok || err != nil || !(q >= 0 && q <= 1) {
		return 0
	}
	return int(q * 1000)
}

// Encoders are kept: each has tables of some hundred kilobytes.
var (
	gzipWriters = sync.Pool{New: func() any {
		w, _ := kgzip.NewWriterLevel(io.Discard, gzip.DefaultCompression) // the level is valid
		return w
	}}
	zstdEncoder = sync.OnceValue(func() *zstd.Encoder {
		// 4 MiB and two at a time are enough for anything that is sent here.
		e, _ := zstd.NewWriter(nil, zstd.WithWindowSize(1<<20), zstd.WithEncoderConcurrency(2)) // the options are valid
		return e
	})
)

// compress gives the encoded body, or nil where that isn't smaller.
func compress(e encoding, body []byte) []byte {
	var out []byte
	switch e {
	case gzipped:
		var b bytes.Buffer
		w, _ := gzipWriters.Get().(*kgzip.Writer)
		w.Reset(&b)
		_, _ = w.Write(body) // a Buffer takes everything
		_ = w.Close()
		gzipWriters.Put(w)
		out = bytes.Clone(b.Bytes())
	case zstandard:
		out = bytes.Clone(zstdEncoder().EncodeAll(body, make([]byte, 0, len(body)/2)))
	default: // identity
	}
	if len(out) == 0 || len(out) >= len(body) {
		return nil
	}
	return out
}
