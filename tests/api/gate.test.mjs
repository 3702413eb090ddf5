// The gate: every operation of the route tables against every way of being refused, and let in by exactly its scope.
// Generated from the tables: a new route needs a line in `objects` and `bodies`, else the first test fails.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { broken, mint, shape, spread, stranger } from './credentials.mjs';
import { fcgi, socketOf } from './fastcgi.mjs';
import { startStack } from './harness.mjs';

const rank = { viewer: 1, customer: 2, admin: 3 };
let s, operations, mailed, unserved, uncertified, own, other, viewer, customer, stamp;

// How an object is made that an operation may work on, in the account `own`. Answers its id.
const made = async (resource, body) => {
	const answer = await s.ask(`/api/${resource}`, { method: 'POST', body });
	assert.equal(answer.status, 201, `${resource}: ${answer.text}`);
	return answer.json;
};
const domain = async () => (await made('domains', { domain: `${s.unique('d')}.example`, account: own.username, type: 'addon' })).domain;
const objects = {
	accounts: async (op) => (op.role === 'admin' ? (await made('accounts', { username: s.unique('acc') })).id : own.account.id),
	audit: async () => s.sql(`SELECT id FROM postern.audit WHERE account_id = ${own.account.id} LIMIT 1`)[0].id,
	backups: async () => s.psql(`INSERT INTO postern.backups (account_id, kind, status, parts) -- posternd's part
		VALUES (${own.account.id}, 'files', 'active', '[{"part": "files"}]') RETURNING id`),
	cron: async () => (await made('cron', { schedule: '@daily', command: 'true', account: own.username })).id,
	databases: async (op) => (await made('databases', { name: op.operation_id, engine: 'postgresql', account: own.username })).id,
	domains: async (op) => {
		const { id, domain: name } = await made('domains', { domain: `${s.unique('d')}.example`, account: own.username, type: 'addon' });
		if (['proveDomain', 'confirmDomain'].includes(op.operation_id)) // of which there is something to prove
			s.psql(`UPDATE postern.domains SET status = 'unproven', proof = 'none', proven_at = NULL WHERE id = ${id};
				DELETE FROM postern.domain_names WHERE domain = '${name}'`);
		return id;
	},
	events: async () => {
		// of what events:read alone reads
		const id = s.psql(`INSERT INTO postern.events (account_id, type, resource) VALUES (${own.account.id}, 'event.tried', 'event') RETURNING id`);
		s.psql('SELECT work.sequence(10000)'); // posternd's part
		return id;
	},
	forwarders: async () => (await made('forwarders', { address: `${s.unique('f')}@${await domain()}`, destinations: ['a@example.net'] })).id,
	jobs: async (op) => {
		const { job_id: job } = await made('accounts', { username: s.unique('acc') });
		s.psql(`UPDATE postern.jobs SET account_id = ${own.account.id}, operation = NULL, status = '${op.operation_id === 'retryJob' ? 'failed' : 'queued'}', by_tenant = true WHERE id = '${job}'`);
		return job;
	},
	mailboxes: async () => (await made('mailboxes', { address: `${s.unique('m')}@${await domain()}`, password: 'correct horse' })).id,
	services: async () => s.psql(`INSERT INTO postern.services (kind, name, state) VALUES ('system', '${s.unique('svc')}', 'active') RETURNING id`), // posternd's part
	plugins: async (op) => s.psql(`INSERT INTO postern.plugins (name, plugin_version, status, enabled, enabled_at, actions, kinds) -- posternd's part
		VALUES ('${s.unique('plug')}', '1', 'active', ${op.operation_id === 'runPlugin'}, now(), '{"x.go": {}}', '{${s.unique('x')}.go}') RETURNING id`),
	roles: async (op) => (await made('roles', { name: s.unique('role'), scopes: [op.scope] })).id,
	scopes: () => 'domains:read',
	settings: () => 'job_days',
	ssl: async () => {
		const { id } = await made('ssl', { domain: await domain() });
		s.psql(`UPDATE postern.jobs SET status = 'succeeded' WHERE resource = 'ssl' AND object_id = '${id}'`); // posternd's part
		return id;
	},
	tokens: async (op) => (await mint(s, { owner: own.user.username, scopes: [op.scope], expires_at: stamp })).id,
	websites: async () => (await made('websites', { domain: await domain() })).id,
	usage: async () => own.account.id,
	users: async (op) => (await made('users', { username: s.unique('u'), account: own.username, role: await within(op) })).id,
};
// A role that a token with the operation's scope alone may give.
const within = async (op) => (await made('roles', { name: s.unique('role'), scopes: [op.scope] })).name;
// What must have been done to the object before.
const state = {
	enableCronJob: 'disable',
	unsuspendAccount: 'suspend', unsuspendDatabase: 'suspend', unsuspendDomain: 'suspend', unsuspendForwarder: 'suspend', unsuspendMailbox: 'suspend', unsuspendUser: 'suspend',
	unsuspendWebsite: 'suspend',
	deleteToken: 'revoke',
};
const bodies = {
	createAccount: () => ({ username: s.unique('new') }), changeAccount: () => ({ name: 'Renamed' }), replaceAccount: () => ({ name: 'Replaced' }),
	createBackup: () => ({ kind: 'files' }), restoreBackup: () => ({ what: 'files' }),
	createCronJob: () => ({ schedule: '@daily', command: 'true' }), changeCronJob: () => ({ name: 'changed' }),
	createDatabase: () => ({ name: s.unique('n'), engine: 'postgresql' }), changeDatabase: () => ({ charset: 'UTF8' }),
	deleteAccount: (op, id) => ({ confirm: s.psql(`SELECT username FROM postern.accounts WHERE id = ${id}`) }), deleteMailbox: (op, id) => ({ confirm: s.psql(`SELECT address FROM postern.mailboxes WHERE id = ${id}`) }),
	deleteBackup: (op, id) => ({ confirm: String(id) }), deleteDatabase: () => ({ confirm: `${own.username}_deleteDatabase` }), rotateDatabasePassword: () => ({ password: 'correct horse' }),
	createDomain: () => ({ domain: `${s.unique('n')}.example`, type: 'addon' }), changeDomain: () => ({ mail_enabled: false }),
	replaceDomain: () => ({ type: 'addon', mail_enabled: false }),
	createForwarder: () => ({ address: `${s.unique('f')}@${mailed}`, destinations: ['b@example.net'] }), changeForwarder: () => ({ destinations: ['c@example.net'] }),
	replaceForwarder: () => ({ destinations: ['d@example.net'] }),
	createMailbox: () => ({ address: `${s.unique('m')}@${mailed}`, password: 'correct horse' }), changeMailbox: () => ({ quota_mb: 10 }),
	createCertificate: () => ({ domain: uncertified, names: [`www.${uncertified}`] }), changeCertificate: () => ({ auto_renew: false }),
	createWebsite: () => ({ domain: unserved }), changeWebsite: () => ({ https_redirect: true }), replaceWebsite: () => ({ runtime: 'static' }),
	explainRequest: () => ({ method: 'GET', path: '/api/v1/me' }),
	createPlugin: () => ({ name: s.unique('plug') }), replacePlugin: () => ({ settings: {} }), changePlugin: () => ({ settings: {} }), runPlugin: () => ({ action: 'x.go' }),
	createRole: (op) => ({ name: s.unique('role'), scopes: [op.scope] }), changeRole: () => ({ description: 'changed' }),
	replaceRole: (op) => ({ scopes: [op.scope], description: 'replaced' }),
	createToken: (op) => ({ name: s.unique('new'), scopes: [op.scope] }), changeToken: () => ({ name: s.unique('renamed') }),
	revokeTokens: () => ({ ids: [randomUUID()] }), rotateToken: () => ({ grace_s: 0 }),
	setSettings: () => ({ event_days: 20, job_days: 80 }), putSettings: () => ({ event_days: null }), changeSettings: () => ({ event_days: 21 }),
	replaceSetting: () => ({ value: 60 }), changeSetting: () => ({ value: '61' }),
	createUser: async (op) => ({ username: s.unique('nu'), role: await within(op) }), changeUser: () => ({ email: 'a@example.org' }), replaceUser: () => ({ email: 'b@example.org', account: own.username }),
};
const bodiless = ['Account', 'Database', 'Domain', 'Forwarder', 'Mailbox', 'User', 'Website'].flatMap((one) => [`suspend${one}`, `unsuspend${one}`])
	.concat('cancelJob', 'checkPlugin', 'confirmDomain', 'disablePlugin', 'enablePlugin', 'disableCronJob', 'enableCronJob', 'mendAccount', 'proveDomain', 'runCronJob', 'reloadService', 'renewCertificate', 'resetSetting', 'restartService', 'retryJob', 'revokeToken', 'startService', 'stopService', 'verifyBackup');

// A path such as ".json" exists in the bare spelling only.
const bare = (op) => op.path.startsWith('.');
const at = (op, id = op.object) => `${bare(op) ? '/api' : '/api/v1'}/${op.resource}${op.path.replace('{id}', id)}`;

// One request of an operation, under a request id of its own.
async function perform(op, { prefix, token, raw, id = op.object } = {}) {
	const target = prefix ? `${prefix}/${op.resource}${op.path.replace('{id}', id)}` : at(op, id);
	const request = randomUUID();
	const headers = { 'X-Request-Id': request };
	const answer = raw
		? await fcgi(socketOf(s, op.resource), { path: target, method: op.method, token, headers, body: op.body ?? '', ...raw })
		: await s.ask(target, { method: op.method, token, headers, body: op.body });
	return { ...answer, op, request, target };
}

function trail(answers) {
	const rows = s.sql(`SELECT request_id, account_id, actor, token_id, resource || '.' || verb AS action, method, path, status, outcome, reason,
		host(ip) AS ip, count FROM postern.audit WHERE request_id = ANY ('{${answers.map((a) => a.request).join(',')}}')`);
	return (answer) => rows.filter((row) => row.request_id === answer.request);
}

// All that a request could have changed, but for the trail and the counts.
const fingerprint = () => s.sql(['accounts', 'users', 'roles', 'tokens', 'keys', 'domains', 'domain_names', 'certificates', 'mailboxes', 'forwarders', 'databases', 'database_names', 'backups', 'cron', 'usage', 'services', 'events', 'jobs', 'kept_answers', 'settings', 'settings_head', 'plugins']
	.map((t) => `SELECT '${t}' AS t, count(*), md5(string_agg(x::text, ';' ORDER BY x::text)) FROM postern.${t} x`).join(' UNION ALL '));

before(async () => {
	s = await startStack('gate', { POSTERN_DATABASES_POSTGRESQL_DSN: 'host=/nowhere dbname=postgres', POSTERN_UNKNOWN_TOKEN_LIMIT: '100000' });
	stamp = new Date(Date.now() + 30 * 86400e3).toISOString();
	operations = s.routes().flatMap((r) => r.routes.map((route) => ({ ...route, resource: r.name, one: r.one })));
	own = s.tenant();
	other = s.tenant();
	viewer = s.cliJson(['user', 'create', '--username', s.unique('v'), '--account', own.username, '--role', 'viewer']);
	customer = own.user;
	s.token = s.mint({ name: 'matrix' }).token;
	mailed = await domain();
	unserved = await domain();
	uncertified = await domain();
	await s.ask('/api/domains', { token: (await mint(s, { owner: customer.username, scopes: ['domains:read'] })).token }); // a row to read
	const tenant = (await mint(s, { owner: customer.username, scopes: ['*', 'tokens:write'], rate_limit: 1000 })).token; // what it suspends, a tenant puts back
	await spread(operations.map((op) => async () => {
		if (op.path.includes('{id}'))
			op.object = await objects[op.resource](op);
		op.body = await bodies[op.operation_id]?.(op, op.object);
		if (!op.path.includes('{id}'))
			return;
		if (state[op.operation_id])
			assert.equal((await s.ask(`/api/${op.resource}/${op.object}/${state[op.operation_id]}`,
				{ method: 'POST', token: op.role === 'admin' ? s.token : tenant })).status, 200);
	}), 1);
});
after(() => s?.stop());

test('every operation of the route tables has its row in the matrix', () => {
	assert.ok(operations.length >= 40);
	for (const op of operations) {
		if (op.path.includes('{id}'))
			assert.ok(objects[op.resource], `objects.${op.resource} is missing`);
		if (['POST', 'PUT', 'PATCH'].includes(op.method))
			assert.ok(bodies[op.operation_id] || bodiless.includes(op.operation_id), `bodies.${op.operation_id} is missing`);
		assert.match(op.scope, /^([a-z_-]+:[a-z-]+|-)$/);
		assert.match(op.audit, /^[a-z_]+\.[a-z_]+$/);
	}
});

// Those that answer no token as they answer nobody are in callers.test.mjs.
const closed = () => operations.filter((op) => !op.flags.includes('open_too'));
// A scope to make a token with, where the operation takes none.
const some = (op) => (op.scope === '-' ? 'jobs:read' : op.scope);

test('without a token every operation answers 401 with a bare challenge, but for the few that are open to all', async () => {
	const data = fingerprint();
	const answers = await spread(operations.map((op) => () => perform(op, { token: null })));
	for (const a of answers) {
		if (a.op.flags.includes('open_too')) {
			assert.equal(a.status, 200);
			if (a.op.resource === 'health')
				assert.deepEqual(a.json, { status: 'ok' });
			else
				assert.equal(a.op.resource, 'openapi');
			continue;
		}
		assert.equal(a.status, 401, a.target);
		assert.equal(a.headers.get('www-authenticate'), 'Bearer realm="postern"', a.target);
		assert.equal(a.json.error.code, 'unauthorized');
		assert.equal(a.headers.get('x-request-id'), a.request);
		assert.equal(a.headers.get('cache-control'), 'no-store');
		assert.equal(a.headers.get('x-ratelimit-limit'), null);
	}
	const rows = trail(answers);
	assert.deepEqual(answers.flatMap(rows), []);
	assert.deepEqual(fingerprint(), data);
});

test('a broken checksum, an unknown token and a wrong secret are one and the same 401, without a row each', async () => {
	const data = fingerprint();
	const known = await mint(s, { owner: customer.username, scopes: ['domains:read'] });
	const all = [];
	const before = fingerprint();
	for (const token of [broken(known.token), stranger(), stranger(known.key_id)])
		all.push(await spread(closed().map((op) => () => perform(op, { token }))));
	const body = (a) => JSON.stringify(a.json).replaceAll(a.request, '').replace(/"timestamp":"[^"]*"/, '');
	for (const i of closed().keys()) {
		const [first, ...rest] = all.map((answers) => answers[i]);
		assert.equal(first.status, 401, first.target);
		assert.equal(first.headers.get('www-authenticate'), 'Bearer realm="postern", error="invalid_token"');
		for (const a of rest) {
			assert.equal(a.status, 401, a.target);
			assert.equal(a.headers.get('www-authenticate'), first.headers.get('www-authenticate'));
			assert.equal(body(a), body(first));
			assert.deepEqual([...a.headers.keys()], [...first.headers.keys()]);
		}
	}
	const answers = all.flat(), rows = trail(answers);
	assert.deepEqual(answers.flatMap(rows), []);
	assert.deepEqual(fingerprint(), before);
	assert.notDeepEqual(before, data); // the fingerprint sees a change
});

// Each condition: a token's fields for an operation (null: does not apply), what befalls it, and the refusal that is due.
const fitting = (op) => (op.role === 'admin' ? { owner: 'admin' } : { owner: (op.role === 'viewer' ? viewer : customer).username });
const own_scope = (op) => ({ scopes: [some(op)] });
const conditions = [
	{ reason: 'revoked', status: 401, token: (op) => ({ ...fitting(op), ...own_scope(op) }),
		then: (ids) => `UPDATE postern.tokens SET revoked_at = now() WHERE id = ANY (${ids})` },
	{ reason: 'expired', status: 401, token: (op) => ({ ...fitting(op), ...own_scope(op) }),
		then: (ids) => `UPDATE postern.tokens SET expires_at = now() WHERE id = ANY (${ids})` },
	{ reason: 'owner_suspended', status: 401, tenant: true, token: (op, t) => ({ owner: t.user.username, ...own_scope(op) }),
		then: (ids, t) => `UPDATE postern.users SET status = 'suspended' WHERE id = ${t.user.id}` },
	{ reason: 'account_suspended', status: 401, tenant: true, token: (op, t) => ({ owner: t.user.username, ...own_scope(op) }),
		then: (ids, t) => `UPDATE postern.accounts SET status = 'suspended' WHERE id = ${t.account.id}` },
	{ reason: 'owner_moved', status: 401, tenant: true, token: (op, t) => ({ owner: t.user.username, ...own_scope(op) }),
		then: (ids, t) => `UPDATE postern.users SET account_id = ${other.account.id} WHERE id = ${t.user.id}` },
	{ reason: 'insecure', status: 403, ip: '192.0.2.1', raw: { address: '192.0.2.1' }, token: (op) => ({ ...fitting(op), ...own_scope(op) }) },
	{ reason: 'address', status: 403, token: (op) => ({ ...fitting(op), ...own_scope(op), allowed_ips: ['198.51.100.0/24', '2001:db8::/32'] }) },
	{ reason: 'admin_path', status: 403, prefix: '/api/v1/admin', token: (op) => (bare(op) ? null : { owner: customer.username, ...own_scope(op) }) },
	{ reason: 'role', status: 403, token: (op) => (op.role === 'viewer' ? null
		: { owner: (op.role === 'admin' ? customer : viewer).username, ...own_scope(op) }) },
	{ reason: 'role', name: 'a role cap below the operation', status: 403, token: (op) => (op.role === 'viewer' ? null
		: { owner: 'admin', role: op.role === 'admin' ? 'customer' : 'viewer', account: own.username, ...own_scope(op) }) },
	{ reason: 'bound', status: 403, token: (op) => (op.role === 'admin' ? { owner: 'admin', account: own.username, ...own_scope(op) } : null) },
	{ reason: 'scope', status: 403, held: true, token: (op) => (op.scope === '-' ? null : { ...fitting(op), scopes: [op.scope === 'profile:read' ? 'domains:read' : 'profile:read'] }) },
	{ reason: 'denied', status: 403, token: (op) => (op.scope === '-' ? null : { ...fitting(op), ...own_scope(op), deny: [op.scope] }) },
	{ reason: 'denied', name: 'a wildcard in the deny list', status: 403,
		token: (op) => (op.scope === '-' ? null : { ...fitting(op), ...own_scope(op), deny: [`${op.scope.split(':')[0]}:*`] }) },
	{ reason: 'rate_limit', status: 429, spend: true, token: (op) => ({ ...fitting(op), scopes: [some(op), 'profile:read'], rate_limit: 1 }) },
];

for (const c of conditions)
	test(`every operation refuses: ${c.name ?? c.reason}`, async () => {
		const tenant = c.tenant ? s.tenant() : null;
		const tried = closed().filter((op) => c.token(op, tenant));
		const tokens = await spread(tried.map((op) => () => mint(s, { rate_limit: 1000, ...c.token(op, tenant) })), 8);
		const ids = `'{${tokens.map((t) => t.id).join(',')}}'::uuid[]`;
		if (c.then)
			s.psql(c.then(ids, tenant));
		if (c.spend)
			for (const t of tokens)
				assert.equal((await s.ask('/api/me', { token: t.token })).status, 200);
		const data = fingerprint();
		const answers = await spread(tried.map((op, i) => () => perform(op, { token: tokens[i].token, prefix: c.prefix, raw: c.raw })));
		const rows = trail(answers);
		for (const [i, a] of answers.entries()) {
			const scope = a.op.scope === '-' ? '' : a.op.scope;
			assert.equal(a.status, c.status, `${a.op.operation_id}: ${a.text}`);
			assert.equal(a.json.success, bare(a.op) ? undefined : false);
			assert.equal(a.json.data, undefined);
			assert.equal(a.headers.get('x-accepted-scopes'), scope);
			assert.ok(a.headers.get('x-ratelimit-limit') && a.headers.get('x-ratelimit-remaining') && a.headers.get('ratelimit'));
			if (c.status === 401)
				assert.equal(a.headers.get('www-authenticate'), 'Bearer realm="postern", error="invalid_token"');
			if (c.status === 403) {
				assert.match(a.json.error.details, new RegExp(`refused by: ${c.reason}; needed: ${scope || 'no scope'}; held: ${tokens[i].scopes.join(', ')}`));
				if (c.reason === 'scope')
					assert.equal(a.headers.get('www-authenticate'), `Bearer realm="postern", error="insufficient_scope", scope="${scope}"`);
			}
			if (c.status === 429) {
				const wait = Number(a.headers.get('retry-after'));
				assert.ok(wait >= 1 && wait <= 61, a.headers.get('retry-after'));
				assert.equal(a.headers.get('x-ratelimit-limit'), '1');
				assert.equal(a.headers.get('x-ratelimit-remaining'), '0');
			}
			assert.deepEqual(rows(a).map(({ account_id, ...row }) => row), [{
				request_id: a.request, actor: 'token', token_id: tokens[i].id, action: a.op.audit, method: a.op.method, path: a.target,
				status: c.status, outcome: 'denied', reason: c.reason, ip: c.ip ?? '127.0.0.1', count: 1,
			}], a.op.operation_id);
			assert.ok(!a.text.includes(tokens[i].token));
		}
		assert.deepEqual(fingerprint(), data);
		const used = s.sql(`SELECT coalesce(sum(used), 0)::int AS n FROM postern.rates WHERE token_id = ANY (${ids})`)[0].n;
		assert.equal(used, c.spend ? tried.length : 0); // a refused request uses nothing up
	});

test("another account's object is answered as one that does not exist, with a row in the asker's account", async () => {
	const tried = operations.filter((op) => op.object && op.role !== 'admin' && op.scope !== '-');
	assert.ok(tried.length >= 10);
	const tokens = await spread(tried.map((op) => () => mint(s, { owner: other.user.username, ...own_scope(op) })), 8);
	const data = fingerprint();
	const absent = (op) => (['tokens'].includes(op.resource) ? randomUUID() : '999999999');
	const answers = await spread(tried.map((op, i) => () => perform(op, { token: tokens[i].token })));
	const missing = await spread(tried.map((op, i) => () => perform(op, { token: tokens[i].token, id: absent(op) })));
	const rows = trail(answers);
	for (const [i, a] of answers.entries()) {
		assert.equal(a.status, 404, `${a.op.operation_id}: ${a.text}`);
		assert.equal(missing[i].status, 404, missing[i].text);
		assert.deepEqual(a.json.error, missing[i].json.error);
		assert.deepEqual(rows(a).map((r) => [r.account_id, r.action, r.status, r.outcome]), [[other.account.id, a.op.audit, 404, 'failed']]);
	}
	assert.deepEqual(fingerprint(), data);
});

test('HEAD answers as GET does, without a body', async () => {
	for (const op of operations.filter((o) => o.method === 'GET')) {
		const target = at(op);
		// Apache finds out as it sends a body that it compresses it: a HEAD says nothing of that (RFC 9110, 9.3.2)
		const headers = { 'Accept-Encoding': 'identity' };
		const get = await s.ask(target, { headers }), head = await s.ask(target, { method: 'HEAD', headers });
		assert.equal(head.status, 200, target);
		assert.equal(head.text, '');
		assert.deepEqual([...head.headers.keys()].filter((k) => !['content-length', 'connection', 'keep-alive'].includes(k)),
			[...get.headers.keys()].filter((k) => !['content-length', 'connection', 'keep-alive', 'transfer-encoding'].includes(k)));
		if (!['audit', 'health', 'me'].includes(op.resource) && op.path)
			assert.equal(head.headers.get('etag'), get.headers.get('etag'), target);
		const refused = await s.ask(target, { method: 'HEAD', token: stranger() });
		assert.equal(refused.status, op.flags.includes('open_too') ? 200 : 401);
	}
});

test('OPTIONS answers 204 with the methods of the path, without a token and without a row; other methods get 405', async () => {
	const paths = new Map();
	for (const op of operations) {
		const target = at(op, op.resource === 'tokens' ? '00000000-0000-4000-8000-000000000000' : '1');
		paths.set(target, [...(paths.get(target) ?? []), ...(op.method === 'GET' ? ['GET', 'HEAD'] : [op.method])]);
	}
	const count = () => s.sql('SELECT count(*) FROM postern.audit')[0].count;
	const rows = count();
	for (const [target, methods] of paths) {
		const allow = [...methods, 'OPTIONS'].sort();
		const options = await s.ask(target, { method: 'OPTIONS', token: null });
		assert.equal(options.status, 204, target);
		assert.equal(options.text, '');
		assert.deepEqual(options.headers.get('allow').split(', ').sort(), allow, target);
		for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'PROPFIND'].filter((m) => !methods.includes(m))) {
			const wrong = await s.ask(target, { method, token: null });
			assert.equal(wrong.status, 405, `${method} ${target}`);
			assert.deepEqual(wrong.headers.get('allow').split(', ').sort(), allow);
			assert.equal(wrong.json.error.code, 'method_not_allowed');
		}
	}
	assert.equal(count(), rows);
});

test('the checks come in their order: route, method, token, address, scope, rate limit, body, data', async () => {
	const ask = (fields) => async (target, options) => s.ask(target, { ...options, token: (await mint(s, { owner: customer.username, ...fields })).token });
	const bad = { method: 'POST', body: '{"broken"' };
	assert.equal((await s.ask('/api/v1/domains/1/nothing', { token: stranger(), method: 'PATCH' })).status, 404);
	assert.equal((await s.ask('/api/v1/domains', { token: stranger(), method: 'DELETE' })).status, 405);
	assert.equal((await s.ask('/api/v1/domains', { token: stranger(), ...bad })).status, 401);
	const elsewhere = await ask({ scopes: ['profile:read'], allowed_ips: ['198.51.100.1'] })('/api/v1/domains', bad);
	assert.match(elsewhere.json.error.details, /refused by: address/);
	const narrow = await mint(s, { owner: customer.username, scopes: ['profile:read'], rate_limit: 1 });
	assert.equal((await s.ask('/api/v1/me', { token: narrow.token })).status, 200);
	assert.equal((await s.ask('/api/v1/domains', { token: narrow.token, ...bad })).status, 403);
	const spent = await mint(s, { owner: customer.username, scopes: ['domains:*'], rate_limit: 1 });
	assert.equal((await s.ask('/api/v1/domains?frobnicate=1', { token: spent.token })).status, 400); // it counts: the gate let it in
	assert.equal((await s.ask('/api/v1/domains?frobnicate=1', { token: spent.token })).status, 429);
	assert.equal((await s.ask('/api/v1/domains', { token: spent.token, ...bad })).status, 429);
	assert.equal((await ask({ scopes: ['domains:write'] })('/api/v1/domains/999999999', { ...bad, method: 'PATCH' })).status, 400);
	assert.equal((await ask({ scopes: ['domains:write'] })('/api/v1/domains/999999999', { method: 'PATCH', body: { domian: 'x' } })).status, 422);
	assert.equal((await ask({ scopes: ['domains:write'] })('/api/v1/domains/999999999', { method: 'PATCH', body: {} })).status, 404);
});

test('a broken checksum is refused without a query: also while PostgreSQL is down, when well-formed tokens get 503', async () => {
	await s.pgctl('stop', '-m', 'fast');
	try {
		for (const { resource, method, body } of operations.filter((op, i) => op.resource !== operations[i - 1]?.resource)) {
			const shut = await s.ask(`/api/v1/${resource}`, { token: broken(s.token), method, body });
			assert.equal(shut.status, resource === 'health' ? 503 : 401, resource); // as it answers nobody
			const asked = await s.ask(`/api/v1/${resource}`, { method, body });
			assert.equal(asked.status, 503, resource);
			assert.ok(Number(asked.headers.get('retry-after')) >= 1);
			assert.equal(asked.json.error.code, 'unavailable');
		}
	} finally {
		await s.pgctl('start');
	}
	assert.equal((await s.ask('/api/v1/domains')).status, 200);
});

// A request with headers that fetch() would merge.
function rawAsk(target, headers) {
	return new Promise((resolve, reject) => {
		const request = http.request(s.url + target, { headers }, (response) => {
			const parts = [];
			response.on('data', (d) => parts.push(d));
			response.on('end', () => resolve({ status: response.statusCode, text: Buffer.concat(parts).toString() }));
		});
		request.on('error', reject);
		request.end();
	});
}

test('two different tokens at once are a 400, whichever way they come', async () => {
	const bearer = { Authorization: `Bearer ${s.token}` };
	const two = [
		{ ...bearer, 'X-API-Key': stranger() },
		{ Authorization: `Bearer ${s.token}, Bearer ${stranger()}` },
		{ Authorization: `Bearer ${s.token},${stranger()}` },
		{ 'X-API-Key': `${s.token}, ${stranger()}` },
		{ 'X-API-Key': [s.token, stranger()] },
		{ 'X-API-Key': [stranger(), s.token] },
	];
	for (const headers of two) {
		const answer = await rawAsk('/api/v1/domains', headers);
		assert.equal(answer.status, 400, `${JSON.stringify(Object.keys(headers))}: ${answer.text}`);
		assert.ok(!answer.text.includes(s.token));
	}
	const twice = await rawAsk('/api/v1/domains', { Authorization: [`Bearer ${s.token}`, `Bearer ${stranger()}`] });
	assert.equal(twice.status, 400);
});

test('X-API-Key is read as Authorization; Basic credentials for the web server are no token', async () => {
	const basic = `Basic ${Buffer.from('web:server').toString('base64')}`;
	assert.equal((await s.ask('/api/v1/domains', { token: null, headers: { 'X-API-Key': s.token } })).status, 200);
	assert.equal((await s.ask('/api/v1/domains', { token: null, headers: { 'X-API-Key': s.token, Authorization: basic } })).status, 200);
	assert.equal((await s.ask('/api/v1/domains', { token: null, headers: { Authorization: `bearer  ${s.token}` } })).status, 200);
	const alone = await s.ask('/api/v1/domains', { token: null, headers: { Authorization: basic } });
	assert.equal(alone.status, 401);
	assert.equal(alone.headers.get('www-authenticate'), 'Bearer realm="postern"');
	for (const text of ['Bearer', 'Bearer ', `Bearer ${s.token} x`, `Bearer x${s.token}`, `Token ${s.token}`, s.token, `Bearer ${s.token.toUpperCase()}`])
		assert.equal((await s.ask('/api/v1/domains', { token: null, headers: { Authorization: text } })).status, 401, text);
});

// Every file below the stack's folder (PostgreSQL's own and sources of the token left out) that holds the text.
function filesWith(text) {
	const found = [];
	const walk = (dir) => {
		for (const entry of fs.readdirSync(dir, { withFileTypes: true })) {
			const at = path.join(dir, entry.name);
			if (entry.isDirectory())
				walk(at);
			else if (entry.isFile() && fs.readFileSync(at).includes(text))
				found.push(path.relative(s.dir, at));
		}
	};
	walk(s.dir);
	return found;
}

test('a token in a URL is refused and stays out of logs, trail, data and answers', async () => {
	const secret = await mint(s, { owner: customer.username, scopes: ['domains:read'] });
	assert.match(secret.token, shape);
	const t = secret.token;
	const answers = [];
	for (const name of ['token', 'access_token', 'api_key', 'search', 'domain', 'page'])
		answers.push(await s.ask(`/api/v1/domains?${name}=${t}`, { token: null }));
	for (const a of answers)
		assert.equal(a.status, 401);
	for (const name of ['token', 'access_token', 'api_key', 'per_page', 'sort', 'order', 'cursor', 'status', t])
		answers.push(await s.ask(`/api/v1/domains?${name}=${t}`));
	for (const a of answers.slice(6))
		assert.equal(a.status, 400, a.text);
	answers.push(await s.ask(`/api/v1/domains/${t}`), await s.ask(`/api/v1/${t}`), await s.ask(`/api/${t}/domains`));
	const odd = await fcgi(socketOf(s, 'domains'), { path: '/api/v1/domains', token: s.token, headers: { 'User-Agent': `curl ${t}`, 'X-Request-Id': t, Accept: t } });
	assert.equal(odd.status, 406);
	answers.push(odd);
	answers.push(await s.ask('/api/v1/domains', { method: 'POST', body: { domain: t, [t]: 1 } }));
	answers.push(await s.ask('/api/v1/domains', { method: 'POST', body: `{"${t}": ${t}}` }));
	for (const a of answers)
		assert.ok(!a.text.includes(t) && ![...a.headers.values()].some((v) => v.includes(t)), a.text);
	const rest = t.slice(t.lastIndexOf('_') + 1);
	const tables = s.sql(`SELECT format('%I.%I', schemaname, tablename) AS t FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')`);
	for (const { t: table } of tables)
		assert.equal(s.sql(`SELECT count(*)::int AS n FROM ${table} x WHERE x::text LIKE '%${rest}%'`)[0].n, 0, table);
	assert.deepEqual(filesWith(rest).filter((f) => !f.startsWith('pg/data/')), []);
});

test('every operation works for a token that holds exactly its scope, and leaves its one row', async () => {
	const answers = [];
	for (const op of operations) {
		const holder = await mint(s, { ...fitting(op), ...own_scope(op) });
		const a = await perform(op, { token: holder.token });
		// what a job does is accepted: the job is in the answer
		const due = op.flags.includes('job') || a.headers.get('location')?.includes('/jobs/') ? 202 : op.method === 'DELETE' ? 204 : op.does === 'create' ? 201 : 200;
		assert.equal(a.status, due, `${op.operation_id}: ${a.text}`);
		assert.equal(a.headers.get('x-accepted-scopes'), op.scope === '-' ? '' : op.scope);
		assert.equal(a.headers.get('x-ratelimit-limit'), op.bucket === 'action' ? '10' : '60', 'of the bucket that decided');
		assert.equal(a.headers.get('x-ratelimit-remaining'), op.bucket === 'action' ? '9' : '59');
		assert.equal(a.headers.get('cache-control'), op.method === 'GET' ? 'private, no-cache' : 'no-store');
		answers.push({ ...a, holder });
	}
	const rows = trail(answers);
	for (const a of answers)
		assert.deepEqual(rows(a).map((r) => [r.token_id, r.action, r.method, r.path, r.status, r.outcome, r.reason]),
			[[a.holder.id, a.op.audit, a.op.method, a.target, a.status, 'allowed', null]], a.op.operation_id);
});
