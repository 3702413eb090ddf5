// That bench-check can fail: the comparison as the command does it, on made-up counts.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { root } from '../api/harness.mjs';
import { median } from './check-compare.mjs';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'bench-check-'));
after(() => fs.rmSync(dir, { recursive: true }));

const taken = (c, sql) => ({ tolerance: 0.02, tools: { libc6: '1' }, counts: { 'list-cursor': { c, sql } } });
function check(counts, baseline, ...more) {
	const files = { counts, baseline }, args = [];
	for (const [name, content] of Object.entries(files)) {
		const file = path.join(dir, `${name}.json`);
		fs.rmSync(file, { force: true });
		if (content)
			fs.writeFileSync(file, JSON.stringify(content));
		args.push(`--${name}`, file);
	}
	return spawnSync(process.execPath, [path.join(root, 'tests/bench/check.mjs'), ...args, ...more], { encoding: 'utf8' });
}

test('equal counts and such within the tolerance pass', () => {
	for (const now of [taken(100000, 200000), taken(101900, 196100)]) {
		const done = check(now, taken(100000, 200000));
		assert.equal(done.status, 0, done.stderr);
		assert.equal(done.stderr, '');
		assert.doesNotMatch(done.stdout, /UPDATE/);
	}
});

test('a count above the tolerance fails, and the message has scenario, both counts, where to look and how to accept it', () => {
	const done = check(taken(100000, 206000), taken(100000, 200000));
	assert.equal(done.status, 1);
	for (const part of ['list-cursor (sql)', '206 000', '200 000', '+3.0 %', 'list-cursor.sql.out', 'callgrind_annotate', 'make bench-check UPDATE=1'])
		assert.ok(done.stderr.includes(part), `${part} in: ${done.stderr}`);
	assert.doesNotMatch(done.stderr, /list-cursor \(c\)|libc6/);
});

test('a failure says which tools differ from the baseline\'s', () => {
	const done = check({ ...taken(200000, 200000), tools: { libc6: '2' } }, taken(100000, 200000));
	assert.equal(done.status, 1);
	assert.match(done.stderr, /libc6 is 2, the baseline was counted with 1/);
});

test('a gain passes, with the hint to keep it', () => {
	const done = check(taken(90000, 200000), taken(100000, 200000));
	assert.equal(done.status, 0);
	assert.match(done.stdout, /list-cursor \(c\) takes -10\.0 %.*UPDATE=1/);
});

test('a scenario that only one of the two knows fails, and so does a missing baseline', () => {
	const more = taken(1, 1);
	more.counts.other = { c: 1, sql: 1 };
	assert.match(check(more, taken(1, 1)).stderr, /other \(c\): has no baseline/);
	assert.match(check(taken(1, 1), more).stderr, /other \(sql\): is in the baseline but was not counted/);
	const done = check(taken(1, 1), null);
	assert.equal(done.status, 1);
	assert.match(done.stderr, /list-cursor \(c\): has no baseline[^]*UPDATE=1/);
});

test('an update accepts what was counted', () => {
	const now = taken(300000, 1);
	assert.equal(check(now, taken(100000, 1), '--update').status, 0);
	assert.deepEqual(JSON.parse(fs.readFileSync(path.join(dir, 'baseline.json'), 'utf8')), now);
});

test('the median is one of the counts', () => {
	assert.equal(median([3, 1, 2]), 2);
	assert.equal(median([10, 9, 100]), 10);
});
