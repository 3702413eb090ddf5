// Databases in real PostgreSQL and real MariaDB: made over the API, used with their own passwords, and nobody else's.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { answered, build, root, soak, startStack, until } from '../api/harness.mjs';

const engines = ['postgresql', 'mariadb'];
// What servers, their clients and their patterns read something into, and letters from elsewhere.
const odd = [`it's "so" \`called\``, '\\', `\\g '; DROP DATABASE x; --`, '%', '_%_', '$1 :x @y #z', 'ñandú 漢字', '{"a":[1]}', '<b>&amp;</b>', `tail'`, '\\_'];
const asServer = process.getuid() === 0 ? ['setpriv', '--reuid=postgres', '--regid=postgres', '--init-groups', '--'] : [];
let s, socket, a, b;

before(async () => {
	s = await startStack('databases', { PARTS: 'postgresql,mariadb', WORKER: 'yes' });
	socket = fs.readFileSync(path.join(s.dir, 'env'), 'utf8').match(/^MARIADB_SOCKET=(.*)$/m)[1];
	s.token = s.mint({ expires_at: 'null' }).token;
	[a, b] = [newTenant(), newTenant()];
	await make(a, { name: 'first', engine: 'mariadb' }); // has Postern's list there
});
after(() => s?.stop());

function newTenant(username) {
	const t = s.tenant(username ? { username } : {});
	return { ...t, token: s.mint({ owner: t.user.username, scopes: ['*'], expires_at: 'null' }).token };
}
// Every change waits for its job.
const ask = (who, method, target, body) => s.ask(`/api/databases${target}`, { token: who.token, method, body, headers: { Prefer: 'wait=30' } });
async function create(who, fields) {
	const made = await ask(who, 'POST', '', fields);
	assert.equal(made.status, 201, made.text);
	return made.json;
}
async function make(who, fields) {
	const d = await create(who, fields);
	assert.deepEqual([d.status, d.last_error], ['active', null], `${d.name}: ${d.last_error}`);
	return d;
}
async function change(who, method, target, body, status = 200) {
	const answer = await ask(who, method, target, body);
	assert.equal(answer.status, answered(status, answer), answer.text);
	return answer.json;
}
const job = async (id) => (await s.ask(`/api/jobs/${id}`)).json;

// ---- the servers, as their users see them ----

const conninfo = (value) => `'${value.replace(/[\\']/g, '\\$&')}'`;
function client(d, { user = d.user, name = d.name, password = d.password } = {}) {
	return d.engine === 'postgresql'
		? { command: [...asServer, 'psql', '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-d',
			`host=${conninfo(s.told.POSTGRESQL_SOCKET)} user=${conninfo(user)} dbname=${conninfo(name)}`], env: { PGPASSWORD: password } }
		: { command: ['mariadb', '--no-defaults', `--socket=${socket}`, '--batch', '--raw', '--skip-column-names', '--binary-mode', '--default-character-set=utf8mb4',
			`--user=${user}`, `--database=${name}`], env: { MYSQL_PWD: password } };
}
// What a statement gives; an error has what the server said.
function use(d, statement, as) {
	const { command: [file, ...args], env } = client(d, as);
	const done = spawnSync(file, args, { input: `${statement};\n`, encoding: 'utf8', cwd: '/', env: { ...process.env, ...env } });
	if (done.status !== 0)
		throw new Error(done.stderr);
	return done.stdout.trim();
}
const refused = (d, as, pattern = /authentication failed|not permitted to log in|permission denied|Access denied/) => assert.throws(() => use(d, 'SELECT 1', as), pattern);
// A session that stays; its end is awaited by `ended`.
async function session(d) {
	const { command: [file, ...args], env } = client(d);
	const child = spawn(file, args, { cwd: '/', env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'pipe'] });
	const ended = new Promise((resolve) => child.on('exit', resolve));
	const said = new Promise((resolve) => child.stdout.once('data', resolve));
	child.stdin.on('error', () => {});
	child.stdin.write('SELECT 1;\n');
	if (d.engine === 'mariadb')
		child.stdin.write(`DO SLEEP(600);\n`); // its client writes nothing before its input ends
	else
		await said;
	if (d.engine === 'mariadb')
		await until(() => maria(`SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = '${d.user}' AND STATE = 'User sleep'`) === '1', 'the session begins');
	else
		child.stdin.write('SELECT pg_sleep(600);\n');
	return { child, ended };
}
function maria(statement) {
	const [file, ...args] = [...asServer, 'mariadb', '--no-defaults', `--socket=${socket}`, '--batch', '--raw', '--skip-column-names', '--binary-mode', '--default-character-set=utf8mb4'];
	const done = spawnSync(file, args, { input: `SET sql_mode = 'NO_BACKSLASH_ESCAPES';\n${statement};\n`, encoding: 'utf8', cwd: '/' });
	assert.equal(done.status, 0, done.stderr);
	return done.stdout.trim();
}

// ---- tests ----

for (const engine of engines) {
	test(`${engine}: a database is there when its job has ended, and its user logs in with the password that was shown`, async () => {
		const d = await make(a, { name: 'shop', engine });
		assert.deepEqual([d.name, d.user, d.account, d.charset], [`${a.username}_shop`, `${a.username}_shop`, a.username, engine === 'mariadb' ? 'utf8mb4' : 'UTF8']);
		assert.match(d.password, /^[0-9A-Za-z]{24,}$/);
		assert.deepEqual((({ kind, status, progress }) => ({ kind, status, progress }))(await job(d.job_id)), { kind: 'database.apply', status: 'succeeded', progress: 100 });
		use(d, 'CREATE TABLE t (x int); INSERT INTO t VALUES (7)');
		assert.equal(use(d, 'SELECT x FROM t'), '7');
		refused(d, { password: 'not the password' });
		refused(d, { password: '' });
		assert.ok(!('password' in (await change(a, 'GET', `/${d.id}`))));
		const whole = await make(a, { name: `${a.username}_whole`, user: 'other', engine });
		assert.deepEqual([whole.name, whole.user], [`${a.username}_whole`, `${a.username}_other`], 'a prefix that is given is not given again');
		use(whole, 'SELECT 1');
	});

	test(`${engine}: names with quotes, backslashes, %, _ and letters of any script are just names`, async () => {
		for (const name of odd) {
			const d = await make(a, { name, engine });
			assert.equal(d.name, `${a.username}_${name}`);
			assert.equal(use(d, engine === 'mariadb' ? 'SELECT DATABASE()' : 'SELECT current_database()'), d.name);
			assert.equal(use(d, engine === 'mariadb' ? 'SELECT CURRENT_USER()' : 'SELECT current_user'), engine === 'mariadb' ? `${d.user}@localhost` : d.user);
			use(d, 'CREATE TABLE t (x int)');
			const next = await change(a, 'POST', `/${d.id}/rotate-password`);
			refused(d);
			use({ ...d, password: next.password }, 'INSERT INTO t VALUES (1)');
			assert.equal((await change(a, 'GET', `?search=${encodeURIComponent(name)}&engine=${engine}`)).data.some((x) => x.id === d.id), true);
			await change(a, 'DELETE', `/${d.id}?confirm=${encodeURIComponent(d.name)}`, undefined, 202);
			assert.equal((await ask(a, 'GET', `/${d.id}`)).status, 404);
			refused({ ...d, password: next.password });
		}
		assert.deepEqual([s.accountsPsql("SELECT count(*) FROM pg_database WHERE datname LIKE '%DROP%'"), maria("SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE '%DROP%'")], ['0', '0']);
	});

	test(`${engine}: a tenant reaches no other's database, on the server or over the API`, async () => {
		const mine = await make(a, { name: 'own', engine }), theirs = await make(b, { name: 'own', engine });
		use(mine, 'CREATE TABLE t (x int)');
		use(theirs, 'CREATE TABLE t (x int)');
		for (const [from, to] of [[mine, theirs], [theirs, mine]]) {
			refused(from, { name: to.name });
			refused(to, { user: from.user });
			if (engine === 'mariadb') {
				assert.throws(() => use(from, `SELECT * FROM \`${to.name}\`.t`), /denied/);
				assert.deepEqual(use(from, 'SHOW DATABASES').split('\n').sort(), [from.name, 'information_schema'].sort());
			}
		}
		for (const name of engine === 'mariadb' ? ['mysql', 'postern_owned', 'sys'] : ['postgres', 'template1', 'template0'])
			refused(mine, { name }, /denied|not currently accepting/);
		for (const statement of engine === 'mariadb' ? ['CREATE DATABASE more', `CREATE USER 'more'@'localhost'`, 'SELECT * FROM mysql.global_priv', `GRANT ALL ON \`${mine.name}\`.* TO CURRENT_USER() WITH GRANT OPTION`,
			'SHOW GRANTS FOR root@localhost', "SELECT 1 INTO OUTFILE '/dev/null'"] : ['CREATE DATABASE more', 'CREATE ROLE more', 'SELECT * FROM pg_authid', 'ALTER ROLE CURRENT_USER CREATEDB',
			`COMMENT ON ROLE "${mine.user}" IS 'x'`, `SET ROLE "${theirs.user}"`, "COPY (SELECT 1) TO PROGRAM 'true'"])
			assert.throws(() => use(mine, statement), /denied|must|permission/i, statement);
		for (const [method, target, body] of [['GET', ''], ['PATCH', '', { charset: 'utf8mb4' }], ['DELETE', '', { confirm: theirs.name }], ['POST', '/rotate-password'], ['POST', '/suspend'], ['POST', '/unsuspend']])
			assert.equal((await ask(a, method, `/${theirs.id}${target}`, body)).status, 404, `${method} ${target}`);
		assert.equal((await change(a, 'GET', `?name=${theirs.name}`)).total, 0);
		use(theirs, 'SELECT * FROM t');
	});

	test(`${engine}: _ and % of a name open no other database`, async () => {
		const one = newTenant(s.unique('ab')), two = newTenant(`${one.username}xc`); // ab_c_d as a pattern is abxc_d, too
		const trap = await make(one, { name: 'c_d', engine }), all = await make(one, { name: '%', engine }), other = await make(two, { name: 'd', engine });
		assert.equal(trap.name.length, other.name.length);
		for (const d of [trap, all]) {
			refused(d, { name: other.name });
			use(d, 'CREATE TABLE t (x int)');
		}
	});

	test(`${engine}: a rotated password is the only one`, async () => {
		const d = await make(a, { name: 'turn', engine });
		const next = await change(a, 'POST', `/${d.id}/rotate-password`);
		assert.notEqual(next.password, d.password);
		assert.equal((await job(next.job_id)).status, 'succeeded');
		refused(d);
		use(d, 'SELECT 1', { password: next.password });
		const own = `~ my 'own' "\\pass%" $1`;
		const given = await change(a, 'POST', `/${d.id}/rotate-password`, { password: own });
		assert.ok(!('password' in given), 'who gave it is not shown it');
		refused(d, { password: next.password });
		use(d, 'SELECT 1', { password: own });
		const keyed = () => s.ask(`/api/databases/${d.id}/rotate-password`, { token: a.token, method: 'POST', headers: { 'Idempotency-Key': `turn-${engine}` } });
		assert.match((await keyed()).json.password, /^[0-9A-Za-z]{24,}$/);
		const replayed = await keyed();
		assert.deepEqual([replayed.status, replayed.json.password, replayed.headers.get('idempotent-replayed')], [200, null, 'true']);
	});

	test(`${engine}: a suspended database ends its sessions and takes no logins; so does a suspended account`, async () => {
		const t = newTenant(), d = await make(t, { name: 'rest', engine });
		use(d, 'CREATE TABLE t (x int); INSERT INTO t VALUES (3)');
		const open = await session(d);
		assert.equal((await change(t, 'POST', `/${d.id}/suspend`)).status, 'suspended');
		await open.ended;
		refused(d, {}, /not permitted to log in|locked/);
		assert.equal((await ask(t, 'POST', `/${d.id}/suspend`)).status, 409);
		const next = await change(t, 'POST', `/${d.id}/rotate-password`);
		assert.equal(next.status, 'suspended', 'a new password does not let it in');
		refused({ ...d, password: next.password }, {}, /not permitted to log in|locked/);
		assert.equal((await change(t, 'POST', `/${d.id}/unsuspend`)).status, 'active');
		assert.equal((await ask(t, 'POST', `/${d.id}/unsuspend`)).status, 409);
		d.password = next.password;
		assert.equal(use(d, 'SELECT x FROM t'), '3');
		const of = async (status) => until(async () => (await s.ask(`/api/databases/${d.id}`)).json.status === status, `the database becomes ${status}`);
		assert.equal((await s.ask(`/api/accounts/${t.account.id}/suspend`, { method: 'POST' })).status, 200);
		await of('suspended');
		refused(d, {}, /not permitted to log in|locked/);
		assert.equal((await s.ask(`/api/accounts/${t.account.id}/unsuspend`, { method: 'POST' })).status, 200);
		await of('active');
		assert.equal(use(d, 'SELECT x FROM t'), '3');
	});

	test(`${engine}: deleting takes the database's name as a proof, and then leaves nothing`, async () => {
		const d = await make(a, { name: 'gone', engine });
		use(d, 'CREATE TABLE t (x int)');
		for (const [target, body] of [['', undefined], ['', { confirm: 'gone' }], ['', {}], ['?confirm=gone', undefined], ['?confirm=', undefined], ['', { confirm: `${d.name} ` }]]) {
			const answer = await ask(a, 'DELETE', `/${d.id}${target}`, body);
			assert.equal(answer.status, 422, answer.text);
			assert.match(answer.json.error.fields.confirm, new RegExp(d.name));
		}
		assert.equal((await ask(a, 'DELETE', `/${d.id}?confirm=${d.name}`, { confirm: d.name })).status, 400);
		const near = await ask(a, 'DELETE', `/${d.id}?confrm=${d.name}`);
		assert.deepEqual([near.status, near.json.error.fields], [400, { confrm: 'is no parameter of this; did you mean "confirm"?' }]);
		use(d, 'SELECT * FROM t');
		const open = await session(d); // a session does not keep it
		const done = await change(a, 'DELETE', `/${d.id}`, { confirm: d.name }, 202);
		assert.deepEqual([done.kind, done.status], ['database.remove', 'succeeded']);
		await open.ended;
		refused(d);
		assert.equal(engine === 'postgresql' ? s.accountsPsql(`SELECT (SELECT count(*) FROM pg_database WHERE datname = '${d.name}') + (SELECT count(*) FROM pg_roles WHERE rolname = '${d.name}')`)
			: maria(`SELECT (SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = '${d.name}') + (SELECT COUNT(*) FROM mysql.user WHERE User = '${d.name}')
				+ (SELECT COUNT(*) FROM mysql.db WHERE User = '${d.name}') + (SELECT COUNT(*) FROM postern_owned.objects WHERE name = '${d.name}')`), '0');
		const again = await make(a, { name: 'gone', engine });
		assert.throws(() => use(again, 'SELECT * FROM t'), /exist/, 'the name is free, what it held is lost');
	});

	test(`${engine}: a database or user of that name that Postern did not make is left alone, and the job says why`, async () => {
		for (const what of ['database', 'user']) {
			const name = s.unique(what), full = `${a.username}_${name}`;
			if (engine === 'postgresql')
				s.accountsPsql(what === 'user' ? `CREATE ROLE ${full} LOGIN PASSWORD 'theirs'` : `CREATE DATABASE ${full}`);
			else
				maria(what === 'user' ? `CREATE USER ${full}@localhost IDENTIFIED BY 'theirs'` : `CREATE DATABASE ${full}; CREATE TABLE ${full}.t (x int)`);
			const d = await create(a, { name, engine });
			assert.equal(d.status, 'error');
			assert.match(d.last_error, new RegExp(`${what === 'user' ? 'role|user' : 'database'} "${full}" already that Postern did not make`));
			const failed = await job(d.job_id);
			assert.deepEqual([failed.status, failed.error, failed.attempts], ['failed', d.last_error, 1]);
			refused(d);
			await change(a, 'DELETE', `/${d.id}?confirm=${full}`, undefined, 202);
			if (engine === 'postgresql')
				assert.equal(s.accountsPsql(what === 'user' ? `SELECT rolpassword IS NOT NULL AND rolcanlogin FROM pg_authid WHERE rolname = '${full}'` : `SELECT datallowconn FROM pg_database WHERE datname = '${full}'`), 't');
			else
				assert.equal(maria(what === 'user' ? `SELECT PASSWORD('theirs') = authentication_string FROM mysql.user WHERE User = '${full}'` : `SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = '${full}'`), '1');
			assert.equal(what === 'user' ? s.accountsPsql(`SELECT count(*) FROM pg_database WHERE datname = '${full}'`) : s.accountsPsql(`SELECT count(*) FROM pg_roles WHERE rolname = '${full}'`), '0', 'nothing half made is left');
		}
	});

	test(`${engine}: its size is measured`, async () => {
		const d = await make(a, { name: 'size', engine });
		const before = (await change(a, 'GET', `/${d.id}`)).size_bytes;
		use(d, 'CREATE TABLE t (x text)');
		use(d, engine === 'mariadb' ? "INSERT INTO t SELECT REPEAT('x', 1000) FROM seq_1_to_5000; ANALYZE TABLE t" : "INSERT INTO t SELECT repeat(md5(i::text), 30) FROM generate_series(1, 5000) i");
		s.psql("SET ROLE postern_operator; SELECT gate.work(work.clockwork(), 0, 'database.measure', 'databases', NULL)");
		await until(async () => (await change(a, 'GET', `/${d.id}`)).size_bytes > before + 1000000, 'the database has grown');
	});
}

test('charset: MariaDB takes three and may change it, PostgreSQL has UTF8', async () => {
	const charset = (d) => maria(`SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = '${d.name}'`).split('\t');
	const d = await make(a, { name: 'old', engine: 'mariadb', charset: 'latin1' });
	assert.equal(charset(d)[0], 'latin1');
	assert.equal((await change(a, 'PATCH', `/${d.id}`, { charset: 'utf8mb4' })).charset, 'utf8mb4');
	assert.equal(charset(d)[0], 'utf8mb4');
	use(d, `ALTER DATABASE ${d.name} COLLATE utf8mb4_unicode_ci`);
	await change(a, 'POST', `/${d.id}/rotate-password`);
	assert.deepEqual(charset(d), ['utf8mb4', 'utf8mb4_unicode_ci'], 'what its user chose stays');
	const p = await make(a, { name: 'new', engine: 'postgresql' });
	assert.equal(use(p, 'SHOW server_encoding'), 'UTF8');
	for (const [who, body] of [[d, { charset: 'UTF8' }], [p, { charset: 'latin1' }], [p, { name: 'x' }], [p, { engine: 'mariadb' }], [p, { password: 'long enough it is' }]])
		assert.equal((await ask(a, 'PATCH', `/${who.id}`, body)).status, 422, JSON.stringify(body));
});

test('what exists is a 409 that does not say whose it is, also where two prefixes meet', async () => {
	const short = newTenant(s.unique('p')), long = newTenant(`${short.username}_q`);
	const d = await make(short, { name: 'q_x', engine: 'postgresql' });
	for (const [who, body, field] of [[short, { name: 'q_x' }, 'name'], [short, { name: d.name }, 'name'], [short, { name: 'other', user: 'q_x' }, 'user'], [long, { name: 'x' }, 'name'], [long, { name: 'y', user: 'x' }, 'user']]) {
		const answer = await ask(who, 'POST', '', { engine: 'postgresql', ...body });
		assert.equal(answer.status, 409, answer.text);
		assert.deepEqual(answer.json.error.fields, { [field]: 'is taken' });
	}
	assert.equal((await make(long, { name: 'x', engine: 'mariadb' })).name, d.name, 'each server has its own names');
	const both = await Promise.all([short, long, short, long].map((who) => ask(who, 'POST', '', { engine: 'postgresql', name: `${long.username}_race` })));
	assert.deepEqual(both.map((x) => x.status).sort(), [201, 409, 409, 409]);
});

test('a plan\'s limit counts every database', async () => {
	const t = newTenant();
	await s.ask(`/api/accounts/${t.account.id}`, { method: 'PATCH', body: { max_databases: 2 } });
	await make(t, { name: 'one', engine: 'postgresql' });
	const two = await make(t, { name: 'two', engine: 'mariadb' });
	const answer = await ask(t, 'POST', '', { name: 'three', engine: 'mariadb' });
	assert.equal(answer.status, 409);
	assert.match(answer.json.error.message, /plan allows 2 databases/);
	await change(t, 'DELETE', `/${two.id}?confirm=${two.name}`, undefined, 202);
	await make(t, { name: 'three', engine: 'mariadb' });
});

test('names and passwords that a server would not take are a 422 that names the field', async () => {
	for (const [body, field, pattern] of [[{ name: '' }, 'name', /1 to 63/], [{ name: 'a\u0007b' }, 'name', /control/], [{ name: 'a\u0085b' }, 'name', /control/], [{ name: 'ü'.repeat(30) }, 'name', /63 bytes/],
		[{ name: `${a.username}_` }, 'name', /after the prefix/], [{ name: 'x', user: 'u'.repeat(60) }, 'user', /63 bytes/], [{ name: 'x', engine: 'oracle' }, 'engine', /one of/],
		[{ name: 'smile 😀', engine: 'mariadb' }, 'name', /U\+FFFF/], [{ name: 'tail ', engine: 'mariadb' }, 'name', /space/], [{ name: '_'.repeat(40), engine: 'mariadb' }, 'name', /64/],
		[{ name: 'x', password: 'too short' }, 'password', /12 to 128/], [{ name: 'x', password: 'pässwörd too' }, 'password', /ASCII/], [{ name: 'x', charset: 'latin1' }, 'charset', /UTF8/]]) {
		const answer = await ask(a, 'POST', '', { engine: 'postgresql', ...body });
		assert.equal(answer.status, 422, `${JSON.stringify(body)}: ${answer.text}`);
		assert.match(answer.json.error.fields[field], pattern);
	}
	for (const [account, name] of [['pg', 'mine'], ['information', 'schema'], ['performance', 'Schema']]) {
		s.cliJson(['account', 'create', '--username', account]);
		for (const engine of engines) {
			const answer = await ask(s, 'POST', '', { name, engine, account });
			assert.equal(answer.status, 422, answer.text);
			assert.match(answer.json.error.fields.name, /reserved/);
		}
	}
	await make(a, { name: 'smile 😀', engine: 'postgresql' });
	await make(a, { name: '_'.repeat(30 - a.username.length), engine: 'mariadb' });
});

test('nobody keeps a database from being deleted by giving its user something', async () => {
	const giver = await make(a, { name: 'giver', engine: 'postgresql' }), taker = await make(b, { name: 'taker', engine: 'postgresql' });
	use(giver, `CREATE TABLE t (x int); GRANT SELECT ON t TO "${taker.user}"; ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO "${taker.user}"`);
	assert.equal((await change(b, 'DELETE', `/${taker.id}?confirm=${taker.name}`, undefined, 202)).status, 'succeeded');
	use(giver, 'SELECT * FROM t');
});

test('what its user drops is made again, and is dropped all the same', async () => {
	const d = await make(a, { name: 'dropped', engine: 'mariadb' });
	use(d, `DROP DATABASE \`${d.name}\``);
	await change(a, 'POST', `/${d.id}/rotate-password`, { password: d.password });
	use(d, 'CREATE TABLE t (x int)');
	use(d, `DROP DATABASE \`${d.name}\``);
	assert.equal((await change(a, 'DELETE', `/${d.id}?confirm=${d.name}`, undefined, 202)).status, 'succeeded');
});

test('an account is not deleted over its databases; with cascade they go first', async () => {
	const t = newTenant(), made = [await make(t, { name: 'x', engine: 'postgresql' }), await make(t, { name: 'y', engine: 'mariadb' })];
	assert.equal((await s.ask(`/api/accounts/${t.account.id}`)).json.databases, 2);
	const listed = await s.ask(`/api/accounts/${t.account.id}`, { method: 'DELETE' });
	assert.equal(listed.status, 409);
	assert.equal(listed.json.error.fields.databases, made.map((d) => d.name).join(', '));
	assert.equal((await s.ask(`/api/accounts/${t.account.id}?cascade=true&confirm=${t.account.username}`, { method: 'DELETE' })).status, 202);
	await until(async () => (await s.ask(`/api/accounts/${t.account.id}`)).status === 404, 'the account is gone');
	for (const d of made) {
		refused(d);
		assert.equal((await s.ask(`/api/databases/${d.id}`)).status, 404);
	}
});

test('a password is in the one answer that shows it, and nowhere else', async () => {
	const own = `given-${s.unique('secret')}-by-hand`, lines = new Set();
	let watching = true;
	const watch = (async () => { // command lines while jobs run
		while (watching) {
			for (const pid of fs.readdirSync('/proc').filter((x) => /^\d+$/.test(x)))
				try {
					lines.add(fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8'));
				} catch { /* it has ended */ }
			await new Promise((resolve) => setImmediate(resolve));
		}
	})();
	const secrets = [own];
	for (const engine of engines) {
		const d = await make(a, { name: s.unique('secret'), engine }), next = await change(a, 'POST', `/${d.id}/rotate-password`);
		const given = await make(a, { name: s.unique('secret'), engine, password: own });
		assert.ok(!('password' in given));
		use({ ...given, password: own }, 'SELECT 1');
		secrets.push(d.password, next.password);
		const bad = await ask(a, 'POST', `/${d.id}/rotate-password`, { password: `${own}\u00e9` });
		assert.ok(bad.status === 422 && !bad.text.includes(own));
	}
	watching = false;
	await watch;
	const verifiers = s.sql('SELECT verifier FROM postern.databases').map((r) => r.verifier);
	assert.ok(verifiers.every((v) => /^(SCRAM-SHA-256\$4096:|\*[0-9A-F]{40}$)/.test(v)));
	const tables = s.sql(`SELECT c.oid::regclass::text AS t FROM pg_class c WHERE c.relnamespace = 'postern'::regnamespace AND c.relkind = 'r'`).map((r) => r.t);
	const rows = s.psql(tables.map((t) => `SELECT x::text FROM ${t} x;`).join('\n'));
	const seen = s.psql(tables.filter((t) => t !== 'postern.databases').map((t) => `SELECT x::text FROM ${t} x;`).join('\n'));
	const logs = [path.join(s.dir, 'log'), path.join(s.dir, 'pg')].flatMap((dir) => fs.readdirSync(dir).map((f) => path.join(dir, f)))
		.filter((f) => fs.statSync(f).isFile()).map((f) => fs.readFileSync(f, 'latin1')).join('\n');
	assert.ok(rows.includes(verifiers[0]) && logs.includes('database.apply') && [...lines].some((l) => l.includes('mariadb')), 'what is looked through is there');
	for (const secret of secrets)
		assert.ok(!rows.includes(secret) && !logs.includes(secret) && ![...lines].some((l) => l.includes(secret)));
	for (const verifier of verifiers)
		assert.ok(!seen.includes(verifier) && !logs.includes(verifier) && ![...lines].some((l) => l.includes(verifier)));
});

// ---- the actions by themselves ----

const action = (kind) => [path.join(s.dir, 'app'), path.join(root, build)].map((dir) => path.join(dir, 'actions', kind)).find((f) => fs.existsSync(f));
const given = (kind, data) => JSON.stringify({ job: data.marker, kind, attempt: 1, data });
const environment = (more = {}) => ({ PATH: process.env.PATH, POSTERN_CONFIG: path.join(s.dir, 'postern.conf'), ...more });
function act(kind, data, more) {
	const done = spawnSync(action(kind), { input: given(kind, data), encoding: 'utf8', cwd: '/', env: environment(more) });
	return { ...done, last: done.stdout.trim() ? JSON.parse(done.stdout.trim().split('\n').pop()) : {} };
}
async function killed(kind, data, after_ms) {
	const child = spawn(action(kind), { cwd: '/', env: environment(), stdio: ['pipe', 'ignore', 'ignore'] });
	const ended = new Promise((resolve) => child.on('exit', (code, signal) => resolve(signal)));
	child.stdin.on('error', () => {});
	child.stdin.end(given(kind, data));
	setTimeout(() => child.kill('SIGKILL'), after_ms);
	return ended;
}

for (const engine of engines)
	test(`${engine}: killed at any moment and run again, an action leaves what one run would have left`, async () => {
		const t = await make(a, { name: s.unique('kill'), engine }); // its password's verifier serves them all
		const data = s.sql(`SELECT engine, name, username AS user, charset, verifier FROM postern.databases WHERE id = ${t.id}`)[0];
		let kills = 0;
		for (let i = 0; i < (soak ? 60 : 8); i++) {
			const name = `${t.name}'${i}`, d = { ...data, name, user: name, marker: randomUUID(), suspended: false, connections: 20 };
			for (const kind of ['database.apply', 'database.remove']) {
				kills += await killed(kind, d, Math.random() * 120) === 'SIGKILL';
				const done = await until(() => { // what the killed one had asked of the server may still be under way
					const run = act(kind, d);
					return run.status !== 75 && run;
				}, `${kind} ends`);
				assert.equal(done.status, 0, done.stdout);
				if (kind === 'database.apply')
					use({ engine, name, user: name, password: t.password }, 'CREATE TABLE t (x int)');
				else
					refused({ engine, name, user: name, password: t.password });
			}
		}
		assert.ok(kills > 0, 'some were killed');
		assert.equal(engine === 'mariadb' ? maria(`SELECT COUNT(*) FROM mysql.user WHERE User LIKE '${t.name}%'`) : s.accountsPsql(`SELECT count(*) FROM pg_roles WHERE rolname LIKE '${t.name}%'`), '1');
	});

test('what MariaDB has against it is the reason, without the statement; what passes is tried again; what came in between is not claimed', () => {
	const fake = path.join(s.dir, 'fake-client'), log = path.join(s.dir, 'fake-log');
	const data = { engine: 'mariadb', name: 'a_ERROR 2002 ', user: 'a_x', marker: '123e4567-e89b-42d3-a456-426614174000', charset: 'utf8mb4', verifier: `*${'A'.repeat(40)}`, suspended: false, connections: 20 };
	for (const [error, status] of [['ERROR 1290 (HY000) at line 5: it runs with --read-only', 1], ['ERROR 1205 (HY000) at line 5: Lock wait timeout exceeded', 75], ['ERROR 2002 (HY000): Can no longer connect', 75],
		['ERROR 1396 (HY000) at line 5: Operation CREATE USER failed', 75]]) {
		fs.writeFileSync(log, '');
		fs.writeFileSync(fake, `#!/bin/sh\nscript=$(cat)\nprintf '%s\\n' "$script" >>'${log}'\ncase $script in *'CREATE USER'*) printf '%s\\n' "$script" '' '${error}' >&2; exit 1 ;; esac\nprintf '0\\t-\\n0\\t-\\n'\n`, { mode: 0o755 });
		const done = act('database.apply', data, { POSTERN_MARIADB_COMMAND: fake });
		assert.deepEqual([done.status, done.last.error], [status, `MariaDB: ${error}`]);
		assert.ok(!`${done.stdout}${done.stderr}`.includes('AAAA'));
		assert.equal((fs.readFileSync(log, 'utf8').match(/DELETE FROM postern_owned.objects/g) ?? []).length, error.includes('1396') ? 2 : 0);
	}
});

test('what administers PostgreSQL may make databases and roles, and is nothing more', () => {
	assert.equal(s.accountsPsql("SELECT rolsuper, rolcreatedb, rolcreaterole, rolbypassrls, rolreplication FROM pg_roles WHERE rolname = 'databases_admin'"),
		'f|t|t|f|f');
	assert.throws(() => s.psql('SELECT 1 FROM postern.databases', 'databases_admin'), /role "databases_admin" does not exist|permission denied/);
});
