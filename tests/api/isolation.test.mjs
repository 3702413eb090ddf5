// Two tenants and the wall between them: over the API, and in PostgreSQL itself.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';

import { mint } from './credentials.mjs';
import { startStack } from './harness.mjs';
import { serve } from './statements.mjs';

let s, a, b, bound, resources, roles;
const ask = (token, method, target, body) => s.ask(`/api/${target}`, { method, body, token });
const owned = ['domains', 'mailboxes', 'forwarders', 'databases', 'backups', 'cron', 'usage', 'users', 'tokens', 'accounts', 'audit']; // tenant resources

// A tenant with something of everything. `marks` are texts that nobody else may ever see.
async function furnish() {
	const t = s.tenant();
	const scopes = ['*', 'tokens:read', 'tokens:write', 'tokens:delete'];
	t.token = (await mint(s, { owner: t.user.username, scopes, rate_limit: 100000, action_limit: 100000, expires_at: null })).token;
	const make = async (target, body) => {
		const made = await ask(t.token, 'POST', target, body);
		assert.equal(made.status, 201, made.text);
		return made.json;
	};
	t.marks = [t.username];
	t.rows = {
		domains: [await make('domains', { domain: `${s.unique('one')}.example` }), await make('domains', { domain: `${s.unique('two')}.example` }),
			await make('domains', { domain: `${s.unique('three')}.example` })],
		users: [t.user, await make('users', { username: s.unique('second'), email: `${s.unique('mail')}@example.org` })],
		tokens: [await make('tokens', { name: s.unique('small'), scopes: ['domains:read'] }), await make('tokens', { name: s.unique('small'), scopes: ['domains:read'] })],
		accounts: [t.account],
	};
	const host = t.rows.domains[0].domain;
	t.rows.mailboxes = [await make('mailboxes', { address: `${s.unique('box')}@${host}`, password: 'long enough' }), await make('mailboxes', { address: `${s.unique('box')}@${host}`, password: 'long enough' })];
	t.rows.forwarders = [await make('forwarders', { address: `${s.unique('way')}@${host}`, destinations: [`${s.unique('to')}@example.com`] }), await make('forwarders', { address: `@${host}`, destinations: [t.rows.mailboxes[0].address] })];
	t.rows.databases = [await make('databases', { name: s.unique('base'), engine: 'postgresql' }), await make('databases', { name: s.unique('base'), engine: 'postgresql' })];
	for (const d of t.rows.databases)
		delete d.password;
	for (const kind of ['files', 'mail'])
		assert.equal((await ask(t.token, 'POST', 'backups', { kind, note: s.unique('note') })).status, 202);
	t.rows.backups = (await ask(t.token, 'GET', 'backups')).json.data;
	t.rows.usage = [{ id: t.account.id, account: t.username }];
	s.psql(`INSERT INTO postern.usage (account_id, files_bytes, mail_bytes, databases_bytes, backups_bytes, computed_at) -- posternd's part
		VALUES (${t.account.id}, 1, 2, 3, 4, now())`);
	t.rows.cron = [await make('cron', { name: s.unique('clock'), schedule: '@daily', command: `echo ${s.unique('word')}` }), await make('cron', { schedule: '@daily', command: `echo ${s.unique('word')}` })];
	t.marks.push(...t.rows.cron.flatMap((c) => [c.command, c.job_id]));
	t.marks.push(...t.rows.backups.flatMap((b) => [b.note, b.job_id]));
	t.marks.push(...t.rows.databases.flatMap((d) => [d.name, d.job_id]));
	t.marks.push(t.rows.mailboxes[0].address, t.rows.forwarders[0].address, t.rows.forwarders[0].destinations[0]);
	t.marks.push(...t.rows.domains.map((d) => d.domain), ...t.rows.users.map((u) => u.username), ...t.rows.tokens.flatMap((k) => [k.id, k.name, k.key_id]), t.rows.users[1].email);
	t.rows.audit = s.sql(`SELECT id, request_id FROM postern.audit WHERE account_id = ${t.account.id} ORDER BY at LIMIT 3`);
	t.marks.push(...t.rows.audit.map((r) => r.request_id).filter(Boolean));
	return t;
}
const clean = (answer, other, about = '') => {
	for (const mark of other.marks)
		assert.ok(!answer.text.includes(mark), `${about} shows ${mark}: ${answer.text}`);
};

before(async () => {
	s = await startStack('isolation', { DOMAIN_PROOF: 'off', POSTERN_DATABASES_POSTGRESQL_DSN: 'host=/nowhere dbname=postgres' });
	s.token = s.mint({ name: 'tests', expires_at: null }).token;
	a = await furnish();
	b = await furnish();
	// an administrator's token bound to A's account is confined like A
	bound = { ...a, token: (await mint(s, { account: a.username, scopes: ['*'], rate_limit: 100000, action_limit: 100000 })).token };
	resources = s.routes();
	roles = s.sql(`SELECT rolname FROM pg_roles WHERE rolname LIKE 'postern\\_%'`).map((r) => r.rolname);
});
after(() => s?.stop());

// All rows of B, as PostgreSQL has them.
const rows_of = (t) => s.sql(['accounts WHERE id =', 'users WHERE account_id =', 'tokens WHERE account_id =', 'keys WHERE account_id =', 'domains WHERE account_id =', 'mailboxes WHERE account_id =', 'forwarders WHERE account_id =', 'databases WHERE account_id =', 'database_names WHERE account_id =', 'backups WHERE account_id =', 'cron WHERE account_id =', 'usage WHERE account_id =',
	'domain_names WHERE account_id =', 'events WHERE account_id ='].map((q) => `SELECT x::text AS row FROM postern.${q.replace(' WHERE', ' x WHERE')} ${t.account.id}`).join(' UNION ALL '))
	.map((r) => r.row).sort();

test('no list of a tenant shows a row of another, by whatever filter, search, sort or page it is asked', async () => {
	for (const who of [a, bound])
		for (const resource of resources.filter((r) => owned.includes(r.name))) {
			const fields = resource.fields.filter((f) => f.flags.includes('filter'));
			const queries = ['', '?per_page=100', '?updated_since=2000-01-01T00:00:00Z'].filter((q) => resource.name !== 'audit' || !q.includes('updated'));
			for (const f of fields)
				for (const row of [...(b.rows[resource.name] ?? []), { account_id: b.account.id, account: b.username, owner: b.user.username, user_id: b.user.id, tenant: b.account.id }])
					if (row[f.name] !== undefined && row[f.name] !== null)
						queries.push(`?${f.name}=${encodeURIComponent(row[f.name])}`);
			for (const f of resource.fields.filter((x) => x.flags.includes('sort')))
				queries.push(`?sort=${f.name}&order=desc&per_page=100`);
			if (resource.fields.some((f) => f.flags.includes('search')))
				queries.push(...b.marks.slice(0, 6).map((m) => `?search=${encodeURIComponent(m)}`), '?search=%25', '?search=example');
			assert.ok(queries.length > 5);
			for (const query of queries) {
				const list = await ask(who.token, 'GET', resource.name + query);
				assert.equal(list.status, 200, `${resource.name}${query}: ${list.text}`);
				clean(list, b, resource.name + query);
				for (const row of list.json.data)
					if ('account_id' in row)
						assert.equal(row.account_id, a.account.id, resource.name + query);
			}
		}
});

test('totals count own rows only', async () => {
	for (const resource of ['domains', 'mailboxes', 'forwarders', 'databases', 'backups', 'cron', 'usage', 'users', 'accounts']) {
		const list = await ask(a.token, 'GET', resource);
		assert.equal(list.json.total, a.rows[resource].length, resource);
	}
	assert.equal((await ask(a.token, 'GET', `domains?domain=${b.rows.domains[0].domain}`)).json.total, 0);
});

test('ids and names of another tenant are 404 for every method, and nothing of it changes', async () => {
	const before = rows_of(b);
	for (const who of [a, bound])
		for (const resource of resources.filter((r) => owned.includes(r.name)))
			for (const route of resource.routes.filter((r) => r.path.includes('{id}') && (r.role !== 'admin' || who === bound)))
				for (const row of b.rows[resource.name])
					for (const id of [row.id, resource.key && row[resource.key]].filter(Boolean)) {
						const body = { PUT: {}, PATCH: {} }[route.method];
						const answer = await ask(who.token, route.method, resource.name + route.path.replace('{id}', id), body);
						assert.ok([404, 422].includes(answer.status) || (who === bound && route.role === 'admin' && answer.status === 403), `${route.operation_id} ${id}: ${answer.text}`);
						if (answer.status !== 422)
							clean({ text: answer.text.replaceAll(String(id), '') }, b, route.operation_id);
					}
	assert.deepEqual(rows_of(b), before);
});

test('what a tenant writes stays in its account, whatever account or user the body names', async () => {
	const before = rows_of(b);
	const other = [{ account_id: b.account.id }, { account: b.username }, { account_id: a.account.id, account: b.username }];
	for (const who of [a, bound]) {
		for (const more of other) {
			for (const [target, body] of [['domains', { domain: `${s.unique('x')}.example` }], ['users', { username: s.unique('x') }], ['tokens', { name: s.unique('x'), scopes: ['domains:read'] }],
				['mailboxes', { address: `x@${a.rows.domains[0].domain}`, password: 'long enough' }], ['forwarders', { address: `x@${a.rows.domains[0].domain}`, destinations: ['x@example.com'] }], ['databases', { name: s.unique('x'), engine: 'postgresql' }], ['backups', { kind: 'databases' }], ['cron', { schedule: '@daily', command: 'true' }]]) {
				const answer = await ask(who.token, 'POST', target, { ...body, ...more });
				assert.equal(answer.status, 422, `${target} ${JSON.stringify(more)}: ${answer.text}`);
				assert.ok(answer.json.error.fields.account_id || answer.json.error.fields.account);
				assert.ok(!answer.text.includes(b.username) || more.account);
			}
			const moved = await ask(who.token, 'PATCH', `users/${a.rows.users[1].id}`, more);
			assert.equal(moved.status, 422, moved.text);
			assert.equal((await ask(who.token, 'PATCH', `domains/${a.rows.domains[0].id}`, more)).status, 422);
		}
		for (const more of [{ owner: b.user.username }, { user_id: b.user.id }])
			assert.ok([403, 422].includes((await ask(who.token, 'POST', 'tokens', { name: s.unique('x'), scopes: ['domains:read'], ...more })).status));
		const many = await ask(who.token, 'POST', 'tokens/revoke', { ids: b.rows.tokens.map((k) => k.id) });
		assert.deepEqual(many.json.revoked, []);
		assert.deepEqual(many.json.not_found.sort(), b.rows.tokens.map((k) => k.id).sort());
	}
	assert.deepEqual(rows_of(b), before);
	const unknown = await ask(a.token, 'POST', 'domains', { domain: 'y.example', account: 'nobody-at-all' });
	const theirs = await ask(a.token, 'POST', 'domains', { domain: 'y.example', account: b.username });
	assert.deepEqual(theirs.json.error, unknown.json.error); // an account that is not the caller's is an unknown one
	for (const [target, more] of [['mailboxes', { password: 'long enough' }], ['forwarders', { destinations: ['x@example.com'] }]]) { // and so is a domain
		const [none, held] = await Promise.all(['none.example', b.rows.domains[0].domain].map((host) => ask(a.token, 'POST', target, { address: `x@${host}`, ...more })));
		assert.deepEqual([none.status, held.status], [422, 422]);
		assert.equal(JSON.stringify(held.json.error), JSON.stringify(none.json.error).replaceAll('none.example', b.rows.domains[0].domain));
		const numbered = await ask(a.token, 'POST', target, { address: `x@${a.rows.domains[0].domain}`, domain_id: b.rows.domains[0].id, ...more });
		assert.deepEqual([numbered.status, Object.keys(numbered.json.error.fields)], [422, ['domain_id']]);
	}
});

test('a name that another tenant holds is taken, and no more is said about it', async () => {
	const name = b.rows.domains[0].domain;
	for (const domain of [name, `sub.${name}`]) {
		const answer = await ask(a.token, 'POST', 'domains', { domain });
		assert.equal(answer.status, 409, answer.text);
		clean({ text: answer.text.replaceAll(name, '') }, b);
		assert.ok(!answer.text.includes(String(b.account.id)) || !/account/.test(answer.text));
	}
});

test("a cursor of another tenant, or of an administrator, is a 400", async () => {
	for (const resource of ['domains', 'users', 'tokens', 'audit']) {
		const mine = (await ask(a.token, 'GET', `${resource}?per_page=1`)).json.next_cursor;
		const theirs = (await ask(b.token, 'GET', `${resource}?per_page=1`)).json.next_cursor;
		const all = (await ask(s.token, 'GET', `${resource}?per_page=1`)).json.next_cursor;
		assert.ok(mine && theirs && all, resource);
		assert.equal((await ask(a.token, 'GET', `${resource}?per_page=1&cursor=${mine}`)).status, 200);
		for (const cursor of [theirs, all]) {
			const answer = await ask(a.token, 'GET', `${resource}?per_page=1&cursor=${cursor}`);
			assert.equal(answer.status, 400, answer.text);
			assert.ok(answer.json.error.fields.cursor);
			clean(answer, b);
		}
		assert.equal((await ask(s.token, 'GET', `${resource}?per_page=1&cursor=${mine}`)).status, 400);
	}
});

test('walking a list by its cursors gives all own rows and no others', async () => {
	const seen = [];
	let cursor = '';
	do {
		const page = await ask(a.token, 'GET', `domains?per_page=1${cursor && `&cursor=${cursor}`}`);
		assert.equal(page.status, 200);
		seen.push(...page.json.data.map((d) => d.id));
		cursor = page.json.next_cursor;
	} while (cursor);
	assert.deepEqual(seen, a.rows.domains.map((d) => d.id));
});

test('requests of two tenants that are admitted together get their own rows each', async () => {
	const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => {
		const who = [a, b, bound, { token: s.token }][i % 4];
		return ask(who.token, 'GET', ['domains?per_page=100', 'domains?sort=domain&per_page=100', 'me'][i % 3]).then((answer) => ({ who, answer }));
	}));
	for (const { who, answer } of answers) {
		assert.equal(answer.status, 200);
		if (who.account) {
			clean(answer, who.username === a.username ? b : a);
			for (const row of answer.json.data ?? [])
				assert.equal(row.account_id, who.account.id);
		}
	}
});

test("the trail shows a tenant what happened in its own account, also by administrators, and nothing of others'", async () => {
	const seen = await ask(s.token, 'GET', `domains/${a.rows.domains[0].id}`);
	assert.equal(seen.status, 200);
	const id = seen.headers.get('x-request-id');
	assert.equal((await ask(a.token, 'GET', `audit?request_id=${id}`)).json.data.length, 1);
	assert.equal((await ask(b.token, 'GET', `audit?request_id=${id}`)).json.data.length, 0);
	const probing = await ask(a.token, 'GET', `domains/${b.rows.domains[0].id}`);
	assert.equal((await ask(b.token, 'GET', `audit?request_id=${probing.headers.get('x-request-id')}`)).json.data.length, 0);
	assert.equal((await ask(a.token, 'GET', `audit?request_id=${probing.headers.get('x-request-id')}`)).json.data.length, 1);
});

test('an administrator bound to an account makes no administrators, roles or accounts', async () => {
	const count = () => s.sql(`SELECT count(*)::int AS n FROM postern.users u JOIN postern.roles r ON r.name = u.role WHERE r.rank = 3`)[0].n;
	const admins = count();
	for (const who of [a, bound]) {
		const made = await ask(who.token, 'POST', 'users', { username: s.unique('chief'), role: 'admin' });
		assert.ok([403, 422].includes(made.status), made.text);
		const raised = await ask(who.token, 'PATCH', `users/${a.rows.users[1].id}`, { role: 'admin' });
		assert.ok([403, 422].includes(raised.status), raised.text);
		assert.equal((await ask(who.token, 'POST', 'accounts', { username: s.unique('z') })).status, 403);
		assert.equal((await ask(who.token, 'POST', 'roles', { name: s.unique('z'), scopes: ['domains:read'] })).status, 403);
		assert.equal((await ask(who.token, 'PATCH', `accounts/${a.account.id}`, { max_domains: null })).status, 403);
	}
	assert.equal(count(), admins);
});

// ---- the wall in PostgreSQL ----

const denied = (statement, role, pattern = /permission denied|must be owner/) => {
	try {
		s.psql(statement, role);
	} catch (error) {
		const text = String(error.stderr ?? error.message);
		assert.match(text, pattern, `${role}: ${statement}`);
		return;
	}
	assert.fail(`${role} may: ${statement}`);
};
// The same for many statements in one session: every one of them must lack a privilege.
const denied_all = (role, statements, account) => s.psql(`BEGIN;
	${account === undefined ? '' : `SET LOCAL ROLE ${role}; SET LOCAL postern.account_id = '${account}';`}
	DO $do$ DECLARE st text; BEGIN
		FOREACH st IN ARRAY ARRAY[${statements.map((x) => `$st$${x}$st$`).join(', ')}] LOOP
			BEGIN
				EXECUTE st;
				RAISE EXCEPTION '${role} may: %', st;
			EXCEPTION WHEN insufficient_privilege THEN
				NULL;
			END;
		END LOOP;
	END $do$; ROLLBACK`, account === undefined ? role : undefined);
const logins = () => resources.map((r) => `postern_${r.name}`);

test('a binary\'s role can read and change no table, sequence or view', () => {
	const tables = s.sql(`SELECT format('%I.%I', n.nspname, c.relname) AS t, c.relkind AS kind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S') AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_'`);
	assert.ok(tables.length > 20);
	const open = s.sql(`SELECT r.rolname, t.t, p.p FROM (SELECT unnest('{${[...logins(), 'postern_cli'].join(',')}}'::text[])) r (rolname),
		(SELECT unnest('{${tables.filter((t) => t.kind !== 'S').map((t) => `"${t.t}"`).join(',')}}'::text[])) t (t), (SELECT unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[])) p (p)
		WHERE has_table_privilege(r.rolname, t.t, p.p) OR (p.p IN ('SELECT', 'INSERT', 'UPDATE') AND has_any_column_privilege(r.rolname, t.t, p.p))`);
	assert.deepEqual(open, []);
	assert.deepEqual(s.sql(`SELECT r, q FROM unnest('{${[...logins(), 'postern_cli'].join(',')}}'::text[]) r,
		unnest('{${tables.filter((t) => t.kind === 'S').map((t) => `"${t.t}"`).join(',')}}'::text[]) q WHERE has_sequence_privilege(r, q, 'USAGE, SELECT, UPDATE')`), []);
	for (const role of logins())
		denied_all(role, ['postern.domains', 'postern.tokens', 'postern.keys', 'postern.audit', 'postern.users', 'domains.item', 'gate.bearer'].map((t) => `SELECT * FROM ${t}`));
	denied_all('postern_cli', ['TABLE postern.accounts', 'TABLE postern.keys', 'TABLE postern.audit']);
});

test('a binary\'s role may execute its own functions and those of the gate that prove the token, and no others', () => {
	for (const resource of resources) {
		const may = s.sql(`SELECT n.nspname || '.' || p.proname AS f FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
			WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND has_schema_privilege('postern_${resource.name}', n.oid, 'USAGE')
			AND has_function_privilege('postern_${resource.name}', p.oid, 'EXECUTE') ORDER BY 1`).map((r) => r.f);
		const own = resource.name;
		assert.deepEqual(may.filter((f) => !f.startsWith(`${own}.`)).filter((f) => !['gate.compatible_from', 'gate.keep', 'gate.record', 'gate.settings_held', 'gate.settle'].includes(f)), [], own);
		assert.deepEqual(may.filter((f) => f.startsWith(`${own}.`)), [...(resource.routes.some((r) => r.does === 'export') ? [`${own}.export`] : []), ...(resource.routes.some((r) => r.flags.includes('listed')) ? [`${own}.open`] : []), ...(['settings', 'databases', 'mailboxes'].includes(own) ? [`${own}.learn`] : []), `${own}.outcome`, `${own}.serve`, `${own}.write`], own);
	}
	denied_all('postern_domains', ["domains.tenant_read('{1}', '{1}', '{page}', '{0}', '{10}', '{NULL}', '{NULL}')", "domains.operator_read('{1}', NULL, '{page}', '{0}', '{10}', '{NULL}', NULL)", "users.local_read('list', NULL, 10, NULL, NULL)",
		"domains.local_read('list', NULL, 10, NULL, NULL)", 'gate.system(NULL, NULL)', 'postern.audit_partitions(1)', "postern.wall('postern.domains')", "gate.sync_operations('[]')"].map((f) => `SELECT ${f}`));
});

test('login roles are nobody special, belong to no other role and own nothing', () => {
	const special = s.sql(`SELECT rolname FROM pg_roles WHERE rolname LIKE 'postern\\_%' AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls OR rolreplication)`);
	assert.deepEqual(special, []);
	assert.deepEqual(s.sql(`SELECT rolname FROM pg_roles WHERE rolname IN ('postern_owner', 'postern_gate', 'postern_tenant', 'postern_operator') AND rolcanlogin`), []);
	assert.deepEqual(s.sql(`SELECT DISTINCT pg_get_userbyid(member) AS member FROM pg_auth_members WHERE pg_get_userbyid(member) LIKE 'postern\\_%'`), [{ member: 'postern_monitor' }]);
	assert.deepEqual(s.sql(`SELECT rolcanlogin FROM pg_roles WHERE rolname = 'postern_monitor'`), [{ rolcanlogin: false }], 'it sees sessions: server-health');
	const nologin = roles.filter((r) => !['postern_owner', 'postern_gate', 'postern_tenant', 'postern_operator'].includes(r));
	assert.deepEqual(s.sql(`SELECT relname FROM pg_class WHERE pg_get_userbyid(relowner) = ANY ('{${nologin.join(',')}}')`), []);
	for (const role of logins())
		denied_all(role, ['SET ROLE postern_gate', 'SET ROLE postern_owner', 'CREATE TABLE public.mine (x int)', 'CREATE TABLE postern.mine (x int)', 'CREATE SCHEMA mine',
			'CREATE TEMP TABLE mine (x int)', 'ALTER TABLE postern.audit DISABLE ROW LEVEL SECURITY', 'DROP FUNCTION gate.compatible_from()']);
});

test('every tenant table is behind row-level security that binds its owner too', () => {
	const bare = s.sql(`SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute t ON t.attrelid = c.oid
		WHERE n.nspname = 'postern' AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND t.attname = 'account_id' AND NOT (c.relrowsecurity AND c.relforcerowsecurity)`);
	assert.deepEqual(bare.map((r) => r.relname).filter((r) => r !== 'refusals'), []); // the gate's own: no tenant or operator may touch it
	for (const role of ['postern_tenant', 'postern_operator'])
		assert.deepEqual(s.sql(`SELECT has_table_privilege('${role}', 'postern.refusals', 'SELECT, INSERT, UPDATE, DELETE') AS may`), [{ may: false }]);
});

const as = (role, account, statement) => s.psql(`BEGIN; SET LOCAL ROLE ${role}; ${account === null ? '' : `SET LOCAL postern.account_id = '${account}';`} ${statement}; COMMIT;`);
const tenant_tables = ['accounts', 'users', 'tokens', 'rates', 'domains', 'domain_names', 'mailboxes', 'forwarders', 'databases', 'database_names', 'backups', 'cron', 'usage', 'jobs', 'events', 'audit'];

test('the tenant role sees own rows only when it asks without any condition, and none without an account', () => {
	const counts = tenant_tables.map((table) => `SELECT '${table}|' || count(*) || '|' ||
		count(*) FILTER (WHERE ${table === 'accounts' ? 'id' : 'account_id'} = ${a.account.id}) FROM postern.${table}`).join(' UNION ALL ');
	for (const line of as('postern_tenant', a.account.id, counts).split('\n')) {
		const [table, seen, own] = line.split('|');
		assert.equal(seen, own, table);
		if (table !== 'jobs')
			assert.ok(Number(seen) > 0, table);
	}
	for (const nobody of [null, '', '-1', '999999999'])
		assert.deepEqual(as('postern_tenant', nobody, counts).split('\n'), tenant_tables.map((table) => `${table}|0|0`), `account ${nobody}`);
	for (const view of ['domains', 'mailboxes', 'forwarders', 'databases', 'backups', 'cron', 'usage', 'users', 'tokens', 'accounts', 'audit'])
		assert.equal(as('postern_tenant', a.account.id, `SELECT count(*) FROM ${view}.item WHERE tenant <> ${a.account.id}`), '0', view);
	assert.ok(Number(as('postern_operator', null, 'SELECT count(DISTINCT account_id) FROM postern.domains')) >= 2);
});

test('the tenant role cannot change, move or add a row of another account', () => {
	const before = rows_of(b);
	for (const table of ['users', 'tokens', 'mailboxes', 'forwarders', 'databases', 'database_names', 'backups', 'cron', 'domains', 'domain_names'])
		as('postern_tenant', a.account.id, `DELETE FROM postern.${table} WHERE account_id = ${b.account.id}`);
	as('postern_tenant', a.account.id, `UPDATE postern.users SET email = 'x@example.org' WHERE account_id = ${b.account.id}`);
	denied_all('postern_tenant', [`UPDATE postern.domains SET account_id = ${b.account.id}`, `INSERT INTO postern.domain_names VALUES ('z.example', ${b.account.id})`,
		`INSERT INTO postern.users (account_id, username) VALUES (${b.account.id}, 'intruder')`], a.account.id);
	assert.deepEqual(rows_of(b), before);
});

test('no role of the API changes, removes or forges a row of the trail', () => {
	const partition = s.sql(`SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'postern.audit'::regclass`).map((r) => r.relname);
	assert.ok(partition.length >= 2);
	const may = s.sql(`SELECT r, t, p FROM unnest('{${roles.filter((r) => r !== 'postern_owner').join(',')}}'::text[]) r, unnest('{audit,${partition.join(',')}}'::text[]) t,
		unnest('{UPDATE,DELETE,TRUNCATE,TRIGGER}'::text[]) p
		WHERE has_table_privilege(r, 'postern.' || t, p) OR (p = 'UPDATE' AND has_any_column_privilege(r, 'postern.' || t, p))`);
	assert.deepEqual(may, []);
	const change = ['audit', ...partition].flatMap((t) => [`UPDATE postern.${t} SET status = 200`, `DELETE FROM postern.${t}`, `TRUNCATE postern.${t}`]);
	const forge = `INSERT INTO postern.audit (account_id, at, actor, resource, verb, outcome) VALUES (${a.account.id}, now(), 'system', 'x', 'y', 'allowed')`;
	for (const role of [...logins(), 'postern_cli'])
		denied_all(role, [...change, 'DROP TABLE postern.audit', forge]);
	for (const role of ['postern_gate', 'postern_tenant', 'postern_operator'])
		denied_all(role, role === 'postern_gate' ? change : [...change, forge], a.account.id);
});

test('nobody but the gate reads a digest', () => {
	assert.deepEqual(s.sql(`SELECT r FROM unnest('{${roles.filter((r) => !['postern_gate', 'postern_owner'].includes(r)).join(',')}}'::text[]) r
		WHERE has_column_privilege(r, 'postern.keys', 'digest', 'SELECT') OR has_any_column_privilege(r, 'gate.bearer', 'SELECT')
		OR has_column_privilege(r, 'postern.keys', 'digest', 'UPDATE')`), []);
	for (const role of ['postern_tenant', 'postern_operator'])
		denied_all(role, ['SELECT digest FROM postern.keys', 'SELECT * FROM gate.bearer', `UPDATE postern.keys SET digest = decode(repeat('00', 32), 'hex')`,
			'DELETE FROM postern.keys RETURNING digest', 'SELECT k FROM postern.keys k'], a.account.id);
});

test('nobody but the gate and the mail servers read a mailbox\'s password', () => {
	assert.deepEqual(s.sql(`SELECT r FROM unnest('{${roles.filter((r) => !['postern_gate', 'postern_owner'].includes(r)).join(',')}}'::text[]) r
		WHERE has_column_privilege(r, 'postern.mailboxes', 'password', 'SELECT')`), []);
	assert.deepEqual(s.sql(`SELECT r FROM unnest('{${roles.filter((r) => !['postern_gate', 'postern_owner', 'postern_mail'].includes(r)).join(',')}}'::text[]) r
		WHERE has_any_column_privilege(r, 'mail.mailboxes', 'SELECT')`), []);
	for (const role of ['postern_tenant', 'postern_operator'])
		denied_all(role, ['SELECT password FROM postern.mailboxes', 'SELECT m FROM postern.mailboxes m', 'DELETE FROM postern.mailboxes RETURNING password',
			`UPDATE postern.mailboxes SET quota_mb = 1 WHERE password LIKE 'x'`], a.account.id);
});

test('a tenant\'s functions change what a database\'s password is checked by, and do not read it', () => {
	assert.deepEqual(s.sql(`SELECT r FROM unnest('{${roles.filter((r) => !['postern_gate', 'postern_owner', 'postern_operator'].includes(r)).join(',')}}'::text[]) r
		WHERE has_column_privilege(r, 'postern.databases', 'verifier', 'SELECT')`), []);
	denied_all('postern_tenant', ['SELECT verifier FROM postern.databases', 'SELECT d FROM postern.databases d', 'DELETE FROM postern.databases RETURNING verifier'], a.account.id);
});

test('a call with a forged digest reads nothing, changes nothing and writes no row', () => {
	const key = a.token.split('_')[1];
	const trail = () => s.sql('SELECT count(*)::int AS n FROM postern.audit')[0].n;
	const before = [trail(), rows_of(a)];
	for (const digest of [`decode(repeat('00', 32), 'hex')`, `decode(repeat('00', 64), 'hex')`, `''::bytea`, 'NULL::bytea', `decode(repeat('ab', 32), 'hex')`]) {
		const served = s.psql(`SELECT status, reason, rows IS NULL, doc IS NULL, account_id IS NULL, ticket IS NULL
			FROM ${serve('domains', [{ key, operation: 'listDomains', op: 'page', id: 0 }], { digest: `ARRAY[${digest}]` })}`, 'postern_domains');
		assert.equal(served, '401|unknown|t|t|t|t');
		denied(`SELECT * FROM domains.write('${key}', ${digest}, 1, '${a.rows.domains[0].id}', '{}', NULL, false, false, NULL, 0, NULL, NULL)`, 'postern_domains', /unknown/);
		denied(`SELECT gate.record('${key}', ${digest}, 1, 500, NULL, 0)`, 'postern_domains', /unknown/);
		denied(`SELECT gate.keep('${key}', ${digest}, 'k', 200, '', '')`, 'postern_domains', /unknown/);
	}
	assert.deepEqual([trail(), rows_of(a)], before);
});

test('functions that run with more rights pin their search path', () => {
	assert.deepEqual(s.sql(`SELECT p.oid::regprocedure::text AS f FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
		WHERE p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND NOT coalesce(p.proconfig @> ARRAY['search_path=pg_catalog, pg_temp'], false)`), []);
	assert.deepEqual(s.sql(`SELECT p.oid::regprocedure::text AS f FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
		WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND has_function_privilege('public', p.oid, 'EXECUTE')`), []);
});
