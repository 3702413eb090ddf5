// How the machine is: server-health, health and /metrics say what is the case, and judge it by the settings.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import { after, before, test } from 'node:test';

import { fcgi, socketOf } from '../api/fastcgi.mjs';
import { startStack, until } from '../api/harness.mjs';

let s, token, bare;
const settings = { POSTERN_WATCH_S: '1', POSTERN_METRICS_ADDRESSES: '192.0.2.7 198.51.100.0/24' };

before(async () => {
	s = await startStack('health', { ...settings, WORKER: 'yes' });
	token = s.mint({ scopes: ['platform:read', 'metrics:read'] }).token;
	bare = s.mint({ scopes: ['domains:read'] }).token;
});
after(() => s?.stop());

const show = async () => {
	const answer = await s.ask('/api/v1/server-health.php', { token });
	assert.equal(answer.status, 200, answer.text);
	return answer.json.data;
};
const becomes = (what, want) => until(async () => {
	const now = await show();
	return want(now) && now;
}, what);
const reason = (health, subject) => health.reasons.find((r) => r.subject === subject);
async function restartWorker(more) {
	await s.endWorker();
	for (const name of Object.keys(s.env))
		if (/^POSTERN_.*(WARNING|CRITICAL)_/.test(name))
			delete s.env[name];
	Object.assign(s.env, settings, more);
	s.startWorker();
}
const seconds = (text) => Date.parse(text) / 1000;

test('the facts are the machine\'s, and say when they were found', async () => {
	const first = await becomes('the machine is seen twice', (h) => h.cpu?.used_pct !== undefined);
	const meminfo = Object.fromEntries([...fs.readFileSync('/proc/meminfo', 'utf8').matchAll(/^(\w+):\s+(\d+) kB$/gm)].map((m) => [m[1], Number(m[2]) * 1024]));
	assert.equal(first.machine, os.hostname());
	assert.deepEqual([first.kernel, first.cpus, first.memory.total_bytes, first.swap.total_bytes], [os.release(), os.cpus().length, meminfo.MemTotal, meminfo.SwapTotal]);
	assert.ok(first.memory.available_bytes > 0 && first.memory.available_bytes < first.memory.total_bytes && first.load.length === 3);
	const st = fs.statfsSync?.('/'); // Node 18.15 has it
	const disk = first.disks.find((d) => d.mount === '/');
	assert.ok(disk, 'the root counts, in a chroot and in a container too');
	if (st)
		assert.deepEqual([disk.total_bytes, disk.inodes], [st.blocks * st.bsize, st.files]);
	assert.equal(new Set(first.disks.map((d) => d.mount)).size, first.disks.length);
	assert.ok(!first.network.some((n) => n.name === 'lo'));
	const { postgresql: p } = first;
	assert.deepEqual([p.server_version, p.in_recovery, p.replicas, p.behind_s], [s.psql('SHOW server_version'), false, [], null]);
	assert.ok(p.connections >= 2 && p.connections <= p.connections_max && p.databases.some((d) => d.name === 'postern' && d.bytes > 1 << 20));
	assert.ok(first.uptime_s > 0 && seconds(first.machine_time) <= seconds(first.time));
	await becomes('it is looked at again', (h) => seconds(h.machine_time) > seconds(first.machine_time));
	assert.equal((await s.ask('/api/v1/server-health', { token: bare })).status, 403);
});

test('each threshold of the settings has its reason, and the worst of them is the verdict', async () => {
	const calm = { POSTERN_DISK_WARNING_PCT: '100', POSTERN_DISK_CRITICAL_PCT: '100', POSTERN_MEMORY_WARNING_PCT: '100', POSTERN_MEMORY_CRITICAL_PCT: '100',
		POSTERN_LOAD_WARNING_PCT: '100000', POSTERN_LOAD_CRITICAL_PCT: '100000', POSTERN_SWAP_WARNING_PCT: '100' };
	await restartWorker(calm);
	const fine = await becomes('the settings are in force', (h) => h.thresholds.load_warning_pct === 100000);
	assert.deepEqual([fine.status, fine.reasons], ['ok', []]);
	const t = s.tenant();
	s.psql(`INSERT INTO postern.domains (account_id, domain, type, document_root, proof, proven_at)
			VALUES (${t.account.id}, 'late.example', 'addon', '/x', 'administrator', now());
		INSERT INTO postern.certificates (account_id, domain_id, source, wanted, status, not_after)
		SELECT account_id, id, 'upload', '{late.example}', 'active', now() + interval '10 days' FROM postern.domains WHERE domain = 'late.example';
		UPDATE postern.accounts SET status = 'active', created_at = now() - interval '9 days' WHERE id = ${t.account.id};
		INSERT INTO postern.jobs (account_id, kind, resource, object_id, run_at) VALUES (0, 'nothing.waits', 'nothing', '1', now() + interval '1 h')`);
	const warned = await show();
	assert.equal(warned.status, 'warning');
	assert.deepEqual(warned.reasons.map((r) => r.subject), ['certificates']);
	assert.match(reason(warned, 'certificates').message, /first late\.example/);
	assert.deepEqual(warned.certificates.items.map((c) => c.domain), ['late.example']);
	s.psql("UPDATE postern.certificates SET not_after = now() + interval '1 day'");
	assert.equal((await show()).status, 'critical');
	s.psql("UPDATE postern.certificates SET not_after = now() + interval '100 days'");
	assert.equal((await show()).status, 'ok');
	await restartWorker({ POSTERN_DISK_WARNING_PCT: '1', POSTERN_DISK_CRITICAL_PCT: '100', POSTERN_MEMORY_WARNING_PCT: '1', POSTERN_MEMORY_CRITICAL_PCT: '1', POSTERN_CONNECTIONS_WARNING_PCT: '1',
		POSTERN_LOAD_WARNING_PCT: '100000', POSTERN_BACKUP_WARNING_H: '24' });
	const bad = await becomes('the settings are in force', (h) => h.thresholds.disk_warning_pct === 1 && h.thresholds.backup_warning_h === 24);
	assert.equal(bad.status, 'critical');
	assert.match(reason(bad, 'memory').message, /^memory in use: [\d.]+ % \(critical from 1 on: setting memory_critical_pct\)$/);
	assert.equal(reason(bad, 'disk').severity, 'warning');
	assert.match(reason(bad, 'postgresql').message, /connections/);
	assert.match(reason(bad, 'backups').message, new RegExp(`last 24 h: 1; first ${t.username}`));
	assert.ok(bad.backups.items.some((b) => b.account === t.username && b.last_backup_at === null));
	s.psql(`INSERT INTO postern.backups (account_id, kind, status, parts, finished_at) VALUES (${t.account.id}, 'full', 'active', '[]', now() - interval '5 h')`);
	const kept = await show();
	assert.equal(reason(kept, 'backups'), undefined);
	const age = kept.backups.list.find((b) => b.account === t.username).age_s;
	assert.ok(age >= 5 * 3600 && age < 5 * 3600 + 600);
	await restartWorker(calm);
	await becomes('the settings are in force', (h) => h.thresholds.memory_warning_pct === 100);
});

test('health and server-health tell when posternd is gone, more so when jobs wait for it', async () => {
	const health = async () => (await s.ask('/api/v1/health', { token })).json.data;
	const fine = await until(async () => { const now = await health(); return now.worker.status === 'ok' && now; }, 'posternd says that it is there');
	assert.deepEqual([fine.status, fine.reasons, fine.worker.machine], ['ok', [], os.hostname()]);
	await s.endWorker();
	s.psql("UPDATE postern.machines SET said_at = said_at - interval '1 min'"); // time goes by
	const gone = await health();
	assert.deepEqual([gone.status, gone.worker.status], ['warning', 'warning']);
	assert.match(gone.reasons[0], /posternd does not run/);
	assert.deepEqual([(await show()).status, reason(await show(), 'worker').severity], ['warning', 'warning']);
	s.psql(`UPDATE postern.jobs SET run_at = now() - interval '2 h' WHERE kind = 'nothing.waits'`);
	const waiting = await health();
	assert.equal(waiting.status, 'critical');
	assert.match(waiting.reasons[0], /jobs wait for it/);
	const queue = await show();
	assert.match(reason(queue, 'jobs').message, /oldest job that is due waits for: 7\d\d\d s \(critical from 3600 on: setting queue_critical_s\)/);
	assert.equal((await s.ask('/api/v1/health', { token: null })).text, '{"status":"ok"}', 'without a token it says no more');
	s.startWorker();
	await until(async () => (await health()).status === 'ok', 'the worker is back, and has done what waited');
});

const samples = (text) => Object.fromEntries(text.split('\n').filter((l) => l && !l.startsWith('#')).map((l) => [l.slice(0, l.lastIndexOf(' ')), Number(l.slice(l.lastIndexOf(' ') + 1))]));

test('/metrics passes promtool, says what server-health says, counts requests, and names no tenant', async () => {
	const t = s.tenant();
	const host = `${s.unique('host')}.example`;
	s.cliJson(['domain', 'create', '--domain', host, '--account', t.username]);
	const { token: asking } = s.mint({ owner: t.user.username, scopes: ['domains:read'] });
	const metrics = async (target = '/metrics') => {
		const answer = await s.ask(target, { token });
		assert.equal(answer.status, 200, answer.text);
		assert.equal(answer.headers.get('content-type'), 'text/plain; charset=utf-8');
		return answer.text;
	};
	const counted = async () => {
		const now = samples(await metrics());
		return ['2', '4'].map((c) => now[`postern_requests_total{resource="domain",class="${c}xx"}`] ?? 0);
	};
	await becomes('posternd is at work', (h) => h.worker.status === 'ok' && h.cpu?.used_pct !== undefined);
	const before = await counted();
	for (let i = 0; i < 5; i++)
		assert.equal((await s.ask('/api/domains', { token: asking })).status, 200);
	for (let i = 0; i < 2; i++)
		assert.equal((await s.ask('/api/domains/nowhere.example', { token: asking })).status, 404);
	assert.deepEqual(await until(async () => {
		const now = await counted();
		return now[0] >= before[0] + 5 && now[1] >= before[1] + 2 && now;
	}, 'they are counted'), [before[0] + 5, before[1] + 2]);
	const text = await metrics();
	const checked = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' });
	assert.deepEqual([checked.status, checked.stdout, checked.stderr], [0, '', ''], 'promtool check metrics');
	const health = await show(), now = samples(text);
	assert.deepEqual([now.postern_machine_cpus, now.postern_machine_memory_size_bytes, now.postern_worker_up, now.postern_postgresql_connections_limit, now.postern_accounts],
		[health.cpus, health.memory.total_bytes, 1, health.postgresql.connections_max, health.backups.accounts]);
	assert.equal(now['postern_filesystem_size_bytes{mount="/"}'], health.disks.find((d) => d.mount === '/')?.total_bytes);
	for (const name of [t.username, t.user.username, host, 'demo', 'late.example', 'admin'])
		assert.ok(!text.includes(name), `${name} is told`);
	for (const target of ['/api/v1/metrics', '/api/v1/metrics.php', '/api/metrics'])
		assert.ok(samples(await metrics(target)).postern_health_status >= 0, target);
	assert.equal((await s.ask('/metrics', { token, method: 'HEAD' })).text, '');
	assert.equal(samples(s.cli(['metrics', 'show']).stdout).postern_machine_cpus, health.cpus);
});

test('/metrics is for metrics:read, or for the addresses that the setting lists; for nobody else', async () => {
	assert.equal((await s.ask('/metrics', { token: null })).status, 401);
	assert.equal((await s.ask('/metrics', { token: bare })).status, 403);
	const t = s.tenant();
	assert.equal((await s.ask('/metrics', { token: s.mint({ owner: t.user.username, scopes: ['*'] }).token })).status, 403);
	assert.equal((await s.ask('/metrics', { token, method: 'POST' })).status, 405);
	// by address: what the web server says of the client
	const from = (address, more = {}) => fcgi(socketOf(s, 'metrics'), { path: '/api/metrics', address, https: true, ...more });
	const rows = () => s.psql("SELECT count(*) FROM postern.audit WHERE resource = 'metrics'");
	const before = rows();
	const open = await from('192.0.2.7');
	assert.equal(open.status, 200, open.text);
	assert.match(open.text, /^postern_worker_up [01]$/m);
	assert.equal((await from('::ffff:192.0.2.7')).status, 200);
	assert.equal((await from('198.51.100.9')).status, 200);
	assert.equal(rows(), before, 'there is no token whose row it could be');
	for (const elsewhere of ['192.0.2.8', '127.0.0.1', '198.51.101.9', '', 'unix:'])
		assert.equal((await from(elsewhere)).status, 401, elsewhere);
	for (const other of [`${token.slice(0, -1)}~`, bare]) // a token never sees less than nobody
		assert.equal((await from('192.0.2.7', { token: other })).status, 200);
	assert.equal((await from('192.0.2.8', { token: bare })).status, 403);
	assert.equal((await from('192.0.2.7', { path: '/api/v1/admin/metrics' })).status, 401);
	assert.equal((await fcgi(socketOf(s, 'server-health'), { path: '/api/v1/server-health', address: '192.0.2.7', https: true })).status, 401);
});
