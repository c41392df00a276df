// Package outlet writes frames to one socket without ever making the caller wait.
//
//	Wake ─▶ shard ─▶ Source.Frame ─▶ write(2), once ─┬─ all of it ─▶ the next frame, until there is none
//	Claim, Send ─────────────────────▶               └─ full ─▶ a goroutine that waits for room, and then sends what is newest
//
// Exactly one party at a time owns the write side: the shard that runs the outlet, whoever has claimed it, or the goroutine
// that finishes a frame. Only the owner asks the [Source], and only it writes, so frames can't mix. Whoever finds the side
// taken leaves a mark, and the owner asks once more before it lets go. So there is never more under way than one frame per
// socket, and what comes while it is stuck is the source's to merge.
//
// Where a socket can't be tried (TLS), every frame goes the way of the full one, a few sockets at a time.
package outlet
