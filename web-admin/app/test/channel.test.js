// The app's side of the channel against what the home's side writes down, and against itself.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { hexToBytes, bytesToHex } from '@noble/hashes/utils.js';
import { Direction, Handshake } from '../dist/channel/noise.js';
import { decode, encode } from '../dist/channel/frame.js';
import { Channel, ChannelError } from '../dist/channel/index.js';

const vectors = JSON.parse(readFileSync(new URL('vectors/channel.json', import.meta.url), 'utf8'));

test('the handshake and what follows are byte for byte what the home makes', () => {
  const handshake = new Handshake(hexToBytes(vectors.home_public), hexToBytes(vectors.app_ephemeral));
  assert.equal(bytesToHex(handshake.first), vectors.first);
  const { send, receive } = handshake.finish(hexToBytes(vectors.second));
  for (const { text, sealed } of vectors.from_app) {
    assert.equal(bytesToHex(send.seal(hexToBytes(text))), sealed);
  }
  for (const { text, sealed } of vectors.from_home) {
    assert.equal(bytesToHex(receive.open(hexToBytes(sealed))), text);
  }
});

test('another home, a changed answer and a point of small order are refused', () => {
  const known = hexToBytes(vectors.home_public);
  const ephemeral = hexToBytes(vectors.app_ephemeral);
  const other = Uint8Array.from(known);
  other[0] ^= 1;
  assert.throws(() => new Handshake(other, ephemeral).finish(hexToBytes(vectors.second)));
  const changed = hexToBytes(vectors.second);
  changed[40] ^= 1;
  assert.throws(() => new Handshake(known, ephemeral).finish(changed));
  assert.throws(() => new Handshake(new Uint8Array(32), ephemeral));
  assert.throws(() => new Handshake(known, ephemeral).finish(new Uint8Array(48)));
});

test('messages open once, and in their order', () => {
  const key = new Uint8Array(32).fill(5);
  const [seal, open] = [new Direction(key), new Direction(key)];
  const [first, second] = [seal.seal(Uint8Array.of(1)), seal.seal(Uint8Array.of(2))];
  assert.throws(() => open.open(second));
  assert.deepEqual(open.open(first), Uint8Array.of(1));
  assert.throws(() => open.open(first));
  assert.deepEqual(open.open(second), Uint8Array.of(2));
});

/** A home that answers as `answer` says; it has the vectors' keys. */
class FakeHome extends EventTarget {
  constructor(answer) {
    super();
    this.answer = answer;
    this.heard = [];
    this.readyState = 0;
    queueMicrotask(() => this.dispatchEvent(new Event('open')));
  }

  send(bytes) {
    if (!this.seal) {
      // The two ends of one handshake share their keys, so this end is played with the app's own.
      this.seal = new Direction(hexToBytes(vectors.key_to_app));
      this.open = new Direction(hexToBytes(vectors.key_from_app));
      this.say(hexToBytes(vectors.second));
    } else {
      const frame = decode(this.open.open(bytes));
      this.heard.push(frame);
      this.answer(this, frame);
    }
  }

  say(bytes) {
    const event = new Event('message');
    event.data = Uint8Array.from(bytes).buffer;
    queueMicrotask(() => this.dispatchEvent(event));
  }

  reply(kind, stream, body) {
    this.say(this.seal.seal(encode(kind, stream, body)));
  }

  close() {
    queueMicrotask(() => this.dispatchEvent(new Event('close')));
  }
}

const json = (value) => new TextEncoder().encode(JSON.stringify(value));

async function open(answer) {
  const home = new FakeHome(answer);
  const channel = await Channel.connect(home, vectors.home_public, hexToBytes(vectors.app_ephemeral));
  return { home, channel };
}

test('a request and its answer', async () => {
  const { home, channel } = await open((home, { kind, stream, body }) => {
    if (kind === 3) home.uploaded = new TextDecoder().decode(body);
    if (kind !== 4) return;
    home.reply(2, stream, json({ status: 201, headers: { 'x-a': 'b' } }));
    home.reply(3, stream, json({ said: home.uploaded }));
    home.reply(4, stream, new Uint8Array(0));
  });
  const answer = await channel.fetch('/api/1/x', { method: 'POST', headers: { a: 'b' }, body: 'hello' });
  assert.equal(answer.status, 201);
  assert.equal(answer.headers['x-a'], 'b');
  assert.deepEqual(await answer.json(), { said: 'hello' });
  const asked = JSON.parse(new TextDecoder().decode(home.heard[0].body));
  assert.deepEqual(asked, { method: 'POST', path: '/api/1/x', headers: { a: 'b' } });
});

test('an upload waits for the home, and an early answer ends it', async () => {
  let stream = 0;
  const { home, channel } = await open((_, frame) => {
    stream = frame.stream;
  });
  const asking = channel.fetch('/big', { method: 'PUT', body: new Uint8Array(1 << 20) });
  const sent = () => home.heard.filter(({ kind }) => kind === 3).reduce((sum, { body }) => sum + body.length, 0);
  while (sent() < 256 * 1024) await new Promise(setImmediate);
  await new Promise(setImmediate);
  assert.equal(sent(), 256 * 1024);
  home.reply(6, stream, Uint8Array.of(0, 0, 0x80, 0));
  while (sent() < 256 * 1024 + 32 * 1024) await new Promise(setImmediate);
  home.reply(2, stream, json({ status: 413, headers: {} }));
  home.reply(4, stream, new Uint8Array(0));
  const answer = await asking;
  assert.equal(answer.status, 413);
  assert.equal((await answer.bytes()).length, 0);
});

test('streams that are reset and channels that end tell who waits', async () => {
  const { home, channel } = await open((home, { kind, stream, body }) => {
    if (kind === 1 && new TextDecoder().decode(body).includes('reset')) home.reply(5, stream, Uint8Array.of(2));
  });
  await assert.rejects(channel.fetch('/reset'), (error) => error instanceof ChannelError && error.reason === 'too_many');
  const waiting = channel.fetch('/wait');
  home.close();
  await assert.rejects(waiting, (error) => error instanceof ChannelError && error.reason === 'gone');
  await assert.rejects(channel.fetch('/late'), ChannelError);
});
