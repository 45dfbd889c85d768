// nostr-tools against one space through two homes. A and C are WebSocket addresses of the same space, given in
// WARREN_A and WARREN_C (for example ws://127.0.0.1:8080/s/<service>/). It sends to these addresses only.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import * as nip17 from 'nostr-tools/nip17';
import { Person, listen, now, query, within } from '../lib/people.js';

const { WARREN_A: a, WARREN_C: c } = process.env;
if (!a || !c) throw new Error('set WARREN_A and WARREN_C to two WebSocket addresses of one space');

const [ann, ben] = [new Person(), new Person()];
let atA;
let atC;

before(async () => {
  atA = await ann.connect(a);
  atC = await ben.connect(c);
  for (const [person, relay] of [[ann, atA], [ben, atC]]) await relay.publish(person.sign(9021, [['h', 'general']]));
});
after(() => {
  atA?.close();
  atC?.close();
});

test('NIP-11: both homes describe the same space', async () => {
  const describe = async (url) => (await fetch(url.replace(/^ws/, 'http'), { headers: { Accept: 'application/nostr+json' } })).json();
  const [one, other] = [await describe(a), await describe(c)];
  assert.deepEqual(one, other);
  assert.match(one.self, /^[0-9a-f]{64}$/);
  for (const nip of [1, 11, 29, 42]) assert.ok(one.supported_nips.includes(nip), `NIP ${nip}`);
});

test('NIP-01 and NIP-29: a message published through A arrives through C', async () => {
  const live = await listen(atC, [{ kinds: [9], '#h': ['general'], since: now() - 5, authors: [ann.key] }]);
  const message = ann.sign(9, [['h', 'general']], `hello from ${ann.key.slice(0, 8)}`);
  const started = performance.now();
  await within(atA.publish(message), 'OK');
  const heard = await live.first;
  assert.equal(JSON.stringify(heard, Object.keys(heard).sort()), JSON.stringify(message, Object.keys(heard).sort()));
  assert.deepEqual(heard.tags, message.tags);
  console.log(`arrived after ${(performance.now() - started).toFixed(1)} ms`);
  const stored = await query(atC, [{ ids: [message.id] }]);
  assert.equal(stored.length, 1);
});

test('NIP-17: a private message written through A opens at C, and for nobody else', async () => {
  const live = await listen(atC, [{ kinds: [1059], '#p': [ben.key] }]);
  const wrap = nip17.wrapEvent(ann.secret, { publicKey: ben.key }, 'only for you');
  await within(atA.publish(wrap), 'OK');
  const rumor = nip17.unwrapEvent(await live.first, ben.secret);
  assert.deepEqual([rumor.content, rumor.pubkey, rumor.kind], ['only for you', ann.key, 14]);
  await assert.rejects(query(atA, [{ kinds: [1059], '#p': [ben.key] }]), /restricted/);
  assert.equal((await query(atA, [{ ids: [wrap.id] }])).length, 0);
});

test('NIP-42: who has not proved to be the author is asked to', async () => {
  const stranger = new Person();
  const relay = await stranger.connect(a, { login: false });
  await assert.rejects(relay.publish(stranger.sign(9021, [['h', 'general']])), /auth-required/);
  relay.close();
  const member = await stranger.connect(a);
  await member.publish(stranger.sign(9021, [['h', 'general']]));
  await assert.rejects(member.publish(ann.sign(9, [['h', 'general']], 'not mine')), /auth-required/);
  member.close();
});

test('NIP-29: a channel is created, described, joined, written in and left', async () => {
  const id = `tools-${ann.key.slice(0, 8)}`;
  await atA.publish(ann.sign(9007, [['h', id]]));
  await atA.publish(ann.sign(9002, [['h', id], ['name', 'Tools'], ['about', 'Who has a ladder?'], ['private'], ['restricted']]));
  const [metadata] = await query(atC, [{ kinds: [39000], '#d': [id] }]);
  assert.deepEqual(metadata.tags.find((tag) => tag[0] === 'name'), ['name', 'Tools']);
  assert.ok(metadata.tags.some((tag) => tag[0] === 'private'));
  await assert.rejects(query(atC, [{ kinds: [9], '#h': [id] }]), /restricted/);
  await assert.rejects(atC.publish(ben.sign(9, [['h', id]], 'too early')), /restricted/);
  await atC.publish(ben.sign(9021, [['h', id]]));
  const members = await query(atA, [{ kinds: [39002], '#d': [id] }]);
  assert.deepEqual(members[0].tags.filter((tag) => tag[0] === 'p').map((tag) => tag[1]).sort(), [ann.key, ben.key].sort());
  const admins = await query(atA, [{ kinds: [39001], '#d': [id] }]);
  assert.deepEqual(admins[0].tags.filter((tag) => tag[0] === 'p'), [['p', ann.key, 'admin']]);
  const live = await listen(atA, [{ kinds: [9], '#h': [id], since: now() - 5 }]);
  await atC.publish(ben.sign(9, [['h', id]], 'I have one'));
  assert.equal((await live.first).content, 'I have one');
  await atC.publish(ben.sign(9022, [['h', id]]));
  await assert.rejects(atC.publish(ben.sign(9, [['h', id]], 'gone')), /restricted/);
});
