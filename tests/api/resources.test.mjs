// The first resources and their rules: domains, accounts, users, roles, me; over the API and the operator's command.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { startStack, until } from './harness.mjs';

let s, token, tenant, own;

before(async () => {
	s = await startStack('resources', { WORKER: 'yes', DOMAIN_PROOF: 'off', PARTS: 'postgresql', POSTERN_RESERVED_NAMES: 'host.example.org panel.example.org' });
	token = s.mint({ expires_at: 'null' }).token;
	tenant = s.tenant();
	own = s.mint({ owner: tenant.user.username, scopes: ['*', 'tokens:read', 'tokens:write', 'tokens:delete'] }).token; // all that a customer may
});
after(() => s?.stop());

const ask = (where, options = {}) => s.ask(where, { token, ...options });
const post = (where, body, who = token) => ask(where, { method: 'POST', body, token: who });
const patch = (where, body, who = token) => ask(where, { method: 'PATCH', body, token: who });
// what the machine has to do is waited for
const remove = (where, who = token) => ask(where, { method: 'DELETE', token: who, headers: { Prefer: 'wait=20' } });
function expect(answer, status, pattern, ...fields) {
	assert.equal(answer.status, status, answer.text);
	if (pattern)
		assert.match(answer.json.error.message, pattern);
	for (const field of fields)
		assert.ok(answer.json.error.fields?.[field], `${field} is not named: ${answer.text}`);
	return answer.json;
}
const make = async (where, body, who) => expect(await post(where, body, who), 201);
// A tenant with a token of everything it may have.
function newTenant(options) {
	const t = s.tenant(options);
	return { ...t, token: s.mint({ owner: t.user.username, scopes: ['*'], expires_at: 'null' }).token };
}
// Several commands at once; answers their exit codes.
const together = (...commands) => Promise.all(commands.map((args) => new Promise((resolve) => {
	execFile(path.join(s.dir, 'postern'), args, (error) => resolve(error ? error.code : 0));
})));

// ---- domains ----

test('a domain is stored as A-labels and shown in both forms', async () => {
	const d = await make('/api/domains', { domain: 'MÜNCHEN.de', account: tenant.username });
	assert.deepEqual([d.domain, d.domain_unicode], ['xn--mnchen-3ya.de', 'münchen.de']);
	assert.equal(s.sql(`SELECT domain FROM postern.domains WHERE id = ${d.id}`)[0].domain, 'xn--mnchen-3ya.de');
	for (const same of ['münchen.de', 'xn--mnchen-3ya.de', 'XN--MNCHEN-3YA.DE', 'mu\u0308nchen.de', 'münchen.de.'])
		expect(await post('/api/domains', { domain: same, account: tenant.username }), 409, /taken/, 'domain');
	assert.equal((await ask('/api/domains/xn--mnchen-3ya.de')).json.id, d.id);
	assert.equal((await ask(`/api/domains?domain=${encodeURIComponent('münchen.de')}`)).json.total, 1);
});

test('what is no domain name is a 422 that says why', async () => {
	for (const [domain, why] of [['a..b', /empty label/], ['.example', /empty label/], ['-a.example', /-/], ['a b.example', /characters/],
		['a_b.example', /characters/], ['*.example.org', /characters/], ['localhost', /one label/], ['192.0.2.1', /number/], ['', /empty/],
		[`${'a'.repeat(64)}.example`, /63/], [`${'a.'.repeat(130)}example`, /253/], ['xn--\u00fc.example', /./], ['exa\u200bmple.org.', /./]]) {
		const answer = await post('/api/domains', { domain, account: tenant.username });
		if (answer.status === 201) { // ignorable characters may be mapped away (UTS 46), but nothing of them stays
			assert.match(answer.json.domain, /^[a-z0-9.-]+$/);
			continue;
		}
		assert.match(expect(answer, 422, /domain/, 'domain').error.fields.domain, why, domain);
	}
});

test('the first domain of an account is primary, further ones addon; one primary only', async () => {
	const t = newTenant();
	const first = await make('/api/domains', { domain: `${s.unique('p')}.example` }, t.token);
	const second = await make('/api/domains', { domain: `${s.unique('p')}.example` }, t.token);
	assert.deepEqual([first.type, first.document_root, first.account], ['primary', `${t.account.home}/public_html`, t.username]);
	assert.deepEqual([second.type, second.document_root], ['addon', `${t.account.home}/${second.domain}`]);
	assert.deepEqual([first.status, first.ssl_status, first.mail_enabled, first.managed], ['active', 'none', true, true]);
	expect(await post('/api/domains', { domain: `${s.unique('p')}.example`, type: 'primary' }, t.token), 409, /primary/, 'type');
	expect(await patch(`/api/domains/${second.id}`, { type: 'primary' }, t.token), 409, /primary/, 'type');
	expect(await patch(`/api/domains/${first.id}`, { type: 'alias' }, t.token), 200);
	expect(await patch(`/api/domains/${second.id}`, { type: 'primary' }, t.token), 200);
	expect(await post('/api/domains', { domain: 'x.example', type: 'weird' }, t.token), 422, /type/, 'type');
});

test('of several first domains made at once exactly one is primary', async () => {
	const t = newTenant();
	const all = await Promise.all(Array.from({ length: 8 }, () => post('/api/domains', { domain: `${s.unique('f')}.example` }, t.token)));
	assert.deepEqual(all.map((a) => a.status), Array(8).fill(201));
	assert.deepEqual(all.map((a) => a.json.type).sort(), [...Array(7).fill('addon'), 'primary']);
});

test('a subdomain needs its parent in the same account', async () => {
	const t = newTenant(), name = `${s.unique('s')}.example`;
	expect(await post('/api/domains', { domain: `www.${name}`, type: 'subdomain' }, t.token), 422, /parent/, 'type');
	const parent = await make('/api/domains', { domain: name }, t.token);
	const sub = await make('/api/domains', { domain: `www.${name}`, type: 'subdomain' }, t.token);
	assert.equal(sub.type, 'subdomain');
	expect(await post('/api/domains', { domain: `x${name}`, type: 'subdomain' }, t.token), 422, /parent/, 'type');
	const error = expect(await remove(`/api/domains/${parent.id}`, t.token), 409, /cascade=true/).error;
	assert.deepEqual(error.fields, { subdomains: `www.${name}` });
	expect(await ask(`/api/domains/${sub.id}`, { token: t.token }), 200);
	assert.equal((await remove(`/api/domains/${parent.id}?cascade=true`, t.token)).status, 204);
	expect(await ask(`/api/domains/${sub.id}`, { token: t.token }), 404);
	await make('/api/domains', { domain: `www.${name}` }, t.token); // the names are free again
});

test('a document root of a tenant lies below its home; an administrator is free', async () => {
	const t = newTenant();
	for (const root of ['/etc', t.account.home, `${t.account.home}x/a`, '/home', `/home/${tenant.username}/a`])
		expect(await post('/api/domains', { domain: `${s.unique('r')}.example`, document_root: root }, t.token), 422, /home/, 'document_root');
	for (const root of ['relative', `${t.account.home}/../x`, `${t.account.home}//a`, `${t.account.home}/./a`, '/a\u00e9', ''])
		expect(await post('/api/domains', { domain: `${s.unique('r')}.example`, document_root: root }, t.token), 422, /document_root/, 'document_root');
	const d = await make('/api/domains', { domain: `${s.unique('r')}.example`, document_root: `${t.account.home}/site/web` }, t.token);
	expect(await patch(`/api/domains/${d.id}`, { document_root: '/srv/other' }, t.token), 422, /home/, 'document_root');
	assert.equal(expect(await patch(`/api/domains/${d.id}`, { document_root: '/srv/other' }), 200).document_root, '/srv/other');
	expect(await patch(`/api/domains/${d.id}`, { mail_enabled: false }, t.token), 200);
});

test('suspending what is suspended, and the reverse, is a 409', async () => {
	// the worker's part: an account is active when its Unix user is there
	const u = (await make('/api/users', { username: s.unique('u') })).id, a = s.tenant().account.id;
	await until(() => s.cliJson(['account', 'get', String(a)]).status === 'active', 'the account is there');
	const d = (await make('/api/domains', { domain: `${s.unique('z')}.example`, account: tenant.username })).id;
	for (const at of [`/api/domains/${d}`, `/api/users/${u}`, `/api/accounts/${a}`]) {
		expect(await post(`${at}/unsuspend`), 409, /active already/);
		// an account's suspension is the worker's, too: pending until it holds
		assert.match(expect(await post(`${at}/suspend`), 200).status, at.includes('accounts') ? /pending|suspended/ : /suspended/);
		expect(await post(`${at}/suspend`), 409, /suspended already/);
		await until(async () => expect(await ask(at), 200).status === 'suspended', `${at} is suspended`);
		expect(await post(`${at}/unsuspend`), 200);
		await until(async () => expect(await ask(at), 200).status === 'active', `${at} is active`);
	}
});

test('the plan limits the number of domains, also when several are made at once', async () => {
	const t = newTenant();
	expect(await patch(`/api/accounts/${t.account.id}`, { max_domains: 3 }), 200);
	const all = await Promise.all(Array.from({ length: 8 }, () => post('/api/domains', { domain: `${s.unique('m')}.example` }, t.token)));
	assert.deepEqual(all.map((a) => a.status).sort(), [201, 201, 201, 409, 409, 409, 409, 409]);
	expect(await post('/api/domains', { domain: `${s.unique('m')}.example` }, t.token), 409, /allows 3 domains/);
	expect(await patch(`/api/accounts/${t.account.id}`, { max_domains: 0 }), 200);
	expect(await post('/api/domains', { domain: `${s.unique('m')}.example` }, t.token), 409, /allows 0/);
	expect(await patch(`/api/accounts/${t.account.id}`, { max_domains: null }), 200);
	await make('/api/domains', { domain: `${s.unique('m')}.example` }, t.token);
});

test('a name that is reserved for the installation is no tenant\'s, neither as a domain nor as an alias', async () => {
	expect(await post('/api/domains', { domain: 'Panel.Example.org' }, own), 403, /reserved for this installation/, 'domain');
	const { id } = await make('/api/domains', { domain: `${s.unique('r')}.example`, website: false }, own);
	expect(await post('/api/websites', { domain_id: id, aliases: ['www.example.net', 'panel.example.org'] }, own), 403, /reserved/, 'aliases');
	assert.equal(s.sql(`SELECT count(*)::int AS n FROM postern.domain_names WHERE domain = 'panel.example.org'`)[0].n, 0);
	expect(await remove(`/api/domains/${(await make('/api/domains', { domain: 'panel.example.org', account: tenant.username })).id}`), 204);
});

test('a name of another account, or one below it, is taken, and nobody says whose it is', async () => {
	const a = newTenant(), b = newTenant(), name = `${s.unique('t')}.example`;
	await make('/api/domains', { domain: name }, a.token);
	for (const wanted of [name, `www.${name}`, `a.b.${name}`]) {
		const answer = await post('/api/domains', { domain: wanted }, b.token);
		expect(answer, 409, /^this domain is taken$/, 'domain');
		assert.ok(!answer.text.includes(a.username));
	}
	await make('/api/domains', { domain: `x${name}` }, b.token);
	await make('/api/domains', { domain: `ok.${name}` }, a.token);
	await make('/api/domains', { domain: `given.${name}`, account: b.username }); // the operator decides
});

test('an account that is not the caller\'s is an unknown one', async () => {
	const other = s.tenant();
	for (const body of [{ account: other.username }, { account_id: other.account.id }, { account: 'nobody' }, { account_id: 999999 }, { account_id: -1 }])
		for (const [where, object] of [['/api/domains', { domain: `${s.unique('q')}.example` }], ['/api/users', { username: s.unique('q') }]])
			expect(await post(where, { ...object, ...body }, own), 422, /no such account/, Object.keys(body)[0]);
	expect(await post('/api/domains', { domain: `${s.unique('q')}.example` }), 422, /account/, 'account_id');
	expect(await post('/api/domains', { domain: `${s.unique('q')}.example`, account: other.username, account_id: tenant.account.id }), 422, /account/, 'account');
	await make('/api/domains', { domain: `${s.unique('q')}.example`, account: other.username, account_id: other.account.id });
	const d = await make('/api/domains', { domain: `${s.unique('q')}.example`, account_id: other.account.id });
	for (const [method, at, body] of [['GET', ''], ['PATCH', '', {}], ['PUT', '', {}], ['DELETE', ''], ['POST', '/suspend']])
		expect(await ask(`/api/domains/${d.id}${at}`, { method, body, token: own }), 404);
	await post(`/api/accounts/${other.account.id}/suspend`);
	expect(await post('/api/domains', { domain: `${s.unique('q')}.example`, account: other.username }), 409, /suspended/);
});

// ---- accounts ----

test('an account has its defaults, and a tenant changes what is its own but not its plan', async () => {
	const a = await make('/api/accounts', { username: s.unique('acc') });
	assert.deepEqual([a.name, a.home, a.email, a.max_domains, a.status, a.domains, a.users, a.tokens],
		[a.username, `${s.dir}/home/${a.username}`, null, 500, 'pending', 0, 0, 0]);
	expect(await post('/api/accounts', { username: a.username }), 409, /exists/, 'username');
	expect(await post('/api/accounts', { username: s.unique('x') }, own), 403);
	expect(await remove(`/api/accounts/${tenant.account.id}`, own), 403);
	const at = `/api/accounts/${tenant.account.id}`;
	const changed = expect(await patch(at, { name: 'Mine', email: 'me@example.org' }, own), 200);
	assert.deepEqual([changed.name, changed.email], ['Mine', 'me@example.org']);
	for (const limit of ['max_domains', 'max_mailboxes', 'max_databases', 'max_disk_mb']) {
		expect(await patch(at, { name: 'No', [limit]: 1000 }, own), 403, new RegExp(limit), limit);
		expect(await ask(at, { method: 'PUT', token: own, body: { name: 'No', [limit]: 1000 } }), 403, new RegExp(limit), limit);
	}
	for (const who of [own, token]) // a home is where the settings say, or named at the machine
		expect(await patch(at, { name: 'No', home: '/home/x' }, who), 422, /home/, 'home');
	expect(await post('/api/accounts', { username: s.unique('acc'), home: '/home/x' }), 422, /at the machine only/, 'home');
	assert.equal((await ask(at)).json.name, 'Mine', 'nothing of a refused change is stored');
	expect(await patch(at, { max_domains: 5 }), 200);
	expect(await ask(at, { method: 'PUT', token: own, body: { name: 'Mine too' } }), 200);
	assert.equal((await ask(at)).json.max_domains, 5, 'a tenant\'s PUT leaves the plan alone');
	expect(await patch(at, { max_domains: null }), 200);
	for (const bad of [-1, 1.5, '5', true, 1000001])
		expect(await patch(at, { max_domains: bad }), 422, /max_domains/, 'max_domains');
	expect(await ask('/api/accounts/999999'), 404);
	assert.equal((await ask(`/api/accounts/${tenant.username}`)).json.id, tenant.account.id);
});

test('a suspended account\'s tokens are refused from the next request on, and work again after', async () => {
	const t = newTenant();
	const bound = s.mint({ account: t.username, scopes: ['domains:read'] }).token; // an administrator's, bound to the account
	const status = async (who) => (await ask('/api/domains', { token: who })).status;
	assert.deepEqual([await status(t.token), await status(bound)], [200, 200]);
	expect(await post(`/api/accounts/${t.account.id}/suspend`), 200);
	assert.deepEqual([await status(t.token), await status(bound), await status(token)], [401, 401, 200]);
	expect(await post(`/api/accounts/${t.account.id}/unsuspend`), 200);
	assert.deepEqual([await status(t.token), await status(bound)], [200, 200]);
});

test('a database is made on a server that there is, and its DELETE takes a proof in the body or as a parameter', async () => {
	expect(await post('/api/databases', { name: 'x', engine: 'mariadb' }, own), 422, /mariadb_command/, 'engine');
	expect(await post('/api/databases', { name: 'x' }, own), 422, /engine/, 'engine');
	expect(await post('/api/databases', { name: 'x', engine: 'postgresql' }), 422, /account_id/, 'account_id');
	const d = await make('/api/databases', { name: 'it', engine: 'postgresql', password: 'correct horse' }, own), at = `/api/databases/${d.id}`;
	assert.deepEqual([d.name, d.user, d.status, d.size_bytes, 'password' in d], [`${tenant.username}_it`, `${tenant.username}_it`, 'pending', 0, false]);
	expect(await remove(at, own), 422, /what it holds is lost/, 'confirm');
	expect(await ask(`${at}?confirm=${d.name}`, { method: 'DELETE', token: own, body: { confirm: d.name } }), 400, /one of the two/);
	expect(await ask(`${at}?dry_run=true&confirm=${d.name}`, { method: 'DELETE', token: own }), 200);
	expect(await ask(at, { method: 'DELETE', token: own, body: { confirm: d.name } }), 202);
	for (const [method, path, body] of [['DELETE', at, { confirm: d.name }], ['PATCH', at, { charset: 'UTF8' }], ['POST', `${at}/rotate-password`], ['POST', `${at}/suspend`]])
		expect(await ask(path, { method, body, token: own }), 409, /being deleted/);
	const e = await make('/api/databases', { name: 'cli', engine: 'postgresql' }, own);
	assert.match(s.cli(['database', 'delete', String(e.id)]).stderr, /confirm/);
	assert.equal(s.cli(['database', 'delete', String(e.id), '--confirm', e.name]).status, 0);
	const typed = s.cli(['--json', 'database', 'create', '--name', 'typed', '--engine', 'postgresql', '--account', tenant.username, '--password-stdin'], { input: 'battery staple\n' });
	assert.ok(typed.status === 0 && !typed.stdout.includes('battery') && !typed.stderr.includes('shown this once'), typed.stderr);
	assert.match(s.cli(['database', 'rotate-password', String(JSON.parse(typed.stdout).id)]).stderr, /shown this once/);
});

test('an account with dependants is deleted only by cascade, with all that it owns', async () => {
	const t = newTenant(), name = `${s.unique('c')}.example`;
	await make('/api/domains', { domain: name }, t.token);
	const { fields } = expect(await remove(`/api/accounts/${t.account.id}`), 409, /1 domains, 1 users and 1 tokens.*cascade=true/).error;
	assert.deepEqual(fields, { domains: name, users: t.user.username, tokens: (await ask('/api/me', { token: t.token })).json.token_name });
	assert.equal((await remove(`/api/accounts/${t.account.id}?cascade=true&confirm=${t.username}`)).json.status, 'succeeded');
	expect(await ask('/api/domains', { token: t.token }), 401);
	for (const [at, key] of [['accounts', t.account.id], ['users', t.user.id], ['domains', name]])
		expect(await ask(`/api/${at}/${key}`), 404);
	await make('/api/domains', { domain: name }, own);
	const empty = await make('/api/accounts', { username: t.username });
	assert.notEqual(empty.id, t.account.id, 'a number is not used again');
	assert.equal((await remove(`/api/accounts/${empty.id}?confirm=${empty.username}`)).json.status, 'succeeded');
	expect(await remove(`/api/accounts/${empty.id}?confirm=${empty.username}`), 404);
});

// ---- users ----

test('a user made from a name alone is a customer without account, whose token reaches only itself', async () => {
	const alice = await make('/api/users', { username: 'alice' });
	assert.deepEqual([alice.role, alice.account_id, alice.account, alice.email, alice.status], ['customer', null, null, null, 'active']);
	const hers = s.mint({ owner: 'alice', scopes: ['*'] }).token;
	const me = expect(await ask('/api/me', { token: hers }), 200);
	assert.deepEqual([me.username, me.account_id, me.administrator], ['alice', null, false]);
	await Promise.all(s.routes().flatMap((resource) => resource.routes.filter((r) => !r.flags.includes('own')).map(async (route) => {
		const where = `/api/${resource.name}${route.path.replace('{id}', '1')}`;
		expect(await ask(where, { method: route.method, token: hers, body: route.method === 'GET' ? undefined : {} }), 403);
	})));
	expect(await ask('/api/health', { token: hers }), 200);
	expect(await post('/api/users', { username: 'alice' }), 409, /exists/, 'username');
	for (const username of ['Alice', '1a', 'a b', '', 'a'.repeat(33), 'é', '-a', 5])
		expect(await post('/api/users', { username }), 422, /username/, 'username');
});

test('a tenant\'s users stay in its account and within its role', async () => {
	const u = await make('/api/users', { username: s.unique('mine') }, own);
	assert.deepEqual([u.account_id, u.role], [tenant.account.id, 'customer']);
	const colleague = await make('/api/users', { username: s.unique('mine'), role: 'viewer', account: tenant.username }, own);
	assert.equal(colleague.role, 'viewer');
	expect(await post('/api/users', { username: s.unique('mine'), role: 'admin' }, own), 422, /role/, 'role');
	expect(await post('/api/users', { username: s.unique('mine'), role: 'nope' }, own), 422, /no role "nope"/, 'role');
	const wide = await make('/api/roles', { name: s.unique('wide'), base: 'customer', scopes: ['domains:read', 'roles:read'] });
	expect(await post('/api/users', { username: s.unique('mine'), role: wide.name }, own), 422, /roles:read/, 'role');
	expect(await patch(`/api/users/${colleague.id}`, { role: 'customer' }, own), 403, /administrators/, 'role');
	expect(await patch(`/api/users/${colleague.id}`, { role: 'viewer', email: 'v@example.org' }, own), 200);
	for (const body of [{ account_id: null }, { account: null }])
		expect(await patch(`/api/users/${u.id}`, body, own), 422, /account/, 'account_id');
	expect(await ask(`/api/users/${u.id}`, { method: 'PUT', token: own, body: { email: 'p@example.org' } }), 422, /account/, 'account_id');
	expect(await ask(`/api/users/${u.id}`, { method: 'PUT', token: own, body: { email: 'p@example.org', account: tenant.username } }), 200);
	const stranger = s.tenant();
	for (const [method, at, body] of [['GET', ''], ['PATCH', '', { email: null }], ['DELETE', ''], ['POST', '/suspend']])
		expect(await ask(`/api/users/${stranger.user.id}${at}`, { method, body, token: own }), 404);
	expect(await patch(`/api/users/${u.id}`, { account: stranger.username }, own), 422, /no such account/, 'account');
	assert.equal((await remove(`/api/users/${u.id}`, own)).status, 204);
});

test('a user who owns tokens is deleted by cascade only; suspended, every token is refused', async () => {
	const t = newTenant();
	expect(await post(`/api/users/${t.user.id}/suspend`), 200);
	expect(await ask('/api/me', { token: t.token }), 401, /suspended/);
	expect(await post(`/api/users/${t.user.id}/unsuspend`), 200);
	expect(await ask('/api/me', { token: t.token }), 200);
	expect(await remove(`/api/users/${t.user.id}`), 409, /1 tokens.*cascade=true/, 'tokens');
	assert.equal((await remove(`/api/users/${t.user.id}?cascade=true`)).status, 204);
	expect(await ask('/api/me', { token: t.token }), 401);
	const late = await make('/api/users', { username: s.unique('late') });
	const early = s.mint({ owner: late.username, scopes: ['profile:read'] }).token;
	expect(await patch(`/api/users/${late.id}`, { account: tenant.username }), 200);
	expect(await ask('/api/me', { token: early }), 401, /another account/);
	expect(await remove(`/api/users/${late.id}?cascade=true`, own), 409, /ask your administrator/);
	assert.equal((await remove(`/api/users/${late.id}?cascade=true`)).status, 204);
});

test('administrators are made, changed and removed only with users:admin', async () => {
	const helper = s.mint({ scopes: ['users:read', 'users:write', 'users:delete', 'roles:read', 'roles:write'] }).token;
	const denied = s.mint({ scopes: ['*'], deny: ['users:admin'] }).token;
	const second = await make('/api/users', { username: s.unique('adm'), role: 'admin' });
	const plain = await make('/api/users', { username: s.unique('plain') });
	const admins = await make('/api/roles', { name: s.unique('deputy'), base: 'admin', scopes: ['domains:read'] });
	const common = await make('/api/roles', { name: s.unique('common'), scopes: ['users:read'] });
	for (const who of [helper, denied]) {
		expect(await post('/api/users', { username: s.unique('adm'), role: 'admin' }, who), 403, /users:admin/);
		expect(await post('/api/users', { username: s.unique('adm'), role: admins.name }, who), 403, /users:admin/);
		expect(await patch(`/api/users/${plain.id}`, { role: 'admin' }, who), 403, /users:admin/);
		expect(await patch(`/api/roles/${common.id}`, { base: 'admin', scopes: ['users:read'] }, who), 403, /users:admin/);
		for (const [method, at, body] of [['PATCH', '', { email: 'x@example.org' }], ['PATCH', '', { role: 'viewer' }], ['PUT', '', { role: 'viewer' }],
			['DELETE', ''], ['POST', '/suspend']])
			expect(await ask(`/api/users/${second.id}${at}`, { method, body, token: who }), 403, /users:admin/);
		expect(await patch(`/api/users/${plain.id}`, { email: 'x@example.org' }, who), 200);
	}
	const bound = s.mint({ account: tenant.username, scopes: ['*'] }).token; // an administrator's, for one account
	expect(await post('/api/users', { username: s.unique('adm'), role: 'admin' }, bound), 403, /users:admin/);
	await make('/api/users', { username: s.unique('cus'), role: 'customer' }, bound);
	assert.equal((await ask(`/api/users/${second.id}`)).json.role, 'admin');
	expect(await patch(`/api/users/${second.id}`, { role: 'customer' }), 200);
	expect(await patch(`/api/users/${second.id}`, { role: 'admin' }), 200);
	assert.equal((await remove(`/api/users/${second.id}`)).status, 204);
});

test('the last administrator stays, whatever is tried', async () => {
	const admin = (await ask('/api/users/admin')).json;
	assert.equal(s.sql(`SELECT count(*) FROM postern.users u JOIN postern.roles r ON r.name = u.role WHERE r.rank = 3 AND '*' = ANY (r.scopes)`)[0].count, 1);
	const role = await make('/api/roles', { name: s.unique('boss'), base: 'admin', scopes: ['*'] });
	for (const [method, at, body] of [['DELETE', '?cascade=true'], ['POST', '/suspend'], ['PATCH', '', { role: 'customer' }], ['PATCH', '', { account: tenant.username }],
		['PUT', '', { role: 'viewer' }]])
		expect(await ask(`/api/users/${admin.id}${at}`, { method, body }), 409, /last active administrator/);
	expect(await patch('/api/users/admin', { role: role.name }), 200); // another role that is an administrator's
	for (const body of [{ base: 'customer' }, { scopes: ['domains:read'] }])
		expect(await patch(`/api/roles/${role.id}`, body), 409, /last active administrator/);
	expect(await patch('/api/users/admin', { role: 'admin' }), 200);
	expect(await patch(`/api/roles/${role.id}`, { scopes: ['domains:read'] }), 200);
	assert.deepEqual((await ask('/api/users/admin')).json.role, 'admin');
});

test('of two administrators removed at the same moment one stays', async () => {
	const names = ['admin', null];
	for (let round = 0; round < 5; round++) {
		names[1] = s.unique('twin');
		s.cliJson(['user', 'create', '--username', names[1], '--role', 'admin']);
		const codes = await together(...names.map((name) => ['user', 'suspend', name]));
		assert.deepEqual(codes.sort(), [0, 4]);
		assert.equal(s.sql(`SELECT count(*) FROM postern.users WHERE role = 'admin' AND status = 'active'`)[0].count, 1);
		s.psql(`UPDATE postern.users SET status = 'active'; DELETE FROM postern.users WHERE username = '${names[1]}'`);
	}
});

// ---- roles ----

test('built-in roles are fixed; own ones change, and go when nobody has them', async () => {
	for (const name of ['admin', 'customer', 'viewer']) {
		const role = (await ask(`/api/roles/${name}`)).json;
		assert.equal(role.built_in, true);
		for (const [method, body] of [['PATCH', { description: 'x' }], ['PUT', { scopes: [] }], ['DELETE']])
			expect(await ask(`/api/roles/${role.id}`, { method, body }), 409, /built-in/);
	}
	const role = await make('/api/roles', { name: s.unique('sup'), scopes: ['domains.read', 'read:users', 'tokens:*'] });
	assert.deepEqual([role.base, role.scopes, role.users], ['customer', ['domains:read', 'users:read', 'tokens:*'], 0]);
	const user = await make('/api/users', { username: s.unique('r'), role: role.name });
	expect(await remove(`/api/roles/${role.id}`), 409, /in use by 1 users/, 'users');
	expect(await patch(`/api/roles/${role.id}`, { scopes: ['domains:read'], description: 'less' }), 200);
	assert.equal((await remove(`/api/users/${user.id}`)).status, 204);
	assert.equal((await remove(`/api/roles/${role.id}`)).status, 204);
	for (const scopes of [['nope:read'], ['domains:fly'], ['domains'], [''], ['*:read'], 'domains:read', [5], [['domains:read']]])
		expect(await post('/api/roles', { name: s.unique('bad'), scopes }), 422, /scopes/, 'scopes');
	expect(await post('/api/roles', { name: 'Bad Name', scopes: [] }), 422, /name/, 'name');
	const narrow = s.mint({ scopes: ['roles:write', 'domains:read'] }).token;
	expect(await post('/api/roles', { name: s.unique('esc'), scopes: ['users:write'] }, narrow), 422, /more than your token/, 'scopes');
	expect(await post('/api/roles', { name: s.unique('esc'), base: 'admin', scopes: ['domains:read'] }, narrow), 403, /users:admin/);
	await Promise.all(s.routes().find((r) => r.name === 'roles').routes.map(async ({ path: at, method }) =>
		expect(await ask(`/api/roles${at.replace('{id}', '1')}`, { method, token: own, body: method === 'GET' ? undefined : {} }), 403)));
});

test('a change of a role holds from the next request of its users on', async () => {
	const role = await make('/api/roles', { name: s.unique('now'), scopes: ['domains:read', 'profile:read'] });
	const t = s.tenant({ role: role.name });
	const value = s.mint({ owner: t.user.username, scopes: ['domains:*', 'profile:read'] }).token;
	expect(await ask('/api/domains', { token: value }), 200);
	expect(await patch(`/api/roles/${role.id}`, { scopes: ['profile:read'] }), 200);
	expect(await ask('/api/domains', { token: value }), 403);
	assert.deepEqual((await ask('/api/me', { token: value })).json.scopes, ['profile:read']);
	expect(await patch(`/api/roles/${role.id}`, { scopes: ['domains:*', 'profile:read'], base: 'viewer' }), 200);
	expect(await ask('/api/domains', { token: value }), 200);
	expect(await post('/api/domains', { domain: 'x.example' }, value), 403);
});

// ---- me ----

test('me tells who asks and what the token may do now, and that is what it may do', async () => {
	const t = s.tenant(), minted = s.mint({ owner: t.user.username, scopes: ['domains:*', 'users:read', 'profile:read'], deny: ['domains:delete'], rate_limit: 5000 });
	const me = expect(await ask('/api/me', { token: minted.token }), 200);
	assert.deepEqual([me.user_id, me.username, me.role, me.account_id, me.account, me.administrator, me.token_id, me.token_name, me.key_id, me.rate_limit, me.ip],
		[t.user.id, t.user.username, 'customer', t.account.id, t.username, false, minted.id, minted.name, minted.key_id, 5000, '127.0.0.1']);
	assert.deepEqual(me.scopes, ['domains:read', 'domains:write', 'profile:read', 'users:read']);
	assert.deepEqual([me.deny, me.allowed_ips], [['domains:delete'], []]);
	for (const value of [minted.token, own, token, s.mint({ account: t.username, scopes: ['*'] }).token]) {
		const { scopes, administrator } = (await ask('/api/me', { token: value })).json;
		assert.equal(administrator, value === token);
		await Promise.all(s.routes().flatMap((resource) => resource.routes.filter((r) => !r.path.startsWith('.')).map(async (route) => { // files are open
			const where = `/api/${resource.name}${route.path.replace('{id}', '999999')}?nonsense=1`;
			const { status } = await ask(where, { method: route.method, token: value, body: route.method === 'GET' ? undefined : {} });
			const allowed = (route.scope === '-' || scopes.includes(route.scope)) && !(route.role === 'admin' && !administrator);
			assert.equal(status, route.flags.includes('open_too') ? 200 : allowed ? 400 : 403, route.operation_id);
		})));
	}
});

// ---- the operator's command over the same tables ----

test('the command creates, lists, shows, changes, suspends and deletes each resource, and the API sees it', async () => {
	const username = s.unique('cli');
	const made = {
		account: s.cliJson(['account', 'create', '--username', username, '--max-domains', '2']),
		user: s.cliJson(['user', 'create', '--username', `${username}-u`, '--account', username]),
		domain: s.cliJson(['domain', 'create', '--domain', `${username}.example`, '--account', username]),
		role: s.cliJson(['role', 'create', '--name', username, '--scopes', 'domains:read,users:read']),
	};
	const change = { account: ['email', 'a@example.org'], user: ['email', 'b@example.org'], domain: ['type', 'addon'], role: ['description', 'for tests'] };
	for (const [one, object] of Object.entries(made)) {
		const at = `/api/${one}s/${object.id}`;
		const api = (await ask(at)).json;
		assert.deepEqual(s.cliJson([one, 'get', String(object.id)]), api, one);
		const [field, value] = change[one];
		s.cliJson([one, 'update', String(object.id), `--${field}`, value]);
		assert.equal((await ask(at)).json[field], value);
		const key = { domain: 'domain', role: 'name' }[one] ?? 'username';
		const found = s.cliJson([one, 'list', `--${key}`, object[key]]);
		assert.deepEqual(found.data, [(await ask(at)).json]);
		assert.equal(found.total, 1);
		const table = s.cli([one, 'list', `--${key}`, object[key]]);
		assert.equal(table.status, 0);
		assert.ok(table.stdout.includes(object[key]), table.stdout);
		if (one !== 'role') {
			s.cliJson([one, 'suspend', String(object.id)]);
			assert.equal(s.cli([one, 'suspend', String(object.id)]).status, 4);
			await until(async () => (await ask(at)).json.status === 'suspended', `${at} is suspended`);
			s.cliJson([one, 'unsuspend', String(object.id)]);
		}
		s.cliJson([one, 'delete', String(object.id), '--dry-run', ...(one === 'account' ? ['--cascade'] : [])]);
		expect(await ask(at), 200);
	}
	for (const one of ['role', 'domain', 'user', 'account']) {
		assert.equal(s.cli([one, 'delete', String(made[one].id), '--wait', ...(one === 'account' ? ['--confirm', made[one].username] : [])]).status, 0, one);
		expect(await ask(`/api/${one}s/${made[one].id}`), 404);
	}
	const trail = s.sql(`SELECT verb FROM postern.audit WHERE actor = 'system' AND object_id = '${made.domain.id}' AND resource = 'domain' ORDER BY at`);
	assert.deepEqual(trail.map((r) => r.verb), ['create', 'update', 'suspend', 'unsuspend', 'delete']);
});

test('the command ends with the exit code of what went wrong, and says it on stderr', async () => {
	const taken = (await make('/api/domains', { domain: `${s.unique('exit')}.example`, account: tenant.username })).domain;
	for (const [args, code] of [[['domain', 'get', taken], 0], [['domain', 'list', '--nope', '1'], 2], [['domain', 'get', '999999'], 3], [['domain', 'delete', 'nope.example'], 3],
		[['domain', 'create', '--domain', taken, '--account', tenant.username], 4], [['account', 'delete', tenant.username], 4], [['role', 'delete', 'admin'], 4],
		[['domain', 'create', '--domain', 'a..b', '--account', tenant.username], 7], [['domain', 'create'], 7], [['domain', 'list', '--per-page', '101'], 7],
		[['role', 'create', '--name', 'x', '--scopes', 'no:such'], 7], [['account', 'create', '--username', 'x y'], 7]]) {
		const { status, stdout, stderr } = s.cli(['--json', ...args]);
		assert.equal(status, code, `${args.join(' ')}: ${stderr}`);
		assert.equal(stdout === '', code !== 0);
		if (code !== 0)
			assert.notEqual(stderr, '');
		if ([3, 4, 7].includes(code))
			assert.ok(JSON.parse(stderr).error.code, args.join(' '));
	}
	const away = s.cli(['domain', 'list'], { env: { ...process.env, POSTERN_DSN: 'host=/nonexistent dbname=postern' } });
	assert.deepEqual([away.status, away.stdout], [6, '']);
});
