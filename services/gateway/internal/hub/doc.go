// Package hub connects feeds with the clients that follow them, whatever the transport.
//
//	bus ── Signal(feed, head) ──▶ Hub ── mark dirty ──▶ Client ── Next ──▶ transport ──▶ the wire
//	                               ▲                      ▲
//	     Follow/Unfollow, batched ─┘                      └── Subscribe, Unsubscribe, Answer ── commands
//
// A head is a level, not an event: a [Client] holds at most one pending head per feed, the newest, and nothing else
// grows while a transport is slow. How an [Event] is written, and when, is the transport's business.
//
// # The bus
//
// Each feed that anybody follows is one entry with a phase; it is in one phase at a time, and a call to the bus is
// under way for it only in the phases following and unfollowing. So Follow and Unfollow of one feed never race, and a
// slow call delays nobody but those who wait for its feeds:
//
//	          Follow starts          returns
//	wanted ────────────────▶ following ────▶ live ──── nobody left, lingered ────▶ leaving
//	   ▲                         │ fails       ▲                                      │ Unfollow starts
//	   └──── after a pause ── retrying         └──────────── wanted again ────────────┤
//	   └───────────────── wanted again, once it has returned ──────────────── unfollowing
//
// # Locks
//
// Hub.mu before Client.mu; neither is held while the bus is called, and a transport's wake function, which is called
// with both held, neither blocks nor calls back.
//
// # Panics
//
// A panic while a client is written to ends that client's connection. One in the hub's own books ends the process, on purpose:
// they are shared by all, and a hub that went on with a row or a phase half changed could leave out a client that has been told
// `subscribed`, for ever and without anybody noticing. Clients of a process that has ended reconnect and read all heads, which
// is what they do each time a node goes.
package hub
