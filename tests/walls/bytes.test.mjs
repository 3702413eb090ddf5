// One bad byte: what is not UTF-8 is judged once, where a request is read; the order of checks, counting and one row a window
// hold for every input; what a caller sent never makes an answer that is no JSON.
import assert from 'node:assert/strict';
import net from 'node:net';
import { after, before, test } from 'node:test';

import { startStack } from '../api/harness.mjs';

let s;
before(async () => {
	s = await startStack('bytes');
});
after(() => s?.stop());

// Bytes straight to the web server: { status, text, json }.
function raw(bytes) {
	return new Promise((resolve, reject) => {
		const parts = [], socket = net.connect(Number(new URL(s.url).port), '127.0.0.1', () => socket.write(bytes));
		socket.setTimeout(10000, () => socket.destroy(new Error('no answer')));
		socket.on('data', (part) => parts.push(part)).on('error', reject).on('close', () => {
			const text = Buffer.concat(parts).toString('latin1'), body = text.slice(text.indexOf('\r\n\r\n') + 4);
			let json;
			try {
				json = JSON.parse(body);
			} catch {
				json = undefined;
			}
			resolve({ status: Number(text.split(' ')[1]), text: body, json, head: text.slice(0, text.indexOf('\r\n\r\n')) });
		});
	});
}
const BAD = Buffer.from([0xff]);
// "@" stands for the bad byte.
const bytes = (text) => Buffer.concat(text.split('@').flatMap((part, i) => (i ? [BAD, Buffer.from(part)] : [Buffer.from(part)])));
const get = (target, token, ...lines) => raw(bytes(['GET ' + target + ' HTTP/1.1', 'Host: x', 'Connection: close',
	...(token ? [`Authorization: Bearer ${token}`] : []), ...lines, '', ''].join('\r\n')));
const inputs = {
	'the query': ['/api/domains?search=a@b'],
	'a .php id': ['/api/v1/domains.php?id=1@'],
	'Accept': ['/api/domains', 'Accept: application/json, x/@'],
	'If-None-Match': ['/api/domains', 'If-None-Match: "@"'],
	'If-None-Match of an object': ['/api/domains/1', 'If-None-Match: "@"'],
	'If-Match': ['/api/domains', 'If-Match: "@"'],
	'Prefer': ['/api/domains', 'Prefer: wait=1, @'],
	'Idempotency-Key': ['/api/domains', 'Idempotency-Key: @'],
	'a cookie': ['/api/domains', 'Cookie: postern=@'],
};

test('a bad byte anywhere is refused with 401, 403 or 429 where the token is, and told as 400 only to those who may ask', async () => {
	const good = s.mint().token;
	const narrow = s.mint({ scopes: ['mailboxes:read'] }).token;
	const revoked = s.mint();
	s.psql(`UPDATE postern.tokens SET revoked_at = now() WHERE id = '${revoked.id}'`);
	for (const [name, [target, ...lines]] of Object.entries(inputs)) {
		const told = await get(target, good, ...lines);
		assert.equal(told.status, name === 'a cookie' ? 200 : 400, `${name}: ${told.text}`);
		if (name !== 'a cookie')
			assert.match(told.json.error?.message ?? told.json.message, /UTF-8; encode them/, told.text);
		assert.equal((await get(target, narrow, ...lines)).status, 403, name);
		assert.equal((await get(target, revoked.token, ...lines)).status, 401, name);
		assert.equal((await get(target, null, ...lines)).status, 401, name);
	}
	assert.equal((await get('/api/domains@', good)).status, 404);
	assert.equal((await get('/api/domains/@', good)).status, 404);
	assert.equal((await get('/api/domains', null, 'Authorization: Bearer @')).status, 401);
	assert.equal((await get('/api/domains', good, 'User-Agent: caf@')).status, 200, 'an agent may call itself what it likes');
	const [row] = s.sql("SELECT user_agent FROM postern.audit WHERE user_agent LIKE 'caf%'");
	assert.equal(row.user_agent, 'caf?');
});

test('requests with a bad byte are counted, and a revoked token has one row a window however many it sends', async () => {
	const limited = s.mint({ rate_limit: 5 });
	const statuses = [];
	for (let i = 0; i < 9; i++)
		statuses.push((await get('/api/domains?search=@', limited.token)).status);
	assert.deepEqual(statuses, [400, 400, 400, 400, 400, 429, 429, 429, 429]);
	const revoked = s.mint();
	s.psql(`UPDATE postern.tokens SET revoked_at = now() WHERE id = '${revoked.id}'`);
	for (const [target, ...lines] of Object.values(inputs))
		for (let i = 0; i < 3; i++)
			assert.equal((await get(target, revoked.token, ...lines)).status, 401);
	assert.equal(s.sql(`SELECT id FROM postern.audit WHERE token_id = '${revoked.id}' AND resource = 'domain'`).length, 1);
});

test('unknown tokens with bad bytes are limited by their address as others are', async () => {
	const token = s.mint().token;
	const unknown = [];
	s.psql(`DELETE FROM postern.tokens WHERE name = (SELECT name FROM postern.tokens ORDER BY created_at DESC LIMIT 1)`);
	for (let i = 0; i < 30; i++)
		unknown.push((await get('/api/domains/1', token, 'If-None-Match: "@"')).status);
	assert.deepEqual([...new Set(unknown)], [401, 429]);
	assert.equal((await s.ask('/api/domains')).status, 200, 'a recognised token is not refused for its address');
});

test('an error that repeats what was sent is JSON in every dialect, whatever is scrubbed from it', async () => {
	const long = 'A'.repeat(60);
	for (const name of [`\n${long}`, `"${long}`, `\\${long}`, `\u0001${long}`, `${long}\n${long}`, `\t_${long}`, `é${long}`, `\u2028${long}`]) {
		for (const [target, headers] of [['/api/v1/domains', {}], ['/api/domains', {}], ['/api/domains', { Accept: 'application/problem+json' }]]) {
			const answer = await s.ask(target, { method: 'POST', body: { domain: 'a.example', [name]: 1 }, headers });
			assert.ok(answer.json, `${JSON.stringify(name)}: ${answer.text}`);
			assert.equal(answer.status, 422);
			assert.ok(!answer.text.includes('A'.repeat(50)), 'what may be a token travels no further');
		}
		const query = await s.ask(`/api/domains?${encodeURIComponent(name)}=1`);
		assert.ok(query.json, query.text);
		assert.equal(query.status, 400);
	}
});
