// release-audit: what `make install` put there, tampered with. The stack's programs are those of the installed tree.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { build, root, startStack } from '../api/harness.mjs';

const asRoot = process.getuid() === 0;
let s, dir, token;
const file = (name) => path.join(dir, 'usr/local', name);

before(async () => {
	dir = fs.mkdtempSync('/var/tmp/postern-release-'); // where the servers' user can read, whatever /tmp is
	fs.chmodSync(dir, 0o755);
	const env = { ...process.env, MAKEFLAGS: '', POSTERN_BUILD: '' };
	const made = spawnSync('make', ['-o', 'all', 'install', `DESTDIR=${dir}`, `BUILD=${build}`], { cwd: root, env, encoding: 'utf8' });
	assert.equal(made.status, 0, made.stderr);
	// the installed tree, as the stack expects a build
	fs.mkdirSync(path.join(dir, 'build/cli'), { recursive: true });
	for (const [name, to] of [['cgi', 'libexec/postern/cgi'], ['cli/postern', 'bin/postern'], ['web', 'share/postern/web'], ['actions', 'libexec/postern/actions']])
		fs.symlinkSync(file(to), path.join(dir, 'build', name));
	fs.mkdirSync(path.join(dir, 'build/worker'));
	fs.symlinkSync(file('libexec/postern/posternd'), path.join(dir, 'build/worker/posternd'));
	s = await startStack('release', { POSTERN_BUILD: path.join(dir, 'build') });
	token = s.mint({ scopes: ['platform:read'] }).token;
});
after(() => {
	s?.stop();
	fs.rmSync(dir, { recursive: true, force: true });
});

const report = async () => {
	const answer = await s.ask('/api/release-audit', { token });
	assert.equal(answer.status, 200, answer.text);
	return answer.json;
};
const found = async (check) => (await report()).findings.filter((f) => f.check === check).map((f) => [f.object, f.finding]);
// The operator's command says the same, by its exit code too.
const command = () => s.cli(['--json', 'release-audit']);

test('an installation as it was made has no finding, and is told in full', async () => {
	const told = await report();
	assert.deepEqual(told.findings, []);
	assert.equal(told.status, told.unseen.length ? 'incomplete' : 'ok');
	assert.match(told.version, /^\d+\.\d+\.\d+$/);
	assert.match(told.commit ?? '', /^([0-9a-f]{40}(-dirty)?)?$/);
	assert.match(told.built.compiler, /gcc|clang/i);
	assert.match(told.built.flags, /-O\d/);
	for (const name of ['libpq', 'json-c', 'libcrypto', 'libidn2', 'libc']) {
		const library = told.libraries.find((l) => l.name === name);
		assert.match(library.version, /^\d+\.\d+/, name);
		assert.match(library.built_with, /^\d+\.\d+/, name);
		assert.ok(fs.existsSync(library.file), name);
	}
	const listed = fs.readFileSync(file('share/postern/manifest'), 'utf8').trim().split('\n');
	assert.equal(told.files.listed, listed.length);
	assert.ok(listed.length > 100);
	assert.equal(told.migrations.applied, fs.readdirSync(path.join(root, 'sql/migrations')).length);
	assert.equal(told.migrations.shipped, told.migrations.applied);
	assert.ok(told.modes.some((m) => m.path.endsWith('/pepper') && /^0[0-7]{3}$/.test(m.mode)));
	const done = command();
	assert.equal(done.status, JSON.parse(done.stdout).status === 'ok' ? 0 : 1, done.stdout + done.stderr);
});

test('the manifest is one that sha256sum reads', () => {
	const all = fs.readFileSync(file('share/postern/manifest'), 'utf8').replaceAll('  /', `  ${dir}/`);
	const checked = spawnSync('sha256sum', ['-c', '--quiet', '--strict', '-'], { input: all, encoding: 'utf8' });
	assert.equal(checked.status, 0, checked.stdout + checked.stderr);
});

test('a byte changed in an installed program is found and named, by the endpoint and by the command', async () => {
	const program = file('libexec/postern/cgi/domains'), was = fs.readFileSync(program);
	const other = Buffer.from(was);
	other[other.length >> 1] ^= 1;
	fs.writeFileSync(`${program}.new`, other, { mode: 0o755 }); // a program that runs is replaced, not written to
	fs.renameSync(`${program}.new`, program);
	assert.deepEqual(await found('files'), [['/usr/local/libexec/postern/cgi/domains', 'is not as it was installed']]);
	assert.deepEqual((await report()).files.changed, ['/usr/local/libexec/postern/cgi/domains']);
	const done = command();
	assert.equal(done.status, 1);
	assert.equal(JSON.parse(done.stdout).findings[0].object, '/usr/local/libexec/postern/cgi/domains');
	assert.match(s.cli(['release-audit']).stdout, /^FINDING +\/usr\/local\/libexec\/postern\/cgi\/domains is not as it was installed/m);
	fs.writeFileSync(`${program}.new`, was, { mode: 0o755 });
	fs.renameSync(`${program}.new`, program);
	assert.deepEqual(await found('files'), []);
});

test('the program that runs may have been replaced, too', async () => {
	const program = file('libexec/postern/cgi/release-audit'), was = fs.readFileSync(program);
	fs.writeFileSync(`${program}.new`, Buffer.concat([was, Buffer.from('x')]), { mode: 0o755 });
	fs.renameSync(`${program}.new`, program);
	assert.deepEqual((await report()).files.changed, ['/usr/local/libexec/postern/cgi/release-audit']);
	fs.writeFileSync(`${program}.new`, was, { mode: 0o755 });
	fs.renameSync(`${program}.new`, program);
	assert.deepEqual((await report()).files.changed, []);
});

test('files that are missing, unexpected or open to others are named, and so is a manifest that is gone', async () => {
	const page = file('share/man/man1/postern.1'), stray = file('libexec/postern/actions/extra'), sql = file('share/postern/sql/functions/10_gate.sql');
	fs.renameSync(page, `${dir}/kept`);
	fs.writeFileSync(stray, '#!/bin/sh\n');
	fs.chmodSync(sql, 0o666);
	const told = await report();
	assert.deepEqual(told.files.missing, ['/usr/local/share/man/man1/postern.1']);
	assert.deepEqual(told.files.unexpected, ['/usr/local/libexec/postern/actions/extra']);
	assert.deepEqual(told.findings.map((f) => f.object).sort(),
		['/usr/local/libexec/postern/actions/extra', '/usr/local/share/man/man1/postern.1', '/usr/local/share/postern/sql/functions/10_gate.sql']);
	assert.match(told.findings.find((f) => f.object.endsWith('.sql')).finding, /mode 0666/);
	fs.renameSync(`${dir}/kept`, page);
	fs.rmSync(stray);
	fs.chmodSync(sql, 0o644);
	fs.renameSync(file('share/postern/manifest'), `${dir}/kept`);
	assert.deepEqual(await found('files'), [['/usr/local/share/postern/manifest', 'is missing']]);
	assert.notEqual((await report()).status, 'ok');
	fs.writeFileSync(file('share/postern/manifest'), 'rubbish\n');
	assert.deepEqual(await found('files'), [['/usr/local/share/postern/manifest', 'cannot be read as a manifest']]);
	fs.renameSync(`${dir}/kept`, file('share/postern/manifest'));
	assert.deepEqual(await found('files'), []);
});

test('a widened mode of the pepper or the settings is found and named; what cannot be seen is said', async () => {
	const pepper = path.join(s.dir, 'keys/pepper'), settings = path.join(s.dir, 'postern.conf'), key = path.join(s.dir, 'worker/key');
	const modes = [pepper, settings].map((f) => fs.statSync(f).mode & 0o7777);
	fs.chmodSync(pepper, 0o644);
	fs.chmodSync(settings, 0o666);
	const told = await found('modes');
	assert.deepEqual(told.map(([object]) => object).sort(), [pepper, settings].sort());
	assert.match(told.find(([object]) => object === pepper)[1], /may be read by others .*mode 0644/);
	assert.match(told.find(([object]) => object === settings)[1], /may be changed by others .*mode 0666/);
	[pepper, settings].forEach((f, i) => fs.chmodSync(f, modes[i]));
	const action = path.join(s.dir, 'actions/website.apply'); // which posternd would run as root
	fs.mkdirSync(path.dirname(action), { recursive: true });
	fs.writeFileSync(action, '#!/bin/sh\n');
	fs.chmodSync(action, 0o777);
	assert.deepEqual(await found('modes'), [[action, 'may be changed by others than its owner (mode 0777)']]);
	fs.rmSync(action);
	assert.deepEqual(await found('modes'), []);
	if (asRoot) { // else the endpoint owns the folder
		const folder = path.dirname(key), owner = fs.statSync(folder);
		fs.chownSync(folder, 0, 0);
		fs.chmodSync(folder, 0o700);
		const seen = await report();
		fs.chownSync(folder, owner.uid, owner.gid);
		fs.chmodSync(folder, owner.mode & 0o7777);
		assert.ok(seen.unseen.some((u) => u.object === key && /denied/.test(u.why)), JSON.stringify(seen.unseen));
		assert.equal(seen.status, 'incomplete');
	}
});

test('an extra grant is found and named: an endpoint\'s, a stranger\'s, everybody\'s; so is one that is missing', async () => {
	s.psql('CREATE ROLE release_stranger NOLOGIN');
	for (const [give, take, role, what] of [
		['GRANT SELECT ON postern.keys TO postern_domains', 'REVOKE SELECT ON postern.keys FROM postern_domains', 'postern_domains', /more than it should: privileges on postern\.keys/],
		['GRANT SELECT ON postern.tokens TO release_stranger', 'REVOKE SELECT ON postern.tokens FROM release_stranger', 'release_stranger', /more than it should: SELECT on postern\.tokens/],
		['GRANT SELECT (digest) ON postern.keys TO postern_tenant', 'REVOKE SELECT (digest) ON postern.keys FROM postern_tenant', 'postern_tenant', /digests in postern\.keys/],
		['GRANT EXECUTE ON FUNCTION gate.compatible_from() TO PUBLIC', 'REVOKE EXECUTE ON FUNCTION gate.compatible_from() FROM PUBLIC', 'PUBLIC', /EXECUTE on gate\.compatible_from\(\)/],
		['ALTER ROLE postern_tenant BYPASSRLS', 'ALTER ROLE postern_tenant NOBYPASSRLS', 'postern_tenant', /BYPASSRLS/],
		['REVOKE EXECUTE ON FUNCTION gate.settle() FROM postern_users', 'GRANT EXECUTE ON FUNCTION gate.settle() TO postern_users', 'postern_users', /lacks: EXECUTE on gate\.settle\(\)/]]) {
		s.psql(give);
		const told = await found('grants');
		const named = told.filter(([object]) => object === role);
		assert.equal(named.length, 1, `${give}: ${JSON.stringify(told)}`);
		assert.match(named[0][1], what);
		if (role !== 'PUBLIC') // that is also everybody else's
			assert.equal(told.length, 1, JSON.stringify(told));
		s.psql(take);
	}
	assert.deepEqual(await found('grants'), []);
	s.psql('DROP ROLE release_stranger');
});

test('a migration that is not what was applied, or was applied and is not shipped, is named', async () => {
	s.psql("INSERT INTO postern_schema.migrations (number, name, sha256) VALUES (9999, '9999_later.sql', 'x');"
		+ "UPDATE postern_schema.migrations SET sha256 = 'y' || sha256 WHERE number = 4");
	assert.deepEqual(await found('migrations'), [['0004_domains.sql', 'is not what was applied to this database'], ['9999_later.sql', 'was applied to this database and is not shipped']]);
	s.psql('DELETE FROM postern_schema.migrations WHERE number = 9999; UPDATE postern_schema.migrations SET sha256 = substr(sha256, 2) WHERE number = 4');
	assert.deepEqual(await found('migrations'), []);
});

test('it is for administrators: nobody else is told where things are', async () => {
	const t = s.tenant();
	for (const fields of [{ owner: t.user.username, scopes: ['*'] }, { scopes: ['*'], account: t.username }, { scopes: ['domains:read'] }])
		assert.equal((await s.ask('/api/release-audit', { token: s.mint(fields).token })).status, 403);
});
