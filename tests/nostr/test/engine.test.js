// rx-nostr, a second engine with its own pool, authentication and reconnecting, against one space through two homes:
// WARREN_A and WARREN_C.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { verifyEvent } from 'nostr-tools/pure';
import { createRxBackwardReq, createRxForwardReq, createRxNostr } from 'rx-nostr';
import WebSocket from 'ws';
import { Person, now, within } from '../lib/people.js';

const { WARREN_A: a, WARREN_C: c } = process.env;
if (!a || !c) throw new Error('set WARREN_A and WARREN_C to two WebSocket addresses of one space');

/** A program of somebody: the engine signs, logs in and verifies by itself. */
function program(person, url) {
  const engine = createRxNostr({
    signer: {
      getPublicKey: async () => person.key,
      signEvent: async ({ kind, tags = [], content, created_at = now() }) => person.finish({ kind, tags, content, created_at }),
    },
    verifier: async (event) => verifyEvent(event),
    authenticator: 'auto',
    websocketCtor: WebSocket,
  });
  engine.setDefaultRelays([url]);
  return engine;
}

function send(engine, kind, tags, content = '') {
  return within(new Promise((resolve, reject) => {
    engine.send({ kind, tags, content }, { completeOn: 'all-ok' }).subscribe({
      next: (packet) => { if (packet.done) (packet.ok ? resolve(packet.eventId) : reject(new Error(packet.notice))); },
      error: reject,
    });
  }), 'OK');
}

function query(engine, filter) {
  return within(new Promise((resolve, reject) => {
    const request = createRxBackwardReq();
    const events = [];
    engine.use(request).subscribe({ next: (packet) => events.push(packet.event), complete: () => resolve(events), error: reject });
    request.emit(filter);
    request.over();
  }), 'answer');
}

const [ann, ben] = [new Person(), new Person()];
let atA;
let atC;

before(async () => {
  [atA, atC] = [program(ann, a), program(ben, c)];
  for (const engine of [atA, atC]) await send(engine, 9021, [['h', 'general']]);
});
after(() => { atA?.dispose(); atC?.dispose(); });

test('rx-nostr: logs in by itself, writes through A and hears it at C', async () => {
  const request = createRxForwardReq();
  const heard = within(new Promise((resolve) => {
    atC.use(request).subscribe((packet) => resolve(packet.event));
  }), 'live event');
  request.emit({ kinds: [9], '#h': ['general'], authors: [ann.key] });
  const id = await send(atA, 9, [['h', 'general']], 'hello from another engine');
  assert.deepEqual([(await heard).id, (await heard).content], [id, 'hello from another engine']);
  assert.deepEqual((await query(atC, { ids: [id] })).map((event) => event.id), [id]);
});

test('rx-nostr: profile, thread and deletion; what is refused is told', async () => {
  await send(atA, 0, [], JSON.stringify({ name: 'Ann' }));
  const [profile] = await query(atC, { kinds: [0], authors: [ann.key] });
  assert.equal(JSON.parse(profile.content).name, 'Ann');
  const thread = await send(atA, 11, [['h', 'general'], ['subject', 'Beans']], 'Who wants some?');
  await send(atC, 1111, [['h', 'general'], ['E', thread], ['K', '11'], ['P', ann.key], ['e', thread], ['k', '11'], ['p', ann.key]], 'Me');
  const [reply] = await query(atA, { kinds: [1111], '#E': [thread] });
  assert.equal(reply.content, 'Me');
  await send(atA, 5, [['e', thread], ['k', '11']]);
  assert.deepEqual(await query(atC, { ids: [thread] }), []);
  await assert.rejects(send(atC, 9, [['h', 'no-such-channel']], 'anybody?'), /restricted|not|invalid/);
});
