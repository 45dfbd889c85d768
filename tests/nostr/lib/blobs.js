// Bytes, their names, and signatures as blossom-client-sdk asks for them.
import { createHash, randomBytes } from 'node:crypto';

/** What the client asks to have signed. */
export const signer = (person, more = []) => async (draft) => person.finish({ ...draft, tags: [...draft.tags, ...more] });

export const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

/** Bytes that nothing can shorten: a random block again and again, each time with its number. */
export function bytes(length) {
  const whole = Buffer.alloc(length, randomBytes(1 << 16));
  for (let at = 0; at + 4 <= length; at += 1 << 16) whole.writeUInt32BE(at, at);
  return whole;
}
