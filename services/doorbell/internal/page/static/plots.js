// Small plots of the last two minutes that drift to the left. Drawn about fifteen times a second: they move a few
// pixels in one, and the page should not be what it shows the machine busy with.

const span = 120_000; // ms from edge to edge
const lag = 1_100; // ms: the right edge shows a moment for which the next point is usually here
const gap = 5_000; // ms between points that no line may bridge
const frame = 60; // ms between drawings

const still = matchMedia("(prefers-reduced-motion: reduce)");
const plots = new Set();
let lastDrawn = 0;
let looping = false;

export class Plot {
  /** `ceiling(max)` gives the top of the scale, `label(top)` its text. One series or two. */
  constructor(canvas, { ceiling, label }) {
    this.canvas = canvas;
    this.scale = canvas.parentElement.querySelector(".scale");
    this.ceiling = ceiling;
    this.label = label;
    this.points = []; // [time, ...values], oldest first
    this.top = 0; // as drawn, on its way to the ceiling
    this.colours = null;
    this.labelled = undefined;
    new ResizeObserver(() => this.#draw(performance.now())).observe(canvas);
    plots.add(this);
    loop();
  }

  add(...values) {
    const now = performance.now();
    this.points.push([now, ...values]);
    // One point beyond the left edge, so that the line goes on past it.
    while (this.points.length > 2 && this.points[1][0] < now - span - lag) this.points.shift();
    if (still.matches) this.#draw(now);
  }

  recolour() {
    this.colours = null;
    this.#draw(performance.now());
  }

  tick(now) {
    this.#draw(now);
  }

  #draw(now) {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    const ratio = devicePixelRatio || 1;
    const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.canvas.width !== w || this.canvas.height !== h) Object.assign(this.canvas, { width: w, height: h });
    this.colours ??= this.#readColours();

    const g = this.canvas.getContext("2d");
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.clearRect(0, 0, width, height);
    this.#rules(g, width, height, ratio);
    if (this.points.length === 0) return;

    const target = this.ceiling(Math.max(...this.points.flatMap((p) => p.slice(1))));
    const jump = still.matches || this.top === 0 || Math.abs(this.top - target) < target / 200;
    this.top = jump ? target : this.top + (target - this.top) * 0.2;
    if (this.labelled !== target) {
      this.labelled = target;
      this.scale.textContent = this.label(target);
    }

    const edge = still.matches ? this.points.at(-1)[0] : now - lag;
    const x = (t) => width - ((edge - t) / span) * width;
    const y = (v) => height - 1.5 - (Math.max(0, v) / this.top) * (height - 6);
    for (let series = this.points[0].length - 1; series >= 1; series--) {
      for (const run of this.#runs()) this.#line(g, run, series, x, y, height);
    }
  }

  /** The stretches without a gap. */
  *#runs() {
    let run = [];
    for (const point of this.points) {
      if (run.length && point[0] - run.at(-1)[0] > gap) {
        yield run;
        run = [];
      }
      run.push(point);
    }
    yield run;
  }

  #line(g, run, series, x, y, height) {
    const colour = this.colours.series[series - 1];
    g.beginPath();
    for (const point of run) g.lineTo(x(point[0]), y(point[series]));
    g.strokeStyle = colour;
    g.lineWidth = 1.75;
    g.lineJoin = g.lineCap = "round";
    g.stroke();
    g.lineTo(x(run.at(-1)[0]), height);
    g.lineTo(x(run[0][0]), height);
    g.globalAlpha = 0.13;
    g.fillStyle = colour;
    g.fill();
    g.globalAlpha = 1;
  }

  #rules(g, width, height, ratio) {
    g.strokeStyle = this.colours.rule;
    g.lineWidth = 1 / ratio;
    for (const at of [4.5, (height + 3) / 2, height - 1.5]) {
      const y = Math.round(at * ratio) / ratio + 0.5 / ratio;
      g.beginPath();
      g.moveTo(0, y);
      g.lineTo(width, y);
      g.stroke();
    }
  }

  #readColours() {
    const style = getComputedStyle(this.canvas);
    const colour = (name) => style.getPropertyValue(name).trim();
    return { series: [colour("--series-a"), colour("--series-b")], rule: colour("--rule") };
  }
}

/** Ceilings of percentages: a nearly idle machine should still show some life. */
export function percentCeiling(max) {
  return [10, 25, 50].find((c) => max <= c * 0.96) ?? 100;
}

/** 1, 2, 5, 10, 20 … times `least`, whichever is just above. */
export function roundCeiling(least) {
  return (max) => {
    for (let decade = least; ; decade *= 10) {
      for (const step of [1, 2, 5]) if (max <= decade * step * 0.96) return decade * step;
    }
  };
}

function loop() {
  if (looping || still.matches) return;
  looping = true;
  const step = (now) => {
    if (still.matches) {
      looping = false;
      return;
    }
    if (now - lastDrawn >= frame) {
      lastDrawn = now;
      for (const plot of plots) plot.tick(now);
    }
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
}

still.addEventListener("change", loop);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const plot of plots) plot.recolour();
});
