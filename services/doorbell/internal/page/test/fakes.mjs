import { Follower } from "../static/follower.js";

// Surroundings that tests hold in their hands: time stands still until told, dice always show one half, the socket
// and the network are scripts.

export class FakeClock {
  constructor() {
    this.time = 0;
    this.timers = new Map();
    this.ids = 0;
  }
  set(f, ms) {
    this.timers.set(++this.ids, { at: this.time + ms, f });
    return this.ids;
  }
  clear(id) {
    this.timers.delete(id);
  }
  /** Lets ms pass, running what falls due in order, and lets promises settle in between. */
  async pass(ms) {
    await settle();
    const end = this.time + ms;
    for (;;) {
      let next = null;
      for (const [id, timer] of this.timers) {
        if (timer.at <= end && (!next || timer.at < next.at)) next = { id, ...timer };
      }
      if (!next) break;
      this.timers.delete(next.id);
      this.time = Math.max(this.time, next.at);
      next.f();
      await settle();
    }
    this.time = end;
  }
}

export function settle() {
  return new Promise((resolve) => setImmediate(resolve));
}

class FakeSocket {
  constructor(url, protocol) {
    Object.assign(this, { url, protocol, sent: [], closed: false });
  }
  send(text) {
    this.sent.push(JSON.parse(text));
  }
  close() {
    this.closed = true;
  }
  accept(message = { hello: { session: "s-1", ping_ms: 25_000 } }) {
    this.onopen();
    this.says(message);
  }
  says(message) {
    this.onmessage?.({ data: JSON.stringify(message) });
  }
  breaks(code = 1006, reason = "") {
    this.onclose?.({ code, reason });
  }
}

/** An answer for the fake network. */
export function answer(status, body, headers = {}) {
  return { status, body, headers };
}

export const feed = "t:f";
export const snapshotURL = `/v1/feeds/${feed}`;
export const changesURL = `/v1/feeds/${feed}/changes`;

export function snapshot(cursor, items, more = false) {
  return answer(200, { feed, cursor, more, items: items.map(([key, seq, value]) => ({ key, seq, value })) });
}

export function delta(since, cursor, changes, more = false) {
  const rows = changes.map(([key, seq, value]) => (value === undefined ? { key, seq, deleted: true } : { key, seq, value }));
  return answer(200, { feed, since, cursor, more, changes: rows });
}

/**
 * A follower in such surroundings. Requests wait in `requests` until `reply` is called; statuses, pulls and frames
 * are kept as they come.
 */
export function harness({ random = 0.5 } = {}) {
  const clock = new FakeClock();
  const h = { clock, sockets: [], requests: [], statuses: [], pulls: [], frames: [], landings: 0, random };
  const env = {
    now: () => clock.time,
    setTimeout: (f, ms) => clock.set(f, ms),
    clearTimeout: (id) => clock.clear(id),
    random: () => h.random,
    openSocket: (url, protocol) => {
      const socket = new FakeSocket(url, protocol);
      h.sockets.push(socket);
      return socket;
    },
    fetch: (url, { signal }) =>
      new Promise((resolve, reject) => {
        h.requests.push({ url, resolve, reject });
        signal.addEventListener("abort", () => reject(new Error("aborted")));
      }),
  };
  h.follower = new Follower({
    env,
    origin: "http://doorbell.test",
    feed,
    on: {
      status: (s) => h.statuses.push(s),
      frame: (f) => h.frames.push(f),
      pull: (p) => h.pulls.push(p),
      data: () => h.landings++,
    },
  });
  Object.defineProperties(h, {
    socket: { get: () => h.sockets.at(-1) },
    state: { get: () => h.statuses.at(-1)?.state },
    cursor: { get: () => h.follower.replica.cursor },
    items: { get: () => Object.fromEntries([...h.follower.replica.items].map(([k, i]) => [k, i.value])) },
    waiting: { get: () => h.requests.map((r) => r.url) },
  });

  /** Answers the oldest open request, which has to be for this URL. */
  h.reply = async (url, { status, body, headers }) => {
    await settle();
    const request = h.requests.shift();
    if (!request) throw new Error(`no request is open; expected ${url}`);
    if (request.url !== url) throw new Error(`asked for ${request.url}; expected ${url}`);
    const text = typeof body === "string" ? body : JSON.stringify(body);
    request.resolve(new Response(status === 304 ? null : text, { status, headers }));
    // A body takes several turns to arrive.
    for (let i = 0; i < 5; i++) await settle();
  };
  h.breakRequest = async () => {
    await settle();
    h.requests.shift().reject(new TypeError("no network"));
    for (let i = 0; i < 5; i++) await settle();
  };
  /** Started, subscribed at this head, and holding it with one item. */
  h.live = async (cursor, items = [["a", 1, 1]]) => {
    h.follower.start();
    h.socket.accept();
    h.socket.says({ id: 1, subscribed: { [feed]: cursor } });
    await h.reply(`${snapshotURL}?at_least=${cursor}`, snapshot(cursor, items));
  };
  h.rings = async (cursor, more = {}) => {
    h.socket.says({ changed: { [feed]: cursor }, ...more });
    await settle();
  };
  return h;
}
