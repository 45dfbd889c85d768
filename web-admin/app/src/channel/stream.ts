// One stream of a channel: what may be sent, what has come and was not taken yet.

import { CREDIT, Kind, credit, type Reason } from './frame.js';

/** A stream, or the whole channel, that ended before it was done. */
export class ChannelError extends Error {
  override readonly name = 'ChannelError';
  readonly reason: Reason;

  constructor(reason: Reason) {
    super(`the channel's stream ended: ${reason}`);
    this.reason = reason;
  }
}

export interface Head {
  status: number;
  headers: Record<string, string>;
}

type Send = (kind: Kind, body?: Uint8Array) => void;

/** Somebody who waits for something. */
class Waiting<T> {
  readonly promise: Promise<T>;
  resolve!: (value: T) => void;
  reject!: (error: Error) => void;

  constructor() {
    this.promise = new Promise<T>((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    // Who does not wait need not hear of the error.
    this.promise.catch(() => undefined);
  }
}

export class Stream {
  readonly #send: Send;
  readonly #head = new Waiting<Head>();
  readonly #queue: Uint8Array[] = [];
  #room = CREDIT;
  #wake: Waiting<void> | undefined;
  #changed = new Waiting<void>();
  #ended = false;
  #error: ChannelError | undefined;

  constructor(send: Send) {
    this.#send = send;
  }

  /** The head of the answer. */
  get head(): Promise<Head> {
    return this.#head.promise;
  }

  /** Sends data in one piece as soon as the home takes it. */
  async write(bytes: Uint8Array): Promise<void> {
    while (this.#room < bytes.length) {
      this.#check();
      this.#wake ??= new Waiting();
      await this.#wake.promise;
    }
    this.#check();
    this.#room -= bytes.length;
    this.#send(Kind.Data, bytes);
  }

  /** Says that this was all. */
  finish(): void {
    if (!this.#error && !this.#ended) this.#send(Kind.End);
  }

  /** Ends the stream. */
  cancel(): void {
    if (this.#error || (this.#ended && this.#queue.length === 0)) return;
    this.#send(Kind.Reset, Uint8Array.of(1));
    this.fail(new ChannelError('cancelled'));
  }

  /** What the home sends, piece by piece; the home may send on as pieces are taken. */
  async *read(): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for (;;) {
        const piece = this.#queue.shift();
        if (piece) {
          if (!this.#ended) this.#send(Kind.Credit, credit(piece.length));
          yield piece;
        } else if (this.#error) {
          throw this.#error;
        } else if (this.#ended) {
          return;
        } else {
          await this.#changed.promise;
        }
      }
    } finally {
      this.cancel();
    }
  }

  #check(): void {
    if (this.#error) throw this.#error;
    if (this.#ended) throw new ChannelError('gone');
  }

  #stir(): void {
    this.#wake?.resolve();
    this.#wake = undefined;
  }

  #tell(): void {
    this.#changed.resolve();
    this.#changed = new Waiting();
  }

  // What the channel heard for this stream:

  hearHead(head: Head): void {
    this.#head.resolve(head);
  }

  hearData(bytes: Uint8Array): void {
    this.#queue.push(bytes);
    this.#tell();
  }

  hearCredit(bytes: number): void {
    this.#room += bytes;
    this.#stir();
  }

  hearEnd(): void {
    this.#ended = true;
    this.#head.reject(new ChannelError('gone'));
    this.#stir();
    this.#tell();
  }

  fail(error: ChannelError): void {
    this.#error ??= error;
    this.#head.reject(error);
    this.#stir();
    this.#tell();
  }
}
