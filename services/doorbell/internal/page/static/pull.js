// One GET, measured: what came back, how the caches were told to treat it, its size and its time.

const limit = 20_000; // ms; the server itself waits 2 s at most for a version floor

/**
 * Never rejects: a failed request has status 0 and a message in `error`. `bytes` is the body after decompression,
 * `body` its JSON, or null where it has none.
 */
export async function pull(env, url) {
  const started = env.now();
  const abort = new AbortController();
  const timer = env.setTimeout(() => abort.abort(), limit);
  const result = { url, status: 0, bytes: 0, ms: 0, body: null, error: "", headers: {} };
  try {
    const response = await env.fetch(url, { signal: abort.signal });
    const header = (name) => response.headers.get(name) ?? "";
    result.status = response.status;
    result.headers = {
      cacheControl: header("Cache-Control"),
      cdnCacheControl: header("CDN-Cache-Control"),
      etag: header("ETag"),
      pollAfter: seconds(header("Doorbell-Poll-After")),
      pull: header("Doorbell-Pull"),
      retryAfter: seconds(header("Retry-After")),
    };
    const body = await response.arrayBuffer();
    result.bytes = body.byteLength;
    result.body = parse(body);
    if (result.status === 200 && !isPage(result.body)) {
      result.status = 0;
      result.error = "the answer is no snapshot or delta";
    }
  } catch (error) {
    result.status = 0;
    result.error = abort.signal.aborted ? "timed out" : "no connection";
  } finally {
    env.clearTimeout(timer);
    result.ms = env.now() - started;
  }
  return result;
}

function parse(buffer) {
  try {
    return JSON.parse(new TextDecoder().decode(buffer));
  } catch {
    return null;
  }
}

function isPage(body) {
  return typeof body?.cursor === "string" && (Array.isArray(body.items) || Array.isArray(body.changes));
}

/** A header's number of seconds in ms, or undefined. */
function seconds(text) {
  const n = Number.parseFloat(text);
  return Number.isFinite(n) && n >= 0 ? n * 1000 : undefined;
}
