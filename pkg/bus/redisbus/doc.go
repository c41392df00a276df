// Package redisbus is the bus that several processes share, on Redis.
//
//	Publish ─▶ queue ─▶ pipeline of scripts: head set if newer; published if newer or equal ─▶ Redis
//	                                      └▶ with a signal interval: owed until its next multiple ─▶ debts
//	Redis ─▶ lines (a few pub/sub connections, feeds hashed onto them) ─▶ delivery.Box ─▶ Follower
//	Follow ─▶ line: SUBSCRIBE, many at once ─▶ all confirmed ─▶ heads read, many at once ─▶ answer
//
// Keys and channels, where {feed} is the feed's name in literal braces (so that all that concerns one feed has one
// slot in a Redis Cluster):
//
//	doorbell:head:{feed}     string   the head's cursor, at most 35 bytes; "-": no such feed. Expires after 7 days without
//	                                  being set, "-" after 10 minutes
//	doorbell:due:{feed}      string   Unix milliseconds at which a signal is owed; gone when it has been sent
//	doorbell:signal:{feed}   channel  a head, as above
//	doorbell:wanted          channel  a question for heads: "<id> <channel to answer on> <feed> …", 1 to 1,000 feeds
//	doorbell:claim:{id}      string   a question that somebody answers; expires after 10 s
//	doorbell:node:{id}       channel  of one pub/sub connection alone: "pulse <when>", "done <id of a question>"
//	doorbell:mark            hash     see bus.Memory
//	doorbell:probe           string   empty; set to see whether keys can be. Expires after a minute
//	doorbell:said            channel  "<topic> <message>", what nodes broadcast; all of them hear it on their first line
//	doorbell:kept:{set}      zset     entries of bus.Keeper by their end in Unix milliseconds
//
// # Why nothing is missed
//
// A line gives each Follow a SUBSCRIBE of its own, also for channels that it has already: the confirmation is a fence
// in the stream, and only what comes behind it is delivered to that Follow. Heads are read after it. A connection has
// one life: go-redis would reconnect behind our back, so the dialer refuses it a second connection, any error ends the
// life, and the next one subscribes to everything again and reads all heads after that (signalling those that have
// moved) before the line counts as synced.
//
// A pub/sub connection on which nothing comes is asked for a sign by a message to its own channel, through the
// connections that publish: so a connection that is silently dead, or leads to another server than the publishers', is
// found out and replaced. A server that takes no keys (it is full, or a replica) counts as away: heads would stay behind
// without anybody knowing. The bus is alive while every line is synced, or was until a few seconds ago.
//
// # Locks
//
// Bus.mu guards everything in memory but what is named here; no I/O and no call to a Follower or Answerer happens under it.
// The locks of queue, debts, life and delivery.Topics are leaves: they may be taken under Bus.mu, and nothing is taken under them.
// PubSub has a lock of its own, under which it writes: it is never called with any of ours.
package redisbus
