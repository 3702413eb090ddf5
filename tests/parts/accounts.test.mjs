// Accounts as real Unix users: made by useradd, adopted, kept from logging in, removed. In a mount namespace with an /etc of its
// own, so that this machine's users stay as they are; that takes root.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { build, root } from '../api/harness.mjs';

const asRoot = process.getuid() === 0;
const skip = asRoot ? false : 'not run: users can be made by root only';
const folder = path.join(root, build, 'test/unix-users');

before(() => {
	fs.rmSync(folder, { recursive: true, force: true });
	for (const part of ['upper', 'work', 'home'])
		fs.mkdirSync(path.join(folder, part), { recursive: true });
});
after(() => fs.rmSync(folder, { recursive: true, force: true }));

// Runs steps one after the other over the /etc that earlier ones left: actions by kind, or commands as lists of words.
function inside(unixUsers, ...steps) {
	const conf = path.join(folder, 'postern.conf');
	fs.writeFileSync(conf, `unix_users = ${unixUsers}\nhome_dir = ${folder}/home\n`);
	return steps.map((step) => {
		const action = !Array.isArray(step);
		const argv = action ? [path.join(root, build, 'actions', step.kind)] : step;
		const done = spawnSync(path.join(root, 'scripts/own-mounts'), ['sh', '-ec',
			'mount -t overlay overlay -o "lowerdir=/etc,upperdir=$0/upper,workdir=$0/work" /etc; exec "$@"', folder, ...argv],
		{ input: action ? JSON.stringify({ job: 'x', kind: step.kind, attempt: 1, data: step.data }) : '', encoding: 'utf8', env: { ...process.env, POSTERN_CONFIG: conf } });
		return { status: done.status, out: done.stdout, err: done.stderr, error: /"error":"([^"]*)"/.exec(done.stdout)?.[1] };
	});
}
// With a uid that Postern gave, as of an account that it made.
const data = (username, more = {}) => ({ id: 1, username, home: path.join(folder, 'home', username), uid: 29101, ...more });
const adopted = (username) => ({ username, home: path.join(folder, 'home', username), adopt: true });
const expire = (line) => line.split(':')[7];

test('create makes the user with its home, once; suspending keeps it from logging in; deleting puts the home away for root', { skip }, () => {
	const one = data('unix-t1');
	const [made, again, passwd, suspended, shadow, unsuspended, free] = inside('create', { kind: 'account.create', data: one }, { kind: 'account.create', data: one },
		['getent', 'passwd', 'unix-t1'], { kind: 'account.suspend', data: one }, ['getent', 'shadow', 'unix-t1'], { kind: 'account.unsuspend', data: one }, ['getent', 'shadow', 'unix-t1']);
	assert.deepEqual([made.status, again.status, suspended.status, unsuspended.status], [0, 0, 0, 0], made.out + made.err + suspended.out);
	const [name, , uid, gid, , home, shell] = passwd.out.trim().split(':');
	assert.deepEqual([name, home, shell], ['unix-t1', one.home, '/usr/sbin/nologin']);
	assert.deepEqual([uid, gid], ['29101', '29101']);
	const info = fs.statSync(one.home);
	assert.deepEqual([info.uid, info.mode & 0o777], [29101, 0o710]);
	assert.equal(expire(shadow.out.trim()), '1', 'expired');
	assert.equal(expire(free.out.trim()), '');
	fs.writeFileSync(path.join(one.home, 'letter'), 'dear');
	const [gone, missing, twice] = inside('create', { kind: 'account.delete', data: one }, ['getent', 'passwd', 'unix-t1'], { kind: 'account.delete', data: one });
	assert.deepEqual([gone.status, missing.status, twice.status], [0, 2, 0], gone.out);
	const kept = path.join(folder, 'home/.deleted/1-unix-t1');
	assert.equal(fs.existsSync(one.home), false);
	assert.equal(fs.readFileSync(path.join(kept, 'letter'), 'utf8'), 'dear');
	assert.deepEqual([fs.statSync(kept).uid, fs.statSync(kept).mode & 0o777], [0, 0o700]);
	const [purged] = inside('create', { kind: 'account.delete', data: { ...one, purge: true } });
	assert.equal(purged.status, 0, purged.out);
	assert.equal(fs.existsSync(kept), false);
});

test('adopt takes a user that exists; suspending keeps it from logging in, too; deleting leaves it to the machine as it was', { skip }, () => {
	const two = adopted('unix-t2');
	const [refused] = inside('adopt', { kind: 'account.create', data: two });
	assert.equal(refused.status, 1);
	assert.match(refused.error, /no Unix user unix-t2 to adopt; create it/);
	const [, taken, suspended, shadow, unsuspended, free, deleted, still] = inside('adopt', ['useradd', '--create-home', '--home-dir', two.home, 'unix-t2'],
		{ kind: 'account.create', data: two }, { kind: 'account.suspend', data: two }, ['getent', 'shadow', 'unix-t2'],
		{ kind: 'account.unsuspend', data: two }, ['getent', 'shadow', 'unix-t2'], { kind: 'account.delete', data: two }, ['getent', 'passwd', 'unix-t2']);
	assert.deepEqual([taken.status, suspended.status, unsuspended.status, deleted.status, still.status], [0, 0, 0, 0, 0], taken.out);
	assert.deepEqual([expire(shadow.out.trim()), expire(free.out.trim())], ['1', '']);
	assert.ok(fs.existsSync(two.home));
});

test('root and the system\'s users are nobody\'s account', { skip }, () => {
	for (const username of ['root', 'daemon', 'nobody']) {
		const [made, taken, remove] = inside('create', { kind: 'account.create', data: data(username) }, { kind: 'account.create', data: adopted(username) },
			{ kind: 'account.delete', data: { ...adopted(username), purge: true } });
		assert.match(made.error, /there is a Unix user .* already/);
		for (const refused of [taken, remove]) {
			assert.equal(refused.status, 1, username);
			assert.match(refused.error, /belongs to the system/);
		}
	}
});

test('a purge does not leave the home: neither by a link in its place, nor a folder at the root', { skip }, () => {
	const three = data('unix-t3'), other = path.join(folder, 'other');
	fs.mkdirSync(other);
	fs.writeFileSync(path.join(other, 'kept'), 'x');
	fs.symlinkSync(other, three.home);
	const [link] = inside('none', { kind: 'account.delete', data: { ...three, purge: true } });
	assert.equal(link.status, 0, link.out);
	assert.ok(fs.existsSync(path.join(other, 'kept')));
	const [top] = inside('none', { kind: 'account.delete', data: { username: 'unix-t3', home: '/etc', purge: true } });
	assert.match(top.error, /the home folder \/etc is none of this account/);
});
