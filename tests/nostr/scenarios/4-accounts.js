// An account at the home of A: its person signs in an app that runs on the network of C (NIP-46), writes in a space on E
// with it, is found by name (NIP-05), and takes the app's right away again.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { verifyEvent } from 'nostr-tools/pure';
import { Account } from '../lib/account.js';
import { address, config, createSpace, home, isKnown, namespace, socket, start, stop } from '../lib/neighbourhood.js';
import { Person, query, until } from '../lib/people.js';

const run = promisify(execFile);
const PORT = 8480;
const PASS = 'a tractor in the rain';
let ann;
let key;
let space;

/** An app on the network of C; what it prints. */
async function app(...words) {
  const file = fileURLToPath(new URL('../lib/app.js', import.meta.url));
  const { stdout } = await run('ip', ['netns', 'exec', namespace('C'), process.execPath, file, ...words]);
  return JSON.parse(stdout);
}

before(async () => {
  // The owner of A opens the home to the island: that is a choice of the configuration.
  const text = await readFile(config('A'), 'utf8');
  await stop('A');
  await writeFile(config('A'), text.replace('listen = [', `listen = ["[::]:${PORT}", `).replace('open = [', `open = ["tcp/${PORT}", `));
  await start('A');
  space = await createSpace('E', 'Choir', '--visible');
  await until('A is back', () => isKnown('A', space.service));
});

test('a name and a passphrase make an account, which stays over a restart', async () => {
  ann = await Account.signUp(home('A'), 'Ann', PASS);
  key = (await ann.call('GET', 'account')).public_key;
  await assert.rejects(Account.logIn(home('A'), 'Ann', 'a tractor in the sun'), { code: 'wrong_passphrase' });
  await stop('A');
  await start('A');
  assert.equal((await ann.call('GET', 'account')).public_key, key);
  const phone = await Account.logIn(home('A'), 'ann', PASS);
  const { devices } = await phone.call('GET', 'devices');
  assert.equal(devices.length, 2);
});

test('NIP-05: others find the account by its name at home, once its person wants that', async () => {
  const find = async (name) => (await fetch(`${home('A')}/.well-known/nostr.json?name=${name}`)).json();
  assert.equal((await find('ann')).names?.ann, undefined);
  await ann.call('PATCH', 'account', { findable: true });
  assert.equal((await find('ann')).names.ann, key);
  assert.equal((await find('nobody')).names?.nobody, undefined);
});

test('NIP-46: an app on another router signs with the account and writes into a space with it', async () => {
  const there = new Account(`http://[${address('A')}]:${PORT}`, ann.token);
  // Asked through the address in the mesh, so the address of the signer is one that C can reach.
  const wish = { name: 'Choir app', permissions: ['sign_event:9', 'sign_event:9021', 'sign_event:22242'] };
  const given = await app('api', there.home, there.token, 'apps', JSON.stringify(wish));
  assert.ok(given.uri.includes(encodeURIComponent(`[${address('A')}]:${PORT}/signer`)), given.uri);
  const secret = Buffer.from(new Person().secret).toString('hex');
  const url = `${there.home.replace('http', 'ws')}/s/${space.service}/`;
  const said = await app('write', given.uri, secret, url, 'A song from far away');
  assert.equal(said.pubkey, key);
  assert.ok(verifyEvent(said));
  const ben = new Person();
  const relay = await ben.connect(socket('D', space.service));
  const [heard] = await query(relay, [{ ids: [said.id] }]);
  assert.equal(heard.content, 'A song from far away');
  relay.close();

  // What was not permitted waits for the person, who says no; then the app is sent away.
  const refused = app('sign', given.uri, secret, '0', '{"name":"Not Ann"}');
  const request = await until('the request waits', async () => (await ann.call('GET', 'requests')).requests[0]);
  assert.deepEqual([request.app.name, request.permission], ['Choir app', 'sign_event:0']);
  await ann.call('POST', `requests/${request.id}`, { allow: false, remember: false });
  assert.match((await refused).error, /^denied:/);
  const { apps } = await ann.call('GET', 'apps');
  await ann.call('DELETE', `apps/${apps[0].id}`);
  assert.match((await app('sign', given.uri, secret, '9', 'still me?')).error, /^unauthorized:/);
});

test('moving the account to another home keeps its identity', async () => {
  const { document } = await ann.call('POST', 'account/export', { passphrase: PASS, document_passphrase: 'only for the way' });
  const moved = await Account.enter(home('C'), 'accounts/import', { passphrase: PASS, document, document_passphrase: 'only for the way' });
  assert.equal((await moved.call('GET', 'account')).public_key, key);
});
