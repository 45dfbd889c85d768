// Private messages between people whose homes are A, C and D, carried by a space on E and by nothing but the mesh; homes
// that are off while somebody writes; a stranger's program that takes part; and people who try to read what is not theirs.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { readFile, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { Actions } from 'blossom-client-sdk';
import { createUploadAuth } from 'blossom-client-sdk/auth';
import { unwrapEvent, wrapEvent } from 'nostr-tools/nip17';
import * as nip59 from 'nostr-tools/nip59';
import { Account } from '../lib/account.js';
import { bytes, server, sha256, signer } from '../lib/files.js';
import { manage } from '../lib/manage.js';
import { ask, config, createSpace, cut, heal, home, isKnown, kill, namespace, socket, start, stop, web, wifi } from '../lib/neighbourhood.js';
import { Person, now, query, until, values, within } from '../lib/people.js';
import { sync } from '../lib/sync.js';

const run = promisify(execFile);
const PASS = 'a tractor in the rain';
/** Words that nobody but those who wrote and got them may find anywhere. */
const secrets = [];
const secret = (text) => { secrets.push(text); return text; };
let number = 0;

/** Somebody with an account, who came into the space by an invitation. */
class Resident {
  static async moveIn(router, name) {
    const account = await Account.signUp(home(router), name, PASS);
    const { public_key: key } = await account.get('account');
    return Object.assign(new Resident(), { router, account, key });
  }

  /** Sends something; how it is shown. */
  async send(to, what) {
    number += 1;
    const body = { client_id: `message ${number}`, to: to.map((person) => person.key), ...what };
    return this.account.post('messages', body);
  }

  write(to, text) {
    return this.send(to, { text: secret(text) });
  }

  /** Waits for a message with this text, in whatever conversation; how it is shown. */
  reads(text) {
    return until(`"${text}" at ${this.router}`, async () => {
      const { conversations } = await this.account.get('conversations');
      const all = await Promise.all(conversations.map(({ id }) => this.messages(id)));
      return all.flat().find((message) => message.text === text);
    });
  }

  /** The messages of a conversation, newest first. */
  async messages(conversation) {
    return (await this.account.get(`conversations/${conversation}/messages`)).messages;
  }

  /** The texts of the conversation a message is in, newest first. */
  async history({ conversation }) {
    return (await this.messages(conversation)).map((message) => message.text);
  }

  /** Waits until a message of this person's has come so far for everybody. */
  async learns({ id, conversation }, state) {
    await this.account.until(`conversations/${conversation}/messages`, ({ messages }) =>
      messages.find((message) => message.id === id)?.to.every((one) => one.state === state));
  }

  /** The same person in a Nostr program of their own, with the key from the recovery sheet. */
  async otherApp() {
    const { secret_key: hex } = await this.account.post('account/key', { passphrase: PASS });
    return new Person(Uint8Array.from(Buffer.from(hex, 'hex')));
  }
}

const olga = new Person();
let space;
let [ann, cleo, dora, fred, fredsRelay] = [];

const mail = (person) => ({ kinds: [1059], '#p': [person.key] });
/** What a home keeps of its people's messages, as it lies on the disk. */
async function mailbag(router) {
  const folder = join(dirname(config(router)), 'home/messages');
  const files = (await readdir(folder)).filter((name) => name.endsWith('.messages'));
  return (await Promise.all(files.map((name) => readFile(join(folder, name), 'utf8')))).join('');
}

before(async () => {
  // The mesh is all there is.
  for (const router of ['A', 'B', 'C', 'D', 'E']) {
    for (const family of ['-4', '-6']) {
      const { stdout } = await run('ip', ['-n', namespace(router), family, 'route', 'show', 'default']);
      assert.equal(stdout, '', `${router} has another way out`);
    }
  }
  space = await createSpace('E', 'Lighthouse', '--visible', '--owner', olga.key);
  for (const router of ['A', 'B', 'C', 'D', 'E']) await isKnown(router, space.service);
  const { text: invitation } = await ask('E', 'space', 'invite', 'Lighthouse', '--uses', '3');
  [ann, cleo, dora] = await Promise.all([Resident.moveIn('A', 'Ann'), Resident.moveIn('C', 'Cleo'), Resident.moveIn('D', 'Dora')]);
  for (const { account } of [ann, cleo, dora]) {
    assert.equal((await account.post('invitations', { invitation })).joined, true);
    await account.until('messages/spaces', ({ spaces }) =>
      spaces.some((one) => one.service === space.service && one.collects && one.reached));
  }
  fred = new Person();
  fredsRelay = await fred.connect(socket('B', space.service));
  await fredsRelay.publish(fred.sign(9021, [['h', 'general']]));
});
after(() => fredsRelay?.close());

test('a message goes from A to C through the space on E, and its sender learns how far it came', async () => {
  const first = await ann.write([cleo], 'The lamp is lit');
  assert.deepEqual(first.to.map((one) => one.person), [cleo.key]);
  const came = await cleo.reads('The lamp is lit');
  assert.deepEqual([came.id, came.author], [first.id, ann.key]);
  await ann.learns(first, 'stored');
  const talk = `conversations/${came.conversation}`;
  assert.equal((await cleo.account.get(talk)).unread, 1);
  const live = await ann.account.listen('messages/live');
  await cleo.account.post(`${talk}/read`);
  assert.equal((await live.next('state')).state, 'read');
  await ann.learns(first, 'read');
  assert.equal((await cleo.account.get(talk)).unread, 0);
  // Somebody writes, answers, and reacts.
  await cleo.account.post(`${talk}/typing`);
  assert.equal((await live.next('typing')).person, cleo.key);
  await cleo.account.post('messages', { client_id: 'answer', conversation: came.conversation, text: secret('I see it from here'), reply_to: came.id });
  assert.equal((await live.next('message')).message.reply_to, first.id);
  await cleo.account.post('messages', { client_id: 'like', reaction: { message: came.id, text: '🔦' } });
  await ann.account.until(`${talk}/messages`, ({ messages }) => messages.find(({ id }) => id === first.id).reactions[0]?.text === '🔦');
  live.end();
  // What is taken back goes at both homes.
  const slip = await ann.write([cleo], 'Wrong window');
  await cleo.reads('Wrong window');
  await ann.account.call('DELETE', `messages/${slip.id}`);
  await until('it is gone at C', async () => !(await cleo.history(came)).includes('Wrong window'));
});

test('a group of three hears everything, each at a home of their own', async () => {
  const first = await ann.write([cleo, dora], 'Fog tomorrow');
  for (const person of [cleo, dora]) {
    const came = await person.reads('Fog tomorrow');
    assert.equal(came.conversation, first.conversation);
    assert.equal((await person.account.get(`conversations/${came.conversation}`)).people.length, 2);
  }
  await ann.learns(first, 'stored');
  const answer = { client_id: 'fog', conversation: first.conversation, text: secret('I bring the horn') };
  const second = await dora.account.post('messages', answer);
  assert.equal((await dora.account.post('messages', answer)).id, second.id, 'who asks again sends nothing twice');
  for (const person of [ann, cleo]) await person.reads('I bring the horn');
  await dora.learns(second, 'stored');
  assert.deepEqual(await cleo.history(first), ['I bring the horn', 'Fog tomorrow']);
});

test('a file travels encrypted, and its key in the message alone', async () => {
  const chart = bytes(300_000);
  const [key, nonce] = [randomBytes(32), randomBytes(12)];
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  const sealed = Buffer.concat([cipher.update(chart), cipher.final(), cipher.getAuthTag()]);
  const blob = new Blob([sealed], { type: 'application/octet-stream' });
  const said = await Actions.uploadBlob(server('A', space.service), blob, {
    onAuth: (_, hash) => createUploadAuth(signer(ann.account), hash),
  });
  const sent = await ann.send([cleo], { file: {
    url: said.url, type: 'image/png', key: key.toString('hex'), nonce: nonce.toString('hex'), hash: said.sha256,
    original_hash: sha256(chart), size: sealed.length, name: 'chart.png',
  } });
  assert.equal(sent.kind, 15);
  const { file } = await until('the file at C', async () => (await cleo.messages(sent.conversation)).find(({ id }) => id === sent.id));
  assert.deepEqual([file.name, file.type, file.algorithm], ['chart.png', 'image/png', 'aes-gcm']);
  // The app at C asks its own home for what the address names.
  const { host, pathname } = new URL(file.url);
  assert.equal(host, `${space.service}.warren`);
  const got = Buffer.from(await (await fetch(new URL(`.${pathname}`, web('C', space.service)))).arrayBuffer());
  assert.equal(sha256(got), file.hash);
  const decipher = createDecipheriv('aes-256-gcm', Buffer.from(file.key, 'hex'), Buffer.from(file.nonce, 'hex'));
  decipher.setAuthTag(got.subarray(-16));
  const plain = Buffer.concat([decipher.update(got.subarray(0, -16)), decipher.final()]);
  assert.equal(sha256(plain), file.original_hash);
  secrets.push(file.key);
});

test('what is written while the way to the space is cut waits at home and goes when it is back', async () => {
  await cut('D', 'E', 'silent');
  const waits = await ann.write([cleo], 'The cable is down');
  assert.deepEqual(waits.to.map((one) => one.state), ['waiting']);
  await kill('A');
  await start('A');
  await heal('D', 'E');
  await until('A answers', () => ann.account.get('account'));
  await cleo.reads('The cable is down');
  await ann.learns(waits, 'stored');
});

test('a program of somebody else (NIP-17, NIP-59) writes to people of homes and is answered', async () => {
  const [list] = await query(fredsRelay, [{ kinds: [10050], authors: [cleo.key] }]);
  assert.ok(values(list, 'relay').every((url) => /^ws:\/\/[a-z2-7]{52}\.warren\/$/.test(url)), 'it says where she takes messages');
  const heard = [];
  fredsRelay.subscribe([mail(fred)], { onevent: (event) => heard.push(unwrapEvent(event, fred.secret)) });
  await fredsRelay.publish(wrapEvent(fred.secret, { publicKey: cleo.key }, secret('Ahoy from a foreign program'), 'Ahoy'));
  const came = await cleo.reads('Ahoy from a foreign program');
  assert.equal(came.author, fred.key);
  assert.equal((await cleo.account.get(`conversations/${came.conversation}`)).subject, 'Ahoy');
  await cleo.account.post('messages', { client_id: 'ahoy', conversation: came.conversation, text: secret('Ahoy yourself') });
  const answer = await until('the answer', () => heard.find(({ kind, content }) => kind === 14 && content === 'Ahoy yourself'));
  assert.equal(answer.pubkey, cleo.key);
  // It reads receipts of homes as one more kind, and sends kinds that it has no words for.
  await until('a receipt', () => heard.find(({ kind, tags }) => kind === 4241 && tags.some(([name, value]) => name === 'state' && value === 'stored')));
  const photo = { kind: 15, created_at: now(), content: `http://${space.service}.warren/${'ab'.repeat(32)}`, tags: [
    ['p', cleo.key], ['file-type', 'image/jpeg'], ['encryption-algorithm', 'aes-gcm'],
    ['decryption-key', '11'.repeat(32)], ['decryption-nonce', '22'.repeat(12)], ['x', 'ab'.repeat(32)],
  ] };
  await fredsRelay.publish(nip59.wrapEvent(photo, fred.secret, cleo.key));
  const { file } = await until('the photo', async () => (await cleo.messages(came.conversation)).find(({ kind }) => kind === 15));
  assert.deepEqual([file.type, file.url], ['image/jpeg', photo.content]);
  // Cleo's own other program, on the WiFi of B, finds everything in the space and where her list says; what she wrote
  // herself is there, too.
  const app = await cleo.otherApp();
  assert.equal(app.key, cleo.key);
  const places = new Set([`ws://${space.service}.warren/`, ...values(list, 'relay')]);
  for (const place of places) await isKnown('B', new URL(place).host.split('.')[0]);
  const relays = await Promise.all([...places].map((url) => app.connect(url, { via: wifi('B') })));
  await until('all of her mail', async () => {
    const found = (await Promise.all(relays.map((relay) => query(relay, [mail(cleo)])))).flat();
    const texts = found.map((wrap) => unwrapEvent(wrap, app.secret).content);
    return ['The lamp is lit', 'Fog tomorrow', 'Ahoy from a foreign program', 'Ahoy yourself'].every((text) => texts.includes(text));
  });
  for (const relay of relays) relay.close();
});

test('who is muted makes no noise, and who is blocked is not heard', async () => {
  const earlier = await ann.write([cleo], 'Before the quiet');
  await cleo.reads('Before the quiet');
  const talk = `conversations/${earlier.conversation}`;
  assert.equal((await cleo.account.call('PATCH', talk, { muted: true })).muted, true);
  const live = await cleo.account.listen('messages/live');
  await ann.write([cleo], 'In the quiet');
  const heard = await live.next('message');
  assert.deepEqual([heard.muted, heard.message.text], [true, 'In the quiet']);
  live.end();
  await cleo.account.post('blocked', { person: fred.key, blocked: true });
  assert.deepEqual((await cleo.account.get('blocked')).people, [fred.key]);
  const send = (text) => fredsRelay.publish(wrapEvent(fred.secret, { publicKey: cleo.key }, secret(text)));
  await send('You will not read this');
  await ann.write([cleo], 'What came later is here');
  await cleo.reads('What came later is here');
  await cleo.account.post('blocked', { person: fred.key, blocked: false });
  await send('Peace?');
  const texts = await cleo.history(await cleo.reads('Peace?'));
  assert.ok(texts.includes('Ahoy from a foreign program') && !texts.includes('You will not read this'), texts.join());
});

test('nobody else in the space gets a gift wrap, whatever they ask', async () => {
  const app = await cleo.otherApp();
  const cleosRelay = await app.connect(socket('C', space.service));
  const wraps = await query(cleosRelay, [mail(cleo)]);
  assert.ok(wraps.length >= 8, `${wraps.length} wraps are there`);
  const ids = wraps.map((wrap) => wrap.id);
  // The same questions, asked by who may.
  const { need: missing } = await sync(cleosRelay, [], mail(cleo));
  assert.ok(ids.every((id) => missing.includes(id)), 'NIP-77 finds them');
  assert.ok(await cleosRelay.count([mail(cleo)], {}) >= ids.length, 'NIP-45 counts them');
  const questions = [
    {}, { kinds: [1059] }, mail(cleo), { kinds: [1059], '#p': [cleo.key, ann.key] }, { kinds: [1059, 9], '#p': [cleo.key] },
    { '#p': [cleo.key] }, { ids }, { ids: ids.slice(0, 1), kinds: [1059] }, { authors: wraps.map((wrap) => wrap.pubkey) },
    { since: 0, until: now() }, { search: 'lamp' }, { kinds: [1059], search: 'lamp' }, { '#h': ['\u0001mail'] },
  ];
  // Otto belongs to the space, Olga owns it, and nobody did not log in.
  const [otto, nobody] = [new Person(), new Person()];
  const relays = new Map();
  for (const person of [otto, olga, nobody]) relays.set(person, await person.connect(socket('D', space.service), { login: person !== nobody }));
  await relays.get(otto).publish(otto.sign(9021, [['h', 'general']]));
  const leaked = [];
  const catching = (id) => { if (id) leaked.push(id); };
  for (const [person, relay] of relays) {
    // nostr-tools hides what was not asked for; what counts is what came.
    const seen = (event) => catching([1059, 13].includes(event.kind) && values(event, 'p')[0] !== person.key && event.id);
    for (const filter of questions) {
      await new Promise((resolve) => {
        const sub = relay.subscribe([filter], { onevent: seen, oninvalidevent: seen, onclose: resolve, oneose: () => { resolve(); sub.close(); } });
      });
      const { need } = await sync(relay, [], filter);
      need.filter((id) => ids.includes(id)).forEach(catching);
    }
    for (const filter of [mail(cleo), { ids }, { ids, kinds: [1059] }, { '#p': [cleo.key], kinds: [1059, 9] }]) {
      const count = await relay.count([filter], {}).catch(() => 0);
      assert.equal(count, 0, JSON.stringify(filter).slice(0, 80));
    }
    for (const filter of [{}, { kinds: [1059] }, mail(cleo)]) relay.subscribe([filter], { onevent: seen, oninvalidevent: seen });
  }

  // The same wrap again is answered as one that nobody has seen, and what is said about one as what is said about nothing.
  const relay = relays.get(otto);
  const answer = (event) => relay.publish(event).then((said) => `ok ${said}`, (error) => error.message);
  const fresh = wrapEvent(otto.secret, { publicKey: cleo.key }, 'A wrap of my own');
  assert.equal(await answer(wraps[0]), await answer(fresh));
  const nothing = 'cd'.repeat(32);
  for (const about of [
    (id) => otto.sign(7, [['h', 'general'], ['e', id], ['p', cleo.key]], '+'),
    (id) => otto.sign(9, [['h', 'general'], ['q', id]], 'is it there?'),
    (id) => otto.sign(9010, [['h', 'general'], ['e', id]]),
    (id) => otto.sign(5, [['e', id], ['k', '1059']]),
    (id) => otto.sign(1984, [['e', id, 'spam'], ['p', cleo.key]]),
  ]) assert.equal(await answer(about(ids[0])), await answer(about(nothing)), JSON.stringify(about(nothing).tags));
  assert.equal((await fetch(new URL(ids[0], web('D', space.service)))).status, 404);
  const log = JSON.stringify(await manage(olga, web('E', space.service), 'audit'));
  assert.ok(ids.every((id) => !log.includes(id)), 'the log of the space names no wrap');

  // Live: something new comes to Cleo while they listen, and then a word in the channel comes to all of them.
  await ann.write([cleo], 'Do not turn round');
  await cleo.reads('Do not turn round');
  const heard = [...relays].filter(([person]) => person !== nobody).map(([, one]) => new Promise((resolve) => {
    one.subscribe([{ kinds: [9], '#h': ['general'] }], { onevent: ({ content }) => content === 'Nothing to see here' && resolve() });
  }));
  await relay.publish(otto.sign(9, [['h', 'general']], 'Nothing to see here'));
  await within(Promise.all(heard), 'word in the channel');
  assert.deepEqual(leaked, []);
  const left = (await query(cleosRelay, [mail(cleo)])).map((wrap) => wrap.id);
  assert.ok(ids.every((id) => left.includes(id)), 'nobody deleted anything');
  // Nor does another home's person find the conversation by its name.
  const { conversations } = await ann.account.get('conversations');
  const { id } = conversations.find((talk) => talk.people.length === 1 && talk.people[0] === cleo.key);
  await assert.rejects(dora.account.get(`conversations/${id}/messages`), { code: 'unknown' });
  for (const one of [...relays.values(), cleosRelay]) one.close();
});

test('a home that was off when somebody wrote gets it when it is on again, also while its person is logged out', async () => {
  const app = await cleo.otherApp();
  const relay = await app.connect(socket('B', space.service));
  await cleo.account.call('DELETE', 'session');
  await stop('C');
  const first = await ann.write([cleo], 'While your home was off');
  await ann.learns(first, 'sent');
  const wrap = (await query(relay, [mail(cleo)])).find((one) => unwrapEvent(one, app.secret).content === 'While your home was off');
  relay.close();
  await start('C');
  // Her permission is enough.
  await until('C has it', async () => (await mailbag('C')).includes(wrap.id));
  const shown = (await ann.messages(first.conversation)).find(({ id }) => id === first.id);
  assert.equal(shown.to[0].state, 'sent', 'a sealed account signs no receipt');
  // Then the space goes away, and with it every other copy.
  await stop('E');
  cleo.account = await until('C lets her in', () => Account.logIn(home('C'), 'Cleo', PASS));
  assert.equal((await cleo.reads('While your home was off')).id, first.id);
  // A third home writes while both are off; nothing that was taken is lost by a kill.
  await kill('C');
  const second = await dora.write([cleo], 'While everything was off');
  await kill('D');
  await start('E');
  await start('D');
  await until('D answers', () => dora.account.get('account'));
  await dora.learns(second, 'sent');
  await start('C');
  await until('C answers', () => cleo.account.get('account'));
  await cleo.reads('While everything was off');
  await dora.learns(second, 'stored');
  await ann.learns(first, 'stored');
  const again = await cleo.history(first);
  assert.equal(again.filter((text) => text === 'While your home was off').length, 1);
});

test('no disk of the neighbourhood has a word of it in clear', async () => {
  async function* files(folder) {
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) yield* files(path);
      else if (entry.isFile()) yield path;
    }
  }
  for (const router of ['A', 'B', 'C', 'D', 'E']) {
    for await (const path of files(dirname(config(router)))) {
      const content = await readFile(path);
      for (const text of secrets) assert.ok(!content.includes(text), `${text}: ${path}`);
    }
  }
});
