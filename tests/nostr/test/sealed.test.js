// The app's own client of the encrypted channel against a running home: WARREN_PAGE_A is the page of a space there.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import WebSocket from 'ws';
import { Channel, askForKey } from '../../../web-admin/app/dist/channel/index.js';

const { WARREN_PAGE_A: page } = process.env;
if (!page) throw new Error('set WARREN_PAGE_A to the page of a space');
const { pathname } = new URL(page);

async function open(headers = {}) {
  const key = await askForKey(page);
  const url = new URL('/channel', page);
  url.protocol = 'ws:';
  const socket = new WebSocket(url, { headers });
  const onWire = [];
  socket.once('upgrade', (response) => response.socket.on('data', (bytes) => onWire.push(bytes)));
  const send = socket.send.bind(socket);
  socket.send = (bytes) => {
    onWire.push(Buffer.from(bytes));
    send(bytes);
  };
  const channel = await Channel.connect(socket, key);
  return { channel, onWire };
}

test('a page through the channel is the page, and nobody on the way can read it', async () => {
  const { channel, onWire } = await open();
  const answer = await channel.fetch(pathname);
  assert.equal(answer.status, 200);
  const text = await answer.text();
  assert.match(text, /<form/);
  assert.equal((await channel.fetch('/nowhere')).status, 404);
  assert.ok(!Buffer.concat(onWire).includes('<form'));
  assert.ok(!Buffer.concat(onWire).includes(pathname));
  channel.close();
});

test('a space answers through the channel', async () => {
  const { channel } = await open();
  const space = await channel.socket(pathname);
  await space.send(JSON.stringify(['REQ', 'x', { kinds: [39000] }]));
  const heard = [];
  for await (const message of space.messages()) {
    const [verb] = JSON.parse(message);
    heard.push(verb);
    if (verb === 'EOSE') break;
  }
  assert.equal(heard[0], 'AUTH');
  assert.ok(heard.includes('EVENT'));
  await assert.rejects(channel.socket(`/s/${'b'.repeat(52)}/`));
  channel.close();
});

test('pages from elsewhere and homes with another key get no channel', async () => {
  await assert.rejects(open({ origin: 'http://evil.example' }));
  const url = new URL('/channel', page);
  url.protocol = 'ws:';
  await assert.rejects(Channel.connect(new WebSocket(url), '09'.padEnd(64, '0')));
});
