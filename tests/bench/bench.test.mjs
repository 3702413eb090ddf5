// `make bench` itself: a short form of it, so that it works on the day that somebody wants figures. What it measures here says
// nothing; that it holds each candidate to its work, and fails where one does not do it, does.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { build, root } from '../api/harness.mjs';

const bench = (only, out) => new Promise((resolve) => {
	const env = { ...process.env, MAKEFLAGS: '', QUICK: '1', BENCH_SECONDS: '1', ONLY: only, BENCH_JSON: out, RUN: `${out}.d` };
	const child = spawn('make', ['-s', '-o', 'all', 'bench', `BUILD=${build}`, 'SECONDS=1'], { cwd: root, env });
	let text = '';
	for (const stream of [child.stdout, child.stderr])
		stream.on('data', (data) => { text += data; });
	child.on('close', (status) => resolve({ status, text, json: fs.existsSync(out) ? JSON.parse(fs.readFileSync(out, 'utf8')) : null }));
});

test('make bench measures what does its work, at its closed and open loops and in memory', async () => {
	const only = 'floor|cursor|create|endpoints|403|php|node|memory|open-cursor', dir = path.resolve(root, build, 'test');
	fs.mkdirSync(dir, { recursive: true });
	const out = path.join(dir, 'bench.json');
	fs.rmSync(out, { force: true });
	const { status, text, json } = await bench(only, out);
	assert.equal(status, 0, text);
	assert.deepEqual(Object.keys(json.results).sort(), only.split('|').filter((name) => name !== 'memory').sort());
	for (const [name, { rps, p50, invalid }] of Object.entries(json.results))
		assert.ok(rps > 0 && p50 > 0 && !invalid, `${name}: ${JSON.stringify(json.results[name])}`);
	const endpoints = fs.readdirSync(path.resolve(root, build, 'cgi')).sort();
	for (const state of ['before', 'after'])
		assert.deepEqual(Object.keys(json.memory[state].binaries).sort(), endpoints, state);
	assert.ok(json.targets.some((t) => t.value > 0));
});
