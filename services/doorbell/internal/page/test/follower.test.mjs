import assert from "node:assert/strict";
import { test } from "node:test";
import { answer, changesURL, delta, feed, harness, snapshot, snapshotURL } from "./fakes.mjs";

const e = "0k3f9xa";
const next = "0k3f9xb";

test("subscribes with nothing, then loads the pinned snapshot of the head it is told", async () => {
  const h = harness();
  h.follower.start();
  assert.equal(h.socket.url, "ws://doorbell.test/v1/signals");
  assert.equal(h.socket.protocol, "doorbell.v1.json");
  assert.equal(h.state, "connecting");
  h.socket.accept();
  assert.deepEqual(h.socket.sent, [{ id: 1, subscribe: { [feed]: "" } }]);
  h.socket.says({ id: 1, subscribed: { [feed]: `${e}-3` } });
  assert.equal(h.state, "live");
  await h.reply(`${snapshotURL}?at_least=${e}-3`, snapshot(`${e}-3`, [["a", 3, 1]]));
  assert.equal(h.cursor, `${e}-3`);
  assert.deepEqual(h.items, { a: 1 });
  assert.deepEqual(h.waiting, []);
});

test("a signal pulls the delta, parameters in canonical order; tombstones delete", async () => {
  const h = harness();
  await h.live(`${e}-3`, [["a", 1, 1], ["b", 3, 2]]);
  await h.rings(`${e}-5`);
  await h.reply(`${changesURL}?since=${e}-3&at_least=${e}-5`, delta(`${e}-3`, `${e}-5`, [["a", 4], ["c", 5, { n: 1 }]]));
  assert.deepEqual(h.items, { b: 2, c: { n: 1 } });
  assert.equal(h.cursor, `${e}-5`);
});

test("a signal for what is already here, or older, pulls nothing", async () => {
  const h = harness();
  await h.live(`${e}-3`);
  await h.rings(`${e}-3`);
  await h.rings(`${e}-2`);
  await h.rings(`0000001-99`);
  assert.deepEqual(h.waiting, []);
});

test("one pull at a time; the newest head is kept meanwhile", async () => {
  const h = harness();
  await h.live(`${e}-1`);
  await h.rings(`${e}-2`);
  await h.rings(`${e}-3`);
  await h.rings(`${e}-9`);
  await h.rings(`${e}-8`);
  assert.equal(h.waiting.length, 1);
  await h.reply(`${changesURL}?since=${e}-1&at_least=${e}-2`, delta(`${e}-1`, `${e}-2`, [["a", 2, 2]]));
  assert.equal(h.waiting.length, 1);
  await h.reply(`${changesURL}?since=${e}-2&at_least=${e}-9`, delta(`${e}-2`, `${e}-9`, [["a", 9, 9]]));
  assert.deepEqual(h.items, { a: 9 });
  assert.deepEqual(h.waiting, []);
});

test("an answer beyond what was asked for spares the next pull", async () => {
  const h = harness();
  await h.live(`${e}-1`);
  await h.rings(`${e}-2`);
  await h.rings(`${e}-3`);
  await h.reply(`${changesURL}?since=${e}-1&at_least=${e}-2`, delta(`${e}-1`, `${e}-3`, [["a", 3, 3]]));
  assert.deepEqual(h.waiting, []);
});

test("a walk keeps its version floor, shows nothing half, and follows later signals afterwards", async () => {
  const h = harness();
  await h.live(`${e}-3`, [["old", 3, 0]]);
  await h.rings(`${next}-9`);
  await h.reply(`${snapshotURL}?at_least=${next}-9`, snapshot(`${next}-2~9`, [["a", 1, 1], ["b", 2, 2]], true));
  assert.deepEqual(h.items, { old: 0 });
  await h.rings(`${next}-11`);
  await h.reply(`${changesURL}?since=${next}-2~9&at_least=${next}-9`, delta(`${next}-2~9`, `${next}-6~9`, [["c", 6, 3]], true));
  await h.reply(
    `${changesURL}?since=${next}-6~9&at_least=${next}-9`,
    delta(`${next}-6~9`, `${next}-10`, [["d", 8, 4], ["b", 10]]),
  );
  assert.deepEqual(h.items, { a: 1, c: 3, d: 4 });
  await h.reply(`${changesURL}?since=${next}-10&at_least=${next}-11`, delta(`${next}-10`, `${next}-11`, [["d", 11, 5]]));
  assert.equal(h.cursor, `${next}-11`);
  assert.equal(h.landings, 3);
});

test("a delta in several pages is followed to its end", async () => {
  const h = harness();
  await h.live(`${e}-1`);
  await h.rings(`${e}-9`);
  await h.reply(`${changesURL}?since=${e}-1&at_least=${e}-9`, delta(`${e}-1`, `${e}-5`, [["b", 5, 2]], true));
  await h.reply(`${changesURL}?since=${e}-5&at_least=${e}-9`, delta(`${e}-5`, `${e}-9`, [["c", 9, 3]]));
  assert.deepEqual(h.items, { a: 1, b: 2, c: 3 });
});

test("a walk is given up when the feed is born anew", async () => {
  const h = harness();
  h.follower.start();
  h.socket.accept();
  h.socket.says({ subscribed: { [feed]: `${e}-9` } });
  await h.reply(`${snapshotURL}?at_least=${e}-9`, snapshot(`${e}-2~9`, [["a", 1, 1]], true));
  await h.rings(`${next}-1`);
  await h.reply(`${changesURL}?since=${e}-2~9&at_least=${e}-9`, delta(`${e}-2~9`, `${e}-4~9`, [["b", 4, 1]], true));
  await h.reply(`${snapshotURL}?at_least=${next}-1`, snapshot(`${next}-1`, [["z", 1, 1]]));
  assert.deepEqual(h.items, { z: 1 });
});

test("a page that fails is asked for again, from where the walk stands", async () => {
  const h = harness();
  h.follower.start();
  h.socket.accept();
  h.socket.says({ subscribed: { [feed]: `${e}-9` } });
  await h.reply(`${snapshotURL}?at_least=${e}-9`, snapshot(`${e}-2~9`, [["a", 1, 1]], true));
  await h.breakRequest();
  assert.deepEqual(h.waiting, []);
  await h.clock.pass(1_000);
  await h.reply(`${changesURL}?since=${e}-2~9&at_least=${e}-9`, delta(`${e}-2~9`, `${e}-9`, [["b", 9, 1]]));
  assert.deepEqual(h.items, { a: 1, b: 1 });
});

for (const [what, reply] of [
  ["a delta that starts elsewhere", delta(`${e}-4`, `${e}-5`, [["x", 5, 1]])],
  ["a delta that goes back", delta(`${e}-3`, `${e}-2`, [["x", 2, 1]])],
  ["a delta into another epoch", delta(`${e}-3`, `${next}-5`, [["x", 5, 1]])],
  ["a page that leads nowhere", delta(`${e}-3`, `${e}-3`, [], true)],
  ["a snapshot in a delta's place", snapshot(`${e}-5`, [["x", 5, 1]])],
]) {
  test(`${what} is not applied; a snapshot helps`, async () => {
    const h = harness();
    await h.live(`${e}-3`);
    await h.rings(`${e}-5`);
    await h.reply(`${changesURL}?since=${e}-3&at_least=${e}-5`, reply);
    assert.deepEqual(h.items, { a: 1 });
    assert.equal(h.cursor, `${e}-3`);
    assert.deepEqual(h.waiting, [], "not at once");
    await h.clock.pass(1_000);
    await h.reply(`${snapshotURL}?at_least=${e}-5`, snapshot(`${e}-5`, [["y", 5, 1]]));
    assert.deepEqual(h.items, { y: 1 });
  });
}

for (const [what, body] of [
  ["a portal's page", "<html>please log in</html>"],
  ["nothing", ""],
  ["no cursor", { feed, since: `${e}-3`, more: false, changes: [] }],
  ["less than was asked for", { feed, since: `${e}-3`, cursor: `${e}-4`, more: false, changes: [] }],
]) {
  test(`${what} in an answer's place is an error, and asked for again after a while`, async () => {
    const h = harness();
    await h.live(`${e}-3`);
    await h.rings(`${e}-5`);
    await h.reply(`${changesURL}?since=${e}-3&at_least=${e}-5`, answer(200, body));
    assert.deepEqual(h.items, { a: 1 });
    assert.deepEqual(h.waiting, []);
    await h.clock.pass(1_000);
    assert.deepEqual(h.waiting, [`${changesURL}?since=${h.cursor}&at_least=${e}-5`]);
  });
}

test("an older snapshot of the same epoch is ignored", async () => {
  const h = harness();
  await h.live(`${e}-5`);
  h.follower.preferSnapshot = true;
  await h.rings(`${e}-6`);
  await h.reply(`${snapshotURL}?at_least=${e}-6`, snapshot(`${e}-4`, [["stale", 4, 1]]));
  assert.deepEqual(h.items, { a: 1 });
  assert.equal(h.cursor, `${e}-5`);
});

test("Doorbell-Pull: snapshot makes the next pull a pinned snapshot", async () => {
  const h = harness();
  await h.live(`${e}-1`);
  await h.rings(`${e}-2`);
  const first = delta(`${e}-1`, `${e}-2`, [["a", 2, 2]]);
  await h.reply(`${changesURL}?since=${e}-1&at_least=${e}-2`, { ...first, headers: { "Doorbell-Pull": "snapshot" } });
  await h.rings(`${e}-3`);
  await h.reply(`${snapshotURL}?at_least=${e}-3`, snapshot(`${e}-3`, [["a", 3, 3]]));
  assert.deepEqual(h.items, { a: 3 });
  await h.rings(`${e}-4`);
  assert.deepEqual(h.waiting, [`${changesURL}?since=${e}-3&at_least=${e}-4`]);
});

test("trimmed drops items at or below it", async () => {
  const h = harness();
  await h.live(`${e}-3`, [["a", 1, 1], ["b", 2, 2], ["c", 3, 3]]);
  await h.rings(`${e}-4`);
  const page = delta(`${e}-3`, `${e}-4`, [["d", 4, 4]]);
  page.body.trimmed = 2;
  await h.reply(`${changesURL}?since=${e}-3&at_least=${e}-4`, page);
  assert.deepEqual(h.items, { c: 3, d: 4 });
});

test("a reset leads to the snapshot it names, though that is further back", async () => {
  const h = harness();
  await h.live(`${e}-5`);
  await h.rings(`${e}-9`);
  const way = `${snapshotURL}?at_least=${e}-2`;
  await h.reply(`${changesURL}?since=${e}-5&at_least=${e}-9`, answer(410, { code: "reset", snapshot: way }));
  assert.deepEqual(h.items, { a: 1 }, "stays on screen until it is replaced");
  await h.reply(way, snapshot(`${e}-2`, [["b", 2, 2]]));
  assert.deepEqual(h.items, { b: 2 });
  assert.equal(h.cursor, `${e}-2`);
  assert.deepEqual(h.waiting, []);
});

test("another epoch goes straight to the pinned snapshot, a dropped feed reads as empty", async () => {
  const h = harness();
  await h.live(`${e}-5`);
  await h.rings(`${next}-0`);
  await h.reply(`${snapshotURL}?at_least=${next}-0`, snapshot(`${next}-0`, []));
  assert.deepEqual(h.items, {});
  await h.rings(`${e}-6`);
  assert.deepEqual(h.waiting, [], "an old epoch is history");
});

test("three resets in ten seconds: it waits, says so, and goes on", async () => {
  const h = harness();
  await h.live(`${e}-1`);
  for (const [i, epoch] of ["0k3f9xc", "0k3f9xd", "0k3f9xe"].entries()) {
    assert.equal(h.state, "live", `reset ${i}`);
    await h.rings(`${epoch}-1`);
    await h.reply(`${snapshotURL}?at_least=${epoch}-1`, snapshot(`${epoch}-1`, []));
    await h.clock.pass(1_000);
  }
  assert.equal(h.state, "degraded");
  assert.match(h.statuses.at(-1).detail, /reset three times/);
  await h.rings("0k3f9xf-1");
  assert.deepEqual(h.waiting, []);
  await h.clock.pass(20_000);
  assert.deepEqual(h.waiting, [`${snapshotURL}?at_least=0k3f9xf-1`]);
  assert.equal(h.state, "live");
});

test("a feed that does not exist is empty, and is loaded when it is born", async () => {
  const h = harness();
  h.follower.start();
  h.socket.accept();
  h.socket.says({ subscribed: { [feed]: "" } });
  await h.clock.pass(24_000);
  assert.deepEqual(h.waiting, []);
  assert.equal(h.state, "live");
  await h.rings(`${e}-1`);
  await h.reply(`${snapshotURL}?at_least=${e}-1`, snapshot(`${e}-1`, [["a", 1, 1]]));
  assert.deepEqual(h.items, { a: 1 });
});

test("behind: waits for as long as it is told, then asks for the newest head", async () => {
  const h = harness({ random: 0 });
  await h.live(`${e}-1`);
  await h.rings(`${e}-2`);
  await h.reply(`${changesURL}?since=${e}-1&at_least=${e}-2`, answer(503, { code: "behind" }, { "Retry-After": "2" }));
  await h.rings(`${e}-3`);
  await h.clock.pass(1_900);
  assert.deepEqual(h.waiting, []);
  await h.clock.pass(200);
  assert.deepEqual(h.waiting, [`${changesURL}?since=${e}-1&at_least=${e}-3`]);
});

test("spread delays the pull, and what rings meanwhile joins it", async () => {
  const h = harness();
  await h.live(`${e}-1`);
  await h.rings(`${e}-2`, { spread: 800 });
  await h.clock.pass(200);
  await h.rings(`${e}-3`);
  assert.deepEqual(h.waiting, []);
  await h.clock.pass(200);
  assert.deepEqual(h.waiting, [`${changesURL}?since=${e}-1&at_least=${e}-3`]);
});

test("spread also holds for a signal that came during a pull", async () => {
  const h = harness();
  await h.live(`${e}-1`);
  await h.rings(`${e}-2`);
  await h.rings(`${e}-3`, { spread: 800 });
  await h.reply(`${changesURL}?since=${e}-1&at_least=${e}-2`, delta(`${e}-1`, `${e}-2`, [["a", 2, 2]]));
  assert.deepEqual(h.waiting, []);
  await h.clock.pass(400);
  assert.deepEqual(h.waiting, [`${changesURL}?since=${e}-2&at_least=${e}-3`]);
});
