// Rate limits: exact under concurrency, over all endpoints; what refused requests cost; revocation under load.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { broken, mint, spread, stranger, takeClock } from './credentials.mjs';
import { fcgi, socketOf } from './fastcgi.mjs';
import { soak, startStack, until } from './harness.mjs';
import { keyOf, serve as serving } from './statements.mjs';

let s, clock, t;
const number = (answer, name) => Number(answer.headers.get(name));
const codes = (answers) => answers.reduce((all, a) => ({ ...all, [a.status]: (all[a.status] ?? 0) + 1 }), {});
const rates = (token) => s.sql(`SELECT used, action_used, extract(epoch FROM window_start) AS since FROM postern.rates WHERE token_id = '${token.id}'`)[0];
const rows = (token, more = '') => s.sql(`SELECT resource || '.' || verb AS action, status, outcome, reason, count FROM postern.audit
	WHERE token_id = '${token.id}' ${more} ORDER BY at`);
const all_of = (token, targets) => Promise.all(targets.map((target) => s.ask(target, { token: token.token })));

before(async () => {
	s = await startStack('limits');
	clock = takeClock(s);
	s.token = s.mint({ name: 'tests', expires_at: null }).token;
	t = s.tenant();
});
after(() => s?.stop());

// Exactly `limit` of these answers were let in, each with a Remaining of its own.
function exactly(limit, answers) {
	assert.deepEqual(codes(answers), { 200: limit, 429: answers.length - limit });
	const left = answers.filter((a) => a.status === 200).map((a) => number(a, 'x-ratelimit-remaining')).sort((a, b) => a - b);
	assert.deepEqual(left, Array.from({ length: limit }, (_, i) => i));
	assert.equal(new Set(answers.map((a) => a.headers.get('x-ratelimit-reset'))).size, 1);
	for (const a of answers.filter((x) => x.status === 429)) {
		assert.equal(number(a, 'x-ratelimit-remaining'), 0);
		assert.ok(number(a, 'retry-after') >= 1 && number(a, 'retry-after') <= 60);
		assert.equal(a.json.error.code, 'rate_limited');
	}
}

test('of 64 clients at once, exactly 60 pass a limit of 60', async () => {
	for (let i = 0; i < 3; i++) {
		const token = await mint(s, { owner: t.user.username, scopes: ['domains:read'] });
		exactly(60, await all_of(token, Array(64).fill('/api/domains')));
		assert.equal(rates(token).used, 60);
	}
});

test('the count is one over all endpoints and their processes', async () => {
	const targets = ['domains', 'users', 'accounts', 'me', 'audit', 'tokens', 'roles', 'server-health'].map((r) => `/api/${r}`);
	for (let i = 0; i < 3; i++) {
		const token = await mint(s, { scopes: ['*'], rate_limit: 60 });
		exactly(60, await all_of(token, Array.from({ length: 64 }, (_, n) => targets[n % targets.length])));
	}
});

test('reads, changes and requests that fail count alike; several tokens at once do not touch each other', async () => {
	const tokens = await Promise.all([7, 11, 13].map((rate_limit) => mint(s, { owner: t.user.username, scopes: ['domains:*'], rate_limit })));
	const ways = [['GET', '/api/domains'], ['GET', '/api/domains/999999'], ['POST', '/api/domains', {}], ['PATCH', '/api/domains/999999', {}], ['GET', '/api/domains?x=1']];
	const answers = await Promise.all(tokens.flatMap((k) => Array.from({ length: 20 }, async (_, i) => {
		const [method, target, body] = ways[i % ways.length];
		return { k, ...(await s.ask(target, { method, body, token: k.token })) };
	})));
	for (const k of tokens) {
		const own = answers.filter((a) => a.k === k);
		assert.equal(own.filter((a) => a.status !== 429).length, k.rate_limit);
		assert.equal(new Set(own.filter((a) => a.status !== 429).map((a) => number(a, 'x-ratelimit-remaining'))).size, k.rate_limit);
	}
});

test('refused requests use nothing up', async () => {
	const token = await mint(s, { owner: t.user.username, scopes: ['domains:read'], rate_limit: 5 });
	assert.deepEqual(codes(await all_of(token, Array(10).fill('/api/users'))), { 403: 10 });
	assert.deepEqual(rates(token).used, 0);
	assert.equal(number(await s.ask('/api/users', { token: token.token }), 'x-ratelimit-remaining'), 5);
	exactly(5, await all_of(token, Array(9).fill('/api/domains')));
	assert.deepEqual(codes(await all_of(token, Array(4).fill('/api/users'))), { 403: 4 }); // the scope is judged before the limit
	assert.equal(rates(token).used, 5);
});

test('a window starts with its first request, ends after 60 seconds, and is not prolonged by refused ones', async () => {
	const token = await mint(s, { owner: t.user.username, scopes: ['domains:read'], rate_limit: 3 });
	const go = (target = '/api/domains') => s.ask(target, { token: token.token });
	try {
		assert.equal((await go('/api/users')).status, 403);
		clock.set('30 seconds'); // a refused request opened no window
		const first = await go();
		assert.deepEqual([first.status, number(first, 'x-ratelimit-remaining')], [200, 2]);
		const reset = number(first, 'x-ratelimit-reset');
		assert.equal(reset, Math.ceil(rates(token).since + 60));
		clock.set('60 seconds');
		const second = await go();
		assert.deepEqual([number(second, 'x-ratelimit-remaining'), number(second, 'x-ratelimit-reset')], [1, reset]);
		assert.deepEqual(codes([await go(), await go(), await go('/api/users'), await go()]), { 200: 1, 429: 2, 403: 1 });
		clock.set('91 seconds');
		const next = await go();
		assert.deepEqual([next.status, number(next, 'x-ratelimit-remaining')], [200, 2]);
		assert.ok(number(next, 'x-ratelimit-reset') >= reset);
	} finally {
		clock.set('0');
	}
});

test('heavy actions have a bucket of their own, and one that it refuses uses up no call', async () => {
	const token = await mint(s, { owner: t.user.username, scopes: ['cron:*'], rate_limit: 5, action_limit: 2 });
	const key = keyOf(s, token.token);
	const asked = (heavy) => heavy.map((one) => ({ ...key, operation: one ? 'runCronJob' : 'createCronJob', method: 'POST', later: true }));
	const serve = (heavy) => s.sql(`SELECT status, reason, rate_limit, remaining FROM ${serving('cron', asked(heavy))} ORDER BY n`, 'postern_cron');
	const alone = (heavy) => heavy.flatMap((one) => serve([one]));
	const first = alone([true, true, true, true]);
	assert.deepEqual(first.map((r) => [r.status, r.reason]), [[200, null], [200, null], [429, 'action_limit'], [429, 'action_limit']]);
	assert.deepEqual(first.map((r) => [r.rate_limit, r.remaining]), [[2, 1], [2, 0], [2, 0], [2, 0]]);
	assert.deepEqual(rates(token), { ...rates(token), used: 2, action_used: 2 });
	// a batch in which a bucket comes to its limit is taken back: each of its requests goes alone
	assert.throws(() => serve([false, false, false, false]), /a limit was reached meanwhile/);
	const second = [...alone([false, true]), ...serve([false, false]), ...alone([false])];
	assert.deepEqual(second.map((r) => [r.status, r.reason]), [[200, null], [429, 'action_limit'], [200, null], [200, null], [429, 'rate_limit']]);
	assert.deepEqual(second.filter((r) => r.status === 200).map((r) => [r.rate_limit, r.remaining]), [[5, 2], [5, 1], [5, 0]]);
	assert.deepEqual(rates(token), { ...rates(token), used: 5, action_used: 2 });
	// two buckets are counted for one request at a time: the gate sends such a one alone, and a batch that holds it is refused whole
	assert.throws(() => serve([false, true]), /a heavy action goes through the gate alone/);
});

test('both families of headers tell the same', async () => {
	const token = await mint(s, { owner: t.user.username, scopes: ['domains:read'] });
	for (const [target, status, left] of [['/api/domains', 200, 59], ['/api/users', 403, 59], ['/api/domains/999999', 404, 58], ['/api/domains?x=1', 400, 57]]) {
		const a = await s.ask(target, { token: token.token });
		assert.equal(a.status, status);
		assert.equal(number(a, 'x-ratelimit-limit'), 60);
		assert.equal(number(a, 'x-ratelimit-remaining'), left);
		assert.equal(number(a, 'x-ratelimit-reset'), Math.ceil(rates(token).since + 60));
		assert.equal(a.headers.get('ratelimit-policy'), '"token";q=60;w=60');
		const [, r, seconds] = a.headers.get('ratelimit').match(/^"token";r=(\d+);t=(\d+)$/);
		assert.equal(Number(r), left);
		assert.ok(Number(seconds) <= 61);
	}
});

test('a flood of refused requests has one row a reason, and one more with the exact number when its window is over', async () => {
	const token = await mint(s, { owner: t.user.username, scopes: ['domains:read'], rate_limit: 2 });
	try {
		const refused = await all_of(token, Array.from({ length: 200 }, (_, i) => ['/api/users', '/api/accounts', '/api/tokens'][i % 3]));
		assert.deepEqual(codes(refused), { 403: 200 });
		exactly(2, await all_of(token, Array(52).fill('/api/domains')));
		const soon = rows(token);
		assert.deepEqual(soon.filter((r) => r.outcome === 'allowed').length, 2);
		assert.deepEqual(soon.filter((r) => r.outcome === 'denied').map((r) => [r.reason, r.status, r.count]).sort(), [['rate_limit', 429, 1], ['scope', 403, 1]]);
		clock.forward('61 seconds');
		const stated = await until(() => { // the binaries state it by themselves
			const found = rows(token, "AND verb = 'throttled'");
			return found.length === 2 && found;
		}, 'token.throttled rows');
		assert.deepEqual(stated.map((r) => [r.action, r.reason, r.status, r.outcome, r.count]).sort(),
			[['token.throttled', 'rate_limit', 429, 'denied', 49], ['token.throttled', 'scope', 403, 'denied', 199]]);
		assert.equal(s.sql(`SELECT count(*)::int AS n FROM postern.refusals WHERE token_id = '${token.id}'`)[0].n, 0);
		// the next window begins anew; a request states it as well
		assert.deepEqual(codes(await all_of(token, Array(3).fill('/api/users'))), { 403: 3 });
		clock.forward('61 seconds');
		assert.equal((await s.ask('/api/domains', { token: token.token })).status, 200);
		const scope = await until(() => {
			const found = rows(token, "AND reason = 'scope'");
			return found.length === 4 && found;
		}, 'the second window');
		assert.deepEqual(scope.map((r) => r.count), [1, 199, 1, 2]);
	} finally {
		clock.set('0');
	}
});

const FLOOD = soak ? 100000 : 5000;
test(`${FLOOD} refused requests of one token in a window leave two rows whose counts add up to them`, { timeout: soak ? 1800000 : 120000 }, async () => {
	const token = await mint(s, { owner: t.user.username, scopes: ['domains:read'], rate_limit: 1 });
	clock.stop(); // one window, however long they take
	try {
		const answers = await spread(Array.from({ length: FLOOD + 1 }, () => () => s.ask('/api/domains', { token: token.token }).then((a) => ({ status: a.status }))), 32);
		assert.deepEqual(codes(answers), { 200: 1, 429: FLOOD });
	} finally {
		clock.start();
	}
	clock.forward('61 seconds');
	try {
		const refused = await until(() => {
			const found = rows(token, "AND outcome = 'denied'");
			return found.length > 1 && found;
		}, 'the second row');
		assert.deepEqual(refused.map((r) => [r.action, r.status, r.count]), [['domain.list', 429, 1], ['token.throttled', 429, FLOOD - 1]]);
		assert.deepEqual(rows(token, "AND outcome = 'allowed'").map((r) => r.count), [1]);
	} finally {
		clock.set('0');
	}
});

test('one refused request has its row and no other', async () => {
	const token = await mint(s, { owner: t.user.username, scopes: ['domains:read'] });
	try {
		assert.equal((await s.ask('/api/users', { token: token.token })).status, 403);
		clock.forward('61 seconds');
		await until(() => s.sql(`SELECT count(*)::int AS n FROM postern.refusals WHERE token_id = '${token.id}'`)[0].n === 0, 'the count is settled');
		assert.deepEqual(rows(token).map((r) => [r.action, r.count]), [['user.list', 1]]);
	} finally {
		clock.set('0');
	}
});

const revocations = soak ? 5000 : 1000;
test(`revoked tokens are refused from the next request on, ${revocations} times under load`, async () => {
	let accepted = 0, refused = 0, busy = true;
	const load = (async () => {
		while (busy)
			await Promise.all(['domains', 'me', 'users', 'tokens'].map((r) => s.ask(`/api/${r}`)));
	})();
	await spread(Array.from({ length: revocations }, (_, i) => async () => {
		const token = await mint(s, { scopes: ['*'], rate_limit: 10 });
		const target = ['/api/domains', '/api/me', '/api/users', '/api/tokens'][i % 4];
		assert.equal((await s.ask(target, { token: token.token })).status, 200);
		assert.equal((await s.ask(`/api/tokens/${token.id}/revoke`, { method: 'POST' })).status, 200);
		const after_it = await s.ask(target, { token: token.token });
		accepted += after_it.status === 200;
		refused += after_it.status === 401;
	}), 8);
	busy = false;
	await load;
	assert.deepEqual([accepted, refused], [0, revocations]);
});

// Unknown tokens, from addresses that only a web server can state.
const from = (address, token = stranger(), resource = 'domains') =>
	fcgi(socketOf(s, resource), { path: `/api/${resource}`, token, address, https: true });

test('unknown tokens are limited to 20 a minute for an address, without a row; recognised ones are never refused for it', async () => {
	const before = s.sql('SELECT count(*)::int AS n FROM postern.audit')[0].n;
	const answers = await Promise.all(Array.from({ length: 48 }, () => from('203.0.113.7')));
	assert.deepEqual(codes(answers), { 401: 20, 429: 28 });
	const last = await from('203.0.113.7');
	assert.equal(last.status, 429);
	assert.equal(last.json.error.code, 'rate_limited');
	assert.ok(number(last, 'retry-after') >= 1 && number(last, 'retry-after') <= 60);
	assert.equal(last.headers.get('x-ratelimit-limit'), undefined);
	assert.equal((await from('::ffff:203.0.113.7')).status, 429); // the same address
	assert.equal((await from('203.0.113.8')).status, 401);
	assert.equal(s.sql('SELECT count(*)::int AS n FROM postern.audit')[0].n, before);
	const known = await mint(s, { scopes: ['domains:read'] });
	for (let i = 0; i < 30; i++)
		assert.equal((await from('203.0.113.7', known.token)).status, 200);
	assert.equal((await from('203.0.113.7', (await mint(s, { scopes: ['users:read'] })).token)).status, 403);
	assert.equal((await from('203.0.113.7', stranger(known.key_id))).status, 429); // a wrong secret is an unknown token
});

test('IPv6 addresses count by /64', async () => {
	for (let i = 1; i <= 20; i++)
		assert.equal((await from(`2001:db8:1:2:${i.toString(16)}::${i}`)).status, 401);
	assert.equal((await from('2001:db8:1:2:ffff::1')).status, 429);
	assert.equal((await from('2001:db8:1:3::1')).status, 401);
});

test('broken checksums cost nothing: they are refused, not counted', async () => {
	const wrong = broken(stranger());
	for (let i = 0; i < 40; i++)
		assert.equal((await from('203.0.113.20', wrong)).status, 401);
	assert.equal((await from('203.0.113.20')).status, 401);
});
