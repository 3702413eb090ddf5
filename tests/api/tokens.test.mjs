// Tokens: their shape, their fields, who may mint what, their life and end.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHmac, randomBytes, randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { checksum, mint, shape, spread, takeClock } from './credentials.mjs';
import { root, startStack, until } from './harness.mjs';

let s, clock, t;
const day = 86400e3;
const inDays = (n) => new Date(Date.now() + n * day).toISOString();
const ask = (method, target, body, token) => s.ask(`/api/${target}`, { method, body, token });
const create = (fields, by) => ask('POST', 'tokens', { name: s.unique('t'), scopes: ['domains:read'], ...fields }, by);
const status = async (token, target = '/api/domains') => (await s.ask(target, { token })).status;

before(async () => {
	s = await startStack('tokens', { TZ: 'IST-5:30' }); // a server that is not in Greenwich
	clock = takeClock(s);
	s.token = s.mint({ name: 'tests', expires_at: null }).token;
	t = s.tenant();
});
after(() => s?.stop());

test('a token has its shape, checksum and a key id of its own', async () => {
	const made = await Promise.all(Array.from({ length: 20 }, () => mint(s, { scopes: ['domains:read'] })));
	for (const m of made) {
		assert.match(m.token, shape);
		assert.match(m.token, /^pst_/);
		assert.equal(m.token.split('_')[1], m.key_id);
		assert.equal(m.token.slice(-6), checksum(m.token.slice(0, -6)));
	}
	assert.equal(new Set(made.map((m) => m.key_id)).size, made.length);
	assert.equal(new Set(made.map((m) => m.token.slice(13, 45))).size, made.length);
});

test('creation answers with every field and the value, which is never shown again', async () => {
	const made = await ask('POST', 'tokens', { name: 'ci-deploy_1', owner: t.user.username, scopes: ['domains:read', 'domains:write'],
		deny: ['domains:delete'], allowed_ips: ['127.0.0.1', '::1', '192.0.2.0/24'], rate_limit: 5, action_limit: 2, expires_at: '2027-06-12T00:00:00+02:00' });
	assert.equal(made.status, 201, made.text);
	assert.equal(made.headers.get('cache-control'), 'no-store');
	assert.equal(made.headers.get('location'), `/api/tokens/${made.json.id}`);
	const { token, created_at, updated_at, ...row } = made.json;
	assert.match(token, shape);
	assert.match(created_at, /\+00:00$/);
	assert.deepEqual(row, {
		id: row.id, name: 'ci-deploy_1', key_id: token.split('_')[1], user_id: t.user.id, owner: t.user.username, account_id: t.account.id,
		account: t.username, role: null, scopes: ['domains:read', 'domains:write'], deny: ['domains:delete'],
		allowed_ips: ['127.0.0.1/32', '::1/128', '192.0.2.0/24'], rate_limit: 5, action_limit: 2, expires_at: '2027-06-11T22:00:00+00:00',
		status: 'active', old_key_expires_at: null, held_by: null, parent_id: row.parent_id, last_used_at: null, last_used_ip: null, revoked_at: null,
	});
	assert.match(row.id, /^[0-9a-f-]{36}$/);
	for (const target of [`tokens/${row.id}`, 'tokens?search=ci-deploy_1', `audit?token_id=${row.parent_id}`, `api-keys/${row.id}`]) {
		const seen = await ask('GET', target);
		assert.equal(seen.status, 200, seen.text);
		assert.ok(!seen.text.includes(token.slice(13)), target);
		assert.ok(!('token' in seen.json));
	}
	assert.equal(await status(token), 200);
});

test('what is stored is a keyed digest; the value is in no table, log, statement statistics or file of PostgreSQL', async () => {
	const made = await mint(s, { owner: t.user.username, scopes: ['domains:*', 'tokens:read', 'tokens:write'] });
	const secret = made.token.slice(13, 45);
	const rotated = await ask('POST', `tokens/${made.id}/rotate`, { grace_s: 60 });
	const again = rotated.json.token;
	for (const token of [made.token, again])
		for (const method of ['GET', 'POST'])
			await ask(method, 'domains', method === 'POST' ? { domain: 'not valid' } : undefined, token);
	await ask('POST', 'tokens', { name: s.unique('c'), scopes: ['domains:read'] }, made.token);
	const [id, hex] = fs.readFileSync(path.join(s.dir, 'keys/pepper'), 'utf8').split('\n').find((l) => /^[0-9a-z]+:/.test(l)).split(':');
	const digest = createHmac('sha256', Buffer.from(hex.trim(), 'hex')).update(made.key_id + secret).digest('hex');
	const key = s.sql(`SELECT encode(digest, 'hex') AS digest, pepper_id FROM postern.keys WHERE key_id = '${made.key_id}'`)[0];
	assert.deepEqual(key, { digest, pepper_id: id });
	assert.deepEqual(s.sql(`SELECT query FROM pg_stat_activity WHERE query LIKE '%${secret}%' AND pid <> pg_backend_pid()`), []);
	s.psql('CHECKPOINT');
	const wanted = [secret, again.slice(13, 45), Buffer.from(secret).toString('hex'), Buffer.from(hex.trim(), 'hex')];
	const walk = (dir) => {
		for (const entry of fs.readdirSync(dir, { withFileTypes: true })) {
			const at = path.join(dir, entry.name);
			if (entry.isDirectory())
				walk(at);
			else if (entry.isFile() && !entry.name.startsWith('pepper')) {
				const bytes = fs.readFileSync(at);
				for (const w of wanted)
					assert.ok(!bytes.includes(w), at);
			}
		}
	};
	walk(s.dir);
});

test('each faulty field is named, and nothing is made', async () => {
	await create({ name: 'taken', owner: t.user.username });
	const count = () => s.sql('SELECT count(*)::int AS n FROM postern.tokens')[0].n;
	const tokens = count();
	const faults = [
		[{ name: 'x'.repeat(51) }, 'name'], [{ name: '' }, 'name'], [{ name: 'with space' }, 'name'], [{ name: 'umläut' }, 'name'], [{ name: null }, 'name'],
		[{ name: undefined }, 'name'], [{ scopes: undefined }, 'scopes'], [{ scopes: [] }, 'scopes'], [{ scopes: 'domains:read' }, 'scopes'],
		[{ scopes: ['domains'] }, 'scopes'], [{ scopes: ['domains:read', 7] }, 'scopes'], [{ scopes: ['gardens:*'] }, 'scopes'], [{ deny: ['gardens:read'] }, 'deny'],
		[{ rate_limit: -1 }, 'rate_limit'], [{ rate_limit: 0 }, 'rate_limit'], [{ rate_limit: 10000001 }, 'rate_limit'], [{ rate_limit: 1.5 }, 'rate_limit'],
		[{ rate_limit: '60' }, 'rate_limit'], [{ action_limit: 0 }, 'action_limit'], [{ rate_limit: 1, rateLimitRpm: 2 }, 'rate_limit', 'rateLimitRpm'],
		[{ allowed_ips: ['10.0.0.1/8'] }, 'allowed_ips'], [{ allowed_ips: ['10.0.0.0/33'] }, 'allowed_ips'], [{ allowed_ips: ['here'] }, 'allowed_ips'],
		[{ allowed_ips: ['2001:db8::1/32'] }, 'allowed_ips'], [{ allowed_ips: '10.0.0.0/8' }, 'allowed_ips'], [{ allowed_ips: ['010.0.0.1'] }, 'allowed_ips'],
		[{ expires_on: '2025-02-30' }, 'expires_on'], [{ expires_on: '2027-13-01' }, 'expires_on'], [{ expires_on: '31.01.2027' }, 'expires_on'],
		[{ expires_on: '2020-01-01' }, 'expires_on'], [{ expires_on: null }, 'expires_on'], [{ expires_at: '2020-01-01T00:00:00Z' }, 'expires_at'],
		[{ expires_at: 'tomorrow' }, 'expires_at'], [{ expires_at: '2027-01-31' }, 'expires_at'], [{ expires_on: '2027-01-31', expires_at: '2027-01-31T00:00:00Z' }, 'expires_on'],
		[{ owner: 'nobody-here' }, 'owner'], [{ user_id: 999999 }, 'user_id'], [{ user_id: t.user.id, owner: 'admin' }, 'owner'],
		[{ account: 'nowhere', owner: 'admin' }, 'account'], [{ account_id: 999999, owner: 'admin' }, 'account_id'], [{ account: 'demo', owner: t.user.username }, 'account'],
		[{ role: 'emperor', owner: 'admin' }, 'role'], [{ role: 'admin', owner: t.user.username }, 'role'],
		[{ id: randomUUID() }, 'id'], [{ status: 'revoked' }, 'status'], [{ token: 'pst_mine' }, 'token'], [{ key_id: 'abcdefgh' }, 'key_id'], [{ parent_id: null }, 'parent_id'],
		[{ nmae: 'x' }, 'nmae'],
	];
	for (const [fields, ...names] of faults) {
		const refused = await create(fields);
		assert.equal(refused.status, 422, `${JSON.stringify(fields)}: ${refused.text}`);
		assert.equal(refused.json.error.code, 'validation_error');
		assert.ok(names.some((n) => refused.json.error.fields?.[n]), `${names}: ${refused.text}`);
		assert.ok(!refused.text.match(/pst_[0-9A-Za-z]{8}_/));
	}
	const taken = await create({ name: 'taken', owner: t.user.username });
	assert.equal(taken.status, 409);
	assert.ok(taken.json.error.fields.name);
	assert.equal(count(), tokens);
	assert.equal((await create({ name: 'taken', owner: 'admin' })).status, 201); // unique per owner
});

test('an unknown scope is refused with the nearest known one; both other spellings are read', async () => {
	for (const [wrong, near] of [['domain:read', 'domains:read'], ['domains:raed', 'domains:read'], ['tokens:writ', 'tokens:write'], ['user:delete', 'users:delete']])
		for (const field of ['scopes', 'deny']) {
			const refused = await create({ [field]: [wrong] });
			assert.equal(refused.status, 422);
			assert.ok(refused.json.error.fields[field].includes(`"${wrong}"`) && refused.json.error.fields[field].includes(`"${near}"`), refused.text);
		}
	const made = await create({ scopes: ['domains.read', 'write:domains', 'users.*'], deny: ['users.delete'] });
	assert.equal(made.status, 201, made.text);
	assert.deepEqual(made.json.scopes, ['domains:read', 'domains:write', 'users:*']);
	assert.deepEqual(made.json.deny, ['users:delete']);
});

test('limits: 60 and 10 by default, up to 10,000,000; rateLimitRpm is read as rate_limit', async () => {
	const usual = (await create({})).json;
	assert.deepEqual([usual.rate_limit, usual.action_limit], [60, 10]);
	assert.equal((await create({ rateLimitRpm: 7 })).json.rate_limit, 7);
	const most = (await create({ rate_limit: 10000000, action_limit: 10000000 })).json;
	assert.deepEqual([most.rate_limit, most.action_limit], [10000000, 10000000]);
});

test('expiry: a day ends at 23:59:59 server time, null is never, nothing given is one year', async () => {
	assert.equal((await create({ expires_on: '2027-01-31' })).json.expires_at, '2027-01-31T18:29:59+00:00');
	assert.equal((await create({ expires_on: '2028-02-29' })).json.expires_at, '2028-02-29T18:29:59+00:00');
	assert.equal((await create({ expires_at: '2027-01-31T12:00:00.5-01:00' })).json.expires_at.slice(0, 19), '2027-01-31T13:00:00');
	const never = (await create({ expires_at: null })).json;
	assert.deepEqual([never.expires_at, never.status], [null, 'active']);
	const usual = (await create({})).json;
	assert.deepEqual(s.sql(`SELECT expires_at - created_at BETWEEN interval '364 days' AND interval '367 days' AS a_year FROM postern.tokens WHERE id = '${usual.id}'`),
		[{ a_year: true }]);
});

test('after creation only the name can be changed', async () => {
	const made = await mint(s, { owner: t.user.username, scopes: ['domains:read'] });
	const taken = await mint(s, { owner: t.user.username, scopes: ['domains:read'] });
	for (const fields of [{ expires_at: null }, { expires_on: '2027-01-31' }, { scopes: ['*'] }, { deny: [] }, { role: 'admin' }, { rate_limit: 1 }, { rateLimitRpm: 1 },
		{ action_limit: 1 }, { allowed_ips: [] }, { owner: 'admin' }, { user_id: 1 }, { account: 'demo' }, { account_id: 1 }, { status: 'active' }, { revoked_at: null }, { name: null }]) {
		const refused = await ask('PATCH', `tokens/${made.id}`, fields);
		assert.equal(refused.status, 422, `${JSON.stringify(fields)}: ${refused.text}`);
		assert.ok(Object.keys(refused.json.error.fields).length === 1, refused.text);
	}
	assert.equal((await ask('PATCH', `tokens/${made.id}`, { name: taken.name })).status, 409);
	const { token, ...was } = made;
	const renamed = await ask('PATCH', `tokens/${made.id}`, { name: 'renamed' });
	assert.equal(renamed.status, 200, renamed.text);
	assert.deepEqual({ ...renamed.json, updated_at: was.updated_at }, { ...was, name: 'renamed' });
	assert.equal(await status(token), 200);
});

test('a role without scopes means all that the role has; with scopes it is a cap', async () => {
	const scopesOf = (name) => s.sql(`SELECT scopes FROM postern.roles WHERE name = '${name}'`)[0].scopes;
	assert.deepEqual((await create({ owner: t.user.username, role: 'viewer', scopes: undefined })).json.scopes, scopesOf('viewer'));
	assert.deepEqual((await create({ role: 'admin', scopes: undefined })).json.scopes, ['*']);
	assert.equal((await ask('POST', 'roles', { name: 'support', base: 'customer', scopes: ['domains:read', 'users:read'] })).status, 201);
	const capped = (await create({ owner: t.user.username, role: 'support', scopes: ['domains:*'] })).json;
	assert.equal(await status(capped.token), 200);
	assert.equal((await ask('POST', 'domains', { domain: 'capped.example' }, capped.token)).status, 403);
	assert.equal(await status(capped.token, '/api/users'), 403);
});

test('tokens:* needs its own scopes: no wildcard but an administrator\'s "*" implies them', async () => {
	for (const scopes of [['*'], ['tokens:*']]) {
		const wild = await mint(s, { owner: t.user.username, scopes });
		assert.equal(await status(wild.token, '/api/tokens'), 403);
		assert.equal((await ask('POST', 'tokens', { name: 'x', scopes: ['domains:read'] }, wild.token)).status, 403);
	}
	assert.equal(await status((await mint(s, { scopes: ['tokens:*'] })).token, '/api/tokens'), 403);
	assert.equal(await status((await mint(s, { scopes: ['*'] })).token, '/api/tokens'), 200);
	const all = await mint(s, { owner: t.user.username, scopes: ['*', 'tokens:read'] });
	assert.equal(await status(all.token, '/api/tokens'), 200);
	assert.equal(await status(all.token, '/api/domains'), 200);
});

// Minting: [fields, field at fault (null: it is made), what the new token then has].
async function tryAll(minter, cases) {
	for (const [fields, fault, has] of cases) {
		const answer = await create(fields, minter.token);
		const about = `${JSON.stringify(fields)}: ${answer.text}`;
		if (fault) {
			assert.equal(answer.status, 422, about);
			assert.ok(answer.json.error.fields[fault], about);
			continue;
		}
		assert.equal(answer.status, 201, about);
		assert.equal(answer.json.parent_id, minter.id);
		for (const [name, value] of Object.entries(has ?? {}))
			assert.deepEqual(answer.json[name], value, about);
	}
}

test("a customer's token mints within itself, field by field", async () => {
	const expires_at = new Date(Math.trunc(Date.now() / 1000) * 1000 + 30 * day).toISOString().replace('.000Z', '+00:00');
	const minter = await mint(s, { owner: t.user.username, scopes: ['domains:*', 'tokens:read', 'tokens:write'], deny: ['domains:delete'],
		allowed_ips: ['127.0.0.0/8', '10.0.0.0/8', '2001:db8::/32'], rate_limit: 100, action_limit: 5, expires_at });
	const inherited = { owner: t.user.username, account: t.username, deny: ['domains:delete'], expires_at, rate_limit: 60, action_limit: 5,
		allowed_ips: ['127.0.0.0/8', '10.0.0.0/8', '2001:db8::/32'] };
	await tryAll(minter, [
		[{}, null, inherited],
		[{ scopes: ['domains:*', 'tokens:write'] }, null, { scopes: ['domains:*', 'tokens:write'] }],
		[{ scopes: ['domains:delete'] }, null, { deny: ['domains:delete'] }], // held, and denied all the same
		[{ scopes: ['users:read'] }, 'scopes'], [{ scopes: ['*'] }, 'scopes'], [{ scopes: ['tokens:delete'] }, 'scopes'], [{ scopes: ['users:*'] }, 'scopes'],
		[{ scopes: ['domains:read', 'users:read'] }, 'scopes'],
		[{ deny: ['domains:read'] }, null, { deny: ['domains:delete', 'domains:read'] }], [{ deny: [] }, null, { deny: ['domains:delete'] }],
		[{ role: 'viewer' }, null, { role: 'viewer' }], [{ role: 'admin' }, 'role'], [{ role: 'viewer', scopes: undefined }, 'scopes'],
		[{ account: t.username }, null, { account: t.username }], [{ account: 'demo' }, 'account'], [{ account_id: 1 }, 'account_id'],
		[{ allowed_ips: ['127.0.0.1', '10.1.0.0/16'] }, null, { allowed_ips: ['127.0.0.1/32', '10.1.0.0/16'] }],
		[{ allowed_ips: [] }, 'allowed_ips'], [{ allowed_ips: ['0.0.0.0/0'] }, 'allowed_ips'], [{ allowed_ips: ['10.0.0.0/7'] }, 'allowed_ips'],
		[{ allowed_ips: ['10.0.0.0/8', '192.0.2.1'] }, 'allowed_ips'], [{ allowed_ips: ['::/0'] }, 'allowed_ips'], [{ allowed_ips: ['::ffff:192.0.2.1'] }, 'allowed_ips'],
		[{ rate_limit: 100 }, null, { rate_limit: 100 }], [{ rate_limit: 101 }, 'rate_limit'], [{ rateLimitRpm: 101 }, 'rateLimitRpm'], [{ action_limit: 6 }, 'action_limit'],
		[{ expires_at: inDays(29) }, null], [{ expires_at: inDays(31) }, 'expires_at'], [{ expires_at: null }, 'expires_at'], [{ expires_on: '2099-01-01' }, 'expires_on'],
	]);
	for (const fields of [{ owner: 'admin' }, { user_id: 1 }])
		assert.equal((await create(fields, minter.token)).status, 403);
	const star = await mint(s, { owner: t.user.username, scopes: ['*', 'tokens:write'], rate_limit: 30 });
	await tryAll(star, [
		[{}, null, { rate_limit: 30, action_limit: 10, allowed_ips: [] }], [{ scopes: ['tokens:write'] }, null], [{ scopes: ['domains:*'] }, null],
		[{ scopes: ['tokens:read'] }, 'scopes'], [{ scopes: ['roles:read'] }, 'scopes'], [{ scopes: ['users:admin'] }, 'scopes'],
	]);
});

test("an administrator's token that is bound to an account mints for that account, within its limits", async () => {
	const bound = await mint(s, { account: t.username, scopes: ['domains:*', 'tokens:write', 'users:*'], rate_limit: 50 });
	await tryAll(bound, [
		[{}, null, { account: t.username, rate_limit: 50 }], [{ scopes: ['users:*'] }, null, { account: t.username }],
		[{ account: 'demo' }, 'account'], [{ rate_limit: 51 }, 'rate_limit'], [{ action_limit: 11 }, 'action_limit'], [{ scopes: ['*'] }, 'scopes'], [{ scopes: ['roles:read'] }, 'scopes'],
	]);
	const child = await create({}, bound.token);
	assert.equal(s.sql(`SELECT u.username FROM postern.tokens k JOIN postern.users u ON u.id = k.user_id WHERE k.id = '${child.json.id}'`)[0].username, 'admin');
	assert.equal(await status(child.json.token), 200);
	assert.equal((await create({ owner: t.user.username }, bound.token)).status, 403);
});

test('an unbound administrator is free in limits and accounts, not in scopes, deny list, addresses and expiry', async () => {
	const some = await mint(s, { scopes: ['domains:*', 'tokens:write'], deny: ['domains:delete'], allowed_ips: ['127.0.0.0/8'], rate_limit: 10, expires_at: inDays(3) });
	await tryAll(some, [
		[{ rate_limit: 10000000, action_limit: 10000000 }, null], [{ account: 'demo' }, null, { account: 'demo' }],
		[{ owner: t.user.username }, null, { owner: t.user.username, account: t.username, deny: ['domains:delete'], allowed_ips: ['127.0.0.0/8'] }],
		[{ scopes: ['users:read'] }, 'scopes'], [{ scopes: ['*'] }, 'scopes'], [{ scopes: ['tokens:read'] }, 'scopes'],
		[{ allowed_ips: ['192.0.2.1'] }, 'allowed_ips'], [{ expires_at: null }, 'expires_at'],
	]);
});

test("a minter's role cap binds what it mints", async () => {
	const capped = await mint(s, { account: t.username, role: 'customer', scopes: ['domains:*', 'tokens:write'] });
	await tryAll(capped, [
		[{}, null, { role: 'customer' }], [{ role: 'viewer' }, null, { role: 'viewer' }], [{ role: 'customer' }, null, { role: 'customer' }], [{ role: 'admin' }, 'role'],
	]);
	const child = (await create({}, capped.token)).json;
	assert.equal(await status(child.token, '/api/v1/admin/domains'), 403);
});

test('nobody rotates a token that may do more than their own', async () => {
	const minter = await mint(s, { owner: t.user.username, scopes: ['domains:read', 'tokens:write'], expires_at: inDays(20), rate_limit: 50 });
	const within = { owner: t.user.username, scopes: ['domains:read'], expires_at: inDays(10), rate_limit: 50 };
	const rotate = async (fields) => (await ask('POST', `tokens/${(await mint(s, fields)).id}/rotate`, {}, minter.token)).status;
	assert.equal(await rotate(within), 200);
	for (const more of [{ scopes: ['domains:write'] }, { expires_at: inDays(30) }, { expires_at: null }, { rate_limit: 51 }, { action_limit: 11 }, { owner: undefined, account: t.username }])
		assert.equal(await rotate({ ...within, ...more }), 403, JSON.stringify(more));
	assert.equal(await rotate({ ...within, owner: undefined, role: 'customer', account: t.username }), 409); // capped to the same, yet an administrator's
});

test("the owner's present role and state count at every request", async () => {
	const u = s.tenant(), elsewhere = s.tenant();
	const token = (await mint(s, { owner: u.user.username, scopes: ['domains:read', 'domains:write'] })).token;
	const write = async () => (await ask('POST', 'domains', { domain: `${s.unique('w')}.example`, type: 'addon' }, token)).status;
	const change = async (target, body, method = 'PATCH') => assert.equal((await ask(method, target, body)).status, 200, target);
	assert.equal(await write(), 201);
	await change(`users/${u.user.id}`, { role: 'viewer' });
	assert.deepEqual([await write(), await status(token)], [403, 200]);
	await change(`users/${u.user.id}`, { role: 'customer' });
	assert.equal(await write(), 201);
	await change(`users/${u.user.id}/suspend`, undefined, 'POST');
	assert.equal(await status(token), 401);
	await change(`users/${u.user.id}/unsuspend`, undefined, 'POST');
	assert.equal(await status(token), 200);
	await change(`accounts/${u.account.id}/suspend`, undefined, 'POST');
	assert.equal(await status(token), 401);
	await change(`accounts/${u.account.id}/unsuspend`, undefined, 'POST');
	assert.equal(await status(token), 200);
	await change(`users/${u.user.id}`, { account: elsewhere.username });
	assert.equal(await status(token), 401);
	await change(`users/${u.user.id}`, { account: u.username });
	assert.equal(await status(token), 200);
	const role = await ask('POST', 'roles', { name: s.unique('r'), scopes: ['domains:read'] });
	await change(`users/${u.user.id}`, { role: role.json.name });
	assert.deepEqual([await write(), await status(token)], [403, 200]);
	await change(`roles/${role.json.id}`, { scopes: ['domains:write'] });
	assert.deepEqual([await write(), await status(token)], [201, 403]);
});

test('last_used_at and last_used_ip tell of requests that were let in, not of refused ones', async () => {
	const made = await mint(s, { owner: t.user.username, scopes: ['domains:read'] });
	const seen = async () => (await ask('GET', `tokens/${made.id}`)).json;
	assert.equal(await status(made.token, '/api/users'), 403);
	assert.deepEqual([(await seen()).last_used_at, (await seen()).last_used_ip], [null, null]);
	assert.equal(await status(made.token), 200);
	const used = await seen();
	assert.equal(used.last_used_ip, '127.0.0.1');
	assert.ok(used.last_used_at >= used.created_at);
	assert.equal(await status(made.token, '/api/users'), 403);
	assert.equal((await seen()).last_used_at, used.last_used_at);
});

// A tree: top minted a and b, a minted a1.
async function tree() {
	const fields = { scopes: ['domains:read', 'tokens:write'] };
	const top = await mint(s, { owner: t.user.username, ...fields });
	const a = await mint(s, fields, top.token), b = await mint(s, fields, top.token), a1 = await mint(s, fields, a.token);
	const alive = async () => (await Promise.all([top, a, b, a1].map((x) => status(x.token)))).map((code) => code === 200);
	assert.deepEqual(await alive(), [true, true, true, true]);
	return { top, a, b, a1, alive };
}

test('revoking takes what the token minted with it, unless descendants are to stay; it holds from the next request on', async () => {
	const all = await tree();
	const revoked = await ask('POST', `tokens/${all.a.id}/revoke`);
	assert.equal(revoked.status, 200);
	assert.equal(revoked.json.status, 'revoked');
	assert.ok(revoked.json.revoked_at);
	assert.deepEqual(await all.alive(), [true, false, true, false]);
	assert.equal((await ask('POST', `tokens/${all.top.id}/revoke`)).status, 200);
	assert.deepEqual(await all.alive(), [false, false, false, false]);
	const kept = await tree();
	assert.equal((await ask('POST', `tokens/${kept.top.id}/revoke`, { descendants: false })).status, 200);
	assert.deepEqual(await kept.alive(), [false, true, true, true]);
	assert.equal((await ask('POST', `tokens/${kept.a1.id}/revoke`, { descendants: 'no' })).status, 422);
	assert.equal((await ask('POST', `tokens/${kept.a.id}/revoke`, undefined, kept.a.token)).status, 200); // its own end
	assert.deepEqual(await kept.alive(), [false, false, true, false]);
});

test('several tokens are revoked at once; what is not there is named', async () => {
	const one = await tree(), other = s.tenant();
	const foreign = await mint(s, { owner: other.user.username, scopes: ['domains:read'] });
	const nowhere = randomUUID();
	const own = await mint(s, { owner: t.user.username, scopes: ['tokens:write'] });
	const answer = await ask('POST', 'tokens/revoke', { ids: [one.a.id, nowhere, foreign.id] }, own.token);
	assert.equal(answer.status, 200, answer.text);
	assert.deepEqual(answer.json.revoked, [one.a.id]);
	assert.deepEqual([...answer.json.not_found].sort(), [nowhere, foreign.id].sort());
	assert.deepEqual(await one.alive(), [true, false, true, false]);
	assert.equal(await status(foreign.token), 200);
	assert.deepEqual((await ask('POST', 'tokens/revoke', { ids: [one.top.id], descendants: false })).json, { revoked: [one.top.id], not_found: [] });
	assert.deepEqual(await one.alive(), [false, false, true, false]);
	for (const body of [{}, { ids: 'all' }, { ids: ['x'] }, { ids: [7] }, { ids: null }])
		assert.equal((await ask('POST', 'tokens/revoke', body)).status, 422, JSON.stringify(body));
});

test('DELETE takes revoked and expired tokens only; expired ones stay listed until then', async () => {
	const made = await mint(s, { owner: t.user.username, scopes: ['domains:read'] });
	const early = await ask('DELETE', `tokens/${made.id}`);
	assert.equal(early.status, 409);
	assert.match(early.json.error.message, /revoke/);
	assert.equal((await ask('POST', `tokens/${made.id}/revoke`)).status, 200);
	assert.equal((await ask('DELETE', `tokens/${made.id}`)).status, 204);
	assert.equal((await ask('GET', `tokens/${made.id}`)).status, 404);
	assert.equal(await status(made.token), 401);
	const old = await mint(s, { owner: t.user.username, scopes: ['domains:read'], expires_at: inDays(1) });
	clock.set('2 days');
	try {
		assert.equal(await status(old.token), 401);
		assert.equal((await ask('GET', `tokens?status=expired&search=${old.name}`)).json.data[0].id, old.id);
		assert.equal((await ask('DELETE', `tokens/${old.id}`)).status, 204);
	} finally {
		clock.set('0');
	}
	assert.equal((await ask('POST', 'tokens', { name: made.name, owner: t.user.username, scopes: ['domains:read'] })).status, 201); // its name is free again
});

test('status: active, expiring within 14 days, expired, revoked', async () => {
	const made = await mint(s, { owner: t.user.username, scopes: ['domains:read'], expires_at: inDays(20) });
	const now = async () => {
		const seen = (await ask('GET', `tokens/${made.id}`)).json.status;
		const listed = (await ask('GET', `tokens?id=${made.id}&status=${seen}`)).json.data;
		assert.equal(listed.length, 1);
		return [seen, await status(made.token)];
	};
	try {
		assert.deepEqual(await now(), ['active', 200]);
		clock.set('7 days');
		assert.deepEqual(await now(), ['expiring', 200]);
		clock.set('21 days');
		assert.deepEqual(await now(), ['expired', 401]);
		assert.equal((await ask('POST', `tokens/${made.id}/revoke`)).status, 200);
		assert.deepEqual(await now(), ['revoked', 401]);
	} finally {
		clock.set('0');
	}
});

test('rotation gives the same token a new value; the old one ends at once, or with its grace', async () => {
	const made = await mint(s, { owner: t.user.username, scopes: ['domains:read', 'tokens:write'] });
	const rotate = (body, by) => ask('POST', `tokens/${made.id}/rotate`, body, by);
	const keys = () => s.sql(`SELECT count(*)::int AS n FROM postern.keys WHERE token_id = '${made.id}'`)[0].n;
	const first = await rotate({});
	assert.equal(first.status, 200, first.text);
	assert.equal(first.headers.get('cache-control'), 'no-store');
	const { token, key_id, updated_at, ...rest } = first.json;
	assert.deepEqual({ ...rest, last_used_at: null, last_used_ip: null }, Object.fromEntries(Object.entries(made).filter(([k]) => !['token', 'key_id', 'updated_at'].includes(k))));
	assert.notEqual(key_id, made.key_id);
	assert.deepEqual([await status(made.token), await status(token), keys()], [401, 200, 1]);
	const second = (await rotate({ grace_s: 3600 }, token)).json; // by its own key
	assert.deepEqual([await status(token), await status(second.token), keys()], [200, 200, 2]);
	const left = async (value) => Number((await s.ask('/api/domains', { token: value })).headers.get('x-ratelimit-remaining'));
	const before = await left(token);
	assert.equal(await left(second.token), before - 1); // one rate count
	try {
		clock.set('3599 seconds');
		assert.deepEqual([await status(token), await status(second.token)], [200, 200]);
		clock.set('3602 seconds');
		assert.deepEqual([await status(token), await status(second.token)], [401, 200]);
	} finally {
		clock.set('0');
	}
	const third = (await rotate({ grace_s: 86400 })).json;
	assert.deepEqual([await status(token), await status(second.token), await status(third.token), keys()], [401, 200, 200, 2]); // two keys at most
	for (const grace_s of [-1, 86401, '60', 1.5, null])
		assert.equal((await rotate({ grace_s })).status, 422, String(grace_s));
	assert.equal((await ask('POST', `tokens/${made.id}/revoke`)).status, 200);
	assert.deepEqual([await status(second.token), await status(third.token)], [401, 401]);
	assert.equal((await rotate({})).status, 409);
});

test('of many at once that create one name, one succeeds', async () => {
	const name = s.unique('race');
	const codes = (await Promise.all(Array.from({ length: 12 }, () => create({ name })))).map((a) => a.status).sort();
	assert.deepEqual(codes, [201, ...Array(11).fill(409)]);
});

test('a well-formed id that is no token is a 404, another text too', async () => {
	for (const id of [randomUUID(), 'x', '1', '%00', '..%2f', 'a'.repeat(300)])
		for (const [method, more] of [['GET', ''], ['PATCH', ''], ['DELETE', ''], ['POST', '/revoke'], ['POST', '/rotate']]) {
			const answer = await ask(method, `tokens/${id}${more}`, method === 'PATCH' ? { name: 'x' } : undefined);
			assert.ok([404, 400, 405].includes(answer.status), `${method} ${id}: ${answer.status}`);
			assert.ok(answer.json.error);
		}
});

test('a pepper and the prefix can be replaced: older tokens keep working, new ones use the new', async () => {
	const old = await mint(s, { owner: t.user.username, scopes: ['domains:read'] });
	const file = path.join(s.dir, 'keys/pepper'), was = fs.readFileSync(file, 'utf8');
	fs.writeFileSync(file, `new1:${randomBytes(32).toString('hex')}\n${was}`);
	const again = spawnSync(path.join(root, 'scripts/stack'), ['start'], { env: { ...s.env, POSTERN_TOKEN_PREFIX: 'acme' }, encoding: 'utf8' });
	assert.equal(again.status, 0, again.stderr);
	await until(() => s.ask('/api/health').then((a) => a.status === 200, () => false), 'the web server has reloaded');
	const young = await mint(s, { owner: t.user.username, scopes: ['domains:read'] });
	assert.match(young.token, /^acme_/);
	assert.match(young.token, shape);
	assert.deepEqual([await status(old.token), await status(young.token)], [200, 200]);
	const peppers = s.sql(`SELECT key_id, pepper_id FROM postern.keys WHERE key_id IN ('${old.key_id}', '${young.key_id}')`);
	assert.equal(peppers.find((k) => k.key_id === young.key_id).pepper_id, 'new1');
	assert.notEqual(peppers.find((k) => k.key_id === old.key_id).pepper_id, 'new1');
	assert.equal(await status(young.token.replace('acme_', 'pst_')), 401); // the checksum covers the prefix
});

test('over the CLI all of it is possible', async () => {
	const made = s.cliJson(['token', 'create', '--name', 'by-cli', '--owner', t.user.username, '--scopes', 'domains:read']);
	assert.match(made.token, shape);
	assert.equal(s.cliJson(['token', 'rename', made.id, 'by-cli-2']).name, 'by-cli-2');
	const rotated = s.cliJson(['token', 'rotate', made.id, '--grace-s', '60']);
	assert.deepEqual([await status(made.token), await status(rotated.token)], [200, 200]);
	assert.notEqual(s.cli(['token', 'delete', made.id]).status, 0);
	assert.equal(s.cliJson(['token', 'revoke', made.id]).status, 'revoked');
	assert.deepEqual([await status(made.token), await status(rotated.token)], [401, 401]);
	assert.equal(s.cli(['token', 'delete', made.id]).status, 0);
	assert.equal(s.cli(['token', 'show', made.id]).status, 3);
});
