// The box E, with spaces, an account and files, is backed up while it runs, lost, and comes back from the backup onto an
// empty box; through the other homes people find everything as it was.
import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { Actions } from 'blossom-client-sdk';
import { createUploadAuth } from 'blossom-client-sdk/auth';
import { Account } from '../lib/account.js';
import { bytes, server, sha256, signer } from '../lib/files.js';
import { ask, config, createSpace, home, isKnown, kill, owner, socket, start } from '../lib/neighbourhood.js';
import { Person, query, until } from '../lib/people.js';

const PASS = 'a tractor in the rain';
const KEPT = ['warren.toml', 'log'];
const [olga, ann] = [new Person(), new Person()];

test('wiped and restored, E is E again', async () => {
  const space = await createSpace('E', 'Archive', '--visible', '--owner', olga.key);
  await isKnown('A', space.service);
  let relay = await ann.connect(socket('A', space.service));
  await relay.publish(ann.sign(9021, [['h', 'general']]));
  const said = ann.sign(9, [['h', 'general']], 'Keep this');
  await relay.publish(said);
  const regretted = ann.sign(9, [['h', 'general']], 'not this');
  await relay.publish(regretted);
  await relay.publish(ann.sign(5, [['e', regretted.id], ['k', '9']]));
  const file = new Blob([bytes(2_000_000)], { type: 'video/mp4' });
  const film = await Actions.uploadBlob(server('A', space.service), file, { onAuth: (_, hash) => createUploadAuth(signer(ann), hash) });
  const account = await Account.signUp(home('E'), 'Olga', PASS);
  const { public_key: key } = await account.call('GET', 'account');
  const { address } = await ask('E', 'status');

  const backup = await mkdtemp(join(tmpdir(), 'warren-backup-'));
  try {
    await owner('E', 'backup', backup);
    // The second run brings it up to date, and what was deleted leaves it.
    const later = ann.sign(9, [['h', 'general']], 'And this');
    await relay.publish(later);
    assert.match(await owner('E', 'backup', backup), /\b[1-9]\d* pieces were new/);
    relay.close();

    await kill('E');
    const folder = dirname(config('E'));
    for (const name of await readdir(folder)) {
      if (!KEPT.includes(name)) await rm(join(folder, name), { recursive: true });
    }
    assert.match(await owner('E', 'restore', backup), /it is E again/);
    await start('E');
    assert.equal((await ask('E', 'status')).address, address);

    assert.equal((await isKnown('A', space.service)).name, 'Archive');
    relay = await until('Ann is in again', () => ann.connect(socket('A', space.service)));
    const words = (await query(relay, [{ kinds: [9], '#h': ['general'] }])).map((event) => event.content).sort();
    assert.deepEqual(words, ['And this', 'Keep this']);
    await assert.rejects(relay.publish(regretted), /./, 'what was deleted does not come back');
    await relay.publish(ann.sign(9, [['h', 'general']], 'Still a member'));
    relay.close();
    await isKnown('C', space.service);
    const whole = await Actions.downloadBlob(server('C', space.service), film.sha256);
    assert.equal(sha256(Buffer.from(await whole.arrayBuffer())), film.sha256);
    assert.equal((await account.call('GET', 'account')).public_key, key, 'the device is still logged in');
    assert.equal((await (await Account.logIn(home('E'), 'Olga', PASS)).call('GET', 'account')).public_key, key);
  } finally {
    await rm(backup, { recursive: true });
  }
});
