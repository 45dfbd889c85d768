// People with keys of their own who use nostr-tools: connect, log in, write, ask, listen. Opens no connection by itself.
import { finalizeEvent, generateSecretKey, getPublicKey } from 'nostr-tools/pure';
import { Relay, useWebSocketImplementation } from 'nostr-tools/relay';
import WebSocket from 'ws';

useWebSocketImplementation(WebSocket);

/** How long anything may take on a busy machine, in milliseconds. */
export const patience = 30_000;

export const now = () => Math.floor(Date.now() / 1000);

/** The promise's result, or an error that says what did not come. */
export function within(promise, what, limit = patience) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`no ${what} in time`)), limit); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Asks again and again until the answer is one; an error counts as none. */
export async function until(what, ask, limit = 60_000) {
  const end = Date.now() + limit;
  for (let last; ;) {
    try {
      const answer = await ask();
      if (answer) return answer;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`waited in vain for ${what}${last ? `: ${last.message}` : ''}`);
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
}

export class Person {
  constructor(secret = generateSecretKey()) {
    this.secret = secret;
    this.key = getPublicKey(this.secret);
  }

  sign(kind, tags, content = '') {
    return this.finish({ kind, created_at: now(), tags, content });
  }

  /** Signs what a program has put together. */
  finish(template) {
    return finalizeEvent({ ...template }, this.secret);
  }

  /** Connects and, unless told otherwise, logs in; over WebSockets of the kind `via`, if given. */
  async connect(url, { login = true, via } = {}) {
    const relay = await within(Relay.connect(url, via && { websocketImplementation: via }), 'connection');
    // nostr-tools takes silence of some seconds for an end; a busy machine may be silent for longer.
    Object.assign(relay, { baseEoseTimeout: patience, publishTimeout: patience });
    if (login) {
      // The challenge comes as the first message; nostr-tools signs the address it was given (NIP-42).
      await within(new Promise((resolve, reject) => {
        const attempt = () => relay.auth(async (event) => this.finish(event)).then(resolve, (error) => {
          if (String(error).includes('challenge')) setTimeout(attempt, 20); else reject(error);
        });
        attempt();
      }), 'login');
    }
    return relay;
  }
}

/** All stored events that the filters find. */
export function query(relay, filters) {
  return within(new Promise((resolve, reject) => {
    const events = [];
    const sub = relay.subscribe(filters, {
      onevent: (event) => events.push(event),
      oneose: () => { resolve(events); sub.close(); },
      onclose: (reason) => reject(new Error(reason)),
    });
  }), 'answer');
}

/** Listens from now on; `first` is the first event that comes. */
export function listen(relay, filters) {
  let heard;
  const first = new Promise((resolve) => { heard = resolve; });
  const ready = new Promise((resolve) => {
    relay.subscribe(filters, { onevent: (event) => heard(event), oneose: resolve });
  });
  return within(ready, 'end of stored events').then(() => ({ first: within(first, 'live event') }));
}

/** The values of an event's tags of one name. */
export const values = (event, name) => event.tags.filter((tag) => tag[0] === name).map((tag) => tag[1]);
