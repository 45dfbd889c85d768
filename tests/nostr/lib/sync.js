// What a device has against what a space or home has (NIP-77), with nostr-tools' negentropy.
import { nip77 } from 'nostr-tools';
import { within } from './people.js';

const { NegentropyStorageVector, NegentropySync } = nip77;

/** Ids that only the device has (`have`) and that only the other side has (`need`), each sorted. */
export function sync(relay, known, filter) {
  const storage = new NegentropyStorageVector();
  for (const event of known) storage.insert(event.created_at, event.id);
  storage.seal();
  const [have, need] = [[], []];
  return within(new Promise((resolve, reject) => {
    const one = new NegentropySync(relay, storage, filter, {
      onhave: (id) => have.push(id),
      onneed: (id) => need.push(id),
      onclose: (reason) => (reason ? reject(new Error(reason)) : resolve({ have: have.sort(), need: need.sort() })),
    });
    one.start();
  }), 'end of the sync');
}
