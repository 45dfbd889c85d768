// An app of somebody who keeps the account elsewhere: nostr-tools with a bunker:// address (NIP-46). One deed a run, and
// one line of JSON on its output.
//   api HOME TOKEN PATH BODY           one POST to the interface of a home
//   write URI SECRET RELAY TEXT        joins the channel `general` and writes into it
//   sign URI SECRET KIND TEXT          has an event signed; {"error"} when that is refused
import { BunkerSigner, parseBunkerInput } from 'nostr-tools/nip46';
import { SimplePool, useWebSocketImplementation } from 'nostr-tools/pool';
import { Relay } from 'nostr-tools/relay';
import WebSocket from 'ws';
import { Account } from './account.js';
import { now, within } from './people.js';

useWebSocketImplementation(WebSocket);

const [deed, ...words] = process.argv.slice(2);
const event = (kind, tags, content) => ({ kind, tags, content, created_at: now() });

async function signer(uri, secret) {
  const pool = new SimplePool();
  const bunker = BunkerSigner.fromBunker(Buffer.from(secret, 'hex'), await parseBunkerInput(uri), { pool });
  await within(bunker.connect({ name: 'Choir app', url: 'https://app.example' }), 'connection to the signer');
  return { bunker, end: async () => { await bunker.close(); pool.destroy(); } };
}

const deeds = {
  async api(home, token, path, body) {
    return new Account(home, token).call('POST', path, JSON.parse(body));
  },
  async write(uri, secret, url, text) {
    const { bunker, end } = await signer(uri, secret);
    const relay = await within(Relay.connect(url), 'connection');
    for (let known = false; !known;) {
      known = await relay.auth((draft) => bunker.signEvent(draft)).then(() => true, (error) => {
        if (!String(error).includes('challenge')) throw error;
        return new Promise((resolve) => { setTimeout(resolve, 20, false); });
      });
    }
    await relay.publish(await bunker.signEvent(event(9021, [['h', 'general']], '')));
    const said = await bunker.signEvent(event(9, [['h', 'general']], text));
    await relay.publish(said);
    relay.close();
    await end();
    return said;
  },
  async sign(uri, secret, kind, text) {
    const { bunker, end } = await signer(uri, secret).catch((error) => ({ bunker: null, end: error }));
    if (!bunker) return { error: String(end) };
    const said = await bunker.signEvent(event(Number(kind), [], text)).catch((error) => ({ error: String(error) }));
    await end();
    return said;
  },
};

console.log(JSON.stringify(await deeds[deed](...words)));
// What failed has left connections open.
process.exit(0);
