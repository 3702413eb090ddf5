// `make bench`: what a request costs, beside what it could cost at least and what others make of it.
//
// How to read this harness. house.mjs starts everything privately below one folder (build/bench, or RUN): the product by
// scripts/stack with 1,000 accounts, 100,000 domains and 10,000 tokens; the floor (floor.c), PHP-FPM (peer.php) and Node
// (peer.mjs) on the same tables; Apache on the same binaries; a second stack with 1,000,000 domains. verify.mjs then looks
// whether each of them really does the work, and what does not is not measured. candidates.mjs lists what is measured:
// prepared requests, the one status expected, what the audit trail must hold afterwards. measure.mjs runs one round of one
// candidate: wrk with load.lua in a closed loop (32 connections), or openloop.c at 1,000 requests/s, and marks the round
// INVALID when anything unexpected was answered, lost, or left unrecorded. Rounds are interleaved, so that a machine that is
// slow for a while is slow for all; the tables show medians. Load and servers share the machine: only ratios travel.
//
// environment:
//   ROUNDS (3), SECONDS (10)   of each candidate
//   ONLY      a regular expression of whole names, e.g. 'floor|cursor|php.*|open-.*|memory'; `make bench ONLY=none` lists them
//   QUICK=1   1 round × 2 s of each with a twentieth of the rows, to look whether it works: its figures say nothing
//   BENCH_JSON=FILE (or --json FILE)   all figures
//   RUN       the folder
// Exit code 0 when all that was measured is valid; a target that was missed is no failure.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { build } from '../api/harness.mjs';
import { all, open } from './candidates.mjs';
import { ACCOUNTS, House, SHARED_BUFFERS, quick } from './house.mjs';
import { CONNECTIONS, connections, idle, measure, memory, stopLoad, versions } from './measure.mjs';
import { closedTable, memoryTable, openTable, ours, summary, targets, targetsTable } from './report.mjs';
import { Trail } from './trail.mjs';
import { verify } from './verify.mjs';

const number = (text, preset) => (Number.isInteger(Number(text)) && Number(text) > 0 ? Number(text) : preset);
const rounds = number(process.env.ROUNDS, quick ? 1 : 3), seconds = number(process.env.BENCH_SECONDS ?? process.env.SECONDS, quick ? 2 : 10);
const only = new RegExp(`^(?:${process.env.ONLY || '.*'})$`);
const json = process.argv.includes('--json') ? process.argv[process.argv.indexOf('--json') + 1] : process.env.BENCH_JSON;
const folder = process.env.RUN || path.join(build, 'bench');
const started = Date.now();
const say = (text) => console.error(`bench ${String(Math.round((Date.now() - started) / 1000)).padStart(4)} s  ${text}`);

const houses = [];
let interrupted = false;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
	process.on(signal, () => {
		say('stopping');
		interrupted = true;
		stopLoad();
	});
const goOn = () => {
	if (interrupted)
		throw new Error('interrupted');
};

async function main() {
	const closed = all.filter((c) => only.test(c.name)), opened = open.filter((c) => only.test(c.name)), chosen = [...closed, ...opened];
	const withMemory = only.test('memory'); // its loaded state is seen while `endpoints` runs
	if (!chosen.length && !withMemory) {
		console.log(`ONLY matches none of: ${[...all, ...open].map((c) => c.name).join(' ')} memory`);
		return 2;
	}
	const wants = (need) => chosen.some((c) => c.needs === need);
	const estimate = 30 + (wants('million') ? 60 : 0) + (wants('apache') ? 10 : 0) + chosen.length * rounds * (seconds + 3) + (withMemory ? 30 : 0);
	say(`${chosen.length} candidates, ${rounds} rounds of ${seconds} s each: about ${Math.ceil(estimate / 60)} minutes`);
	const load = os.loadavg()[0];
	if (load > 1)
		say(`this machine is busy already (load ${load.toFixed(1)}): expect a wide spread`);

	// --- everything starts
	const house = await House.open(path.join(folder, 'main'), { domains: 100, apache: wants('apache') });
	houses.push(house);
	house.trail = new Trail(house.stack);
	goOn();
	const listed = await fetch(`${house.url}/api/v1/domains?cursor=${house.accounts[0].cursors[0]}`, { headers: { Authorization: `Bearer ${house.tokens[0].text}` } });
	const bytes = (await listed.text()).length;
	await house.startPeers({ bytes, node: chosen.some((c) => c.needs === 'node') });
	say(`the product and its peers run in ${house.stack.dir}; a list of 20 has ${bytes} bytes`);
	const state = { before: withMemory ? await idle(house) : undefined, peers: {} };
	let million;
	if (wants('million')) {
		say('filling a second stack with 1,000,000 domains');
		million = await House.open(path.join(folder, 'million'), { domains: 1000 });
		houses.push(million);
		million.trail = new Trail(million.stack);
	}
	goOn();

	// --- is the work done?
	const proofs = {
		nginx: () => verify(house, house.trail, `${house.url}/api/v1/domains`, true),
		apache: () => verify(house, house.trail, `${house.apacheUrl}/api/v1/domains`, true),
		million: () => verify(million, million.trail, `${million.url}/api/v1/domains`, true),
		php: () => verify(house, house.trail, `${house.url}/bench/php/domains`, false),
		node: () => verify(house, house.trail, `${house.nodeUrl}/domains`, false),
	};
	const results = Object.fromEntries(chosen.map((c) => [c.name, { rounds: [] }]));
	for (const proof of new Set(chosen.map((c) => c.proof).filter(Boolean))) {
		try {
			say(`${proof} does the work (a list of ${await proofs[proof]()} bytes)`);
		} catch (e) {
			say(`${proof} does NOT do the work and is not measured: ${e.message}`);
			for (const c of chosen.filter((x) => x.proof === proof))
				results[c.name].invalid = `does not do the work: ${e.message.split('\n')[0]}`;
		}
		goOn();
	}

	// --- rounds
	for (const c of chosen) {
		c.house = c.needs === 'million' ? million : house;
		c.base = { apache: house.apacheUrl, node: house.nodeUrl, million: million?.url }[c.needs] ?? house.url;
		c.file = path.join(house.dir, `${c.name}.requests`);
		fs.writeFileSync(c.file, c.requests(c.house).map((r) => `${r}\0`).join(''));
	}
	const sample = (c) => {
		const now = memory(house), roles = connections(house);
		if (c.name === 'endpoints')
			state.loaded = { ...now, connections: roles };
		if (now.peers[c.name])
			state.peers[c.name] = { kb: now.peers[c.name], connections: roles.bench ?? 0 };
		say(`  ${ours(roles)} connections of the binaries, ${roles.bench ?? 0} of the peers`);
	};
	const round = async (list, number, options) => {
		for (const c of list.filter((x) => !results[x.name].invalid)) {
			const r = await measure(c, Math.min(seconds, c.longest_s ?? seconds), { ...options, sample: number === 1 && c.sample ? sample : undefined });
			goOn();
			results[c.name].rounds.push(r);
			say(`round ${number}  ${c.name.padEnd(12)} ${options.open ? '' : `${Math.round(r.rps).toLocaleString('en').padStart(8)}/s `} p50 ${(r.p50_us / 1000).toFixed(2)} p99 ${(r.p99_us / 1000).toFixed(1)} ms${r.invalid ? `  INVALID: ${r.invalid}` : ''}`);
		}
	};
	for (let n = 1; n <= rounds; n++)
		await round(closed, n, { warm: n === 1 && !quick ? 3 : 1 });
	for (let n = 1; n <= rounds; n++)
		await round(opened, n, { open: true });
	if (withMemory) {
		million?.stop(); // its binaries share memory with these, which would look less then
		state.after = await idle(house);
	}

	// --- what came of it
	for (const c of chosen)
		if (results[c.name].rounds.length)
			Object.assign(results[c.name], summary(results[c.name].rounds));
	const of = (name) => (results[name]?.rps && !results[name].invalid ? results[name] : undefined);
	const machine = { cores: os.cpus().length, cpu: os.cpus()[0]?.model, load, kernel: os.release(), ...versions() };
	const met = targets(of, withMemory && state);
	console.log(`\n${machine.cores} cores (load generator included), Linux ${machine.kernel}, ${machine.os}, PostgreSQL ${machine.postgresql}, nginx ${machine.nginx}, Apache ${machine.apache}, libfcgi ${machine.libfcgi}, PHP ${machine.php}, Node ${machine.node}, wrk ${machine.wrk}`);
	console.log(`Medians of ${rounds} × ${seconds} s, interleaved; ${CONNECTIONS} connections; synchronous_commit=on, shared_buffers=${SHARED_BUFFERS}; ${(ACCOUNTS * 100).toLocaleString('en')} domains of ${ACCOUNTS.toLocaleString('en')} accounts, ${ACCOUNTS.toLocaleString('en')} tokens unless said.\n`);
	if (closed.length)
		console.log(`${closedTable(closed, results, of)}\n`);
	if (opened.length)
		console.log(`${openTable(opened, results, of)}\n`);
	if (withMemory)
		console.log(`${memoryTable(state)}\n`);
	console.log(targetsTable(met));
	if (json)
		fs.writeFileSync(json, `${JSON.stringify({ machine, options: { rounds, seconds, connections: CONNECTIONS }, results, memory: state, targets: met }, null, '\t')}\n`);
	const invalid = chosen.filter((c) => results[c.name].invalid);
	if (invalid.length)
		console.log(`\nINVALID: ${invalid.map((c) => c.name).join(', ')}`);
	return invalid.length ? 1 : 0;
}

let code = 1;
try {
	code = await main();
} catch (e) {
	console.error(interrupted ? 'bench: stopped before the end' : `bench: ${e.stack}`);
} finally {
	for (const house of houses)
		house.stop();
}
process.exit(code);
