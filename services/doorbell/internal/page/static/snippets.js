// The three lines to paste, for the shell and for the console, with this server's address in them.

const feed = "demo:mine";

function shell(origin) {
  return [
    `./bin/doorbell watch ${feed} --url ${origin} &`,
    `./bin/doorbell put ${feed} hello '"world"' --url ${origin}`,
    `./bin/doorbell put ${feed} hello '{"n":2}' --url ${origin}`,
  ];
}

function javascript(origin) {
  const signals = origin.replace(/^http/, "ws") + "/v1/signals";
  const base = `${origin}/v1/feeds/${feed}`;
  return [
    `ws = new WebSocket("${signals}", "doorbell.v1.json"); ` +
      `ws.onopen = () => ws.send(JSON.stringify({ subscribe: { "${feed}": "" } }));`,
    "ws.onmessage = async ({ data }) => { const m = JSON.parse(data), " +
      `head = (m.changed ?? m.subscribed)?.["${feed}"]; ` +
      `if (head) console.log(data, await (await fetch("${base}?at_least=" + head)).json()); };`,
    `fetch("${base}/changes", { method: "POST", headers: { "Content-Type": "application/json" }, ` +
      'body: JSON.stringify({ changes: [{ key: "hello", value: { at: Date.now() } }] }) });',
  ];
}

export function setUpSnippets(origin) {
  const $ = (id) => document.getElementById(id);
  const variants = [
    { tab: $("tab-shell"), panel: $("panel-shell"), list: $("snippet-shell"), lines: shell(origin) },
    { tab: $("tab-js"), panel: $("panel-js"), list: $("snippet-js"), lines: javascript(origin) },
  ];
  let chosen = variants[0];

  for (const { list, lines } of variants) {
    for (const line of lines) {
      const li = document.createElement("li");
      const code = document.createElement("code");
      code.textContent = line;
      li.append(code);
      list.append(li);
    }
  }

  const choose = (variant) => {
    chosen = variant;
    for (const v of variants) {
      v.tab.setAttribute("aria-selected", String(v === variant));
      v.tab.tabIndex = v === variant ? 0 : -1;
      v.panel.hidden = v !== variant;
    }
  };
  variants.forEach((variant, i) => {
    variant.tab.addEventListener("click", () => choose(variant));
    variant.tab.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
      const other = variants[(i + 1) % variants.length];
      choose(other);
      other.tab.focus();
    });
  });

  const label = $("copy-label");
  let timer;
  $("copy").addEventListener("click", async () => {
    label.textContent = (await copy(chosen)) ? "Copied" : "Selected";
    clearTimeout(timer);
    timer = setTimeout(() => (label.textContent = "Copy"), 1600);
  });
}

/** False where the clipboard is out of reach (it needs HTTPS or localhost): then the lines are selected instead. */
async function copy({ list, lines }) {
  try {
    await navigator.clipboard.writeText(lines.join("\n") + "\n");
    return true;
  } catch {
    getSelection().selectAllChildren(list);
    return false;
  }
}
