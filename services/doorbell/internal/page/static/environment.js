// What the client needs of its surroundings, in one place so that tests can put their own in.

/** The browser's own clock, dice, sockets and fetch. Wrapped, since these functions mind what `this` is. */
export function browserEnvironment() {
  return {
    now: () => performance.now(),
    setTimeout: (f, ms) => setTimeout(f, ms),
    clearTimeout: (id) => clearTimeout(id),
    random: () => Math.random(),
    openSocket: (url, protocol) => new WebSocket(url, protocol),
    fetch: (url, init) => fetch(url, init),
  };
}

/** Full jitter: anything up to a ceiling that doubles from 0.5 s to 30 s, so that a crowd does not come back as one. */
export function fullJitter(env, attempt) {
  return env.random() * Math.min(30_000, 500 * 2 ** Math.min(attempt, 10));
}
