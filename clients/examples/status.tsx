// How it is going, in one line that does not flicker: catching up for a moment is what being live looks like.

import { useDoorbellStatus } from '@doorbell/client/react'
import { useEffect, useState } from 'react'

const words = { live: 'Live', polling: 'Polling', 'catching-up': 'Catching up', offline: 'Offline', denied: 'Denied', idle: 'Starting' }
const ways = { websocket: 'WebSocket', sse: 'events', 'long-poll': 'long poll', polling: 'polling', none: '' }
/** In ms. */
const moment = 2_000

export function Status({ feed, waiting = 0 }: { feed: string; waiting?: number }) {
  const { state, transport, staleSince } = useDoorbellStatus(feed)
  const [calm, setCalm] = useState({ state, staleSince })
  const passing = state === 'catching-up' && calm.state === 'live'
  useEffect(() => {
    const timer = setTimeout(() => setCalm({ state, staleSince }), passing ? moment : 0)
    return () => clearTimeout(timer)
  }, [state, passing])
  const way = calm.state === 'live' && ways[transport] ? ` · ${ways[transport]}` : ''
  const since = calm.staleSince && (calm.state === 'offline' || calm.state === 'catching-up') ? ' since ' + new Date(calm.staleSince).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }) : ''
  return (
    <p className="status" data-state={calm.state} role="status">
      {words[calm.state]}{way}{since}
      {waiting > 0 && <span className="waiting">{waiting} {waiting === 1 ? 'change' : 'changes'} waiting</span>}
    </p>
  )
}
