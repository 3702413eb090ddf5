// A private stack for a test file: real PostgreSQL, real binaries, a real web server, below build/test/<name>.
// WEB=apache runs the same tests through Apache.
//   const s = await startStack('tokens');   // in before(); s.stop() in after()
// Everything a test needs to ask the API, the CLI and the database, and to mint tokens.
import { execFile, execFileSync, spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
export const build = process.env.POSTERN_BUILD ?? 'build';
export const soak = process.env.SOAK === '1';
export const web = process.env.WEB ?? 'nginx';
const run = promisify(execFile);
const asRoot = process.getuid() === 0;
// For tests of what is started as root only: they are listed as not run.
export const needsRoot = asRoot ? false : 'not run: these servers start as root only';
const big = { maxBuffer: 256 << 20 };
// Servers run as postgres where the tests run as root; so does what talks to the database.
const asServer = asRoot ? ['setpriv', '--reuid=postgres', '--regid=postgres', '--init-groups', '--'] : [];

// Without posternd, so that nothing changes but by what a test does; WORKER: 'yes' has it. Domains get no website by themselves,
// which would have to be removed before them; SITES: 'yes' gives them one. DOMAIN_PROOF: 'off' takes a tenant's word for a domain.
// `tree`: another copy of the sources, whose scripts and SQL are used.
export async function startStack(name, environment = {}, tree = root) {
	const dir = path.join(root, build, 'test', web === 'nginx' ? name : `${name}-${web}`);
	const env = { ...process.env, RUN: dir, WORKER: 'no', SITES: 'no', ...environment };
	spawnSync(path.join(tree, 'scripts/stack'), ['stop'], { env, stdio: 'ignore' });
	if (fs.existsSync(dir))
		fs.rmSync(fs.realpathSync(dir), { recursive: true, force: true });
	fs.rmSync(dir, { force: true });
	fs.mkdirSync(path.dirname(dir), { recursive: true });
	const started = spawnSync(path.join(tree, 'scripts/stack'), ['start'], { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
	if (started.status !== 0)
		throw new Error(`the stack did not start:\n${started.stdout}${started.stderr}`);
	const stack = new Stack(fs.realpathSync(dir), env);
	if (process.env.RECORD && tree === root) {
		fs.mkdirSync(process.env.RECORD, { recursive: true });
		stack.record = path.join(process.env.RECORD, `${path.basename(dir)}.ndjson`);
		fs.writeFileSync(stack.record, '', { mode: 0o600 });
	}
	return stack;
}

// fetch(), whose fault names the exchange and the cause.
export const send = (url, options = {}) => fetch(url, options).catch((error) => {
	throw new Error(`fetch failed: ${options.method ?? 'GET'} ${url}: ${error.cause?.message || error.cause?.code || error.message}`, { cause: error });
});

class Stack {
	constructor(dir, env) {
		this.dir = dir;
		this.env = env;
		const read = Object.fromEntries(fs.readFileSync(path.join(dir, 'env'), 'utf8').trim().split('\n').map((l) => l.split(/=(.*)/s)));
		this.url = read.POSTERN_URL;
		this.told = read; // what parts say, too
		this.token = read.POSTERN_TOKEN; // the administrator's, bound to no account, 6,000 a minute
		this.names = 0;
		this.apart = [env.WORKER, env.SITES].includes('yes');
	}

	stop() {
		spawnSync(path.join(root, 'scripts/stack'), ['stop'], { env: this.env, stdio: 'ignore' });
	}

	// One request; where posternd runs, by a connection of its own: a reload closes those that are kept, as does a proxy that was
	// busy for longer than it keeps them, just when they are used again. options: token (default: the administrator's; null: none), method, body (object: as JSON; string or
	// Buffer: as it is), headers. Answers { status, headers, text, json }.
	async ask(target, options = {}) {
		const { token = this.token, method = 'GET', body, headers = {} } = options;
		const json = body !== undefined && typeof body !== 'string' && !Buffer.isBuffer(body);
		const response = await send(this.url + target, {
			method,
			headers: {
				...(this.apart ? { Connection: 'close' } : {}),
				...(token === null ? {} : { Authorization: `Bearer ${token}` }),
				...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
				...headers,
			},
			body: json ? JSON.stringify(body) : body,
			redirect: 'manual',
		});
		const text = await response.text();
		if (this.record)
			this.#keep(target, { token, method, body, headers }, response, text);
		let parsed;
		try {
			parsed = JSON.parse(text);
		} catch {
			parsed = undefined;
		}
		return { status: response.status, headers: response.headers, text, json: parsed };
	}

	// RECORD: every exchange is kept in that folder, for what is checked against the API's description (tests/description).
	#keep(target, { token, method, body, headers }, response, text) {
		const sent = Object.fromEntries(Object.entries(headers).filter(([name]) => /^(accept|content-type|if-|idempotency-key)/i.test(name)));
		const authorized = token !== null || Object.keys(headers).some((name) => /^(authorization|x-api-key)$/i.test(name));
		const kept = { target, method, authorized, sent, body: Buffer.isBuffer(body) ? String(body) : body, status: response.status, headers: [...response.headers], text };
		fs.appendFileSync(this.record, `${JSON.stringify(kept)}\n`);
	}

	// The operator's command. Answers { status, stdout, stderr }.
	cli(args, options = {}) {
		const done = spawnSync(path.join(this.dir, 'postern'), args, { encoding: 'utf8', ...big, ...options });
		return { status: done.status, stdout: done.stdout, stderr: done.stderr };
	}

	// The same, as JSON; throws when it fails.
	cliJson(args) {
		const done = this.cli(['--json', ...args]);
		if (done.status !== 0)
			throw new Error(`postern ${args.join(' ')}: ${done.status}\n${done.stderr}`);
		return done.stdout.trim() ? JSON.parse(done.stdout) : null;
	}

	// SQL as the superuser (or as `role`): rows as objects. Uses psql's own JSON, so any type comes through.
	sql(text, role) {
		const all = `SELECT coalesce(json_agg(q), '[]') FROM (${text}) q`;
		return JSON.parse(this.psql(all, role));
	}

	// Any statement; answers psql's unaligned output. Throws with PostgreSQL's message.
	psql(text, role, { socket = path.join(this.dir, 'pg/socket'), database = 'postern' } = {}) {
		const args = ['psql', '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-h', socket,
			...(role ? ['-U', role] : []), '-d', database, '-f', '-'];
		const [file, ...rest] = [...asServer, ...args];
		return execFileSync(file, rest, { input: text, encoding: 'utf8', stdio: ['pipe', 'pipe', 'pipe'], cwd: '/', ...big }).trim();
	}

	// The same on the server of accounts' databases (PARTS=postgresql), as its superuser.
	accountsPsql(text, database = 'postgres') {
		return this.psql(text, undefined, { socket: this.told.POSTGRESQL_SOCKET, database });
	}

	// pg_ctl on this stack's PostgreSQL: 'stop -m fast', 'start', 'restart -m immediate' …
	async pgctl(...words) {
		const [file, ...rest] = [...asServer, '/usr/lib/postgresql/15/bin/pg_ctl', '-s', '-w', '-t', '60', '-D',
			path.join(this.dir, 'pg/data'), '-l', path.join(this.dir, 'pg/server.log'), ...words];
		await run(file, rest, { cwd: '/', stdio: 'ignore' });
	}

	// The folder of applications' sockets, on a mount where the kernel follows no link; see worker/tenant.h. Answers how to end it.
	mountApps() {
		const apps = path.join(this.dir, 'apps');
		fs.mkdirSync(apps, { recursive: true });
		execFileSync('mount', ['-t', 'tmpfs', '-o', 'nosymfollow,nodev,nosuid,noexec,mode=755', 'none', apps]);
		return () => spawnSync('umount', ['-l', apps]);
	}

	pid(binary) {
		return Number(fs.readFileSync(path.join(this.dir, 'pid', `${binary}.pid`), 'utf8'));
	}

	// posternd of its own: ended by `signal`, started again; `stack stop` ends it too.
	async endWorker(signal = 'SIGTERM') {
		const pid = Number(fs.readFileSync(path.join(this.dir, 'worker/pid'), 'utf8'));
		try {
			process.kill(pid, signal);
		} catch {
			return;
		}
		const gone = () => {
			try {
				return fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8') === ''; // a zombie has none
			} catch {
				return true;
			}
		};
		await until(gone, `worker ${pid} ends`);
	}
	startWorker() {
		const log = fs.openSync(path.join(this.dir, 'log/posternd.log'), 'a');
		const app = fs.existsSync(path.join(this.dir, 'app')) ? path.join(this.dir, 'app') : path.join(root, build);
		const worker = spawn(path.join(app, 'worker/posternd'), ['--config', path.join(this.dir, 'postern.conf')],
			{ detached: true, stdio: ['ignore', log, log], env: this.env });
		worker.unref();
		fs.closeSync(log);
		fs.writeFileSync(path.join(this.dir, 'worker/pid'), `${worker.pid}\n`);
	}
	// An executable of the administrator's that stands in for an action: its text, for bash.
	replaceAction(kind, script, mode = 0o755) {
		const file = path.join(this.dir, 'actions', kind);
		fs.writeFileSync(`${file}.new`, `#!/bin/bash\n${script}\n`);
		fs.chmodSync(`${file}.new`, mode);
		fs.renameSync(`${file}.new`, file);
	}

	unique(prefix = 'x') {
		return `${prefix}${++this.names}${Math.random().toString(36).slice(2, 7)}`;
	}

	// A hosting account with a user of its own; `mint` makes tokens for that user.
	tenant(options = {}) {
		const username = options.username ?? this.unique('t');
		// a plan that a suite's tokens and requests fit in
		const account = this.cliJson(['account', 'create', '--username', username, '--max-tokens', '100000', '--max-requests', '10000000']);
		const user = this.cliJson(['user', 'create', '--username', `${username}-user`, '--account', username, '--role', options.role ?? 'customer']);
		return { account, user, username };
	}

	// A token's value (and row): fields as in the API, over the CLI, which may always.
	mint(fields = {}) {
		const all = { name: this.unique('tok'), owner: 'admin', rate_limit: 1000000, ...fields };
		if (all.scopes === undefined && all.role === undefined)
			all.scopes = ['*'];
		const args = Object.entries(all).flatMap(([name, value]) =>
			[`--${name.replaceAll('_', '-')}`, Array.isArray(value) ? value.join(',') : String(value)]);
		return this.cliJson(['token', 'create', ...args]);
	}

	// The route tables, as `postern routes --json` gives them.
	routes() {
		return this.cliJson(['routes']);
	}
}

// Wait until what() gives something true; an event to await, with a ceiling that is only reached when the promise is broken. Between
// two looks the processor is left to what is waited for.
export async function until(what, description, limit_ms = 60000) {
	const end = Date.now() + limit_ms;
	for (let pause_ms = 2; ; pause_ms = Math.min(2 * pause_ms, 50)) {
		const value = await what();
		if (value)
			return value;
		if (Date.now() > end)
			throw new Error(`waited in vain: ${description}`);
		await setTimeout(pause_ms);
	}
}

// What a change that a job does is answered with: 202, or, for who waited for a job that then ended well, 200.
export const answered = (status, answer) =>
	status === 202 && (answer.json?.data ?? answer.json)?.status === 'succeeded' && answer.headers.get('preference-applied') ? 200 : status;
