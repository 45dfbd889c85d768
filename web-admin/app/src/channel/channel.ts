// The encrypted channel to the home: requests and connections to spaces inside one WebSocket.

import { bytesToHex, hexToBytes, utf8ToBytes } from '@noble/hashes/utils.js';
import { BODY_MAX, Kind, REASONS, decode, encode } from './frame.js';
import { type Direction, Handshake } from './noise.js';
import { ChannelError, type Head, Stream } from './stream.js';

/** A request. */
export interface Asked {
  method?: string;
  headers?: Record<string, string>;
  body?: string | Uint8Array | AsyncIterable<Uint8Array>;
}

/** The answer to a request. The body can be taken once. */
export class Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: AsyncIterable<Uint8Array>;

  constructor(head: Head, body: AsyncIterable<Uint8Array>) {
    this.status = head.status;
    this.headers = head.headers;
    this.body = body;
  }

  get ok(): boolean {
    return this.status >= 200 && this.status < 300;
  }

  async bytes(): Promise<Uint8Array> {
    const pieces: Uint8Array[] = [];
    let length = 0;
    for await (const piece of this.body) {
      pieces.push(piece);
      length += piece.length;
    }
    const whole = new Uint8Array(length);
    let at = 0;
    for (const piece of pieces) {
      whole.set(piece, at);
      at += piece.length;
    }
    return whole;
  }

  async text(): Promise<string> {
    return new TextDecoder().decode(await this.bytes());
  }

  async json(): Promise<unknown> {
    return JSON.parse(await this.text());
  }
}

/** A connection to a space: text messages both ways. */
export class SpaceSocket {
  readonly #stream: Stream;

  constructor(stream: Stream) {
    this.#stream = stream;
  }

  /** Sends a message; resolves when it is on its way. */
  send(message: string): Promise<void> {
    const bytes = utf8ToBytes(message);
    if (bytes.length > BODY_MAX) return Promise.reject(new ChannelError('malformed'));
    return this.#stream.write(bytes);
  }

  /** The space's messages until the connection ends. */
  async *messages(): AsyncGenerator<string, void, undefined> {
    const decoder = new TextDecoder();
    for await (const bytes of this.#stream.read()) yield decoder.decode(bytes);
  }

  close(): void {
    this.#stream.cancel();
  }
}

/** What a channel needs of a WebSocket: the browser's, or `ws` in Node. */
export interface SocketLike {
  binaryType: string;
  readonly readyState: number;
  send(bytes: Uint8Array): void;
  close(): void;
  addEventListener(kind: 'open' | 'error' | 'close', heard: () => void): void;
  addEventListener(kind: 'message', heard: (event: { data: unknown }) => void): void;
}

/** The state of a WebSocket that can send. */
const OPEN = 1;

/** How the home's key is known: read off the home's own code, or asked for on the first visit and kept. */
export async function askForKey(base: string): Promise<string> {
  const answer = await fetch(new URL('/channel', base));
  const told: unknown = await answer.json();
  if (typeof told !== 'object' || told === null || !('key' in told) || typeof told.key !== 'string') {
    throw new Error('this home tells no key');
  }
  return bytesToHex(hexToBytes(told.key));
}

export class Channel {
  readonly #socket: SocketLike;
  readonly #send: Direction;
  readonly #receive: Direction;
  readonly #streams = new Map<number, Stream>();
  #last = 0;
  #closed = false;

  private constructor(socket: SocketLike, send: Direction, receive: Direction) {
    this.#socket = socket;
    this.#send = send;
    this.#receive = receive;
  }

  /** Opens a channel to the home whose public key (hex) is `key`. Rejects when the home does not hold it. `ephemeral` is
   * given in tests only. */
  static connect(socket: SocketLike, key: string, ephemeral?: Uint8Array): Promise<Channel> {
    const handshake = new Handshake(hexToBytes(key), ephemeral);
    socket.binaryType = 'arraybuffer';
    return new Promise((resolve, reject) => {
      let channel: Channel | undefined;
      const begin = () => {
        socket.send(handshake.first);
      };
      if (socket.readyState === OPEN) begin();
      else socket.addEventListener('open', begin);
      socket.addEventListener('message', ({ data }) => {
        try {
          const bytes = new Uint8Array(data as ArrayBuffer);
          if (channel) {
            channel.#hear(bytes);
          } else {
            const { send, receive } = handshake.finish(bytes);
            channel = new Channel(socket, send, receive);
            resolve(channel);
          }
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
          socket.close();
        }
      });
      socket.addEventListener('error', () => {
        reject(new ChannelError('gone'));
      });
      socket.addEventListener('close', () => {
        reject(new ChannelError('gone'));
        if (channel) channel.#end();
      });
    });
  }

  /** Asks the home for something. */
  async fetch(path: string, asked: Asked = {}): Promise<Answer> {
    const { method = 'GET', headers = {}, body } = asked;
    const stream = this.#open({ method, path, headers });
    pour(stream, body).catch((error: unknown) => {
      // A home that has answered already takes no more; a body that fails takes its request along.
      if (!(error instanceof ChannelError)) stream.cancel();
    });
    return new Answer(await stream.head, stream.read());
  }

  /** Connects to a space by the path of its page, `/s/<service>/`. */
  async socket(path: string): Promise<SpaceSocket> {
    const stream = this.#open({ socket: path });
    const head = await stream.head;
    if (head.status !== 101) throw new ChannelError('gone');
    return new SpaceSocket(stream);
  }

  close(): void {
    this.#socket.close();
    this.#end();
  }

  #open(what: object): Stream {
    if (this.#closed) throw new ChannelError('gone');
    this.#last += 1;
    const number = this.#last;
    const stream = new Stream((kind, body) => {
      if (kind === Kind.Reset) this.#streams.delete(number);
      if (!this.#closed) this.#socket.send(this.#send.seal(encode(kind, number, body)));
    });
    this.#streams.set(number, stream);
    this.#socket.send(this.#send.seal(encode(Kind.Open, number, utf8ToBytes(JSON.stringify(what)))));
    return stream;
  }

  #hear(sealed: Uint8Array): void {
    const { kind, stream: number, body } = decode(this.#receive.open(sealed));
    const stream = this.#streams.get(number);
    if (!stream) return;
    if (kind === Kind.Head) {
      stream.hearHead(JSON.parse(new TextDecoder().decode(body)) as Head);
    } else if (kind === Kind.Data) {
      stream.hearData(body);
    } else if (kind === Kind.Credit) {
      stream.hearCredit(new DataView(body.buffer, body.byteOffset).getUint32(0));
    } else if (kind === Kind.End || kind === Kind.Reset) {
      this.#streams.delete(number);
      if (kind === Kind.End) stream.hearEnd();
      else stream.fail(new ChannelError(REASONS[body[0] ?? 0] ?? 'gone'));
    }
  }

  #end(): void {
    this.#closed = true;
    for (const stream of this.#streams.values()) stream.fail(new ChannelError('gone'));
    this.#streams.clear();
  }
}

async function pour(stream: Stream, body: Asked['body']): Promise<void> {
  const bytes = typeof body === 'string' ? utf8ToBytes(body) : body;
  const pieces = bytes instanceof Uint8Array ? [bytes] : (bytes ?? []);
  for await (const piece of pieces) {
    for (let at = 0; at < piece.length; at += CHUNK) await stream.write(piece.subarray(at, at + CHUNK));
  }
  stream.finish();
}

/** Bytes of one frame of an upload. */
const CHUNK = 32 * 1024;
