import { browserEnvironment } from "./environment.js";
import { Figures } from "./figures.js";
import { Follower } from "./follower.js";
import { formatAge, formatBytes, formatCount } from "./format.js";
import { PullLog, SignalLog } from "./logs.js";
import { Loop } from "./loop.js";
import { setUpSnippets } from "./snippets.js";

// Puts the client and what shows it together.

const feed = "host:local";
const stale = 5_000; // ms after which the age of the data is worth a warning

const details = {
  connecting: "opening the socket",
  live: "one socket open, nothing is polled",
  reconnecting: "the socket is gone; trying again",
};

const $ = (id) => document.getElementById(id);

class Total {
  constructor(name) {
    this.name = name;
    this.count = 0;
    this.bytes = 0;
  }

  add(bytes) {
    this.count++;
    this.bytes += bytes;
    $(`${this.name}-count`).textContent = formatCount(this.count);
    $(`${this.name}-bytes`).textContent = formatBytes(this.bytes);
    $(`${this.name}-bytes`).dataset.bytes = this.bytes;
    $(`${this.name}-mean`).textContent = `${formatBytes(this.bytes / this.count)} each`;
  }
}

const figures = new Figures();
const loop = new Loop($("loop"));
const signalLog = new SignalLog($("signal-log"));
const pullLog = new PullLog($("pull-log"));
const signals = new Total("signals");
const pulls = new Total("pulls");
let landed; // when the data on screen came; undefined: there is none

const follower = new Follower({
  env: browserEnvironment(),
  origin: location.origin,
  feed,
  on: {
    status({ state, detail }) {
      $("state").textContent = state;
      $("state").dataset.state = state;
      $("state-detail").textContent = detail || details[state] || "\u00a0";
    },
    frame(frame) {
      signalLog.add(frame);
      if (frame.direction !== "in") return;
      signals.add(frame.bytes);
      if (frame.text.startsWith('{"changed"')) loop.rang(frame.bytes);
    },
    pull(result) {
      pullLog.add(result);
      pulls.add(result.bytes);
      loop.fetched(result);
    },
    data(replica) {
      landed = replica.cursor ? performance.now() : undefined;
      $("cursor").textContent = replica.cursor || "–";
      figures.show(replica.items);
      showAge();
    },
  },
});

function showAge() {
  const ms = landed === undefined ? 0 : performance.now() - landed;
  const age = $("age");
  const text = landed === undefined ? "waiting for data" : `data is ${formatAge(ms)}`;
  if (age.textContent !== text) age.textContent = text;
  age.dataset.ms = landed === undefined ? "" : Math.round(ms);
  age.classList.toggle("stale", ms > stale);
}

setUpSnippets(location.origin);
setInterval(showAge, 100);
follower.start();
