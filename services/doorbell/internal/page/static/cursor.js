// Cursors: "<epoch>-<seq>", and "<epoch>-<seq>~<base>" while a snapshot is being walked. They go back to the server
// verbatim; they are only taken apart here to be compared.

const form = /^([0-9a-z]+)-(0|[1-9][0-9]{0,18})(?:~([1-9][0-9]{0,18}))?$/;

/** The parts of a cursor's text, or null where it is none ("" included). A seq may exceed 2^53, hence BigInt. */
export function parseCursor(text) {
  const m = typeof text === "string" ? form.exec(text) : null;
  return m && { epoch: m[1], seq: BigInt(m[2]), walk: m[3] !== undefined };
}

/**
 * Orders the places that two cursors name: -1, 0 or 1. Epochs come before seqs, and sort as text since their width
 * is fixed; "" (nothing) comes before everything.
 */
export function compareCursors(a, b) {
  const x = parseCursor(a);
  const y = parseCursor(b);
  if (!x || !y) return Number(Boolean(x)) - Number(Boolean(y));
  if (x.epoch !== y.epoch) return x.epoch < y.epoch ? -1 : 1;
  return x.seq === y.seq ? 0 : x.seq < y.seq ? -1 : 1;
}

/** The newer of two cursors, either of which may be "". */
export function newerCursor(a, b) {
  return compareCursors(a, b) >= 0 ? a : b;
}

export function sameEpoch(a, b) {
  const x = parseCursor(a);
  const y = parseCursor(b);
  return Boolean(x && y && x.epoch === y.epoch);
}

export function isWalk(cursor) {
  return Boolean(parseCursor(cursor)?.walk);
}
