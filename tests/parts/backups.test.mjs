// Backups by real restic of real files, databases and mail: what was destroyed comes back as it was, and what is not whole is
// never taken for a backup.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { answered, build, needsRoot, root, startStack, until } from '../api/harness.mjs';
import * as mail from './mail.mjs';

const tools = path.join(root, build, 'test/backups-tools');
const flag = (name) => path.join(tools, name);
const disk = path.join(root, build, 'test/backups-disk'); // the repository's own, small enough to be filled
const asServer = needsRoot ? [] : ['setpriv', '--reuid=postgres', '--regid=postgres', '--init-groups', '--'];
let s, t, other;

// Between posternd and its programs: each does what it always does, but where a flag says otherwise, once.
function writeTools() {
	fs.rmSync(tools, { recursive: true, force: true });
	fs.mkdirSync(tools, { recursive: true });
	fs.chmodSync(tools, 0o777); // MariaDB's programs run as nobody
	const script = (name, text) => fs.writeFileSync(path.join(tools, name), `#!/bin/bash\ntools='${tools}'\n${text}`, { mode: 0o755 });
	// kill: gets half of what is to be stored and is killed while it waits for the rest, so it leaves its lock.
	script('restic', `
		if [ -e "$tools/watch" ] && [[ " $* " == *" backup "* ]]; then
			{ cat /proc/[0-9]*/cmdline; env; } 2>/dev/null | tr '\\0' '\\n' >>"$tools/seen"
		fi
		if [ -e "$tools/kill" ] && [[ " $* " == *" backup "* ]]; then
			rm "$tools/kill"
			mkfifo "$tools/half"
			/usr/bin/restic "$@" <"$tools/half" &
			pid=$!
			exec 3>"$tools/half"
			head -c 200000 >&3
			until [ -n "$(ls "$RESTIC_REPOSITORY/locks")" ]; do :; done
			kill -KILL $pid
			wait $pid
			ls "$RESTIC_REPOSITORY/locks" >"$tools/locks"
			rm "$tools/half"
			kill -KILL $$
		fi
		if [ -e "$tools/panic" ] && [[ " $* " == *" backup "* ]]; then
			rm "$tools/panic"
			cat >/dev/null
			printf 'panic: repository is read-only\\n\\ngoroutine 1 [running]:\\nmain.runBackup(0xc0, {0x1, 0x2})\\n\\t/build/restic/cmd/main.go:12 +0x1d\\nmain.main()\\n\\t/build/restic/main.go:9\\n' >&2
			exit 2
		fi
		exec /usr/bin/restic "$@"`);
	for (const name of ['pg_dump', 'mariadb-dump'])
		script(name, `
			if [ -e "$tools/cut ${name}" ]; then
				rm "$tools/cut ${name}"
				/usr/bin/${name} "$@" 2>/dev/null | head -c 100000
				kill -KILL $$
			fi
			exec /usr/bin/${name} "$@"`);
	// ends as if all were well, with half of it
	script('liar', `/usr/bin/pg_dump "$@" | head -c 100000\nexit 0`);
}

before(async () => {
	writeTools();
	if (!needsRoot) {
		spawnSync('umount', ['--lazy', disk]);
		fs.mkdirSync(disk, { recursive: true });
		execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=160m,mode=700', 'postern-test', disk]);
	}
	s = await startStack('backups', { WORKER: 'yes', ...(needsRoot ? {} : { POSTERN_BACKUP_REPOSITORY: path.join(disk, 'repository') }), POSTERN_BACKUP_BALLAST_MB: '8', PARTS: needsRoot ? 'postgresql,mariadb' : 'postgresql,mariadb,mail', POSTERN_BACKUP_ENGINE: flag('restic'),
		POSTERN_PG_DUMP_COMMAND: flag('pg_dump'), POSTERN_MARIADB_DUMP_COMMAND: flag('mariadb-dump') });
	s.token = s.mint({ expires_at: 'null', action_limit: 1000000 }).token;
	[t, other] = [tenant(), tenant()];
	fs.mkdirSync(path.join(t.account.home, 'site/deep'), { recursive: true });
	fs.writeFileSync(path.join(t.account.home, 'site/large'), noise(3 << 20));
	fs.writeFileSync(path.join(t.account.home, 'site/deep/ünïcode \'name"'), 'x', { mode: 0o640 });
	fs.writeFileSync(path.join(t.account.home, 'site/-rf'), '');
	fs.symlinkSync('/etc/hostname', path.join(t.account.home, 'site/link'));
	fs.linkSync(path.join(t.account.home, 'site/-rf'), path.join(t.account.home, 'site/hard'));
	t.pg = await made('databases', { engine: 'postgresql', name: `${t.username}_it's "a\\%`, account: t.username });
	t.my = await made('databases', { engine: 'mariadb', name: `${t.username}_it's \`a\\%`, account: t.username });
	fill(t.pg);
	fill(t.my);
});
after(async () => {
	await s?.stop();
	spawnSync('umount', ['--lazy', disk]);
});

function tenant() {
	const made = s.tenant();
	return { ...made, token: s.mint({ owner: made.user.username, role: 'customer', expires_at: 'null', action_limit: 1000000 }).token };
}
const noise = (bytes) => execFileSync('head', ['-c', String(bytes), '/dev/urandom'], { maxBuffer: bytes + 1 });
const ask = (method, target, body, token) => s.ask(`/api/${target}`, { method, body, ...(token === undefined ? {} : { token }), headers: { Prefer: 'wait=30' } });
async function made(target, body) {
	const answer = await ask('POST', target, body);
	assert.equal(answer.status, 201, answer.text);
	return answer.json;
}
// Answers with the job that did it, when that has ended.
async function job(target, body, { method = 'POST', status = 'succeeded', token } = {}) {
	const answer = await ask(method, target, body, token);
	assert.equal(answer.status, answered(202, answer), answer.text);
	assert.match(answer.headers.get('location'), new RegExp(`/api/jobs/${answer.json.id}$`));
	const ended = await until(async () => {
		const now = (await s.ask(`/api/jobs/${answer.json.id}`)).json;
		return !['queued', 'running'].includes(now.status) && now;
	}, `the job of ${target}`, 90000);
	assert.equal(ended.status, status, `${ended.error}\n${ended.log}`);
	return ended;
}
const backup = async (id) => (await s.ask(`/api/backups/${id}`)).json;
async function take(kind, fields = {}, options = {}) {
	const done = await job('backups', { account: t.username, kind, ...fields }, options);
	return { ...await backup(done.object_id), job: done };
}

// What a folder holds: names, kinds, permissions, contents.
function tree(folder) {
	const sum = createHash('sha256');
	for (const name of walk(folder).sort()) {
		const at = path.join(folder, name), st = fs.lstatSync(at);
		sum.update(`${name}\0${st.mode}\0${st.isSymbolicLink() ? fs.readlinkSync(at) : ''}\0`);
		if (st.isFile())
			sum.update(fs.readFileSync(at));
	}
	return sum.digest('hex');
}
function walk(folder, below = '') {
	return fs.readdirSync(path.join(folder, below), { withFileTypes: true }).flatMap((e) => {
		const name = path.join(below, e.name);
		return e.isDirectory() ? [name, ...walk(folder, name)] : [name];
	});
}

// --- databases, as their users see them ---
const conninfo = (value) => `'${value.replace(/[\\']/g, '\\$&')}'`;
function use(d, statement) {
	const [file, ...args] = d.engine === 'postgresql'
		? [...asServer, 'psql', '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-d', `host=${conninfo(s.told.POSTGRESQL_SOCKET)} user=${conninfo(d.user)} dbname=${conninfo(d.name)}`]
		: ['mariadb', '--no-defaults', `--socket=${s.told.MARIADB_SOCKET}`, '--batch', '--raw', '--skip-column-names', `--user=${d.user}`, `--database=${d.name}`];
	return execFileSync(file, args, { input: statement, encoding: 'utf8', cwd: '/', env: { PATH: process.env.PATH, PGPASSWORD: d.password, MYSQL_PWD: d.password } }).trim();
}
const superuser = (statement, database = 'postgres') => execFileSync([...asServer, 'psql'][0], [...asServer.slice(1), ...(asServer.length ? ['psql'] : []),
	'-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-h', s.told.POSTGRESQL_SOCKET, '-d', database], { input: statement, encoding: 'utf8', cwd: '/',
	env: { PATH: process.env.PATH, PGOPTIONS: '-c role=none' } }).trim();
function maria(statement) {
	const [file, ...args] = [...asServer, 'mariadb', '--no-defaults', `--socket=${s.told.MARIADB_SOCKET}`, '--batch', '--raw', '--skip-column-names', '--binary-mode'];
	return execFileSync(file, args, { input: statement, encoding: 'utf8', cwd: '/' }).trim();
}
const isPg = (d) => d.engine === 'postgresql';
const fill = (d) => use(d, isPg(d)
	? `CREATE TABLE things AS SELECT i AS id, md5(i::text) || md5((i + 1)::text) AS text FROM generate_series(1, 20000) i;
		CREATE VIEW few AS SELECT * FROM things WHERE id < 10; ALTER TABLE things ADD PRIMARY KEY (id)`
	: `CREATE TABLE things (id int PRIMARY KEY, text varchar(64)); INSERT INTO things SELECT seq, CONCAT(MD5(seq), MD5(seq + 1)) FROM seq_1_to_20000;
		CREATE TABLE log (id int); CREATE TRIGGER after_things AFTER INSERT ON things FOR EACH ROW INSERT INTO log VALUES (NEW.id);
		CREATE VIEW few AS SELECT * FROM things WHERE id < 10`);
const content = (d) => use(d, isPg(d)
	? `SELECT count(*), md5(string_agg(id || text, ',' ORDER BY id)), (SELECT count(*) FROM few) FROM things`
	: `SET SESSION group_concat_max_len = 1000000000; SELECT COUNT(*), MD5(GROUP_CONCAT(CONCAT(id, text) ORDER BY id)), (SELECT COUNT(*) FROM few),
		(SELECT COUNT(*) FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()) FROM things`);
const spoil = (d) => use(d, 'DROP VIEW few; DROP TABLE things; CREATE TABLE later (id int)');

// --- the repository, as its owner sees it ---
const repository = () => (needsRoot ? path.join(s.dir, 'backups') : path.join(disk, 'repository'));
const password = () => fs.readFileSync(path.join(s.dir, 'keys/backups.password'), 'utf8').trim();
const restic = (...args) => execFileSync('restic', ['--no-cache', '--no-lock', '--json', ...args], { encoding: 'utf8',
	env: { PATH: process.env.PATH, RESTIC_REPOSITORY: repository(), RESTIC_PASSWORD_FILE: path.join(s.dir, 'keys/backups.password') } });
const snapshots = (id) => JSON.parse(restic('snapshots', '--tag', `backup:${id}`)).map((x) => x.id).sort();

test('files and databases that were destroyed come back as they were', async () => {
	const b = await take('full', { note: 'before the storm' });
	assert.deepEqual([b.status, b.progress, b.kind, b.note, b.last_error], ['active', 100, 'full', 'before the storm', null]);
	assert.deepEqual(b.parts.map((p) => [p.part, p.engine, p.database]), [['files', undefined, undefined], ['database', 'postgresql', t.pg.name],
		['database', 'mariadb', t.my.name]]);
	assert.equal(b.snapshot_id, b.parts[0].snapshot_id);
	assert.equal(b.size_bytes, b.parts.reduce((sum, p) => sum + p.size_bytes, 0));
	assert.ok(b.parts[0].size_bytes > 3 << 20 && b.started_at < b.finished_at);
	assert.deepEqual(snapshots(b.id), b.parts.map((p) => p.snapshot_id).sort());
	const home = t.account.home, [files, pg, my] = [tree(home), content(t.pg), content(t.my)];

	fs.rmSync(path.join(home, 'site'), { recursive: true });
	fs.writeFileSync(path.join(home, 'later'), 'stays');
	spoil(t.pg);
	spoil(t.my);
	await job(`backups/${b.id}/restore`, { what: 'files' }, { token: t.token });
	assert.equal(fs.readFileSync(path.join(home, 'later'), 'utf8'), 'stays', 'what came later is not taken away');
	fs.rmSync(path.join(home, 'later'));
	assert.equal(tree(home), files);
	assert.equal(fs.statSync(path.join(home, 'site/-rf')).ino, fs.statSync(path.join(home, 'site/hard')).ino);
	for (const [d, was] of [[t.pg, pg], [t.my, my]]) {
		await job(`backups/${b.id}/restore`, { what: 'database', database: d.name }, { token: t.token });
		assert.equal(content(d), was, d.engine);
		assert.throws(() => use(d, 'SELECT * FROM later'), 'what came later is gone: the database is the one of then');
	}
	assert.deepEqual((await backup(b.id)).status, 'active');
	assert.equal((await job(`backups/${b.id}/verify`)).kind, 'backup.verify');
	assert.ok((await backup(b.id)).verified_at);
	const roles = s.accountsPsql(`SELECT count(*) FROM pg_roles WHERE rolname LIKE 'postern\\_deputy\\_%'; SELECT count(*) FROM pg_database WHERE datname ~ '^postern_'`);
	assert.equal(roles, '0\n0', 'nothing is left of the roles and databases made for it');
});

test('files go into a folder, through no link; a database goes into another of the account', async () => {
	const b = await take('full'), home = t.account.home;
	await job(`backups/${b.id}/restore`, { what: 'files', to: `${home}/old/of today` });
	assert.equal(tree(`${home}/old/of today/site`), tree(`${home}/site`));
	fs.rmSync(`${home}/old`, { recursive: true });
	const outside = path.join(s.dir, 'outside');
	fs.mkdirSync(outside);
	fs.symlinkSync(outside, `${home}/out`);
	const refused = await job(`backups/${b.id}/restore`, { what: 'files', to: `${home}/out/there` }, { status: 'failed' });
	assert.match(refused.error, /the folder .*\/out\/there cannot be made/);
	assert.deepEqual(fs.readdirSync(outside), []);
	fs.rmSync(`${home}/out`);
	const after = await backup(b.id);
	assert.deepEqual([after.status, after.last_error], ['active', refused.error], 'the backup is none the worse');

	for (const d of [t.pg, t.my]) {
		const copy = await made('databases', { engine: d.engine, name: `${t.username}_copy of ${d.engine}`, account: t.username });
		await job(`backups/${b.id}/restore`, { what: 'database', database: d.name, as: copy.name });
		assert.equal(content(copy), content(d));
		assert.equal(use(copy, isPg(copy) ? `SELECT tableowner FROM pg_tables WHERE tablename = 'things'` : 'SELECT 1'), isPg(copy) ? copy.user : '1');
		use(copy, isPg(copy) ? 'INSERT INTO things VALUES (0)' : 'INSERT INTO things VALUES (0, 0)');
		assert.notEqual(content(copy), content(d), 'they are two');
		await ask('DELETE', `databases/${copy.id}`, { confirm: copy.name });
	}
});

test('mail that was destroyed is read again; a mailbox made anew gets that of its address', { skip: needsRoot }, async () => {
	const secret = 'Not-a-secret-1', domain = await made('domains', { domain: `${s.unique('b')}.example`, account: t.username });
	const addresses = ['info', 'a.b_c-d'].map((local) => `${local}@${domain.domain}`);
	const boxes = [];
	for (const address of addresses) {
		boxes.push(await made('mailboxes', { address, password: secret }));
		assert.match(await mail.send(s.told.POSTERN_SMTP, { to: address, subject: `for ${address}` }), /^250/);
	}
	const subjects = async (address) => {
		const box = await mail.imap(s.told.POSTERN_IMAP, address, secret);
		try {
			return (await Promise.all((await box.find()).map((n) => box.text(n)))).map((text) => text.match(/^Subject: (.*)$/m)[1]);
		} finally {
			box.end();
		}
	};
	for (const address of addresses)
		await until(async () => (await subjects(address)).length === 1, 'the mail has come');
	const store = path.join(s.dir, 'mail/store', domain.domain);
	const message = (folder) => walk(folder).filter((n) => /(new|cur)\//.test(n)).map((n) => fs.readFileSync(path.join(folder, n), 'utf8'));
	const kept = message(store);
	const b = await take('mail');
	assert.deepEqual(b.parts.map((p) => [p.part, p.mailboxes.map((m) => m.address).sort()]), [['mail', [...addresses].sort()]]);
	fs.rmSync(path.join(store, `info-${boxes[0].id}`), { recursive: true });
	await ask('DELETE', `mailboxes/${boxes[1].id}?confirm=${boxes[1].address}`);
	assert.ok(!fs.existsSync(path.join(store, `a.b_c-d-${boxes[1].id}`)), 'its mail went with it');
	const anew = await made('mailboxes', { address: addresses[1], password: secret });
	assert.notEqual(anew.id, boxes[1].id);
	await job(`backups/${b.id}/restore`, { what: 'mail' });
	for (const address of addresses)
		assert.deepEqual(await subjects(address), [`for ${address}`]);
	assert.deepEqual(message(store).sort(), kept.sort());
	for (const name of fs.readdirSync(store))
		assert.equal(fs.statSync(path.join(store, name)).uid, fs.statSync(path.join(s.dir, 'mail/store')).uid);
	for (const box of [boxes[0], anew])
		await ask('DELETE', `mailboxes/${box.id}?confirm=${box.address}`);
	assert.match((await ask('POST', `backups/${b.id}/restore`, { what: 'mail' })).json.error.message, /none of the backup's mailboxes any more/);
});

// Of two databases the other one is kept: one that fails leaves a partial backup, all that fail leave none.
test('a dump that ends half-way is no part of a backup, whether its program is killed or says that all is well', async () => {
	for (const [program, d, rest] of [['pg_dump', t.pg, t.my], ['mariadb-dump', t.my, t.pg]]) {
		fs.writeFileSync(flag(`cut ${program}`), '');
		const b = await take('databases');
		assert.deepEqual([b.status, b.parts.map((p) => p.database), b.missing.map((m) => [m.part, m.name])], ['partial', [rest.name], [['database', d.name]]]);
		assert.match(b.missing[0].reason, new RegExp('could not be read to the end.*signal 9'));
		assert.deepEqual(snapshots(b.id), [b.snapshot_id], 'what was stored of it is forgotten');
		await job(`backups/${b.id}/verify`);
		assert.equal((await backup(b.id)).status, 'partial');
	}
	fs.renameSync(flag('pg_dump'), flag('good'));
	fs.copyFileSync(flag('liar'), flag('pg_dump'));
	const lied = await take('databases');
	fs.renameSync(flag('good'), flag('pg_dump'));
	assert.match(lied.missing[0].reason, /^the dump of database .* is not whole: .*end of file/);
	assert.deepEqual(snapshots(lied.id), [lied.snapshot_id]);
	for (const program of ['pg_dump', 'mariadb-dump'])
		fs.writeFileSync(flag(`cut ${program}`), '');
	const failed = await take('databases', {}, { status: 'failed' });
	assert.ok(failed.job.error.startsWith(`database ${t.pg.name} could not be read to the end`) && failed.job.error.includes('signal 9'), failed.job.error);
	assert.deepEqual([failed.status, failed.parts, failed.snapshot_id, failed.size_bytes], ['error', null, null, null]);
	assert.equal(failed.last_error, failed.job.error);
	assert.deepEqual(snapshots(failed.id), [], 'what was stored is forgotten');
	assert.equal((await ask('POST', `backups/${failed.id}/restore`, { what: 'database' })).status, 409);
	assert.equal((await ask('POST', `backups/${failed.id}/verify`)).status, 409);
	assert.equal(s.accountsPsql(`SELECT count(*) FROM pg_roles WHERE rolname LIKE 'postern\\_deputy\\_%'`), '0');
});

test('one bad object leaves the rest: the backup is partial, and what is missing is named wherever somebody looks', { skip: needsRoot }, async () => {
	const u = tenant(), home = u.account.home;
	const pg = await made('databases', { engine: 'postgresql', name: 'bad', account: u.username }), my = await made('databases', { engine: 'mariadb', name: 'bad', account: u.username });
	for (const d of [pg, my])
		fill(d);
	use(pg, `CREATE TABLE "Hidden rows" (x int); INSERT INTO "Hidden rows" VALUES (1); ALTER TABLE "Hidden rows" ENABLE ROW LEVEL SECURITY; ALTER TABLE "Hidden rows" FORCE ROW LEVEL SECURITY;
		CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE TABLE "Odd""one" (m mood); INSERT INTO "Odd""one" VALUES ('bad')`);
	superuser(`CREATE TABLE foreign_one (x int); DELETE FROM pg_enum WHERE enumlabel = 'bad'`, pg.name); // what a page that went bad does: its rows cannot be read
	superuser('ALTER ROLE postern_dumps NOBYPASSRLS');
	use(my, 'CREATE TABLE gone (x int); CREATE VIEW broken AS SELECT * FROM gone; DROP TABLE gone; CREATE TABLE torn (x int)');
	maria(`ALTER TABLE \`${my.name}\`.torn DISCARD TABLESPACE`);
	fs.writeFileSync(path.join(home, 'good'), 'good');
	let b;
	try {
		b = await backup((await job('backups', { account: u.username })).object_id);
	} finally {
		superuser('ALTER ROLE postern_dumps BYPASSRLS');
	}
	assert.equal(b.status, 'partial');
	assert.deepEqual(b.parts.map((p) => p.part), ['files', 'database', 'database'], JSON.stringify(b.missing, null, 1));
	const missing = b.missing.map((m) => `${m.part} ${m.name} ${m.object ?? ''}`.trim());
	assert.deepEqual(missing.filter((m) => !/torn/.test(m)).sort(), [`database ${pg.name} "Hidden rows"`, `database ${pg.name} "Odd""one"`, `database ${pg.name} foreign_one`, `database ${my.name} view broken`]
		.map((m) => m.replace(/ ("Hidden rows"|"Odd""one"|foreign_one)$/, ' public.$1')).sort());
	assert.ok(missing.some((m) => m.startsWith(`database ${my.name} `) && /torn/.test(m)), missing.join('\n'));
	const reason = (object) => b.missing.find((m) => (m.object ?? m.name).includes(object)).reason;
	assert.match(reason('Hidden'), /row-level security.*CREATE ROLE postern_dumps/);
	assert.match(reason('Odd'), /rows could not be read: .*enum/);
	assert.match(reason('foreign_one'), /belongs to another role/);
	// the good parts come back
	fs.rmSync(path.join(home, 'good'));
	for (const d of [pg, my])
		spoil(d);
	await job(`backups/${b.id}/restore`, { what: 'files' });
	assert.equal(fs.readFileSync(path.join(home, 'good'), 'utf8'), 'good');
	for (const d of [pg, my]) {
		const either = await ask('POST', `backups/${b.id}/restore`, { what: 'database', database: d.name });
		assert.deepEqual([either.status, Object.keys(either.json.error.fields)], [422, ['engine']], 'two databases have this name');
		await job(`backups/${b.id}/restore`, { what: 'database', database: d.name, engine: d.engine });
		assert.equal(content(d), content(isPg(d) ? t.pg : t.my), d.engine);
	}
	await job(`backups/${b.id}/verify`);
	assert.equal((await backup(b.id)).status, 'partial');
	const event = s.sql(`SELECT data FROM postern.events WHERE type = 'backup.partial' AND object_id = '${b.id}'`);
	assert.deepEqual(event.map((e) => e.data.missing.length), [b.missing.length]);
	const health = s.cliJson(['server-health', 'show']);
	assert.ok(health.reasons.some((r) => r.subject === 'backups' && r.severity === 'warning' && r.message.includes(`lacks something`) && r.message.includes(u.username)), JSON.stringify(health.reasons));
	use(my, 'CREATE TABLE gone (x int); CREATE VIEW broken AS SELECT * FROM gone; DROP TABLE gone');
	const told = s.cli(['backup', 'create', '--account', u.username, '--kind', 'databases', '--wait']);
	assert.deepEqual([told.status, /missing: database .*: view broken: what it refers to/.test(told.stderr), /backup is partial/.test(told.stderr)], [1, true, true], told.stderr);
	assert.equal((await backup((await job('backups', { account: u.username, kind: 'files' })).object_id)).status, 'active');
});

test('what surrounds the data comes back with it', { skip: needsRoot }, async () => {
	const u = tenant(), home = u.account.home, at = (name) => path.join(home, name);
	const pg = await made('databases', { engine: 'postgresql', name: 'around', account: u.username }), my = await made('databases', { engine: 'mariadb', name: 'around', account: u.username });
	const stranger = await made('databases', { engine: 'postgresql', name: 'stranger', account: other.username });
	// files: extended attributes, permissions of others, holes, two names of one file
	fs.writeFileSync(at('file'), 'x', { mode: 0o640 });
	execFileSync('setfacl', ['-m', 'u:daemon:r--', at('file')]);
	execFileSync('setfattr', ['-n', 'user.colour', '-v', 'blue', at('file')]);
	fs.linkSync(at('file'), at('same'));
	execFileSync('truncate', ['-s', '3G', at('hole')]);
	fs.appendFileSync(at('hole'), 'end');
	execFileSync('chown', [`${fs.statSync(home).uid}:${fs.statSync(home).gid}`, at('file'), at('hole')]);
	// PostgreSQL
	use(pg, `CREATE TABLE kept (x int); COMMENT ON TABLE kept IS 'of note'; CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; REVOKE EXECUTE ON FUNCTION f() FROM PUBLIC;
		GRANT SELECT ON kept TO PUBLIC; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC; CREATE EXTENSION hstore; GRANT SELECT (x) ON kept TO "${stranger.user}";
		GRANT EXECUTE ON FUNCTION f() TO "${stranger.user}"; GRANT USAGE ON SCHEMA public TO "${stranger.user}"; ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO "${stranger.user}";
		ALTER ROLE CURRENT_USER IN DATABASE "${pg.name}" SET work_mem = '7MB'`);
	superuser(`ALTER DATABASE "${pg.name}" SET search_path = "$user", public, "Odd one"; ALTER DATABASE "${pg.name}" SET app.mode = 'live'; ALTER DATABASE "${pg.name}" SET role = '${stranger.user}';
		UPDATE pg_database SET datcollate = 'C', datctype = 'C' WHERE datname = '${pg.name}'`);
	superuser('CREATE EXTENSION file_fdw', pg.name);
	// MariaDB
	use(my, 'CREATE TABLE kept (x int); CREATE VIEW seen AS SELECT * FROM kept; CREATE PROCEDURE p() SELECT 1');
	maria(`ALTER DATABASE \`${my.name}\` CHARACTER SET latin1 COLLATE latin1_german2_ci`);
	const b = await backup((await job('backups', { account: u.username })).object_id);
	assert.deepEqual([b.status, b.missing.map((m) => m.object)], ['partial', ['setting app.mode', 'extension file_fdw']], 'what a restore could not make is named when there is time');
	superuser(`DROP EXTENSION file_fdw; ALTER DATABASE "${pg.name}" RESET app.mode`, pg.name);
	const whole = await backup((await job('backups', { account: u.username })).object_id);
	assert.equal(whole.status, 'active', JSON.stringify(whole.missing));

	for (const name of ['file', 'same', 'hole'])
		fs.rmSync(at(name));
	await job(`backups/${whole.id}/restore`, { what: 'files' });
	assert.match(execFileSync('getfacl', ['-cp', at('file')], { encoding: 'utf8' }), /user:daemon:r--/);
	assert.equal(execFileSync('getfattr', ['--only-values', '-n', 'user.colour', '--absolute-names', at('file')], { encoding: 'utf8' }), 'blue');
	assert.equal(fs.statSync(at('file')).ino, fs.statSync(at('same')).ino);
	const hole = fs.statSync(at('hole'));
	assert.ok(hole.size > 3 << 20 && hole.size === 3 * 2 ** 30 + 3 && hole.blocks * 512 < 1 << 20, `${hole.blocks} blocks`);

	const around = (d) => superuser(`SELECT datcollate FROM pg_database WHERE datname = '${d.name}'; SELECT string_agg((setrole <> 0) || ' ' || x, ';' ORDER BY x) FROM pg_db_role_setting s
		JOIN pg_database b ON b.oid = s.setdatabase, unnest(setconfig) x WHERE datname = '${d.name}'`).split('\n');
	const inside = (d) => superuser(`SELECT obj_description('public.kept'::regclass); SELECT proacl FROM pg_proc WHERE proname = 'f'; SELECT relacl FROM pg_class WHERE relname = 'kept';
		SELECT attacl FROM pg_attribute WHERE attrelid = 'public.kept'::regclass AND attname = 'x'; SELECT string_agg(defaclacl::text, ';' ORDER BY defaclnamespace) FROM pg_default_acl; SELECT count(*) FROM pg_extension WHERE extname = 'hstore'`, d.name).split('\n');
	const kept = ['C', 'false search_path="$user", public, "Odd one";true work_mem=7MB'];
	const before = inside(pg);
	assert.match(before.join(), new RegExp(`${stranger.user}=r`));
	use(pg, `SET search_path = public; DROP TABLE kept; DROP FUNCTION f(); DROP EXTENSION hstore; ALTER ROLE CURRENT_USER IN DATABASE "${pg.name}" RESET ALL`);
	superuser(`ALTER DATABASE "${pg.name}" RESET ALL`);
	await job(`backups/${whole.id}/restore`, { what: 'database', database: pg.name, engine: 'postgresql' });
	assert.deepEqual([around(pg), inside(pg)], [kept, before], 'but for what decides who acts there');
	// into another: what was granted to others there is nobody's here
	const copy = await made('databases', { engine: 'postgresql', name: 'copy', account: u.username });
	await job(`backups/${whole.id}/restore`, { what: 'database', database: pg.name, engine: 'postgresql', as: copy.name });
	assert.deepEqual(around(copy), kept);
	const acl = inside(copy);
	assert.deepEqual([acl[0], acl.at(-1)], ['of note', '1']);
	assert.equal(acl.join().includes(`${stranger.user}=`) || acl.join().includes(`${pg.user}=`), false, acl.join());
	assert.ok(acl[1].includes(`${copy.user}=X`) && !/[{,]=X/.test(acl[1]) && /[{,]=r/.test(acl[2]), acl.join('\n'));
	for (const d of [stranger, pg]) // whom the dump names keeps what is elsewhere
		assert.equal(use(d, 'SELECT 1'), '1', `${d.user} comes into ${d.name}`);

	const defaults = (d) => maria(`SELECT DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = '${d.name}'`);
	const second = await made('databases', { engine: 'mariadb', name: 'copy', account: u.username });
	await job(`databases/${my.id}?confirm=${my.name}`, undefined, { method: 'DELETE' });
	await job(`backups/${whole.id}/restore`, { what: 'database', engine: 'mariadb', as: second.name });
	assert.equal(defaults(second), 'latin1_german2_ci');
	assert.equal(use(second, 'SELECT COUNT(*) FROM seen; CALL p()'), '0\n1', 'views and routines are those of its user, though the first user is gone');
});

test('restic killed with SIGKILL leaves a lock; the next attempt stores all, and deletion frees it', async () => {
	fs.writeFileSync(flag('kill'), '');
	const b = await take('files');
	assert.ok(fs.readFileSync(flag('locks'), 'utf8').trim(), 'there was a lock');
	assert.deepEqual([b.status, b.job.attempts], ['active', 2]);
	assert.deepEqual(snapshots(b.id), [b.snapshot_id], 'of the second attempt alone');
	assert.deepEqual(fs.readdirSync(path.join(repository(), 'locks')), []);
	const used = () => walk(path.join(repository(), 'data')).reduce((sum, n) => sum + fs.statSync(path.join(repository(), 'data', n)).size, 0);
	fs.writeFileSync(path.join(t.account.home, 'big'), noise(2 << 20));
	const big = await take('files'), before = used();
	fs.rmSync(path.join(t.account.home, 'big'));
	await job(`backups/${big.id}?confirm=${big.id}`, undefined, { method: 'DELETE' });
	assert.equal((await s.ask(`/api/backups/${big.id}`)).status, 404);
	assert.deepEqual(snapshots(big.id), []);
	assert.ok(used() < before - (1 << 20), 'its space is free');
	restic('check');
});

test('a damaged repository is found by verification and by a restore, which leaves the database as it was', async () => {
	const b = await take('full'), data = path.join(repository(), 'data');
	const packs = walk(data).filter((n) => n.includes('/')).map((n) => path.join(data, n));
	const good = packs.map((file) => fs.readFileSync(file));
	for (const [i, file] of packs.entries()) {
		const bad = Buffer.from(good[i]);
		for (let at = 40; at < bad.length - 200; at += 1000)
			bad[at] ^= 0x55;
		fs.chmodSync(file, 0o600);
		fs.writeFileSync(file, bad);
	}
	try {
		const verified = await job(`backups/${b.id}/verify`, undefined, { status: 'failed' });
		assert.match(verified.error, /^the backup is damaged: its files cannot be read/);
		const after = await backup(b.id);
		assert.deepEqual([after.status, after.last_error, after.verified_at], ['error', verified.error, null]);
		const before = content(t.pg);
		await job(`backups/${b.id}/restore`, { what: 'database', database: t.pg.name }, { status: 'failed' });
		assert.equal(content(t.pg), before);
	} finally {
		for (const [i, file] of packs.entries())
			fs.writeFileSync(file, good[i]);
	}
	await job(`backups/${b.id}/verify`);
	assert.deepEqual((await backup(b.id)).status, 'active', 'a copy of the repository was put back');
});

test('of each kind an account keeps as many as it may, and those that are marked', async () => {
	const { account } = tenant(), mine = () => s.ask(`/api/backups?account_id=${account.id}&kind=files&status=active`);
	await s.ask(`/api/accounts/${account.id}`, { method: 'PATCH', body: { backup_keep_last: 2 } });
	const ids = [];
	for (const keep of [true, false, false, false])
		ids.push(String((await job('backups', { account_id: account.id, kind: 'files', keep })).object_id)); // as snapshots name them
	await until(async () => (await mine()).json.total === 3, 'the oldest is deleted');
	assert.deepEqual((await mine()).json.data.map((b) => String(b.id)), [ids[3], ids[2], ids[0]]);
	await until(async () => (await s.ask(`/api/backups/${ids[1]}`)).status === 404, 'and gone');
	assert.deepEqual(snapshots(ids[1]), []);

	// days, weeks and months: rows of other times, whose jobs are not wanted here
	const at = ['2026-03-31 23:00', '2026-03-31 01:00', '2026-03-30 12:00', '2026-03-29 12:00', '2026-03-22 12:00', '2026-02-28 12:00', '2026-01-31 12:00', '2026-01-01 12:00'];
	const kept = s.psql(`BEGIN; SET ROLE postern_operator;
		UPDATE postern.accounts SET backup_keep_last = 1, backup_keep_daily = 2, backup_keep_weekly = 3, backup_keep_monthly = 3 WHERE id = ${account.id};
		INSERT INTO postern.backups (account_id, kind, status, parts, finished_at)
		SELECT ${account.id}, 'mail', 'active', '[]', (x || '+00')::timestamptz FROM unnest('{${at.join(',')}}'::text[]) x;
		SELECT backups.retire(${account.id}, 1);
		SELECT string_agg(to_char(finished_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'), ',' ORDER BY finished_at DESC) FROM postern.backups
		WHERE account_id = ${account.id} AND kind = 'mail' AND status = 'active'; ROLLBACK`).split('\n').filter(Boolean).at(-1);
	// last: 31st 23:00; days: 31st, 30th; weeks (from Monday the 30th): 31st, 29th, 22nd; months: 31st, February's, January's newest
	assert.deepEqual(kept.split(','), [at[0], at[2], at[3], at[4], at[5], at[6]]);
});

test("another tenant's backup is no backup; a scope opens its own route alone", async () => {
	const b = await take('files');
	for (const [method, target, body] of [['GET', ''], ['DELETE', ''], ['POST', '/verify'], ['POST', '/restore', { what: 'files' }]])
		assert.equal((await ask(method, `backups/${b.id}${target}`, body, other.token)).status, 404, `${method} ${target}`);
	assert.equal((await ask('GET', 'backups', undefined, other.token)).json.total, 0);
	const foreign = await ask('POST', 'backups', { account: t.username }, other.token);
	assert.deepEqual([foreign.status, Object.keys(foreign.json.error.fields)], [422, ['account']]);
	const taken = await ask('POST', 'backups', { kind: 'files' }, t.token);
	assert.equal(taken.status, answered(202, taken), taken.text);
	const scoped = (scope) => s.mint({ owner: t.user.username, scopes: [scope], expires_at: 'null', action_limit: 1000 }).token;
	const ways = { 'backups:read': ['GET', ''], 'backups:trigger': ['POST', '/verify'], 'backups:restore': ['POST', '/restore', { what: 'files' }], 'backups:delete': ['DELETE', ''] };
	for (const scope of Object.keys(ways))
		for (const [wanted, [method, target, body]] of Object.entries(ways)) {
			const answer = await ask(method, `backups/${b.id}${target}?${method === 'GET' ? '' : 'dry_run=true'}`.replace(/\?$/, ''), body, scoped(scope));
			assert.equal(answer.status, scope === wanted ? 200 : 403, `${wanted} with ${scope}: ${answer.text}`);
		}
});

test('a restore that cannot be is refused with the remedy', async () => {
	const b = await take('full'), home = t.account.home;
	const faults = [[{}, 'what'], [{ what: 'everything' }, 'what'], [{ what: 'files', to: '/etc' }, 'to'], [{ what: 'files', to: `${home}x/y` }, 'to'],
		[{ what: 'files', to: `${home}/../x` }, 'to'], [{ what: 'files', as: 'x' }, 'as'], [{ what: 'database' }, 'database'], [{ what: 'database', database: 'none' }, 'database'],
		[{ what: 'database', database: t.pg.name, as: 'none' }, 'as'], [{ what: 'database', database: t.pg.name, as: t.my.name }, 'as'],
		[{ what: 'database', database: t.pg.name, to: `${home}/x` }, 'to'], [{ what: 'mail' }, 'what']];
	for (const [body, field] of faults) {
		const answer = await ask('POST', `backups/${b.id}/restore`, body);
		assert.deepEqual([answer.status, Object.keys(answer.json.error.fields ?? {})], [422, [field]], `${JSON.stringify(body)}: ${answer.text}`);
	}
	assert.equal((await ask('POST', 'backups', { account: t.username, kind: 'all' })).status, 422);
	assert.equal((await ask('POST', 'backups', {})).json.error.fields.account_id !== undefined, true);
});

test("the repository's password is in no process list, environment, log or row", async () => {
	fs.writeFileSync(flag('watch'), '');
	await take('files');
	fs.rmSync(flag('watch'));
	const seen = fs.readFileSync(flag('seen'), 'utf8');
	assert.match(seen, /RESTIC_PASSWORD_FILE=/);
	assert.equal(seen.includes(password()), false);
	assert.equal(fs.statSync(path.join(s.dir, 'keys/backups.password')).mode & 0o777, 0o600);
	for (const name of fs.readdirSync(path.join(s.dir, 'log')))
		assert.equal(fs.readFileSync(path.join(s.dir, 'log', name), 'utf8').includes(password()), false, name);
	assert.equal(s.psql('SELECT string_agg(j::text, \' \') FROM postern.jobs j').includes(password()), false);
});

test('what holds data asks for its name; the dry run lists all that would go, and changes nothing', { skip: needsRoot }, async () => {
	const u = tenant(), domain = await made('domains', { domain: `${s.unique('c')}.example`, account: u.username });
	const box = await made('mailboxes', { address: `info@${domain.domain}`, password: 'Not-a-secret-1' });
	const base = await made('databases', { engine: 'postgresql', name: 'shop', account: u.username });
	const b = await job('backups', { account: u.username, kind: 'files' });
	const all = [[`mailboxes/${box.id}`, box.address], [`databases/${base.id}`, base.name], [`domains/${domain.id}?cascade=true`, domain.domain],
		[`backups/${b.object_id}`, String(b.object_id)], [`accounts/${u.account.id}?cascade=true`, u.username]];
	const and = (target, more) => `${target}${target.includes('?') ? '&' : '?'}${more}`;
	for (const [target, name] of all) {
		for (const wrong of [target, and(target, 'confirm=yes'), and(target, 'dry_run=true&confirm=yes')]) {
			const refused = await ask('DELETE', wrong);
			assert.deepEqual([refused.status, Object.keys(refused.json.error.fields)], [422, ['confirm']], `${wrong}: ${refused.text}`);
			assert.ok(refused.json.error.fields.confirm.startsWith(`must be "${name}"`), refused.text);
		}
		const dry = await ask('DELETE', and(target, 'dry_run=true'));
		assert.deepEqual([dry.status, dry.json.dry_run, dry.json.confirm], [200, true, name], dry.text);
	}
	const dry = (await ask('DELETE', `accounts/${u.account.id}?cascade=true&purge=true&dry_run=true`)).json;
	const listed = dry.would_delete.map((x) => `${x.resource} ${x.name}`);
	for (const one of [`databases ${base.name}`, `files ${u.account.home}`, `mailboxes ${box.address}`, `domains ${domain.domain}`, `users ${u.user.username}`, `accounts ${u.username}`])
		assert.ok(listed.includes(one), `${one} in ${listed}`);
	assert.deepEqual(dry.stays.map((x) => `${x.resource} ${x.name}`), [`backups ${b.object_id}`]);
	assert.ok(dry.would_delete.find((x) => x.resource === 'databases').size_bytes > 0);
	for (const [target] of all)
		assert.equal((await ask('GET', target.split('?')[0])).status, 200, target);
	const shown = s.cli(['account', 'delete', u.username, '--cascade', '--dry-run']);
	assert.match(shown.stdout, new RegExp(`lost:[^]*databases +${base.name}[^]*stays:[^]*backups +${b.object_id}`));
	const asked = s.cli(['account', 'delete', u.username, '--cascade'], { input: '' });
	assert.deepEqual([asked.status, /confirm/.test(asked.stderr)], [7, true], asked.stderr);
	// at a terminal what would go is shown, and the name is asked for
	const typed = (name) => spawnSync('script', ['-qec', `${path.join(s.dir, 'postern')} account delete ${u.username} --cascade`, '/dev/null'], { input: `${name}\n`, encoding: 'utf8' });
	assert.match(typed('nobody').stdout, new RegExp(`${base.name}[^]*Type ${u.username}[^]*nothing was deleted`));
	assert.equal((await ask('GET', `accounts/${u.account.id}`)).json.status, 'active');
	assert.match(typed(u.username).stdout, new RegExp(`Type ${u.username}`));
	await until(async () => (await ask('GET', `accounts/${u.account.id}`)).status === 404, 'the account is gone');
});

test('backups outlive their account: an administrator finds them, restores into another account, and they age out', async () => {
	const gone = tenant(), home = gone.account.home;
	fs.writeFileSync(path.join(home, 'letter'), 'dear');
	const base = await made('databases', { engine: 'postgresql', name: `${gone.username}_shop`, account: gone.username });
	use(base, 'CREATE TABLE kept AS SELECT 7 AS n');
	const id = (await job('backups', { account: gone.username })).object_id;
	const marked = (await job('backups', { account: gone.username, kind: 'files', keep: true })).object_id;
	await job(`accounts/${gone.account.id}?cascade=true&purge=true&confirm=${gone.username}`, undefined, { method: 'DELETE' });
	assert.equal((await s.ask(`/api/accounts/${gone.account.id}`)).status, 404);
	const b = await backup(id);
	assert.deepEqual([b.status, b.account, b.deleted_account], ['active', null, gone.username]);
	assert.ok(Date.now() - Date.parse(b.account_deleted_at) < 600000);
	assert.equal(snapshots(id).length, 2);
	// whoever has the name now has nothing of it
	const heir = s.tenant({ username: gone.username }), token = s.mint({ owner: heir.user.username, role: 'customer', expires_at: 'null', action_limit: 1000 }).token;
	assert.notEqual(heir.account.id, gone.account.id);
	assert.equal((await ask('GET', `backups/${id}`, undefined, token)).status, 404);
	for (const words of [['--deleted-account'], ['--deleted-account', gone.username]])
		assert.ok(s.cliJson(['backup', 'list', ...words]).data.some((x) => x.id === Number(id)), String(words));
	assert.equal(s.cliJson(['backup', 'list', '--deleted-account', t.username]).total, 0);

	const target = tenant(), into = { account: target.username };
	const needed = await ask('POST', `backups/${id}/restore`, { what: 'files' });
	assert.deepEqual([needed.status, Object.keys(needed.json.error.fields)], [422, ['account']], needed.text);
	await job(`backups/${id}/verify`);
	await job(`backups/${id}/restore`, { what: 'files', ...into });
	assert.equal(fs.readFileSync(path.join(target.account.home, 'letter'), 'utf8'), 'dear');
	assert.equal(fs.statSync(path.join(target.account.home, 'letter')).uid, fs.statSync(target.account.home).uid);
	const copy = await made('databases', { engine: 'postgresql', name: `${target.username}_shop`, account: target.username });
	await job(`backups/${id}/restore`, { what: 'database', as: copy.name, ...into });
	assert.equal(use(copy, 'SELECT n FROM kept'), '7');
	assert.equal((await ask('POST', `backups/${id}/restore`, { what: 'files', ...into }, target.token)).status, 404);

	// aged out by the clock, but for what is to stay until somebody deletes it
	s.psql(`UPDATE postern.backups SET account_deleted_at = now() - interval '100 days' WHERE id IN (${id}, ${marked}); SET ROLE postern_operator;
		SELECT gate.work(work.clockwork(), 0, 'backup.retain', 'backups', NULL)`);
	await until(async () => (await s.ask(`/api/backups/${id}`)).status === 404, 'it is gone');
	assert.deepEqual(snapshots(id), []);
	assert.equal((await backup(marked)).status, 'active');
	await job(`backups/${marked}?confirm=${marked}`, undefined, { method: 'DELETE' });
});

test('an account goes with its backups where that was asked for', async () => {
	const gone = tenant(), done = await job('backups', { account: gone.username, kind: 'files' });
	const kept = await ask('DELETE', `accounts/${gone.account.id}?purge_backups=true`);
	assert.deepEqual([kept.status, kept.json.error.fields.backups], [409, String(done.object_id)]);
	await job(`accounts/${gone.account.id}?cascade=true&purge_backups=true&confirm=${gone.username}`, undefined, { method: 'DELETE' });
	assert.equal((await s.ask(`/api/accounts/${gone.account.id}`)).status, 404);
	assert.deepEqual(snapshots(done.object_id), []);
});

test('a full repository still deletes: a file that lies there for that goes, and comes back', { skip: needsRoot }, async () => {
	const ballast = path.join(repository(), 'postern.ballast'), filler = path.join(disk, 'filler');
	fs.writeFileSync(path.join(t.account.home, 'big'), noise(12 << 20));
	const b = await take('files');
	fs.rmSync(path.join(t.account.home, 'big'));
	assert.equal(fs.statSync(ballast).blocks * 512, 8 << 20, 'the file has all its blocks');
	assert.notEqual(spawnSync('dd', ['if=/dev/zero', `of=${filler}`, 'bs=64k']).status, 0, 'the disk is full');
	const refused = await take('full', {}, { status: 'failed' });
	assert.match(refused.last_error, /no space left on device/);
	assert.ok(!refused.last_error.includes('.go:') && !refused.last_error.includes('goroutine'), refused.last_error);
	await job(`backups/${b.id}?confirm=${b.id}`, undefined, { method: 'DELETE' });
	assert.deepEqual(snapshots(b.id), []);
	assert.ok(fs.statfsSync(disk).bavail * fs.statfsSync(disk).bsize > 2 << 20, 'there is room again');
	fs.rmSync(filler);
	await job(`backups/${refused.id}`, undefined, { method: 'DELETE' });
	await take('files');
	assert.equal(fs.statSync(ballast).blocks * 512, 8 << 20);
	restic('check');
});

test("what a program's panic says is one line; its stacks are in the job's log", async () => {
	fs.writeFileSync(flag('panic'), '');
	const failed = await take('files', {}, { status: 'failed' });
	assert.equal(failed.last_error, 'files could not be stored: panic: repository is read-only');
	assert.match(failed.job.log, /goroutine 1/);
});
