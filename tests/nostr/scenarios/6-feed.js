// The public feed of people whose homes are A, C and E: they follow, write, answer, repeat and react, each at a home of
// their own; homes go away and come back; and programs of somebody else read and write at a person's home (NIP-65).
import assert from 'node:assert/strict';
import { appendFile } from 'node:fs/promises';
import { request } from 'node:http';
import { dirname, join } from 'node:path';
import { before, test } from 'node:test';
import { Actions } from 'blossom-client-sdk';
import { createUploadAuth } from 'blossom-client-sdk/auth';
import { nip19 } from 'nostr-tools';
import { SimplePool } from 'nostr-tools/pool';
import { verifyEvent } from 'nostr-tools/pure';
import { Account } from '../lib/account.js';
import { bytes, server, sha256, signer } from '../lib/files.js';
import { config, cut, heal, home, isKnown, kill, socket, start, stop, web, wifi } from '../lib/neighbourhood.js';
import { Person, query, until, values } from '../lib/people.js';

const PASS = 'a tractor in the rain';
/** A home looks again for another one that was away after a minute at the latest. */
const LONG = 180_000;

/** Somebody with an account who wants to be found. */
class Resident {
  static async moveIn(router, name) {
    const account = await Account.signUp(home(router), name, PASS);
    const { public_key: key } = await account.call('PATCH', 'account', { findable: true });
    const relay = await account.until('feed/relay', ({ unsaid }) => unsaid.length === 0);
    return Object.assign(new Resident(), { router, account, key, relay: relay.name, service: new URL(relay.name).host.split('.')[0] });
  }

  /** Writes a post, or an answer; its id. */
  async posts(text, more) {
    return (await this.account.post('feed/posts', { text, ...more })).id;
  }

  follows(who) {
    return this.account.post('feed/follows', { who });
  }

  /** Waits until a list has these texts, in whatever order: what is written in one second comes in any. */
  async sees(path, ...texts) {
    await this.account.until(path, (list) => textsOf(list).join('\n') === texts.sort().join('\n'), LONG);
  }

  async now(path) {
    return textsOf(await this.account.get(path));
  }

  /** Waits until a post looks as wanted; it. */
  async finds(post, wanted) {
    const of = ({ items }) => items.find(({ id }) => id === post);
    return of(await this.account.until(`feed/posts/${post}`, (talk) => of(talk) && wanted(of(talk), talk), LONG));
  }

  /** The same person in a Nostr program of their own, with the key from the recovery sheet. */
  async otherApp() {
    const { secret_key: hex } = await this.account.post('account/key', { passphrase: PASS });
    return new Person(Uint8Array.from(Buffer.from(hex, 'hex')));
  }
}

const textsOf = ({ items }) => items.map((item) => (item.kind === 'repost' ? `again: ${item.post?.text}` : item.text)).sort();
let [ann, cleo, emil] = [];
let first;
const figuresSocket = join(dirname(config('C')), 'metrics.sock');

/** A figure that the owner of C reads. */
async function figure(name) {
  const text = await new Promise((resolve, reject) => {
    const asking = request({ socketPath: figuresSocket, path: '/metrics' }, async (answer) => resolve(await answer.setEncoding('utf8').toArray()));
    asking.on('error', reject);
    asking.end();
  });
  return Number(new RegExp(`^${name} (.*)$`, 'm').exec(text.join(''))[1]);
}

before(async () => {
  await stop('C');
  await appendFile(config('C'), `\n[metrics]\nlisten = ${JSON.stringify(`unix:${figuresSocket}`)}\n`);
  await start('C');
  await until('C answers', () => fetch(home('C')));
  [ann, cleo, emil] = await Promise.all([Resident.moveIn('A', 'Ann'), Resident.moveIn('C', 'Cleo'), Resident.moveIn('E', 'Emil')]);
  for (const router of ['A', 'C', 'E']) {
    for (const { service } of [ann, cleo, emil]) await isKnown(router, service);
  }
});

test('whom one follows by name, by address or by key is read at another home', async () => {
  first = await ann.posts('The bees are out');
  assert.deepEqual(await cleo.now('feed'), []);
  const found = await cleo.follows('ann@A');
  assert.deepEqual([found.public_key, found.followed, found.here], [ann.key, true, false]);
  await emil.follows(`ann@${ann.service}.warren`);
  await emil.follows(nip19.npubEncode(cleo.key));
  await assert.rejects(cleo.follows('nobody@A'), { code: 'unknown' });
  for (const reader of [ann, cleo, emil]) await reader.sees('feed', 'The bees are out');
  const { items: [item] } = await cleo.account.get('feed');
  assert.equal(item.author.name, 'Ann');
  await emil.account.until('feed/people', ({ people }) => [ann, cleo].every(({ key }) => people.some((one) => one.public_key === key)), LONG);
  // Who has no account reads what people of the home wrote.
  assert.deepEqual(textsOf(await new Account(home('A')).get('feed')), ['The bees are out']);
  assert.deepEqual(textsOf(await new Account(home('C')).get('feed')), []);
});

test('answers, reposts and reactions come back to who wrote', async () => {
  const answer = await cleo.posts('Here, too', { reply_to: first });
  await emil.finds(answer, (post) => post.parent === first);
  const deeper = await emil.posts('Not yet', { reply_to: answer });
  const { id: again } = await cleo.account.post(`feed/posts/${first}/repost`);
  await emil.sees('feed', 'The bees are out', 'again: The bees are out');
  await emil.account.post(`feed/posts/${first}/react`, { reaction: '🐝' });
  const emoji = { shortcode: 'hive', url: `http://${cleo.service}.warren/${'ab'.repeat(32)}.png` };
  await cleo.account.post(`feed/posts/${first}/react`, { emoji });
  const { replies, reposts } = await ann.finds(first, ({ reactions }) => reactions['🐝'] === 1 && reactions[':hive:'] === 1);
  assert.deepEqual([replies, reposts], [1, 1]);
  await ann.finds(deeper, (post, talk) => talk.root === first && talk.items.length === 3);
  const kinds = ({ items }) => items.map(({ kind }) => kind);
  await ann.account.until('feed/notifications', (list) => ['reply', 'repost', 'reaction'].every((kind) => kinds(list).includes(kind)), LONG);
  // What is taken back goes everywhere.
  await cleo.account.call('DELETE', `feed/posts/${again}`);
  await emil.sees('feed', 'The bees are out');
  await emil.sees('feed?replies=yes', 'The bees are out', 'Here, too', 'Not yet');
});

test('a profile has a picture that lies at its home and is seen at others', async () => {
  const picture = Buffer.concat([Buffer.from('89504e470d0a1a0a', 'hex'), bytes(20_000)]);
  const blob = new Blob([picture], { type: 'image/png' });
  const said = await Actions.uploadBlob(server('A', ann.service), blob, {
    onAuth: (_, hash) => createUploadAuth(signer(ann.account), hash),
  });
  assert.equal(said.sha256, sha256(picture));
  const url = `http://${ann.service}.warren/${said.sha256}.png`;
  await ann.account.call('PATCH', 'feed/profile', { display_name: 'Ann of the orchard', about: 'Bees', picture: url });
  const shown = await cleo.account.until(`feed/people/${ann.key}`, (person) => person.picture === url, LONG);
  assert.deepEqual([shown.display_name, shown.about], ['Ann of the orchard', 'Bees']);
  const got = await fetch(new URL(new URL(url).pathname.slice(1), web('C', ann.service)));
  assert.deepEqual([got.status, got.headers.get('content-type')], [200, 'image/png']);
  assert.equal(sha256(Buffer.from(await got.arrayBuffer())), said.sha256);
  // Only people of the home leave files there.
  const other = Actions.uploadBlob(server('C', ann.service), new Blob([bytes(1000)]), {
    onAuth: (_, hash) => createUploadAuth(signer(new Person()), hash),
  });
  await assert.rejects(other, /restricted|403|401/);
});

test('NIP-05 and NIP-65: a foreign program finds a person by name and reads and writes at their home', async () => {
  const { here } = await ann.account.get('feed/relay');
  assert.equal(here, socket('A', ann.service));
  // Whether their home is asked on its own WiFi, or its relay through somebody else's.
  for (const place of [home('A'), server('C', ann.service)]) {
    const { names, relays } = await (await fetch(new URL('/.well-known/nostr.json?name=ann', place))).json();
    assert.deepEqual([names.ann, relays[ann.key]], [ann.key, [ann.relay]], place);
  }
  // On the WiFi of C: the name leads over the mesh to A.
  const pool = new SimplePool({ websocketImplementation: wifi('C') });
  const list = await pool.get([ann.relay], { kinds: [10002], authors: [ann.key] });
  const outbox = list.tags.filter(([name, , marker]) => name === 'r' && marker !== 'read').map(([, url]) => url);
  assert.deepEqual(outbox, [ann.relay]);
  const posts = await pool.querySync(outbox, { kinds: [1], authors: [ann.key] });
  assert.deepEqual(posts.map(({ content }) => content), ['The bees are out']);
  assert.ok(posts.every(verifyEvent));
  const [profile, servers] = await Promise.all([0, 10063].map((kind) => pool.get(outbox, { kinds: [kind], authors: [ann.key] })));
  assert.equal(JSON.parse(profile.content).display_name, 'Ann of the orchard');
  assert.deepEqual(values(servers, 'server'), [`http://${ann.service}.warren`]);
  // Ann's own program writes there; a stranger's does not.
  const app = await ann.otherApp();
  const relay = await app.connect(here);
  await relay.publish(app.sign(1, [], 'Written in another program'));
  await assert.rejects(relay.publish(new Person().sign(1, [], 'Buy my hives')), /auth-required|restricted/);
  relay.close();
  const stranger = await cleo.otherApp();
  const foreign = await stranger.connect(socket('C', ann.service));
  await assert.rejects(foreign.publish(stranger.sign(1, [], 'I live elsewhere')), /restricted/);
  assert.equal((await query(foreign, [{ kinds: [1], authors: [ann.key] }])).length, 2, 'but reads');
  foreign.close();
  pool.destroy();
  await cleo.sees('feed', 'The bees are out', 'Written in another program');
});

test('what is too long is refused with a word, and what fits arrives and is counted', async () => {
  const held = await figure('warren_home_feed_bytes');
  await assert.rejects(emil.posts('x'.repeat(5001)), { code: 'field_invalid' });
  const long = `Long: ${'y'.repeat(4994)}`;
  const post = await emil.posts(long);
  await cleo.follows(emil.key);
  await cleo.account.until('feed', ({ items }) => items.some(({ id, text }) => id === post && text === long), LONG);
  const [holds, most] = [await figure('warren_home_feed_bytes'), await figure('warren_home_feed_max_bytes')];
  assert.ok(holds >= held + long.length && holds <= most, `the cache grew from ${held} to ${holds} of ${most}`);
  await cleo.account.call('DELETE', `feed/follows/${emil.key}`);
  await cleo.sees('feed', 'The bees are out', 'Written in another program');
});

test('while a home is away its posts are still read, and new ones come when it is back', async () => {
  const known = ['The bees are out', 'Written in another program'];
  await stop('A');
  assert.deepEqual(await cleo.now('feed'), known);
  // Nor does the reader's own home forget them.
  await kill('C');
  await start('C');
  await until('C answers', () => cleo.account.get('account'));
  assert.deepEqual(await cleo.now('feed'), known);
  assert.equal((await cleo.account.get(`feed/people/${ann.key}`)).display_name, 'Ann of the orchard');
  await cleo.account.until('feed/follows', ({ people }) => people.some(({ public_key: key }) => key === ann.key), LONG);
  await start('A');
  await until('A answers', () => ann.account.get('account'));
  await ann.posts('Back again');
  await cleo.sees('feed', ...known, 'Back again');
  // The reader's home is off while Ann writes.
  await kill('C');
  const missed = await ann.posts('While you were off');
  await emil.account.until('feed', ({ items }) => items.some(({ id }) => id === missed), LONG);
  await start('C');
  await until('C answers', () => cleo.account.get('account'));
  await cleo.sees('feed', ...known, 'Back again', 'While you were off');
});

test('islands of the mesh read what is among them, and catch up when they meet', async () => {
  await cut('C', 'D', 'silent');
  await cut('B', 'D', 'silent');
  const apart = await ann.posts('On this side');
  await cleo.account.until('feed', (list) => textsOf(list).includes('On this side'), LONG);
  assert.ok(!(await emil.now('feed')).includes('On this side'));
  await emil.posts('On the other side');
  await heal('C', 'D');
  await heal('B', 'D');
  await emil.account.until('feed', (list) => list.items.some(({ id }) => id === apart), LONG);
  await ann.follows(emil.key);
  await ann.account.until('feed', (list) => textsOf(list).includes('On the other side'), LONG);
});
