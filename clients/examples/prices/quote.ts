/** What the feed holds for a symbol. */
export interface Quote {
  symbol: string
  price: number
  /** The day's first price. */
  open: number
  /** Traded today, in pieces. */
  volume: number
}

export const change = (q: Quote) => (q.price / q.open - 1) * 100
