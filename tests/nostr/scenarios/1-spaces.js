// One command makes a space on E; a friend whose home is A gets in by an invitation; a hidden space is nobody's business;
// and the space moves from E to C without anybody noticing more than a pause.
import assert from 'node:assert/strict';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Actions } from 'blossom-client-sdk';
import { createUploadAuth } from 'blossom-client-sdk/auth';
import { bytes, server, sha256, signer } from '../lib/files.js';
import { manage } from '../lib/manage.js';
import { ask, createSpace, isKnown, owner, socket, web } from '../lib/neighbourhood.js';
import { Person, query, until, values } from '../lib/people.js';

const [ann, ben, cleo] = [new Person(), new Person(), new Person()];
const words = async (relay) => (await query(relay, [{ kinds: [9], '#h': ['general'] }])).map((event) => event.content).sort();
const titles = async (router) => (await ask(router, 'spaces')).map((space) => space.title);
let garden;
let code;
let picture;

test('one command makes a space that every home knows', async () => {
  garden = await createSpace('E', 'Allotments', '--visible', '--about', 'Beans and ladders', '--owner', ann.key);
  for (const router of ['A', 'B', 'C', 'D', 'E']) {
    const card = await isKnown(router, garden.service);
    assert.deepEqual([card.name, card.description], ['Allotments', 'Beans and ladders'], router);
  }
});

test('a hidden space on the same box is told to nobody and reached through its own home alone', async () => {
  const cellar = await createSpace('E', 'Cellar', '--owner', ann.key);
  await isKnown('E', cellar.service);
  // A space that was made later is known: so would be this one.
  await createSpace('E', 'Third space', '--visible', '--owner', ann.key);
  await until('the third space at A', async () => (await titles('A')).includes('Third space'));
  for (const router of ['A', 'B', 'C', 'D']) {
    assert.ok(!(await titles(router)).includes('Cellar'), router);
    const answer = await fetch(web(router, cellar.service), { headers: { Accept: 'application/nostr+json' } });
    assert.equal(answer.status, 502, router);
  }
  assert.ok((await ask('E', 'space', 'list')).some((space) => space.title === 'Cellar' && !space.visible));
});

test('a friend at another home gets in by an invitation, and not without', async () => {
  await manage(ann, web('E', garden.service), 'setaccess', 'closed');
  ({ code } = await manage(ann, web('E', garden.service), 'createinvite', { uses: 2 }));
  const relay = await ben.connect(socket('A', garden.service));
  await assert.rejects(relay.publish(ben.sign(28934, [['-'], ['claim', 'a-wrong-code']])), /restricted|invalid/);
  await assert.rejects(relay.publish(ben.sign(9, [['h', 'general']], 'let me in')), /restricted/);
  await relay.publish(ben.sign(28934, [['-'], ['claim', code]]));
  await relay.publish(ben.sign(9, [['h', 'general']], 'Thank you for having me'));
  relay.close();
  await manage(ann, web('E', garden.service), 'createrole', 'keeper', 'Keeper', 'keeps the shed', '120', 500, ['pin']);
  await manage(ann, web('E', garden.service), 'assignrole', ben.key, 'keeper');
  const file = new Blob([bytes(300_000)], { type: 'image/png' });
  picture = await Actions.uploadBlob(server('A', garden.service), file, { onAuth: (_, hash) => createUploadAuth(signer(ben), hash) });
});

test('the space moves to another box: same address, members, history, roles, files, invitations', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'warren-move-'));
  const file = join(folder, 'allotments.tar');
  try {
    const log = await manage(ann, web('E', garden.service), 'audit');
    await owner('E', 'space', 'export', 'Allotments', file, '--move');
    assert.equal((await stat(file)).mode & 0o077, 0, 'it holds keys');
    assert.match(await owner('C', 'space', 'import', file), /Allotments is here/);
    await owner('E', 'space', 'remove', 'Allotments', '--yes');
    for (const router of ['A', 'B', 'C', 'D', 'E']) assert.equal((await isKnown(router, garden.service)).name, 'Allotments', router);
    const there = await ask('C', 'space', 'show', 'Allotments');
    assert.deepEqual([there.service, there.owner], [garden.service, ann.key]);

    const relay = await until('Ben is in again', () => ben.connect(socket('A', garden.service)));
    assert.deepEqual(await words(relay), ['Thank you for having me']);
    await relay.publish(ben.sign(9, [['h', 'general']], 'Where are we?'));
    const [role] = await query(relay, [{ kinds: [33534], '#d': ['keeper'] }]);
    assert.deepEqual(values(role, 'label'), ['Keeper']);
    const [{ id }] = await query(relay, [{ kinds: [9], '#h': ['general'], limit: 1 }]);
    await relay.publish(ben.sign(9010, [['h', 'general'], ['e', id]]));
    relay.close();

    const download = await Actions.downloadBlob(server('D', garden.service), picture.sha256);
    assert.equal(sha256(Buffer.from(await download.arrayBuffer())), picture.sha256);
    const kept = await manage(ann, web('E', garden.service), 'audit');
    for (const entry of log) assert.ok(kept.some((other) => other.id === entry.id), 'an entry of the log is gone');

    // An invitation that was given out before the move still has a place.
    const other = await cleo.connect(socket('B', garden.service));
    await other.publish(cleo.sign(28934, [['-'], ['claim', code]]));
    await other.publish(cleo.sign(9, [['h', 'general']], 'Me too'));
    assert.deepEqual(await words(other), ['Me too', 'Thank you for having me', 'Where are we?']);
    other.close();
  } finally {
    await rm(folder, { recursive: true });
  }
});
