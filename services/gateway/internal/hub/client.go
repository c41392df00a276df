package hub

import (
	"sync"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/services/gateway/internal/shard"
)

// Outlet is how a client is written to. One party at a time owns its write side, and only that one calls Next.
type Outlet interface {
	// Wake says that Next has something new to say. It is called with locks held: it neither blocks nor calls back.
	Wake()
	// Claim takes the write side and tells whether it could; whoever has it then asks Next if Wake is called, too. Send
	// or Release must follow, without any lock.
	Claim() bool
	// Send writes a frame that a Form has made, and releases; it neither blocks nor keeps the frame.
	Send(frame []byte)
	// Release gives the write side back.
	Release()
	// Fail keeps the write side for good, and ends the connection without a word: nobody knows what of a frame was written.
	Fail(err error)
	// Shard is whose goroutine calls Claim.
	Shard() *shard.Shard
}

// Form is what signals look like on one kind of connection, from the encoding to the transport's framing. There is one per
// kind, and clients of one form share their frames.
type Form interface {
	// AppendSignal appends a whole frame that tells of one feed, and gives it.
	AppendSignal(b []byte, h FeedHead) []byte
}

// Client is one connection as the hub sees it: what it follows, and what it is still to be told.
//
// Commands (Subscribe, Unsubscribe, Answer, WaitRoom, Feeds) come from one goroutine at a time; so does Next; Close from any.
type Client struct {
	// Static.
	hub  *Hub
	out  Outlet
	form Form

	// Guarded by Hub.mu.
	follows []*follow
	byName  map[feed.Name]*follow // the same; nil while they are few
	at      int32                 // in Hub.clients; -1: not any more

	// Guarded by mu, which stands here for the sake of the size: there are many of these.
	mu      sync.Mutex
	closed  bool
	turn    bool     // whose turn it is when there are both answers and heads: the heads'
	alive   bool     // whether the bus is
	told    bool     // what the client has been told of that
	pending *pending // nil: nothing
}

// follow is one client's interest in one feed.
type follow struct {
	// Static.
	client *Client
	entry  *entry

	// Guarded by Hub.mu.
	at     int32 // in the row of the entry's crowd
	mine   int32 // in Client.follows
	queued bool  // in its shard's queue

	// Guarded by Client.mu.
	announced bool     // the client has been told that it is subscribed
	dirty     bool     // in pending.dirty
	gone      bool     // no longer in Client.follows
	told      bus.Head // what the client was told last
}

// pending is what a client is still to be told. All of it is guarded by Client.mu.
type pending struct {
	room     sync.Cond // answers has shrunk, or Client.closed is set
	answers  []*answer // in the order of the commands
	weight   int       // of answers
	dirty    []*follow // those with a head to tell, in the order in which they became so; unfollowed ones are skipped
	nextHead int       // dirty[:nextHead] is done with
	backlog  int       // how many of dirty are to be told before it is told that the bus is back
}

// answer is what a command is to be answered with. Static but for waiting, which Client.mu guards.
type answer struct {
	client  *Client
	tag     any
	follows []*follow // of a subscribe, in the order of its names
	urgent  bool
	weight  int
	waiting int // feeds that are not live yet
}

// MaxWeight is how much of unsent answers a client holds before [Client.WaitRoom] waits: an answer weighs 1,
// and 1 more for each feed in it.
const MaxWeight = 2000

// NewClient adds a client that follows nothing. form may be nil if out is never claimed.
func (h *Hub) NewClient(out Outlet, form Form) (*Client, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, ErrClosed
	}
	c := &Client{hub: h, out: out, form: form, at: int32(len(h.clients)), alive: h.alive, told: true}
	h.clients = append(h.clients, c)
	return c, nil
}

// few is how many feeds a client has without a map of them.
const few = 8

func (c *Client) followLocked(name feed.Name) *follow {
	if c.byName != nil {
		return c.byName[name]
	}
	for _, f := range c.follows {
		if f.entry.name == name {
			return f
		}
	}
	return nil
}

func (c *Client) addLocked(f *follow) {
	f.mine = int32(len(c.follows))
	c.hub.follows++
	c.follows = append(c.follows, f)
	if c.byName == nil && len(c.follows) > few {
		c.byName = make(map[feed.Name]*follow, 2*few)
		for _, f := range c.follows {
			c.byName[f.entry.name] = f
		}
	}
	if c.byName != nil {
		c.byName[f.entry.name] = f
	}
}

func (c *Client) removeLocked(f *follow) {
	c.hub.follows--
	last := len(c.follows) - 1
	moved := c.follows[last]
	c.follows[f.mine], moved.mine = moved, f.mine
	c.follows[last] = nil
	if c.follows = c.follows[:last]; last == 0 {
		c.follows, c.byName = nil, nil
		return
	}
	delete(c.byName, f.entry.name)
}

// Subscribe follows the feeds (each named once), and answers with tag and their heads once the bus subscription of all
// of them is live, or the bus has refused; feeds that are followed already are answered as well. On an error
// (ErrTooManyFeeds, ErrClosed) nothing has changed and there is no answer.
func (c *Client) Subscribe(feeds []feed.Name, tag any, weight int) error {
	h := c.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || c.at < 0 {
		return ErrClosed
	}
	fresh := 0
	for _, name := range feeds {
		if c.followLocked(name) == nil {
			fresh++
		}
	}
	if len(c.follows)+fresh > h.opt.MaxFeeds {
		return ErrTooManyFeeds
	}
	a := &answer{client: c, tag: tag, follows: make([]*follow, len(feeds)), weight: weight + len(feeds)}
	for i, name := range feeds {
		f := c.followLocked(name)
		if f == nil {
			f = &follow{client: c}
			f.entry = h.attachLocked(name, f)
			c.addLocked(f)
		}
		a.follows[i] = f
		// While the bus is lost there is nothing to wait for.
		if e := f.entry; h.alive && !e.listening() && e.phase != retrying {
			h.waiters[e] = append(h.waiters[e], a)
			a.waiting++
		}
	}
	c.push(a)
	h.dispatchLocked()
	return nil
}

// Unsubscribe stops following, and gives those that were followed. Heads that are pending are not told any more.
func (c *Client) Unsubscribe(feeds []feed.Name) (left []feed.Name) {
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	for _, name := range feeds {
		if f := c.followLocked(name); f != nil {
			c.dropLocked(f)
			left = append(left, name)
		}
	}
	return left
}

func (c *Client) dropLocked(f *follow) {
	c.removeLocked(f)
	c.mu.Lock()
	f.gone = true
	c.mu.Unlock()
	c.hub.detachLocked(f)
}

// Feeds lists what the client follows, in no order.
func (c *Client) Feeds() []feed.Name {
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	names := make([]feed.Name, 0, len(c.follows))
	for _, f := range c.follows {
		names = append(names, f.entry.name)
	}
	return names
}

// Close forgets the client and frees whoever waits in WaitRoom. Next has nothing more to say. Closing twice is fine.
func (c *Client) Close() {
	h := c.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.at < 0 {
		return
	}
	last := len(h.clients) - 1
	moved := h.clients[last]
	h.clients[c.at], moved.at, c.at = moved, c.at, -1
	h.clients[last] = nil
	h.clients = h.clients[:last]
	for len(c.follows) > 0 {
		c.dropLocked(c.follows[len(c.follows)-1])
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.pending != nil {
		c.pending.room.Broadcast()
		c.pending = nil
	}
}
