// The five clients, and what they tell the page.

export type LaneID = 'fixed' | 'adaptive' | 'long-poll' | 'sse' | 'websocket'

export interface Lane {
  id: LaneID
  name: string
  /** How it works, in a line. */
  how: string
  /** When to use it. */
  when: string
}

export const lanes: readonly Lane[] = [
  { id: 'fixed', name: 'Fixed polling', how: 'asks every few seconds, whatever happens', when: 'Never by choice: it is late and busy at once.' },
  { id: 'adaptive', name: 'Adaptive polling', how: 'asks when the server suggests', when: 'Scripts, jobs, dashboards: seconds are fine, nothing to keep open.' },
  { id: 'long-poll', name: 'Long poll', how: 'asks, and is answered when there is news', when: 'Plain HTTP clients that want to be fast; behind proxies that buffer.' },
  { id: 'sse', name: 'Server-sent events', how: 'hears the bell on an HTTP stream, then fetches', when: 'Where sockets are blocked and streams are not.' },
  { id: 'websocket', name: 'WebSocket', how: 'hears the bell on a socket, then fetches', when: 'The default: fresh at once, quiet while nothing happens.' },
]

/** From the page to a lane. */
export type Order = { feed: string; lane: LaneID; every: number }

/** From a lane to the page. */
export type Report =
  /** It has change number n, at that time in ms since 1970. */
  | { k: 'has'; n: number; at: number }
  /** Since the last report. */
  | { k: 'cost'; at: number; requests: number; answered: number; bytes: number }
  /** What brings the news. */
  | { k: 'by'; transport: string }
