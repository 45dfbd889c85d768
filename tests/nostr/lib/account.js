// Somebody who has an account at a home, and calls the home's interface for programs (`/api/1/`).
import { until } from './people.js';

export class Account {
  constructor(home, token) {
    Object.assign(this, { home, token });
  }

  /** Makes an account. */
  static signUp(home, name, passphrase) {
    return Account.enter(home, 'accounts', { name, passphrase });
  }

  /** Logs in on another device. */
  static logIn(home, name, passphrase) {
    return Account.enter(home, 'session', { name, passphrase });
  }

  static async enter(home, path, login) {
    const stranger = new Account(home);
    const { token } = await stranger.call('POST', path, { ...login, session: 'bearer', device: 'test' });
    return new Account(home, token);
  }

  /** One call; what the home answers, or an error whose `code` is the home's. */
  async call(method, path, body) {
    const answer = await fetch(`${this.home}/api/1/${path}`, {
      method,
      headers: {
        ...(body && { 'Content-Type': 'application/json' }),
        ...(this.token && { Authorization: `Bearer ${this.token}` }),
      },
      body: body && JSON.stringify(body),
    });
    const said = await answer.json();
    if (answer.ok) return said;
    throw Object.assign(new Error(`${method} ${path}: ${JSON.stringify(said)}`), { code: said.error?.code });
  }

  get(path) {
    return this.call('GET', path);
  }

  post(path, body = {}) {
    return this.call('POST', path, body);
  }

  /** Asks again and again until the answer is as wanted; `limit` in milliseconds. */
  until(path, wanted, limit) {
    let last;
    const asking = until(`${path} as wanted`, async () => {
      last = await this.get(path);
      return wanted(last) && last;
    }, limit);
    return asking.catch((error) => { throw new Error(`${error.message}: ${JSON.stringify(last)?.slice(0, 1000)}`); });
  }

  /** Has the home sign what a program has put together. */
  async finish(template) {
    const { result } = await this.post('signer', { method: 'sign_event', params: [JSON.stringify(template)] });
    return JSON.parse(result);
  }

  /** Hears what the home tells from now on (server-sent events): `next` is the next of a name, `end` hangs up. */
  async listen(path) {
    const hangUp = new AbortController();
    const headers = { Authorization: `Bearer ${this.token}` };
    const answer = await fetch(`${this.home}/api/1/${path}`, { headers, signal: hangUp.signal });
    const heard = [];
    const hearing = async () => {
      let text = '';
      for await (const part of answer.body.pipeThrough(new TextDecoderStream())) {
        const events = (text + part).split('\n\n');
        text = events.pop();
        for (const event of events) {
          const [, name, data] = /^event: (.*)\ndata: (.*)$/m.exec(event) ?? [];
          if (name) heard.push({ name, data: JSON.parse(data) });
        }
      }
    };
    hearing().catch(() => {}); // hung up
    const next = (name) => until(`${name} from ${path}`, () => {
      const place = heard.findIndex((event) => event.name === name);
      return place >= 0 && heard.splice(0, place + 1).at(-1).data;
    });
    return { next, end: () => hangUp.abort() };
  }
}
