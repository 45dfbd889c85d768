// A private message (NIP-17) from nostr-tools to a person of a home and back, through a space that both are in.
// WARREN_A is the space's address, WARREN_API the interface of the person's home, WARREN_TOKEN lets in there, and
// WARREN_PERSON is who the person is.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { unwrapEvent, wrapManyEvents } from 'nostr-tools/nip17';
import { finalizeEvent, generateSecretKey, getPublicKey } from 'nostr-tools/pure';
import { Relay, useWebSocketImplementation } from 'nostr-tools/relay';
import WebSocket from 'ws';

useWebSocketImplementation(WebSocket);
const { WARREN_A: address, WARREN_API: api, WARREN_TOKEN: token, WARREN_PERSON: person } = process.env;
if (!address || !api || !token || !person) throw new Error('set WARREN_A, WARREN_API, WARREN_TOKEN and WARREN_PERSON');

const headers = { 'Content-Type': 'application/json', Authorization: `Bearer ${token}` };

async function call(method, path, body) {
  const answer = await fetch(new URL(path, api), { method, headers, body: body && JSON.stringify(body) });
  const said = await answer.json();
  assert.ok(answer.ok, JSON.stringify(said));
  return said;
}

async function until(what) {
  for (;;) {
    const found = await what();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test('NIP-17: nostr-tools writes to a person of a home and reads the answer', { timeout: 60_000 }, async () => {
  const secret = generateSecretKey();
  const own = getPublicKey(secret);
  const relay = await Relay.connect(address);
  // The challenge comes as the first message.
  await until(() => relay.auth(async (event) => finalizeEvent(event, secret)).then(() => true, (error) => {
    if (!String(error).includes('challenge')) throw error;
    return false;
  }));
  const join = { kind: 9021, tags: [['h', 'general']], content: '', created_at: Math.floor(Date.now() / 1000) };
  await relay.publish(finalizeEvent(join, secret));
  const heard = [];
  relay.subscribe([{ kinds: [1059], '#p': [own] }], { onevent: (event) => heard.push(unwrapEvent(event, secret)) });

  // The person says where to find them.
  const lists = [];
  relay.subscribe([{ kinds: [10050], authors: [person] }], { onevent: (event) => lists.push(event) });
  const list = await until(() => lists[0]);
  assert.ok(list.tags.some(([name, url]) => name === 'relay' && url.endsWith('.warren/')));

  const wraps = wrapManyEvents(secret, [{ publicKey: person }], 'hello from outside', 'Greetings');
  for (const wrap of wraps) await relay.publish(wrap);
  const talk = await until(async () => {
    const { conversations } = await call('GET', 'conversations');
    return conversations.find(({ last }) => last.text === 'hello from outside');
  });
  assert.equal(talk.subject, 'Greetings');
  assert.deepEqual(talk.people, [own]);
  await call('POST', 'messages', { client_id: 'answer', conversation: talk.id, text: 'hello from home' });
  const answer = await until(() => heard.find(({ kind, content }) => kind === 14 && content === 'hello from home'));
  assert.equal(answer.pubkey, person);
  assert.ok(answer.tags.some(([name, value]) => name === 'p' && value === own));
  relay.close();
});
