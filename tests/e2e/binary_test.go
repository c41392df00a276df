package e2e

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// protoField is a field of Protocol Buffers as it stands on the wire; text is what has a length.
type protoField struct {
	number, value uint64
	text          string
}

// protoFields reads a message by hand, so that what is tested is the wire and not a library.
func protoFields(t *testing.T, b []byte) []protoField {
	t.Helper()
	var all []protoField
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		value, m := binary.Uvarint(b[n:])
		if n <= 0 || m <= 0 {
			t.Fatalf("malformed: %x", b)
		}
		b = b[n+m:]
		f := protoField{number: tag >> 3, value: value}
		if tag&7 == 2 {
			f.text, b = string(b[:value]), b[value:]
		}
		all = append(all, f)
	}
	return all
}

// TestBinarySubprotocol: the same bell in a few bytes.
func TestBinarySubprotocol(t *testing.T) {
	server, head := fed(t)
	conn := dialTCP(t, server.Addr())
	s := &rawSocket{t, conn, bufio.NewReader(conn)}
	s.write([]byte(strings.Replace(handshake, "\r\n\r\n", "\r\nSec-WebSocket-Protocol: doorbell.v1.proto\r\n\r\n", 1)))
	res, err := http.ReadResponse(s.r, nil)
	if err != nil || res.Header.Get("Sec-WebSocket-Protocol") != "doorbell.v1.proto" {
		t.Fatalf("the handshake: %v, %v", res, err)
	}
	next := func() []byte {
		t.Helper()
		op, payload, err := s.read()
		if err != nil || op != opBinary {
			t.Fatalf("frame %d %q, %v", op, payload, err)
		}
		return payload
	}
	next() // hello
	// ClientMessage{id: 7, subscribe: {feeds: {"demo:mine": ""}}}
	s.write(frame(0x80|opBinary, "\x08\x07\x12\x0d\x0a\x0b\x0a\x09demo:mine"))
	var number uint64
	for _, f := range protoFields(t, next()) {
		switch f.number {
		case 4:
			if f.value != 7 {
				t.Errorf("the answer is to %d", f.value)
			}
		case 6:
			first := protoFields(t, []byte(protoFields(t, []byte(f.text))[0].text))
			if len(first) != 3 || first[0].text != "demo:mine" || first[2].text != head {
				t.Fatalf("subscribed: %+v", first)
			}
			number = first[1].value
		}
	}
	for n := range 5 {
		written, err := server.Client().Put(t.Context(), "demo:mine", "one", put("", n).Value)
		if err != nil {
			t.Fatal(err)
		}
		payload := next()
		f := protoFields(t, payload)
		if len(f) != 2 || f[0].number != 1 || f[0].value != number || f[1].number != 2 || len(payload) > 14 {
			t.Fatalf("the signal is %x", payload)
		}
		if epoch, _, _ := strings.Cut(head, "-"); fmt.Sprintf("%s-%d", epoch, f[1].value) != written.Cursor {
			t.Errorf("heard of seq %d; written: %s", f[1].value, written.Cursor)
		}
	}
	s.write(frame(0x80|opText, `{"ping":1}`)) // the wrong kind of frame
	if f := protoFields(t, next()); f[0].number != 12 || !strings.Contains(f[0].text, "allowed: binary") {
		t.Errorf("text is answered with %+v", f)
	}
}
