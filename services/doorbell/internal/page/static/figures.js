import { formatBytes, formatCount, formatDecimal, formatRate, formatUptime, isNumber, missing, splitBytes } from "./format.js";
import { percentCeiling, Plot, roundCeiling } from "./plots.js";

// The cards: one for each key of host:local. A machine that cannot tell a figure leaves its key out.

const $ = (id) => document.getElementById(id);

function say(id, text) {
  const element = $(id);
  if (element.textContent !== text) element.textContent = text;
}

const percent = { ceiling: percentCeiling, label: (top) => `${top} %` };
const whole = { ceiling: () => 100, label: () => "100 %" };
const rate = { ceiling: roundCeiling(1000), label: (top) => `${formatBytes(top)}/s` };

export class Figures {
  constructor() {
    this.plots = {
      cpu: new Plot($("cpu-plot"), percent),
      memory: new Plot($("memory-plot"), whole),
      load: new Plot($("load-plot"), { ceiling: roundCeiling(0.1), label: (top) => formatDecimal(top, top < 1 ? 1 : 0) }),
      disk: new Plot($("disk-plot"), rate),
      network: new Plot($("network-plot"), rate),
    };
    this.cards = new Map([...document.querySelectorAll(".card")].map((card) => [card.dataset.key, card]));
    this.bars = [];
  }

  show(items) {
    $("notice").hidden = items.size > 0;
    for (const [key, card] of this.cards) {
      const value = items.get(key)?.value;
      const known = value !== null && typeof value === "object";
      card.classList.toggle("absent", !known);
      if (known) this[key](value);
      else this.#blank(key);
    }
    this.host(items.get("host")?.value ?? {});
  }

  cpu({ percent, cores, count }) {
    say("cpu-value", formatDecimal(percent, 1));
    const n = isNumber(count) ? count : cores?.length;
    say("cpu-facts", n ? `${formatCount(n)} ${n === 1 ? "core" : "cores"}` : " ");
    this.#cores(Array.isArray(cores) ? cores : []);
    this.#plot("cpu", percent);
  }

  memory({ used, total, percent }) {
    say("memory-value", formatDecimal(percent, 1));
    say("memory-facts", `${formatBytes(used)} of ${formatBytes(total)}`);
    this.#plot("memory", percent);
  }

  load({ load1, load5, load15 }) {
    say("load-value", formatDecimal(load1, 2));
    say("load-facts", `5 min ${formatDecimal(load5, 2)} · 15 min ${formatDecimal(load15, 2)}`);
    this.#plot("load", load1);
  }

  disk({ path, used, total, percent, read_bps, write_bps }) {
    say("disk-value", formatDecimal(percent, 1));
    say("disk-facts", `${formatBytes(used)} of ${formatBytes(total)}${path ? ` on ${path}` : ""}`);
    say("disk-read", formatRate(read_bps));
    say("disk-write", formatRate(write_bps));
    this.#plot("disk", read_bps, write_bps);
  }

  network({ recv_bps, sent_bps }) {
    const [figure, unit] = splitBytes((recv_bps ?? NaN) + (sent_bps ?? NaN));
    say("network-value", figure);
    say("network-unit", unit && `${unit}/s`);
    say("network-facts", "all interfaces, both ways");
    say("network-recv", formatRate(recv_bps));
    say("network-sent", formatRate(sent_bps));
    this.#plot("network", recv_bps, sent_bps);
  }

  host({ hostname, os, platform, kernel, uptime_s }) {
    const parts = [hostname, platform || os, kernel && `kernel ${kernel}`, formatUptime(uptime_s)];
    say("host-value", parts.filter(Boolean).join(" · ") || " ");
  }

  #plot(key, ...values) {
    if (values.every(isNumber)) this.plots[key].add(...values);
  }

  #cores(cores) {
    while (this.bars.length > cores.length) this.bars.pop().remove();
    while (this.bars.length < cores.length) {
      const bar = document.createElement("i");
      $("cpu-cores").append(bar);
      this.bars.push(bar);
    }
    cores.forEach((p, i) => this.bars[i].style.setProperty("--level", Math.min(1, Math.max(0, p / 100)).toFixed(3)));
  }

  #blank(key) {
    say(`${key}-value`, missing);
    say(`${key}-facts`, "not reported on this machine");
    for (const figure of this.cards.get(key).querySelectorAll(".legend b")) figure.textContent = missing;
    if (key === "network") say("network-unit", "");
    if (key === "cpu") this.#cores([]);
  }
}
