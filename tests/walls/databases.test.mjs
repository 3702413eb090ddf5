// Dumps are strangers' input, and accounts' databases are no way out of the account: in real PostgreSQL and real MariaDB.
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { answered, build, needsRoot, root, startStack, until } from '../api/harness.mjs';

const tools = path.join(root, build, 'test/walls-databases-tools');
const asServer = needsRoot ? [] : ['setpriv', '--reuid=postgres', '--regid=postgres', '--init-groups', '--'];
let s, a, b;

before(async () => {
	fs.rmSync(tools, { recursive: true, force: true });
	fs.mkdirSync(tools, { recursive: true });
	s = await startStack('walls-databases', { PARTS: 'postgresql,mariadb', WORKER: 'yes', POSTERN_DATABASE_TRANSACTION_MAX_S: '2', POSTERN_WATCH_S: '1' });
	s.token = s.mint({ expires_at: 'null', action_limit: 1000000 }).token;
	[a, b] = [tenant(), tenant()];
	for (const t of [a, b]) {
		t.my = await make(t, { engine: 'mariadb', name: 'my' });
		t.pg = await make(t, { engine: 'postgresql', name: 'pg' });
	}
	use(b.my, `CREATE TABLE precious (x int); INSERT INTO precious VALUES (7)`);
	maria('SET GLOBAL event_scheduler = ON');
	await take(a); // makes the repository
});
after(() => s?.stop());

function tenant() {
	const t = s.tenant();
	return { ...t, token: s.mint({ owner: t.user.username, role: 'customer', expires_at: 'null', action_limit: 1000000 }).token };
}
const ask = (method, target, body, token) => s.ask(`/api/${target}`, { method, body, ...(token === undefined ? {} : { token }), headers: { Prefer: 'wait=30' } });
async function make(who, fields) {
	const answer = await ask('POST', 'databases', fields, who.token);
	assert.equal(answer.status, 201, answer.text);
	assert.deepEqual([answer.json.status, answer.json.last_error], ['active', null]);
	return answer.json;
}
const now = async (d) => (await ask('GET', `databases/${d.id}`)).json;
async function settled(id) {
	return until(async () => {
		const job = (await s.ask(`/api/jobs/${id}`)).json;
		return !['queued', 'running'].includes(job.status) && job;
	}, `job ${id} ends`, 60000);
}
async function job(method, target, body, { status = 'succeeded', token } = {}) {
	const answer = await ask(method, target, body, token);
	assert.equal(answer.status, answered(202, answer), answer.text);
	const ended = await settled(answer.json.id);
	assert.equal(ended.status, status, `${ended.error}\n${ended.log}`);
	return ended;
}
const remove = (d, options) => job('DELETE', `databases/${d.id}?confirm=${d.name}`, undefined, options);
const take = (t, options) => job('POST', 'backups', { kind: 'databases' }, { token: t.token, ...options });
const restore = (t, taken, body, options) => job('POST', `backups/${taken.object_id}/restore`, { what: 'database', ...body }, { token: t.token, ...options });

// ---- the servers, as their users see them ----

const conninfo = (value) => `'${value.replace(/[\\']/g, '\\$&')}'`;
function client(d) {
	return d.engine === 'postgresql'
		? [...asServer, 'psql', '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-d', `host=${conninfo(s.told.POSTGRESQL_SOCKET)} user=${conninfo(d.user)} dbname=${conninfo(d.in ?? d.name)}`]
		: ['mariadb', '--no-defaults', `--socket=${s.told.MARIADB_SOCKET}`, '--batch', '--raw', '--skip-column-names', '--binary-mode', `--user=${d.user}`, `--database=${d.in ?? d.name}`];
}
const environment = (d) => ({ PATH: process.env.PATH, PGPASSWORD: d.password, MYSQL_PWD: d.password });
function use(d, statement) {
	const [file, ...args] = client(d);
	const done = spawnSync(file, args, { input: `${statement};\n`, encoding: 'utf8', cwd: '/', env: environment(d) });
	if (done.status !== 0)
		throw new Error(done.stderr);
	return done.stdout.trim();
}
// A session in which these statements were done, and which stays.
async function session(d, statements) {
	const [file, ...args] = client(d);
	const child = spawn(file, d.engine === 'mariadb' ? [...args, '--unbuffered'] : args, { cwd: '/', env: environment(d), stdio: ['pipe', 'pipe', 'pipe'] });
	const ended = new Promise((resolve) => child.on('exit', resolve));
	const said = new Promise((resolve) => child.stdout.once('data', () => resolve(true)));
	let errors = '';
	child.stderr.on('data', (bytes) => (errors += bytes));
	child.stdin.on('error', () => {});
	child.stdin.write(`${statements}\nSELECT 'there';\n`);
	assert.ok(await Promise.race([said, ended.then(() => false)]), errors);
	return { child, ended, goes: () => (child.stdin.end('SELECT 1;\n'), ended) };
}
const superuser = (statement, database = 'postgres') => execFileSync([...asServer, 'psql'][0], [...asServer.slice(1), ...(asServer.length ? ['psql'] : []),
	'-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-h', s.told.POSTGRESQL_SOCKET, '-d', database], { input: statement, encoding: 'utf8', cwd: '/', stdio: ['pipe', 'pipe', 'pipe'],
	env: { PATH: process.env.PATH, PGOPTIONS: '-c role=none -c local_preload_libraries= -c default_transaction_read_only=off' } }).trim();
function maria(statement) {
	const [file, ...args] = [...asServer, 'mariadb', '--no-defaults', `--socket=${s.told.MARIADB_SOCKET}`, '--batch', '--raw', '--skip-column-names', '--binary-mode'];
	const done = spawnSync(file, args, { input: `${statement};\n`, encoding: 'utf8', cwd: '/' });
	assert.equal(done.status, 0, done.stderr);
	return done.stdout.trim();
}
// Who may do what on the server, and what is there but in this database.
const rights = () => maria(`SELECT User, Host, JSON_REMOVE(Priv, '$.password_last_changed', '$.version_id', '$.auth_or') FROM mysql.global_priv ORDER BY 1, 2;
	SELECT * FROM mysql.db ORDER BY Db, User; SELECT * FROM mysql.tables_priv ORDER BY 1, 2, 3; SELECT * FROM mysql.procs_priv ORDER BY 1, 2, 3, 4; SELECT * FROM mysql.proxies_priv ORDER BY 1, 2;
	SELECT * FROM mysql.roles_mapping ORDER BY 1, 2; SELECT * FROM mysql.servers; SELECT name FROM mysql.func; SELECT * FROM mysql.plugin`);
const elsewhere = (d) => maria(`SELECT SCHEMA_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME <> '${d.name}' AND SCHEMA_NAME NOT LIKE 'postern\\_fresh\\_%' ORDER BY 1;
	SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA NOT IN ('${d.name}', 'information_schema', 'performance_schema') AND TABLE_SCHEMA NOT LIKE 'postern\\_fresh\\_%' ORDER BY 1, 2;
	SELECT db, name, type, definer FROM mysql.proc WHERE db NOT IN ('sys') AND definer NOT LIKE '${d.user}@%' ORDER BY 1, 2; SELECT db, name, definer FROM mysql.event WHERE definer NOT LIKE '${d.user}@%';
	SELECT @@global.local_infile, @@global.event_scheduler, @@global.general_log, @@global.sql_mode; SELECT x FROM ${b.my.name}.precious`);

// ---- actions by themselves, with an engine that gives back what a test has written ----

const action = (kind) => [path.join(s.dir, 'app'), path.join(root, build)].map((dir) => path.join(dir, 'actions', kind)).find((f) => fs.existsSync(f));
const described = (d) => s.sql(`SELECT d.id, d.engine, d.name, d.username AS user, d.marker, d.charset, d.suspended, 20 AS connections FROM postern.databases d WHERE id = ${d.id}`)[0];
const given = (kind, data) => JSON.stringify({ job: randomUUID(), kind, attempt: 1, data });
const settings = (more) => ({ PATH: process.env.PATH, POSTERN_CONFIG: path.join(s.dir, 'postern.conf'), ...more });
function act(kind, data, more = {}) {
	const done = spawnSync(action(kind), { input: given(kind, data), encoding: 'utf8', cwd: '/', env: settings(more) });
	return { ...done, last: done.stdout.trim() ? JSON.parse(done.stdout.trim().split('\n').pop()) : {} };
}
function readIn(d, dump) {
	const engine = path.join(tools, 'engine'), file = path.join(tools, 'dump');
	fs.writeFileSync(file, dump);
	fs.writeFileSync(engine, `#!/bin/sh\ncase " $* " in *" dump "*) exec cat '${file}' ;; esac\nexit 0\n`, { mode: 0o755 });
	const row = described(d), part = { part: 'database', snapshot_id: '0123456789abcdef', file: 'database-1.dump', engine: row.engine, database: row.name, user: row.user };
	return act('backup.restore', { backup: 1, account: 1, username: a.username, home: '/nonexistent', what: 'database', snapshot_id: part.snapshot_id, database_id: row.id, database: row, parts: [part] },
		{ POSTERN_BACKUP_ENGINE: engine });
}

// ---- MariaDB ----

test('mariadb: no statement of a dump does anything outside the one database, nor changes who may do what', () => {
	const secret = path.join(s.dir, 'keys/pepper'), out = path.join(s.dir, 'mariadb/data/stolen'), mine = a.my, theirs = b.my;
	const hostile = [
		`GRANT ALL ON *.* TO '${mine.user}'@'localhost' WITH GRANT OPTION`, `GRANT ALL ON \`${mine.name}\`.* TO '${theirs.user}'@'localhost'`, `CREATE USER evil@localhost`, `CREATE ROLE evil`,
		`SET PASSWORD FOR '${theirs.user}'@'localhost' = PASSWORD('x')`, `ALTER USER '${mine.user}'@'localhost' WITH MAX_USER_CONNECTIONS 0`, `ALTER USER root@localhost IDENTIFIED BY 'x'`,
		`DELETE FROM mysql.global_priv`, `DROP DATABASE \`${theirs.name}\``, `ALTER DATABASE \`${theirs.name}\` COLLATE utf8mb4_bin`, `INSERT INTO \`${theirs.name}\`.precious VALUES (1)`,
		`USE \`${theirs.name}\`;\nDROP TABLE precious`, `CREATE TABLE stolen AS SELECT * FROM \`${theirs.name}\`.precious`, `CREATE DATABASE evil`, `SELECT 1 INTO OUTFILE '${out}'`,
		`CREATE TABLE l (t text);\nLOAD DATA LOCAL INFILE '${secret}' INTO TABLE l`, `CREATE TABLE l (t text);\nLOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE l`, `CREATE TABLE l (t text);\nLOAD DATA INFILE '/etc/passwd' INTO TABLE l`,
		`SET GLOBAL general_log = ON`, `SET GLOBAL local_infile = ON`, `INSTALL SONAME 'auth_ed25519'`, `CREATE FUNCTION f RETURNS STRING SONAME 'udf.so'`, `SHUTDOWN`, `FLUSH PRIVILEGES`,
		`CREATE DEFINER=root@localhost PROCEDURE p() SELECT 1`, `CREATE DEFINER=root@localhost EVENT e ON SCHEDULE EVERY 1 SECOND DO SELECT 1`, `CREATE DEFINER='${theirs.user}'@localhost PROCEDURE p() SELECT 1`,
		`\\! touch ${tools}/ran`, `system touch ${tools}/ran`, `source ${secret}`,
	];
	fs.chmodSync(tools, 0o777);
	const before = [rights(), elsewhere(mine)];
	for (const statement of hostile) {
		use(mine, 'CREATE OR REPLACE TABLE kept (x int)');
		const done = readIn(mine, `${statement};\n-- Dump completed on 2026-01-01\n`);
		assert.deepEqual([rights(), elsewhere(mine)], before, statement);
		assert.ok(!fs.existsSync(path.join(tools, 'ran')) && !fs.existsSync(out), statement);
		assert.deepEqual([done.status, /is as it was/.test(done.last.error)], [1, true], `${statement}: ${done.stdout}`);
		assert.equal(use(mine, 'SHOW TABLES'), 'kept', 'what was there is there');
	}
	// what is refused to nobody stays within the database, and runs as its user
	const good = readIn(mine, `CREATE TABLE t (x int, u text);\nINSERT INTO t VALUES (1, CONCAT(USER(), ' ', COALESCE(LOAD_FILE('/etc/passwd'), 'nothing')));
		CREATE EVENT e ON SCHEDULE EVERY 1 SECOND DO INSERT INTO t VALUES (2, CURRENT_USER());;\n-- Dump completed on 2026-01-01\n`);
	assert.equal(good.status, 0, good.stdout);
	assert.equal(use(mine, 'SELECT u FROM t WHERE x = 1'), `${mine.user}@localhost nothing`);
	use(mine, 'DROP EVENT e');
	assert.deepEqual([rights(), elsewhere(mine)], before);
	assert.equal(maria(`SELECT COUNT(*) FROM mysql.global_priv WHERE Priv LIKE '%"plugin":"mysql_native_password"%"plugin":"mysql_native_password"%'`), '0', 'nobody has a second password');
	assert.equal(maria(`SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE 'postern\\_fresh%'; SELECT COUNT(*) FROM mysql.user WHERE User LIKE 'postern\\_deputy%'`), '0\n0');
});

test('mariadb: a procedure whose comment hides the end of a statement from the server gains nothing by being restored', async () => {
	const t = tenant(), d = await make(t, { engine: 'mariadb', name: 'trap' });
	const body = "CREATE PROCEDURE p() SELECT 1 /* /*! */ + '*/ ;;\nGRANT ALL ON *.* TO `USER`@`localhost` ;;\nSELECT 1 ;;\n -- '"; // made through a driver, which does not look into it
	use(d, `CREATE TABLE t (x int); EXECUTE IMMEDIATE X'${Buffer.from(body.replace('USER', d.user)).toString('hex')}'`);
	const before = rights(), taken = await take(t);
	const answer = await ask('POST', `backups/${taken.object_id}/restore`, { what: 'database' }, t.token);
	const ended = await settled(answer.json.id);
	assert.equal(rights(), before, `${ended.status}: ${ended.error}`);
	assert.equal(use(d, 'SHOW GRANTS').split('\n').length, 2);
	assert.equal(use(d, 'SHOW TABLES'), 't');
});

const whole = (d) => use(d, `SELECT COUNT(*) FROM t; SELECT PREVIOUS VALUE FOR seq IS NULL OR 1; SELECT NEXT VALUE FOR seq >= 100; SELECT * FROM v; CALL p(); SELECT f(20);
	SELECT ROUTINE_NAME, ROUTINE_DEFINITION, DEFINER FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE() ORDER BY 1; SELECT TRIGGER_NAME, DEFINER FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE();
	SELECT EVENT_NAME, DEFINER, STATUS FROM information_schema.EVENTS WHERE EVENT_SCHEMA = DATABASE(); SELECT DEFINER FROM information_schema.VIEWS WHERE TABLE_SCHEMA = DATABASE()`);
const fill = (d) => use(d, `CREATE TABLE t (id int PRIMARY KEY, text varchar(40)); CREATE TABLE log (id int); CREATE SEQUENCE seq START WITH 100; INSERT INTO t VALUES (1, 'DEFINER=\`x\`@\`y\`'), (2, '-- \\\\! x');
	CREATE TRIGGER tr AFTER INSERT ON t FOR EACH ROW INSERT INTO log VALUES (NEW.id); CREATE VIEW v AS SELECT id FROM t WHERE id < 2; EXECUTE IMMEDIATE 'CREATE PROCEDURE p() /* says */ SELECT COUNT(*) /* kept */ FROM t # too'; CREATE FUNCTION f(x int) RETURNS int RETURN x + 1;
	CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM log; ALTER DATABASE \`${d.name}\` COLLATE utf8mb4_unicode_ci`);

test('mariadb: tables, sequences, views, routines, triggers and events come back whole, as their user\'s, in another database, too', async () => {
	const t = tenant(), d = await make(t, { engine: 'mariadb', name: 'whole' }), copy = await make(t, { engine: 'mariadb', name: 'copy' });
	fill(d);
	const was = whole(d), taken = await take(t), collation = () => maria(`SELECT DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = '${d.name}'`), rules = rights();
	use(d, 'DROP TABLE t; DROP PROCEDURE p; DROP EVENT e; DROP VIEW v');
	await restore(t, taken, { database: d.name });
	assert.equal(whole(d), was);
	const before = collation();
	await restore(t, taken, { database: d.name, as: copy.name });
	assert.equal(whole(copy), was.replaceAll(`${d.user}@`, `${copy.user}@`));
	assert.equal(collation(), before, 'what names the database that was dumped means the one at hand');
	assert.equal(rights(), rules);
	use(d, 'INSERT INTO t VALUES (3, 3)');
	assert.equal(use(d, 'SELECT id FROM log'), '3');
});

test('mariadb: a view of a table that is gone is left out by name, and the rest is kept', async () => {
	const t = tenant(), d = await make(t, { engine: 'mariadb', name: 'views' });
	use(d, 'CREATE TABLE t (x int); CREATE TABLE gone (x int); CREATE VIEW `broken one` AS SELECT * FROM gone; CREATE VIEW good AS SELECT * FROM t; DROP TABLE gone');
	const taken = await take(t);
	assert.match(taken.log, /not in the backup: database: .*_views: view broken one: what it refers to is not there any more/);
	use(d, 'DROP TABLE t; DROP VIEW good');
	await restore(t, taken, {});
	assert.equal(use(d, 'SHOW TABLES'), 'good\nt');
});

test('mariadb: what a killed backup has left is put back, and its user is none the worse meanwhile', async () => {
	const t = tenant(), d = await make(t, { engine: 'mariadb', name: 'left' }), fifo = path.join(tools, 'fifo'), dump = path.join(tools, 'mariadb-dump'), engine = path.join(tools, 'engine');
	execFileSync('mkfifo', ['-m', '666', fifo]);
	fs.writeFileSync(dump, `#!/bin/sh\nexec cat '${fifo}'\n`, { mode: 0o755 });
	fs.writeFileSync(engine, `#!/bin/sh\ncat >/dev/null\n`, { mode: 0o755 });
	const passwords = () => maria(`SELECT Priv LIKE '%"auth_or":[{},{%' FROM mysql.global_priv WHERE User = '${d.user}'`), before = rights();
	const child = spawn(action('backup.create'), { cwd: '/', env: settings({ POSTERN_MARIADB_DUMP_COMMAND: dump, POSTERN_BACKUP_ENGINE: engine }), stdio: ['pipe', 'ignore', 'ignore'] });
	const ended = new Promise((resolve) => child.on('exit', resolve));
	child.stdin.end(given('backup.create', { backup: 1, account: 1, username: t.username, home: '/nonexistent', kind: 'databases', databases: [described(d)], mailboxes: [] }));
	const open = fs.openSync(fifo, 'r+');
	await until(() => passwords() === '1', 'it is let in');
	use(d, 'SELECT 1');
	child.kill('SIGKILL');
	await ended;
	fs.closeSync(open);
	assert.equal(passwords(), '1');
	use(d, 'SELECT 1');
	assert.equal(act('database.measure', {}).status, 0);
	assert.equal(passwords(), '0');
	assert.equal(rights(), before);
	use(d, 'SELECT 1');
});

test('mariadb: suspended, its events stop and its sessions end; it can be backed up, and goes on when unsuspended', async () => {
	const t = tenant(), d = await make(t, { engine: 'mariadb', name: 'events' });
	use(d, `CREATE TABLE tick (at timestamp DEFAULT NOW()); CREATE PROCEDURE p() SELECT 1; CREATE FUNCTION f() RETURNS int RETURN 5; CREATE VIEW v AS SELECT f() AS five FROM tick LIMIT 1;
		CREATE EVENT e ON SCHEDULE EVERY 1 SECOND DO INSERT INTO tick VALUES ()`);
	const ticks = () => Number(maria(`SELECT COUNT(*) FROM ${d.name}.tick`));
	await until(() => ticks() > 0, 'the event runs');
	const open = await session(d, 'SELECT 1;');
	assert.equal((await ask('POST', `accounts/${t.account.id}/suspend`)).status, 200);
	await until(async () => (await now(d)).status === 'suspended' && (await settled((await now(d)).job_id)).status === 'succeeded', 'it is suspended');
	await open.goes();
	assert.throws(() => use(d, 'SELECT 1'), /Access denied|account is locked/i);
	const then = ticks(), taken = await job('POST', 'backups', { kind: 'databases', account: t.username });
	await new Promise((resolve) => setTimeout(resolve, 2500)); // nothing is to happen: there is no event to wait for
	assert.equal(ticks(), then);
	assert.equal(maria(`SELECT DEFINER FROM information_schema.EVENTS WHERE EVENT_SCHEMA = '${d.name}'; SELECT COUNT(*) FROM mysql.user WHERE User LIKE 'postern\\_deputy%'`), `${d.user}@localhost\n0`);
	assert.equal((await ask('POST', `accounts/${t.account.id}/unsuspend`)).status, 200);
	await until(() => ticks() > then, 'the event runs again');
	use(d, 'DROP EVENT e; DROP PROCEDURE p; DROP VIEW v');
	await until(async () => (await now(d)).status === 'active', 'it is active');
	await restore(t, taken, {});
	assert.equal(use(d, 'SHOW EVENTS').includes('e\t'), true, 'it was in the backup');
	assert.equal(use(d, 'DROP EVENT e; CALL p(); SELECT * FROM v'), '1\n5');
});

test('mariadb: of a database that was removed no permission is left, whoever had it', async () => {
	const d = await make(a, { engine: 'mariadb', name: 'traces' });
	use(d, 'CREATE TABLE t (x int); CREATE PROCEDURE p() SELECT 1');
	maria(`CREATE USER watcher@localhost; GRANT SELECT ON \`${d.name}\`.* TO watcher@localhost; GRANT INSERT ON ${d.name}.t TO watcher@localhost; GRANT EXECUTE ON PROCEDURE ${d.name}.p TO watcher@localhost; GRANT SELECT (x) ON ${d.name}.t TO watcher@localhost`);
	await remove(d);
	for (const table of ['db', 'tables_priv', 'columns_priv', 'procs_priv'])
		assert.equal(maria(`SELECT COUNT(*) FROM mysql.${table} WHERE REPLACE(Db, '\\\\', '') = '${d.name}' OR User = '${d.user}'`), '0', table);
	assert.equal(maria(`SELECT COUNT(*) FROM mysql.user WHERE User = '${d.user}'; SHOW GRANTS FOR watcher@localhost`), '0\nGRANT USAGE ON *.* TO `watcher`@`localhost`');
});

// ---- both ----

for (const engine of ['postgresql', 'mariadb'])
	test(`${engine}: a user holds no more connections than the plan has, and a change of the plan holds at once`, async () => {
		const t = tenant();
		assert.equal((await ask('PATCH', `accounts/${t.account.id}`, { max_database_connections: 2 })).status, 200);
		const d = await make(t, { engine, name: 'limit' });
		const two = [await session(d, 'SELECT 1;'), await session(d, 'SELECT 1;')];
		const full = engine === 'postgresql' ? /too many connections for role/ : /max_user_connections/;
		assert.throws(() => use(d, 'SELECT 1'), full);
		if (engine === 'postgresql')
			assert.throws(() => use({ ...b.pg }, `ALTER ROLE "${b.pg.user}" CONNECTION LIMIT -1`), /permission denied|must/);
		assert.equal((await ask('PATCH', `accounts/${t.account.id}`, { max_database_connections: 3 })).status, 200);
		await until(() => {
			try {
				return use(d, 'SELECT 1') === '1';
			} catch (error) {
				assert.match(error.message, full);
				return false;
			}
		}, 'a third is let in');
		two.forEach((x) => x.child.kill());
	});

test('an account is not named as a database\'s user, nor the other way round: the kernel would let it in', async () => {
	const t = tenant(), d = await make(t, { engine: 'postgresql', name: 'shop' });
	const taken = await ask('POST', 'accounts', { username: d.user });
	assert.deepEqual([taken.status, Object.keys(taken.json.error.fields)], [422, ['username']], taken.text);
	s.cliJson(['account', 'create', '--username', `${t.username}_later`]);
	const other = await ask('POST', 'databases', { engine: 'postgresql', name: 'later' }, t.token);
	assert.deepEqual([other.status, other.json.error.fields], [409, { user: 'is taken' }], other.text);
	const verifier = s.sql(`SELECT verifier FROM postern.databases WHERE id = ${d.id}`)[0].verifier;
	const done = act('database.apply', { ...described(d), name: 'x', user: 'daemon', marker: randomUUID(), verifier });
	assert.equal(done.status, 1);
	assert.match(done.last.error, /there is a Unix user "daemon" on this machine/);
	assert.equal(superuser(`SELECT count(*) FROM pg_roles WHERE rolname = 'daemon'`), '0');
});

// ---- PostgreSQL ----

test('postgresql: rows that a policy hides from their owner are in the backup, and nothing of the way to them is left', async () => {
	const t = tenant(), d = await make(t, { engine: 'postgresql', name: 'rls' });
	use(d, `CREATE TABLE t (x int); INSERT INTO t VALUES (1), (2); ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY; CREATE POLICY none ON t USING (x > 1)`);
	const taken = await take(t);
	use(d, 'DROP TABLE t');
	await restore(t, taken, {});
	assert.equal(use(d, 'ALTER TABLE t NO FORCE ROW LEVEL SECURITY; SELECT count(*) FROM t'), '2');
	assert.equal(superuser(`SELECT count(*) FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member WHERE r.rolname = 'postern_dumps' OR r.rolname LIKE 'postern\\_deputy%'`), '0');
});

test('postgresql: what a dump runs while it is read in runs as its user, who comes to nothing more', async () => {
	const t = tenant(), d = await make(t, { engine: 'postgresql', name: 'runs' }), roles = () => superuser(`SELECT rolname, rolsuper, rolcreaterole, rolbypassrls FROM pg_roles WHERE rolname !~ '^t[0-9]' ORDER BY 1`);
	use(d, `CREATE FUNCTION f(x int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
			BEGIN EXECUTE 'SET ROLE none'; EXECUTE 'CREATE ROLE evil SUPERUSER'; EXCEPTION WHEN OTHERS THEN END;
			BEGIN EXECUTE 'SET ROLE databases_admin'; EXECUTE 'CREATE ROLE evil'; EXCEPTION WHEN OTHERS THEN END;
			BEGIN EXECUTE 'SET ROLE postern_dumps'; EXECUTE 'CREATE TABLE public.was_dumper (x int)'; EXCEPTION WHEN OTHERS THEN END;
			BEGIN EXECUTE $x$COPY (SELECT 1) TO PROGRAM 'touch ${tools}/ran'$x$; EXCEPTION WHEN OTHERS THEN END; RETURN true; END $$;
		CREATE TABLE t (x int CHECK (f(x))); INSERT INTO t VALUES (1); CREATE INDEX ON t (f(x)); CREATE MATERIALIZED VIEW m AS SELECT f(x) FROM t; CREATE EXTENSION hstore; CREATE SCHEMA more; CREATE TABLE more.h (h hstore);
		INSERT INTO more.h VALUES ('a=>1'); SELECT lo_from_bytea(4711, 'large'); COMMENT ON TABLE t IS 'c'`);
	const before = roles(), taken = await take(t);
	use(d, 'DROP TABLE t CASCADE; DROP TABLE more.h; SELECT lo_unlink(4711)');
	await restore(t, taken, {});
	assert.equal(roles(), before);
	assert.ok(!fs.existsSync(path.join(tools, 'ran')));
	assert.equal(use(d, `SELECT count(*) FROM t; SELECT h -> 'a' FROM more.h; SELECT convert_from(lo_get(4711), 'UTF8'); SELECT to_regclass('public.was_dumper') IS NULL; SELECT count(*) FROM m`), '1\n1\nlarge\nt\n1');
	use(d, `CREATE SCHEMA later; CREATE TABLE public.later (x int); CREATE EXTENSION pg_trgm; SELECT lo_unlink(4711); ALTER SCHEMA public RENAME TO before`);
});

test('postgresql: a database\'s user cannot decide who comes in, what happens to them, or that it stays', async () => {
	const { pg: mine } = a, { pg: theirs } = b;
	for (const statement of [`SET role = '${theirs.user}'`, 'SET default_transaction_read_only = on', `SET local_preload_libraries = 'none_such'`, 'ALLOW_CONNECTIONS false', 'IS_TEMPLATE true', 'CONNECTION LIMIT 0', 'RENAME TO other'])
		assert.throws(() => use(mine, `ALTER DATABASE "${mine.name}" ${statement}`), /must be owner/, statement);
	assert.throws(() => use({ ...mine, in: 'postgres' }, `DROP DATABASE "${mine.name}"`), /permission denied|must be owner/);
	assert.throws(() => use({ ...mine, in: 'template1' }, 'SELECT 1'), /permission denied/);
	use(mine, `GRANT CONNECT ON DATABASE "${mine.name}" TO "${theirs.user}"; GRANT CONNECT ON DATABASE "${mine.name}" TO PUBLIC`);
	assert.throws(() => use({ ...theirs, in: mine.name }, 'SELECT 1'), /permission denied/);
});

test('postgresql: a database that its owner has poisoned is backed up, restored, measured and removed', async () => {
	const t = tenant(), d = await make(t, { engine: 'postgresql', name: 'poison' }), name = `"${d.name}"`, other = await make(b, { engine: 'postgresql', name: 'closed' });
	use(d, `CREATE TABLE t (x int); INSERT INTO t SELECT generate_series(1, 1000)`);
	const poison = `ALTER DATABASE ${name} SET default_transaction_read_only = on; ALTER DATABASE ${name} SET statement_timeout = 1; ALTER DATABASE ${name} SET idle_session_timeout = 1;
		ALTER DATABASE ${name} SET local_preload_libraries = 'none_such'; ALTER DATABASE ${name} SET role = '${b.pg.user}'; ALTER DATABASE ${name} SET search_path = 'nowhere'`;
	superuser(poison); // as the owner could before, and the administrator can
	const taken = await take(t);
	await restore(t, taken, {});
	// settings come back, but for those by which the owner would decide who comes in or acts there
	assert.equal(superuser(`SELECT string_agg(split_part(x, '=', 1), ' ' ORDER BY x) FROM pg_db_role_setting s JOIN pg_database b ON b.oid = s.setdatabase, unnest(setconfig) x
		WHERE datname = '${d.name}'`), 'idle_session_timeout search_path statement_timeout');
	superuser(`ALTER DATABASE ${name} RESET ALL`);
	assert.equal(use(d, 'SELECT count(*) FROM t'), '1000');
	assert.equal(act('database.measure', {}).status, 0);
	superuser(poison);
	// somebody else's database, closed, in which the role was given something, and a session that is open
	use(other, `CREATE TABLE t (x int); GRANT ALL ON t TO "${d.user}"; ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO "${d.user}"`);
	superuser(`ALTER DATABASE "${other.name}" SET default_transaction_read_only = on; ALTER DATABASE "${other.name}" ALLOW_CONNECTIONS false; ALTER DATABASE ${name} RESET local_preload_libraries; ALTER DATABASE ${name} RESET idle_session_timeout;
		ALTER DATABASE ${name} RESET role`);
	const open = await session(d, 'BEGIN; SELECT 1;');
	superuser(`ALTER DATABASE ${name} SET local_preload_libraries = 'none_such'; ALTER DATABASE ${name} IS_TEMPLATE true; ALTER DATABASE ${name} ALLOW_CONNECTIONS false`);
	await remove(d);
	await open.goes();
	assert.equal(superuser(`SELECT count(*) FROM pg_database WHERE datname = '${d.name}'; SELECT count(*) FROM pg_roles WHERE rolname = '${d.user}'; SELECT datallowconn FROM pg_database WHERE datname = '${other.name}'`), '0\n0\nf');
	superuser(`ALTER DATABASE "${other.name}" ALLOW_CONNECTIONS true`);
	assert.equal(superuser(`SELECT count(*) FROM pg_default_acl; SELECT count(*) FROM t`, other.name), '0\n0', 'what it was given goes, what its giver has stays');
	await remove(other);
});

test('postgresql: nobody keeps another\'s database from being removed by a transaction that he leaves open', async () => {
	const d = await make(a, { engine: 'postgresql', name: 'held' });
	use(b.pg, 'CREATE TABLE IF NOT EXISTS lent (x int)');
	const open = await session(b.pg, `BEGIN; GRANT SELECT ON lent TO "${d.user}";`), mine = await session(d, `BEGIN; ALTER ROLE CURRENT_USER SET work_mem = '1MB';`);
	const began = Date.now();
	await remove(d);
	assert.ok(Date.now() - began < 40000, 'without waiting for a lock');
	assert.equal(superuser(`SELECT count(*) FROM pg_roles WHERE rolname = '${d.user}'`), '0');
	open.child.kill();
	mine.child.kill();
});

test('postgresql: a removal that cannot be leaves a whole database', async () => {
	const t = tenant(), d = await make(t, { engine: 'postgresql', name: 'stays' });
	use(d, 'CREATE TABLE t (x int)');
	superuser('CREATE DATABASE theirs');
	superuser(`CREATE TABLE t (x int); GRANT SELECT ON t TO "${d.user}"`, 'theirs');
	const failed = await remove(d, { status: 'failed' });
	assert.match(failed.error, /may use something in the database "theirs", which is none of Postern's/);
	use(d, 'SELECT * FROM t');
	superuser('DROP DATABASE theirs');
	await remove(d);
});

test('postgresql: a table of somebody else\'s in a database is missing from its backup by name', async () => {
	const t = tenant(), d = await make(t, { engine: 'postgresql', name: 'guest' });
	superuser('CREATE TABLE public.foreign_one (x int)', d.name);
	const missing = async () => (await ask('GET', `backups/${(await take(t)).object_id}`)).json.missing;
	assert.deepEqual((await missing()).map((m) => [m.object, /belongs to another role.*; have it dropped/.test(m.reason)]), [['public.foreign_one', true]]);
	superuser('DROP TABLE public.foreign_one', d.name);
	assert.equal(await missing(), null);
});

test('postgresql: a transaction that has written does not stay open for long', async () => {
	const open = await session(a.pg, 'CREATE TABLE held (x int); SET idle_in_transaction_session_timeout = 0; BEGIN; INSERT INTO held VALUES (1);');
	const writing = () => superuser(`SELECT count(*) FROM pg_stat_activity WHERE usename = '${a.pg.user}' AND backend_xid IS NOT NULL`);
	assert.equal(writing(), '1');
	await until(() => writing() === '0', 'it is ended');
	open.child.kill();
	const reads = await session(a.pg, 'BEGIN; SELECT 1;'); // holds up nobody's events
	await until(() => superuser(`SELECT count(*) FROM pg_stat_activity WHERE usename = '${a.pg.user}' AND xact_start < now() - interval '3 s'`) === '1', 'it is old', 10000);
	reads.child.kill();
});

test('postgresql: suspended, its sessions end, also one that holds its own role by a lock; it is backed up all the same', async () => {
	const t = tenant(), d = await make(t, { engine: 'postgresql', name: 'ends' }), open = await session(d, `BEGIN; ALTER ROLE CURRENT_USER PASSWORD 'mine';`);
	assert.equal((await ask('POST', `accounts/${t.account.id}/suspend`)).status, 200);
	await until(() => superuser(`SELECT count(*) FROM pg_stat_activity WHERE usename = '${d.user}'`) === '0', 'it is ended');
	open.child.kill();
	await until(async () => (await settled((await now(d)).job_id)).status === 'succeeded', 'it is suspended');
	assert.throws(() => use(d, 'SELECT 1'), /not permitted to log in|permission denied/);
	const taken = await job('POST', 'backups', { kind: 'databases', account: t.username });
	assert.equal((await ask('POST', `accounts/${t.account.id}/unsuspend`)).status, 200);
	await until(async () => (await now(d)).status === 'active', 'it is active');
	use(d, 'CREATE TABLE later (x int)');
	await restore(t, taken, {});
	assert.equal(use(d, `SELECT to_regclass('later') IS NULL`), 't');
});

test('databases of an earlier arrangement are brought to this one by themselves', async () => {
	const d = await make(a, { engine: 'postgresql', name: 'earlier' });
	superuser(`ALTER DATABASE "${d.name}" OWNER TO "${d.user}"; ALTER ROLE "${d.user}" CONNECTION LIMIT -1; GRANT CONNECT ON DATABASE "${d.name}" TO "${b.pg.user}"; COMMENT ON DATABASE "${d.name}" IS NULL`);
	superuser('ALTER SCHEMA public OWNER TO pg_database_owner', d.name);
	s.psql(`SET ROLE postern_operator; UPDATE postern.databases SET arranged = 0 WHERE id = ${d.id}; SELECT databases.due()`);
	await until(() => superuser(`SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = '${d.name}'; SELECT rolconnlimit FROM pg_roles WHERE rolname = '${d.user}'`) === 'postern_databases\n20', 'it is arranged');
	await until(async () => (await now(d)).status === 'active', 'it is active');
	assert.throws(() => use({ ...b.pg, in: d.name }, 'SELECT 1'), /permission denied/);
	use(d, 'CREATE TABLE t (x int)');
	await remove(d);
});

test('doctor says what stands between accounts no more, with the remedy', () => {
	const look = () => JSON.parse(s.cli(['--json', 'doctor']).stdout).data.filter((row) => row.check === 'databases');
	assert.deepEqual(look().map((row) => [row.status, row.finding]), [['ok', 'their servers keep accounts apart']]);
	const broken = (breakIt, mend, finding, remedy) => {
		breakIt();
		const [row, ...more] = look();
		mend();
		assert.deepEqual([row.status, more], ['finding', []], JSON.stringify(row));
		assert.match(row.finding, finding);
		assert.match(row.remedy, remedy);
	};
	const sql = (breakIt, mend, ...rest) => broken(() => superuser(breakIt), () => superuser(mend), ...rest);
	sql('GRANT CONNECT ON DATABASE postgres TO PUBLIC', 'REVOKE CONNECT ON DATABASE postgres FROM PUBLIC', /may connect to the databases postgres/, /REVOKE CONNECT/);
	sql(`ALTER ROLE "${b.pg.user}" CONNECTION LIMIT -1`, `ALTER ROLE "${b.pg.user}" CONNECTION LIMIT 20`, new RegExp(`may take all connections of PostgreSQL: ${b.pg.user}`), /by itself/);
	sql('ALTER ROLE postern_dumps NOBYPASSRLS', 'ALTER ROLE postern_dumps BYPASSRLS', /cannot be backed up/, /BYPASSRLS/);
	sql('ALTER ROLE databases_admin NOCREATEDB', 'ALTER ROLE databases_admin CREATEDB', /may not make databases/, /CREATEDB/);
	sql('ALTER ROLE databases_admin SUPERUSER', 'ALTER ROLE databases_admin NOSUPERUSER', /is a superuser/, /CREATEROLE/);
	broken(() => maria(`ALTER USER '${b.my.user}'@localhost WITH MAX_USER_CONNECTIONS 0`), () => maria(`ALTER USER '${b.my.user}'@localhost WITH MAX_USER_CONNECTIONS 20`), /MariaDB: 1 of accounts' users may take all/, /by itself/);
});
