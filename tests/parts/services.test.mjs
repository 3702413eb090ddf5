// Services: what the API says of the machine's services is how they are, and what it is asked to do is done to them and to no
// others. A private nginx where there is no systemd, and a stand-in for systemctl that speaks as it does. The machine's own are
// left alone.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { answered, startStack, until } from '../api/harness.mjs';

let s, folder, nginx, units;
const started = [];
const nginxOf = (dir) => ({
	conf: path.join(dir, 'nginx.conf'), pid: path.join(dir, 'nginx.pid'), socket: path.join(dir, 's'), command: path.join(dir, 'ctl'),
	configure(text) {
		fs.writeFileSync(this.conf, `pid ${this.pid}; error_log ${dir}/log; events {} http { access_log off; ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
			.map((t) => `${t}_temp_path ${dir}/${t};`).join(' ')} server { listen unix:${this.socket}; location / { return 200 "${text}"; } } }\n`);
	},
	words: ['-p', dir, '-c', path.join(dir, 'nginx.conf'), '-e', path.join(dir, 'log')],
	process() {
		try {
			return Number(fs.readFileSync(this.pid, 'utf8'));
		} catch {
			return null;
		}
	},
	page() {
		return new Promise((resolve) => {
			http.get({ socketPath: this.socket, path: '/', agent: false }, (answer) => {
				let text = '';
				answer.on('data', (more) => { text += more; }).on('end', () => resolve(text));
			}).on('error', () => resolve(null));
		});
	},
});
const alive = (pid) => {
	try {
		return !/^State:\s+[ZX]/m.test(fs.readFileSync(`/proc/${pid}/status`, 'utf8'));
	} catch {
		return false;
	}
};
const start = () => execFileSync('/usr/sbin/nginx', nginx.words, { stdio: 'ignore' });
const settings = (more) => Object.assign(s.env, { POSTERN_WATCH_S: '1', POSTERN_SERVICE_COMMAND: '', POSTERN_SERVICE_MANAGER: 'none' }, more);
async function restartWorker(more) {
	await s.endWorker();
	settings(more);
	s.startWorker();
}
const service = async (name) => (await s.ask(`/api/services/${name}`)).json;
const becomes = (name, what, want) => until(async () => {
	const row = await service(name);
	return want(row) && row;
}, `${name} ${what}`);
const tell = async (name, verb) => {
	const answer = await s.ask(`/api/v1/services/${name}/${verb}`, { method: 'POST', headers: { Prefer: 'wait=30' } });
	assert.equal(answer.status, answered(202, answer), answer.text);
	if (answer.status === 202)
		assert.match(answer.headers.get('location'), /^\/api\/v1\/jobs\//);
	return answer.json.data;
};
const events = (name) => s.sql(`SELECT type, data FROM postern.events WHERE type LIKE 'service.%' AND data ->> 'name' = '${name}' ORDER BY place`)
	.map((e) => `${e.data.before} > ${e.data.state}`);

before(async () => {
	s = await startStack('services');
	s.token = s.mint().token;
	folder = fs.mkdtempSync(path.join('/tmp', 'postern-services-')); // short: a socket's path has 107 bytes
	nginx = nginxOf(folder);
	nginx.configure('one');
	start();
	units = path.join(folder, 'units');
	fs.mkdirSync(units);
	// As `systemctl show` prints units, one after the other; what it is told to do it notes, and does to the unit's file.
	fs.writeFileSync(path.join(folder, 'systemctl'), `#!/bin/bash
		[ "$TZ" != UTC ] || zone=UTC
		echo "$*" >> ${folder}/told
		verb= ; while [ $# -gt 0 ]; do case $1 in --) shift; break ;; --*) ;; *) verb=$1 ;; esac; shift; done
		if [ "$verb" = show ]; then
			[ ! -e ${folder}/hang ] || { echo $$ > ${folder}/hang; exec sleep 600; }
			[ ! -e ${folder}/down ] || { echo 'Failed to connect to bus: No such file or directory' >&2; exit 1; }
			for unit; do
				if [ -e ${units}/$unit ]; then sed "s/ UTC$/ \${zone:-MEZ}/" ${units}/$unit
				else printf 'Id=%s\\nNames=%s\\nDescription=%s\\nLoadState=not-found\\nActiveState=inactive\\nUnitFileState=\\nMainPID=0\\nMemoryCurrent=[not set]\\nCPUUsageNSec=[not set]\\n' $unit $unit $unit; fi
				echo
			done
			exit
		fi
		[ -e ${units}/$1 ] || { echo "Unit $1 could not be found." >&2; exit 5; }
		[ ! -e ${units}/$1.fails ] || { sed -i -e 's/^ActiveState=.*/ActiveState=failed/' -e 's/^Result=.*/Result=exit-code/' ${units}/$1
			echo "Job for $1 failed because the control process exited with error code." >&2; exit 1; }
		case $verb in stop) now=inactive ;; *) now=active ;; esac
		sed -i "s/^ActiveState=.*/ActiveState=$now/" ${units}/$1
	`, { mode: 0o755 });
	fs.writeFileSync(nginx.command, `#!/bin/bash
		echo "$*" >> ${folder}/asked
		[ "$1" = web ] || exit 3
		case $2 in
		start) exec /usr/sbin/nginx ${nginx.words.join(' ')} ;;
		restart) kill -QUIT $(cat ${nginx.pid}); while [ -e ${nginx.pid} ]; do sleep 0.02; done; /usr/sbin/nginx ${nginx.words.join(' ')}; echo started ;;
		*) echo "no $2 here" >&2; exit 1 ;;
		esac
	`, { mode: 0o755 });
	settings({ POSTERN_SERVICES: `web:${nginx.pid} nothing sock:${nginx.socket}` });
	s.startWorker();
});
after(() => {
	const pid = nginx?.process();
	if (pid && alive(pid))
		process.kill(pid, 'SIGTERM');
	for (const child of started)
		child.kill();
	s?.stop();
	if (folder)
		fs.rmSync(folder, { recursive: true, force: true });
});

test('a service is known by its pid file or its socket: process, memory, version of its package; one that names none says what to do', async () => {
	const web = await becomes('web', 'is seen', (r) => r.state === 'active');
	assert.deepEqual([web.kind, web.pid, web.last_error, web.job_id], ['system', nginx.process(), null, null]);
	assert.ok(web.memory_bytes > 1 << 20 && web.cpu_ms >= 0);
	assert.ok(Date.parse(web.since) > 0);
	assert.ok(execFileSync('dpkg-query', ['-W', '-f=${Version}\n', 'nginx*'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).split('\n').includes(web.program_version) || process.getuid() !== 0, web.program_version);
	assert.deepEqual([(await becomes('sock', 'is seen', (r) => r.state)).state, (await service('sock')).pid], ['active', null], 'who opened it has gone: a daemon');
	const nothing = await becomes('nothing', 'is seen', (r) => r.state);
	assert.equal(nothing.state, 'unknown');
	assert.match(nothing.last_error, /name its pid file: services = nothing:\/run\/nothing.pid/);
	const list = (await s.ask('/api/v1/services.php?state=active&sort=name')).json.data;
	assert.deepEqual(list.items.map((r) => r.name), ['sock', 'web']);
	assert.equal((await s.ask('/api/services/ssh')).status, 404);
	assert.equal((await s.ask('/api/services/ssh/stop', { method: 'POST' })).status, 404);
	assert.deepEqual(s.cliJson(['service', 'get', 'web']).pid, web.pid);
});

test('without systemd and a command: reload and stop by signal, start is refused with the remedy; each change is an event', async () => {
	nginx.configure('two');
	const reloaded = await tell('web', 'reload');
	assert.equal(reloaded.status, 'succeeded', reloaded.error);
	await until(async () => await nginx.page() === 'two', 'the new page is served');
	const pid = nginx.process();
	assert.deepEqual([(await service('web')).pid, events('web')], [pid, []], 'a reload keeps the process');
	const stopped = await tell('web', 'stop');
	assert.equal(stopped.status, 'succeeded', stopped.error);
	assert.ok(!alive(pid));
	const row = await service('web');
	assert.deepEqual([row.state, row.pid, row.memory_bytes, row.job_id], ['inactive', null, null, stopped.id]);
	assert.deepEqual(events('web'), ['active > inactive']);
	assert.deepEqual(s.sql(`SELECT type FROM postern.events WHERE type LIKE 'service.stop%' AND data ->> 'job_id' = '${stopped.id}'`), [{ type: 'service.stopped' }]);
	assert.equal((await tell('web', 'stop')).status, 'succeeded', 'it is stopped already');
	for (const verb of ['start', 'restart']) {
		const failed = await tell('web', verb);
		assert.deepEqual([failed.status, failed.attempts], ['failed', 1]);
		assert.match(failed.error, new RegExp(`set service_command to a program that ${verb}s services`));
	}
	assert.match((await tell('web', 'reload')).error, /does not run/);
	assert.match((await service('web')).last_error, /does not run/);
	assert.match((await tell('nothing', 'stop')).error, /name the pid file of nothing/);
	assert.equal((await tell('sock', 'stop')).status, 'succeeded', 'nobody listens there');
	start();
	await becomes('web', 'is seen again', (r) => r.state === 'active' && r.pid === nginx.process());
	assert.deepEqual(events('web'), ['active > inactive', 'inactive > active']);
});

test('a pid file is believed only where it names its owner\'s process, and nobody else may write it', async () => {
	const file = path.join(folder, 'sleep.pid');
	const put = (child, mode = 0o644) => {
		fs.writeFileSync(file, `${child.pid}\n`);
		fs.chmodSync(file, mode);
	};
	const sleep = (...words) => {
		const child = spawn(words[0] ?? 'sleep', words.length ? words.slice(1) : ['600'], { stdio: 'ignore' });
		started.push(child);
		return child;
	};
	const first = sleep();
	put(first);
	await restartWorker({ POSTERN_SERVICES: `web:${nginx.pid} sleep:${file} link:${file}.link` });
	fs.symlinkSync(file, `${file}.link`);
	await becomes('sleep', 'is seen', (r) => r.state === 'active' && r.pid === first.pid);
	assert.match((await becomes('link', 'is seen', (r) => r.state === 'unknown')).last_error, /symbolic link/);
	assert.match((await tell('sleep', 'reload')).error, /would be ended by SIGHUP/);
	assert.ok(alive(first.pid));
	put(first, 0o666);
	assert.match((await becomes('sleep', 'is not believed', (r) => r.state === 'unknown')).last_error, /may be written by others/);
	assert.match((await tell('sleep', 'stop')).error, /may be written by others/);
	fs.chmodSync(file, 0o644);
	fs.utimesSync(file, new Date(0), new Date(0)); // older than the process: the number was another's
	await becomes('sleep', 'is seen as stopped', (r) => r.state === 'inactive');
	assert.equal((await tell('sleep', 'stop')).status, 'succeeded');
	for (const junk of ['1\n', '-1', '0', 'no number', '99999999999', ''])
		fs.writeFileSync(file, junk), assert.equal((await tell('sleep', 'stop')).status === 'succeeded', junk === '', junk);
	assert.ok(alive(first.pid), 'none of these was sent a signal');
	if (process.getuid() === 0) { // a tenant's file names another's process
		put(first);
		fs.chownSync(file, 65534, 65534);
		assert.match((await becomes('sleep', 'is not believed', (r) => r.state === 'unknown')).last_error, /another user/);
		assert.match((await tell('sleep', 'stop')).error, /another user/);
		assert.ok(alive(first.pid));
	}
	assert.equal((await s.ask('/api/services/nothing')).status, 404, 'what is no longer listed has gone');
});

test('a configured command starts and restarts; what it has started stays when the job has ended, and when posternd ends', async () => {
	await tell('web', 'stop');
	await restartWorker({ POSTERN_SERVICES: `web:${nginx.pid} other:${folder}/none`, POSTERN_SERVICE_COMMAND: nginx.command });
	const begun = await tell('web', 'start');
	assert.equal(begun.status, 'succeeded', begun.error);
	const pid = nginx.process();
	assert.equal((await service('web')).pid, pid);
	await s.endWorker();
	assert.ok(alive(pid));
	s.startWorker();
	const again = await tell('web', 'restart');
	assert.equal(again.status, 'succeeded', again.error);
	assert.notEqual(nginx.process(), pid);
	assert.ok(alive(nginx.process()));
	assert.match((await tell('web', 'reload')).error, /no reload here/);
	assert.equal((await tell('other', 'start')).status, 'failed');
	assert.deepEqual(fs.readFileSync(path.join(folder, 'asked'), 'utf8').trim().split('\n'), ['web start', 'web restart', 'web reload', 'other start']);
});

test('systemd: what systemctl show says is shown, and its verbs are called for listed services only', async () => {
	const unit = (name, more = {}) => fs.writeFileSync(path.join(units, `${name}.service`), Object.entries({ Id: `${name}.service`, Names: `${name}.service`, Result: 'success',
		Description: `The ${name}`, LoadState: 'loaded', ActiveState: 'active', UnitFileState: 'enabled', MainPID: String(nginx.process()), MemoryCurrent: '5242880',
		CPUUsageNSec: '2500000000', ActiveEnterTimestamp: 'Sat 2026-06-20 09:05:56 UTC', InactiveEnterTimestamp: '', ...more }).map(([k, v]) => `${k}=${v}\n`).join(''));
	unit('php8.2-fpm');
	unit('mariadb', { Names: 'mysql.service mariadb.service', MainPID: '0', MemoryCurrent: '[not set]', CPUUsageNSec: '18446744073709551615', UnitFileState: 'disabled' });
	unit('odd', { ActiveState: 'maintenance' });
	fs.symlinkSync('mariadb.service', path.join(units, 'mysql.service'));
	unit('postgresql@15-main', { ActiveState: 'inactive', UnitFileState: 'static', MainPID: '0', InactiveEnterTimestamp: 'Fri 2026-06-19 00:00:00 UTC' });
	fs.writeFileSync(path.join(folder, 'told'), '');
	await restartWorker({ POSTERN_SERVICES: 'php8.2-fpm mysql postgresql@15-main ghost odd', POSTERN_SERVICE_MANAGER: 'systemd', POSTERN_SYSTEMCTL_COMMAND: path.join(folder, 'systemctl') });
	const php = await becomes('php8.2-fpm', 'is seen', (r) => r.state === 'active');
	assert.deepEqual([php.description, php.pid, php.memory_bytes, php.cpu_ms, php.enabled, php.since, php.last_error],
		['The php8.2-fpm', nginx.process(), 5242880, 2500, true, '2026-06-20T09:05:56+00:00', null]);
	const mysql = await service('mysql');
	assert.deepEqual([mysql.state, mysql.pid, mysql.memory_bytes, mysql.cpu_ms, mysql.enabled], ['active', null, null, null, false], 'an alias, without accounting');
	const cluster = await service('postgresql@15-main');
	assert.deepEqual([cluster.state, cluster.enabled, cluster.since], ['inactive', null, '2026-06-19T00:00:00+00:00']);
	const odd = await service('odd');
	assert.equal(odd.state, 'unknown');
	assert.match(odd.last_error, /systemd says that it is maintenance/);
	const ghost = await service('ghost');
	assert.equal(ghost.state, 'not_found');
	assert.match(ghost.last_error, /correct its name in the setting services/);
	assert.equal((await s.ask('/api/services/ghost/start', { method: 'POST' })).status, 409);
	for (const verb of ['restart', 'stop', 'start', 'reload'])
		assert.equal((await tell('php8.2-fpm', verb)).status, 'succeeded', verb);
	assert.deepEqual(fs.readFileSync(path.join(folder, 'told'), 'utf8').split('\n').filter((l) => l && !l.startsWith('show')),
		['restart', 'stop', 'start', 'reload'].map((verb) => `--no-ask-password ${verb} -- php8.2-fpm.service`));
	assert.deepEqual(events('php8.2-fpm'), ['active > inactive', 'inactive > active']);
	fs.writeFileSync(path.join(units, 'mysql.service.fails'), '');
	const failed = await tell('mysql', 'restart');
	assert.equal(failed.status, 'failed');
	assert.match(failed.error, /Job for mysql.service failed because the control process exited/);
	const down = await becomes('mysql', 'is seen as failed', (r) => r.state === 'failed');
	assert.match(down.last_error, /control process exited/);
	assert.deepEqual(events('mysql'), ['active > failed']);
	const health = (await s.ask('/api/v1/server-health')).json.data;
	assert.equal(health.status, 'critical');
	assert.ok(health.reasons.some((r) => r.severity === 'critical' && r.message === 'service mysql is failed'), JSON.stringify(health.reasons));
	fs.writeFileSync(path.join(folder, 'down'), '');
	assert.match((await becomes('php8.2-fpm', 'cannot be looked at', (r) => r.state === 'unknown')).last_error, /Failed to connect to bus/);
});

test('a look that hangs keeps neither jobs nor the sign of life waiting, and ends with posternd', async () => {
	fs.writeFileSync(path.join(folder, 'hang'), '');
	const pid = await until(() => Number(fs.readFileSync(path.join(folder, 'hang'), 'utf8')), 'systemctl hangs');
	await until(() => s.sql('SELECT 1 FROM postern.machines WHERE said_at > facts_at')[0], 'posternd says that it is there');
	const made = await s.ask('/api/v1/accounts', { method: 'POST', body: { username: s.unique('h') }, headers: { Prefer: 'wait=30' } });
	assert.equal(made.json.data.status, 'active', made.text);
	assert.equal((await s.ask('/api/v1/health')).json.data.worker.status, 'ok');
	assert.ok(alive(pid));
	await s.endWorker();
	await until(() => !alive(pid), 'what hangs is ended');
	fs.rmSync(path.join(folder, 'hang'));
});

test('only an administrator may see or change services; each scope opens its own', async () => {
	const read = s.mint({ scopes: ['services:read'] }).token, write = s.mint({ scopes: ['services:write'] }).token;
	assert.equal((await s.ask('/api/v1/services.php', { token: read })).status, 200);
	assert.equal((await s.ask('/api/services/mysql/stop', { token: read, method: 'POST' })).status, 403);
	assert.equal((await s.ask('/api/services', { token: write })).status, 403);
	const t = s.tenant();
	const token = s.mint({ owner: t.user.username, scopes: ['*'] }).token;
	assert.equal((await s.ask('/api/services', { token })).status, 403);
	assert.equal((await s.ask('/api/v1/server-health', { token })).status, 403);
});
