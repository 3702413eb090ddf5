// What the command shows and takes: tables, values, waiting, times, switches, tokens by name; on a stack with posternd.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { startStack, until } from './../api/harness.mjs';

let s;
const ok = (...args) => {
	const done = s.cli(args);
	assert.equal(done.status, 0, `${args.join(' ')}: ${done.stderr}`);
	return done.stdout;
};
// The same on a terminal of so many columns; what it shows, lines as they are.
function terminal(columns, line, env = {}) {
	const command = `stty cols ${columns}; exec ${path.join(s.dir, 'postern')} ${line}`;
	const done = spawnSync('script', ['-qec', command, '/dev/null'], { encoding: 'utf8', env: { PATH: process.env.PATH, TERM: 'xterm', ...env } });
	return done.stdout.replaceAll('\r\n', '\n');
}
const plain = (text) => text.replace(/\x1b\[[0-9;]*[mK]/g, '');

before(async () => {
	s = await startStack('cli-answers', { WORKER: 'yes', SITES: 'yes', DOMAIN_PROOF: 'off' });
	for (const name of ['kim', 'lee'])
		ok('account', 'create', '--username', name, '--name', `${name} 株式会社 with a name that is much longer than forty columns of a table`, '--wait');
	ok('user', 'create', '--username', 'lee', '--account', 'lee');
	ok('domain', 'create', '--domain', 'kim.example', '--account', 'kim', '--wait');
});
after(() => s?.stop());

test('a table is whole where nobody looks at it, and on a terminal fits the width, cut with a mark', () => {
	const piped = ok('account', 'list');
	assert.match(piped, /kim 株式会社 with a name that is much longer than forty columns of a table {2}/);
	assert.match(piped, /UPDATED AT/);
	assert.doesNotMatch(piped, /…|\x1b/);
	for (const columns of [40, 80, 200]) {
		const shown = plain(terminal(columns, 'account list --columns id,username,name,home,created_at')).split('\n').filter((line) => /^\d|^ID/.test(line));
		assert.ok(shown.length >= 3);
		for (const line of shown) {
			const width = [...line].reduce((sum, c) => sum + (/[\u3000-\u9fff]/.test(c) ? 2 : 1), 0);
			assert.ok(width <= columns, `${columns}: ${width}: ${line}`);
		}
		if (columns < 200)
			assert.match(shown[1], /…/);
	}
	assert.match(terminal(80, 'account list'), /\d+ more columns: --columns chooses, --json shows all/);
});

test('no cell is blank, switches are yes and no, events have their time', () => {
	const [head, row] = ok('domain', 'list', '--columns', 'domain,mail_enabled,last_error,document_root').split('\n');
	assert.match(head, /^DOMAIN +MAIL ENABLED/);
	assert.match(row, /^kim\.example +yes +- /);
	assert.match(ok('event', 'list', '--per-page', '2'), /^ID +SEQ +TYPE +TIME /);
	assert.match(terminal(120, 'event list --per-page 2'), /^ID .* TIME /m);
});

test('status has a colour on a terminal, unless NO_COLOR is set, and nowhere else', () => {
	assert.match(terminal(100, 'account list --columns status'), /\x1b\[32mactive\x1b\[0m/);
	assert.doesNotMatch(terminal(100, 'account list --columns status', { NO_COLOR: '1' }), /\x1b\[3/);
	assert.doesNotMatch(terminal(100, 'account list --columns status', { TERM: 'dumb' }), /\x1b\[3/);
	assert.doesNotMatch(ok('account', 'list'), /\x1b/);
});

test('--columns chooses in JSON, too, of lists and of objects', () => {
	const { data, total } = JSON.parse(ok('account', 'list', '--columns', 'username,status', '--json'));
	assert.equal(total, data.length);
	for (const row of data)
		assert.deepEqual(Object.keys(row), ['username', 'status']);
	assert.deepEqual(JSON.parse(ok('account', 'get', 'kim', '--json', '--columns', 'username')), { username: 'kim' });
	assert.equal(ok('account', 'get', 'kim', '--columns', 'username'), 'username  kim\n');
	const wrong = s.cli(['account', 'get', 'kim', '--columns', 'usernam', '--json']);
	assert.equal(wrong.status, 2);
	assert.match(JSON.parse(wrong.stderr).error.message, /did you mean "username"/);
});

test('--value-only gives a value, a secret or columns without their names', () => {
	assert.equal(ok('setting', 'get', 'job_days', '--value-only'), `${s.cliJson(['setting', 'get', 'job_days']).value}\n`);
	assert.match(ok('token', 'create', '--name', 'bare', '--scopes', 'domains:read', '--value-only', '--quiet'), /^pst_[0-9A-Za-z]{8}_[0-9A-Za-z]{38}\n$/);
	assert.equal(ok('account', 'list', '--columns', 'username,status', '--value-only', '--search', 'kim'), 'kim\tactive\n');
	assert.equal(s.cli(['account', 'list', '--value-only', '--json']).status, 2);
});

test('the operator\'s token is the one administrator\'s; where there are several they are named', () => {
	assert.equal(s.cliJson(['token', 'create', '--name', 'mine', '--scopes', 'domains:read']).owner, 'admin');
	ok('user', 'create', '--username', 'second', '--role', 'admin');
	const { status, stderr } = s.cli(['token', 'create', '--name', 'whose', '--scopes', 'domains:read']);
	assert.equal(status, 7);
	assert.match(stderr, /owner: is required.*administrators are: admin, second/);
	ok('user', 'delete', 'second');
});

test('a token is named by its name, with its owner where several have it', () => {
	const [one, other] = [s.mint({ name: 'twice' }), s.mint({ name: 'twice', owner: 'lee', scopes: ['domains:read'] })];
	const alone = s.mint({ name: 'alone' });
	assert.equal(s.cliJson(['token', 'get', 'alone']).id, alone.id);
	assert.equal(s.cliJson(['token', 'get', 'lee/twice']).id, other.id);
	const several = s.cli(['token', 'get', 'twice']);
	assert.equal(several.status, 7);
	assert.match(several.stderr, /several tokens: .*admin\/twice.*Give OWNER\/NAME/s);
	assert.equal(s.cli(['token', 'get', 'nobody']).status, 3);
	assert.deepEqual(s.cliJson(['token', 'revoke', 'admin/twice', 'alone']).revoked.sort(), [one.id, alone.id].sort());
	assert.equal(s.cliJson(['token', 'get', 'twice']).id, other.id, 'the one that is left of them');
	assert.equal(s.cliJson(['explanation', 'run', '--method', 'GET', '--path', '/api/v1/domains', '--token', 'lee/twice']).allowed, true);
});

test('times and switches are taken as people say them', () => {
	const all = s.cliJson(['audit', 'list', '--since', '1h']).data.length;
	assert.ok(all > 0);
	for (const since of ['yesterday', 'today', '30m', '7d', '2026-06-01', '2026-06-01 08:30', '2026-06-01T00:00:00Z'])
		assert.equal(s.cli(['audit', 'list', '--since', since]).status, 0, since);
	assert.equal(s.cliJson(['audit', 'list', '--since', 'now']).data.length, 0);
	assert.equal(s.cliJson(['account', 'list', '--updated-since', '1h']).data.length >= 2, true);
	const wrong = s.cli(['audit', 'list', '--since', 'lately']);
	assert.equal(wrong.status, 7);
	assert.match(wrong.stderr, /"lately" is no time.*1h, 30m or 7d/s);
	for (const [word, is] of [['no', false], ['on', true], ['off', false], ['YES', true]])
		assert.equal(s.cliJson(['domain', 'update', 'kim.example', '--mail-enabled', word]).mail_enabled, is, word);
	assert.equal(s.cliJson(['domain', 'list', '--mail-enabled', 'yes']).data.length >= 1, true);
	const at = Date.parse(s.cliJson(['token', 'create', '--name', 'short', '--owner', 'admin', '--scopes', 'domains:read', '--expires-at', '90d']).expires_at);
	assert.ok(Math.abs(at - Date.now() - 90 * 86400e3) < 60e3);
});

test('a message is said once, in the words of the command', () => {
	const { status, stderr } = s.cli(['domain', 'update', 'kim.example', '--type', 'nothing']);
	assert.equal(status, 7);
	assert.equal(stderr.match(/must be one of/g).length, 1);
	assert.doesNotMatch(stderr, /send the request/);
	const deletes = s.cli(['account', 'delete', 'kim', '--confirm', 'kim']);
	assert.equal(deletes.status, 4);
	assert.match(deletes.stderr, /--cascade/);
	assert.doesNotMatch(deletes.stderr, /cascade=true/);
	assert.equal(s.cli(['setting', 'update']).status, 2);
});

test('job retry --wait, and every command that starts a job, waits for its end and says little', async () => {
	s.replaceAction('website.apply', 'while :; do sleep 0.1; done');
	ok('website', 'update', 'kim.example', '--aliases', 'www.kim.example');
	const job = s.cliJson(['website', 'get', 'kim.example']).job_id;
	await until(() => s.cliJson(['job', 'get', job]).status === 'running', 'it runs');
	assert.equal(JSON.parse(ok('--json', 'job', 'cancel', job, '--wait')).status, 'cancelled', 'it has ended when the command does');
	s.replaceAction('website.apply', 'sleep 1; exit 0');
	const retried = s.cli(['--json', 'job', 'retry', job, '--wait']);
	assert.equal(retried.status, 0, retried.stderr);
	assert.equal(JSON.parse(retried.stdout).status, 'succeeded');
	assert.ok(retried.stderr.split('\n').length <= 4, retried.stderr);
	assert.doesNotMatch(retried.stderr, /\r/);
	const live = terminal(60, 'website update kim.example --aliases w.kim.example --wait');
	assert.match(live, /\r\x1b\[K(queued|running)/);
	await until(() => s.cliJson(['website', 'get', 'kim.example']).status === 'active', 'it is served');
});

test('objects of the database are completed', () => {
	const words = (...line) => ok('completion', 'words', '--', ...line).trim().split('\n');
	assert.deepEqual(words('domain', 'get', 'kim'), ['kim.example']);
	assert.deepEqual(words('domain', 'create', '--account', 'le'), ['lee']);
	assert.ok(words('token', 'revoke', 'lee/').includes('lee/twice'));
});
