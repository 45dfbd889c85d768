// NIP-77 with nostr-tools' negentropy: a device that has some of a channel's messages finds out through home C which ones
// it lacks and which the space lacks. WARREN_A and WARREN_C are addresses of one space at two homes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Person, query } from '../lib/people.js';
import { sync } from '../lib/sync.js';

const { WARREN_A: a, WARREN_C: c } = process.env;
if (!a || !c) throw new Error('set WARREN_A and WARREN_C to two WebSocket addresses of one space');

const ids = (events) => events.map((event) => event.id).sort();

test('NIP-77: only what is missing is named, on both sides', async () => {
  const ann = new Person();
  const relay = await ann.connect(a);
  await relay.publish(ann.sign(9021, [['h', 'general']]));
  const stored = [];
  for (let n = 0; n < 60; n += 1) {
    const event = ann.sign(9, [['h', 'general']], `message ${n}`);
    await relay.publish(event);
    stored.push(event);
  }
  const unsent = [1, 2].map((n) => ann.sign(9, [['h', 'general']], `not sent ${n}`));
  const filter = { kinds: [9], '#h': ['general'], authors: [ann.key] };
  const device = await ann.connect(c);
  const { have, need } = await sync(device, [...stored.slice(0, 40), ...unsent], filter);
  assert.deepEqual(need, ids(stored.slice(40)));
  assert.deepEqual(have, ids(unsent));
  // Both sides make it good, and then there is nothing left to say.
  for (const event of unsent) await device.publish(event);
  const fetched = await query(device, [{ ids: need }]);
  assert.deepEqual(ids(fetched), need);
  const after = await sync(device, [...stored, ...unsent], filter);
  assert.deepEqual(after, { have: [], need: [] });
  relay.close();
  device.close();
});

test('NIP-77: a private channel is compared with its members alone', async () => {
  const [ann, eve] = [new Person(), new Person()];
  const relay = await ann.connect(a);
  const id = `sync-${ann.key.slice(0, 8)}`;
  await relay.publish(ann.sign(9021, [['h', 'general']]));
  await relay.publish(ann.sign(9007, [['h', id]]));
  await relay.publish(ann.sign(9002, [['h', id], ['name', 'Sync'], ['private'], ['closed']]));
  const secret = ann.sign(9, [['h', id]], 'a secret');
  await relay.publish(secret);
  const [mine, theirs] = [await ann.connect(c), await eve.connect(c)];
  assert.deepEqual((await sync(mine, [], { kinds: [9], '#h': [id] })).need, [secret.id]);
  // nostr-tools passes no reason of a refusal on: it has learnt nothing and is at its end.
  assert.deepEqual(await sync(theirs, [], { kinds: [9], '#h': [id] }), { have: [], need: [] });
  const { need } = await sync(theirs, [], { kinds: [9], authors: [ann.key] });
  assert.ok(!need.includes(secret.id));
  for (const one of [relay, mine, theirs]) one.close();
});
