// Chromium with a profile of its own, which asks nobody for anything by itself. `CHROMIUM` says where it is.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

/** Starts it; `asked` is filled with the address of everything it loads, `end` ends it and leaves nothing. */
export async function openBrowser() {
  const profile = await mkdtemp(join(tmpdir(), 'warren-page-'));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  const asked = [];
  context.on('request', (request) => asked.push(new URL(request.url())));
  const end = async () => {
    await context.close();
    await rm(profile, { recursive: true, force: true });
  };
  return { context, asked, end };
}

/** Opens a page; `trouble` of it is filled with what goes wrong in it. `size`: `width`, `height`; `scheme`: `light`, `dark`. */
export async function openPage(context, url, { size, scheme } = {}) {
  const page = await context.newPage();
  page.trouble = [];
  page.on('pageerror', (error) => page.trouble.push(String(error)));
  page.on('console', (message) => { if (message.type() === 'error') page.trouble.push(message.text()); });
  if (size) await page.setViewportSize(size);
  if (scheme) await page.emulateMedia({ colorScheme: scheme });
  await page.goto(url);
  return page;
}
