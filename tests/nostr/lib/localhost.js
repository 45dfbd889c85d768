// Names that end in `.localhost` lead to this machine (RFC 6761), as in every browser. Node asks the system's resolver,
// which need not know that; importing this file teaches it.
import dns from 'node:dns';

const ask = dns.lookup;
dns.lookup = (name, options, done) => {
  const [wanted, answer] = typeof options === 'function' ? [{}, options] : [options ?? {}, done];
  if (!name.endsWith('.localhost')) return ask(name, options, done);
  const found = { address: '127.0.0.1', family: 4 };
  process.nextTick(() => (wanted.all ? answer(null, [found]) : answer(null, found.address, found.family)));
};
