// Package sse carries a dialogue one way, as server-sent events in the answer to one request. What the events say is the
// [Dialogue]'s business.
//
//	Dialogue.Next ─▶ event ─▶ outlet ─▶ socket                    HTTP/1.1: the connection is taken over
//	                      └─▶ http.ResponseWriter ─▶ stream       HTTP/2, where it is shared
//
// An idle HTTP/1.1 connection is one goroutine with a shallow stack, which waits for the peer to leave; the answer's length is
// not told and its end is the connection's, so that events are the socket's bytes and crowds share them. In HTTP/2 it is the
// handler's goroutine, which writes as well.
//
// Until the dialogue has begun the answer's status is open: a reason to end it by then becomes a problem. After that the client
// is told by an event, close. A comment goes out every [Options.CommentEvery]; a peer that accepts no byte, or has vanished
// with bytes under way to it, is dropped after the outlet's stall.
//
// Lock order: the hub's locks, Conn.mu, then those of the wheel, the outlet, the stream and the shard.
package sse
