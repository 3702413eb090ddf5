// A new resource is one file in cgi/ and one migration: added to a copy of the tree, nothing else edited.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { build, root, startStack } from './harness.mjs';

const copy = path.join(root, build, 'test/toy-tree');
const toy = path.join(root, 'tests/fixtures/toy');
let s;

before(async () => {
	fs.rmSync(copy, { recursive: true, force: true });
	fs.mkdirSync(copy, { recursive: true });
	for (const part of ['Makefile', 'cgi', 'cli', 'lib', 'worker', 'sql', 'nginx', 'apache', 'scripts', 'docs', 'web', 'tests/unit', 'tests/lint'])
		fs.cpSync(path.join(root, part), path.join(copy, part), { recursive: true });
	fs.copyFileSync(path.join(toy, 'tin-toys.c'), path.join(copy, 'cgi/tin-toys.c'));
	fs.copyFileSync(path.join(toy, '9000_toys.sql'), path.join(copy, 'sql/migrations/9000_toys.sql'));
	execFileSync('make', ['-C', copy, '-s', 'all', 'BUILD=build'], { stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, MAKEFLAGS: '' } });
	s = await startStack('toy', { POSTERN_BUILD: path.join(copy, 'build') }, copy);
});
after(() => {
	s?.stop();
	fs.rmSync(copy, { recursive: true, force: true });
});

test('its routes, scopes, filters, CLI commands and tenants work without another edit', async () => {
	const a = s.tenant(), b = s.tenant();
	const token = s.mint({ owner: a.user.username, scopes: ['tin-toys:*'] }).token;
	const other = s.mint({ owner: b.user.username, scopes: ['tin-toys:*'] }).token;
	const made = await s.ask('/api/v1/tin-toys', { token, method: 'POST', body: { name: 'train', pieces: 12 } });
	assert.equal(made.status, 201, made.text);
	assert.equal((await s.ask('/api/tin-toys?pieces=12', { token })).json.total, 1);
	assert.equal((await s.ask('/api/tin-toys?pieces=13', { token })).json.total, 0);
	assert.equal((await s.ask('/api/tin-toys/train', { token: other })).status, 404);
	assert.equal((await s.ask('/api/v1/tin-toys.php?id=train', { token, method: 'PATCH', body: { pieces: 0 } })).status, 422);
	assert.equal((await s.ask('/api/v1/tin-toys.php?id=train', { token, method: 'PATCH', body: { pieces: 13 } })).json.data.pieces, 13);
	assert.equal(s.cliJson(['tin-toy', 'get', 'train']).pieces, 13);
	assert.equal((await s.ask('/api/tin-toys/train', { token, method: 'DELETE' })).status, 204);
	assert.deepEqual(s.sql("SELECT verb, status FROM postern.audit WHERE resource = 'toy' AND verb IN ('create', 'update', 'delete') ORDER BY at"),
		[{ verb: 'create', status: 201 }, { verb: 'update', status: 422 }, { verb: 'update', status: 200 }, { verb: 'delete', status: 204 }]);
});
