// Instructions per request, counted by callgrind, held against baseline.json: a slow-down shows on any machine, however busy
// it is, and no clock is read. Counted is what the binary ("c") and the PostgreSQL backends that serve it ("sql") execute in
// user space, libraries included; not the kernel, not the web server, not waiting.
// usage: node tests/bench/check.mjs [--update] [--counts FILE] [--baseline FILE]     (make bench-check [UPDATE=1])
//   --update      what was counted becomes the baseline
//   --counts      compare these instead of counting; a run leaves its own in <build>/bench-check/counts.json
//   --baseline    another one than baseline.json
// VERBOSE=1 prints every single count.
// How: callgrind writes a profile, and begins anew, whenever the binary is about to wait for a connection (accept4) and
// whenever a backend has dealt with a query (ReadyForQuery). Requests go one at a time to a binary with one thread, so each
// is a batch of its own and has profiles of its own; "list-batch" is about full batches. The median of several is taken: a
// page that fills up, or housekeeping that falls into a request, is not everyday work.
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { exchange, parse, request } from '../api/fastcgi.mjs';
import { build, root, startStack, until } from '../api/harness.mjs';
import { compare, median } from './check-compare.mjs';

const WARM_UP = 6, COUNTED = 15, ROUNDS = 7, BATCH = 16;
const ACCOUNTS = 1000, DOMAINS = 100; // in each account
const PAGES = 3; // before the one that the lists by cursor ask for
const TOLERANCE = 0.01;
const PATIENCE_MS = 120000;
const pgBin = '/usr/lib/postgresql/15/bin';
const kept = path.join(root, build, 'bench-check');
const asServer = process.getuid() === 0 ? ['setpriv', '--reuid=postgres', '--regid=postgres', '--init-groups', '--'] : [];

// libc and libcrypto choose variants of memcpy, SHA-256 and such by the processor and its caches: here always the same ones.
const without = ['AVX', 'AVX2', 'AVX512F', 'AVX512BW', 'AVX512VL', 'AVX_Fast_Unaligned_Load', 'BMI1', 'BMI2', 'LZCNT', 'MOVBE', 'RTM', 'ERMS', 'FSRM',
	'SSSE3', 'SSE4_1', 'SSE4_2', 'POPCNT', 'XSAVE', 'XSAVEC', 'Fast_Copy_Backward', 'Fast_Unaligned_Copy', 'Slow_BSF', 'Prefer_No_VZEROUPPER'];
const sizes = { non_temporal_threshold: '0xc0000', rep_movsb_threshold: '0x800', rep_stosb_threshold: '0x800', data_cache_size: '0x8000', shared_cache_size: '0x100000' };
const oneVariant = {
	GLIBC_TUNABLES: [`glibc.cpu.hwcaps=${without.map((name) => `-${name}`).join(',')}`, ...Object.entries(sizes).map(([k, v]) => `glibc.cpu.x86_${k}=${v}`)].join(':'),
	OPENSSL_ia32cap: '0x0000020107800000:0', // up to SSSE3
};
// Nothing that PostgreSQL does now and then: its share of a request would be chance.
const steady = { autovacuum: 'off', bgwriter_lru_maxpages: 0, checkpoint_timeout: '1d', wal_writer_delay: '10s', authentication_timeout: '10min' };
// What a web server sends besides (nginx/postern-fastcgi.conf).
const params = { HTTP_HOST: 'localhost:8480', HTTP_USER_AGENT: 'curl/7.88.1', HTTP_ACCEPT: '*/*', SERVER_PORT: '8480' };

let stack, profiles;
const children = [];

// --- programs under callgrind -------------------------------------------------------------------------------------------
// Writes a profile, <name>.<pid>.<n>, before each call of the function `mark`.
function start(name, mark, signal, command, environment = {}) {
	const [file, ...rest] = [...asServer, 'valgrind', '-q', '--tool=callgrind', '--vgdb=no', `--callgrind-out-file=${profiles}/${name}.%p`,
		`--dump-before=${mark}`, ...command];
	const log = path.join(stack.dir, 'log', `callgrind-${name}.log`), to = fs.openSync(log, 'w');
	const child = spawn(file, rest, { cwd: '/', stdio: ['ignore', to, to], env: { ...process.env, ...oneVariant, ...environment } });
	fs.closeSync(to);
	const program = { name, pid: child.pid, ended: false, alive() {
		if (program.ended)
			throw new Error(`${name} ended under callgrind; see ${log}`);
	} };
	const over = new Promise((resolve) => child.on('exit', resolve).on('error', resolve)).then(() => { program.ended = true; });
	program.end = () => {
		if (!program.ended)
			child.kill(signal);
		return over;
	};
	children.unshift(program);
	return program;
}

async function startPostgres() {
	await stack.pgctl('stop', '-m', 'fast');
	const program = start('postgres', 'ReadyForQuery', 'SIGINT', [`${pgBin}/postgres`, '-D', path.join(stack.dir, 'pg/data'),
		...Object.entries(steady).flatMap(([name, value]) => ['-c', `${name}=${value}`])]);
	await until(() => {
		program.alive();
		try {
			return stack.psql('SELECT 1');
		} catch {
			return false;
		}
	}, 'PostgreSQL answers under callgrind', PATIENCE_MS);
}

async function startBinary(resource, threads = 1) {
	const name = `${resource}-${threads}`, socket = path.join(stack.dir, 'fcgi', `${name}.sock`);
	const program = start(name, 'accept4', 'SIGTERM',
		[path.join(root, build, 'cgi', resource), '--config', path.join(stack.dir, 'postern.conf'), '--socket', socket],
		{ POSTERN_THREADS: threads, POSTERN_BATCH_MAX: BATCH, POSTERN_DB_TIMEOUT_MS: 600000, POSTERN_DB_IDLE_S: 3600, POSTERN_IO_TIMEOUT_S: 600 });
	const server = Object.assign(program, { socket, threads, profiles: threads });
	await whole(server);
	return server;
}

// --- profiles -------------------------------------------------------------------------------------------------------------
const written = (name) => fs.readdirSync(profiles).filter((file) => new RegExp(`^${name}\\.\\d+\\.\\d+$`).test(file));
const sequence = (file) => Number(file.split('.').at(-1));
// Instructions in a profile; undefined while it is being written.
function instructions(file) {
	const total = /^totals: (\d+)\n/m.exec(fs.readFileSync(path.join(profiles, file), 'latin1').slice(-100));
	return total ? Number(total[1]) : undefined;
}
const sum = (files) => files.reduce((total, file) => total + instructions(file), 0);

// Wait until each thread of the binary is back from its last request. Answers the profiles in order.
async function whole(server) {
	return until(() => {
		server.alive();
		const files = written(server.name).sort((a, b) => sequence(a) - sequence(b));
		return files.length >= server.profiles && instructions(files.at(-1)) !== undefined && files;
	}, `${server.name} waits for requests`, PATIENCE_MS);
}

// Do `what`, which sends `requests`. Answers what it took: { c: { count, files }, sql: … }.
async function counted(server, requests, session, what) {
	const before = new Set([...written('postgres'), ...written(server.name)]);
	await what();
	server.profiles += requests;
	const c = (await whole(server)).filter((file) => !before.has(file));
	const sql = written('postgres').filter((file) => !before.has(file) && file.split('.')[1] !== session.pid);
	await until(() => sql.every((file) => instructions(file) !== undefined), 'the backends\' profiles', PATIENCE_MS); // housekeeping may be at it
	return { c: { count: sum(c), files: c }, sql: { count: sum(sql), files: sql } };
}

// The medians of a scenario, whose profiles are kept.
function conclude(name, runs, requests) {
	const result = {};
	for (const side of ['c', 'sql']) {
		const counts = runs.map((run) => run[side].count), middle = median(counts);
		const files = runs.find((run) => run[side].count === middle)[side].files.sort((a, b) => fs.statSync(path.join(profiles, b)).size - fs.statSync(path.join(profiles, a)).size);
		files.forEach((file, i) => fs.copyFileSync(path.join(profiles, file), path.join(kept, `${name}.${side}${i ? `.${i + 1}` : ''}.out`)));
		result[side] = Math.round(middle / requests);
		if (process.env.VERBOSE)
			console.log(name, side, counts.map((count) => Math.round(count / requests)).join(' '));
	}
	return result;
}

// --- scenarios ------------------------------------------------------------------------------------------------------------
async function ask(server, { target, status = 200, ...options }, sent) {
	const answer = parse((await exchange(server.socket, request({ path: target, params, ...options }), sent)).stdout);
	if (answer.status !== status)
		throw new Error(`${target}: ${answer.status} instead of ${status}\n${answer.text}`);
	return answer;
}

// A session of psql, for what happens between requests; its backend (`pid`) counts for nothing.
async function openSession() {
	const [file, ...rest] = [...asServer, 'psql', '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-h', path.join(stack.dir, 'pg/socket'), '-d', 'postern'];
	const child = spawn(file, rest, { cwd: '/', stdio: ['pipe', 'pipe', 'inherit'] });
	let text = '', waiting;
	child.stdout.on('data', (data) => {
		text += data;
		if (text.endsWith('.\n')) {
			waiting.resolve(text.slice(0, -2).trim());
			text = '';
		}
	});
	child.on('exit', () => waiting?.reject(new Error('psql ended')));
	const run = (sql) => new Promise((resolve, reject) => {
		waiting = { resolve, reject };
		child.stdin.write(`${sql};\n\\echo .\n`);
	});
	return { run, end: () => child.stdin.end(), pid: await run('SELECT pg_backend_pid()') };
}
// Versions of rows that earlier requests left are not the next scenario's burden. Plans are made anew after it: warm up.
const tidy = (session) => session.run('VACUUM postern.rates, postern.refusals');

async function oneByOne(name, session, server, what) {
	const runs = [];
	await tidy(session);
	for (let n = 0; n < WARM_UP + COUNTED; n++)
		runs.push(await counted(server, 1, session, () => ask(server, what(n))));
	return conclude(name, runs.slice(WARM_UP), 1);
}

// Every thread waits for something that is not there yet.
const idle = (server) => fs.readdirSync(`/proc/${server.pid}/task`).every((task) =>
	/\) S [^)]*$/.test(fs.readFileSync(`/proc/${server.pid}/task/${task}/stat`, 'latin1')));

// A lock holds the first request up in PostgreSQL; the others gather behind it and then pass as one batch.
async function batched(name, session, server, first, tokenId, what) {
	const runs = [];
	await tidy(session);
	for (let round = 0; runs.length < WARM_UP + ROUNDS; round++) {
		if (round === 4 * ROUNDS)
			throw new Error(`${name}: no ${BATCH} requests came together in a batch; VERBOSE=1 shows how many did`);
		await session.run(`BEGIN; SELECT FROM postern.rates WHERE token_id = '${tokenId}' FOR UPDATE`);
		const run = await counted(server, 1 + BATCH, session, async () => {
			const answers = [ask(server, first)];
			await until(async () => await session.run('SELECT count(*) FROM pg_locks WHERE NOT granted') !== '0', 'a request waits for the lock', PATIENCE_MS);
			await Promise.all(Array.from({ length: BATCH }, (_, i) => new Promise((sent) => answers.push(ask(server, what(i), sent)))));
			await until(() => idle(server), 'all requests wait', PATIENCE_MS);
			await session.run('COMMIT');
			await Promise.all(answers);
		});
		if (run.sql.files.length === 2)
			runs.push(run);
		else if (process.env.VERBOSE)
			console.log(name, `${run.sql.files.length} statements instead of 2: done again`);
	}
	return conclude(name, runs.slice(WARM_UP), 1 + BATCH);
}

async function count() {
	stack = await startStack('bench-check', { DOMAIN_PROOF: 'off' });
	profiles = path.join(stack.dir, 'profiles');
	fs.mkdirSync(profiles);
	if (asServer.length)
		execFileSync('chown', ['postgres:', profiles]);

	const tenants = Array.from({ length: BATCH }, (_, i) => stack.tenant({ username: `count${String(i).padStart(3, '0')}` }));
	// as many accounts as make PostgreSQL choose the plans of a large installation, their rows mixed as years would mix them
	stack.psql(`
		INSERT INTO postern.accounts (name, username, home) SELECT n, n, '/home/' || n
		FROM (SELECT 'count' || lpad(i::text, 3, '0') AS n FROM generate_series(${BATCH}, ${ACCOUNTS - 1}) i) x;
		INSERT INTO postern.domain_names SELECT format('d%s-%s.example', lpad(i::text, 4, '0'), a.username), a.id
		FROM generate_series(1, ${DOMAINS}) i, postern.accounts a WHERE a.username LIKE 'count%';
		INSERT INTO postern.domains (account_id, domain, type, document_root, proof, proven_at)
		SELECT account_id, domain, 'addon', '/home/x/' || domain, 'administrator', now() FROM postern.domain_names WHERE domain LIKE 'd____-count%' ORDER BY domain`);
	const mint = (i, fields) => stack.mint({ owner: tenants[i].user.username, ...fields });
	const each = tenants.map((_, i) => mint(i));
	const token = each[0].token, held = mint(0), revoked = mint(0), limited = mint(0, { rate_limit: 1 });
	stack.cliJson(['token', 'revoke', revoked.id]);
	stack.psql('VACUUM ANALYZE');

	await startPostgres();
	const session = await openSession();
	const [domains, crowd, me] = [await startBinary('domains'), await startBinary('domains', 1 + BATCH), await startBinary('me')];
	const target = '/api/v1/domains.php';
	const next = []; // of each token, the request for a page
	let first;
	for (const { token: one } of each) {
		let what = { token: one, target };
		for (let page = 0; page < PAGES; page++) {
			const { data } = (await plainly(domains, what)).json;
			first ??= data.items[0];
			what = { token: one, target: `${target}?cursor=${data.next_cursor}` };
		}
		next.push(what);
	}

	const counts = {};
	const scenario = async (name, server, what) => { counts[name] = await oneByOne(name, session, server, what); };
	await scenario('list-cursor', domains, () => next[0]);
	counts['list-batch'] = await batched('list-batch', session, crowd, { ...next[0], token: held.token }, held.id, (i) => next[i]);
	await scenario('list-first-page', domains, () => ({ token, target }));
	await scenario('get', domains, () => ({ token, target: `${target}?id=${first.id}` }));
	await scenario('create', domains, (n) => ({ token, target, method: 'POST', status: 201, body: { domain: `new${String(n).padStart(4, '0')}.example` } }));
	await scenario('revoked-401', domains, () => ({ token: revoked.token, target, status: 401 }));
	await plainly(domains, { token: limited.token, target }); // uses its window up
	await scenario('limited-429', domains, () => ({ token: limited.token, target, status: 429 }));
	await scenario('me', me, () => ({ token, target: '/api/v1/me.php' }));
	session.end();
	return counts;
}
// A request that is not counted.
async function plainly(server, what) {
	const answer = await ask(server, what);
	server.profiles++;
	await whole(server);
	return answer;
}

// What the counts depend on besides the sources.
function tools() {
	const first = (file, ...args) => execFileSync(file, args, { encoding: 'utf8' }).split('\n')[0];
	const packages = execFileSync('dpkg-query', ['-W', '-f', '${Package} ${Version}\n', 'libc6', 'libssl3', 'libpq5', 'libfcgi0ldbl', 'postgresql-15', 'valgrind'], { encoding: 'utf8' });
	const cc = fs.readFileSync(path.join(root, build, 'flags'), 'utf8').split(' ')[0];
	return { ...Object.fromEntries(packages.trim().split('\n').map((line) => line.split(' '))), cc: first(cc, '--version') };
}

const { values: options } = parseArgs({ options: {
	update: { type: 'boolean' }, counts: { type: 'string' }, baseline: { type: 'string', default: path.join(root, 'tests/bench/baseline.json') } } });
const read = (file) => JSON.parse(fs.readFileSync(file, 'utf8'));

let result;
if (options.counts) {
	result = read(options.counts);
} else {
	fs.rmSync(kept, { recursive: true, force: true });
	fs.mkdirSync(kept, { recursive: true });
	try {
		result = { tolerance: TOLERANCE, tools: tools(), counts: await count() };
	} finally {
		for (const program of children) // the binaries before PostgreSQL
			await program.end();
		stack?.stop();
	}
	fs.writeFileSync(path.join(kept, 'counts.json'), `${JSON.stringify(result, null, '\t')}\n`);
}
// A first run has no baseline yet.
const baseline = fs.existsSync(options.baseline) ? read(options.baseline) : { ...result, counts: {} };
const { table, problems, hints } = compare(result.counts, result.tools, baseline, path.relative('.', kept));
console.log(`instructions a request         baseline          now\n${table.join('\n')}`);
if (options.update) {
	fs.writeFileSync(options.baseline, `${JSON.stringify(result, null, '\t')}\n`);
	console.log(`bench-check: ${path.relative('.', options.baseline)} has these counts now`);
} else {
	for (const line of hints)
		console.log(`bench-check: ${line}`);
	for (const line of problems)
		console.error(`bench-check: ${line}`);
	process.exitCode = problems.length ? 1 : 0;
}
