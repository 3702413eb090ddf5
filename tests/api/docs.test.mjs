// /api/docs in a real browser: Swagger UI under its Content-Security-Policy, Try it out with a pasted token, on a desk and on a phone.
// Screenshots are left in build/test.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { chromium } from 'playwright-core';

import { build, root, startStack } from './harness.mjs';

const shots = path.join(root, build, 'test');
let s, browser;

before(async () => {
	s = await startStack('docs');
	s.cliJson(['domain', 'create', '--domain', 'example.org', '--account', 'demo']);
	browser = await chromium.launch({
		executablePath: execFileSync('sh', ['-c', 'command -v chromium'], { encoding: 'utf8' }).trim(),
		args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
	});
});
after(async () => {
	await browser?.close();
	s?.stop();
});

// A page, and what went wrong on it: violations of its policy, errors, requests that leave the server.
async function open(url, width, height) {
	const page = await browser.newPage({ viewport: { width, height } });
	const wrong = [];
	await page.addInitScript(() => document.addEventListener('securitypolicyviolation', (e) => console.error(`policy: ${e.violatedDirective} ${e.blockedURI}`)));
	page.on('console', (m) => m.type() === 'error' && !/401/.test(m.text()) && wrong.push(m.text()));
	page.on('pageerror', (e) => wrong.push(String(e)));
	page.on('request', (r) => !r.url().startsWith(url) && !r.url().startsWith('data:') && wrong.push(`leaves the server: ${r.url()}`));
	await page.goto(`${url}/api/docs`);
	return { page, wrong };
}

// Operations are open, and drawn where one looks.
const rendered = (page) => page.locator('.opblock-summary-description').first().waitFor();

async function tryDomains(page, token) {
	await page.locator('.btn.authorize').click();
	await page.locator('.dialog-ux input').first().fill(token);
	await page.locator('.dialog-ux .btn.authorize').first().click();
	await page.locator('.dialog-ux .btn-done').first().click();
	await page.locator('.operation-filter-input').fill('domains');
	const operation = page.locator('#operations-domains-listDomains');
	await operation.locator('.opblock-summary-control').click();
	await operation.locator('.try-out__btn').click();
	await operation.locator('.execute').click();
	const status = operation.locator('.live-responses-table .response-col_status').last();
	await status.waitFor();
	return { status: (await status.innerText()).trim().slice(0, 3), body: await operation.locator('.live-responses-table .highlight-code, .live-responses-table pre').first().innerText() };
}

test('the page and its files come with a policy that lets nothing else in', async () => {
	for (const file of ['/api/docs', '/api/docs/', '/api/docs/init.js', '/api/docs/page.css', '/api/docs/swagger-ui/swagger-ui-bundle.js', '/api/docs/swagger-ui/swagger-ui.css']) {
		const answer = await s.ask(file, { token: null });
		assert.equal(answer.status, 200, file);
		const policy = answer.headers.get('content-security-policy');
		assert.match(policy, /default-src 'self'/, file);
		assert.doesNotMatch(policy, /unsafe/, file);
		assert.equal(answer.headers.get('x-content-type-options'), 'nosniff', file);
	}
	const missing = await s.ask('/api/docs/missing.js', { token: null });
	assert.equal(missing.status, 404);
	assert.equal(missing.json.error.code, 'not_found');
	const posted = await s.ask('/api/docs', { token: null, method: 'POST' });
	assert.equal(posted.status, 405);
	assert.equal(posted.headers.get('allow'), 'GET, HEAD');
});

for (const [name, width, height] of [['desktop', 1280, 900], ['phone', 390, 844]])
	test(`on a ${name} it renders without a violation, and Try it out with a pasted token gets 200`, async () => {
		const { page, wrong } = await open(s.url, width, height);
		await rendered(page);
		await page.screenshot({ path: path.join(shots, `docs-${name}.png`) });
		const { status, body } = await tryDomains(page, s.token);
		await page.locator('#operations-domains-listDomains .live-responses-table').scrollIntoViewIfNeeded();
		await page.screenshot({ path: path.join(shots, `docs-${name}-tried.png`) });
		assert.equal(status, '200');
		assert.match(body, /example\.org/);
		const px = (await page.locator('#operations-domains-listDomains .responses-wrapper').boundingBox()).height;
		assert.ok(px < 4000, `the answers of one operation are ${px} px high`);
		assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), 'the page is wider than the screen');
		assert.deepEqual(wrong, []);
		await page.close();
	});

test('one dialect is shown at a time, and another is chosen on the page', async () => {
	const { page, wrong } = await open(s.url, 1280, 900);
	await rendered(page);
	const first = () => page.locator('.opblock-summary-path').first().getAttribute('data-path');
	assert.match(await first(), /^\/api\/v1\//);
	await Promise.all([page.waitForNavigation(), page.locator('#dialect').selectOption('plain')]);
	await rendered(page);
	assert.match(await first(), /^\/api\/accounts/);
	assert.equal(await page.locator('#dialect').inputValue(), 'plain');
	assert.deepEqual(wrong, []);
	await page.close();
});

test('where the description is closed, the page asks for a token and then shows it', async () => {
	const shut = await startStack('docs-closed', { POSTERN_OPEN_DOCS: 'off' });
	try {
		const { page, wrong } = await open(shut.url, 1280, 900);
		await page.locator('#token').fill('pst_wrong');
		await page.locator('#closed button').click();
		await page.locator('#refused', { hasText: /token/ }).waitFor();
		await page.locator('#token').fill(shut.token);
		await page.screenshot({ path: path.join(shots, 'docs-closed.png') });
		await page.locator('#closed button').click();
		await rendered(page);
		assert.equal(await page.locator('#closed').isVisible(), false);
		assert.deepEqual(wrong, []);
		await page.close();
	} finally {
		shut.stop();
	}
});
