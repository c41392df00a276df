// How long to wait between polls while the bell cannot be heard. The server's word counts most; without it the pace
// follows the news.

const shortest = 1_000;
const longest = 60_000;

export class PollPace {
  constructor(random) {
    this.random = random;
    this.interval = shortest;
    this.empty = 0;
  }

  /** `outcome` is "news", "empty" or "error"; `pollAfter` what the answer's Doorbell-Poll-After says, in ms. */
  learn(outcome, pollAfter) {
    this.empty = outcome === "empty" ? this.empty + 1 : 0;
    if (outcome === "error") this.#set(this.interval * 2);
    else if (pollAfter !== undefined) this.#set(pollAfter);
    else if (outcome === "news") this.#set(this.interval * 0.5);
    else if (this.empty >= 3) this.#set(this.interval * 1.5);
  }

  /** ms until the next poll, spread by a quarter either way so that a crowd does not poll in step. */
  next() {
    return this.interval * (0.75 + 0.5 * this.random());
  }

  #set(ms) {
    this.interval = Math.min(longest, Math.max(shortest, ms));
  }
}
