import { compareCursors, isWalk, newerCursor, sameEpoch } from "./cursor.js";
import { fullJitter } from "./environment.js";
import { PollPace } from "./polling.js";
import { pull } from "./pull.js";
import { needsSnapshot, Replica } from "./replica.js";
import { SignalSocket } from "./signals.js";

// Follows one feed: a signal says where its head is, a GET fetches what is between. Knows nothing of the page.
//
// At most one pull is under way. A signal that comes meanwhile only moves `wanted`, so that however fast the bell
// rings, each pull asks for the newest head.

const resetWindow = 10_000;
const resetsAllowed = 2; // the third within the window makes us stop and wait

export class Follower {
  /**
   * `on` may have: status({state, detail}), frame({direction, text, bytes}), pull(result), data(replica).
   * state: connecting, live, reconnecting, degraded, refused.
   */
  constructor({ env, origin, feed, on }) {
    this.env = env;
    this.feed = feed;
    this.on = on;
    this.base = `/v1/feeds/${feed}`; // a feed's name is one path segment and needs no escaping
    this.replica = new Replica();

    this.wanted = ""; // newest head that was signalled
    this.floor = ""; // `at_least` of the walk under way: all its pages ask for the same
    this.more = false; // the last page was not the last
    this.check = false; // look once, whatever the signals say
    this.distrust = false; // an answer did not fit: only a snapshot helps
    this.preferSnapshot = false; // the server's hint for small feeds

    this.inFlight = false;
    this.spread = 0; // of the signal that came during the pull under way
    this.timer = undefined; // of the next pull
    this.errors = 0;
    this.resets = []; // times of the last ones
    this.resting = false;

    this.pace = new PollPace(env.random);
    this.pollTimer = undefined;
    this.degraded = false; // the gateway has lost its bus
    this.headUnknown = false; // the gateway does not know this feed's head
    this.denied = "";
    this.everLive = false;
    this.stopped = false;
    this.lastStatus = "";

    this.socket = new SignalSocket(env, origin.replace(/^http/, "ws") + "/v1/signals", {
      subscription: () => ({ [feed]: isWalk(this.replica.cursor) ? "" : this.replica.cursor }),
      onMessage: (message) => this.#heard(message),
      onFrame: (frame) => this.on.frame?.(frame),
      onChange: () => this.#socketChanged(),
    });
  }

  start() {
    this.#report();
    this.socket.open();
  }

  stop() {
    this.stopped = true;
    this.socket.close();
    this.env.clearTimeout(this.timer);
    this.env.clearTimeout(this.pollTimer);
  }

  // Signals.

  #heard(message) {
    if (typeof message.degraded === "boolean") this.degraded = message.degraded;
    if (message.denied && this.feed in message.denied) this.denied = String(message.denied[this.feed]);
    if (message.subscribed && this.feed in message.subscribed) {
      this.denied = "";
      this.#subscribedAt(message.subscribed[this.feed]);
    }
    if (message.changed && this.feed in message.changed) {
      this.#signalled(message.changed[this.feed], message.spread);
    }
    this.#report();
    this.#keepPolling();
  }

  #subscribedAt(head) {
    this.headUnknown = head === null;
    if (head === null) return;
    if (head === "" && this.replica.cursor === "") this.on.data?.(this.replica); // no such feed: nothing to wait for, nothing to pull
    // Behind what we hold, or gone: nothing to wait for, but our copy may be of a history that is no more.
    if (compareCursors(head, this.replica.cursor) < 0) this.check = true;
    this.#signalled(head, 0);
  }

  #signalled(head, spread) {
    if (typeof head !== "string") return;
    this.headUnknown = false;
    this.wanted = newerCursor(this.wanted, head);
    const delay = this.env.random() * Math.max(0, Number(spread) || 0);
    if (this.inFlight) this.spread = delay;
    else this.#schedule(delay);
  }

  #socketChanged() {
    if (this.stopped) return;
    if (this.socket.phase === "subscribed") this.everLive = true;
    else this.headUnknown = this.degraded = false;
    this.#report();
    this.#keepPolling();
  }

  // Pulls.

  #due() {
    return this.more || this.check || this.distrust || compareCursors(this.wanted, this.replica.cursor) > 0;
  }

  /** A pull that is already planned stands: its time was chosen for a reason, and it will ask for the newest head. */
  #schedule(delay) {
    if (this.stopped || this.inFlight || this.timer !== undefined || !(this.#due() || this.resting)) return;
    if (delay <= 0) {
      this.#pull();
      return;
    }
    this.timer = this.env.setTimeout(() => {
      this.timer = undefined;
      this.resting = false;
      this.#report();
      if (this.#due()) this.#pull();
    }, delay);
  }

  #request() {
    const at = this.replica.position;
    const behind = compareCursors(this.wanted, this.replica.cursor) > 0;
    const reborn = behind && at !== "" && !sameEpoch(at, this.wanted);
    const floor = this.more && !reborn && !this.distrust ? this.floor : behind ? this.wanted : "";
    const small = this.preferSnapshot && behind && !this.more;
    if (this.distrust || small || needsSnapshot(at, floor)) {
      return { kind: "snapshot", floor, url: this.base + (floor && `?at_least=${floor}`) };
    }
    return { kind: "delta", floor, url: `${this.base}/changes?since=${at}` + (floor && `&at_least=${floor}`) };
  }

  async #pull() {
    const request = this.#request();
    const wantedBefore = this.wanted;
    this.inFlight = true;
    const result = await pull(this.env, request.url);
    this.inFlight = false;
    if (this.stopped) return;
    const spread = this.spread;
    this.spread = 0;

    const before = this.replica.position;
    const delay = this.#take(request, result, wantedBefore);
    this.on.pull?.({ ...result, kind: request.kind });
    const outcome = delay > 0 ? "error" : this.replica.position === before ? "empty" : "news";
    this.pace.learn(outcome, result.headers.pollAfter);
    if (result.landed) this.on.data?.(this.replica);
    this.#schedule(delay ?? (this.more ? 0 : spread));
    this.#report();
    this.#keepPolling();
  }

  /** Acts on an answer. Gives how long to wait before trying again, or undefined where all is well. */
  #take(request, result, wantedBefore) {
    if (result.status === 200) return this.#takePage(request, result);
    if (result.status === 304) {
      this.check = false;
      return undefined;
    }
    if (result.status === 404 && result.body?.code === "no_feed") {
      this.replica.clear();
      this.more = this.check = this.distrust = false;
      result.landed = true;
      return this.#due() ? this.#failed() : undefined;
    }
    if (result.status === 410) return this.#takeReset(result.body, wantedBefore);
    return this.#failed(result.headers.retryAfter);
  }

  #takePage(request, result) {
    const page = result.body;
    const epochBefore = this.replica.cursor;
    const snapshot = request.kind === "snapshot";
    const asked = Array.isArray(snapshot ? page.items : page.changes);
    const taken = asked && (snapshot ? this.replica.applySnapshot(page) : this.replica.applyDelta(page));
    this.preferSnapshot = result.headers.pull === "snapshot";
    this.check = false;
    if (!taken) {
      // An old snapshot is merely ignored; a delta that does not fit would be so for ever, where a cache keeps it.
      this.distrust = !snapshot;
      return this.#due() ? this.#failed() : undefined;
    }
    this.distrust = false;
    this.more = page.more === true;
    this.floor = this.more ? request.floor : "";
    if (this.more) {
      this.errors = 0;
      return undefined;
    }
    result.landed = true;
    if (epochBefore && !sameEpoch(epochBefore, page.cursor)) {
      const rest = this.#countReset();
      if (rest) return rest;
    }
    if (compareCursors(request.floor, page.cursor) > 0) return this.#failed(); // less than was asked for: a broken cache
    this.errors = 0;
    return undefined;
  }

  #takeReset(body, wantedBefore) {
    this.replica.reset();
    this.more = this.distrust = false;
    const floor = atLeastIn(body?.snapshot);
    // The primary has spoken: what was signalled before may be of the history that is gone.
    this.wanted = this.wanted === wantedBefore ? floor : newerCursor(this.wanted, floor);
    this.check = true;
    return this.#countReset();
  }

  /** 0, or how long to leave the feed alone: a history that is reset again and again is somebody's fault, not news. */
  #countReset() {
    const now = this.env.now();
    this.resets = this.resets.filter((t) => now - t < resetWindow);
    this.resets.push(now);
    if (this.resets.length <= resetsAllowed) return 0;
    this.resets = [];
    this.resting = true;
    return 10_000 + 20_000 * this.env.random();
  }

  #failed(retryAfter = 0) {
    // While polling, the next poll is the next try, unless a signal is waiting to be answered.
    if (this.#polls()) this.check = false;
    return Math.max(1, retryAfter) + fullJitter(this.env, this.errors++);
  }

  // Polling, for as long as nobody rings.

  #polls() {
    if (this.stopped || this.denied || this.socket.phase === "refused") return false;
    return this.degraded || this.headUnknown || this.socket.late || this.socket.failures >= 2;
  }

  #keepPolling() {
    if (!this.#polls()) {
      this.env.clearTimeout(this.pollTimer);
      this.pollTimer = undefined;
      return;
    }
    if (this.pollTimer !== undefined || this.inFlight) return;
    this.pollTimer = this.env.setTimeout(() => {
      this.pollTimer = undefined;
      this.check = true;
      if (this.timer === undefined) this.#schedule(0);
      this.#keepPolling();
    }, this.pace.next());
  }

  // What the page says about it.

  #report() {
    const status = this.#status();
    const text = `${status.state} ${status.detail}`;
    if (text === this.lastStatus) return;
    this.lastStatus = text;
    this.on.status?.(status);
  }

  #status() {
    const { phase, refusal, failures } = this.socket;
    if (this.denied) return { state: "refused", detail: `this feed is denied: ${this.denied}` };
    if (phase === "refused") return { state: "refused", detail: refusal };
    if (this.resting) return { state: "degraded", detail: "reset three times in 10 s; waiting before the next try" };
    if (this.degraded) return { state: "degraded", detail: "the gateway has lost its bus; polling meanwhile" };
    if (phase !== "subscribed") {
      const detail = this.#polls() ? "polling meanwhile" : "";
      return { state: this.everLive || failures > 0 ? "reconnecting" : "connecting", detail };
    }
    if (this.headUnknown) return { state: "degraded", detail: "the feed's head is not known yet; polling meanwhile" };
    return { state: "live", detail: "" };
  }
}

/** The version floor in the way on that a reset names. Only that is taken from it: the path is ours. */
function atLeastIn(snapshot) {
  if (typeof snapshot !== "string") return "";
  return new URLSearchParams(snapshot.split("?")[1] ?? "").get("at_least") ?? "";
}
