// PostgreSQL is the wall: what each role may do, asked of the catalogue, for every resource there is and will be.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { startStack } from '../api/harness.mjs';

let s, endpoints;
const schemas = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'";

before(async () => {
	s = await startStack('wall');
	endpoints = s.sql('SELECT name FROM postern.endpoints ORDER BY name').map((r) => r.name);
});
after(() => s?.stop());

// Functions outside PostgreSQL's own schemas that a role may execute, where it may also use the schema.
const executable = (role) => s.sql(`SELECT n.nspname || '.' || p.proname AS f FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
	WHERE ${schemas} AND has_schema_privilege('${role}', n.oid, 'USAGE') AND has_function_privilege('${role}', p.oid, 'EXECUTE') ORDER BY 1`).map((r) => r.f);

function refused(role, statement) {
	try {
		s.psql(statement, role);
	} catch (error) {
		return error.stderr;
	}
	return assert.fail(`${role} may: ${statement}`);
}

// One that some addresses may ask without a token has a function more.
const listed = () => s.routes().filter((r) => r.routes.some((route) => route.flags.includes('listed'))).map((r) => r.name);
// Those that export have two functions more.
const exporting = () => s.routes().filter((r) => r.routes.some((route) => route.does === 'export')).map((r) => r.name);

test('a binary may execute its own functions and the gate\'s five, and nothing else', () => {
	assert.ok(endpoints.length >= 8);
	for (const name of endpoints)
		assert.deepEqual(executable(`postern_${name}`), [
			...(exporting().includes(name) ? [`${name}.export`] : []), ...(listed().includes(name) ? [`${name}.open`] : []), ...(['settings', 'databases', 'mailboxes'].includes(name) ? [`${name}.learn`] : []), `${name}.outcome`, `${name}.serve`, `${name}.write`, 'gate.compatible_from', 'gate.keep', 'gate.record', 'gate.settings_held', 'gate.settle'].sort(), name);
});

test('the worker may take jobs and say how they go, seal the trail, keep house, say how cron jobs ran, and nothing else', () => {
	assert.deepEqual(executable('postern_worker'), ['cron.note_run', 'cron.tick', 'gate.compatible_from', 'gate.settings_held', 'gate.settle', 'plugins.deliver',
		...['add', 'add_checkpoint', 'drop_months', 'elect', 'last', 'read_checkpoints', 'unsealed'].map((f) => `seals.${f}`),
		...['beat', 'finish', 'keep_house', 'recover', 'seen', 'sequence', 'step', 'take'].map((f) => `work.${f}`)]);
});

test('the operator\'s command may execute the local functions, read the trail with its seals and append a checkpoint, nothing else', () => {
	const allowed = [...endpoints.flatMap((name) => [`${name}.local_read`, `${name}.local_write`]), ...exporting().map((name) => `${name}.local_export`),
		'gate.compatible_from', 'gate.settings_held', ...['add_checkpoint', 'last', 'read_checkpoints', 'read_rows', 'read_seals'].map((f) => `seals.${f}`)];
	assert.deepEqual(executable('postern_cli'), allowed.sort());
});

test('no role that logs in may touch a table, a view or a sequence, or make anything', () => {
	const logins = [...endpoints.map((name) => `postern_${name}`), 'postern_cli', 'postern_worker'];
	for (const role of logins) {
		assert.deepEqual(s.sql(`SELECT c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE ${schemas} AND (
			CASE WHEN c.relkind = 'S' THEN has_sequence_privilege('${role}', c.oid, 'USAGE, SELECT, UPDATE')
			WHEN c.relkind IN ('r', 'p', 'v', 'm', 'f') THEN has_table_privilege('${role}', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
				OR has_any_column_privilege('${role}', c.oid, 'SELECT, INSERT, UPDATE, REFERENCES') ELSE false END)`), [], role);
		assert.deepEqual(s.sql(`SELECT n.nspname FROM pg_namespace n WHERE ${schemas} AND has_schema_privilege('${role}', n.oid, 'CREATE')`), [], role);
		assert.deepEqual(s.sql(`SELECT has_database_privilege('${role}', current_database(), 'CREATE') AS c, has_database_privilege('${role}', current_database(), 'TEMP') AS t`),
			[{ c: false, t: false }], role);
	}
});

test('no role of ours is a superuser, passes row-level security, makes roles or belongs to another', () => {
	assert.deepEqual(s.sql(`SELECT rolname FROM pg_roles WHERE rolname LIKE 'postern\\_%'
		AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication)`), []);
	assert.deepEqual(s.sql("SELECT rolname FROM pg_roles WHERE rolname IN ('postern_owner', 'postern_gate', 'postern_tenant', 'postern_operator', 'postern_monitor') AND rolcanlogin"), []);
	assert.deepEqual(s.sql("SELECT m.member::regrole, m.roleid::regrole FROM pg_auth_members m WHERE m.member::regrole::text LIKE 'postern\\_%' OR m.roleid::regrole::text LIKE 'postern\\_%' ORDER BY 2"), [{ member: 'postern_monitor', roleid: 'pg_read_all_stats' },
		{ member: 'postern_monitor', roleid: 'pg_signal_backend' }]);
});

test('statements and locks of a binary have an end', () => {
	for (const name of endpoints) {
		const config = s.sql(`SELECT rolconfig FROM pg_roles WHERE rolname = 'postern_${name}'`)[0].rolconfig.join();
		for (const setting of ['statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout'])
			assert.match(config, new RegExp(`${setting}=[1-9]`), name);
	}
});

test('PUBLIC may execute no function of ours and use no schema', () => {
	assert.deepEqual(s.sql(`SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
		WHERE ${schemas} AND (p.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee = 0))`), []);
	assert.deepEqual(s.sql(`SELECT n.nspname FROM pg_namespace n, aclexplode(n.nspacl) a WHERE ${schemas} AND a.grantee = 0`), []);
});

test('every SECURITY DEFINER function pins its search_path, and runs as one of our NOLOGIN roles', () => {
	const all = s.sql(`SELECT p.oid::regprocedure::text AS f, p.proowner::regrole::text AS owner, p.proconfig AS config
		FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE ${schemas} AND p.prosecdef`);
	assert.ok(all.length > 20);
	for (const { f, owner, config } of all) {
		assert.ok((config ?? []).some((c) => /^search_path=pg_catalog, pg_temp$/.test(c)), `${f} does not pin its search_path`);
		assert.ok(['postern_owner', 'postern_gate', 'postern_tenant', 'postern_operator', 'postern_monitor'].includes(owner), `${f} runs as ${owner}`);
		if (owner === 'postern_monitor') // it sees what every session of the server does: what is asked of it is fixed
			assert.match(f, /^("server-health"\.(sessions|database_sizes)|gate\.first_open|work\.end_stuck)\(\)$/);
	}
});

test('no function and no table of ours belongs to a superuser', () => {
	const own = `${schemas} AND n.nspname NOT IN ('public', 'postern_schema')`;
	assert.deepEqual(s.sql(`SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_roles r ON r.oid = p.proowner
		WHERE ${own} AND r.rolsuper`), []);
	assert.deepEqual(s.sql(`SELECT c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_roles r ON r.oid = c.relowner
		WHERE ${own} AND r.rolsuper AND c.relkind <> 'c'`), []);
});

test('every table with an account has forced row-level security; a partition is reached through its table only', () => {
	const tables = s.sql(`SELECT c.oid::regclass::text AS name, c.relforcerowsecurity AND c.relrowsecurity AS walled, c.relispartition AS part,
		(SELECT array_agg(DISTINCT a.grantee::regrole::text || ' ' || a.privilege_type) FROM aclexplode(c.relacl) a WHERE a.grantee <> c.relowner) AS granted
		FROM pg_class c WHERE c.relnamespace = 'postern'::regnamespace AND c.relkind IN ('r', 'p')
		AND (c.relname = 'accounts' OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'account_id' AND NOT a.attisdropped))`);
	assert.ok(tables.length >= 10);
	for (const { name, walled, part, granted } of tables)
		if (part) // health looks whether the default one is empty
			assert.deepEqual((granted ?? []).filter((g) => g !== 'postern_gate SELECT'), [], name);
		else
			assert.ok(walled, `${name} is not walled`);
});

test('a tenant that asks without any condition gets its own rows, and can write no other', () => {
	const [a, b] = [s.tenant(), s.tenant()];
	for (const t of [a, b])
		s.cliJson(['domain', 'create', '--domain', `${t.username}.example`, '--account', t.username]);
	s.mint({ owner: b.user.username });
	const walled = s.sql(`SELECT c.relname AS name, (SELECT count(*) FROM pg_attribute x WHERE x.attrelid = c.oid AND x.attname = 'account_id') AS named
		FROM pg_class c WHERE c.relnamespace = 'postern'::regnamespace AND c.relrowsecurity AND c.relkind IN ('r', 'p') AND c.relname <> 'roles'
		AND has_any_column_privilege('postern_tenant', c.oid, 'SELECT')`);
	assert.ok(walled.length >= 7);
	for (const { name, named } of walled)
		assert.equal(s.psql(`SET ROLE postern_tenant; SET postern.account_id = '${a.account.id}';
			SELECT count(*) FROM postern.${name} WHERE ${named ? 'account_id' : 'id'} <> ${a.account.id}`), '0', name);
	assert.equal(s.psql(`SET ROLE postern_tenant; SELECT count(*) FROM postern.domains`), '0', 'no account, no rows');
	assert.equal(s.psql(`SET ROLE postern_tenant; SET postern.account_id = '${a.account.id}'; SELECT count(*) FROM postern.domains`), '1');
	assert.equal(s.psql(`SET ROLE postern_tenant; SET postern.account_id = '${a.account.id}'; WITH u AS (UPDATE postern.domains SET version = 9 RETURNING 1) SELECT count(*) FROM u`), '1');
	const foreign = refused(undefined, `SET ROLE postern_tenant; SET postern.account_id = '${a.account.id}';
		INSERT INTO postern.domains (account_id, domain, type, document_root) VALUES (${b.account.id}, 'stolen.example', 'addon', '/x')`);
	assert.match(foreign, /row-level security/);
});

test('a binary cannot read digests, change the trail, become another role or write a row for a token it does not hold', () => {
	assert.match(refused('postern_domains', 'SELECT digest FROM postern.keys'), /permission denied/);
	assert.match(refused('postern_domains', 'DELETE FROM postern.audit'), /permission denied/);
	for (const role of ['postern_owner', 'postern_gate', 'postern_tenant', 'postern_operator', 'postern_cli', 'postern_tokens'])
		assert.match(refused('postern_domains', `SET ROLE ${role}`), /permission denied/);
	assert.match(refused('postern_domains', "SELECT tokens.write(NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL)"), /permission denied/);
	const { key_id: key } = s.mint();
	assert.match(refused('postern_domains', `SELECT gate.record('${key}', '\\x${'00'.repeat(32)}', 1, 422, NULL, 0)`), /unknown/);
	for (const role of ['postern_gate', 'postern_operator', 'postern_tenant'])
		for (const statement of ['UPDATE postern.audit SET status = 200', 'DELETE FROM postern.audit', 'TRUNCATE postern.audit'])
			assert.match(refused(undefined, `SET ROLE ${role}; ${statement}`), /permission denied/);
	for (const role of ['postern_operator', 'postern_tenant'])
		assert.match(refused(undefined, `SET ROLE ${role}; SELECT digest FROM postern.keys`), /permission denied/);
});
