// What is promised when something fails: an answer in JSON, no acknowledged change lost, and service again by itself.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

import { build, root, soak, startStack, until } from './harness.mjs';

const run = promisify(execFile);
const asRoot = process.getuid() === 0;
const limit = { timeout: 120000 };
let s; // ordinary settings
let quick; // one second for the database, and for its idle connections
let token, quickToken;
const children = [];

before(async () => {
	s = await startStack('failures');
	quick = await startStack('failures-quick', { POSTERN_DB_TIMEOUT_MS: '1000', POSTERN_DB_IDLE_S: '1' });
	token = s.mint().token;
	quickToken = quick.mint().token;
});
after(async () => {
	for (const child of children)
		child.kill('SIGTERM');
	s?.stop();
	quick?.stop();
});

// Someone's command as the servers' user, as scripts/stack starts them; a child of this process, so that its exit is seen.
function spawnAsServer(words, env = {}) {
	const all = asRoot ? ['setpriv', '--reuid=postgres', '--regid=postgres', '--init-groups', '--', ...words] : words;
	const child = spawn(all[0], all.slice(1), { cwd: '/', env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
	child.output = '';
	child.stdout.on('data', (data) => { child.output += data; });
	child.stderr.on('data', (data) => { child.output += data; });
	child.ended = once(child, 'exit').then(([code, signal]) => ({ code, signal, output: child.output }));
	children.push(child);
	return child;
}
function binaryFile(stack, name) {
	const staged = path.join(stack.dir, 'app/cgi', name);
	return fs.existsSync(staged) ? staged : path.join(root, build, 'cgi', name);
}
const words = (stack, name, socket = path.join(stack.dir, 'fcgi', `${name}.sock`)) =>
	[binaryFile(stack, name), '--config', path.join(stack.dir, 'postern.conf'), '--socket', socket];
// Start a binary by hand with the command line of scripts/stack; resolves when it says that it serves.
async function startBinary(stack, name, env) {
	const child = spawnAsServer(words(stack, name), env);
	await until(() => child.output.includes('start') || child.exitCode !== null, `${name} starts`);
	assert.equal(child.exitCode, null, child.output);
	fs.writeFileSync(path.join(stack.dir, 'pid', `${name}.pid`), `${child.pid}\n`); // for scripts/stack stop
	return child;
}
const runs = (pid) => { // a zombie runs no longer
	try {
		return !/^State:\s+Z/m.test(fs.readFileSync(`/proc/${pid}/status`, 'utf8'));
	} catch {
		return false;
	}
};
async function replaceByHand(stack, name, env) {
	const pid = stack.pid(name);
	process.kill(pid, 'SIGTERM');
	await until(() => !runs(pid), `${name} ends`);
	return startBinary(stack, name, env);
}
const cliAsync = (stack, args, env = {}) => run(path.join(stack.dir, 'postern'), args, { env: { ...process.env, ...env } })
	.then((done) => ({ status: 0, ...done }), (error) => ({ status: error.code, stdout: error.stdout, stderr: error.stderr }));

// Clients that create domains (half of them with an Idempotency-Key) and read lists, one request after the other, until
// stop(); every answer is kept.
function load(stack, bearer, clients = 6) {
	const answers = [];
	const names = stack.unique('load');
	let stopped = false, failure, n = 0;
	const client = async (number) => {
		while (!stopped) {
			const id = randomUUID(), writes = ++n % 2 === 0, domain = `${names}-${n}.example`;
			const answer = await stack.ask('/api/v1/domains', {
				token: bearer, headers: { 'X-Request-Id': id, ...(n % 4 === 0 ? { 'Idempotency-Key': id } : {}) },
				...(writes ? { method: 'POST', body: { domain, account: 'demo' } } : {}),
			});
			answers.push({ ...answer, id, domain: writes ? domain : null, client: number });
		}
	};
	const all = Promise.all(Array.from({ length: clients }, (_, i) => client(i))).catch((error) => { failure = error; stopped = true; });
	const check = (value) => { if (failure) throw failure; return value; };
	return {
		answers,
		// Every client has had an answer that passes since the call.
		each: (what, description) => {
			const from = answers.length;
			return until(() => check(new Set(answers.slice(from).filter(what).map((a) => a.client)).size === clients), description);
		},
		stop: async () => { stopped = true; await all; return check(answers); },
	};
}

function assertUnavailable(answer) {
	assert.equal(answer.status, 503, answer.text);
	assert.equal(answer.json?.error?.code, 'unavailable', answer.text);
	assert.match(answer.headers.get('retry-after') ?? '', /^[1-9]\d*$/);
	assert.match(answer.headers.get('content-type'), /^application\/json/);
	if (answer.id)
		assert.equal(answer.json.request_id, answer.id);
}

// Every answer is whole and is a success or a 503; what was acknowledged is there, with one row of the trail each.
function assertNothingLost(stack, answers) {
	for (const answer of answers) {
		assert.ok(answer.json, `request ${answer.id} was answered ${answer.status} with ${answer.text}`);
		if (answer.status === 503)
			assertUnavailable(answer);
		else
			assert.equal(answer.status, answer.domain ? 201 : 200, answer.text);
	}
	const list = (values) => values.map((v) => `('${v}')`).join(',');
	const stored = new Map(stack.sql(`SELECT d.domain, count(*)::int AS n FROM postern.domains d
		JOIN (VALUES ${list(answers.map((a) => a.domain).filter(Boolean))}) x (domain) USING (domain) GROUP BY 1`).map((r) => [r.domain, r.n]));
	const rows = new Map(stack.sql(`SELECT request_id, count(*)::int AS n FROM postern.audit
		WHERE request_id IN (SELECT id::uuid FROM (VALUES ${list(answers.map((a) => a.id))}) x (id)) GROUP BY 1`).map((r) => [r.request_id, r.n]));
	for (const answer of answers) {
		if (answer.status === 201)
			assert.equal(stored.get(answer.domain), 1, `${answer.domain} was acknowledged and is lost`);
		if (answer.status === 503)
			assert.ok((rows.get(answer.id) ?? 0) <= 1, `request ${answer.id} has ${rows.get(answer.id)} rows`);
		else
			assert.equal(rows.get(answer.id), 1, `request ${answer.id} (${answer.status}) has ${rows.get(answer.id) ?? 0} rows`);
	}
	return stored;
}

for (const mode of ['fast', 'immediate'])
	test(`a PostgreSQL stopped (${mode}) and started under load costs 503s for a while, and nothing that was acknowledged`, limit, async () => {
		const pids = ['domains', 'me'].map((name) => s.pid(name));
		const clients = load(s, token);
		await clients.each((a) => a.status < 300, 'every client is served');
		await s.pgctl('stop', '-m', mode);
		await clients.each((a) => a.status === 503, 'every client is told that the service is unavailable');
		const health = await s.ask('/api/health', { token: null });
		assertUnavailable(health);
		await s.pgctl('start');
		await clients.each((a) => a.status === 200, 'every client reads again');
		await clients.each((a) => a.status === 201, 'every client writes again');
		assertNothingLost(s, await clients.stop());
		assert.deepEqual(['domains', 'me'].map((name) => s.pid(name)), pids);
		assert.equal((await s.ask('/api/health', { token: null })).status, 200);
	});

test('a connection that PostgreSQL closed while it lay idle costs no request', limit, async () => {
	const own = "usename = 'postern_domains'";
	for (const how of ['terminated', 'restarted']) {
		assert.equal((await s.ask('/api/domains', { token })).status, 200);
		const made = await s.ask('/api/domains', { token, method: 'POST', body: { domain: `${s.unique('idle')}.example`, account: 'demo' } });
		assert.equal(made.status, 201, made.text);
		if (how === 'terminated') {
			s.psql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE ${own}`);
			await until(() => s.sql(`SELECT pid FROM pg_stat_activity WHERE ${own}`).length === 0, 'the connections end');
		} else {
			await s.pgctl('restart', '-m', 'fast');
		}
		const answers = await Promise.all([
			s.ask('/api/domains', { token }), s.ask(`/api/domains/${made.json.id}`, { token, method: 'PATCH', body: { mail_enabled: false } })]);
		assert.deepEqual(answers.map((a) => a.status), [200, 200], `${how}: ${answers.map((a) => a.text)}`);
	}
});

// PostgreSQL's processes of a stack: the first and its children.
function postgresPids(stack) {
	const postmaster = Number(fs.readFileSync(path.join(stack.dir, 'pg/data/postmaster.pid'), 'utf8').split('\n')[0]);
	const children_ = fs.readFileSync(`/proc/${postmaster}/task/${postmaster}/children`, 'utf8').trim().split(/\s+/).filter(Boolean).map(Number);
	return [postmaster, ...children_];
}

test('a PostgreSQL that hangs is given db_timeout_ms, then requests get 503 until it goes on', limit, async () => {
	const write = () => quick.ask('/api/v1/domains', { token: quickToken, method: 'POST', body: { domain: `${quick.unique('hang')}.example`, account: 'demo' } });
	const read = () => quick.ask('/api/v1/domains', { token: quickToken });
	assert.equal((await write()).status, 201);
	const stopped = postgresPids(quick);
	for (const pid of stopped)
		process.kill(pid, 'SIGSTOP');
	try {
		for (let round = 0; round < 2; round++) // with connections that hang, and with new ones
			for (const answer of await Promise.all([read(), write(), read(), write()])) {
				assertUnavailable(answer);
				assert.match(answer.json.message, /database/, 'Postern answers, not the web server in its place');
			}
	} finally {
		for (const pid of stopped.reverse())
			process.kill(pid, 'SIGCONT');
	}
	await until(async () => (await read()).status === 200, 'reads work again');
	assert.equal((await write()).status, 201);
});

test('writers that queue behind a stuck one are told so too, instead of each waiting its turn', limit, async () => {
	const locker = spawnAsServer(['psql', '-X', '-q', '-h', path.join(quick.dir, 'pg/socket'), '-d', 'postern', '-c',
		"BEGIN; LOCK TABLE postern.domains IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(600)"]);
	const waiting = () => quick.sql("SELECT pid FROM pg_stat_activity WHERE usename = 'postern_domains' AND wait_event_type = 'Lock'");
	await until(() => quick.sql("SELECT pid FROM pg_locks WHERE relation = 'postern.domains'::regclass AND mode = 'AccessExclusiveLock' AND granted").length,
		'the table is locked');
	let answered = false;
	const asked = Promise.all(Array.from({ length: 12 }, () => quick.ask('/api/v1/domains', { token: quickToken, method: 'POST', body: { domain: `${quick.unique('queue')}.example`, account: 'demo' } })))
		.finally(() => { answered = true; });
	const seen = new Set(); // who gave up is gone a second later
	await until(() => {
		waiting().forEach(({ pid }) => seen.add(pid));
		return answered;
	}, 'all are answered', 60000);
	const answers = await asked, tried = seen.size;
	quick.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()");
	await locker.ended;
	answers.forEach(assertUnavailable);
	assert.ok(tried >= 1 && tried <= 4, `${tried} of 12 writers got to the database, each after the other's whole timeout`);
	await until(() => waiting().length === 0, 'what was sent has ended');
	assert.equal((await quick.ask('/api/v1/domains', { token: quickToken })).status, 200);
});

test('idle binaries hold no connection after db_idle_s', limit, async () => {
	for (const name of ['domains', 'me', 'tokens'])
		assert.equal((await quick.ask(`/api/v1/${name}`, { token: quickToken })).status, 200);
	const own = () => quick.sql("SELECT usename FROM pg_stat_activity WHERE usename LIKE 'postern\\_%'");
	await until(() => own().length === 0, 'all connections are closed', 40000);
	assert.equal((await quick.ask('/api/v1/domains', { token: quickToken })).status, 200);
	assert.ok(own().length <= 2);
});

test('a binary killed under load is answered for by the web server, and started again it serves on', limit, async () => {
	const clients = load(s, token);
	await clients.each((a) => a.status < 300, 'every client is served');
	const pid = s.pid('domains');
	process.kill(pid, 'SIGKILL');
	await clients.each((a) => a.status === 503, 'every client gets 503');
	assert.equal((await s.ask('/api/v1/me', { token })).status, 200, 'other binaries serve on');
	await until(() => !runs(pid), 'it is gone');
	assert.ok(fs.existsSync(path.join(s.dir, 'fcgi/domains.sock')), 'it left its socket file');
	await startBinary(s, 'domains');
	await clients.each((a) => a.status === 200, 'every client reads again');
	assertNothingLost(s, await clients.stop());
});

const TRAIL = soak ? 100000 : 1500, KILLS = soak ? 200 : 4;
test(`of ${TRAIL} requests, with kill -9 of binaries and of PostgreSQL in between, each that was answered has one row of the trail`, { timeout: soak ? 1800000 : 120000 }, async (t) => {
	const { token: bearer } = s.mint();
	const since = s.sql('SELECT clock_timestamp()::text AS at')[0].at, names = s.unique('row');
	const answered = new Map();
	let asked = 0, good = 0, cut = 0, unavailable = 0, kills = 0, done = false, failure;
	const client = async () => {
		while ((good < TRAIL || kills < KILLS) && !failure) {
			const id = randomUUID(), n = ++asked;
			const body = n % 40 === 0 ? { domain: `${names}-${n}.example`, account: 'demo' } : n % 40 === 1 ? { domain: '?' } : undefined;
			const [target, due] = body ? ['/api/v1/domains', n % 40 ? 422 : 201] : n % 10 === 2 ? ['/api/v1/domains/999999999', 404] : n % 2 ? ['/api/v1/me', 200] : ['/api/v1/domains', 200];
			const answer = await s.ask(target, { token: bearer, headers: { 'X-Request-Id': id }, ...(body ? { method: 'POST', body } : {}) }).catch(() => null);
			if (!answer)
				cut++;
			else if (answer.status === 503)
				unavailable++;
			else
				assert.equal(answer.status, due, answer.text);
			const status = answer?.status === 503 ? undefined : answer?.status;
			answered.set(id, status);
			if (status)
				good++;
			else
				await new Promise((resolve) => setTimeout(resolve, 50)); // as a client that was told to come back
		}
	};
	const clients = Promise.all(Array.from({ length: 12 }, client)).catch((error) => { failure = error; }).finally(() => { done = true; });
	const served = async (more) => { // so many further requests, answered well
		const from = good;
		await until(() => done || good > from + more, 'requests are answered');
	};
	const killing = async () => {
		while (!done && kills < KILLS) {
			await served(TRAIL / (KILLS + 2));
			const what = kills++ % 4, name = ['domains', 'me'][kills % 2];
			if (what < 2) {
				const pid = s.pid(name);
				process.kill(pid, 'SIGKILL');
				await until(() => !runs(pid), 'it is gone');
				await startBinary(s, name);
			} else if (what === 2) { // one backend: all others end, too, and PostgreSQL recovers by itself
				const [backend] = await until(() => {
					const found = s.sql("SELECT pid FROM pg_stat_activity WHERE usename = 'postern_domains' LIMIT 1");
					return found.length && found;
				}, 'domains is connected');
				process.kill(backend.pid, 'SIGKILL');
			} else {
				const all = postgresPids(s);
				process.kill(all[0], 'SIGKILL');
				await until(() => !all.some(runs), 'PostgreSQL is gone');
				await until(() => s.pgctl('start').then(() => true, () => false), 'it starts, when the last one that was not seen is gone, too');
			}
		}
	};
	await killing().catch((error) => { failure ??= error; });
	await clients;
	assert.ifError(failure);
	await until(() => s.ask('/api/v1/me', { token: bearer }).then((a) => a.status === 200, () => false), 'all serve again');
	const rows = new Map();
	for (const row of s.sql(`SELECT request_id, status, count(*)::int AS n FROM postern.audit WHERE at >= '${since}' AND token_name IS NOT NULL GROUP BY 1, 2`))
		rows.set(row.request_id, [...(rows.get(row.request_id) ?? []), row]);
	for (const [id, status] of answered) {
		const own = rows.get(id) ?? [];
		if (status)
			assert.deepEqual(own.map((r) => [r.status, r.n]), [[status, 1]], `request ${id} was answered ${status}`);
		else
			assert.ok(own.length <= 1 && (own[0]?.n ?? 1) === 1, `request ${id} has several rows`);
	}
	t.diagnostic(`${good} answered with one row each, ${unavailable} answered 503, ${cut} connections cut, ${kills} kills`);
});

test('SIGTERM lets requests under way finish: no answer is cut, none that was refused was done', limit, async () => {
	for (let round = 0; round < 3; round++) {
		const child = await replaceByHand(s, 'domains');
		const clients = load(s, token, 12);
		await clients.each((a) => a.status < 300, 'every client is served');
		child.kill('SIGTERM');
		const ended = await child.ended;
		assert.deepEqual([ended.code, ended.signal], [0, null], ended.output.slice(-2000));
		assert.ok(!fs.existsSync(path.join(s.dir, 'fcgi/domains.sock')), 'it takes its socket file away');
		await clients.each((a) => a.status === 503, 'every client gets 503');
		const answers = await clients.stop();
		const stored = assertNothingLost(s, answers);
		for (const answer of answers)
			if (answer.status === 503 && answer.domain)
				assert.ok(!stored.has(answer.domain), `${answer.domain} was answered 503 and is there all the same`);
		await startBinary(s, 'domains');
	}
});

test('a second instance on a socket in use is refused, and the first serves on', limit, async () => {
	const ended = await spawnAsServer(words(s, 'domains')).ended;
	assert.equal(ended.code, 1);
	assert.match(ended.output, /another process serves this socket/);
	assert.equal((await s.ask('/api/v1/domains', { token })).status, 200);
});

test('what is at the socket path and is no socket is left alone', limit, async () => {
	const file = path.join(s.dir, 'fcgi/precious.sock');
	fs.writeFileSync(file, 'precious');
	const ended = await spawnAsServer(words(s, 'domains', file)).ended;
	assert.equal(ended.code, 1);
	assert.match(ended.output, /there is something else at this path/);
	assert.equal(fs.readFileSync(file, 'utf8'), 'precious');
	fs.rmSync(file);
});

test('no audit, no answer: while the trail cannot be written, nothing is read or changed', limit, async () => {
	const made = (await s.ask('/api/v1/domains', { token, method: 'POST', body: { domain: `${s.unique('audit')}.example`, account: 'demo' } })).json.data;
	const body = { domain: `${s.unique('audit')}.example`, account: 'demo' };
	const attempts = () => Promise.all([
		s.ask('/api/v1/domains', { token }),
		s.ask(`/api/v1/domains/${made.id}`, { token }),
		s.ask('/api/v1/domains', { token, method: 'POST', body }),
		s.ask('/api/v1/domains', { token, method: 'POST', body: { ...body, domain: `key.${body.domain}` }, headers: { 'Idempotency-Key': randomUUID() } }),
		s.ask(`/api/v1/domains/${made.id}`, { token, method: 'PATCH', body: { mail_enabled: false } }),
		s.ask('/api/v1/domains', { token, method: 'POST', body: { domain: 'not a name' } }),
		s.ask('/api/v1/domains?nonsense=1', { token }),
		s.ask(`/api/v1/domains/${made.id}`, { token, method: 'DELETE' }),
	]);
	s.psql('REVOKE INSERT ON postern.audit FROM postern_gate');
	let refused;
	try {
		refused = await attempts();
	} finally {
		s.psql('GRANT INSERT ON postern.audit TO postern_gate');
	}
	for (const answer of refused) {
		assertUnavailable(answer);
		assert.ok(!answer.text.includes(made.domain), 'data left without a row');
	}
	assert.deepEqual(s.sql(`SELECT domain, mail_enabled, version FROM postern.domains WHERE domain LIKE '%${body.domain}' OR id = ${made.id}`),
		[{ domain: made.domain, mail_enabled: true, version: 1 }]);
	assert.deepEqual(s.sql(`SELECT type FROM postern.events WHERE object_id = '${made.id}'`), [{ type: 'domain.created' }]);
	const again = (await attempts()).map((a) => a.status);
	assert.deepEqual([again[0], again[2], again[3], again[5], again[6]], [200, 201, 201, 422, 400]);
});

test('a write whose row alone fails is taken back whole', limit, async () => {
	// only rows of successful creations are refused: admission and the failure's own row still work
	const domain = `${s.unique('whole')}.example`;
	s.psql(`CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$;
		GRANT USAGE ON SCHEMA public TO postern_gate;
		CREATE TRIGGER refuse BEFORE INSERT ON postern.audit FOR EACH ROW WHEN (NEW.status = 201) EXECUTE FUNCTION public.refuse()`);
	const answer = await s.ask('/api/v1/domains', { token, method: 'POST', body: { domain, account: 'demo' } });
	s.psql('DROP TRIGGER refuse ON postern.audit; DROP FUNCTION public.refuse(); REVOKE USAGE ON SCHEMA public FROM postern_gate');
	assert.ok(answer.status >= 500, answer.text);
	assert.deepEqual(s.sql(`SELECT domain FROM postern.domains WHERE domain = '${domain}'`), []);
	assert.deepEqual(s.sql(`SELECT status FROM postern.audit WHERE request_id = '${answer.headers.get('x-request-id')}'`), [{ status: answer.status }]);
});

// A copy of the SQL with one comment more, which makes every function new.
function changedSql(stack) {
	const copy = path.join(stack.dir, stack.unique('sql'));
	fs.cpSync(path.join(root, 'sql'), copy, { recursive: true });
	fs.appendFileSync(path.join(copy, 'functions/20_domains.sql'), `-- ${randomUUID()}\n`);
	return copy;
}

test('a migration that replaces all functions while requests run fails none of them', limit, async () => {
	const clients = load(s, token, 4);
	await clients.each((a) => a.status < 300, 'every client is served');
	for (let round = 0; round < 3; round++) {
		const done = await cliAsync(s, ['migrate'], { POSTERN_SQL_DIR: changedSql(s) });
		assert.equal(done.status, 0, done.stderr);
		await clients.each((a) => a.status === 200, 'every client reads after it');
		await clients.each((a) => a.status === 201, 'every client writes after it');
	}
	const answers = await clients.stop();
	assert.deepEqual(answers.filter((a) => a.status >= 300).map((a) => a.text), []);
	assertNothingLost(s, answers);
});

test('migrating twice changes nothing the second time, and twice at once is safe', limit, async () => {
	const functions = () => s.sql('SELECT p.oid FROM pg_proc p WHERE p.pronamespace::regnamespace::text = \'domains\' ORDER BY 1');
	assert.equal((await cliAsync(s, ['migrate'])).status, 0);
	const present = functions();
	const again = await cliAsync(s, ['migrate']);
	assert.equal(again.status, 0, again.stderr);
	assert.deepEqual(functions(), present);
	const sql = changedSql(s);
	const both = await Promise.all([0, 1, 2].map(() => cliAsync(s, ['migrate'], { POSTERN_SQL_DIR: sql })));
	assert.deepEqual(both.map((d) => [d.status, d.status ? d.stderr : '']), [[0, ''], [0, ''], [0, '']]);
	assert.notDeepEqual(functions(), present);
	assert.equal((await s.ask('/api/v1/domains', { token })).status, 200);
});

async function smoke(stack, bearer, label) {
	const domain = `${stack.unique(label)}.example`, key = randomUUID();
	const create = () => stack.ask('/api/v1/domains', { token: bearer, method: 'POST', body: { domain, account: 'demo' }, headers: { 'Idempotency-Key': key } });
	const made = await create();
	assert.equal(made.status, 201, made.text);
	const replayed = await create();
	assert.equal(replayed.headers.get('idempotent-replayed'), 'true', replayed.text);
	const target = `/api/v1/domains/${made.json.data.id}`;
	assert.equal((await stack.ask(target, { token: bearer, method: 'PATCH', body: { mail_enabled: false } })).json.data.mail_enabled, false);
	assert.equal((await stack.ask(`/api/domains?search=${domain}&sort=domain&order=desc`, { token: bearer })).json.total, 1);
	assert.equal((await stack.ask(`${target}?dry_run=true`, { token: bearer, method: 'DELETE' })).json.data?.dry_run ?? true, true);
	assert.equal((await stack.ask(target, { token: bearer, method: 'DELETE' })).status, 204);
	assert.equal((await stack.ask(target, { token: bearer })).status, 404);
	assert.equal((await stack.ask('/api/v1/domains', { token: bearer, method: 'POST', body: { domain: '-' } })).status, 422);
	const clients = load(stack, bearer, 8);
	await clients.each((a) => a.status === 201, 'every client writes');
	await clients.each((a) => a.status === 200, 'every client reads');
	const answers = await clients.stop();
	assert.deepEqual(answers.filter((a) => a.status >= 300).map((a) => a.text), []);
	assertNothingLost(stack, answers);
}

test('without named prepared statements all works as with them', limit, async () => {
	await replaceByHand(s, 'domains', { POSTERN_PREPARE: 'off' });
	await smoke(s, token, 'unprepared');
	assert.deepEqual(s.sql("SELECT query FROM pg_stat_activity WHERE usename = 'postern_domains' AND query LIKE 'PREPARE%'"), []);
});

const pgbouncer = ['/usr/sbin/pgbouncer', '/usr/bin/pgbouncer'].find((file) => fs.existsSync(file));
test('behind pgbouncer in transaction mode all works as without it', { ...limit, skip: !pgbouncer && 'pgbouncer is not installed' }, async () => {
	const dir = path.join(s.dir, 'pg/pooler');
	fs.mkdirSync(dir);
	if (asRoot) {
		const { uid, gid } = fs.statSync(path.join(s.dir, 'pg/data'));
		fs.chownSync(dir, uid, gid);
	}
	fs.writeFileSync(path.join(dir, 'users'), '"postern_domains" ""\n');
	fs.writeFileSync(path.join(dir, 'pgbouncer.ini'), `[databases]
postern = host=${s.dir}/pg/socket
[pgbouncer]
listen_addr =
unix_socket_dir = ${dir}
auth_type = trust
auth_file = ${dir}/users
pool_mode = transaction
default_pool_size = 2
server_reset_query_always = 1
`);
	const pooler = spawnAsServer([pgbouncer, path.join(dir, 'pgbouncer.ini')]);
	await until(() => fs.existsSync(path.join(dir, '.s.PGSQL.6432')) || pooler.exitCode !== null, 'the pooler listens');
	assert.equal(pooler.exitCode, null, pooler.output);
	await replaceByHand(s, 'domains', { POSTERN_PREPARE: 'off', POSTERN_DSN: `host=${dir} port=6432 dbname=postern` });
	await smoke(s, token, 'pooled');
	assert.match(pooler.output, /postern\/postern_domains/, 'the binary came by the pooler');
	await replaceByHand(s, 'domains');
	pooler.kill('SIGTERM');
	await pooler.ended;
});
