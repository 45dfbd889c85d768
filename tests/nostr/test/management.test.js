// NIP-86 and NIP-98 with nostr-tools: an owner manages a space on E from home A; who may not is refused. Needs
// `warren-lab with-neighbourhood`.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import * as nip98 from 'nostr-tools/nip98';
import { manage } from '../lib/manage.js';
import { createSpace, isKnown, socket, web } from '../lib/neighbourhood.js';
import { Person, query, values } from '../lib/people.js';

const [olga, ben] = [new Person(), new Person()];
let url;
let space;

before(async () => {
  space = await createSpace('E', 'Town hall', '--visible', '--owner', olga.key);
  await isKnown('A', space.service);
  await isKnown('C', space.service);
  url = web('A', space.service);
});

const card = async () => (await fetch(url, { headers: { Accept: 'application/nostr+json' } })).json();

test('NIP-86: the owner renames the space, makes a role, gives it, and reads the log', async () => {
  const methods = await manage(olga, url, 'supportedmethods');
  for (const method of ['changerelayname', 'banpubkey', 'createrole', 'createinvite', 'audit']) assert.ok(methods.includes(method), method);
  await manage(olga, url, 'changerelayname', 'Old town hall');
  await manage(olga, url, 'changerelaydescription', 'Where it is decided');
  const { name, description } = await card();
  assert.deepEqual([name, description], ['Old town hall', 'Where it is decided']);
  const relay = await ben.connect(socket('C', space.service));
  await relay.publish(ben.sign(9021, [['h', 'general']]));
  await manage(olga, url, 'createrole', 'clerk', 'Clerk', 'writes things down', '40', 500);
  await manage(olga, url, 'assignrole', ben.key, 'clerk');
  const [role] = await query(relay, [{ kinds: [33534], '#d': ['clerk'] }]);
  assert.deepEqual(values(role, 'label'), ['Clerk']);
  const acts = (await manage(olga, url, 'audit')).map((entry) => values(entry, 'act')[0]);
  for (const act of ['describe', 'create-role', 'assign-role']) assert.ok(acts.includes(act), `${act} of ${acts}`);
  relay.close();
});

test('NIP-86: a ban holds at every home until it is lifted', async () => {
  await manage(olga, url, 'banpubkey', ben.key, 'too loud');
  assert.deepEqual((await manage(olga, url, 'listbannedpubkeys')).map((one) => one.pubkey), [ben.key]);
  const relay = await ben.connect(socket('C', space.service));
  // Other words than when he joined: within the same second it would be the same event, which the space has.
  await assert.rejects(relay.publish(ben.sign(9021, [['h', 'general']], 'banned')), /blocked|restricted/);
  await manage(olga, url, 'unbanpubkey', ben.key);
  await relay.publish(ben.sign(9021, [['h', 'general']], 'back'));
  relay.close();
});

test('NIP-98: a stranger, a proof for something else and a proof shown twice do not count', async () => {
  await assert.rejects(manage(ben, url, 'changerelayname', 'Ben'), /restricted|not/);
  const body = { method: 'changerelayname', params: ['Replayed'] };
  const call = (proof, text = JSON.stringify(body)) => fetch(url, {
    method: 'POST',
    headers: { 'Content-Type': 'application/nostr+json+rpc', Authorization: proof },
    body: text,
  });
  const token = (where, method, payload) => nip98.getToken(where, method, (event) => olga.finish(event), true, payload);
  const proof = await token(url, 'POST', body);
  assert.equal((await call(proof, JSON.stringify({ ...body, params: ['Forged'] }))).status, 401);
  assert.equal((await call(proof)).status, 200);
  assert.equal((await call(proof)).status, 401);
  assert.equal((await call(await token('http://elsewhere.example/', 'POST', body))).status, 401);
  assert.equal((await call(await token(url, 'GET', body))).status, 401);
  assert.equal((await call(await token(url, 'POST'))).status, 401, 'without the hash of the body');
  assert.equal((await card()).name, 'Replayed');
});
