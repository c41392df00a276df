// Package crowd is many clients in one process: it holds connections to a gateway (or to whatever else rings), remembers the
// last cursor that each was told and when, and says so when asked.
//
// A crowd is driven by lines of JSON on standard input, one [Command] each, and answers each with a line, an [Answer], on
// standard output. It ends with its input. All of it happens in one thread (see the epoll package); package fleet starts
// such processes, because one has descriptors for so many connections only.
package crowd

import (
	"time"

	"github.com/doorbell-sync/doorbell/services/doorbell/internal/bench/wire"
)

// The transports that a crowd speaks.
const (
	WebSocket = "ws"
	Events    = "sse"
	// LongPoll is HTTP/1.1: GET, wait for the answer, GET again from its cursor.
	LongPoll = "poll"
)

// Spec says what the connections of a crowd are.
type Spec struct {
	// Targets are the servers, host:port with IPv4 addresses. A connection begins at one, in turn, and goes on to the next
	// each time that it reconnects.
	Targets []string
	// Together: all begin at the first of them.
	Together bool
	Conns    int
	// First is the number of the first connection: {n} in Feed is replaced by the connection's.
	First int
	Feed  string
	// Also are further feeds that each connection follows, by WebSocket; what is told of them is read and forgotten.
	Also []string `json:",omitzero"`
	// Transport is one of the above, over TLS (unverified: it is our own) if TLS is set.
	Transport string
	TLS       bool
	// Path is what is asked for: {feed} is replaced by the feed, {cursor} by the last cursor.
	Path string
	// From is the cursor that all begin with.
	From wire.Cursor `json:",omitzero"`
	// Subscribe: the server wants a command (WebSocket) and says `subscribed`. Otherwise the URL says it all.
	Subscribe bool
	// Source is the first of the Sources addresses that the connections come from, in turn; "": whatever the system takes.
	Source  string
	Sources int
	// Receive is the size of the receive buffers, in bytes; 0: the system's default.
	Receive int
	// Mute: nothing is read any more once a connection is subscribed, until the crowd is told to listen.
	Mute bool
	// Dialing is how many connections are being made at once.
	Dialing int
}

// The commands.
const (
	// Open makes the connections of Spec and is answered when all are subscribed, or Within is over.
	Open = "open"
	// Await is answered when every connection that listens has Cursor, or Within is over: with the moments at which each got
	// its last cursor, for those that have it.
	Await = "await"
	// Heads is answered with the last cursor of each connection.
	Heads = "heads"
	// Tell is answered with the Status alone, which every other answer has as well.
	Tell = "tell"
	// Listen makes muted connections read again.
	Listen = "listen"
	// Reconnect makes connections that are ended, or are told to go away, come back, as a client does.
	Reconnect = "reconnect"
	// Churn closes Rate connections a second, chosen at random, and makes others in their place; 0 ends it.
	Churn = "churn"
)

// Command is what a crowd is told to do.
type Command struct {
	Op     string
	Spec   *Spec         `json:",omitzero"`
	Cursor wire.Cursor   `json:",omitzero"`
	Within time.Duration `json:",omitzero"`
	Rate   int           `json:",omitzero"`
}

// Answer is what it says when that is done.
type Answer struct {
	// Error says that the command could not be carried out.
	Error string `json:",omitzero"`
	// Took is how long Open took.
	Took time.Duration `json:",omitzero"`
	// At are moments of epoll.Now.
	At []int64 `json:",omitzero"`
	// Missing is how many connections don't have what was awaited.
	Missing int           `json:",omitzero"`
	Heads   []wire.Cursor `json:",omitzero"`
	Status  Status
}

// Status is how a crowd is doing. Counts are since the crowd began.
type Status struct {
	Live   int // subscribed now
	Frames int
	Bytes  int // read, with headers and all
	// Closed counts the ends of connections that the crowd didn't want, by close code; 1006 is an end without one.
	Closed map[int]int `json:",omitzero"`
	// Busy counts handshakes that were answered 503: they are tried again.
	Busy int
	// Failed counts connections that were given up.
	Failed int
	// Unknown counts heads that the gateway didn't know at first.
	Unknown, Degraded, GoAways int
	// Window is the longest time that a goaway gave.
	Window time.Duration `json:",omitzero"`
	// Reconnects are the moments of epoll.Now at which connections began to come back.
	Reconnects []int64 `json:",omitzero"`
	// Problems are the first few things that went wrong, in words.
	Problems []string `json:",omitzero"`
}
