// What explain and me say is what the gate does: every route of the tables, several tokens, asked and tried.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { mint, spread } from './credentials.mjs';
import { startStack } from './harness.mjs';

let s, operations, tenant, viewer, admin;
const bare = (op) => op.path.startsWith('.');
const at = (op, prefix = '/api/v1') => `${bare(op) ? '/api' : prefix}/${op.resource}${op.path.replace('{id}', '999999999')}`;
const explain = async (body, token = admin) => {
	const answer = await s.ask('/api/explain', { method: 'POST', body, token });
	assert.equal(answer.status, 200, `${JSON.stringify(body)}: ${answer.text}`);
	return answer.json;
};
// The real thing, without an effect.
const attempt = (method, target, token) => s.ask(`${target}${method === 'GET' ? '' : `${target.includes('?') ? '&' : '?'}dry_run=true`}`, { method, token });
const api = async (target, body) => {
	const answer = await s.ask(`/api/${target}`, { method: 'POST', body, token: admin });
	assert.ok(answer.status < 300, answer.text);
	return answer.json;
};

before(async () => {
	s = await startStack('explain');
	operations = s.routes().flatMap((r) => r.routes.map((route) => ({ ...route, resource: r.name, alias: r.alias })));
	tenant = s.tenant();
	viewer = s.cliJson(['user', 'create', '--username', s.unique('v'), '--account', tenant.username, '--role', 'viewer']);
	admin = s.mint({ scopes: ['*'] }).token;
});
after(() => s?.stop());

// An allowed request gets past the gate, whatever its data make of it; another one gets the verdict's status, code and words.
function same(told, done, what) {
	if (told.allowed)
		assert.ok(![401, 403, 405, 429].includes(done.status) && !/no such path/.test(done.text), `${what} is let in: ${done.status} ${done.text}`);
	else
		assert.deepEqual([told.status, told.code, told.message], [done.status, done.json.error.code, done.json.error.message], `${what}: ${JSON.stringify(told)}`);
	if (told.status === 403) {
		assert.equal(told.details, done.json.error.details, what);
		assert.equal(told.needed ?? '', done.headers.get('x-accepted-scopes'), what);
		if (told.check === 'scope')
			assert.ok(done.headers.get('www-authenticate').includes(`scope="${told.needed}"`), what);
	}
}

const tokens = {
	'a customer\'s that has all': () => ({ owner: tenant.user.username, scopes: ['*'] }),
	'a customer\'s with one scope': () => ({ owner: tenant.user.username, scopes: ['domains:read', 'profile:read'] }),
	'one with a deny list': () => ({ owner: tenant.user.username, scopes: ['*'], deny: ['domains:*', 'ssl:read'] }),
	'a viewer\'s': () => ({ owner: viewer.username, scopes: ['*'] }),
	'an administrator\'s': () => ({ scopes: ['*'] }),
	'an administrator\'s, bound to an account': () => ({ scopes: ['*'], account: tenant.username }),
	'an administrator\'s under a cap': () => ({ role: 'viewer', scopes: ['*'], account: tenant.username }),
	'one for another address': () => ({ scopes: ['*'], allowed_ips: ['198.51.100.0/24'] }),
	'a revoked one': () => ({ then: 'UPDATE postern.tokens SET revoked_at = now()' }),
	'an expired one': () => ({ then: 'UPDATE postern.tokens SET expires_at = now()' }),
	'one without calls left': () => ({ then: "UPDATE postern.rates SET used = 1000000, window_start = now() + interval '1 h'", key: 'token_id' }),
	'one without heavy actions left': () => ({ then: "UPDATE postern.rates SET action_used = 1000000, action_window_start = now() + interval '1 h'", key: 'token_id' }),
};
for (const [name, fields] of Object.entries(tokens))
	test(`every route answers as explain says: ${name}`, async () => {
		const { then, key = 'id', ...given } = fields();
		const held = await mint(s, { scopes: ['*'], rate_limit: 1000000, action_limit: 1000000, ...given });
		if (then)
			s.psql(`${then} WHERE ${key} = '${held.id}'`);
		const seen = await spread(operations.map((op) => async () => {
			const told = await explain({ method: op.method, path: at(op), token: held.id });
			same(told, await attempt(op.method, at(op), held.token), `${op.operation_id} by ${name}`);
			assert.equal(told.operation, op.operation_id);
			assert.equal(told.role, op.role);
			return told;
		}), 8);
		const me = await s.ask('/api/me', { token: held.token });
		if (me.status === 200) // the buckets are no permission
			assert.deepEqual(me.json.operations, seen.filter((told) => (told.allowed && told.reason !== 'open') || told.check === 'rate_limit').map((told) => told.operation).sort());
		else
			assert.ok(seen.every((told) => told.allowed === (told.reason === 'open')));
	});

test('every spelling of an address is understood, and what is no address or takes another method is told', async () => {
	const held = await mint(s, { owner: tenant.user.username, scopes: ['*'], rate_limit: 1000000, action_limit: 1000000 });
	const spellings = (op) => (bare(op) ? [`/api/${op.resource}${op.path}`] : [op.resource, ...(op.alias ? [op.alias] : [])].flatMap((name) => [
		...['/api/v1', '/api/v1/admin', '/api'].flatMap((prefix) => [`${prefix}/${name}${op.path}`, `${prefix}/${name}.php${op.path}`]),
		...(op.path === '/{id}' ? [`/api/v1/${name}.php?id={id}`] : [])])).map((x) => x.replace('{id}', '999999999'));
	await spread(operations.map((op) => async () => {
		for (const target of spellings(op)) {
			const told = await explain({ method: op.method, path: target, token: held.id });
			assert.equal(told.operation, op.operation_id, target);
			if (op.resource !== 'openapi') // its settings and media types are told elsewhere
				same(told, await attempt(op.method, target, held.token), target);
			assert.equal(told.check === 'admin_prefix', target.startsWith('/api/v1/admin'), target);
		}
	}), 8);
	for (const [method, target] of [['GET', '/api/v1/nothing'], ['GET', '/api/v1/domains/1/nothing'], ['GET', '/api/v1/domains//'], ['GET', '/'],
		['PUT', '/api/v1/domains'], ['DELETE', '/api/me'], ['POST', '/api/v1/audit.php']]) {
		const told = await explain({ method, path: target, token: held.id });
		assert.deepEqual([told.allowed, told.operation, told.reason, told.commands], [false, null, null, []]);
		assert.deepEqual([told.status, told.check], /nothing|\/\/|^\/$/.test(target) ? [404, 'route'] : [405, 'method'], target);
		if (told.status === 405)
			assert.equal(told.details, `the path takes ${(await attempt(method, target, held.token)).headers.get('allow')}`);
	}
	for (const method of ['HEAD', 'OPTIONS'])
		assert.equal((await explain({ method, path: '/api/domains', token: held.id })).allowed, true);
});

test('address and transport are those that are asked about', async () => {
	const held = await mint(s, { scopes: ['domains:read'], allowed_ips: ['192.0.2.0/24'] });
	const ask = async (more) => (await explain({ method: 'GET', path: '/api/domains', token: held.id, ...more })).check;
	assert.deepEqual([await ask(), await ask({ ip: '192.0.2.7' }), await ask({ ip: '::ffff:192.0.2.7' }), await ask({ ip: '2001:db8::1' })], ['address', null, null, 'address']);
	assert.deepEqual([await ask({ ip: '192.0.2.7', https: false }), await ask({ ip: '192.0.2.7', https: true })], ['https', null]);
});

// What may stand in the way, and what must be run then; `lines`: how many.
const obstacles = [
	['a scope that it lacks', 1, (u) => ({ owner: u, scopes: ['jobs:read'] })],
	['a scope that no wildcard implies', 1, (u) => ({ owner: u, scopes: ['*'] }), ['GET', '/api/tokens']],
	['a deny list', 1, (u) => ({ owner: u, scopes: ['*'], deny: ['domains:*', 'ssl:read'] })],
	['everything denied', 1, (u) => ({ owner: u, scopes: ['*'], deny: ['*'] })],
	['another address', 1, (u) => ({ owner: u, scopes: ['*'], allowed_ips: ['198.51.100.0/24'] })],
	['revocation', 1, (u) => ({ owner: u, scopes: ['*'] }), , (t) => [`/api/tokens/${t.id}/revoke`]],
	['a role cap', 1, (u) => ({ owner: u, role: 'viewer', scopes: ['*'] }), ['DELETE', '/api/domains/1']],
	['a suspended owner', 1, (u) => ({ owner: u, scopes: ['*'] }), , (t) => [`/api/users/${t.owner}/suspend`]],
	['a suspended account', 1, (u) => ({ owner: u, scopes: ['*'] }), , (t) => [`/api/accounts/${t.account}/suspend`]],
	['all of it', 3, (u) => ({ owner: u, scopes: ['jobs:read'], deny: ['domains:*'], allowed_ips: ['198.51.100.0/24'] }), ,
		(t) => [`/api/tokens/${t.id}/revoke`, `/api/accounts/${t.account}/suspend`, `/api/users/${t.owner}/suspend`]],
	['the owner\'s role', 2, (u) => ({ owner: u, scopes: ['*'] }), ['GET', '/api/roles']],
	['a viewer\'s role', 1, (u) => ({ owner: u, scopes: ['*'] }), ['DELETE', '/api/domains/1'], , 'viewer'],
	['a role of one\'s own', 1, (u) => ({ owner: u, scopes: ['*'] }), ['DELETE', '/api/domains/1'], , 'own'],
	['the account that an administrator\'s is bound to', 1, (u, a) => ({ owner: 'admin', scopes: ['*'], account: a }), ['GET', '/api/roles']],
	['the admin prefix and an account', 1, (u, a) => ({ owner: 'admin', role: 'customer', scopes: ['*'], account: a }), ['GET', '/api/v1/admin/domains']],
];
for (const [name, lines, fields, [method, target] = ['GET', '/api/domains'], befall, role] of obstacles)
	test(`the lines of the operator's command that grant it do so: ${name}`, async () => {
		const account = s.unique('a'), user = s.unique('u');
		await api('accounts', { username: account });
		const named = role === 'own' ? (await api('roles', { name: s.unique('r'), scopes: ['domains:read'] })).name : role ?? 'customer';
		await api('users', { username: user, account, role: named });
		const held = await mint(s, { rate_limit: 5000, ...fields(user, account) });
		for (const place of befall?.({ ...held, owner: user, account }) ?? [])
			await api(place.slice(5));
		const question = { method, path: target, token: held.id };
		const told = await explain(question);
		assert.equal(told.allowed, false);
		assert.equal(told.commands.length, lines, told.commands.join('\n'));
		let token = held.id;
		for (const line of told.commands) { // as a person would: by a shell
			assert.match(line, /^postern [a-z]/);
			const done = spawnSync('sh', ['-c', line.replace(/^postern /, '"$0" --json '), path.join(s.dir, 'postern')], { encoding: 'utf8' });
			assert.equal(done.status, 0, `${line}\n${done.stderr}`);
			token = line.startsWith('postern token create') ? JSON.parse(done.stdout).id : token;
		}
		assert.equal((await explain({ ...question, token })).check, null, told.commands.join('\n'));
		const made = s.sql(`SELECT rate_limit, allowed_ips::text, deny FROM postern.tokens WHERE id = '${token}'`)[0];
		assert.equal(made.rate_limit, 5000);
		if (name === 'a deny list')
			assert.ok(made.deny.includes('ssl:read') && made.deny.includes('domains:write') && !made.deny.includes('domains:read'), 'nothing else is granted');
	});

test('no line is offered where another path, HTTPS or patience is the remedy', async () => {
	const held = await mint(s, { owner: tenant.user.username, scopes: ['*'], rate_limit: 1 });
	assert.equal((await s.ask('/api/me', { token: held.token })).status, 200);
	s.psql(`UPDATE postern.rates SET window_start = now() + interval '1 h' WHERE token_id = '${held.id}'`);
	for (const [check, more] of [['rate_limit', {}], ['https', { ip: '192.0.2.1', https: false }], ['admin_prefix', { path: '/api/v1/admin/domains' }]]) {
		const told = await explain({ method: 'GET', path: '/api/domains', token: held.id, ...more });
		assert.deepEqual([told.check, told.commands], [check, []]);
		assert.ok(told.details);
	}
	const lost = await mint(s, { owner: (await api('users', { username: s.unique('u') })).username, scopes: ['*'] });
	const told = await explain({ method: 'GET', path: '/api/domains', token: lost.id });
	assert.deepEqual([told.check, told.reason, told.commands], ['account', 'no_account', []]);
});

test('one\'s own token takes profile:read; others\' an administrator with tokens:read; strangers are not told apart', async () => {
	const question = { method: 'GET', path: '/api/domains' };
	const own = await mint(s, { owner: tenant.user.username, scopes: ['profile:read'] });
	const brother = await mint(s, { owner: tenant.user.username, scopes: ['*', 'tokens:read'] });
	assert.equal((await explain(question, own.token)).token_id, own.id);
	assert.equal((await explain({ ...question, token: own.id }, own.token)).check, 'scope');
	const errors = [];
	for (const token of [brother.id, '00000000-0000-4000-8000-000000000000']) {
		const refused = await s.ask('/api/explain', { method: 'POST', body: { ...question, token }, token: own.token });
		assert.equal(refused.status, 422);
		errors.push(refused.json.error);
	}
	assert.deepEqual(errors[0], errors[1]);
	const bound = await mint(s, { scopes: ['*'], account: tenant.username });
	assert.equal((await s.ask('/api/explain', { method: 'POST', body: { ...question, token: own.id }, token: bound.token })).status, 422);
	const narrow = await mint(s, { scopes: ['profile:read'] });
	const refused = await s.ask('/api/explain', { method: 'POST', body: { ...question, token: own.id }, token: narrow.token });
	assert.equal(refused.status, 403, refused.text);
	assert.match(refused.text, /tokens:read/);
	const unknown = await s.ask('/api/explain', { method: 'POST', body: { ...question, token: '00000000-0000-4000-8000-000000000000' }, token: admin });
	assert.equal(unknown.status, 422);
	assert.match(unknown.json.error.fields.token, /no such token/);
	for (const [body, field] of [[{ path: '/api' }, 'method'], [{ method: 'GET' }, 'path'], [{ method: 'GET', path: 'https://x/api/me' }, 'path'], [{ method: 'SING', path: '/api' }, 'method'],
		[{ ...question, ip: '1.2.3' }, 'ip'], [{ ...question, token: 'x' }, 'token']]) {
		const wrong = await s.ask('/api/explain', { method: 'POST', body, token: admin });
		assert.equal(wrong.status, 422, wrong.text);
		assert.ok(wrong.json.error.fields[field], wrong.text);
	}
	assert.equal(s.cliJson(['explain', 'run', '--method', 'GET', '--path', '/api/domains', '--token', brother.id]).allowed, true);
});

test('asking leaves its row in the trail and nothing else', async () => {
	const tables = s.sql(`SELECT c.relname AS name FROM pg_class c WHERE c.relnamespace = 'postern'::regnamespace AND c.relkind = 'r'
		AND c.relname !~ '^(audit|rates|refusals)' ORDER BY 1`).map((t) => t.name);
	const all = () => s.psql(tables.map((t) => `SELECT '${t}', md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')), count(*) FROM postern.${t} t;`).join('\n'));
	const held = await mint(s, { scopes: ['domains:read'] });
	const was = all(), counted = () => s.sql(`SELECT used FROM postern.rates WHERE token_id = '${held.id}'`);
	const used = counted();
	const answer = await s.ask('/api/v1/explain', { method: 'POST', body: { method: 'DELETE', path: '/api/domains/1', token: held.id }, token: admin });
	assert.equal(answer.status, 200);
	assert.equal(answer.headers.get('cache-control'), 'no-store');
	assert.equal(answer.headers.get('x-accepted-scopes'), 'profile:read');
	assert.equal(all(), was);
	assert.deepEqual(counted(), used);
	assert.deepEqual(s.sql(`SELECT resource || '.' || verb AS action, status, outcome, changes FROM postern.audit WHERE request_id = '${answer.headers.get('x-request-id')}'`),
		[{ action: 'explain.read', status: 200, outcome: 'allowed', changes: null }]);
});
