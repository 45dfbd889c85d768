// The page of a space in Chromium, opened through two homes: WARREN_PAGE_A and WARREN_PAGE_C. With WARREN_PICTURES set
// to a directory, pictures of the page are left there. It opens these two addresses only.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { openBrowser, openPage } from '../lib/browser.js';

const { WARREN_PAGE_A: a, WARREN_PAGE_C: c, WARREN_PICTURES: pictures } = process.env;
if (!a || !c) throw new Error('set WARREN_PAGE_A and WARREN_PAGE_C to the page of one space at two homes');

let browser;

before(async () => { browser = await openBrowser(); });
after(() => browser?.end());

const open = (url, options) => openPage(browser.context, url, options);

async function write(page, name, text) {
  await page.fill('input[name=name]', name);
  await page.fill('textarea[name=text]', text);
  await page.keyboard.press('Enter');
}

test('what is written through A appears on the page opened through C within a second', async () => {
  const [ann, cleo] = [await open(a), await open(c)];
  await ann.waitForSelector('#state:has-text("Connected")');
  await cleo.waitForSelector('#state:has-text("Connected")');
  await write(ann, 'Ann', 'Are there any beans left?'); // makes the account
  await cleo.waitForSelector('.said:has-text("Are there any beans left?")');
  const words = `Beans for everybody <b>${Date.now()}</b>`;
  const arrived = cleo.waitForFunction((text) => document.getElementById('said').textContent.includes(text), words, { polling: 5 });
  const started = performance.now();
  await write(ann, 'Ann', words);
  await arrived;
  const took = performance.now() - started;
  console.log(`typed at A and seen at C after ${took.toFixed(0)} ms`);
  assert.ok(took < 1000, `${took} ms`);
  await write(cleo, 'Cleo with a rather long name', 'Yes, two rows of them, behind the shed next to the old apple tree. Bring a basket!\nAnd boots.');
  await ann.waitForSelector('.said:has-text("Bring a basket!")');
  assert.equal(await ann.inputValue('textarea[name=text]'), '');
  assert.equal(await ann.locator('#said b:has-text("Beans")').count(), 0, 'words stay words');
  assert.deepEqual(ann.trouble.concat(cleo.trouble), []);
  await ann.close();
  await cleo.close();
});

test('the page fits small and large screens, light and dark', async () => {
  for (const [width, height] of [[320, 568], [1280, 800]]) {
    for (const scheme of ['light', 'dark']) {
      for (const [name, url] of [['space', a], ['spaces', new URL('/', a).href]]) {
        const page = await open(url, { size: { width, height }, scheme });
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.ok(wide <= 0, `${name} at ${width} is ${wide} pixels too wide`);
        if (pictures) await page.screenshot({ path: join(pictures, `${name}-${width}-${scheme}.png`) });
        await page.close();
      }
    }
  }
});

test('the page works without script', async () => {
  const plain = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking'] });
  const context = await plain.newContext({ javaScriptEnabled: false });
  const page = await context.newPage();
  await page.goto(a);
  await page.fill('input[name=name]', 'Otto');
  await page.fill('textarea[name=text]', 'I have an old telephone');
  await page.click('button.send');
  await page.waitForSelector('.said:has-text("I have an old telephone")');
  assert.ok((await page.content()).includes('Otto'));
  await plain.close();
});

test('nobody else was asked for anything', () => {
  const ours = [new URL(a).host, new URL(c).host];
  assert.deepEqual(browser.asked.filter((url) => url.protocol !== 'data:' && !ours.includes(url.host)).map(String), []);
});
