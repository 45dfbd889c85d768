// nostr-tools' signer for apps (NIP-46) against a home. WARREN_BUNKER is an address that allows sign_event:1 and
// nip44_encrypt, given out by the home and not used yet. It sends to the relay in that address only.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BunkerSigner, parseBunkerInput } from 'nostr-tools/nip46';
import * as nip44 from 'nostr-tools/nip44';
import { SimplePool, useWebSocketImplementation } from 'nostr-tools/pool';
import { generateSecretKey, getPublicKey, verifyEvent } from 'nostr-tools/pure';
import WebSocket from 'ws';

useWebSocketImplementation(WebSocket);
const { WARREN_BUNKER: address } = process.env;
if (!address) throw new Error('set WARREN_BUNKER to an address of the signer');

const note = (kind, content) => ({ kind, content, tags: [], created_at: Math.floor(Date.now() / 1000) });

test('NIP-46: an app connects, signs, encrypts, comes back and is refused what it may not do', async () => {
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
