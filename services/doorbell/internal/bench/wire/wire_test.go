package wire_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/wire"
)

// server makes a server's frame: without a mask.
func server(opcode byte, payload string) []byte {
	b := wire.AppendFrame(nil, opcode, []byte(payload))
	head := len(b) - len(payload)
	b[1] &= 0x7f
	return append(b[:head-4], b[head:]...)
}

func TestFramesOfAnyLengthAndInAnyPieces(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 65535, 65536, 200_000} {
		text := strings.Repeat("x", size)
		whole := append(server(wire.Text, text), server(wire.Ping, "p")...)
		first := len(whole) - len(server(wire.Ping, "p"))
		for _, cut := range []int{0, 1, 2, 3, 5, 9, first - 1} {
			if cut >= first {
				continue
			}
			if _, _, n, err := wire.NextFrame(whole[:cut]); n != 0 || err != nil {
				t.Fatalf("%d of %d bytes make a frame of %d, %v", cut, first, n, err)
			}
		}
		opcode, payload, n, err := wire.NextFrame(whole)
		if opcode != wire.Text || string(payload) != text || n != first || err != nil {
			t.Fatalf("size %d: opcode %d, %d bytes of %d, %v", size, opcode, len(payload), n, err)
		}
	}
	for name, b := range map[string][]byte{
		"masked": {0x81, 0x80}, "a fragment": {0x01, 0x01}, "huge": {0x81, 127, 0, 0, 0, 1, 0, 0, 0, 0},
	} {
		if _, _, _, err := wire.NextFrame(b); !errors.Is(err, wire.ErrFrame) {
			t.Errorf("%s: %v; want that it is no frame", name, err)
		}
	}
	if got := wire.CloseCode([]byte{0x03, 0xf4}); got != 1012 {
		t.Errorf("the close code is %d; want 1012", got)
	}
}

func TestCursors(t *testing.T) {
	for text, want := range map[string]wire.Cursor{
		"":                {},
		"0k3f9xa-1042":    {Epoch: 0xDEAD, Seq: 1042},
		"0k3f9xa-1042~77": {Epoch: 0xDEAD, Seq: 1042},
	} {
		got, ok := wire.ParseCursor([]byte(text))
		if !ok || got.Seq != want.Seq {
			t.Errorf("%q is %+v, %t", text, got, ok)
		}
		if full, _, _ := strings.Cut(text, "~"); got.String() != full {
			t.Errorf("%q became %q", text, got)
		}
	}
	for _, text := range []string{"x", "-1", "0k3f9xa-", "0K3f9xa-1", "0k3f9xa-x", "0k3f9xa-1234567890123456789"} {
		if got, ok := wire.ParseCursor([]byte(text)); ok {
			t.Errorf("%q is read as %s", text, got)
		}
	}
	older, newer := wire.Cursor{Epoch: 1, Seq: 9}, wire.Cursor{Epoch: 2, Seq: 0}
	if !newer.Covers(older) || older.Covers(newer) || !older.Covers(older) {
		t.Error("epochs count before seqs")
	}
}

func TestMessages(t *testing.T) {
	head := wire.Cursor{Seq: 1044}
	head.Epoch = func() uint64 { c, _ := wire.ParseCursor([]byte("0k3f9xa-1")); return c.Epoch }()
	for text, want := range map[string]wire.Message{
		`{"changed":{"prices:BTC-KRW":"0k3f9xa-1044"}}`:              {Kind: wire.Changed, Head: head, Known: true},
		`{"changed":{"prices:BTC-KRW":"0k3f9xa-1044"},"spread":800}`: {Kind: wire.Changed, Head: head, Known: true, Spread: 800},
		`{"changed":{"prices:BTC-KRW":null}}`:                        {Kind: wire.Changed},
		`{"id":1,"subscribed":{"prices:BTC-KRW":"0k3f9xa-1044"}}`:    {Kind: wire.Subscribed, Head: head, Known: true},
		`{"subscribed":{"prices:BTC-KRW":""}}`:                       {Kind: wire.Subscribed, Known: true},
		`{"subscribed":{"prices:BTC-KRW":null}}`:                     {Kind: wire.Subscribed},
		`{"id":1,"subscribed":{},"denied":{"inbox:8":"forbidden"}}`:  {Kind: wire.Refused},
		`{"error":{"code":"bad_command","detail":"…"}}`:              {Kind: wire.Refused},
		`{"goaway":{"reason":"drain","in_ms":5000}}`:                 {Kind: wire.GoAway, InMillis: 5000},
		`{"degraded":true}`:                                          {Kind: wire.Degraded},
		`{"degraded":false}`:                                         {},
		`{"hello":{"session":"s-81f2","ping_ms":25000}}`:             {},
		`{"changed":{`:                  {Kind: wire.Changed},
		`{"changed":{"a`:                {Kind: wire.Changed},
		`{"changed":{"a":"0k3f9xa-1044`: {Kind: wire.Changed},
	} {
		if got := wire.ParseMessage([]byte(text)); got != want {
			t.Errorf("%s\nis read as %+v\nwant %+v", text, got, want)
		}
	}
}

func TestHeadOfOneAmongSeveral(t *testing.T) {
	text := []byte(`{"changed":{"a:b":"0k3f9xa-1","a:bc":"0k3f9xa-2","c":null}}`)
	for feed, want := range map[string]int64{"a:b": 1, "a:bc": 2, "bc": 0, "c": 0} {
		if got, ok := wire.HeadOf(text, feed); got.Seq != want || ok != (want > 0) {
			t.Errorf("of %s it says %s, %t", feed, got, ok)
		}
	}
}

func TestAnswersInAnyPieces(t *testing.T) {
	for name, c := range map[string]struct{ text, body string }{
		"a length": {"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nDoorbell-Cursor: 0k3f9xa-1\r\n\r\nhello", "hello"},
		"chunks": {
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nDoorbell-Cursor: 0k3f9xa-1\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", "hello",
		},
		"none": {"HTTP/1.1 304 Not Modified\r\nDoorbell-Cursor: 0k3f9xa-1\r\n\r\n", ""},
	} {
		for cut := range len(c.text) {
			if _, _, n, err := wire.NextAnswer([]byte(c.text[:cut])); n != 0 || err != nil {
				t.Fatalf("%s: %q makes an answer of %d bytes, %v", name, c.text[:cut], n, err)
			}
		}
		head, body, n, err := wire.NextAnswer([]byte(c.text + "HTTP/1.1 200 OK\r\n"))
		if string(body) != c.body || n != len(c.text) || err != nil {
			t.Errorf("%s: the body is %q of %d bytes, %v", name, body, n, err)
		}
		if got := head.Get("doorbell-cursor"); string(got) != "0k3f9xa-1" {
			t.Errorf("%s: the field is %q", name, got)
		}
	}
	for _, text := range []string{
		"HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.1 2x0 OK\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	} {
		if _, _, n, err := wire.NextAnswer([]byte(text)); !errors.Is(err, wire.ErrAnswer) {
			t.Errorf("%q: %d, %v; want that it is malformed", text, n, err)
		}
	}
}

func TestEventsInAnyChunksAndPieces(t *testing.T) {
	stream := "event: hello\ndata: {\"hello\":1}\n\n: ping\n\nevent: changed\r\ndata:{\"changed\":2}\r\n\r\n"
	want := "[{\"hello\":1} {\"changed\":2}]"
	for _, size := range []int{1, 2, 7, 100} {
		var body []byte
		for rest := []byte(stream); len(rest) > 0; {
			n := min(size, len(rest))
			body = append(body, fmt.Sprintf("%x\r\n%s\r\n", n, rest[:n])...)
			rest = rest[n:]
		}
		for _, piece := range []int{1, 3, 1000} {
			var c wire.Chunks
			var left, text []byte
			var got []string
			for rest := body; len(rest) > 0; {
				n := min(piece, len(rest))
				left = append(left, rest[:n]...)
				rest = rest[n:]
				used, _, err := c.Next(left, func(part []byte) { text = append(text, part...) })
				if err != nil {
					t.Fatal(err)
				}
				left = left[used:]
				for {
					data, n := wire.NextLine(text)
					if n == 0 {
						break
					}
					if data != nil {
						got = append(got, string(data))
					}
					text = text[n:]
				}
			}
			if fmt.Sprint(got) != want {
				t.Errorf("chunks of %d in pieces of %d: %v; want %s", size, piece, got, want)
			}
		}
	}
}

func TestWhatIsReadOftenAllocatesNothing(t *testing.T) {
	frame := server(wire.Text, `{"changed":{"prices:BTC-KRW":"0k3f9xa-1044"}}`)
	if n := testing.AllocsPerRun(100, func() {
		_, payload, _, _ := wire.NextFrame(frame)
		if !wire.ParseMessage(payload).Known {
			t.Error("not read")
		}
	}); n != 0 {
		t.Errorf("%.0f allocations for a signal", n)
	}
}

func FuzzFromAServer(f *testing.F) {
	f.Add(server(wire.Text, `{"changed":{"a":"0k3f9xa-1"}}`))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"))
	f.Add([]byte("data: x\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, payload, n, err := wire.NextFrame(b); err == nil && n > 0 {
			wire.ParseMessage(payload)
			if n > len(b) || len(payload) > n {
				t.Errorf("a frame of %d bytes of %d", n, len(b))
			}
		}
		if _, body, n, err := wire.NextAnswer(b); err == nil && n > 0 && (n > len(b) || len(body) > n) {
			t.Errorf("an answer of %d bytes of %d", n, len(b))
		}
		if data, n := wire.NextLine(b); n > len(b) || !bytes.Contains(b, data) {
			t.Errorf("a line of %d bytes of %d", n, len(b))
		}
		wire.ParseMessage(b)
	})
}
