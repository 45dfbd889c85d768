// A box whose disk fills up while people write, upload, make accounts and import a space. What was acknowledged is there
// afterwards, what was refused says why and leaves nothing, and with room again everything goes on. Run by
// `tests/lab/tests/labs/full_disk.rs` in namespaces of mounts and processes of its own: the small disk is a tmpfs that ends
// with this program.
import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, open, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { createUploadAuth, encodeAuthorizationHeader } from 'blossom-client-sdk/auth';
import { Account } from '../lib/account.js';
import { bytes, sha256, signer } from '../lib/blobs.js';
import { Person, query, until } from '../lib/people.js';

const { WARREND: warrend, WARREN_FOLDER: folder } = process.env;
if (!warrend || !folder) throw new Error('set WARREND to the daemon and WARREN_FOLDER to a folder of this test alone');

const MIB = 1 << 20;
const PASS = 'a tractor in the rain';
const run = promisify(execFile);

/** A box of its own, without root's networking, on a disk of `mib` MiB. */
class Box {
  constructor(name, mib) {
    this.dir = join(folder, name);
    this.mib = mib;
    this.filler = join(this.dir, 'filler');
  }

  async make() {
    await mkdir(this.dir);
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${this.mib}m,mode=700`, 'tmpfs', this.dir]);
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    this.home = `http://127.0.0.1:${server.address().port}`;
    server.close();
    this.config = join(this.dir, 'warren.toml');
    await writeFile(this.config, `version = 1\nname = "Box"\nstate = "${this.dir}"\n[network]\nmode = "userspace"\n`
      + `[control]\nsocket = "${this.dir}/control.sock"\n[web]\nlisten = ["${this.home.slice(7)}"]\n`);
    await this.start();
  }

  async start() {
    this.child = spawn(warrend, ['run', '--config', this.config], { stdio: ['ignore', 'ignore', 'pipe'] });
    this.log = '';
    this.child.stderr.on('data', (text) => { this.log += text; });
    await until('the daemon answers', async () => {
      assert.equal(this.child.exitCode, null, this.log);
      return this.owner('status');
    });
  }

  async kill() {
    const ended = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await ended;
  }

  async owner(...words) {
    return (await run(warrend, [...words, '--config', this.config])).stdout;
  }

  /** Why a command does not work. */
  async refused(...words) {
    const said = await this.owner(...words).then(() => null, (error) => error.stderr);
    assert.ok(said, `${words.join(' ')} was not refused`);
    return said;
  }

  /** Takes all the room there is. */
  async fill() {
    const file = await open(this.filler, 'a');
    for (let block = Buffer.alloc(64 << 10); block.length > 0;) {
      const written = await file.write(block).then((done) => done.bytesWritten, () => 0);
      if (written < block.length) block = block.subarray(0, block.length >> 1);
    }
    await file.close();
  }

  async free() {
    await rm(this.filler, { force: true });
  }

  socket(service) {
    return `${this.home.replace('http', 'ws')}/s/${service}/`;
  }
}

const ann = new Person();
const box = new Box('box', 24);
let space;
let relay;
/** What the box has acknowledged. */
const kept = { words: new Set(), files: new Set() };
/** What it has refused. */
const refused = { words: new Set(), files: new Set() };

const reconnect = async () => { relay = await ann.connect(box.socket(space)); };

async function write(words) {
  const reason = await relay.publish(ann.sign(9, [['h', 'general']], words)).then(() => null, (error) => error.message);
  (reason === null ? kept : refused).words.add(words);
  return reason;
}

async function upload(length) {
  const film = bytes(length);
  const proof = await createUploadAuth(signer(ann), sha256(film));
  const answer = await fetch(`${box.home}/s/${space}/upload`, {
    method: 'PUT',
    headers: { Authorization: encodeAuthorizationHeader(proof), 'Content-Type': 'video/mp4' },
    body: film,
  });
  (answer.ok ? kept : refused).files.add(sha256(film));
  return answer;
}

/** Everything acknowledged is there, and nothing else. */
async function isAsAcknowledged() {
  const found = (await query(relay, [{ kinds: [9], '#h': ['general'], limit: 5000 }])).map((event) => event.content);
  for (const words of kept.words) assert.ok(found.includes(words), `lost: ${words.slice(0, 40)}`);
  for (const words of refused.words) assert.ok(!found.includes(words), `refused and there: ${words.slice(0, 40)}`);
  for (const name of kept.files) {
    const answer = await fetch(`${box.home}/s/${space}/${name}`);
    assert.equal(sha256(Buffer.from(await answer.arrayBuffer())), name);
  }
  for (const name of refused.files) assert.equal((await fetch(`${box.home}/s/${space}/${name}`)).status, 404);
  const parts = (await readdir(join(box.dir, 'spaces/garden-club/files'))).filter((name) => name.endsWith('.part'));
  assert.deepEqual(parts, [], 'no half of an upload stays');
}

before(async () => {
  await box.make();
  space = JSON.parse(await box.owner('space', 'create', 'Garden club', '--owner', ann.key, '--json')).service;
  await reconnect();
  await relay.publish(ann.sign(9021, [['h', 'general']]));
  await write('before');
  assert.ok((await upload(300_000)).ok);
});
after(async () => {
  relay?.close();
  if (box.child) await box.kill();
});

test('messages: each one is acknowledged and kept, or refused with the reason', async () => {
  let reason = null;
  for (let n = 0; reason === null; n += 1) {
    assert.ok(n < 2000, 'the disk does not get full');
    if (n === 3) await box.fill();
    reason = await write(`${n} ${'x'.repeat(20_000)}`);
  }
  assert.match(reason, /^error: .*(disk|space|storage)/);
  assert.ok(!reason.includes(box.dir), 'strangers are not told where things are');
  await isAsAcknowledged();
});

test('uploads are answered with 507 and leave nothing', async () => {
  const answer = await upload(2 * MIB);
  assert.equal(answer.status, 507);
  assert.match(answer.headers.get('x-reason'), /^error: /);
  await isAsAcknowledged();
});

test('an account is refused, and its name stays free', async () => {
  await assert.rejects(Account.signUp(box.home, 'Ann', PASS), { code: 'storage' });
  await assert.rejects(Account.logIn(box.home, 'Ann', PASS), { code: 'wrong_passphrase' });
  await box.free();
  const account = await Account.signUp(box.home, 'Ann', PASS);
  assert.equal((await account.call('GET', 'account')).name, 'Ann');
  await box.fill();
  // Who has one can still log out and read.
  assert.equal((await account.call('GET', 'account')).name, 'Ann');
});

test('a space is neither made nor taken in by halves', async () => {
  const archive = join(folder, 'garden.tar');
  assert.match(await box.refused('space', 'create', 'One more'), /disk|space left/);
  assert.match(await box.refused('space', 'export', 'garden-club', join(box.dir, 'here.tar')), /space left|full/);
  await box.owner('space', 'export', 'garden-club', archive);
  assert.match(await box.refused('backup', join(box.dir, 'backup')), /space left|full/);
  const other = new Box('other', 4);
  await other.make();
  try {
    await other.fill();
    assert.match(await other.refused('space', 'import', archive), /space left|full/);
    assert.deepEqual(JSON.parse(await other.owner('space', 'list', '--json')), []);
    assert.deepEqual(await readdir(join(other.dir, 'spaces')), []);
    await other.free();
    await other.owner('space', 'import', archive);
    assert.equal(JSON.parse(await other.owner('space', 'list', '--json'))[0].state, 'open');
  } finally {
    await other.kill();
  }
  assert.equal(JSON.parse(await box.owner('space', 'list', '--json')).length, 1);
});

test('a full box starts again after kill -9 and shows what it has', async () => {
  for (let n = 0; n < 3; n += 1) {
    await box.kill();
    await box.start();
    await reconnect();
    await isAsAcknowledged();
  }
  // And it can still be moved away from here.
  await rm(join(folder, 'garden.tar'));
  await box.owner('space', 'export', 'garden-club', join(folder, 'garden.tar'));
});

test('with room again everything goes on', async () => {
  await box.free();
  assert.equal(await write('room again'), null);
  assert.ok((await upload(300_000)).ok);
  await isAsAcknowledged();
  await box.kill();
  await box.start();
  await reconnect();
  await isAsAcknowledged();
});
