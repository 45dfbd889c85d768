// nostr-tools' signer for apps (NIP-46) against a home. WARREN_BUNKER is an address that allows sign_event:1 and
// nip44_encrypt, given out by the home and not used yet; without it the test makes an account at the home of WARREN_PAGE_A
// and asks for one. It sends to that home only.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BunkerSigner, parseBunkerInput } from 'nostr-tools/nip46';
import * as nip44 from 'nostr-tools/nip44';
import { SimplePool, useWebSocketImplementation } from 'nostr-tools/pool';
import { generateSecretKey, getPublicKey, verifyEvent } from 'nostr-tools/pure';
import WebSocket from 'ws';

useWebSocketImplementation(WebSocket);
const { WARREN_BUNKER: given, WARREN_PAGE_A: page } = process.env;
if (!given && !page) throw new Error('set WARREN_BUNKER to an address of the signer, or WARREN_PAGE_A to a page of its home');

async function ask(path, body, token) {
  const headers = { 'Content-Type': 'application/json', ...(token && { Authorization: `Bearer ${token}` }) };
  const answer = await fetch(new URL(`/api/1/${path}`, page), { method: 'POST', headers, body: JSON.stringify(body) });
  const said = await answer.json();
  assert.ok(answer.ok, JSON.stringify(said));
  return said;
}

async function newAddress() {
  const account = { name: 'Signer test', passphrase: 'correct horse battery', session: 'bearer' };
  const { token } = await ask('accounts', account);
  return (await ask('apps', { name: 'Test app', permissions: ['sign_event:1', 'nip44_encrypt'] }, token)).uri;
}

const note = (kind, content) => ({ kind, content, tags: [], created_at: Math.floor(Date.now() / 1000) });

test('NIP-46: an app connects, signs, encrypts, comes back and is refused what it may not do', async () => {
  const address = given ?? (await newAddress());
  const bunker = await parseBunkerInput(address);
  assert.ok(bunker, `not an address: ${address}`);
  const app = generateSecretKey();
  const pool = new SimplePool();
  const open = () => BunkerSigner.fromBunker(app, { ...bunker, relays: [...bunker.relays] }, { pool });
  const signer = open();
  await signer.connect({ name: 'Test app', url: 'https://app.example' });
  await signer.ping();
  const person = await signer.getPublicKey();
  const event = await signer.signEvent(note(1, 'hello'));
  assert.ok(verifyEvent(event));
  assert.equal(event.pubkey, person);
  const friend = generateSecretKey();
  const sealed = await signer.nip44Encrypt(getPublicKey(friend), 'a secret');
  assert.equal(nip44.decrypt(sealed, nip44.getConversationKey(friend, person)), 'a secret');
  assert.equal(await signer.switchRelays(), false, 'nothing to switch');
  await signer.close();

  const again = open();
  await again.connect();
  assert.ok(verifyEvent(await again.signEvent(note(1, 'still here'))));
  await assert.rejects(again.sendRequest('dance', []), (error) => String(error).startsWith('invalid:'));
  await again.logout();
  const gone = open();
  await assert.rejects(gone.ping(), (error) => String(error).startsWith('unauthorized:'));
  await gone.close();
  pool.destroy();
});
