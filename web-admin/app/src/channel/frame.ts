// The frames inside the channel, as daemon/home/README.md has them in a table.

/** Bytes of data that may be on their way in one direction of a stream at first. */
export const CREDIT = 256 * 1024;
/** Longest body of a frame. */
export const BODY_MAX = 128 * 1024;

export const Kind = { Open: 1, Head: 2, Data: 3, End: 4, Reset: 5, Credit: 6 } as const;
export type Kind = (typeof Kind)[keyof typeof Kind];

/** Why a stream was ended. */
export const REASONS: Readonly<Record<number, Reason>> = {
  1: 'cancelled',
  2: 'too_many',
  3: 'malformed',
  4: 'gone',
};
export type Reason = 'cancelled' | 'too_many' | 'malformed' | 'gone';

export interface Frame {
  kind: number;
  stream: number;
  body: Uint8Array;
}

export function encode(kind: Kind, stream: number, body: Uint8Array = new Uint8Array(0)): Uint8Array {
  const bytes = new Uint8Array(5 + body.length);
  bytes[0] = kind;
  new DataView(bytes.buffer).setUint32(1, stream);
  bytes.set(body, 5);
  return bytes;
}

export function decode(bytes: Uint8Array): Frame {
  const [kind] = bytes;
  if (kind === undefined || bytes.length < 5) throw new Error('not a frame');
  const stream = new DataView(bytes.buffer, bytes.byteOffset).getUint32(1);
  return { kind, stream, body: bytes.subarray(5) };
}

export function credit(bytes: number): Uint8Array {
  const body = new Uint8Array(4);
  new DataView(body.buffer).setUint32(0, bytes);
  return body;
}
