// nostr-tools as a stock client with an account's own key and NIP-65: it posts to the relay of its home, is found there
// by a client at another home, and reads what others wrote. WARREN_RELAY_A and WARREN_RELAY_B are the WebSocket
// addresses of the relays of two homes, WARREN_RELAY_NAMES what they are called in lists of relays (two names with a comma
// between), WARREN_SECRET_A the key of a person of the first home, hexadecimal. It sends to these addresses only.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as nip17 from 'nostr-tools/nip17';
import { finalizeEvent, generateSecretKey, getPublicKey, verifyEvent } from 'nostr-tools/pure';
import { SimplePool, useWebSocketImplementation } from 'nostr-tools/pool';
import { Relay, useWebSocketImplementation as useInRelay } from 'nostr-tools/relay';
import WebSocket from 'ws';

useWebSocketImplementation(WebSocket);
useInRelay(WebSocket);
const { WARREN_RELAY_A: a, WARREN_RELAY_B: b, WARREN_RELAY_NAMES: names, WARREN_SECRET_A: hex } = process.env;
if (!a || !b || !names || !hex) throw new Error('set WARREN_RELAY_A, WARREN_RELAY_B, WARREN_RELAY_NAMES and WARREN_SECRET_A');
const reached = new Map(names.split(',').map((name, n) => [name, [a, b][n]]));
const secret = Uint8Array.from(hex.match(/../g), (byte) => parseInt(byte, 16));
const key = getPublicKey(secret);
const now = () => Math.floor(Date.now() / 1000);

const sign = (kind, tags, content = '') => finalizeEvent({ kind, created_at: now(), tags, content }, secret);

async function logIn(url) {
  const relay = await Relay.connect(url);
  for (;;) {
    try {
      await relay.auth((event) => Promise.resolve(finalizeEvent(event, secret)));
      return relay;
    } catch (error) {
      if (!String(error).includes('challenge')) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

test('NIP-65: a stock client posts to its home, and another one follows the list of relays to it', async () => {
  const home = await logIn(a);
  await home.publish(sign(0, [], JSON.stringify({ name: 'Ann' })));
  await home.publish(sign(10002, [['r', names.split(',')[0]]]));
  const post = sign(1, [], 'from a stock client');
  await home.publish(post);
  const reply = sign(1, [['e', post.id, '', 'root'], ['p', key]], 'an answer');
  await home.publish(reply);
  home.close();

  const other = new SimplePool();
  const list = await other.get([a], { kinds: [10002], authors: [key] });
  const outbox = list.tags.filter(([name, , marker]) => name === 'r' && marker !== 'read').map(([, url]) => reached.get(url));
  assert.deepEqual(outbox, [a]);
  const found = await other.querySync(outbox, { kinds: [1], authors: [key] });
  assert.deepEqual(found.map(({ content }) => content).sort(), ['an answer', 'from a stock client']);
  assert.ok(found.every(verifyEvent));
  const talk = await other.querySync(outbox, { kinds: [1], '#e': [post.id] });
  assert.deepEqual(talk.map(({ id }) => id), [reply.id]);
  other.close([a]);
});

test('NIP-42: what is not of the home is refused, there and at another home', async () => {
  const stranger = finalizeEvent({ kind: 1, created_at: now(), tags: [], content: 'x' }, generateSecretKey());
  const home = await logIn(a);
  await assert.rejects(home.publish(stranger), /auth-required/);
  home.close();
  const foreign = await logIn(b);
  await assert.rejects(foreign.publish(sign(1, [], 'x')), /restricted/);
  foreign.close();
});

test('NIP-17: a stranger leaves a private message, which only its receiver reads', async () => {
  const friend = generateSecretKey();
  const wrap = nip17.wrapEvent(friend, { publicKey: key }, 'only for you');
  const outside = new SimplePool();
  await Promise.all(outside.publish([a], wrap));
  assert.equal((await outside.querySync([a], { ids: [wrap.id] })).length, 0);
  outside.close([a]);
  const home = await logIn(a);
  const mail = await new Promise((resolve, reject) => {
    const events = [];
    const sub = home.subscribe([{ kinds: [1059], '#p': [key] }], {
      onevent: (event) => events.push(event),
      oneose: () => { resolve(events); sub.close(); },
      onclose: (reason) => reject(new Error(reason)),
    });
  });
  assert.deepEqual(mail.map((event) => nip17.unwrapEvent(event, secret).content), ['only for you']);
  home.close();
});

test('NIP-11: the relay says what it is', async () => {
  const about = await (await fetch(a.replace(/^ws/, 'http'), { headers: { Accept: 'application/nostr+json' } })).json();
  assert.ok(about.supported_nips.includes(65));
  assert.ok(!about.supported_nips.includes(29));
  assert.equal(about.limitation.restricted_writes, true);
});
