// A space on E, its owner at E, a moderator at C and members at A and D: channels, roles, moderation, over the mesh.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import * as nip29 from 'nostr-tools/nip29';
import { manage } from '../lib/manage.js';
import { createSpace, isKnown, socket, web } from '../lib/neighbourhood.js';
import { Person, listen, now, query, until, values } from '../lib/people.js';

const [olga, mo, ann, ben] = [new Person(), new Person(), new Person(), new Person()];
const homes = new Map([[olga, 'E'], [mo, 'C'], [ann, 'A'], [ben, 'D']]);
const at = new Map();
let space;

const say = (person, kind, tags, content) => {
  const event = person.sign(kind, tags, content);
  return at.get(person).publish(event).then(() => event);
};
const act = (person, method, ...params) => manage(person, web(homes.get(person), space.service), method, ...params);
const channel = (id, more) => ({ relay: '', reference: { id, host: '' }, metadata: { id, pubkey: '', ...more } });
/** An event that a program has put together for a channel. */
const send = (person, template) => at.get(person).publish(person.finish(template));

before(async () => {
  space = await createSpace('E', 'Workshop', '--visible', '--owner', olga.key);
  for (const [person, router] of homes) {
    await isKnown(router, space.service);
    at.set(person, await person.connect(socket(router, space.service)));
    await say(person, 9021, [['h', 'general']]);
  }
});
after(() => { for (const relay of at.values()) relay.close(); });

test('a category with an open and a private channel; only who belongs to it reads the private one', async () => {
  for (const [id, name, more] of [['wood', 'Wood', {}], ['plans', 'Plans', { isPrivate: true, isClosed: true, isRestricted: true }]]) {
    await send(olga, nip29.generateCreateGroupEventTemplate(id));
    await send(olga, nip29.generateEditGroupMetadataEventTemplate(channel(id, { name, about: `About ${name}`, ...more })));
  }
  await send(ann, nip29.generateGroupJoinRequestEventTemplate('wood'));
  const live = await listen(at.get(ann), [{ kinds: [9], '#h': ['wood'], since: now() - 5 }]);
  await say(olga, 9, [['h', 'wood']], 'The saw is back');
  const heard = await live.first;
  assert.equal(heard.content, 'The saw is back');
  await say(ann, 7, [['h', 'wood'], ['e', heard.id], ['p', heard.pubkey], ['k', '9']], '🪚');
  await say(ann, 9, [['h', 'wood'], ['q', heard.id, '', heard.pubkey]], 'At last');
  await say(olga, 9, [['h', 'plans']], 'A secret bench');
  await assert.rejects(query(at.get(ann), [{ kinds: [9], '#h': ['plans'] }]), /restricted/);
  await assert.rejects(send(ann, nip29.generateGroupJoinRequestEventTemplate('plans')), /restricted/);
  await send(olga, nip29.generatePutUserEventTemplate('plans', ann.key));
  await until('Ann reads the plans', async () => (await query(at.get(ann), [{ kinds: [9], '#h': ['plans'] }])).length === 1);
  const [members] = await query(at.get(mo), [{ kinds: [39002], '#d': ['wood'] }]);
  assert.deepEqual(nip29.parseGroupMembersEvent(members).map((member) => member.pubkey).sort(), [olga.key, ann.key].sort());
});

test('a role gives a person permissions, and an override in a channel takes one', async () => {
  await act(olga, 'createrole', 'host', 'Host', 'welcomes people', '200', 300, ['time-out', 'delete-messages', 'ban', 'reports', 'audit', 'mention-everyone']);
  await assert.rejects(act(mo, 'timeout', ben.key, now() + 600, 'noise'), /restricted|not/);
  await act(olga, 'assignrole', mo.key, 'host');
  const [role] = await query(at.get(ben), [{ kinds: [33534], '#d': ['host'] }]);
  assert.deepEqual(values(role, 'label'), ['Host']);
  await assert.rejects(act(mo, 'assignrole', mo.key, 'admin'), /restricted|not/);
  await say(mo, 9, [['h', 'general'], ['mention', 'everyone']], 'Welcome, everyone');
  await assert.rejects(say(ben, 9, [['h', 'general'], ['mention', 'everyone']], 'Look at me'), /restricted/);
  await act(olga, 'setoverride', 'general', 'member', [], ['write']);
  await assert.rejects(say(ben, 9, [['h', 'general']], 'may I?'), /restricted/);
  await act(olga, 'setoverride', 'general', 'member', [], []);
  await say(ben, 9, [['h', 'general']], 'now I may');
});

test('pins, edits of a channel and a deletion reach every home', async () => {
  const rule = await say(olga, 9, [['h', 'general']], 'Put the tools back');
  await send(olga, nip29.generateUpdatePinListEventTemplate('general', [{ type: 'e', value: rule.id }]));
  await until('the pin at A', async () => {
    const [pins] = await query(at.get(ann), [{ kinds: [39005], '#d': ['general'] }]);
    return pins && values(pins, 'e').includes(rule.id);
  });
  const spam = await say(ben, 9, [['h', 'general']], 'Buy my glue!');
  await assert.rejects(send(ann, nip29.generateDeleteEventEventTemplate('general', spam.id)), /restricted/);
  await send(olga, nip29.generateDeleteEventEventTemplate('general', spam.id, 'advertising'));
  for (const person of homes.keys()) assert.deepEqual(await query(at.get(person), [{ ids: [spam.id] }]), []);
  await assert.rejects(at.get(ben).publish(spam), /./, 'what was deleted does not come back');
});

test('a report, a time-out, slow mode, a filter and a ban; all of it stands in the log', async () => {
  const rude = await say(ben, 9, [['h', 'general']], 'You are all dull');
  await say(ann, 1984, [['e', rude.id, 'profanity'], ['p', ben.key], ['h', 'general']], 'not nice');
  const queue = await act(mo, 'listeventsneedingmoderation');
  assert.ok(JSON.stringify(queue).includes(rude.id), JSON.stringify(queue));
  await act(mo, 'banevent', rude.id, 'rude');
  assert.deepEqual(await query(at.get(ann), [{ ids: [rude.id] }]), []);
  await act(mo, 'timeout', ben.key, now() + 3600, 'cool down');
  await assert.rejects(say(ben, 9, [['h', 'general']], 'me again'), /restricted|time/);
  await act(mo, 'timeout', ben.key, 0);
  await act(olga, 'slowmode', 'general', 3600);
  await say(ann, 9, [['h', 'general']], 'let us be kind');
  await assert.rejects(say(ann, 9, [['h', 'general']], 'really'), /^Error: rate-limited/);
  await act(olga, 'slowmode', 'general', 0);
  await act(olga, 'setfilters', { words: ['glue'], links: 'any' });
  await assert.rejects(say(ben, 9, [['h', 'general']], 'ＧLUＥ for all'), /blocked|restricted/);
  await act(mo, 'banpubkey', ben.key, 'enough');
  await assert.rejects(say(ben, 9, [['h', 'general']], 'but'), /blocked|restricted/);
  const [members] = await query(at.get(ann), [{ kinds: [13534] }]);
  assert.ok(!JSON.stringify(members.tags).includes(ben.key));
  await act(mo, 'unbanpubkey', ben.key);
  const log = await act(mo, 'audit');
  const acts = log.map((entry) => values(entry, 'act')[0]);
  for (const one of ['create-role', 'assign-role', 'override', 'ban-event', 'time-out', 'slow-mode', 'filters', 'ban', 'unban']) {
    assert.ok(acts.includes(one), `${one} is not in the log: ${acts}`);
  }
  const ban = log.find((entry) => values(entry, 'act')[0] === 'ban');
  assert.deepEqual([values(ban, 'by'), values(ban, 'p')], [[mo.key], [ben.key]]);
});
