// Every exchange that the API's tests had (RECORD, see the Makefile) is judged by Prism as a validating proxy: its upstream gives the
// very answer that was recorded, so that nothing is asked twice and nothing of the tests is changed on the way.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';

import { closed, joined, judge, reader } from './prism.mjs';

const folder = process.env.RECORD;
const methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'];
let violationsOf, document, read;
const exchanges = [];

before(async () => {
	assert.ok(folder && fs.existsSync(folder), 'RECORD names the folder of what the API tests recorded: use make test');
	const [envelope, plain] = ['openapi.json', 'plain.json'].map((name) => JSON.parse(fs.readFileSync(path.join(folder, name), 'utf8')));
	document = joined(envelope, plain);
	read = reader(document);
	const strict = path.join(folder, 'strict.json');
	fs.writeFileSync(strict, JSON.stringify(closed(document)));
	for (const name of fs.readdirSync(folder).filter((f) => f.endsWith('.ndjson')))
		for (const line of fs.readFileSync(path.join(folder, name), 'utf8').split('\n').filter(Boolean))
			exchanges.push({ test: path.basename(name, '.ndjson'), ...JSON.parse(line) });
	violationsOf = await judge(strict);
});

// What the web server refuses before it has read an address has the envelope in either dialect (contract section 1).
const unread = /%00/;
// Prism holds int64 to what JavaScript counts exactly.
const javascript = /must be <= 9007199254740991$/;
// Answers that differ in words with a digit only (ids, instants, counts, made-up names) are alike: one of them is judged.
const alike = (e) => [e.method, e.at.path, e.status, e.target.includes('?'), e.headers.map(([name]) => name).join(),
	e.text.replace(/[\w.:+-]*\d[\w.:+-]*/g, '0')].join('\n');
const told = (e) => `${e.test}: ${e.method} ${e.target} → ${e.status}`;
const good = (e) => e.status >= 200 && e.status < 400;

test('there is something to check, of every dialect and spelling', () => {
	for (const spelling of [/^\/api\/v1\/domains/, /^\/api\/domains/, /^\/api\/v1\/\w+\.php\?id=/, /^\/api\/v1\/\w+\.php\//, /^\/api\/v1\/admin\//])
		assert.ok(exchanges.some((e) => spelling.test(e.target) && good(e)), `nothing was recorded for ${spelling}`);
});

test('nothing outside the description answers', () => {
	const outside = exchanges.filter((e) => good(e) && !read(e.target) && !/^\/api\/docs\//.test(e.target)).map(told); // but the page's own files
	assert.deepEqual([...new Set(outside)], []);
	for (const e of exchanges.filter((x) => read(x.target))) {
		const item = document.paths[read(e.target).path];
		if (e.method === 'OPTIONS')
			assert.equal(e.status, 204, told(e));
		else if (e.method === 'HEAD' && item.get)
			assert.ok(item.get.responses[e.status], told(e));
		else if (!item[e.method.toLowerCase()])
			assert.ok([400, 404, 405, 501].includes(e.status), told(e));
	}
});

test('Prism finds no violation in any answer, and none in a request that was taken', async (t) => {
	const violations = new Map();
	const described = exchanges.map((e, i) => ({ ...e, i, at: read(e.target) }))
		.filter((e) => e.at && !unread.test(e.target) && methods.includes(e.method) && document.paths[e.at.path][e.method.toLowerCase()]);
	const judged = [...new Map(described.map((e) => [alike(e), e])).values()];
	for (const e of judged) {
		const body = e.body === undefined || e.method === 'GET' ? undefined : typeof e.body === 'string' ? e.body : JSON.stringify(e.body);
		let read = null;
		try { read = body === undefined ? null : JSON.parse(body); } catch { /* is not given to Prism, which would refuse it */ }
		const headers = Object.fromEntries(Object.entries({ ...e.sent, ...(e.authorized ? { Authorization: 'Bearer token' } : {}) })
			.map(([name, value]) => [name.toLowerCase(), value]));
		if (read !== null) {
			headers['content-type'] ??= 'application/json';
			headers['content-length'] = String(Buffer.byteLength(body));
		}
		const given = e.headers.filter(([name]) => !['connection', 'content-length', 'transfer-encoding', 'content-encoding'].includes(name));
		// 1 is read as true, though the description does not say so
		const found = await violationsOf({ method: e.method, target: e.at.canonical.replace(/\b(dry_run|cascade)=1\b/, '$1=true'), headers, body: read },
			{ status: e.status, headers: Object.fromEntries(given), text: e.text });
		for (const v of found)
			if (v.location[0] === 'response' || (good(e) && !javascript.test(v.message)))
				violations.set(`${e.method} ${e.at.path} ${e.status} ${v.location.join('.')} ${v.message}`, told(e));
	}
	t.diagnostic(`${exchanges.length} exchanges, ${described.length} with described operations; ${judged.length} that differ were judged`);
	t.diagnostic(`${new Set(described.map((e) => `${e.method} ${e.at.path}`)).size} operations, ${new Set(described.map((e) => `${e.method} ${e.at.path} ${e.status}`)).size} kinds of answer`);
	assert.deepEqual([...violations].map(([what, where]) => `${what} (${where})`), []);
});
