import assert from "node:assert/strict";
import { test } from "node:test";
import { answer, changesURL, delta, feed, harness, snapshotURL } from "./fakes.mjs";

const e = "0k3f9xa";

test("reconnects with full jitter and a growing ceiling, and resumes from its cursor", async () => {
  const h = harness({ random: 0.999 });
  await h.live(`${e}-3`);
  h.socket.breaks();
  assert.equal(h.state, "reconnecting");
  for (const [i, ceiling] of [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000].entries()) {
    await h.clock.pass(ceiling * 0.999 - 2);
    assert.equal(h.sockets.length, i + 1, `attempt ${i} came too early`);
    await h.clock.pass(4);
    assert.equal(h.sockets.length, i + 2, `attempt ${i} came too late`);
    if (i < 7) h.socket.breaks();
  }
  h.requests.length = 0;
  h.socket.accept();
  assert.deepEqual(h.socket.sent[0], { id: 1, subscribe: { [feed]: `${e}-3` } });
  h.socket.says({ subscribed: { [feed]: `${e}-7` } });
  assert.equal(h.state, "live");
  h.socket.breaks();
  await h.clock.pass(500);
  assert.equal(h.sockets.length, 10, "the ceiling is low again after a success");
});

test("what was missed while away is pulled as one delta", async () => {
  const h = harness();
  await h.live(`${e}-3`);
  h.socket.breaks(1012);
  await h.clock.pass(500);
  h.socket.accept();
  h.socket.says({ subscribed: { [feed]: `${e}-900` } });
  await h.reply(`${changesURL}?since=${e}-3&at_least=${e}-900`, delta(`${e}-3`, `${e}-900`, [["a", 900, 2]]));
  assert.deepEqual(h.items, { a: 2 });
});

test("a head behind ours after reconnecting is looked into", async () => {
  const h = harness();
  await h.live(`${e}-5`);
  h.socket.breaks();
  await h.clock.pass(500);
  h.socket.accept();
  h.socket.says({ subscribed: { [feed]: `${e}-2` } });
  const way = `${snapshotURL}?at_least=${e}-2`;
  await h.reply(`${changesURL}?since=${e}-5`, answer(410, { code: "reset", snapshot: way }));
  assert.deepEqual(h.waiting, [way]);
});

test("it polls while sockets cannot be had", async () => {
  const h = harness();
  await h.live(`${e}-3`);
  h.socket.breaks();
  await h.clock.pass(300);
  h.socket.breaks();
  h.follower.socket.env.openSocket = () => {
    throw new Error("blocked");
  };
  await h.clock.pass(1_100);
  await h.reply(`${changesURL}?since=${e}-3`, delta(`${e}-3`, `${e}-4`, [["a", 4, 4]]));
  assert.deepEqual(h.items, { a: 4 });
  assert.equal(h.state, "reconnecting");
});

test("degraded: polls at the server's pace until told otherwise", async () => {
  const h = harness();
  await h.live(`${e}-3`);
  h.socket.says({ degraded: true });
  assert.equal(h.state, "degraded");
  await h.clock.pass(1_100);
  const page = delta(`${e}-3`, `${e}-4`, [["a", 4, 4]]);
  await h.reply(`${changesURL}?since=${e}-3`, { ...page, headers: { "Doorbell-Poll-After": "5" } });
  await h.clock.pass(4_900);
  assert.deepEqual(h.waiting, []);
  await h.clock.pass(200);
  await h.reply(`${changesURL}?since=${e}-4`, delta(`${e}-4`, `${e}-4`, []));
  h.socket.says({ degraded: false });
  assert.equal(h.state, "live");
  await h.clock.pass(10_000);
  assert.deepEqual(h.waiting, []);
});

test("an unknown head: polls until one comes", async () => {
  const h = harness();
  h.follower.start();
  h.socket.accept();
  h.socket.says({ subscribed: { [feed]: null } });
  assert.equal(h.state, "degraded");
  await h.clock.pass(1_100);
  await h.reply(snapshotURL, answer(404, { code: "no_feed" }));
  assert.equal(h.follower.replica.items.size, 0);
  await h.rings(`${e}-1`);
  assert.equal(h.state, "live");
  assert.deepEqual(h.waiting, [`${snapshotURL}?at_least=${e}-1`]);
});

test("a silent server is asked, then left", async () => {
  const h = harness();
  await h.live(`${e}-3`);
  await h.clock.pass(25_000);
  assert.deepEqual(h.socket.sent.at(-1), { ping: 1 });
  h.socket.says({ pong: 1 });
  await h.clock.pass(24_000);
  assert.equal(h.state, "live");
  await h.clock.pass(11_100);
  assert.equal(h.state, "reconnecting");
  assert.ok(h.sockets[0].closed);
});

test("goaway: comes back at a random moment within the time given", async () => {
  const h = harness();
  await h.live(`${e}-3`);
  h.socket.says({ goaway: { reason: "drain", in_ms: 5_000 } });
  await h.clock.pass(2_400);
  assert.equal(h.sockets.length, 1);
  await h.clock.pass(200);
  assert.equal(h.sockets.length, 2);
  assert.ok(h.sockets[0].closed);
});

test("final close codes are final; 4029 waits as told", async () => {
  const refused = harness();
  await refused.live(`${e}-3`);
  refused.socket.breaks(4003, "not from here");
  assert.deepEqual(refused.statuses.at(-1), { state: "refused", detail: "not from here" });
  await refused.clock.pass(120_000);
  assert.equal(refused.sockets.length, 1);

  const busy = harness();
  await busy.live(`${e}-3`);
  busy.socket.breaks(4029, "retry in 7s");
  await busy.clock.pass(7_000);
  assert.equal(busy.sockets.length, 1);
  await busy.clock.pass(500);
  assert.equal(busy.sockets.length, 2);
});

test("a denied feed is said to be so and not polled", async () => {
  const h = harness();
  h.follower.start();
  h.socket.accept();
  h.socket.says({ id: 1, subscribed: {}, denied: { [feed]: "forbidden" } });
  assert.equal(h.state, "refused");
  await h.clock.pass(5_000);
  assert.deepEqual(h.waiting, []);
});

test("frames are counted in UTF-8 bytes, both ways", async () => {
  const h = harness();
  await h.live(`${e}-3`);
  const text = '{"error":{"code":"x","detail":"é€"}}';
  h.socket.onmessage({ data: text });
  assert.deepEqual(h.frames.at(-1), { direction: "in", text, bytes: 39 });
  assert.equal(h.frames[0].direction, "out");
});
