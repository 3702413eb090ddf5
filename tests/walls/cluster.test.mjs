// Postern's own database stays up and told in time, whatever tenants do with theirs.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import net from 'node:net';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { needsRoot, startStack, until } from '../api/harness.mjs';

let s, tenant;
const open = [];
before(async () => {
	s = await startStack('cluster', { WORKER: 'yes', PARTS: 'postgresql' });
	tenant = s.tenant();
	tenant.token = s.mint({ owner: tenant.user.username, scopes: ['databases:read', 'databases:write', 'domains:read'] }).token;
});
after(() => {
	for (const end of open)
		end();
	s?.stop();
});

// A session of psql with that connection string: { out(), said } and ends with the test.
function session(conninfo, password = '') {
	const as = process.getuid() === 0 ? ['setpriv', '--reuid=postgres', '--regid=postgres', '--init-groups', '--'] : [];
	const [file, ...args] = [...as, 'psql', '-X', '-q', '-A', '-t', '-d', conninfo];
	const psql = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'], cwd: '/', env: { ...process.env, PGPASSWORD: password } });
	let out = '';
	for (const stream of [psql.stdout, psql.stderr])
		stream.on('data', (d) => { out += d; });
	psql.stdin.on('error', () => {});
	open.push(() => psql.stdin.end());
	return { said: () => out, write: (text) => psql.stdin.write(text), ended: new Promise((resolve) => { psql.on('close', resolve); }) };
}

test('with a tenant who holds every connection of his server, logged in or silent, every endpoint answers', async () => {
	const made = await s.ask('/api/databases', { method: 'POST', token: tenant.token, body: { name: 'own', engine: 'postgresql' }, headers: { Prefer: 'wait=30' } });
	assert.equal(made.json.status, 'active', made.text);
	const conninfo = `host=${s.told.POSTGRESQL_SOCKET} user=${made.json.user} dbname=${made.json.name}`;
	const greedy = Array.from({ length: 70 }, () => session(conninfo, made.json.password));
	for (const one of greedy)
		one.write('SELECT 1;\n');
	// and sockets that never say who they are
	const silent = Array.from({ length: 150 }, () => net.connect(path.join(s.told.POSTGRESQL_SOCKET, '.s.PGSQL.5432')));
	for (const socket of silent) {
		socket.on('error', () => {});
		open.push(() => socket.destroy());
	}
	await until(() => greedy.some((one) => /too many|remaining connection slots|connection limit/.test(one.said())), 'the server is full');
	const names = Object.keys(s.cliJson(['openapi']).paths).map((p) => p.match(/^\/api\/v1\/([a-z-]+)$/)?.[1]).filter(Boolean);
	assert.ok(names.includes('databases') && names.length > 15, names.join());
	for (const name of names) {
		const answer = await s.ask(`/api/v1/${name}`);
		assert.notEqual(answer.status, 503, `${name}: ${answer.text}`);
	}
	assert.equal((await s.ask('/api/domains', { token: tenant.token })).status, 200);
});

test('nobody but Postern\'s own programs comes near its server\'s socket', { skip: needsRoot }, () => {
	const at = path.join(s.dir, 'pg/socket/.s.PGSQL.5432');
	for (const user of ['nobody', 'www-data']) {
		const tried = spawnSync('setpriv', [`--reuid=${user}`, '--clear-groups', '--', 'psql', '-X', '-h', path.dirname(at), '-U', 'postgres', '-d', 'postern', '-c', 'SELECT 1'],
			{ encoding: 'utf8', cwd: '/' });
		assert.match(tried.stderr, /Permission denied/, user);
	}
	assert.throws(() => s.psql('SELECT 1', 'databases_admin'), /does not exist|rejects connection/);
});

test('a write transaction that is left open in another database of the server does not hold up the feed', async () => {
	s.psql('CREATE DATABASE beside');
	const other = session(`host=${path.join(s.dir, 'pg/socket')} dbname=beside`);
	other.write("CREATE TABLE t (x int); BEGIN; INSERT INTO t VALUES (1); SELECT 'opened';\n");
	await until(() => other.said().includes('opened'), 'a transaction is open');
	const token = s.mint({ scopes: ['events:read', 'domains:read'] }).token;
	s.cliJson(['domain', 'create', '--domain', `${s.unique('feed')}.example`, '--account', tenant.account.username]);
	const [{ id }] = s.sql("SELECT id FROM postern.events WHERE type = 'domain.created' ORDER BY place DESC LIMIT 1");
	await until(async () => (await s.ask(`/api/events/${id}`, { token })).status === 200, 'the event is shown while it is open', 10000);
	const sealed = s.sql('SELECT coalesce(max(xid::text::bigint), 0) AS x FROM postern.audit')[0].x;
	await until(() => s.sql('SELECT coalesce(max(xid::text::bigint), 0) AS x FROM postern.seals')[0].x >= sealed, 'the trail is sealed meanwhile');
	assert.ok(!/ERROR/.test(other.said()), other.said());
});

test('server-health tells how far the feed is behind', async () => {
	const own = session(`host=${path.join(s.dir, 'pg/socket')} dbname=postern`);
	own.write("BEGIN; INSERT INTO postern.events (account_id, type, resource) VALUES (0, 'test.held', 'test'); SELECT 'opened';\n");
	await until(() => own.said().includes('opened'), 'a change is open');
	s.cliJson(['domain', 'create', '--domain', `${s.unique('feed')}.example`, '--account', tenant.account.username]);
	const behind = await until(async () => {
		const { json } = await s.ask('/api/server-health');
		return json.feed.delay_s > 0 && json.feed;
	}, 'a delay is told');
	assert.ok(behind.waiting > 0);
	assert.match((await s.ask('/metrics')).text, /^postern_feed_delay_seconds [0-9.]+$/m);
	own.write('ROLLBACK;\n');
	await until(async () => (await s.ask('/api/server-health')).json.feed.waiting === 0, 'the feed has caught up');
});
