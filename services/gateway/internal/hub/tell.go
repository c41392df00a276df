package hub

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// errPanic is why a client's outlet is given up.
var errPanic = errors.New("a panic while it was written to")

// tell offers a head to each. A panic on the way, in making a frame or in writing it, costs that client its connection and
// nobody else anything.
func (h *Hub) tell(some []*follow, news *prepared) {
	for len(some) > 0 {
		some = some[h.tellUntil(some, news):]
	}
}

// tellUntil is tell up to a panic; it gives how many are done with. Whose write side is held has nothing of the hub's open: what
// was touched is the client's own, and goes with it. Any other panic isn't caught, see the package's words on that.
func (h *Hub) tellUntil(some []*follow, news *prepared) (done int) {
	defer func() {
		if news.writing == nil {
			return
		}
		p := recover()
		h.opt.Logger.Error("panic while a client was told of a feed",
			"panic", fmt.Sprint(p), "feed", string(news.head.Feed), "stack", string(debug.Stack()))
		if h.opt.Panicked != nil {
			h.opt.Panicked()
		}
		news.writing.out.Fail(errPanic)
		news.writing = nil
		done++
	}()
	for ; done < len(some); done++ {
		some[done].client.offer(some[done], news)
	}
	return done
}
