// A folder on E is published as a site with one command and read through the homes of A and C: by programs, with ranges
// and the right types, and in Chromium, where it can do as it likes with itself and nothing with anybody else. With
// WARREN_PICTURES set to a directory, pictures of it are left there.
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { openBrowser, openPage } from '../lib/browser.js';
import { bytes, sha256 } from '../lib/blobs.js';
import { ask, home, isKnown, kill, owner, start } from '../lib/neighbourhood.js';
import { until, within } from '../lib/people.js';

const MIB = 1 << 20;
const film = bytes(8 * MIB);
const page = (text) => `<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Recipes</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="pictures/leek.svg"><link rel="stylesheet" href="style.css"></head>
<body><h1>${text}</h1><img src="pictures/leek.svg" alt="a leek" width="120" height="120">
<p>Found: <output id="count">nothing</output></p><p>Told: <output id="told">nobody</output></p>
<p><a href="soups/">Soups</a></p><script src="script.js"></script></body></html>`;
const script = `addEventListener('load', async () => {
  const { soups } = await (await fetch('data.json')).json();
  document.getElementById('count').textContent = soups.length + ' soups';
  const tell = await fetch('HOME/api/1/session').then(() => 'the home', () => 'nobody else');
  document.getElementById('told').textContent = tell;
});`;
let parent;
let folder;
let site;

/** Asks the home of a router for a site by its own address; the path is sent as it stands here. */
function read(router, path, { method = 'GET', headers = {}, host = `${site.service}.warren`, service } = {}) {
  const { hostname, port } = new URL(home(router));
  return within(new Promise((resolve, reject) => {
    const asking = request({ hostname, port, method, path, headers: { Host: service ? `${service}.warren` : host, ...headers } });
    asking.on('error', reject);
    asking.on('response', async (answer) => {
      const parts = [];
      try {
        for await (const part of answer) parts.push(part);
      } catch (error) {
        return reject(error);
      }
      const body = Buffer.concat(parts);
      return resolve({ status: answer.statusCode, headers: answer.headers, body, text: body.toString() });
    });
    asking.end();
  }), `answer to ${path}`);
}

const put = (name, content) => writeFile(join(folder, name), content);

before(async () => {
  parent = await mkdtemp(join(tmpdir(), 'warren-site-'));
  folder = join(parent, 'Recipes');
  for (const name of ['soups/old', 'pictures', 'empty', '.git']) await mkdir(join(folder, name), { recursive: true });
  await put('index.html', page('Soups of the street'));
  await put('style.css', 'h1 { color: rgb(0, 100, 0); } body { font-family: sans-serif; }');
  await put('script.js', script.replace('HOME', home('A')));
  await put('data.json', '{"soups": ["bean", "leek"]}');
  await put('pictures/leek.svg', '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"><rect x="4" width="2" height="10" fill="green"/></svg>');
  await put('soups/index.html', '<!DOCTYPE html><title>Soups</title><p>All soups');
  await put('soups/old/bean soup.txt', 'beans, water');
  await put('film.mp4', film);
  await put('.git/config', 'secret');
  await put('.htpasswd', 'secret');
  await writeFile(join(parent, 'secret'), 'secret');
  await symlink(join(parent, 'secret'), join(folder, 'way out'));
  await symlink(parent, join(folder, 'up'));
});
after(() => parent && rm(parent, { recursive: true }));

test('one command publishes a folder, and other homes tell of it', async () => {
  site = await ask('E', 'site', 'publish', folder);
  assert.deepEqual([site.title, site.files, site.visible], ['Recipes', 8, true]);
  assert.match(await owner('E', 'site', 'list'), /Recipes/);
  for (const router of ['A', 'C']) {
    await until(`the site at ${router}`, async () => (await ask(router, 'sites')).some((one) => one.service === site.service));
    assert.ok(!(await ask(router, 'spaces')).some((one) => one.service === site.service), 'it is no space');
    const first = await (await fetch(home(router))).text();
    assert.ok(first.includes('Recipes') && first.includes(`/s/${site.service}/`), `the first page of ${router}`);
  }
});

test('programs read it through A and C by its address, with types, conditions and ranges', async () => {
  for (const router of ['A', 'C']) {
    const port = new URL(home(router)).port;
    for (const host of [`${site.service}.warren`, `${site.service}.localhost:${port}`, `${site.service.toUpperCase()}.Warren`]) {
      const { status, text } = await read(router, '/', { host });
      assert.ok(status === 200 && text.includes('Soups of the street'), `${host} at ${router}: ${status}`);
    }
    for (const [path, type] of [
      ['/', 'text/html; charset=utf-8'], ['/style.css', 'text/css; charset=utf-8'], ['/script.js', 'text/javascript; charset=utf-8'],
      ['/data.json', 'application/json'], ['/pictures/leek.svg', 'image/svg+xml'], ['/film.mp4', 'video/mp4'],
      ['/soups/old/bean%20soup.txt', 'text/plain; charset=utf-8'],
    ]) {
      const { status, headers } = await read(router, path, { method: 'HEAD' });
      assert.deepEqual([status, headers['content-type'], headers['x-content-type-options']], [200, type, 'nosniff'], path);
    }
    const whole = await read(router, '/film.mp4');
    assert.equal(sha256(whole.body), sha256(film));
    const { etag, 'last-modified': date } = whole.headers;
    for (const [headers, status, body] of [
      [{ Range: `bytes=${MIB}-${3 * MIB - 1}` }, 206, film.subarray(MIB, 3 * MIB)],
      [{ Range: 'bytes=-1000' }, 206, film.subarray(film.length - 1000)],
      [{ Range: `bytes=${film.length - 1}-` }, 206, film.subarray(film.length - 1)],
      [{ Range: 'bytes=0-9', 'If-Range': etag }, 206, film.subarray(0, 10)],
      [{ Range: 'bytes=0-9', 'If-Range': '"another"' }, 200, film],
      [{ 'If-None-Match': etag }, 304, Buffer.alloc(0)],
      [{ 'If-Modified-Since': date }, 304, Buffer.alloc(0)],
    ]) {
      const answer = await read(router, '/film.mp4', { headers });
      assert.equal(answer.status, status, JSON.stringify(headers));
      assert.ok(answer.body.equals(body), JSON.stringify(headers));
    }
    const beyond = await read(router, '/film.mp4', { headers: { Range: `bytes=${film.length}-` } });
    assert.deepEqual([beyond.status, beyond.headers['content-range']], [416, `bytes */${film.length}`]);
    const slash = await read(router, '/soups?from=here');
    assert.deepEqual([slash.status, slash.headers.location], [301, '/soups/?from=here']);
    for (const method of ['POST', 'PUT', 'DELETE']) assert.equal((await read(router, '/', { method })).status, 405, method);
  }
});

test('nothing outside the folder, nothing hidden and no list of files is given', async () => {
  for (const router of ['A', 'C', 'E']) {
    for (const path of [
      '/../secret', '/soups/../../secret', '/%2e%2e/secret', '/%2E%2e%2fsecret', '/soups/..%2f..%2fsecret', '/..%5csecret', '//etc/passwd',
      '/way%20out', '/up/secret', '/up/', '/.git/config', '/.git/', '/.htpasswd', '/%2egit/config', '/empty/', '/soups/old/', '/film.mp4/',
      '/index.html%00.txt', `/${'a'.repeat(5000)}`,
    ]) {
      for (const [where, host] of [[path, undefined], [`/s/${site.service}${path}`, new URL(home(router)).host]]) {
        const { status, text } = await read(router, where, { host });
        assert.ok([400, 404].includes(status), `${where}: ${status}`);
        assert.ok(!text.includes('secret') && !text.includes('bean soup') && !text.includes('root:'), where);
      }
    }
  }
});

test('below the address of a home it is a page of nobody', async () => {
  const host = new URL(home('A')).host;
  const path = `/s/${site.service}/`;
  const { status, headers, text } = await read('A', path, { host });
  assert.ok(status === 200 && text.includes('Soups of the street'));
  assert.match(headers['content-security-policy'], /^sandbox(?!.*allow-scripts)(?!.*same-origin)/);
  assert.equal(headers['set-cookie'], undefined);
  assert.equal((await read('A', `${path}soups`, { host })).headers.location, `${path}soups/`);
  const part = await read('A', `${path}film.mp4`, { host, headers: { Range: 'bytes=5-14' } });
  assert.ok(part.status === 206 && part.body.equals(film.subarray(5, 15)));
  const sent = await read('A', `${path}soups/`, { host: `localhost:${new URL(home('A')).port}` });
  assert.equal(sent.headers.location, `http://${site.service}.localhost:${new URL(home('A')).port}/soups/`);
});

test('Chromium shows it through A, lets it run at its own address, and nowhere else', async () => {
  const browser = await openBrowser();
  try {
    const { host, port } = new URL(home('A'));
    const own = `${site.service}.localhost:${port}`;
    const there = await openPage(browser.context, `http://${own}/`, { size: { width: 640, height: 480 } });
    await there.waitForFunction(() => document.getElementById('told').textContent !== 'nobody');
    assert.equal(await there.textContent('#count'), '2 soups');
    assert.equal(await there.textContent('#told'), 'nobody else', 'it reaches nobody but itself');
    assert.ok(await there.evaluate(() => document.querySelector('img').naturalWidth > 0), 'the picture is shown');
    assert.equal(await there.evaluate(() => getComputedStyle(document.querySelector('h1')).color), 'rgb(0, 100, 0)');
    assert.ok(there.trouble.length > 0 && there.trouble.every((line) => /Content Security Policy|Failed to fetch/.test(line)), there.trouble.join());
    if (process.env.WARREN_PICTURES) await there.screenshot({ path: join(process.env.WARREN_PICTURES, 'site-own.png') });
    await there.click('a');
    await there.waitForSelector('p:has-text("All soups")');
    // Below the address of the home it is shown, and does not run.
    const below = await openPage(browser.context, `http://${host}/s/${site.service}/`, { size: { width: 640, height: 480 } });
    assert.equal(await below.textContent('h1'), 'Soups of the street');
    assert.equal(await below.textContent('#count'), 'nothing');
    assert.ok(await below.evaluate(() => document.querySelector('img').naturalWidth > 0), 'the picture is shown');
    assert.equal(await below.evaluate(() => getComputedStyle(document.querySelector('h1')).color), 'rgb(0, 100, 0)');
    if (process.env.WARREN_PICTURES) await below.screenshot({ path: join(process.env.WARREN_PICTURES, 'site-below.png') });
    assert.deepEqual(browser.asked.filter((url) => ![own, host].includes(url.host)).map(String), []);
    assert.ok(!browser.asked.some((url) => url.pathname.startsWith('/api/') && url.host === own), 'nor is a call made in its name');
  } finally {
    await browser.end();
  }
});

test('what changes in the folder is seen after an update, all at once, also after a kill', async () => {
  const old = (await read('C', '/')).headers.etag;
  await put('index.html', page('Soups of the whole town'));
  await put('soups/old/bean soup.txt', 'beans, water, salt');
  await put('404.html', '<!DOCTYPE html><title>Gone</title><p>Eaten');
  await rm(join(folder, 'data.json'));
  assert.ok((await read('A', '/')).text.includes('Soups of the street'), 'a copy is served');
  await owner('E', 'site', 'update', 'Recipes', '--name', 'Soups');
  await kill('E');
  await start('E');
  for (const router of ['A', 'C']) {
    await until(`the new page at ${router}`, async () => (await read(router, '/')).text.includes('Soups of the whole town'));
    assert.equal((await read(router, '/soups/old/bean%20soup.txt')).text, 'beans, water, salt');
    const gone = await read(router, '/data.json');
    assert.ok(gone.status === 404 && gone.text.includes('Eaten'));
    assert.equal((await read(router, '/', { headers: { 'If-None-Match': old } })).status, 200, 'no browser keeps the old one');
    await until(`the new name at ${router}`, async () => (await ask(router, 'sites')).some((one) => one.title === 'Soups'));
  }
});

test('what cannot be published is refused with words that help, and leaves nothing', async () => {
  for (const [words, reason] of [
    [['publish', join(parent, 'nowhere')], /nowhere.*No such file/s],
    [['publish', join(folder, 'empty')], /no file to publish/],
    [['publish', join(folder, 'film.mp4')], /Not a directory/],
    [['publish'], /needs a folder/],
    [['publish', folder, '--port', '80'], /port/],
    [['publish', folder, '--name', 'x'.repeat(100)], /name/],
    [['update', 'Salads'], /nothing called|Salads/],
    [['update', 'Soups', '--from', join(parent, 'nowhere')], /No such file/],
    [['remove', 'Salads'], /nothing called|Salads/],
  ]) {
    const refused = await owner('E', 'site', ...words).then(() => null, (error) => error);
    assert.ok(refused?.code > 0, words.join(' '));
    assert.match(refused.stderr, reason, words.join(' '));
  }
  assert.deepEqual((await ask('E', 'site', 'list')).map((one) => one.title), ['Soups']);
  assert.ok((await read('A', '/')).text.includes('Soups of the whole town'));
});

test('a hidden site is read at its own home alone, and a removed one nowhere', async () => {
  await isKnown('A', (await ask('E', 'spaces')).find((space) => space.local).service);
  const old = site.service;
  site = await ask('E', 'site', 'update', 'Soups', '--visible', 'no', '--yes', '--settings-only');
  assert.notEqual(site.service, old);
  assert.equal((await read('E', '/soups/')).status, 200);
  for (const router of ['A', 'C']) {
    await until(`${router} forgets it`, async () => (await ask(router, 'sites')).length === 0);
    for (const service of [old, site.service]) assert.equal((await read(router, '/', { service })).status, 502, router);
  }
  await owner('E', 'site', 'remove', 'Soups');
  assert.equal((await read('E', '/')).status, 502);
  assert.deepEqual(await ask('E', 'site', 'list'), []);
});
