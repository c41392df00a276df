// Package wsconn carries a dialogue over one WebSocket: frames in and out, pings, deadlines, the close handshake. What
// the frames say is the [Dialogue]'s business.
//
//	reader: socket ─▶ message of at most MaxFrame ─▶ Dialogue.Receive     (waits there: the peer is not read from)
//	writer: Dialogue.Next ─▶ one frame ─▶ socket                          (waits there: nothing piles up behind it)
//
// The reader is the goroutine of [Conn.Serve]; the writer is another and the only one that writes. Both end when the
// first reason to close is given, whoever gives it; from then on the socket has [Options.CloseWait] left.
//
// A peer owes signs of life and is dropped when one is late, each by a deadline on reading: a pong or any other whole
// frame within [Options.PongWait] of a ping, and the rest of a message within [Options.MessageWait] of its beginning.
// It owes nothing on writing but progress, see [progressConn].
package wsconn
