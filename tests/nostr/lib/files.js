// Files as blossom-client-sdk handles them, and what it has nothing for: uploads in parts that go on after a break.
import './localhost.js';
import { createUploadAuth, encodeAuthorizationHeader } from 'blossom-client-sdk/auth';
import { bytes, sha256, signer } from './blobs.js';
import { home } from './neighbourhood.js';

export { bytes, sha256, signer };

/** The space's files at the root of an address of their own, as Blossom's clients want it. */
export const server = (router, service) => home(router).replace('127.0.0.1', `${service}.localhost`);

/** Somebody's upload of these bytes in parts. */
export class Upload {
  constructor(person, url, whole) {
    Object.assign(this, { person, url: new URL('upload', url), whole, name: sha256(whole) });
  }

  async headers(more) {
    const proof = await createUploadAuth(signer(this.person), this.name);
    return { Authorization: encodeAuthorizationHeader(proof), 'X-SHA-256': this.name, ...more };
  }

  /** How much of it the space has. */
  async offset(signal) {
    const headers = await this.headers({ 'X-Content-Length': String(this.whole.length) });
    const answer = await fetch(this.url, { method: 'HEAD', headers, signal });
    if (!answer.ok) throw new Error(`${answer.status}: ${answer.headers.get('x-reason')}`);
    return Number(answer.headers.get('upload-offset'));
  }

  /** Sends what lies between two places; the answer. */
  async part(from, to = this.whole.length, signal) {
    const headers = await this.headers({
      'Upload-Length': String(this.whole.length),
      'Upload-Offset': String(from),
      'Upload-Type': 'video/mp4',
    });
    return fetch(this.url, { method: 'PATCH', headers, body: this.whole.subarray(from, to), signal });
  }
}
