import { formatBytes } from "./format.js";

// The drawing of the loop, which moves when the real one does: a dot for each ring, another for each fetch.

const still = matchMedia("(prefers-reduced-motion: reduce)");

export class Loop {
  constructor(svg) {
    const part = (id) => svg.querySelector(`#${id}`);
    this.bell = part("loop-bell");
    this.ringFigure = part("loop-ring");
    this.fetchFigure = part("loop-fetch");
    this.ringDot = new Traveller(part("ring-dot"), part("ring-path"));
    this.fetchDot = new Traveller(part("fetch-dot"), part("fetch-path"));
  }

  rang(bytes) {
    this.ringFigure.textContent = formatBytes(bytes);
    if (still.matches || document.hidden) return;
    this.bell.getAnimations().forEach((a) => a.cancel());
    this.bell.animate(
      [0, 14, -11, 7, -4, 0].map((deg) => ({ transform: `rotate(${deg}deg)` })),
      { duration: 600, easing: "ease-out" },
    );
    this.ringDot.travel(420, (part) => part);
  }

  fetched({ status, bytes }) {
    this.fetchFigure.textContent = status ? `${status} · ${formatBytes(bytes)}` : "no answer";
    if (still.matches || document.hidden) return;
    // There and back.
    this.fetchDot.travel(640, (part) => 1 - Math.abs(1 - 2 * part));
  }
}

class Traveller {
  constructor(dot, path) {
    this.dot = dot;
    this.path = path;
    this.length = path.getTotalLength();
    this.trip = 0;
  }

  travel(duration, place) {
    const trip = ++this.trip;
    const start = performance.now();
    const step = (now) => {
      if (trip !== this.trip) return;
      const part = Math.max(0, (now - start) / duration);
      if (part >= 1) {
        this.dot.setAttribute("hidden", "");
        return;
      }
      const point = this.path.getPointAtLength(this.length * place(part * part * (3 - 2 * part)));
      this.dot.setAttribute("cx", point.x);
      this.dot.setAttribute("cy", point.y);
      this.dot.removeAttribute("hidden");
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }
}
