// The app's side of Noise NK (revision 34, Noise_NK_25519_ChaChaPoly_BLAKE2s): it knows the home's key and stays unknown
// itself. Pure JavaScript, for pages on plain HTTP have no crypto.subtle.

import { chacha20poly1305 } from '@noble/ciphers/chacha.js';
import { x25519 } from '@noble/curves/ed25519.js';
import { blake2s } from '@noble/hashes/blake2.js';
import { hmac } from '@noble/hashes/hmac.js';
import { concatBytes, utf8ToBytes } from '@noble/hashes/utils.js';

const NAME = utf8ToBytes('Noise_NK_25519_ChaChaPoly_BLAKE2s');
/** Bound into the handshake: another protocol's messages do not open. */
export const PROLOGUE = utf8ToBytes('warren channel v1');
const NOTHING = new Uint8Array(0);
const TAG = 16;

/** One direction of a channel: a key and how many messages it has sealed or opened. */
export class Direction {
  readonly #key: Uint8Array;
  #count = 0n;

  constructor(key: Uint8Array) {
    this.#key = key;
  }

  #cipher(aad: Uint8Array) {
    const nonce = new Uint8Array(12);
    new DataView(nonce.buffer).setBigUint64(4, this.#count, true);
    return chacha20poly1305(this.#key, nonce, aad);
  }

  seal(text: Uint8Array, aad: Uint8Array = NOTHING): Uint8Array {
    const sealed = this.#cipher(aad).encrypt(text);
    this.#count += 1n;
    return sealed;
  }

  /** Throws when the message was not sealed with this key as the next one. */
  open(sealed: Uint8Array, aad: Uint8Array = NOTHING): Uint8Array {
    const text = this.#cipher(aad).decrypt(sealed);
    this.#count += 1n;
    return text;
  }
}

/** A handshake under way: `first` goes to the home, its answer into `finish`. */
export class Handshake {
  /** The first message, 48 bytes. */
  readonly first: Uint8Array;
  readonly #ephemeral: Uint8Array;
  #chain: Uint8Array;
  #hash: Uint8Array;

  /** `home` is the home's public key, 32 bytes; `ephemeral` is given in tests only. */
  constructor(home: Uint8Array, ephemeral: Uint8Array = x25519.utils.randomSecretKey()) {
    this.#ephemeral = ephemeral;
    this.#chain = blake2s(NAME);
    this.#hash = this.#chain;
    this.#mix(PROLOGUE);
    this.#mix(home);
    const mine = x25519.getPublicKey(ephemeral);
    this.#mix(mine);
    const key = this.#agree(home);
    const tag = new Direction(key).seal(NOTHING, this.#hash);
    this.#mix(tag);
    this.first = concatBytes(mine, tag);
  }

  /** Takes the home's answer, 48 bytes; gives what is sealed to the home and what is opened from it. Throws when the
   * home has another key. */
  finish(second: Uint8Array): { send: Direction; receive: Direction } {
    if (second.length !== 32 + TAG) throw new Error('the answer has an impossible length');
    const theirs = second.subarray(0, 32);
    this.#mix(theirs);
    const key = this.#agree(theirs);
    new Direction(key).open(second.subarray(32), this.#hash);
    const [send, receive] = this.#derive(NOTHING);
    return { send: new Direction(send), receive: new Direction(receive) };
  }

  #mix(bytes: Uint8Array): void {
    this.#hash = blake2s(concatBytes(this.#hash, bytes));
  }

  #agree(theirs: Uint8Array): Uint8Array {
    // Refuses points of small order by itself.
    const [chain, key] = this.#derive(x25519.getSharedSecret(this.#ephemeral, theirs));
    this.#chain = chain;
    return key;
  }

  #derive(input: Uint8Array): [Uint8Array, Uint8Array] {
    const secret = hmac(blake2s, this.#chain, input);
    const first = hmac(blake2s, secret, Uint8Array.of(1));
    return [first, hmac(blake2s, secret, concatBytes(first, Uint8Array.of(2)))];
  }
}
