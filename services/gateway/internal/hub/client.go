package hub

import (
	"sync"

	"github.com/doorbell-sync/doorbell/pkg/bus"
	"github.com/doorbell-sync/doorbell/pkg/feed"
)

// Client is one connection as the hub sees it: what it follows, and what it is still to be told.
//
// Commands (Subscribe, Unsubscribe, Answer, WaitRoom, Feeds) come from one goroutine; Next comes from one, which may be
// another; Close from any.
type Client struct {
	// Static.
	hub  *Hub
	wake func()

	// Guarded by Hub.mu.
	feeds    map[feed.Name]*follow
	detached bool

	// Guarded by mu.
	mu       sync.Mutex
	room     sync.Cond // answers has shrunk, or closed is set
	closed   bool
	answers  []*answer // in the order of the commands
	weight   int       // of answers
	dirty    []*follow // those with a head to tell, in the order in which they became so; unfollowed ones are skipped
	turn     bool      // whose turn it is when there are both answers and heads: the heads'
	alive    bool      // whether the bus is
	told     bool      // what the client has been told of that
	backlog  int       // how many of dirty are to be told before it is told that the bus is back
	nextHead int       // dirty[:nextHead] is done with
}

// follow is one client's interest in one feed.
type follow struct {
	// Static.
	client *Client
	entry  *entry

	// Guarded by Client.mu.
	head      bus.Head // the newest that may be told
	told      bus.Head // what the client was told last
	announced bool     // the client has been told that it is subscribed
	dirty     bool     // in Client.dirty
	gone      bool     // no longer in Client.feeds
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

// NewClient adds a client that follows nothing. wake is called when Next has something new to say; it must neither
// block nor call the hub.
func (h *Hub) NewClient(wake func()) (*Client, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, ErrClosed
	}
	c := &Client{hub: h, wake: wake, feeds: make(map[feed.Name]*follow), alive: h.alive, told: true}
	c.room.L = &c.mu
	h.clients[c] = struct{}{}
	return c, nil
}

// Subscribe follows the feeds (each named once), and answers with tag and their heads once the bus subscription of all
// of them is live, or the bus has refused; feeds that are followed already are answered as well. On an error
// (ErrTooManyFeeds, ErrClosed) nothing has changed and there is no answer.
func (c *Client) Subscribe(feeds []feed.Name, tag any, weight int) error {
	h := c.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || c.detached {
		return ErrClosed
	}
	fresh := 0
	for _, name := range feeds {
		if c.feeds[name] == nil {
			fresh++
		}
	}
	if len(c.feeds)+fresh > h.opt.MaxFeeds {
		return ErrTooManyFeeds
	}
	a := &answer{client: c, tag: tag, follows: make([]*follow, len(feeds)), weight: weight + len(feeds)}
	for i, name := range feeds {
		f := c.feeds[name]
		if f == nil {
			f = &follow{client: c}
			f.entry = h.attachLocked(name, f)
			if f.entry.listening() {
				f.head = f.entry.head
			}
			c.feeds[name] = f
		}
		a.follows[i] = f
		// While the bus is lost there is nothing to wait for.
		if e := f.entry; h.alive && !e.listening() && e.phase != retrying {
			e.waiters = append(e.waiters, a)
			a.waiting++
		}
	}
	c.push(a)
	h.dispatchLocked()
	return nil
}

// Unsubscribe stops following; what is not followed is ignored. Heads that are pending are not told any more.
func (c *Client) Unsubscribe(feeds []feed.Name) {
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	for _, name := range feeds {
		if f := c.feeds[name]; f != nil {
			c.dropLocked(name, f)
		}
	}
}

func (c *Client) dropLocked(name feed.Name, f *follow) {
	delete(c.feeds, name)
	c.mu.Lock()
	f.gone = true
	c.mu.Unlock()
	c.hub.detachLocked(f)
}

// Feeds lists what the client follows, in no order.
func (c *Client) Feeds() []feed.Name {
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	names := make([]feed.Name, 0, len(c.feeds))
	for name := range c.feeds {
		names = append(names, name)
	}
	return names
}

// Close forgets the client and frees whoever waits in WaitRoom. Next has nothing more to say. Closing twice is fine.
func (c *Client) Close() {
	h := c.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.detached {
		return
	}
	c.detached = true
	delete(h.clients, c)
	for name, f := range c.feeds {
		c.dropLocked(name, f)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.answers, c.dirty, c.nextHead = nil, nil, 0
	c.room.Broadcast()
}
