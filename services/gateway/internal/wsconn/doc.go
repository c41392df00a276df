// Package wsconn carries a dialogue over one WebSocket: frames in and out, pings, deadlines, the close handshake. What
// the frames say is the [Dialogue]'s business.
//
//	reader: socket ─▶ head of a message ─▶ receiver: message of at most MaxFrame ─▶ Dialogue.Receive ─▶ reader
//	writer: Dialogue.Next ─▶ one frame ─▶ outlet ─▶ socket
//
// An idle connection is one goroutine with a shallow stack, which waits for the head of a message. For the rest of it, and for
// the dialogue, which waits while the peer is not to be read from, another goroutine takes over and begins a fresh reader
// after that; so the stack that commands need is not kept. Writing is the [outlet.Outlet]'s: there is no writer.
//
// A peer owes signs of life and is dropped when one is late: a pong or any other whole frame within [Options.PongWait] of a
// ping, and the rest of a message within [Options.MessageWait] of its beginning. It owes nothing on writing but progress.
// All of a connection's times are on one timer of the wheel. The first reason to close, whoever gives it, ends that: from then
// on the socket has [Options.CloseWait] left, for the close handshake.
//
// Lock order: the hub's locks, Conn.mu, then those of the wheel, the outlet and the shard.
package wsconn
