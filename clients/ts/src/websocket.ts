// Signals over WebSocket.

import { asError, silent } from './errors.js'
import { takeFrame, whyClosed, type Line, type Open } from './line.js'
import { createAlarm, createBackoff } from './pace.js'

/** So many feeds fit one frame of 64 KiB, however long their names are. */
const feedsPerCommand = 300
/** In ms; the ladder gives up sooner while it is looking for a way. */
const openWithin = 10_000
/** How long an answer to a ping may take, in ms; and when there is reason for doubt. */
const pongWithin = 10_000
const pongSoon = 1_500
/** What a subprotocol may consist of; a token that doesn't fit travels in a command. */
const subprotocol = /^[\w.~+!#$%&'*^`|-]+$/

export const openWebSocket: Open = (http, sink, events) => {
  let socket: WebSocket | undefined
  let closed = false
  let quiet = 25_000 // how long the gateway says nothing at most, in ms
  let pings = 0
  let token: string | undefined
  let renewed = false // for a new token, and nothing was subscribed since
  const following = new Set<string>()
  const refused = new Set<string>() // of those: another token may allow them
  const silence = createAlarm()
  const retry = createAlarm()
  const backoff = createBackoff()

  const send = (command: object) => {
    if (socket?.readyState === 1) socket.send(JSON.stringify(command))
  }
  const deadline = (limit: number) => silence(() => events.down(silent()), limit)
  const ping = (limit: number) => {
    deadline(limit)
    send({ ping: ++pings })
  }
  const alive = () => silence(() => ping(pongWithin), quiet)
  const subscribeAgain = () => {
    for (const feed of refused) following.delete(feed)
    refused.clear()
    line.update()
  }
  const another = () => http.token(token).catch(() => token)
  // Nothing is interrupted. Commands are done in their order.
  const renew = async () => {
    token = await another()
    send({ auth: token })
    subscribeAgain()
  }
  const fail = (e: unknown) => events.down(asError(e))

  const connect = async () => {
    token = await http.token()
    if (closed) return
    following.clear()
    deadline(openWithin)
    const offered = token && subprotocol.test(token) ? ['bearer.' + token] : []
    socket = new WebSocket(http.base.replace(/^http/, 'ws') + '/v1/signals', ['doorbell.v1.json', ...offered])
    socket.onopen = () => {
      if (token && !offered[0]) send({ auth: token })
      line.update()
      alive()
    }
    socket.onmessage = ({ data }) => {
      if (closed) return
      alive()
      try {
        const frame = JSON.parse(data)
        if (frame.subscribed) renewed = false
        quiet = frame.hello?.ping_ms ?? quiet
        for (const feed in frame.denied) refused.add(feed)
        takeFrame(frame, sink, events, renew, () => retry(subscribeAgain, 1_000 + backoff.next()))
      } catch (e) {
        fail(e)
      }
    }
    socket.onclose = async ({ code, reason }) => {
      if (closed) return
      if (code === 4001 && token && !renewed) {
        // With another token the same way on; but not for ever.
        renewed = (await another()) !== token
        if (renewed) return connect().catch(fail)
      }
      events.down(whyClosed(code, reason))
    }
  }

  const line: Line = {
    update() {
      if (socket?.readyState !== 1) return
      const wanted = sink.cursors()
      const fresh = Object.entries(wanted).filter(([feed]) => !following.has(feed))
      const gone = [...following].filter((feed) => !(feed in wanted))
      for (const [feed] of fresh) following.add(feed)
      for (const feed of gone) following.delete(feed)
      while (fresh[0]) send({ subscribe: Object.fromEntries(fresh.splice(0, feedsPerCommand)) })
      while (gone[0]) send({ unsubscribe: gone.splice(0, feedsPerCommand) })
    },
    check: () => ping(pongSoon),
    close() {
      closed = true
      silence()
      retry()
      socket?.close()
    },
  }
  connect().catch(fail)
  return line
}
