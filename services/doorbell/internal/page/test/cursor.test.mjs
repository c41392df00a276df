import assert from "node:assert/strict";
import { test } from "node:test";
import { compareCursors, isWalk, newerCursor, parseCursor, sameEpoch } from "../static/cursor.js";

test("seqs compare as numbers, also beyond 2^53", () => {
  assert.equal(compareCursors("0k3f9xa-9", "0k3f9xa-10"), -1);
  assert.equal(compareCursors("0k3f9xa-9007199254740993", "0k3f9xa-9007199254740992"), 1);
  assert.equal(compareCursors("0k3f9xa-10", "0k3f9xa-10"), 0);
});

test("epochs come before seqs", () => {
  assert.equal(compareCursors("0k3f9xa-900", "0k3f9xb-1"), -1);
  assert.equal(newerCursor("0k3f9xb-1", "0k3f9xa-900"), "0k3f9xb-1");
});

test("nothing comes before everything", () => {
  assert.equal(compareCursors("", "0k3f9xa-0"), -1);
  assert.equal(compareCursors("", ""), 0);
  assert.equal(newerCursor("", "0k3f9xa-0"), "0k3f9xa-0");
});

test("walk cursors name their place", () => {
  assert.ok(isWalk("0k3f9xa-7~90"));
  assert.ok(!isWalk("0k3f9xa-7"));
  assert.equal(compareCursors("0k3f9xa-7~90", "0k3f9xa-8"), -1);
  assert.ok(sameEpoch("0k3f9xa-7~90", "0k3f9xa-8"));
});

test("other spellings are no cursors", () => {
  for (const text of ["", "7", "0k3f9xa-", "0k3f9xa-07", "0k3f9xa-+7", "0K3F9XA-7", "0k3f9xa-7~", "0k3f9xa-7~0", null, 7]) {
    assert.equal(parseCursor(text), null, String(text));
  }
});
