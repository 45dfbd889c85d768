// 200 MiB through the homes of A and C to and from a space on E: nobody on the way holds the file in memory. The memory of
// the three daemons (PSS) stays within 4 MiB of what it was, however much has passed.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { before, test } from 'node:test';
import { createUploadAuth, encodeAuthorizationHeader } from 'blossom-client-sdk/auth';
import { bytes, signer } from '../lib/files.js';
import { createSpace, isKnown, memory, owner, socket, web } from '../lib/neighbourhood.js';
import { Person } from '../lib/people.js';

const MIB = 1 << 20;
const PIECES = 200;
const ROUTERS = ['A', 'C', 'E'];
const GROWTH = 4;
const ann = new Person();
const piece = bytes(MIB);
let space;

/** The film, a piece at a time: this program does not hold it either. */
function* film(pieces) {
  for (let n = 0; n < pieces; n += 1) {
    piece.writeUInt32BE(n, 0);
    yield Buffer.from(piece);
  }
}

async function upload(pieces) {
  const hash = createHash('sha256');
  for (const one of film(pieces)) hash.update(one);
  const name = hash.digest('hex');
  const proof = await createUploadAuth(signer(ann), name);
  const answer = await fetch(new URL('upload', web('A', space.service)), {
    method: 'PUT',
    headers: { Authorization: encodeAuthorizationHeader(proof), 'Content-Type': 'video/mp4', 'Content-Length': String(pieces * MIB) },
    body: ReadableStream.from(film(pieces)),
    duplex: 'half',
  });
  assert.equal(answer.status, 201, answer.headers.get('x-reason'));
  return name;
}

async function download(name, pieces) {
  const answer = await fetch(new URL(name, web('C', space.service)));
  assert.equal(answer.status, 200);
  const hash = createHash('sha256');
  let length = 0;
  for await (const one of answer.body) {
    hash.update(one);
    length += one.length;
  }
  assert.deepEqual([hash.digest('hex'), length], [name, pieces * MIB]);
}

/** The most each daemon has while something is going on, in MiB. */
async function peak(work) {
  const most = new Map(ROUTERS.map((router) => [router, 0]));
  let going = true;
  const watch = (async () => {
    do {
      for (const router of ROUTERS) most.set(router, Math.max(most.get(router), (await memory(router)) / MIB));
    } while (going);
  })();
  const result = await work().finally(() => { going = false; });
  await watch;
  return { result, most };
}

before(async () => {
  space = await createSpace('E', 'Archive of films', '--visible', '--owner', ann.key);
  await owner('E', 'space', 'set', 'Archive of films', '--quota', '2000');
  for (const router of ['A', 'C']) await isKnown(router, space.service);
  const relay = await ann.connect(socket('A', space.service));
  await relay.publish(ann.sign(9021, [['h', 'general']]));
  relay.close();
});

test(`${PIECES} MiB up and down through two homes, in memory that stays flat`, async (t) => {
  // What is taken once, by buffers and tables, is taken by a file of 8 MiB already.
  const { most: small } = await peak(async () => download(await upload(8), 8));
  const up = await peak(() => upload(PIECES));
  const down = await peak(() => download(up.result, PIECES));
  for (const router of ROUTERS) {
    const growth = Math.max(up.most.get(router), down.most.get(router)) - small.get(router);
    t.diagnostic(`${router}: ${small.get(router).toFixed(1)} MiB with 8 MiB of file, ${growth.toFixed(1)} more with ${PIECES}`);
    assert.ok(growth <= GROWTH, `${router} takes ${growth.toFixed(1)} MiB more`);
  }
});
