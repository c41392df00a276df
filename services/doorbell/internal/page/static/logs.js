import { formatBytes, formatTime } from "./format.js";

// The two logs: frames and pulls, newest first, the last fifty of each.

const longest = 50;

class Log {
  constructor(list) {
    this.list = list;
  }

  /** Rows come in at the top; whoever has scrolled down to read keeps what they are reading where it is. */
  add(row) {
    const { list } = this;
    const at = list.scrollTop;
    const before = list.scrollHeight;
    list.prepend(row);
    const grown = list.scrollHeight - before;
    if (at > 0) list.scrollTop = at + grown;
    while (list.children.length > longest) list.lastElementChild.remove();
  }
}

function element(tag, className, text) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

function row(data, ...children) {
  const li = element("li");
  Object.assign(li.dataset, data);
  const date = new Date();
  const time = element("time", "", formatTime(date));
  time.dateTime = date.toISOString();
  li.append(time, ...children);
  return li;
}

export class SignalLog {
  constructor(list) {
    this.log = new Log(list);
  }

  add({ direction, text, bytes }) {
    const way = element("span", "way", direction === "in" ? "↓" : "↑");
    way.title = direction === "in" ? "received" : "sent";
    const li = row({ direction, kind: kindOf(text), bytes }, way, element("code", "frame", text));
    li.append(element("span", "size", formatBytes(bytes)));
    this.log.add(li);
  }
}

/** hello, subscribed, changed, …: the member that gives a frame its meaning. */
function kindOf(text) {
  try {
    return Object.keys(JSON.parse(text)).find((key) => key !== "id") ?? "";
  } catch {
    return "";
  }
}

export class PullLog {
  constructor(list) {
    this.log = new Log(list);
  }

  add({ url, kind, status, bytes, ms, headers, error }) {
    const { cacheControl = "", cdnCacheControl = "", etag = "" } = headers;
    const badge = element("span", "status", status ? String(status) : "×");
    const rest = element("span", "size", status ? `${formatBytes(bytes)} · ${ms.toFixed(ms < 10 ? 1 : 0)} ms` : error);
    const data = { url, kind, status, bytes, ms: ms.toFixed(1), cacheControl, cdnCacheControl, etag, error };
    const li = row(data, badge, rest, element("code", "frame", url));
    const list = element("dl", "headers");
    for (const [name, value] of [["Cache-Control", cacheControl], ["CDN-Cache-Control", cdnCacheControl], ["ETag", etag]]) {
      if (!value) continue;
      const pair = element("div");
      pair.append(element("dt", "", name), element("dd", "", value));
      list.append(pair);
    }
    if (list.childElementCount) li.append(list);
    this.log.add(li);
  }
}
