// Package doorbell is the Go client of Doorbell: feeds of items that are written and read over REST, and followed
// by tiny signals over a WebSocket.
//
// A signal says only "this feed is now at that cursor". [Client.Follow] hears it and pulls what is missing, so the
// flow of one change is: signal, one GET of the delta from where the follower is, one [Event] per changed item.
// When there is no WebSocket to be had, or the gateway says that it can't be relied on, Follow polls; the cursor is
// the same, so only the latency differs.
//
//	client, err := doorbell.New("http://127.0.0.1:8080", doorbell.WithKey(key))
//	...
//	for event, err := range client.Follow(ctx, "prices:BTC-KRW", doorbell.FollowOptions{}) {
//		if err != nil {
//			return err
//		}
//		state.Apply(event)
//	}
//
// Cursors are opaque: store them, hand them back, compare them with [CompareCursors], and nothing else.
package doorbell
