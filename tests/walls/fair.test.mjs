// Nobody starves the others' jobs: turns, heavy jobs, what a tenant's program may take of the machine, and one that stops.
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { answered, build, root as here, startStack, until } from '../api/harness.mjs';

let s, state;
const room = 4, ofOne = 2, heavyRoom = 2; // defaults of worker_jobs, account_jobs and heavy_jobs

before(async () => {
	// so that the worker soon uses each of its statements
	const often = { POSTERN_AUDIT_SEAL_S: '1', POSTERN_AUDIT_CHECKPOINT_S: '1', POSTERN_AUDIT_MONTHS: '12' };
	const little = { POSTERN_JOB_IDLE_S: '5', POSTERN_TENANT_MEMORY_MB: '64', POSTERN_TENANT_PROCESSES: '30', POSTERN_TENANT_CPU_PERCENT: '20' };
	s = await startStack('fair', { WORKER: 'yes', ...often, ...little });
	state = path.join(s.dir, 'state');
	fs.mkdirSync(state);
	fs.chmodSync(state, 0o777);
	// light and heavy work that goes on until it is let go
	for (const kind of ['mailbox.remove', 'usage.measure'])
		s.replaceAction(kind, `echo $$ >> ${state}/begun
			until [ -e ${state}/go ]; do read -rt 0.02 <> <(:) || true; done`);
});
after(() => s?.stop());

const inputs = {
	'mailbox.remove': { folder: '/a.example/b-1' },
	'usage.measure': { username: 'nobody', home: '/nowhere', mailboxes: [], domains: [] },
};
let accounts = 0;
const account = () => 900000 + ++accounts; // jobs need no more of one
// Jobs about nothing in particular, asked for in this order.
const queue = (...all) => s.psql(all.map(([id, kind, times = 1, run = 'postern.clock()']) => `
	INSERT INTO postern.jobs (account_id, kind, input, run_at)
	SELECT ${id}, '${kind}', '${JSON.stringify(inputs[kind])}', ${run}
	FROM generate_series(1, ${times});`).join('') + 'NOTIFY postern_jobs');
const count = (where) => s.sql(`SELECT count(*)::int AS n FROM postern.jobs WHERE ${where}`)[0].n;
const running = (id, kind) => count(`account_id = ${id} AND status = 'running'${kind ? ` AND kind = '${kind}'` : ''}`);
const begun = () => (fs.existsSync(`${state}/begun`) ? fs.readFileSync(`${state}/begun`, 'utf8').trim().split('\n').length : 0);
async function letGo() {
	s.psql(`DELETE FROM postern.jobs WHERE account_id > 900000 AND status = 'queued'`);
	fs.writeFileSync(`${state}/go`, '');
	await until(() => count(`status IN ('queued', 'running')`) === 0, 'all jobs are ended');
	for (const file of ['go', 'begun'])
		fs.rmSync(`${state}/${file}`, { force: true });
}

test('ten thousand jobs of one account do not hold up the one of another: it is the first or the second', async () => {
	const [many, one] = [account(), account()];
	queue([many, 'mailbox.remove', 10000], [one, 'mailbox.remove']);
	await until(() => running(one) === 1, 'the other\'s is at work');
	assert.ok(count(`account_id = ${many} AND started_at IS NOT NULL`) <= ofOne);
	await letGo();
	const order = s.sql(`SELECT account_id FROM postern.jobs WHERE account_id IN (${many}, ${one}) AND started_at IS NOT NULL
		ORDER BY started_at, place LIMIT 3`);
	assert.ok(order.slice(0, 2).some((j) => j.account_id === one), JSON.stringify(order));
});

test('an account has no more jobs at work than account_jobs; the places left are others\'', async () => {
	const [many, one] = [account(), account()];
	queue([many, 'mailbox.remove', 6]);
	await until(() => begun() === ofOne, 'as many as may be');
	queue([one, 'mailbox.remove']);
	await until(() => running(one) === 1, 'the other\'s is at work');
	assert.equal(running(many), ofOne);
	await letGo();
});

test('one heavy job of an account at a time, and places that no heavy job gets', async () => {
	const [a, b, c, d] = [account(), account(), account(), account()];
	queue([a, 'usage.measure', 3], [b, 'usage.measure'], [c, 'usage.measure']);
	await until(() => begun() === heavyRoom, 'the heavy ones that may be');
	queue([c, 'mailbox.remove'], [d, 'mailbox.remove'], [a, 'mailbox.remove']);
	await until(() => begun() === room, 'light ones go on');
	assert.deepEqual([running(a, 'usage.measure'), running(b, 'usage.measure'), running(c, 'usage.measure')], [1, 1, 0]);
	assert.deepEqual([running(c, 'mailbox.remove'), running(d, 'mailbox.remove')], [1, 1]);
	assert.throws(() => s.psql(`UPDATE postern.jobs SET status = 'running', heavy = true
		WHERE id = (SELECT id FROM postern.jobs WHERE account_id = ${a} AND status = 'queued' AND kind = 'usage.measure' LIMIT 1)`),
	/job_heavy/, 'the database refuses it, too');
	await letGo();
});

test('turns are taken in a ring, the machine\'s own jobs among them, and eight takers at once take no job twice', async () => {
	await s.endWorker();
	try {
		const [a, b] = [account(), account()];
		queue([a, 'mailbox.remove', 30], [b, 'mailbox.remove', 3], [0, 'mailbox.remove', 2]);
		const take = (n) => s.sql(`SELECT * FROM work.take('x', ${n}, '{mailbox.remove}', 60, '{usage.measure}', 1, 100)`);
		assert.deepEqual(take(3).map((j) => j.account_id).sort((x, y) => x - y), [0, a, b]);
		assert.deepEqual(take(5).map((j) => j.account_id).sort((x, y) => x - y), [0, a, a, b, b]);
		const words = ['psql', '-XAtq', '-h', path.join(s.dir, 'pg/socket'), '-d', 'postern', '-c',
			`SELECT id FROM work.take('x', 5, '{mailbox.remove}', 60, '{usage.measure}', 1, 100)`];
		const server = ['setpriv', '--reuid=postgres', '--regid=postgres', '--init-groups', '--'];
		const [file, ...args] = process.getuid() === 0 ? [...server, ...words] : words;
		const one = () => new Promise((resolve) => {
			const child = spawn(file, args, { cwd: '/', stdio: ['ignore', 'pipe', 'inherit'] });
			let out = '';
			child.stdout.on('data', (bytes) => { out += bytes; });
			child.on('close', () => resolve(out.split('\n').filter(Boolean)));
		});
		const taken = (await Promise.all(Array.from({ length: 8 }, one))).flat();
		assert.deepEqual([taken.length, new Set(taken).size, running(a)], [27, 27, 30]);
		const started = Date.now();
		queue(...Array.from({ length: 500 }, () => [account(), 'mailbox.remove', 2]));
		const asked = Date.now();
		assert.equal(take(4).length, 4);
		console.log(`# a take with 500 accounts waiting: ${Date.now() - asked} ms with psql (queued in ${asked - started} ms)`);
	} finally {
		s.psql(`DELETE FROM postern.jobs WHERE (account_id > 900000 OR kind = 'mailbox.remove') AND status IN ('queued', 'running')`);
		s.startWorker();
	}
});

test('jobs that are not to be done, and such as wait for their time, hold nobody up', async () => {
	const [a, b] = [account(), account()];
	queue([a, 'mailbox.remove', 300, `'infinity'`]);
	s.psql(`INSERT INTO postern.jobs (account_id, kind) SELECT ${a}, 'no.such' FROM generate_series(1, 150);
		INSERT INTO postern.jobs (account_id, kind, cancel) SELECT ${a}, 'no.such', true FROM generate_series(1, 150)`);
	queue([b, 'mailbox.remove']);
	await until(() => running(b) === 1, 'the other\'s is at work');
	await until(() => count(`account_id = ${a} AND kind = 'no.such' AND status IN ('failed', 'cancelled')`) === 300, 'all of them are ended');
	await letGo();
});

test('the worker remembers each statement that it has prepared: none is prepared twice, and none is lost', async () => {
	await letGo();
	const said = () => fs.readFileSync(path.join(s.dir, 'log/posternd.log'), 'utf8');
	const a = account();
	s.replaceAction('mailbox.remove', `for i in 1 2 3 4 5 6; do echo "{\\"progress\\":$i}"
		read -rt 0.6 <> <(:) || true; done`);
	queue([a, 'mailbox.remove', 3]);
	await until(() => count(`account_id = ${a} AND status = 'succeeded'`) === 3, 'they are done');
	assert.doesNotMatch(said(), /42P05|statement_failed|job_not_noted/);
});

// ---- what a tenant's program may take ----

const settle = { Prefer: 'wait=30' };
// A cron job of a tenant of its own, run by hand.
async function run(command) {
	const t = s.tenant();
	const made = await s.ask('/api/cron', { method: 'POST', body: { account: t.username, schedule: '@yearly', command }, headers: settle });
	assert.equal(made.status, 201, made.text);
	const asked = await s.ask(`/api/cron/${made.json.id}/run`, { method: 'POST' });
	assert.equal(asked.status, answered(202, asked), asked.text);
	return { ...t, id: made.json.id, job: asked.json.id };
}
const ended = (id) => until(async () => {
	const j = (await s.ask(`/api/jobs/${id}`)).json;
	return ['succeeded', 'failed', 'cancelled'].includes(j.status) && j;
}, `job ${id} ends`);
const output = async (t) => (await s.ask(`/api/cron/${t.id}`)).json.last_run;
const containment = () => until(async () => (await s.ask('/api/server-health')).json.containment, 'the worker has looked');
const alive = (pid) => {
	try {
		return fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8') !== '';
	} catch {
		return false;
	}
};

test('a tenant\'s program that stops itself is ended, says why, and holds up its own account only', async () => {
	const t = await run(`echo $$ > ${state}/stopped; sleep 1000 & kill -STOP 0`);
	await until(() => fs.existsSync(`${state}/stopped`) && running(t.account.id, 'cron.execute') === 1, 'it has begun');
	const other = account();
	s.replaceAction('mailbox.remove', 'true');
	queue([other, 'mailbox.remove', 3]);
	await until(() => count(`account_id = ${other} AND status = 'succeeded'`) === 3, 'others\' are done');
	assert.equal(running(t.account.id, 'cron.execute'), 1);
	const j = await ended(t.job);
	assert.equal(j.status, 'failed');
	assert.match(j.error, /used no CPU time and said nothing for 5 s.*job_idle_s/);
	await until(() => !alive(fs.readFileSync(`${state}/stopped`, 'utf8').trim()), 'it is gone');
});

test('a tenant\'s program is held to memory, processes and CPU time, and all that it left behind ends with its job', async () => {
	const facts = await containment();
	console.log(`# tested by ${facts.by}: ${facts.limits}; not to be had here: ${facts.missing || 'nothing'} ${facts.reason ?? ''}`);
	assert.equal([facts.limits, facts.missing].join(' ').trim().split(/\s+/).sort().join(' '), 'cpu io memory processes');
	const t = await run(`n=0; for i in $(seq 60); do sleep 77 & n=$((n + 1)); done; echo forked $n`);
	const kept = await run(`setsid sh -c 'trap "" TERM HUP; echo $$ > ${state}/left; while :; do sleep 1; done' >/dev/null 2>&1 & ` +
		`until [ -s ${state}/left ]; do sleep 0.1; done; echo done`);
	assert.equal((await ended(kept.job)).status, 'succeeded');
	await until(() => !alive(fs.readFileSync(`${state}/left`, 'utf8').trim()), 'what it left behind is gone');
	await ended(t.job);
	const forks = (await output(t)).output;
	const hog = await run('head -c 200m /dev/zero | tail | wc -c');
	await ended(hog.job);
	const memory = (await output(hog)).output;
	const busy = await run('timeout 2 sh -c "while :; do :; done"; times | tail -1');
	await ended(busy.job);
	const seconds = (await output(busy)).output.match(/(\d+)m([\d.]+)s/).slice(1).reduce((sum, n) => 60 * sum + Number(n), 0);
	if (facts.limits.includes('processes'))
		assert.doesNotMatch(forks, /forked 60/);
	if (facts.limits.includes('memory'))
		assert.doesNotMatch(memory, /209715200/);
	if (facts.limits.includes('cpu'))
		assert.ok(seconds < 1, `${seconds} s of CPU time in 2 s, of 20 %`);
	if (facts.by === 'process') // then it is limited where it is of another Unix user: see the next test
		assert.match(facts.reason, /./);
});

test('what a tenant\'s program has left running when the worker was killed is ended by the next one', async (t) => {
	if ((await containment()).by !== 'group')
		return t.diagnostic('not tested: without control groups nothing tells what a tenant\'s program has started');
	fs.rmSync(`${state}/left`, { force: true });
	const ran = await run(`setsid sh -c 'trap "" TERM HUP; echo $$ > ${state}/left; while :; do sleep 1; done' >/dev/null 2>&1 & ` +
		`until [ -s ${state}/left ]; do sleep 0.1; done; sleep 1000`);
	await until(() => fs.existsSync(`${state}/left`) && fs.readFileSync(`${state}/left`, 'utf8').trim(), 'it has begun');
	const left = fs.readFileSync(`${state}/left`, 'utf8').trim();
	assert.match(fs.readFileSync(`/proc/${left}/cgroup`, 'utf8'), new RegExp(`/account-${ran.account.id}/${ran.job}`));
	await s.endWorker('SIGKILL');
	s.startWorker();
	await until(() => !alive(left), 'it is gone');
	assert.match((await ended(ran.job)).error, /worker was ended while the command ran/);
});

test('where there are no control groups, each process of a tenant is limited for itself', async () => {
	const home = path.join(s.dir, 'home-of-one');
	fs.mkdirSync(home, { recursive: true });
	const job = { job: 'x', kind: 'cron.execute', attempt: 1, data: { id: 1, username: 'one', home, command: 'ulimit -d; grep "Max processes" /proc/self/limits; nice' } };
	const done = spawnSync(path.join(here, build, 'actions/cron.execute'), {
		input: JSON.stringify(job), encoding: 'utf8',
		env: { ...s.env, POSTERN_CONFIG: path.join(s.dir, 'postern.conf') },
	});
	const said = done.stdout.split('\n').filter(Boolean).map((line) => JSON.parse(line));
	assert.equal(done.status, 0, done.stdout + done.stderr);
	const output = said.find((line) => line.result).result.output.split('\n');
	if (process.getuid() === 0)
		assert.ok(output[0] === '65536' && Number(/(\d+) +processes/.exec(output[1])[1]) < 5000 && output[2] === '10', output.join('\n'));
	else // our own user's processes are all counted together
		assert.equal(output[1], execFileSync('grep', ['Max processes', '/proc/self/limits'], { encoding: 'utf8' }).trimEnd());
});

// ---- limits that are met are said ----

test('whatever an action finds out is kept, or its job fails and says why', async () => {
	const [kept, lost] = [account(), account()];
	s.replaceAction('mailbox.remove', `printf '{"result":{"x":"%0*d"}}\\n' 1000000 7`);
	queue([kept, 'mailbox.remove']);
	await until(() => count(`account_id = ${kept} AND status = 'succeeded' AND length(result ->> 'x') = 1000000`) === 1, 'it is kept');
	s.replaceAction('mailbox.remove', `printf '{"result":{"x":"%0*d"}}\\n' 5000000 7`);
	queue([lost, 'mailbox.remove']);
	await until(() => count(`account_id = ${lost} AND status = 'failed' AND error LIKE '%longer than % bytes%'`) === 1, 'it fails');
});

test('of thirty versions in If-Match the last one counts, too', async () => {
	const made = await s.ask('/api/cron', { method: 'POST', body: { account: s.tenant().username, schedule: '@yearly', command: 'true' }, headers: settle });
	const tags = Array.from({ length: 30 }, (_, i) => `"${1000 + i}"`), at = `/api/cron/${made.json.id}`;
	const patch = (list) => s.ask(at, { method: 'PATCH', body: { schedule: '@monthly' }, headers: { 'If-Match': list.join(', ') } });
	assert.equal((await patch(tags)).status, 412);
	const changed = await patch([...tags, (await s.ask(at)).headers.get('etag')]);
	assert.equal(changed.status, 200, changed.text);
});

test('the mail of three thousand mailboxes is measured as a whole', () => {
	const mail = path.join(s.dir, 'much-mail'), home = path.join(s.dir, 'home-of-much');
	const mailboxes = Array.from({ length: 3000 }, (_, i) => `much.example/mailbox-${i + 1}`);
	fs.mkdirSync(path.join(mail, 'much.example'), { recursive: true });
	fs.mkdirSync(home, { recursive: true });
	mailboxes.forEach((name) => fs.mkdirSync(path.join(mail, name)));
	fs.writeFileSync(path.join(mail, mailboxes[2999], 'letter'), Buffer.alloc(1 << 20, 'x'));
	const job = { job: 'x', kind: 'usage.measure', attempt: 1, data: { username: 'much', home, mailboxes, domains: [], logs: {} } };
	const done = spawnSync(path.join(here, build, 'actions/usage.measure'), {
		input: JSON.stringify(job), encoding: 'utf8', env: { ...s.env, POSTERN_CONFIG: path.join(s.dir, 'postern.conf'), POSTERN_MAIL_DIR: mail },
	});
	assert.equal(done.status, 0, done.stdout + done.stderr);
	const { result } = done.stdout.split('\n').filter(Boolean).map((line) => JSON.parse(line)).find((line) => line.result);
	assert.ok(result.mail_bytes >= 1 << 20, JSON.stringify(result));
});
