// One measurement: load, what came of it, and whether it counts. Anything unexpected makes it invalid: another status, a lost
// request, a row missing in the trail (or one too many).
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { until } from '../api/harness.mjs';
import { family, here, programs } from './house.mjs';
import { ours } from './report.mjs';

export const CONNECTIONS = 32;
const RATE = 1000, OPEN_CONNECTIONS = 64;
const running = new Set();
export const stopLoad = () => running.forEach((child) => child.kill('SIGKILL'));
let created = 0; // numbers of what was created: each only once

function run(words) {
	return new Promise((resolve, reject) => {
		const child = spawn(words[0], words.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
		let out = '', err = '';
		running.add(child);
		child.stdout.on('data', (data) => { out += data; });
		child.stderr.on('data', (data) => { err += data; });
		child.on('error', reject);
		child.on('close', (code) => {
			running.delete(child);
			const line = `${out}\n${err}`.split('\n').findLast((l) => l.startsWith('{"requests"'));
			if (code !== 0 || !line)
				reject(new Error(`${words[0]} failed (${code}):\n${out}${err}`));
			else
				resolve(JSON.parse(line));
		});
	});
}

function closedLoop(c, seconds) {
	created += 1000000;
	return run(['wrk', '-t1', `-c${CONNECTIONS}`, `-d${seconds}s`, '--timeout', '10s', '-s', path.join(here, 'load.lua'),
		c.base, '--', c.file, String(created)]);
}

function openLoop(c, seconds) {
	return run([path.join(programs, 'openloop'), new URL(c.base).port, String(RATE), String(seconds), String(OPEN_CONNECTIONS), String(c.status), c.file]);
}

// Is the trail complete? `sent`: answered requests; up to `more` may have been under way when the load ended.
async function missing(c, mark, sent, more) {
	const { trail } = c.house;
	if (c.trail === 'refusals') {
		const counted = await until(() => {
			const n = trail.refusals();
			return n >= sent && n;
		}, 'refusals', 3000).catch(() => trail.refusals());
		if (counted < sent || counted > sent + more)
			return `${counted} refusals counted of ${sent}`;
		return trail.rows(mark).some((r) => r.status === c.status) ? null : 'the first refusal has no row';
	}
	const right = (list) => list.filter((r) => r.status === c.status).reduce((n, r) => n + r.n, 0);
	const list = await until(() => {
		const found = trail.rows(mark);
		return right(found) >= sent && found;
	}, 'rows', 3000).catch(() => trail.rows({ ...mark, page: 0 })); // vacuum may have opened gaps in old pages
	const n = right(list), others = list.filter((r) => r.status !== c.status).map((r) => `${r.n} × ${r.status}`);
	if (n < sent || n > sent + more)
		return `${n} audit rows of ${sent} requests`;
	return others.length ? `other rows in the trail: ${others.join(', ')}` : null;
}

// One round of a candidate. Answers { rps, p50_us, p99_us, …, invalid } (invalid: why).
export async function measure(c, seconds, { open = false, warm = 1, sample } = {}) {
	const { house } = c, load = open ? openLoop : closedLoop;
	c.before?.(house);
	await load(c, warm); // connections, caches, compiled code
	house.stack.psql('CHECKPOINT'); // every round begins alike
	house.trail.forgetRefusals();
	c.before?.(house);
	const mark = c.trail && house.trail.mark();
	const sampling = sample && new Promise((resolve) => setTimeout(() => resolve(sample(c)), seconds * 500));
	const r = await load(c, seconds);
	const why = [];
	if (open) {
		if (r.wrong || r.lost || r.right !== r.requests)
			why.push(`${r.wrong} unexpected answers, ${r.lost} lost, of ${r.requests}`);
		r.rps = r.right / seconds;
	} else {
		const refused = c.status >= 400 ? r.requests - r.errors_status : r.errors_status; // wrk counts 4xx and 5xx; the trail knows which
		if (refused)
			why.push(`${refused} answers with another status than ${c.status}`);
		if (r.errors_io)
			why.push(`${r.errors_io} requests lost`);
		if (!r.requests)
			why.push('nothing was answered');
		r.rps = r.requests / (r.us / 1e6);
	}
	if (mark) {
		const gap = await missing(c, mark, r.requests, open ? 0 : CONNECTIONS);
		if (gap)
			why.push(gap);
	}
	c.after?.(house);
	r.sample = await sampling;
	r.invalid = why.join('; ') || null;
	return r;
}

// --- memory and connections ------------------------------------------------------------------------------------------------
// Proportional set size in kB: memory shared with others is divided among them.
function pss(pid) {
	return Number(fs.readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8').match(/^Pss:\s+(\d+)/m)[1]);
}
export function memory(house) {
	const of = (pids) => pids.reduce((sum, pid) => sum + pss(pid), 0);
	const binaries = Object.fromEntries(house.binaries().map((name) => [name, pss(house.stack.pid(name))]));
	const peers = Object.fromEntries(['floor', 'php', 'node'].filter((name) => house[name]).map((name) => [name, of(family(house[name].pid))]));
	return { binaries, all: Object.values(binaries).reduce((a, b) => a + b, 0), peers };
}
export function connections(house) {
	const rows = house.stack.sql("SELECT usename AS role, count(*) AS n FROM pg_stat_activity WHERE usename LIKE 'postern\\_%' OR usename = 'bench' GROUP BY 1 ORDER BY 1");
	return Object.fromEntries(rows.map((r) => [r.role, r.n]));
}

// All binaries have answered once and have then closed their connections.
export async function idle(house) {
	for (const name of house.binaries()) {
		let { status, text } = await house.stack.ask(`/api/v1/${name}`), right = 200;
		if (status === 405) // it takes no GET: refused for its empty body, in PostgreSQL's record as well
			[{ status, text }, right] = [await house.stack.ask(`/api/v1/${name}`, { method: 'POST', body: {} }), 422];
		if (status !== right)
			throw new Error(`${name}: ${status} ${text}`);
	}
	await until(() => ours(connections(house)) === 0, 'the binaries close their connections', 60000).catch(() => null);
	return { ...memory(house), connections: connections(house) };
}

export function versions() {
	const first = (file, ...args) => {
		const done = spawnSync(file, args, { encoding: 'utf8', env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` } });
		return `${done.stdout}${done.stderr}`.match(/\d+(\.\d+)+/)?.[0] ?? 'none';
	};
	const os = fs.readFileSync('/etc/os-release', 'utf8').match(/PRETTY_NAME="(.*)"/)?.[1];
	return { os, postgresql: first('/usr/lib/postgresql/15/bin/postgres', '--version'), nginx: first('nginx', '-v'), apache: first('apache2', '-v'),
		php: first('php-fpm8.2', '-n', '-v'), node: process.versions.node, wrk: first('wrk', '-v'),
		libfcgi: first('dpkg-query', '-W', '-f', '${Version}', 'libfcgi-dev') };
}
