// A cap narrows, never widens: what a token makes, renames, rotates or lets in again can do nothing that it cannot do itself.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { soak, startStack, until } from '../api/harness.mjs';

let s, tenant;
const everything = ['*', 'tokens:read', 'tokens:write', 'tokens:delete']; // a customer's, in a token

before(async () => {
	s = await startStack('rights');
	s.token = s.mint({ name: 'rights', expires_at: null }).token;
	tenant = s.tenant();
});
after(() => s?.stop());

const ask = (method, target, body, token) => s.ask(`/api/${target}`, { method, body, token });
function expect(answer, status, pattern) {
	assert.equal(answer.status, status, answer.text);
	if (pattern)
		assert.match(answer.text, pattern);
	return answer.json;
}
const make = async (target, body, token) => expect(await ask('POST', target, body, token), 201);
const role = async (scopes, base = 'customer') => (await make('roles', { name: s.unique('role'), base, scopes })).name;
const user = async (fields = {}) => make('users', { username: s.unique('u'), ...fields });
// An administrator whose role has these scopes.
const limited = async (...scopes) => user({ role: await role(scopes, 'admin') });
const mint = (by, fields = {}) => ask('POST', 'tokens', { name: s.unique('tok'), scopes: ['domains:read'], ...fields }, by);

test("a limited administrator's token that is capped admin mints nothing above the role", async () => {
	const boss = await limited('domains:read', 'tokens:read', 'tokens:write', 'users:read', 'users:write', 'roles:read', 'roles:write');
	const { token } = s.mint({ owner: boss.username, role: 'admin', scopes: ['*'] });
	for (const fields of [{ scopes: ['*'] }, { scopes: ['*'], role: 'admin' }, { role: 'admin', scopes: undefined }, { scopes: ['accounts:write'] },
		{ scopes: ['domains:*'] }, { scopes: ['tokens:delete'] }, { scopes: ['users:admin'] }])
		expect(await mint(token, fields), 422, /more than/);
	expect(await mint(token, { owner: 'admin' }), 403, /users:admin/);
	expect(await mint(token, { owner: tenant.user.username, scopes: ['domains:delete'] }), 422, /more than/);
	expect(await ask('POST', 'users', { username: s.unique('u'), role: 'admin' }, token), 403, /users:admin/);
	expect(await ask('POST', 'users', { username: s.unique('u'), role: 'customer', account: tenant.username }, token), 422, /which your token may not use/);
	expect(await ask('PATCH', `users/${tenant.user.id}`, { role: 'viewer' }, token), 422, /which your token may not use/);
	for (const scopes of [['*'], ['domains:*'], ['tokens:delete'], ['domains:read', 'accounts:read']])
		expect(await ask('POST', 'roles', { name: s.unique('r'), scopes }, token), 422, /more than/);
	expect(await mint(token, { scopes: ['domains:read', 'tokens:write'] }), 201);
});

test("a demoted administrator's capped token mints nothing above the new role", async () => {
	const deputy = await user({ role: 'admin' });
	const { token } = s.mint({ owner: deputy.username, role: 'admin', scopes: ['*'] });
	expect(await mint(token, { scopes: ['*'] }), 201);
	expect(await ask('PATCH', `users/${deputy.id}`, { role: await role(['domains:read', 'tokens:write'], 'admin') }), 200);
	expect(await mint(token, { scopes: ['*'] }), 422, /more than/);
	expect(await mint(token, { scopes: ['*'], role: 'admin' }), 422, /more than/);
	expect(await mint(token, { scopes: ['accounts:read'] }), 422, /more than/);
	expect(await mint(token), 201);
	expect(await ask('PATCH', `users/${deputy.id}`, { role: 'customer', account: tenant.username }), 200);
	assert.notEqual((await mint(token)).status, 201); // it reaches no account now
});

test('a limited customer makes no user whose role holds more, and moves none', async () => {
	const narrow = await user({ account: tenant.username, role: await role(['users:read', 'users:write', 'domains:read']) });
	for (const { token } of [s.mint({ owner: narrow.username }), s.mint({ owner: narrow.username, role: 'customer' }),
		s.mint({ owner: tenant.user.username, scopes: ['users:*', 'domains:read'] }), s.mint({ owner: tenant.user.username, scopes: everything, deny: ['backups:*'] }),
		s.mint({ account: tenant.username, scopes: ['users:*', 'domains:read'] })]) {
		expect(await ask('POST', 'users', { username: s.unique('u'), role: 'customer' }, token), 422, /has the scope .* more than your own|which your token may not use/);
		expect(await ask('POST', 'users', { username: s.unique('u') }, token), 422, /has the scope .* more than your own|which your token may not use/);
		expect(await ask('POST', 'users', { username: s.unique('u'), role: await role(['users:read', 'domains:read']) }, token), 201);
	}
	expect(await ask('POST', 'users', { username: s.unique('u') }, s.mint({ owner: tenant.user.username, scopes: everything }).token), 201);
});

test('a deny list binds users and roles that its token makes, not tokens only', async () => {
	const { token } = s.mint({ scopes: ['*'], deny: ['backups:restore'] });
	expect(await ask('POST', 'users', { username: s.unique('u'), account: tenant.username }, token), 422, /backups:restore/);
	for (const scopes of [['*'], ['backups:*'], ['backups:restore']])
		expect(await ask('POST', 'roles', { name: s.unique('r'), scopes }, token), 422, /more than/);
	assert.deepEqual(expect(await mint(token, { scopes: ['*'], owner: 'admin' }), 201).deny, ['backups:restore']);
	expect(await ask('POST', 'roles', { name: s.unique('r'), scopes: ['backups:read'] }, token), 201);
});

test('a role that others have is not widened beyond what the caller may do, nor by its base', async () => {
	const boss = await limited('roles:read', 'roles:write', 'domains:read', 'services:read');
	const { token } = s.mint({ owner: boss.username, role: 'admin' });
	const mine = expect(await ask('POST', 'roles', { name: s.unique('r'), scopes: ['domains:read'] }, token), 201);
	expect(await ask('PATCH', `roles/${mine.id}`, { scopes: ['domains:read', 'domains:write'] }, token), 422, /domains:write/);
	expect(await ask('PUT', `roles/${mine.id}`, { scopes: ['*'] }, token), 422, /more than/);
	expect(await ask('PATCH', `roles/${boss.role}`, { scopes: ['*'] }, token), 403, /users:admin/); // its own
	const deputies = await role(['domains:read'], 'admin');
	expect(await ask('PATCH', `roles/${deputies}`, { base: 'customer' }, token), 403, /users:admin/);
});

test('a wider token is not rotated, renamed or let in again by a narrower one', async () => {
	const minter = s.mint({ owner: tenant.user.username, scopes: ['domains:read', 'tokens:read', 'tokens:write', 'users:*'], expires_at: null });
	const wide = s.mint({ owner: tenant.user.username, scopes: ['domains:read', 'mailboxes:read'] });
	const within = s.mint({ owner: tenant.user.username, scopes: ['domains:read'] });
	const before_ = (await ask('GET', `tokens/${wide.id}`)).json;
	for (const [method, target, body] of [['POST', `tokens/${wide.id}/rotate`, {}], ['PATCH', `tokens/${wide.id}`, { name: s.unique('n') }]])
		expect(await ask(method, target, body, minter.token), 403, /holds more/);
	assert.deepEqual((await ask('GET', `tokens/${wide.id}`)).json, before_);
	expect(await ask('POST', `tokens/${within.id}/rotate`, {}, minter.token), 200);
	expect(await ask('PATCH', `tokens/${within.id}`, { name: s.unique('n') }, minter.token), 200);
	const colleague = await user({ account: tenant.username });
	expect(await ask('POST', `users/${colleague.id}/suspend`), 200);
	expect(await ask('POST', `users/${colleague.id}/unsuspend`, undefined, minter.token), 403, /wider token/);
});

test('a token that is revoked while it mints leaves no child behind', async () => {
	const parent = s.mint({ owner: tenant.user.username, scopes: ['domains:read', 'tokens:write'] });
	// a mint that takes until its minter is revoked, or a while, where that waits for it
	s.psql(`CREATE FUNCTION postern.slowly() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			FOR i IN 1 .. 60 LOOP
				EXIT WHEN (SELECT t.revoked_at IS NOT NULL FROM postern.tokens t WHERE t.id = NEW.parent_id);
				PERFORM pg_catalog.pg_sleep(0.05);
			END LOOP;
			RETURN NEW;
		END $$;
		CREATE TRIGGER slowly BEFORE INSERT ON postern.tokens FOR EACH ROW WHEN (NEW.name = 'late') EXECUTE FUNCTION postern.slowly();
		GRANT EXECUTE ON FUNCTION postern.slowly() TO PUBLIC`);
	const late = mint(parent.token, { name: 'late' });
	await until(() => s.sql("SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'").length > 0, 'the mint is under way');
	s.cliJson(['token', 'revoke', parent.id]); // by another process
	const child = expect(await late, 201);
	assert.equal((await ask('GET', `tokens/${child.id}`)).json.status, 'revoked');
	assert.equal((await s.ask('/api/domains', { token: child.token })).status, 401);
});

// What a broken endpoint can say, with somebody's token, as its database role: an operation that it is let in for, any id and body.
function forge(endpoint, { key_id: key }, operation, id, body) {
	const digest = s.psql(`SELECT encode(digest, 'hex') FROM postern.keys WHERE key_id = '${key}'`);
	const text = (value) => (value === null ? 'NULL' : `'${String(value).replaceAll("'", "''")}'`);
	try {
		return { done: s.psql(`SELECT ticket FROM ${endpoint}.serve('{${key}}', ARRAY['\\x${digest}${digest}'::bytea], '{127.0.0.1}', '{f}', '{f}', '{${operation}}', '{""}', '{NULL}',
			'{1}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{t}', ARRAY[gen_random_uuid()::text], '{NULL}', '{PATCH}', '{/}', '{NULL}', '{0}', 2147483647) \\gset
			SELECT id FROM ${endpoint}.write('${key}', '\\x${digest}${digest}', :ticket, ${text(id)}, ${text(JSON.stringify(body))}, NULL, false, false, '{}', 0, NULL, NULL)`,
		`postern_${endpoint}`) };
	} catch (error) {
		return { refused: error.stderr };
	}
}

test("a broken endpoint cannot set with a tenant's token what only an administrator or the command may", async () => {
	const t = s.tenant(), own = s.mint({ owner: t.user.username, scopes: everything });
	const rows = () => s.sql(`SELECT home, status, managed, max_domains, max_requests, name FROM postern.accounts WHERE id = ${t.account.id}`)[0];
	const was = rows();
	for (const body of [{ home: '/etc' }, { _home: '/etc' }, { max_domains: 1000 }, { max_requests: 1000000 }, { ports: [8080] }, { backup_keep_last: 9 }, { status: 'suspended' }, { managed: false }, { adopt: true }, { uid: 0 }])
		assert.match(forge('accounts', own, 'changeAccount', t.account.id, { name: 'Forged', ...body }).refused, new RegExp(Object.keys(body)[0]), JSON.stringify(body));
	assert.deepEqual(rows(), was);
	for (const body of [{ managed: false }, { ssl_status: 'active' }, { status: 'active' }, { job_id: null }])
		assert.match(forge('domains', own, 'createDomain', null, { domain: `${s.unique('f')}.example`, ...body }).refused, new RegExp(Object.keys(body)[0]), JSON.stringify(body));
	for (const body of [{ owner: 'admin' }, { user_id: 1 }, { parent_id: null }, { family: null }])
		assert.match(forge('tokens', own, 'createToken', null, { name: s.unique('f'), scopes: ['domains:read'], _key_id: 'abcdefgh', ...body }).refused, new RegExp(Object.keys(body)[0]), JSON.stringify(body));
	assert.match(forge('tokens', own, 'changeToken', own.id, { scopes: ['*'] }).refused, /scopes/);
	assert.match(forge('users', own, 'changeUser', t.user.id, { status: 'active' }).refused, /status/);
	assert.match(forge('users', own, 'changeUser', t.user.id, { role: 'admin' }).refused, /administrators only/);
	assert.equal(forge('accounts', own, 'changeAccount', t.account.id, { name: 'Renamed' }).done, String(t.account.id));
	const all = s.mint({ expires_at: 'null' });
	assert.match(forge('accounts', all, 'createAccount', null, { username: s.unique('f'), home: '/etc' }).refused, /at the machine only/);
	assert.match(forge('accounts', all, 'createAccount', null, { username: s.unique('f'), managed: false }).refused, /at the machine only/);
	assert.equal(forge('accounts', all, 'changeAccount', t.account.id, { max_domains: 7 }).done, String(t.account.id));
});

test('what each operation takes is in the database as the field tables have it', () => {
	const known = new Map();
	for (const { operation, field, given_by } of s.sql('SELECT * FROM postern.fields'))
		known.set(operation, { ...known.get(operation), [field]: given_by });
	assert.deepEqual(known.get('changeAccount').max_domains, 'administrator');
	assert.deepEqual([known.get('createAccount').home, known.get('createAccount').managed, known.get('changeAccount').home], ['operator', 'operator', undefined]);
	assert.deepEqual(known.get('createToken').owner, 'administrator');
	assert.deepEqual(known.get('rotateToken'), { grace_s: 'caller', _key_id: 'caller', _digest: 'caller', _pepper_id: 'caller' });
	assert.deepEqual(known.get('suspendDomain'), undefined);
	assert.deepEqual(known.get('deleteDomain'), { cascade: 'caller', confirm: 'caller' });
});

test('the columns of rights, plans and homes are writable by nobody whose functions do not change them', () => {
	const may = (role, verb) => Object.fromEntries(s.sql(`SELECT c.relname AS t, array_agg(a.attname ORDER BY a.attname) AS columns
		FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		WHERE c.relnamespace = 'postern'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
		AND has_column_privilege('${role}', c.oid, a.attnum, '${verb}') GROUP BY 1`).map((r) => [r.t, r.columns]));
	const tenant_changes = may('postern_tenant', 'UPDATE'), tenant_makes = may('postern_tenant', 'INSERT'), operator = may('postern_operator', 'UPDATE');
	const short = {
		accounts: ['email', 'name', 'updated_at', 'version'], users: ['email', 'status', 'updated_at', 'version'],
		tokens: ['name', 'revoked_at', 'updated_at', 'version'], keys: ['expires_at'],
	};
	for (const [t, columns] of Object.entries(short))
		assert.deepEqual(tenant_changes[t], columns, t);
	for (const t of ['accounts', 'roles', 'account_ports', 'standings', 'operations', 'fields', 'scopes', 'settings', 'audit', 'events', 'usage', 'plugins', 'services'])
		assert.equal(tenant_makes[t], undefined, t);
	for (const t of ['roles', 'account_ports', 'rates', 'standings', 'operations', 'fields', 'scopes', 'settings', 'audit', 'events', 'usage', 'plugins'])
		assert.equal(tenant_changes[t], undefined, t);
	for (const [t, columns] of Object.entries(tenant_changes)) // whose a row is, which it is, what the machine says of it
		assert.deepEqual(columns.filter((c) => ['id', 'account_id', 'user_id', 'username', 'domain', 'address', 'home', 'managed', 'created_at', 'size_bytes', 'used_bytes', 'uid', 'proof', 'proven_at',
			'scopes', 'deny', 'role', 'token_id', 'parent_id', 'kind', 'resource', 'object_id', 'input', 'secret'].includes(c)), [], t);
	assert.deepEqual(operator.tokens, short.tokens);
	assert.deepEqual(operator.keys, short.keys);
	assert.deepEqual(operator.roles, ['base', 'description', 'scopes', 'updated_at', 'version']);
	for (const column of ['home', 'username', 'managed', 'id'])
		assert.ok(!operator.accounts.includes(column), column);
	for (const t of ['operations', 'fields', 'scopes', 'audit'])
		assert.equal(operator[t], undefined, t);
});

test('a tenant learns nothing of user names elsewhere: those it makes are below its own', async () => {
	const t = s.tenant(), other = s.tenant(), { token } = s.mint({ owner: t.user.username, scopes: everything });
	const made = expect(await ask('POST', 'users', { username: other.user.username.slice(0, 20) }, token), 201);
	assert.equal(made.username, `${t.username}-${other.user.username.slice(0, 20)}`);
	expect(await ask('POST', 'users', { username: made.username }, token), 409, /is taken/);
	for (const username of ['admin', 'root', 'nobody-here'])
		assert.equal(expect(await ask('POST', 'users', { username }, token), 201).username, `${t.username}-${username}`);
	const foreign = `${t.username}-x${other.username}`.slice(0, 32);
	await user({ username: foreign, account: other.username }); // by an administrator's hand
	const refused = await ask('POST', 'users', { username: foreign }, token);
	expect(refused, 422, /cannot be used/);
	assert.doesNotMatch(refused.text, /exists|taken/);
	expect(await ask('POST', 'users', { username: 'y'.repeat(32) }, token), 422, /at most 32/);
});

test('an unknown scope costs no more to name than a known one, however long it is', async () => {
	const begin = performance.now();
	s.psql(`DO $$ BEGIN FOR i IN 1 .. 20 LOOP BEGIN
		PERFORM gate.check_scopes('scopes', ARRAY['${'x'.repeat(99)}', '${'x'.repeat(90)}:read']);
	EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP; END $$`);
	const long = performance.now() - begin;
	assert.ok(long < 500, `${long} ms for twenty`); // 46 ms each before
	expect(await mint(s.token, { scopes: [`domains:${'x'.repeat(90)}`] }), 422, /there is no scope/);
	expect(await mint(s.token, { scopes: ['domain:read'] }), 422, /did you mean \\"domains:read\\"/);
	expect(await mint(s.token, { scopes: ['domains:raed'] }), 422, /did you mean \\"domains:read\\"/);
});

// ---- whatever roles, caps, deny lists, owners and accounts there are, and in whatever order they are used ----

// Numbers that come again with their seed (mulberry32).
function dice(seed) {
	let at = seed >>> 0;
	const next = () => {
		at = (at + 0x6d2b79f5) >>> 0;
		let t = Math.imul(at ^ (at >>> 15), at | 1);
		t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
		return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
	};
	const below = (n) => Math.floor(next() * n);
	return { chance: (p) => next() < p, of: (list) => list[below(list.length)], some: (list, most) => [...new Set(Array.from({ length: 1 + below(most) }, () => list[below(list.length)]))] };
}

// What each token may do now, by the verdict of every request on every operation: Map of its id to { account, may }.
function standings() {
	const rows = s.sql(`SELECT b.token_id, b.account_id, array_agg(DISTINCT o.operation) AS may FROM gate.bearer b, postern.operations o
		WHERE gate.judge(b, postern.clock(), '127.0.0.1', false, false, o) IS NULL GROUP BY 1, 2`);
	return new Map(rows.map((r) => [r.token_id, { account: r.account_id, may: new Set(r.may) }]));
}
const nothing = { account: 0, may: new Set() };
const beyond = (now, than, before_ = nothing) => [...now.may].filter((op) => !before_.may.has(op) && !than.may.has(op))
	.concat(than.account > 0 && now.account !== than.account && [...now.may].some((op) => !before_.may.has(op)) ? [`account ${now.account}`] : []);

async function wander(seed, steps) {
	const d = dice(seed);
	const scope_of = Object.fromEntries(s.sql('SELECT operation, scope FROM postern.operations ORDER BY operation').map((r) => [r.operation, r.scope]));
	const scopes = [...new Set(Object.values(scope_of))].filter((scope) => scope !== '-').sort();
	const granting = ['tokens:write', 'tokens:read', 'users:write', 'users:read', 'roles:write', 'roles:read', 'users:admin', 'profile:read'];
	const patterns = ['*', '*', ...new Set(scopes.map((x) => `${x.split(':')[0]}:*`)), ...scopes];
	const wanted = (most) => [...new Set([...(d.chance(0.4) ? scopes.filter(() => d.chance(0.7)) : d.some(patterns, most)), ...(d.chance(0.8) ? granting.filter(() => d.chance(0.8)) : [])])];
	const accounts = [s.tenant(), s.tenant()].map((t) => t.account);
	const roles = ['viewer', 'customer', 'admin'], bases = {}, users = [], tokens = []; // tokens: { id, token }
	for (let i = 0; i < 4; i++)
		for (const [list, base] of [[d.some(scopes, 2), 'customer'], [wanted(8), d.of(['viewer', 'customer', 'admin', 'admin'])], [wanted(8), 'admin']]) {
			roles.push(await role(list, base));
			bases[roles.at(-1)] = base;
		}
	for (let i = 0; i < 10; i++) { // limited administrators above all
		const fields = { role: d.of(i % 2 ? roles.slice(3).filter((name) => bases[name] === 'admin').concat('admin') : roles), ...(d.chance(0.5) ? { account_id: d.of(accounts).id } : {}) };
		users.push(await user(fields));
	}
	for (let i = 0; i < 30; i++) {
		const fields = { owner: d.of(users).username, scopes: d.chance(0.5) ? everything : wanted(5), rate_limit: 1000000, expires_at: null, ...(d.chance(0.5) ? { role: d.of(['admin', 'admin', 'customer', d.of(roles)]) } : {}),
			...(d.chance(0.3) ? { deny: d.some(patterns.slice(2), 3) } : {}), ...(d.chance(0.2) ? { account_id: d.of(accounts).id } : {}) };
		const made = await mint(s.token, fields);
		if (made.status === 201)
			tokens.push(made.json);
	}
	const done = {};
	for (let step = 0; step < steps; step++) {
		const before_ = standings(), operation = d.of(['createToken', 'createToken', 'rotateToken', 'changeToken', 'createUser', 'changeUser', 'suspendUser', 'unsuspendUser', 'createRole', 'changeRole']);
		const able = tokens.filter((t) => before_.get(t.id)?.may.has(operation));
		const holder = d.of(able.length && d.chance(0.9) ? able : tokens), held = before_.get(holder.id) ?? nothing;
		const near = tokens.filter((t) => t.user_id === holder.user_id || t.parent_id === holder.id);
		const target = d.of(d.chance(0.6) ? near : tokens), whom = d.of(users);
		const own = [...held.may].map((op) => scope_of[op]);
		const asked = () => (d.chance(0.3) ? d.some(scopes, 2) : own.length && d.chance(0.8) ? [...d.some(own, 5), ...(d.chance(0.25) ? d.some(patterns, 1) : [])] : wanted(4));
		const [what, method, path, body] = {
			createToken: () => ['mint', 'POST', 'tokens', { name: s.unique('w'), scopes: d.chance(0.3) ? holder.scopes : asked(), ...(d.chance(0.3) ? { role: d.of(roles) } : {}),
				...(d.chance(0.5) ? { owner: d.chance(0.3) ? 'admin' : whom.username } : {}), ...(d.chance(0.2) ? { account_id: d.of(accounts).id } : {}), ...(d.chance(0.2) ? { deny: d.some(patterns, 2) } : {}) }],
			rotateToken: () => ['rotate', 'POST', `tokens/${target.id}/rotate`, d.chance(0.3) ? { grace_s: 60 } : {}],
			changeToken: () => ['rename', 'PATCH', `tokens/${target.id}`, { name: s.unique('w') }],
			createUser: () => ['create user', 'POST', 'users', { username: s.unique('w'), role: d.of(roles), ...(d.chance(0.5) ? { account_id: d.of(accounts).id } : {}) }],
			changeUser: () => ['change user', 'PATCH', `users/${whom.id}`, { ...(d.chance(0.7) ? { role: d.of(roles) } : {}), ...(d.chance(0.5) ? { account_id: d.of([...accounts.map((a) => a.id), null]) } : {}) }],
			suspendUser: () => ['suspend user', 'POST', `users/${whom.id}/suspend`],
			unsuspendUser: () => ['unsuspend user', 'POST', `users/${whom.id}/unsuspend`],
			createRole: () => ['create role', 'POST', 'roles', { name: s.unique('w'), base: d.of(['viewer', 'customer', 'admin']), scopes: asked() }],
			changeRole: () => ['change role', 'PATCH', `roles/${d.of(roles)}`, { ...(d.chance(0.8) ? { scopes: asked() } : {}), ...(d.chance(0.5) ? { base: d.of(['viewer', 'customer', 'admin']) } : {}) }],
		}[operation]();
		const [was] = s.sql(`SELECT role, account_id FROM postern.users WHERE id = ${whom.id}`);
		const answer = await ask(method, path, body, holder.token);
		assert.ok(answer.status < 500 && answer.status !== 400, `${what}: ${answer.text}`);
		if (answer.status > 201)
			continue;
		done[what] = (done[what] ?? 0) + 1;
		const about = `seed ${seed}, step ${step}: ${what} ${path} ${JSON.stringify(body)} by ${JSON.stringify({ ...holder, token: undefined })}`;
		const now = standings();
		for (const [id, stands] of now) // nobody's token may do more now than before, but for what the holder could
			assert.deepEqual(beyond(stands, held, before_.get(id)), [], `${about}: gained by ${id}`);
		if (what === 'mint' || what === 'rotate' || what === 'rename')
			assert.deepEqual(beyond(now.get(answer.json.id) ?? nothing, held), [], about);
		if (what === 'mint')
			tokens.push(answer.json);
		if (what === 'rotate')
			tokens.splice(tokens.findIndex((t) => t.id === target.id), 1, answer.json);
		if (what === 'create role')
			roles.push(answer.json.name);
		let bearer = answer.json.username;
		if (what === 'create role' || what === 'change role') { // whoever gets it
			const probe = await user({ role: answer.json.name, account_id: accounts[0].id });
			users.push(probe);
			bearer = probe.username;
		}
		if (/user|role/.test(what) && what !== 'suspend user') { // all that such a user may
			const full = await mint(s.token, { owner: bearer, role: what.endsWith('role') ? answer.json.name : answer.json.role, scopes: undefined, expires_at: null });
			if (what === 'create user')
				users.push(answer.json);
			if (full.status === 201 && what.endsWith('role'))
				assert.deepEqual(beyond({ ...standings().get(full.json.id) ?? nothing, account: held.account }, held), [], `${about}: whoever has the role`);
			else if (full.status === 201 && !(what === 'change user' && was.role === answer.json.role && was.account_id === (answer.json.account_id ?? 0)))
				assert.deepEqual(beyond(standings().get(full.json.id) ?? nothing, held), [], `${about}: the user`);
		}
		if (what === 'mint' || what === 'rotate') // and so over HTTP
			for (const target of ['domains', 'users', 'roles', 'accounts', 'backups', 'tokens', 'settings'])
				if (![401, 403].includes((await ask('GET', target, undefined, answer.json.token)).status))
					assert.ok(held.may.has({ domains: 'listDomains', users: 'listUsers', roles: 'listRoles', accounts: 'listAccounts', backups: 'listBackups', tokens: 'listTokens', settings: 'listSettings' }[target]), `${about}: GET ${target}`);
	}
	return done;
}

test('in random walks nothing that is obtained can do an operation that its maker cannot', async () => {
	const total = {};
	for (let seed = 1; seed <= (soak ? 40 : 2); seed++)
		for (const [what, n] of Object.entries(await wander(Number(process.env.SEED ?? 0) + seed, soak ? 400 : 50)))
			total[what] = (total[what] ?? 0) + n;
	assert.ok(Object.values(total).reduce((sum, n) => sum + n) >= 20, JSON.stringify(total)); // the rest is refused
});
