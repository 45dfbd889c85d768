// The neighbourhood that `warren-lab with-neighbourhood` keeps up around this program: its routers A to E, their homes,
// what their owners type, and what befalls their links and daemons. Everything comes from the environment.
import { execFile } from 'node:child_process';
import { connect } from 'node:net';
import { promisify } from 'node:util';
import WebSocket from 'ws';
import { until } from './people.js';

const run = promisify(execFile);
const { WARREND: warrend, WARREN_STAGE: stage } = process.env;
if (!stage) throw new Error('run this with `warren-lab with-neighbourhood`');

const of = (name, router) => process.env[`WARREN_${name}_${router}`];

/** The home of a router as people on its WiFi reach it: `http://127.0.0.1:PORT`. */
export const home = (router) => of('HOME', router);
/** A router's configuration file. */
export const config = (router) => of('CONFIG', router);
/** A router's network namespace. */
export const namespace = (router) => of('NAMESPACE', router);
/** A router's address in the mesh. */
export const address = (router) => of('ADDRESS', router);

/** The address of a space for programs on the WiFi of a router. */
export const socket = (router, service) => `${home(router).replace('http', 'ws')}/s/${service}/`;
/** The same as people's browsers and HTTP programs have it. */
export const web = (router, service) => `${home(router)}/s/${service}/`;

/** WebSockets of programs on the WiFi of a router where names below `.warren` lead to its home. */
export function wifi(router) {
  const port = Number(new URL(home(router)).port);
  return class extends WebSocket {
    constructor(url) {
      super(url, { createConnection: () => connect(port, '127.0.0.1') });
    }
  };
}

/** What the owner of a router types after `warrend`; what it prints. */
export async function owner(router, ...words) {
  const { stdout } = await run(warrend, [...words, '--config', config(router)]);
  return stdout;
}
/** The same, as programs read it. */
export const ask = async (router, ...words) => JSON.parse(await owner(router, ...words, '--json'));

/** Makes a space; its description. */
export function createSpace(router, title, ...options) {
  return ask(router, 'space', 'create', title, ...options);
}

/** Waits until a router's home knows a space and reaches it. */
export function isKnown(router, service) {
  return until(`${service} at ${router}`, async () => {
    const answer = await fetch(web(router, service), { headers: { Accept: 'application/nostr+json' } });
    return answer.ok && answer.json();
  });
}

/** Has something done to a link or a daemon: one line to the stage, one back. */
function tell(line) {
  return new Promise((resolve, reject) => {
    let said = '';
    const wire = connect(stage, () => wire.write(`${line}\n`));
    wire.setEncoding('utf8');
    wire.on('data', (text) => { said += text; });
    wire.on('error', reject);
    wire.on('end', () => {
      const [, word, rest] = /^(\w+) ?(.*)\n$/s.exec(said) ?? [];
      if (word === 'ok') resolve(rest); else reject(new Error(`${line}: ${rest ?? said}`));
    });
  });
}
/** Cuts the link between two routers; `silent`: nobody is told. */
export const cut = (a, b, ...how) => tell(['cut', a, b, ...how].join(' '));
export const heal = (a, b) => tell(`heal ${a} ${b}`);
/** Stops the daemon in order. */
export const stop = (router) => tell(`stop ${router}`);
/** `kill -9`. */
export const kill = (router) => tell(`kill ${router}`);
/** Starts it again and waits until it answers. */
export const start = (router) => tell(`start ${router}`);
/** Its memory in bytes (PSS). */
export const memory = async (router) => Number(await tell(`memory ${router}`));
