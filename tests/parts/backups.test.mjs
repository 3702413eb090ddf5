// Backups by real restic of real files, databases and mail: what was destroyed comes back as it was, and what is not whole is
// never taken for a backup.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { build, needsRoot, root, startStack, until } from '../api/harness.mjs';
import * as mail from './mail.mjs';

const tools = path.join(root, build, 'test/backups-tools');
const flag = (name) => path.join(tools, name);
const asServer = needsRoot ? [] : ['setpriv', '--reuid=postgres', '--regid=postgres', '--init-groups', '--'];
let s, t, other;

// Between posternd and its programs: each does what it always does, but where a flag says otherwise, once.
function writeTools() {
	fs.rmSync(tools, { recursive: true, force: true });
	fs.mkdirSync(tools, { recursive: true });
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
	s = await startStack('backups', { WORKER: 'yes', PARTS: needsRoot ? 'mariadb' : 'mariadb,mail', POSTERN_BACKUP_ENGINE: flag('restic'),
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
after(() => s?.stop());

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
	assert.equal(answer.status, 202, answer.text);
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
		? [...asServer, 'psql', '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-d', `host=${conninfo(`${s.dir}/pg/socket`)} user=${conninfo(d.user)} dbname=${conninfo(d.name)}`]
		: ['mariadb', '--no-defaults', `--socket=${s.told.MARIADB_SOCKET}`, '--batch', '--raw', '--skip-column-names', `--user=${d.user}`, `--database=${d.name}`];
	return execFileSync(file, args, { input: statement, encoding: 'utf8', cwd: '/', env: { PATH: process.env.PATH, PGPASSWORD: d.password, MYSQL_PWD: d.password } }).trim();
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
const repository = () => path.join(s.dir, 'backups');
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
	const roles = s.psql(`SELECT count(*) FROM pg_roles WHERE rolname LIKE 'postern\\_deputy\\_%'; SELECT count(*) FROM pg_database WHERE datname ~ '^postern_'`);
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
	await ask('DELETE', `mailboxes/${boxes[1].id}`);
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
		await ask('DELETE', `mailboxes/${box.id}`);
	assert.match((await ask('POST', `backups/${b.id}/restore`, { what: 'mail' })).json.error.message, /none of the backup's mailboxes any more/);
});

test('a dump that ends half-way is no backup, whether its program is killed or says that all is well', async () => {
	for (const [program, d] of [['pg_dump', t.pg], ['mariadb-dump', t.my]]) {
		fs.writeFileSync(flag(`cut ${program}`), '');
		const failed = await take('databases', {}, { status: 'failed' });
		assert.ok(failed.job.error.startsWith(`database ${d.name} could not be read to the end`) && failed.job.error.includes('signal 9'), failed.job.error);
		assert.deepEqual([failed.status, failed.parts, failed.snapshot_id, failed.size_bytes], ['error', null, null, null]);
		assert.equal(failed.last_error, failed.job.error);
		assert.deepEqual(snapshots(failed.id), [], 'what was stored is forgotten');
		assert.equal((await ask('POST', `backups/${failed.id}/restore`, { what: 'database' })).status, 409);
		assert.equal((await ask('POST', `backups/${failed.id}/verify`)).status, 409);
	}
	fs.renameSync(flag('pg_dump'), flag('good'));
	fs.copyFileSync(flag('liar'), flag('pg_dump'));
	const failed = await take('databases', {}, { status: 'failed' });
	fs.renameSync(flag('good'), flag('pg_dump'));
	assert.match(failed.job.error, /^the dump of database .* is not whole: .*end of file/);
	assert.deepEqual(snapshots(failed.id), []);
	assert.equal(s.psql(`SELECT count(*) FROM pg_roles WHERE rolname LIKE 'postern\\_deputy\\_%'`), '0');
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
	await job(`backups/${big.id}`, undefined, { method: 'DELETE' });
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
		ids.push((await job('backups', { account_id: account.id, kind: 'files', keep })).object_id);
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
	assert.equal((await ask('POST', 'backups', { kind: 'files' }, t.token)).status, 202);
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

test('an account goes with its backups, when that was asked for', async () => {
	const gone = tenant(), done = await job('backups', { account: gone.username, kind: 'files' });
	const kept = await ask('DELETE', `accounts/${gone.account.id}`);
	assert.deepEqual([kept.status, kept.json.error.fields.backups], [409, done.object_id]);
	await job(`accounts/${gone.account.id}?cascade=true`, undefined, { method: 'DELETE' });
	assert.equal((await s.ask(`/api/accounts/${gone.account.id}`)).status, 404);
	assert.deepEqual(snapshots(done.object_id), []);
});
