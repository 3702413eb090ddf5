// A primary that hangs: endpoints, posternd and the command leave it, wherever it stands in the dsn. A frozen server
// keeps its connections open and takes new ones (the kernel does), but says nothing: what is stopped here is every
// process of a real primary.
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

import { build, root, startStack, until } from '../api/harness.mjs';

const ANSWER_MS = 5000; // after the promotion
const run = promisify(execFile);
const as = process.getuid() === 0 ? ['setpriv', '--reuid=postgres', '--regid=postgres', '--init-groups', '--'] : [];
const bin = '/usr/lib/postgresql/15/bin';
const dir = path.join(root, build, 'test/failover');
let s, frozen = [], token, owner;

const call = (file, ...args) => {
	const [first, ...rest] = [...as, file, ...args];
	return execFileSync(first, rest, { encoding: 'utf8', cwd: '/', stdio: ['ignore', 'pipe', 'pipe'] });
};
// A server of the pair: { data, socket }.
const server = (name) => ({ data: path.join(s.dir, name, 'data'), socket: path.join(s.dir, name, 'socket') });
const ask = (one, text) => s.psql(text, undefined, { socket: one.socket });
const sockets = [path.join(dir, 'pg/socket'), path.join(dir, 'pg2/socket')];

// `to` becomes a copy of `from` that follows it.
async function follow(to, from) {
	for (const folder of [to.data, to.socket]) // with the lock of the socket
		fs.rmSync(folder, { recursive: true, force: true });
	fs.mkdirSync(to.socket, { recursive: true });
	if (as.length)
		execFileSync('chown', ['-R', 'postgres:', path.dirname(to.socket)]);
	call(`${bin}/pg_basebackup`, '-h', from.socket, '-D', to.data, '-R', '-c', 'fast', '-X', 'stream');
	fs.appendFileSync(path.join(to.data, 'postgresql.auto.conf'), `unix_socket_directories = '${to.socket}'\n`);
	call(`${bin}/pg_ctl`, '-s', '-w', '-D', to.data, '-l', path.join(path.dirname(to.data), 'server.log'), 'start');
	await until(() => ask(from, "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") === '1', 'the standby follows');
}
// The postmaster and all that it has started.
function processes(one) {
	const pid = Number(fs.readFileSync(path.join(one.data, 'postmaster.pid'), 'utf8').split('\n')[0]);
	return [pid, ...fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(/\s+/).filter(Boolean).map(Number)];
}
function freeze(one) {
	frozen = processes(one);
	for (const pid of frozen) // the postmaster first: it starts no more
		process.kill(pid, 'SIGSTOP');
}
function kill(one) {
	const all = frozen.length ? frozen : processes(one);
	for (const pid of all)
		try {
			process.kill(pid, 'SIGKILL');
		} catch {
			// it has ended
		}
	frozen = [];
}

before(async () => {
	s = await startStack('failover', { WORKER: 'yes', POSTERN_DSN: `host=${sockets} dbname=postern target_session_attrs=read-write` });
	owner = s.tenant();
	token = s.mint({ scopes: ['domains:read', 'domains:write', 'jobs:read'] }).token;
	s.psql("ALTER SYSTEM SET wal_keep_size = '64MB'; SELECT pg_reload_conf()");
	fs.appendFileSync(path.join(s.dir, 'pg/data/pg_hba.conf'), 'local replication all trust\n');
	s.psql('SELECT pg_reload_conf()');
	await follow(server('pg2'), server('pg'));
});
after(() => {
	for (const name of ['pg', 'pg2'])
		try {
			kill(server(name));
		} catch {
			// it does not run
		}
	s?.stop();
});

async function failover(from, to) {
	const account = owner.username;
	assert.equal((await s.ask('/api/domains', { token })).status, 200);
	freeze(from);
	const inFlight = s.ask('/api/domains', { token }); // one that is under way when it hangs
	call(`${bin}/pg_ctl`, '-s', '-w', '-D', to.data, 'promote');
	const promoted = Date.now();
	const done = async (what, description) => {
		await until(what, description, 2 * ANSWER_MS);
		return Date.now() - promoted;
	};
	const [readAfter, writtenAfter, commanded, worked, ended] = await Promise.all([
		done(async () => (await s.ask('/api/domains', { token })).status === 200, 'an endpoint reads'),
		done(async () => (await s.ask('/api/domains', { method: 'POST', token, body: { domain: `${s.unique('hung')}.example`, account } })).status === 201,
			'an endpoint writes'),
		// the dsn is that of the environment
		done(() => run(path.join(s.dir, 'postern'), ['account', 'list'], { env: s.env }).then(() => true, () => false), 'the command answers'),
		done(() => ask(to, "SELECT 1 FROM pg_stat_activity WHERE usename = 'postern_worker' AND query !~ 'LISTEN'") === '1', 'posternd works'),
		inFlight,
	]);
	await until(() => ask(to, "SELECT 1 FROM pg_stat_activity WHERE query = 'LISTEN postern_jobs'") === '1', 'posternd listens');
	assert.ok([200, 503].includes(ended.status), ended.text);
	for (const [who, ms] of Object.entries({ readAfter, writtenAfter, commanded, worked }))
		assert.ok(ms < ANSWER_MS, `${who}: ${ms} ms after the promotion`);
	return { readAfter, writtenAfter, commanded, worked, inFlight: ended.status };
}

test('a primary that hangs and stands first in the dsn is left within five seconds of the promotion', { timeout: 120000 }, async (t) => {
	t.diagnostic(JSON.stringify(await failover(server('pg'), server('pg2'))));
	kill(server('pg'));
});

test('and one that stands last is left as soon', { timeout: 120000 }, async (t) => {
	await follow(server('pg'), server('pg2'));
	t.diagnostic(JSON.stringify(await failover(server('pg2'), server('pg'))));
	kill(server('pg2'));
	const verified = s.cli(['--json', 'audit', 'verify'], { env: s.env });
	assert.equal(verified.status, 0, verified.stdout + verified.stderr);
});
