import { fullJitter } from "./environment.js";

// The socket that rings. It opens, subscribes, notices a dead peer, and comes back with full jitter; what the rings
// mean is the follower's business.

const subprotocol = "doorbell.v1.json";
const setUpLimit = 15_000; // ms from opening to the first frame, and to `subscribed`
const pongLimit = 10_000; // ms a quiet server has to answer a ping
const defaultPing = 25_000; // ms, until `hello` says better

/** Close codes after which coming back changes nothing: bad token, forbidden, malformed commands. */
const final = new Map([
  [4001, "the token is invalid or has expired"],
  [4003, "access is forbidden"],
  [4009, "the server could not read our commands"],
]);

const encoder = new TextEncoder();

export class SignalSocket {
  /**
   * `subscription()` gives the feeds and cursors to ask for; `onMessage` gets each parsed frame, `onFrame` its bare
   * text and size in both directions, `onChange` is called when `phase`, `failures` or `refusal` change.
   */
  constructor(env, url, { subscription, onMessage, onFrame, onChange }) {
    Object.assign(this, { env, url, subscription, onMessage, onFrame, onChange });
    this.phase = "connecting"; // connecting, subscribed, waiting, refused, closed
    this.failures = 0; // connections lost or not made since the last `subscribed`
    this.late = false; // the server talks but has not subscribed us yet: its bus may be away
    this.refusal = "";
    this.socket = null;
    this.pingMs = defaultPing;
    this.pings = 0;
    this.timers = {}; // set-up, quiet, goaway, retry
  }

  open() {
    this.#stopTimers();
    this.#become("connecting");
    let socket;
    try {
      socket = this.env.openSocket(this.url, subprotocol);
    } catch {
      this.#lost(1006, "");
      return;
    }
    this.socket = socket;
    let greeted = false;
    this.#arm("setUp", setUpLimit, () => {
      this.late = greeted;
      if (greeted) this.onChange();
      else this.#drop();
    });
    socket.onopen = () => this.#send({ id: 1, subscribe: this.subscription() });
    socket.onmessage = (event) => {
      greeted = true;
      this.#received(event.data);
    };
    socket.onclose = (event) => this.#lost(event.code, event.reason);
  }

  close() {
    this.#stopTimers();
    this.#discard();
    this.#become("closed");
  }

  #received(text) {
    if (typeof text !== "string") return; // this subprotocol has no binary frames
    this.onFrame({ direction: "in", text, bytes: encoder.encode(text).length });
    let message = null;
    try {
      message = JSON.parse(text);
    } catch {
      // Not ours to understand; it still proves that the peer is alive.
    }
    if (message?.hello?.ping_ms > 0) this.pingMs = message.hello.ping_ms;
    this.#listen();
    if (message?.subscribed) {
      this.failures = 0;
      this.late = false;
      this.#disarm("setUp");
      this.#become("subscribed");
    }
    if (message?.goaway) {
      const within = Math.max(0, Number(message.goaway.in_ms) || 0);
      this.#arm("goaway", this.env.random() * within, () => {
        this.#discard();
        this.open();
      });
    }
    if (message && typeof message === "object") this.onMessage(message);
  }

  /** A browser does not see the server's pings, so it asks by itself when all has been quiet. */
  #listen() {
    this.#arm("quiet", this.pingMs, () => {
      this.#send({ ping: ++this.pings });
      this.#arm("quiet", pongLimit, () => this.#drop());
    });
  }

  #send(command) {
    const text = JSON.stringify(command);
    try {
      this.socket.send(text);
    } catch {
      return; // closing; onclose follows
    }
    this.onFrame({ direction: "out", text, bytes: encoder.encode(text).length });
  }

  #lost(code, reason) {
    this.#stopTimers();
    this.#discard();
    if (final.has(code)) {
      this.refusal = reason || final.get(code);
      this.#become("refused");
      return;
    }
    const asked = code === 4029 ? delayIn(reason) : 0;
    const delay = asked + fullJitter(this.env, this.failures);
    this.failures++;
    this.late = false;
    this.#arm("retry", delay, () => this.open());
    this.#become("waiting", true);
  }

  /** The peer is silent: a close handshake with it could take minutes, so don't wait for one. */
  #drop() {
    this.#lost(1006, "");
  }

  #discard() {
    const socket = this.socket;
    this.socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    try {
      socket.close(1000);
    } catch {
      // Never opened.
    }
  }

  #become(phase, always = false) {
    if (this.phase === phase && !always) return;
    this.phase = phase;
    this.onChange();
  }

  #arm(name, ms, f) {
    this.#disarm(name);
    this.timers[name] = this.env.setTimeout(f, ms);
  }

  #disarm(name) {
    if (this.timers[name] !== undefined) this.env.clearTimeout(this.timers[name]);
    delete this.timers[name];
  }

  #stopTimers() {
    for (const name of Object.keys(this.timers)) this.#disarm(name);
  }
}

/** The delay that a 4029 names, in ms: its first number, of milliseconds if "ms" follows, else of seconds. */
function delayIn(reason) {
  const m = /(\d+(?:\.\d+)?)\s*(ms)?/.exec(reason ?? "");
  return m ? Math.min(600_000, Number(m[1]) * (m[2] ? 1 : 1000)) : 30_000;
}
