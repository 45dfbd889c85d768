// Management of a space (NIP-86) as a stock program does it: a POST with nostr-tools' proof of identity (NIP-98).
import * as nip98 from 'nostr-tools/nip98';

const STARTED = 'the space was started after this was signed; try again';

/**
 * One call; its result, or an error with the space's words. A proof of the second in which the space was started is not
 * taken: as the space says, another one is signed, until one counts.
 */
export async function manage(person, url, method, ...params) {
  for (;;) {
    try {
      return await call(person, url, method, params);
    } catch (error) {
      if (!error.message.includes(STARTED)) throw error;
      await new Promise((resolve) => { setTimeout(resolve, 100); });
    }
  }
}

async function call(person, url, method, params) {
  const body = { method, params };
  const proof = await nip98.getToken(url, 'POST', (event) => person.finish(event), true, body);
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'Content-Type': 'application/nostr+json+rpc', Authorization: proof },
    body: JSON.stringify(body),
  });
  const said = await answer.json();
  if (!answer.ok || said.error) throw new Error(`${answer.status}: ${JSON.stringify(said.error ?? said)}`);
  return said.result;
}
