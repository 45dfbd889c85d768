// Files of a space on E: 64 MiB up through the home of A and down through the home of C, also in ranges; the mesh breaks
// in the middle of an upload, and it goes on.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Actions } from 'blossom-client-sdk';
import { createUploadAuth } from 'blossom-client-sdk/auth';
import { Upload, bytes, server, sha256, signer } from '../lib/files.js';
import { createSpace, cut, heal, isKnown, socket, web } from '../lib/neighbourhood.js';
import { Person, until } from '../lib/people.js';

const MIB = 1 << 20;
const ann = new Person();
let space;

before(async () => {
  space = await createSpace('E', 'Cinema', '--visible', '--owner', ann.key);
  for (const router of ['A', 'C']) await isKnown(router, space.service);
  const relay = await ann.connect(socket('A', space.service));
  await relay.publish(ann.sign(9021, [['h', 'general']]));
  relay.close();
});

test('64 MiB go up through A and come down through C, whole and in ranges', async () => {
  const film = bytes(64 * MIB);
  const name = sha256(film);
  const blob = new Blob([film], { type: 'video/mp4' });
  const said = await Actions.uploadBlob(server('A', space.service), blob, { onAuth: (_, hash) => createUploadAuth(signer(ann), hash) });
  assert.deepEqual([said.sha256, said.size, said.type], [name, film.length, 'video/mp4']);
  const whole = await Actions.downloadBlob(server('C', space.service), name);
  assert.equal(sha256(Buffer.from(await whole.arrayBuffer())), name);
  const url = new URL(`${name}.mp4`, web('C', space.service));
  const middle = await fetch(url, { headers: { Range: `bytes=${30 * MIB}-${31 * MIB - 1}` } });
  assert.deepEqual([middle.status, middle.headers.get('content-range')], [206, `bytes ${30 * MIB}-${31 * MIB - 1}/${film.length}`]);
  assert.ok(Buffer.from(await middle.arrayBuffer()).equals(film.subarray(30 * MIB, 31 * MIB)));
  const last = await fetch(url, { headers: { Range: 'bytes=-1000' } });
  assert.ok(Buffer.from(await last.arrayBuffer()).equals(film.subarray(film.length - 1000)));
  const beyond = await fetch(url, { headers: { Range: `bytes=${film.length}-` } });
  assert.equal(beyond.status, 416);
  const known = await fetch(url, { headers: { 'If-None-Match': middle.headers.get('etag') } });
  assert.equal(known.status, 304);
});

for (const how of [[], ['silent']]) {
  test(`an upload goes on after the mesh broke in its middle (${how[0] ?? 'announced'})`, async () => {
    const film = bytes(24 * MIB);
    const upload = new Upload(ann, web('A', space.service), film);
    const first = await upload.part(0, 4 * MIB);
    assert.equal(first.status, 204, first.headers.get('x-reason'));
    // The rest is on its way when the only link to E dies.
    const hangUp = new AbortController();
    const rest = upload.part(4 * MIB, film.length, hangUp.signal).then((answer) => answer.status, () => 'broken');
    await cut('D', 'E', ...how);
    const away = fetch(web('A', space.service), { headers: { Accept: 'application/nostr+json' }, signal: AbortSignal.timeout(2000) });
    assert.notEqual(await away.then((answer) => answer.status, () => 'nothing'), 200, 'E is away');
    hangUp.abort();
    const status = await rest;
    await heal('D', 'E');
    const here = await until('the space says how far it is', () => upload.offset(AbortSignal.timeout(5000)));
    assert.ok(here >= 4 * MIB, `${here} bytes are there`);
    if (status !== 201) assert.ok(here < film.length, 'the link was cut too late to break anything');
    if (here < film.length) {
      const last = await upload.part(here);
      assert.equal(last.status, 201, last.headers.get('x-reason'));
    }
    const whole = await until('the film at C', async () => {
      const answer = await fetch(new URL(upload.name, web('C', space.service)));
      return answer.ok && Buffer.from(await answer.arrayBuffer());
    });
    assert.equal(sha256(whole), upload.name);
  });
}
