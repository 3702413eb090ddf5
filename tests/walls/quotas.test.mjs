// What an account's plan allows of everything that it can make: exact however many ask at once, and nobody else's affair.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

import { parse, request, socketOf, STDIN, record, STDOUT } from '../api/fastcgi.mjs';
import { startStack, until, web } from '../api/harness.mjs';

const run = promisify(execFile);
const password = 'a long enough password 1!';
let s, near, far; // two tenants

before(async () => {
	s = await startStack('quotas', { POSTERN_THREADS: '8', POSTERN_DATABASES_POSTGRESQL_DSN: 'host=/nowhere dbname=postgres' }); // no worker asks it
	[near, far] = [tenant(), tenant()];
});
after(() => s?.stop());

// With a domain that an administrator made, which takes mail.
function tenant() {
	const t = s.tenant();
	t.domain = s.cliJson(['domain', 'create', '--domain', `${t.username}.example`, '--account', t.username]).domain;
	t.token = s.mint({ owner: t.user.username, role: 'customer', scopes: ['*', 'tokens:write', 'tokens:read', 'tokens:delete'] }).token;
	return t;
}
const plan = async (t, fields) => {
	const { status, text } = await s.ask(`/api/accounts/${t.account.id}`, { method: 'PATCH', body: fields });
	assert.equal(status, 200, text);
};
const as = (t, method, target, body) => s.ask(`/api/${target}`, { token: t.token, method, body });
// The command, without waiting for its turn.
const cli = async (...args) => {
	try {
		await run(path.join(s.dir, 'postern'), args);
		return 0;
	} catch (e) {
		return e.code;
	}
};
const used = (t, what) => Number(s.psql(`SELECT accounts.used(${t.account.id}, '${what}')`));
const open_jobs = (t) => s.psql(`UPDATE postern.jobs SET status = 'succeeded' WHERE account_id = ${t.account.id} AND status = 'queued'`);

// What one more of each is made of: over the API and, where that has one way, by the command.
const kinds = {
	tokens: (t, n) => ({ body: { name: n, scopes: ['domains:read'] }, args: ['token', 'create', '--name', n, '--owner', t.user.username, '--scopes', 'domains:read'] }),
	users: (t, n) => ({ body: { username: `${t.username}-${n}`, role: 'viewer' }, args: ['user', 'create', '--username', `${t.username}-${n}`, '--account', t.username] }),
	domains: (t, n) => ({ body: { domain: `${n}.${t.domain}`, type: 'addon' }, args: ['domain', 'create', '--domain', `${n}.${t.domain}`, '--type', 'addon', '--account', t.username] }),
	forwarders: (t, n) => ({ body: { address: `${n}@${t.domain}`, destinations: ['x@example.com'] }, args: ['forwarder', 'create', '--address', `${n}@${t.domain}`, '--destinations', 'x@example.com'] }),
	mailboxes: (t, n) => ({ body: { address: `${n}@${t.domain}`, password } }),
	databases: (t, n) => ({ body: { name: n, engine: 'postgresql', password } }),
	cron: (t, n) => ({ body: { name: n, schedule: '0 4 * * *', command: 'true' }, args: ['cron', 'create', '--name', n, '--schedule', '0 4 * * *', '--command', 'true', '--account', t.username] }),
};
for (const [what, one] of Object.entries(kinds))
	test(`an account gets exactly as many ${what} as its plan allows, however many ask at once, and another account its own`, async () => {
		const before_it = used(near, what);
		await plan(near, { [`max_${what}`]: before_it + 3 });
		const asked = Array.from({ length: 8 }, (_, i) => as(near, 'POST', what, one(near, `a${i}`).body));
		const told = one(near, '').args ? Array.from({ length: 4 }, (_, i) => cli(...one(near, `c${i}`).args)) : [];
		const answers = await Promise.all(asked), codes = await Promise.all(told);
		assert.equal(used(near, what), before_it + 3);
		assert.equal(answers.filter((a) => a.status === 201).length + codes.filter((c) => c === 0).length, 3, answers.map((a) => a.text).join('\n'));
		assert.ok(codes.every((c) => c === 0 || c === 4), `exit codes ${codes}`);
		for (const { status, json } of answers.filter((a) => a.status !== 201)) {
			assert.equal(status, 409);
			assert.match(json.error.message, new RegExp(`the account's plan allows ${before_it + 3} .*; delete some or ask for a larger plan`));
			assert.match(json.error.fields[`max_${what}`], /is reached/);
		}
		const other = await as(far, 'POST', what, one(far, 'mine').body);
		assert.equal(other.status, 201, other.text);
		await plan(near, { [`max_${what}`]: before_it + 4 });
		const more = await as(near, 'POST', what, one(near, 'more').body);
		assert.equal(more.status, 201, more.text);
	});

test('a plan has a number for everything, which only an administrator changes', async () => {
	const { json } = await s.ask('/api/accounts', { method: 'POST', body: { username: s.unique('new') } });
	for (const [name, value] of Object.entries({ max_domains: 500, max_mailboxes: 1000, max_databases: 100, max_forwarders: 500, max_cron: 100, max_backups: 50,
		max_users: 50, max_tokens: 100, max_jobs: 100, max_certificate_orders: 20, max_requests: 6000, max_database_connections: 20 })) {
		assert.equal(json[name], value, name);
		const raised = await as(far, 'PATCH', `accounts/${far.account.id}`, { [name]: 7 });
		assert.equal(raised.status, 403, name);
		await plan(far, { [name]: value + 1 });
		assert.equal((await as(far, 'GET', `accounts/${far.account.id}`)).json[name], value + 1);
		assert.equal((await s.ask(`/api/accounts/${far.account.id}`, { method: 'PATCH', body: { [name]: -1 } })).status, 422, name);
		await plan(far, { [name]: value });
	}
});

test('an account that an import found is not limited by what others begin with', () => {
	const found = s.cliJson(['account', 'create', '--username', s.unique('found'), '--managed', 'false', '--max-mailboxes', '7']);
	assert.deepEqual([found.max_domains, found.max_mailboxes, found.max_databases, found.max_tokens], [null, 7, null, 100]);
});

test('a tenant has no more open jobs than its plan allows; what deletes and ends is always possible', async () => {
	const t = tenant(), other = tenant();
	const make = (i) => as(t, 'POST', 'cron', { name: `j${i}`, schedule: '0 4 * * *', command: 'true' });
	await plan(t, { max_jobs: 4 });
	const answers = await Promise.all(Array.from({ length: 9 }, (_, i) => make(i)));
	const made = answers.filter((a) => a.status === 201).map((a) => a.json);
	assert.equal(made.length, 4);
	for (const { status, json } of answers.filter((a) => a.status !== 201)) {
		assert.equal(status, 409);
		assert.match(json.error.message, /the account has 4 jobs that have not ended.*wait for one to end/);
	}
	assert.equal((await as(t, 'PATCH', `cron/${made[0].id}`, { command: 'false' })).status, 409);
	assert.equal((await as(t, 'POST', 'websites', { domain: t.domain })).status, 409, 'at every endpoint');
	assert.equal((await as(other, 'POST', 'cron', { schedule: '0 4 * * *', command: 'true' })).status, 201, 'another account');
	// an administrator's are not counted, and not refused
	for (let i = 0; i < 3; i++) {
		const { status, text } = await s.ask('/api/cron', { method: 'POST', body: { account: t.username, schedule: '0 5 * * *', command: 'true' } });
		assert.equal(status, 201, text);
	}
	assert.equal(used(t, 'jobs'), 4);
	assert.equal((await as(t, 'POST', `cron/${made[0].id}/disable`)).status, 200, 'disable');
	assert.equal((await as(t, 'POST', `cron/${made[0].id}/enable`)).status, 409, 'enable');
	assert.equal((await as(t, 'DELETE', `cron/${made[0].id}`)).status, 202, 'delete');
	assert.equal((await s.ask(`/api/accounts/${t.account.id}/suspend`, { method: 'POST' })).status, 200, 'an administrator suspends it');
	assert.equal((await s.ask(`/api/accounts/${t.account.id}/unsuspend`, { method: 'POST' })).status, 200);
	// one that failed is not opened again beyond it
	const [{ id }] = s.sql(`SELECT id FROM postern.jobs WHERE account_id = ${t.account.id} AND by_tenant LIMIT 1`);
	s.psql(`UPDATE postern.jobs SET status = 'failed' WHERE id = '${id}'`);
	assert.equal((await as(t, 'POST', `jobs/${id}/retry`)).status, 409);
	open_jobs(t);
	assert.equal((await as(t, 'POST', `jobs/${id}/retry`)).status, 200);
	assert.equal((await make('z')).status, 201);
	assert.equal((await s.ask(`/api/accounts/${t.account.id}?cascade=true&confirm=${t.account.username}`, { method: 'DELETE' })).status, 202);
});

test("a tenant orders no more certificates within a week than its plan allows; the clock's renewals and uploads are not counted", async () => {
	const t = tenant();
	const to = (target, body) => as(t, 'POST', target, body);
	await plan(t, { max_certificate_orders: 2 });
	const { json: first } = await to('ssl', { domain: t.domain });
	open_jobs(t);
	assert.equal((await to(`ssl/${first.id}/renew`)).status, 202);
	open_jobs(t);
	const third = await to(`ssl/${first.id}/renew`);
	assert.equal(third.status, 409);
	assert.match(third.json.error.message, /allows 2 orders of certificates within seven days/);
	assert.equal((await as(t, 'PATCH', `ssl/${first.id}`, { names: [t.domain, `www.${t.domain}`] })).status, 409, 'other names');
	// nor by doing an old job once more
	const [{ id }] = s.sql(`SELECT id FROM postern.jobs WHERE account_id = ${t.account.id} AND kind = 'ssl.issue'`);
	s.psql(`UPDATE postern.jobs SET status = 'failed' WHERE id = '${id}'`);
	assert.equal((await to(`jobs/${id}/retry`)).status, 409);
	assert.equal((await s.ask(`/api/ssl/${first.id}/renew`, { method: 'POST' })).status, 202, "an administrator's");
	open_jobs(t);
	s.psql(`UPDATE postern.certificates SET not_before = now() - interval '80 d', not_after = now() + interval '5 d', status = 'active' WHERE id = ${first.id}; SELECT ssl.due()`);
	assert.equal(s.sql(`SELECT count(*) FROM postern.jobs WHERE account_id = ${t.account.id} AND kind = 'ssl.renew' AND source = 'schedule'`)[0].count, 1);
	open_jobs(t);
	s.psql(`UPDATE postern.certificate_orders SET at = at - interval '7 d' WHERE account_id = ${t.account.id}`);
	assert.equal((await to(`ssl/${first.id}/renew`)).status, 202, 'a week later');
	assert.equal(s.sql(`SELECT count(*) FROM postern.certificate_orders WHERE account_id = ${t.account.id}`)[0].count, 1, 'no row stays that does not count');
});

test('tokens that are over count as a tenth until they are deleted', async () => {
	const t = tenant();
	await plan(t, { max_tokens: 3 });
	const mint = (name) => as(t, 'POST', 'tokens', { name, scopes: ['domains:read'] });
	for (let i = 0; i < 19; i++) {
		const { status, json, text } = await mint(`x${i}`);
		assert.equal(status, 201, text);
		assert.equal((await as(t, 'POST', `tokens/${json.id}/revoke`)).status, 200);
	}
	assert.equal((await mint('last')).status, 201); // 1 + 1 + 19 / 10
	const refused = await mint('too-many');
	assert.equal(refused.status, 409, refused.text);
	const { json } = await as(t, 'GET', 'tokens?status=revoked&per_page=100');
	for (const { id } of json.data)
		assert.equal((await as(t, 'DELETE', `tokens/${id}`)).status, 204);
	assert.equal((await mint('again')).status, 201);
});

test('a backup beyond the plan is refused before it is made; the ones of the clock give way to each other', async () => {
	const t = tenant();
	await plan(t, { max_backups: 2 });
	s.psql(`INSERT INTO postern.backups (account_id, kind, status, parts, finished_at) SELECT ${t.account.id}, 'files', 'active', '[]', now() - i * interval '1 day' FROM generate_series(1, 2) i`);
	const more = () => as(t, 'POST', 'backups', { kind: 'full' });
	assert.match((await more()).json.error.message, /the account's plan allows 2 backups; delete some/);
	const [{ id }] = s.sql(`SELECT id FROM postern.backups WHERE account_id = ${t.account.id} ORDER BY finished_at LIMIT 1`);
	assert.equal((await as(t, 'DELETE', `backups/${id}?confirm=${id}`)).status, 202);
	assert.equal((await more()).status, 202);
	// scheduled ones are made, and the oldest that nobody marked goes for them
	s.psql(`UPDATE postern.backups SET status = 'active', parts = '[]', finished_at = now() WHERE account_id = ${t.account.id} AND status = 'pending'; SELECT backups.retire(${t.account.id}, 7)`);
	assert.equal(used(t, 'backups'), 2);
	s.psql(`INSERT INTO postern.backups (account_id, kind, status, parts, finished_at) VALUES (${t.account.id}, 'full', 'active', '[]', now()); SELECT backups.retire(${t.account.id}, 7)`);
	assert.equal(used(t, 'backups'), 2);
	assert.equal(s.sql(`SELECT kind FROM postern.backups WHERE account_id = ${t.account.id} AND status <> 'deleting' AND kind = 'files'`).length, 0, 'the oldest went');
	s.psql(`UPDATE postern.accounts SET max_backups = 0 WHERE id = ${t.account.id}; SELECT backups.retire(${t.account.id}, 0)`);
	assert.equal(used(t, 'backups'), 1, 'the newest stays');
	s.psql(`INSERT INTO postern.backups (account_id, kind, status) SELECT ${t.account.id}, 'mail', 'error' FROM generate_series(1, 12); SELECT backups.retire(${t.account.id}, 7)`);
	assert.equal(used(t, 'backups'), 11, 'of those that failed the newest ten');
});

test('users that are moved into an account count there, too', async () => {
	const t = tenant();
	await plan(t, { max_users: 1 });
	const stranger = s.cliJson(['user', 'create', '--username', s.unique('stray'), '--role', 'customer']);
	const moved = await s.ask(`/api/users/${stranger.id}`, { method: 'PATCH', body: { account: t.username } });
	assert.equal(moved.status, 409, moved.text);
	await plan(t, { max_users: 2 });
	assert.equal((await s.ask(`/api/users/${stranger.id}`, { method: 'PATCH', body: { account: t.username } })).status, 200);
});

test('answers that are kept for Idempotency-Key have an end', async () => {
	const t = tenant(), other = tenant();
	const key = (x) => ({ 'Idempotency-Key': x });
	const to = (who, name, headers) => s.ask('/api/forwarders', { token: who.token, method: 'POST', body: { address: `${name}@${who.domain}`, destinations: ['x@example.com'] }, headers });
	assert.equal((await to(t, 'first', key('first'))).status, 201);
	s.psql(`INSERT INTO postern.kept_answers (token_id, account_id, key, fingerprint, status, headers, body)
		SELECT gen_random_uuid(), ${t.account.id}, sha256(i::text::bytea), '', 200, '', '' FROM generate_series(2, 10000) i`);
	const refused = await to(t, 'second', key('second'));
	assert.equal(refused.status, 429, refused.text);
	assert.match(refused.json.error.message, /10,000 kept answers.*without Idempotency-Key/);
	assert.equal((await to(t, 'first', key('first'))).headers.get('idempotent-replayed'), 'true', 'one that was kept is still given');
	assert.equal((await to(t, 'third')).status, 201);
	assert.equal((await to(other, 'mine', key('mine'))).status, 201);
});

// A request whose answer nobody reads on.
const begin = (t, target) => new Promise((resolve, reject) => {
	const asked = http.get(s.url + target, { headers: { Authorization: `Bearer ${t.token}` }, agent: false }, (answer) => {
		answer.on('error', () => {});
		resolve({ status: answer.statusCode, end: () => asked.destroy() });
	}).on('error', reject);
});

test('an account has one export at a time, and tenants leave administrators their places', async () => {
	const [a, b, c] = [tenant(), tenant(), tenant()], admin = { token: s.token };
	for (const t of [a, b, c])
		t.reader = s.mint({ owner: t.user.username, scopes: ['audit:read'] }).token;
	s.psql(`INSERT INTO postern.audit (account_id, at, actor, resource, verb, outcome, path) SELECT account, now() - interval '1 h', 'system', 'odd', 'list', 'allowed', repeat('x', 900)
		FROM generate_series(1, 20000), unnest('{${a.account.id},${b.account.id},${c.account.id}}'::bigint[]) account`);
	const place = '/api/audit/export';
	const slow = [await begin({ token: a.reader }, place)];
	const second = await s.ask(place, { token: s.mint({ owner: a.user.username, scopes: ['audit:read'] }).token });
	assert.equal(second.status, 429, second.text.slice(0, 200));
	assert.match(second.json.error.message, /an export of the account is under way; try again when it has ended/);
	assert.ok(Number(second.headers.get('retry-after')) >= 1);
	slow.push(await begin({ token: b.reader }, place));
	assert.equal(slow[1].status, 200);
	const third = await s.ask(place, { token: c.reader });
	assert.equal(third.status, 503);
	assert.match(third.json.error.message, /2 exports are under way, as many as export_max allows/);
	slow.push(await begin(admin, place), await begin(admin, place));
	assert.deepEqual(slow.slice(2).map((e) => e.status), [200, 200], 'an administrator finds a place');
	assert.deepEqual(s.sql(`SELECT status, outcome, reason FROM postern.audit WHERE verb = 'export' AND status >= 400 AND account_id IN (${a.account.id}, ${c.account.id}) ORDER BY at`),
		[{ status: 429, outcome: 'denied', reason: 'export_of_account' }, { status: 503, outcome: 'failed', reason: 'export_max' }]);
	slow.forEach((e) => e.end());
	await until(async () => (await begin({ token: c.reader }, place)).status === 200, 'a place is free again');
});

test('an account cannot take all the places of those who wait for a job', async () => {
	const [a, b] = [tenant(), tenant()];
	const wait = (t, n) => s.ask('/api/cron', { token: t.token, method: 'POST', body: { name: `w${n}`, schedule: '0 4 * * *', command: 'true' }, headers: { Prefer: 'wait=3' } });
	const applied = (answers) => answers.filter((x) => x.headers.has('preference-applied')).length;
	const asked = [1, 2, 3, 4].map((n) => wait(a, n));
	await Promise.race(asked); // one that had no place
	const other = await wait(b, 1), mine = await Promise.all(asked);
	assert.deepEqual([...mine, other].map((x) => x.status), [201, 201, 201, 201, 201]);
	assert.deepEqual([applied(mine), applied([other])], [1, 1], 'of two places each had one');
});

test('those who send slowly do not hold up the others: half of the threads wait for no body', { skip: web !== 'nginx' && 'spoken to the socket itself' }, async () => {
	const socket = socketOf(s, 'forwarders'), held = [];
	const start = request({ method: 'POST', path: '/api/forwarders', token: near.token, body: 'x'.repeat(100) });
	const head = start.subarray(0, start.indexOf(record(STDIN, Buffer.from('x'.repeat(100))).subarray(0, 8)));
	const answers = [];
	for (let i = 0; i < 16; i++) {
		const connection = net.connect(socket).on('error', () => {});
		connection.write(head);
		connection.on('data', (data) => answers.push(data));
		held.push(connection);
	}
	const whole = async () => {
		const at = Date.now();
		assert.equal((await s.ask('/api/forwarders', { token: far.token })).status, 200);
		return Date.now() - at;
	};
	assert.ok(await whole() < 5000);
	await until(() => answers.length >= 12, 'those beyond half are told');
	assert.ok(await whole() < 5000);
	const told = parse(Buffer.from(answers[0].subarray(8)));
	assert.equal(told.status, 503, answers[0].toString());
	assert.equal(answers[0][1], STDOUT);
	assert.equal(told.headers.get('retry-after'), '1');
	held.forEach((connection) => connection.destroy());
});
