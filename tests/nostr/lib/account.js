// Somebody who has an account at a home, and calls the home's interface for programs (`/api/1/`).

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
}
