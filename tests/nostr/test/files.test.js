// blossom-client-sdk against the files of a space on E: up through home A, down through home C, listed, kept in another
// space, deleted; and a file of a private channel. Needs `warren-lab with-neighbourhood`.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Actions } from 'blossom-client-sdk';
import { createDeleteAuth, createDownloadAuth, createListAuth, createUploadAuth, encodeAuthorizationHeader } from 'blossom-client-sdk/auth';
import { bytes, server, sha256, signer } from '../lib/files.js';
import { createSpace, isKnown, socket, web } from '../lib/neighbourhood.js';
import { Person, values } from '../lib/people.js';

const [ann, ben, eve] = [new Person(), new Person(), new Person()];
const people = [ann, ben, eve];
const relays = [];
let space;
let atA;
let atC;

before(async () => {
  space = await createSpace('E', 'Album', '--visible', '--owner', ann.key);
  await isKnown('A', space.service);
  await isKnown('C', space.service);
  [atA, atC] = [server('A', space.service), server('C', space.service)];
  for (const person of people) {
    const relay = await person.connect(socket('A', space.service));
    await relay.publish(person.sign(9021, [['h', 'general']]));
    relays.push(relay);
  }
});
after(() => { for (const relay of relays) relay.close(); });

const png = (length) => new Blob([bytes(length)], { type: 'image/png' });
const upload = (person, where, blob, more) => Actions.uploadBlob(where, blob, {
  onAuth: (_, hash, type) => createUploadAuth(signer(person, more), hash, { type }),
});
const read = async (answer) => Buffer.from(await answer.arrayBuffer());

test('Blossom: a file goes up through A and comes down through C, whole and in parts', async () => {
  const picture = png(500_000);
  const content = Buffer.from(await picture.arrayBuffer());
  const said = await upload(ann, atA, picture);
  assert.deepEqual([said.sha256, said.size, said.type], [sha256(content), content.length, 'image/png']);
  assert.equal(await Actions.hasBlob(atC, said.sha256), true);
  assert.equal(await Actions.hasBlob(atC, '0'.repeat(64)), false);
  assert.ok((await read(await Actions.downloadBlob(atC, said.sha256))).equals(content));
  const part = await fetch(new URL(`/${said.sha256}.png`, atC), { headers: { Range: 'bytes=1000-1999' } });
  assert.deepEqual([part.status, part.headers.get('content-range')], [206, 'bytes 1000-1999/500000']);
  assert.ok((await read(part)).equals(content.subarray(1000, 2000)));
  // The address in the answer is one that a program can go on with.
  assert.match(said.url, new RegExp(`${said.sha256}\\.png$`));
});

test('Blossom: uploads need a proof for this very file by somebody who may', async () => {
  const picture = png(1000);
  await assert.rejects(Actions.uploadBlob(atA, picture), /auth/);
  const other = await createUploadAuth(signer(ann), png(1000));
  await assert.rejects(Actions.uploadBlob(atA, picture, { auth: other }), /auth/);
  const stranger = new Person();
  await assert.rejects(upload(stranger, atA, picture), /restricted|403/);
});

test('Blossom: one lists and deletes what one has uploaded', async () => {
  const first = await upload(ben, atA, png(2000));
  const second = await upload(ben, atC, png(3000));
  const list = () => Actions.listBlobs(atC, ben.key, { onAuth: () => createListAuth(signer(ben)) });
  assert.deepEqual((await list()).map((blob) => blob.sha256).sort(), [first.sha256, second.sha256].sort());
  const onAuth = (person) => (_, hash) => createDeleteAuth(signer(person), hash);
  await assert.rejects(Actions.deleteBlob(atC, first.sha256, { onAuth: onAuth(eve) }), /restricted|not-found|40[34]/);
  await Actions.deleteBlob(atC, first.sha256, { onAuth: onAuth(ben) });
  assert.deepEqual((await list()).map((blob) => blob.sha256), [second.sha256]);
  assert.equal(await Actions.hasBlob(atA, first.sha256), false);
});

test('Blossom: a file of a private channel opens for its members alone', async () => {
  const [relay] = relays;
  await relay.publish(ann.sign(9007, [['h', 'darkroom']]));
  await relay.publish(ann.sign(9002, [['h', 'darkroom'], ['name', 'Darkroom'], ['private'], ['closed'], ['restricted']]));
  await relay.publish(ann.sign(9000, [['h', 'darkroom'], ['p', ben.key]]));
  const picture = png(4000);
  const said = await upload(ann, atA, picture, [['h', 'darkroom']]);
  const named = `${space.service}.warren`;
  const get = async (person, servers) => {
    const proof = await createDownloadAuth(signer(person, [['server', servers]]), said.sha256);
    return fetch(new URL(`/${said.sha256}`, atC), { headers: { Authorization: encodeAuthorizationHeader(proof) } });
  };
  assert.equal((await get(ben, named)).status, 200);
  assert.equal((await get(eve, named)).status, 404);
  assert.equal((await fetch(new URL(`/${said.sha256}`, atC))).status, 404);
  // The client's own way: it asks, is told who it has to be, and proves it.
  const stock = await createDownloadAuth(signer(ben), atC);
  assert.ok(values(stock, 'server').length > 0);
  const answer = await fetch(new URL(`/${said.sha256}`, atC), { headers: { Authorization: encodeAuthorizationHeader(stock) } });
  assert.equal(answer.status, 200, 'a proof for <service>.localhost');
});

test('Blossom: a copy is kept in another space, and stays when the first one loses it', async () => {
  const second = await createSpace('C', 'Second album', '--visible', '--owner', ann.key);
  await isKnown('A', second.service);
  await isKnown('E', second.service);
  const there = server('A', second.service);
  const relay = await ann.connect(socket('A', second.service));
  await relay.publish(ann.sign(9021, [['h', 'general']]));
  const picture = png(100_000);
  const said = await upload(ann, atA, picture);
  const onAuth = (_, hash) => createUploadAuth(signer(ann), hash);
  const copy = await Actions.mirrorBlob(there, said, { onAuth });
  assert.equal(copy.sha256, said.sha256);
  await Actions.deleteBlob(atA, said.sha256, { onAuth: (_, hash) => createDeleteAuth(signer(ann), hash) });
  const kept = await fetch(new URL(said.sha256, web('D', second.service)));
  assert.equal(sha256(await read(kept)), said.sha256);
  await assert.rejects(Actions.mirrorBlob(there, { ...said, url: `http://127.0.0.1:1/${said.sha256}` }, { onAuth }), /./);
  relay.close();
});
