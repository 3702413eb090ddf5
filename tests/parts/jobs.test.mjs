// Jobs: how posternd takes them, runs their actions, and what is left when it, an action or PostgreSQL is ended.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { answered, soak, startStack, until } from '../api/harness.mjs';

let s, state;

before(async () => {
	s = await startStack('jobs', { WORKER: 'yes', POSTERN_THREADS: '8' });
	state = path.join(s.dir, 'state'); // where actions of these tests leave traces
	fs.mkdirSync(state, { mode: 0o777 });
});
after(() => s?.stop());

const create = async (fields = {}, headers = {}) => {
	const answer = await s.ask('/api/accounts', { method: 'POST', body: { username: s.unique('j'), ...fields }, headers });
	assert.equal(answer.status, 201, answer.text);
	return answer.json;
};
const job = async (id) => (await s.ask(`/api/jobs/${id}`)).json;
const ended = (id) => until(async () => {
	const j = await job(id);
	return ['succeeded', 'failed', 'cancelled'].includes(j.status) && j;
}, `job ${id} ends`);
const account = async (id) => (await s.ask(`/api/accounts/${id}`)).json;
const post = (at, body) => s.ask(at, { method: 'POST', body });
const types = (id) => s.sql(`SELECT type FROM postern.events WHERE object_id = '${id}' ORDER BY place`).map((e) => e.type);
const trace = (name) => (fs.existsSync(path.join(state, name)) ? fs.readFileSync(path.join(state, name), 'utf8').trim().split('\n') : []);
const alive = (pid) => {
	try {
		return fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8') !== ''; // a zombie has none
	} catch {
		return false;
	}
};
// Until `fifo` is written to, whoever reads it waits: an action is held without sleeping.
const hold = (name) => {
	const file = path.join(state, name);
	fs.rmSync(file, { force: true });
	return { wait: `echo $$ >> ${file}.pids; until [ -e ${file} ]; do read -rt 0.02 <> <(:) || true; done`, release: () => fs.writeFileSync(file, ''), begun: () => until(() => trace(`${name}.pids`)[0], `${name} is begun`) };
};

test('an imported account that is deleted leaves its Unix user and home, whatever of ours is removed before', async () => {
	const own = s.cliJson(['account', 'create', '--username', s.unique('i'), '--managed', 'false']);
	assert.deepEqual([own.status, own.job_id], ['active', null]);
	assert.equal((await post('/api/cron', { account: own.username, schedule: '@daily', command: 'true' })).status, 201);
	const purged = await s.ask(`/api/accounts/${own.id}?cascade=true&purge=true&confirm=${own.username}`, { method: 'DELETE' });
	assert.deepEqual([purged.status, /imported.*without purge/.test(purged.json.error.message)], [409, true], purged.text);
	for (const kind of ['account.delete', 'cron.apply'])
		s.replaceAction(kind, `echo ${kind} >> ${state}/imported`);
	try {
		const answer = await s.ask(`/api/accounts/${own.id}?cascade=true&confirm=${own.username}`, { method: 'DELETE' });
		assert.equal(answer.status, answered(202, answer), answer.text);
		const j = await ended(answer.json.id);
		assert.deepEqual([j.kind, j.status], ['account.delete', 'succeeded'], JSON.stringify(j));
		assert.ok(trace('imported').includes('cron.apply'), 'what is ours goes');
		assert.ok(!trace('imported').includes('account.delete'), 'what is not stays');
		assert.equal((await s.ask(`/api/accounts/${own.id}`)).status, 404);
	} finally {
		for (const kind of ['account.delete', 'cron.apply'])
			fs.rmSync(path.join(s.dir, 'actions', kind));
	}
});

test('a created account is there when its job has ended: pending, then active, with its home', async () => {
	const made = await create();
	assert.equal(made.status, 'pending');
	const j = await ended(made.job_id);
	assert.deepEqual([j.kind, j.status, j.progress, j.attempts, j.resource, j.object_id, j.account_id, j.error], ['account.create', 'succeeded', 100, 1, 'account', made.id, made.id, null]);
	assert.ok(j.created_at <= j.started_at && j.started_at <= j.finished_at);
	assert.equal((await account(made.id)).status, 'active');
	assert.ok(fs.statSync(made.home).isDirectory());
	assert.deepEqual(types(made.job_id), ['job.queued', 'job.started', 'job.succeeded']);
	const row = s.sql(`SELECT actor, resource || '.' || verb AS action, outcome, status FROM postern.audit WHERE actor = 'system' AND object_id = '${made.id}' AND username = 'posternd'`);
	assert.deepEqual(row, [{ actor: 'system', action: 'account.create', outcome: 'allowed', status: 200 }]);
});

test('deleting an account puts its home away for root, where no later account finds it, and removes it only with purge', async () => {
	for (const purge of [false, true]) {
		const made = await create({}, { Prefer: 'wait=20' });
		fs.writeFileSync(path.join(made.home, 'letter'), 'dear');
		const gone = await s.ask(`/api/accounts/${made.id}`, { method: 'DELETE', headers: { Prefer: 'wait=20' }, body: { confirm: made.username, purge } });
		assert.equal(gone.status, answered(202, gone), gone.text);
		assert.equal(gone.json.status, 'succeeded', gone.text);
		assert.equal((await s.ask(`/api/accounts/${made.id}`)).status, 404);
		assert.equal(fs.existsSync(made.home), false);
		const kept = path.join(path.dirname(made.home), '.deleted', `${made.id}-${made.username}`);
		assert.equal(fs.existsSync(path.join(kept, 'letter')), !purge);
		assert.equal(fs.statSync(path.dirname(kept)).mode & 0o777, 0o700);
	}
});

test('an action gets the documented job on its standard input, a clean environment and no arguments', async () => {
	s.replaceAction('account.create', `cat > ${state}/stdin; env > ${state}/env; echo "$# $(pwd) $(umask)" > ${state}/rest; ls -l /proc/$$/fd > ${state}/fds
		echo 'not JSON at all'; echo 'to standard error' >&2; printf '{"progress":30,"message":"one\\\\u00e9"}\\n{"log":"two"}\\n{"result":{"x":[1]}}\\n\\xff\\xfe\\n'`);
	const made = await create();
	const j = await ended(made.job_id);
	const given = JSON.parse(trace('stdin').join('\n'));
	assert.deepEqual(given, { job: made.job_id, kind: 'account.create', attempt: 1, data: { id: made.id, username: made.username, home: made.home, uid: made.uid, adopt: false } });
	const names = trace('env').map((l) => l.split('=')[0]).sort();
	const trusted = Object.keys({ ...process.env, ...s.env }).filter((n) => n.startsWith('SSL_CERT_')); // posternd's own go on
	assert.deepEqual(names.filter((n) => !/^(POSTERN_|_$|PWD|SHLVL)/.test(n)), ['HOME', 'LC_ALL', 'PATH', ...trusted.sort()]);
	assert.deepEqual(trace('rest'), ['0 / 0022']);
	assert.ok(!trace('fds').some((l) => /socket/.test(l)), 'no connection of the worker');
	assert.deepEqual(j.result, { x: [1] });
	for (const line of ['not JSON at all', 'to standard error', 'oneé', 'two', '??'])
		assert.ok(j.log.includes(line), `${line} in ${j.log}`);
	fs.rmSync(path.join(s.dir, 'actions/account.create'));
});

test('an action that others may write is not run; one that is missing says where it belongs', async () => {
	s.replaceAction('account.create', `echo run > ${state}/unsafe`, 0o777);
	let made = await create();
	assert.match((await ended(made.job_id)).error, /may be written by others.*chmod/);
	assert.equal(fs.existsSync(path.join(state, 'unsafe')), false);
	s.replaceAction('account.create', 'true', 0o644);
	made = await create();
	assert.match((await ended(made.job_id)).error, /not executable; chmod \+x/);
	fs.rmSync(path.join(s.dir, 'actions/account.create'));
});

test('a permanent failure fails the job at once, with the reason in the job and the object; retry by hand does it again', async () => {
	s.replaceAction('account.create', `echo '{"error":"the disk said no"}'; exit 1`);
	const made = await create();
	const failed = await ended(made.job_id);
	assert.deepEqual([failed.status, failed.attempts, failed.error], ['failed', 1, 'the disk said no']);
	const broken = await account(made.id);
	assert.deepEqual([broken.status, broken.last_error], ['error', 'the disk said no']);
	assert.equal((await post(`/api/jobs/${made.job_id}/cancel`)).status, 409);
	fs.rmSync(path.join(s.dir, 'actions/account.create'));
	assert.equal((await post(`/api/jobs/${made.job_id}/retry`)).status, 200);
	assert.equal((await ended(made.job_id)).status, 'succeeded');
	const good = await account(made.id);
	assert.deepEqual([good.status, good.last_error], ['active', null]);
	assert.equal((await post(`/api/jobs/${made.job_id}/retry`)).status, 409);
	assert.deepEqual(types(made.job_id).filter((t) => t !== 'account.progress'), ['job.queued', 'job.started', 'job.failed', 'job.retried', 'job.started', 'job.succeeded']);
});

test('a transient failure is tried again after growing pauses, as often as its kind allows, and then fails', async () => {
	s.replaceAction('account.create', `echo '{"error":"not now"}'; exit 75`);
	const made = await create();
	const pauses = [];
	for (let attempt = 1; attempt < 5; attempt++) {
		const waiting = await until(async () => {
			const j = await job(made.job_id);
			return j.status === 'queued' && j.attempts === attempt && j;
		}, `attempt ${attempt} is over`);
		assert.equal(waiting.error, 'not now');
		pauses.push(Date.parse(waiting.run_at) - Date.parse(waiting.updated_at));
		s.psql(`UPDATE postern.jobs SET run_at = now() WHERE id = '${made.job_id}'; NOTIFY postern_jobs`); // rather than wait
	}
	const j = await ended(made.job_id);
	assert.deepEqual([j.status, j.attempts, j.error], ['failed', 5, 'not now']);
	for (const [i, pause] of pauses.entries())
		assert.ok(pause >= 5000 * 3 ** i / 2 - 1000 && pause <= 5000 * 3 ** i * 1.5 + 1000, `${pauses}`);
	assert.deepEqual(types(made.job_id).filter((t) => t === 'job.retrying').length, 4);
	fs.rmSync(path.join(s.dir, 'actions/account.create'));
});

test('cancel ends a running action with all it has started, and drops a job that waits', async () => {
	const gate = hold('cancel');
	s.replaceAction('account.create', `sleep 1000 & echo $! > ${state}/child; setsid sleep 1001 & echo $! > ${state}/stray; ${gate.wait}`);
	const made = await create();
	await gate.begun();
	const waiting = (await post(`/api/accounts/${made.id}/suspend`)).json.job_id;
	const pid = await until(() => trace('stray')[0] && trace('child')[0], 'both are started');
	assert.equal((await job(waiting)).status, 'queued', 'it waits for the one before');
	assert.equal((await post(`/api/jobs/${waiting}/cancel`)).status, 200);
	assert.equal((await post(`/api/jobs/${made.job_id}/cancel`)).status, 200);
	assert.equal((await ended(made.job_id)).status, 'cancelled');
	assert.equal((await ended(waiting)).status, 'cancelled');
	await until(() => !alive(pid) && !alive(trace('stray')[0]), 'what it started is ended');
	fs.rmSync(path.join(s.dir, 'actions/account.create'));
});

test('two jobs never work on one object at once, and an account\'s own jobs on nothing else of it', async () => {
	const made = await create({}, { Prefer: 'wait=20' });
	const gate = hold('order');
	for (const kind of ['account.suspend', 'account.unsuspend'])
		s.replaceAction(kind, `echo begin ${kind} >> ${state}/order.log; ${gate.wait}; echo end ${kind} >> ${state}/order.log`);
	await post(`/api/accounts/${made.id}/suspend`);
	const last = (await post(`/api/accounts/${made.id}/unsuspend`)).json.job_id;
	await gate.begun();
	assert.throws(() => s.psql(`UPDATE postern.jobs SET status = 'running' WHERE id = '${last}'`), /job_at_work/, 'the database refuses it, too');
	const other = await create({}, { Prefer: 'wait=20' });
	assert.equal(other.status, 'active', 'others do not wait');
	gate.release();
	await ended(last);
	assert.deepEqual(trace('order.log'), ['begin account.suspend', 'end account.suspend', 'begin account.unsuspend', 'end account.unsuspend']);
	for (const kind of ['account.suspend', 'account.unsuspend'])
		fs.rmSync(path.join(s.dir, 'actions', kind));
});

test('Prefer: wait answers with the outcome, or after that time with how it stands', async () => {
	const quick = await s.ask('/api/v1/accounts', { method: 'POST', body: { username: s.unique('w') }, headers: { Prefer: 'respond-async, wait=20' } });
	assert.deepEqual([quick.status, quick.json.data.status, quick.headers.get('preference-applied')], [201, 'active', 'wait=20']);
	const gate = hold('wait');
	s.replaceAction('account.create', gate.wait);
	const slow = await s.ask('/api/v1/accounts', { method: 'POST', body: { username: s.unique('w') }, headers: { Prefer: 'wait=1' } });
	assert.deepEqual([slow.status, slow.json.data.status], [201, 'pending']);
	gate.release();
	await ended(slow.json.data.job_id);
	fs.rmSync(path.join(s.dir, 'actions/account.create'));
	const gone = await s.ask(`/api/v1/accounts.php?id=${quick.json.data.id}&confirm=${quick.json.data.username}`, { method: 'DELETE' });
	assert.equal(gone.status, answered(202, gone));
	assert.equal(gone.headers.get('location'), `/api/v1/jobs.php/${gone.json.data.id}`);
	assert.equal((await s.ask(gone.headers.get('location'))).json.data.id, gone.json.data.id);
	await ended(gone.json.data.id);
});

test('at most a quarter of the threads wait; the others answer at once, and requests go on', async () => {
	const gate = hold('quarter');
	s.replaceAction('account.create', gate.wait);
	const answers = [];
	const asked = Array.from({ length: 5 }, async () => {
		const answer = await s.ask('/api/accounts', { method: 'POST', body: { username: s.unique('q') }, headers: { Prefer: 'wait=30' } });
		answers.push(answer);
		return answer;
	});
	await until(() => answers.length === 3, 'three of five are answered');
	assert.deepEqual(answers.map((a) => [a.status, a.json.status, a.headers.get('preference-applied')]), Array(3).fill([201, 'pending', null]));
	assert.equal((await s.ask('/api/accounts')).status, 200);
	gate.release();
	const waited = (await Promise.all(asked)).filter((a) => a.headers.get('preference-applied'));
	assert.deepEqual(waited.map((a) => a.json.status), ['active', 'active']);
	await until(() => s.sql(`SELECT count(*)::int AS n FROM postern.jobs WHERE status IN ('queued', 'running')`)[0].n === 0, 'all jobs are ended');
	fs.rmSync(path.join(s.dir, 'actions/account.create'));
});

test('the command shows jobs and waits for them, and its exit code says how they ended', async () => {
	const name = s.unique('c');
	const made = JSON.parse(s.cli(['--json', 'account', 'create', '--username', name, '--wait']).stdout);
	assert.equal(made.status, 'active');
	assert.equal(s.cliJson(['job', 'get', made.job_id]).status, 'succeeded');
	assert.match(s.cli(['job', 'list', '--kind', 'account.create']).stdout, /KIND +STATUS/);
	s.replaceAction('account.suspend', `echo '{"error":"the user is logged in"}'; exit 1`);
	const failed = s.cli(['account', 'suspend', name, '--wait']);
	assert.equal(failed.status, 1);
	assert.match(failed.stderr, /the user is logged in/);
	const id = s.cliJson(['job', 'list', '--status', 'failed', '--kind', 'account.suspend']).data[0].id;
	fs.rmSync(path.join(s.dir, 'actions/account.suspend'));
	assert.equal(s.cli(['job', 'retry', id, '--wait']).status, 0);
	assert.equal(s.cliJson(['job', 'get', id, '--wait']).status, 'succeeded');
});

test('a tenant sees the jobs and events of its own account, and cancels no other\'s', async () => {
	const [a, b] = [s.tenant(), s.tenant()];
	await ended(a.account.job_id);
	const token = s.mint({ owner: b.user.username, scopes: ['*'] }).token;
	assert.equal((await s.ask(`/api/jobs/${a.account.job_id}`, { token })).status, 404);
	assert.equal((await s.ask(`/api/jobs/${a.account.job_id}/cancel`, { token, method: 'POST' })).status, 404);
	assert.deepEqual((await s.ask('/api/jobs', { token })).json.data.map((j) => j.account_id), [b.account.id]);
	const own = await until(async () => {
		const { data } = (await s.ask('/api/events', { token })).json;
		return data.length > 2 && data;
	}, 'events of its own');
	assert.ok(own.every((e) => e.account_id === b.account.id));
});

test('a job whose data break their rules is refused by the worker, whoever wrote the row', async () => {
	const made = await create({}, { Prefer: 'wait=20' });
	s.psql(`ALTER TABLE postern.accounts DROP CONSTRAINT account_home_shape; UPDATE postern.accounts SET home = '/../etc' WHERE id = ${made.id}`);
	const forged = (await post(`/api/accounts/${made.id}/suspend`)).json.job_id;
	assert.match((await ended(forged)).error, /home must be an absolute path/);
	const strange = randomUUID();
	s.psql(`INSERT INTO postern.jobs (account_id, id, kind, resource, object_id) VALUES (0, '${strange}', 'rm.everything', 'accounts', '1'); NOTIFY postern_jobs`);
	assert.match((await ended(strange)).error, /no action "rm.everything"/);
});

test('while PostgreSQL is away an action runs on, and what came of it is noted afterwards', async () => {
	const gate = hold('away');
	s.replaceAction('account.create', `${gate.wait}; echo '{"result":{"kept":true}}'`);
	const made = await create();
	await gate.begun();
	await s.pgctl('stop', '-m', 'immediate');
	gate.release();
	await until(() => !alive(trace('away.pids')[0]), 'the action has ended');
	await s.pgctl('start');
	const j = await ended(made.job_id);
	assert.deepEqual([j.status, j.attempts, j.result], ['succeeded', 1, { kept: true }]);
	fs.rmSync(path.join(s.dir, 'actions/account.create'));
});

test('a second worker on the same machine does not start', async () => {
	const second = spawn('bash', ['-c', `"$0" --config ${s.dir}/postern.conf 2>&1`, fs.readlinkSync(`/proc/${fs.readFileSync(path.join(s.dir, 'worker/pid'), 'utf8').trim()}/exe`)]);
	let said = '';
	second.stdout.on('data', (d) => { said += d; });
	const code = await new Promise((resolve) => second.on('close', resolve));
	assert.equal(code, 1);
	assert.match(said, /another one is at work here/);
});

test('kill -9 of the worker at any moment loses no job, overlaps no attempts and leaves none stuck, also while PostgreSQL restarts', async () => {
	const [kills, count] = soak ? [50, 200] : [5, 40];
	// Each leaves its process id while it works on an account; whoever finds that of a living one has met an overlap.
	const script = (kind) => `in=$(cat); name=\${in#*'"username": "'}; [ "$name" != "$in" ] || name=\${in#*'"username":"'}; name=\${name%%'"'*}
		old=$(cat ${state}/$name.pid 2>/dev/null)
		if [ -n "$old" ] && grep -qa ${kind.split('.')[0]} /proc/$old/cmdline 2>/dev/null; then echo "$name $old" >> ${state}/overlaps; fi
		echo $$ > ${state}/$name.pid; echo "$name" >> ${state}/attempts
		echo '{"progress":50,"message":"half"}'; sleep 0.0$((RANDOM % 9)); rm -f ${state}/$name.pid
		(( RANDOM % 10 )) || { echo '{"error":"some bad luck"}'; exit 1; }
		echo '{"result":{}}'`;
	for (const kind of ['create', 'suspend', 'unsuspend'])
		s.replaceAction(`account.${kind}`, script(`account.${kind}`));
	const jobs = [];
	const asked = (async () => {
		for (let i = 0; i < count / 2; i++) {
			const made = await create();
			jobs.push(made.job_id, (await post(`/api/accounts/${made.id}/suspend`)).json.job_id);
		}
	})();
	let seed = 7;
	for (let kill = 0; kill < kills; kill++) {
		const done = trace('attempts').length + 1 + (seed = seed * 16807 % 2147483647) % 4;
		await until(() => trace('attempts').length >= done || s.sql(`SELECT count(*)::int AS n FROM postern.jobs WHERE status IN ('queued', 'running')`)[0].n === 0, 'something is at work');
		await s.endWorker('SIGKILL');
		if (kill === Math.floor(kills / 2)) {
			await asked;
			await s.pgctl('restart', '-m', 'immediate');
		}
		s.startWorker();
	}
	await asked;
	assert.equal(jobs.length, count);
	await until(() => s.sql(`SELECT count(*)::int AS n FROM postern.jobs WHERE status IN ('queued', 'running')`)[0].n === 0, 'all jobs are ended', 120000);
	assert.deepEqual(trace('overlaps'), []);
	const rows = s.sql(`SELECT id, status, error FROM postern.jobs WHERE id = ANY ('{${jobs.join(',')}}')`);
	assert.equal(rows.length, count);
	for (const r of rows)
		assert.ok(r.status === 'succeeded' || (r.status === 'failed' && r.error === 'some bad luck'), JSON.stringify(r));
	assert.ok(trace('attempts').length >= count);
	assert.deepEqual(fs.readdirSync(path.join(s.dir, 'worker/jobs')), [], 'no lock is left');
	assert.equal(s.sql(`SELECT count(*)::int AS n FROM postern.jobs WHERE leased_by IS NOT NULL`)[0].n, 0);
	for (const kind of ['create', 'suspend', 'unsuspend'])
		fs.rmSync(path.join(s.dir, 'actions', `account.${kind}`));
});

test('an account whose database could not be removed stays, says so, and goes when that is done', async () => {
	const made = await create({}, { Prefer: 'wait=20' });
	s.psql(`INSERT INTO postern.databases (account_id, engine, name, username, charset, verifier) VALUES (${made.id}, 'postgresql', '${made.username}_x', '${made.username}_x', 'UTF8', 'x')`);
	s.replaceAction('database.remove', `echo '{"error":"somebody is connected"}'; exit 1`);
	const { json: asked } = await s.ask(`/api/accounts/${made.id}?cascade=true&confirm=${made.username}`, { method: 'DELETE', headers: { Prefer: 'wait=20' } });
	assert.equal(asked.status, 'failed');
	assert.match(asked.error, /1 databases could not be removed/);
	assert.ok(fs.existsSync(made.home));
	const stays = await account(made.id);
	assert.deepEqual([stays.status, /could not be removed/.test(stays.last_error)], ['error', true]);
	s.replaceAction('database.remove', 'true');
	const again = await s.ask(`/api/accounts/${made.id}?cascade=true&confirm=${made.username}`, { method: 'DELETE', headers: { Prefer: 'wait=20' } });
	assert.equal(again.json.status, 'succeeded', again.text);
	assert.equal((await s.ask(`/api/accounts/${made.id}`)).status, 404);
});
