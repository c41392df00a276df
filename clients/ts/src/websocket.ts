// Signals over WebSocket.

import { DoorbellError, asError } from './errors.js'
import { closed as whyClosed, takeFrame, type Open } from './line.js'

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
  let silence: ReturnType<typeof setTimeout>
  let pings = 0
  let token: string | undefined
  let renewed = false // for a new token, and nothing was subscribed since
  const following = new Set<string>()

  const end = (e: DoorbellError) => {
    if (closed) return
    line.close()
    events.down(e)
  }
  const send = (command: object) => {
    if (socket?.readyState === 1) socket.send(JSON.stringify(command))
  }
  const deadline = (limit: number) => {
    clearTimeout(silence)
    silence = setTimeout(() => end(new DoorbellError('silent', 'the gateway does not answer')), limit)
  }
  const ping = (limit: number) => {
    deadline(limit)
    send({ ping: ++pings })
  }
  const alive = () => {
    clearTimeout(silence)
    silence = setTimeout(ping, quiet, pongWithin)
  }
  // Nothing is interrupted.
  const renew = async () => {
    token = await http.token(token).catch(() => token)
    send({ auth: token })
  }

  const connect = async () => {
    token = await http.token()
    if (closed) return
    following.clear()
    deadline(openWithin)
    const offered = token && subprotocol.test(token) ? ['bearer.' + token] : []
    socket = new WebSocket(http.base.replace(/^http/, 'ws') + '/v1/signals', ['doorbell.v1.json', ...offered])
    socket.onopen = () => {
      if (token && !offered.length) send({ auth: token })
      line.update()
      alive()
    }
    socket.onmessage = ({ data }) => {
      if (closed) return
      alive()
      try {
        const frame = JSON.parse(data as string)
        renewed &&= !frame.subscribed
        quiet = frame.hello?.ping_ms ?? quiet
        takeFrame(frame, sink, { ...events, down: end }, renew)
      } catch (e) {
        end(asError(e))
      }
    }
    socket.onclose = async ({ code, reason }) => {
      if (closed) return
      if (code === 4001 && token) {
        // With another token the same way on; but not for ever.
        const next = await http.token(token).catch(() => token)
        if (next !== token && !renewed) {
          renewed = true
          return connect().catch((e) => end(asError(e)))
        }
      }
      end(whyClosed(code, reason))
    }
  }

  const line = {
    update() {
      const wanted = sink.cursors()
      const fresh = Object.entries(wanted).filter(([feed]) => !following.has(feed))
      const gone = [...following].filter((feed) => !(feed in wanted))
      if (socket?.readyState !== 1) return
      for (let i = 0; i < fresh.length; i += feedsPerCommand) {
        send({ subscribe: Object.fromEntries(fresh.slice(i, i + feedsPerCommand)) })
      }
      for (let i = 0; i < gone.length; i += feedsPerCommand) send({ unsubscribe: gone.slice(i, i + feedsPerCommand) })
      for (const [feed] of fresh) following.add(feed)
      for (const feed of gone) following.delete(feed)
    },
    check: () => ping(pongSoon),
    close() {
      closed = true
      clearTimeout(silence)
      socket?.close()
    },
  }
  connect().catch((e) => end(asError(e)))
  return line
}
