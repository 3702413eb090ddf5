// Usage: what posternd measures of an account is what is there, against what its plan allows; logs are counted once, over rotations.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { startStack, until } from '../api/harness.mjs';

let s, logs;

before(async () => {
	s = await startStack('usage', { WORKER: 'no' });
	logs = path.join(s.dir, 'log/sites');
	fs.mkdirSync(logs, { recursive: true });
	fs.appendFileSync(path.join(s.dir, 'postern.conf'), `usage_logs = "${logs}/%d.access.log"\nusage_every_h = 6\n`);
	s.startWorker();
});
after(() => s?.stop());

async function tenant(fields = {}) {
	const t = s.tenant();
	await until(async () => (await s.ask(`/api/accounts/${t.username}`)).json.status === 'active', 'the account');
	if (Object.keys(fields).length)
		assert.equal((await s.ask(`/api/accounts/${t.username}`, { method: 'PATCH', body: fields })).status, 200);
	t.token = s.mint({ owner: t.user.username, scopes: ['usage:read'] }).token;
	return t;
}
const show = async (t) => (await s.ask(`/api/usage/${t.username}`, { token: t.token })).json;
// posternd's clock is helped: the account is an hour old, and its turn has come.
async function measured(t) {
	const job = s.psql(`SELECT gate.work(work.clockwork(), ${t.account.id}, 'usage.measure', 'usage', '${t.account.id}')`).trim();
	const ended = await until(async () => { const { json } = await s.ask(`/api/jobs/${job}`); return ['succeeded', 'failed'].includes(json.status) && json; }, 'the measuring');
	assert.equal(ended.status, 'succeeded', ended.error);
	return { ...(await show(t)), log: ended.log ?? '' };
}
const on_disk = (folder) => Number(execFileSync('du', ['-s', '-x', '--block-size=1', folder], { encoding: 'utf8' }).split('\t')[0]);

test('sizes are not known before an account is measured, what is counted is counted when it is asked for; then what it has on disk and in the inventory, beside its plan', async () => {
	const t = await tenant({ max_domains: 1, max_disk_mb: 3, max_databases: 5 });
	const before = await show(t);
	assert.deepEqual([before.computed_at, before.disk_bytes, before.domains, before.transfer, before.exceeded, before.max_domains, before.max_disk_mb], [null, null, 0, null, [], 1, 3]);
	fs.mkdirSync(path.join(t.account.home, 'public_html/deep'), { recursive: true });
	fs.writeFileSync(path.join(t.account.home, 'public_html/deep/file'), Buffer.alloc(2500000, 1));
	fs.symlinkSync('/usr', path.join(t.account.home, 'elsewhere')); // is not followed
	const domain = `${t.username}.example`;
	s.cliJson(['domain', 'create', '--domain', domain, '--account', t.username]);
	s.psql(`INSERT INTO postern.mailboxes (account_id, domain_id, address, password, quota_mb, status)
		SELECT account_id, id, x || '@' || domain, '{BLF-CRYPT}$2b$10$' || repeat('x', 53), 1, 'active' FROM postern.domains, unnest('{a,b}'::text[]) x WHERE domain = '${domain}';
		INSERT INTO postern.databases (account_id, engine, name, username, charset, verifier, size_bytes, status)
		SELECT ${t.account.id}, 'postgresql', '${t.username}_' || i, '${t.username}_' || i, 'UTF8', 'x', 100000 * i, 'active' FROM generate_series(1, 3) i;
		INSERT INTO postern.backups (account_id, kind, status, parts, size_bytes) VALUES (${t.account.id}, 'files', 'active', '[]', 77), (${t.account.id}, 'mail', 'pending', NULL, NULL);
		UPDATE postern.accounts SET max_domains = 0 WHERE id = ${t.account.id}`);
	const { id } = s.sql(`SELECT id FROM postern.mailboxes WHERE address = 'a@${domain}'`)[0];
	const mail = path.join(s.dir, 'mail/store', domain, `a-${id}`); // b has had no mail yet
	fs.mkdirSync(mail, { recursive: true });
	fs.writeFileSync(path.join(mail, 'letter'), Buffer.alloc(300000, 1));
	const now = await measured(t), files = on_disk(t.account.home), letters = on_disk(mail);
	assert.ok(files > 2500000 && files < 4000000 && letters > 300000);
	assert.deepEqual([now.files_bytes, now.mail_bytes, now.databases_bytes, now.backups_bytes, now.disk_bytes], [files, letters, 600000, 77, files + letters + 600000]);
	assert.deepEqual([now.domains, now.mailboxes, now.databases, now.cron, now.max_domains, now.max_mailboxes, now.max_databases], [1, 2, 3, 0, 0, 1000, 5]);
	assert.deepEqual([now.users, now.tokens, now.backups, now.forwarders, now.max_backups, now.max_forwarders], [1, 1, 2, 0, 50, 500]);
	assert.deepEqual(now.exceeded, ['disk', 'domains']);
	assert.deepEqual(now.transfer, [], 'no log is there');
	assert.ok(Math.abs(Date.parse(now.computed_at) - Date.now()) < 60000);
});

test('transfer is counted by month, each line once, over renaming, emptying and odd lines', async () => {
	const t = await tenant(), domain = `${t.username}.example`, file = path.join(logs, `${domain}.access.log`);
	s.cliJson(['domain', 'create', '--domain', domain, '--account', t.username]);
	const line = (bytes, when = '05/Nov/2026:10:00:00 +0000', request = 'GET / HTTP/1.1') => `192.0.2.1 - - [${when}] "${request}" 200 ${bytes} "-" "curl/8 \\"x\\" [y]"\n`;
	const month = (name, requests, bytes) => ({ month: name, requests, bytes });
	fs.writeFileSync(file, line(100) + line(20) + line(3, '31/Oct/2026:23:59:59 +0200') + line('-') + line(5000, undefined, 'GET /\\x22 \\" ] \\"q HTTP/1.1') + 'rubbish\n'
		+ line(1).replace('Nov', 'Nix') + `192.0.2.1 - - [05/Nov/2026:10:00:00 +0000] "\\x16\\x03" 400 0 "-" "-"\n` + `${'x'.repeat(200000)}\n` + line(7).slice(0, -40));
	assert.deepEqual((await measured(t)).transfer, [month('2026-11', 5, 5120), month('2026-10', 1, 3)]);
	assert.deepEqual((await measured(t)).transfer, [month('2026-11', 5, 5120), month('2026-10', 1, 3)], 'nothing twice');
	fs.appendFileSync(file, line(7).slice(-40)); // the rest of the last line
	fs.renameSync(file, `${file}.1`);
	fs.appendFileSync(`${file}.1`, line(30)); // the server goes on writing there until it is told
	fs.writeFileSync(file, line(400));
	assert.deepEqual((await measured(t)).transfer[0], month('2026-11', 8, 5557));
	fs.truncateSync(file); // copytruncate
	fs.appendFileSync(file, line(1));
	assert.deepEqual((await measured(t)).transfer[0], month('2026-11', 9, 5558));
	fs.rmSync(`${file}.1`);
	fs.renameSync(file, path.join(s.dir, 'gone'));
	fs.writeFileSync(file, line(2, '01/Dec/2026:00:00:00 +0000'));
	const last = await measured(t);
	assert.deepEqual(last.transfer, [month('2026-12', 1, 2), month('2026-11', 9, 5558), month('2026-10', 1, 3)]);
	assert.match(last.log, /was renamed since/);
	fs.rmSync(file);
	fs.symlinkSync('/etc/passwd', file);
	assert.deepEqual((await measured(t)).transfer, last.transfer, 'no link is followed');
	fs.rmSync(file);
	execFileSync('mkfifo', [file]);
	assert.deepEqual((await measured(t)).transfer, last.transfer, 'nobody waits for a pipe');
});

test('a large log is counted in little memory, and quickly', async () => {
	const t = await tenant(), domain = `${t.username}.example`, file = path.join(logs, `${domain}.access.log`);
	s.cliJson(['domain', 'create', '--domain', domain, '--account', t.username]);
	const block = `203.0.113.9 - - [05/Nov/2026:10:00:00 +0000] "GET /${'a'.repeat(100)} HTTP/1.1" 200 10 "-" "-"\n`.repeat(10000);
	for (let i = 0; i < 20; i++)
		fs.appendFileSync(file, block);
	assert.deepEqual((await measured(t)).transfer, [{ month: '2026-11', requests: 200000, bytes: 2000000 }]);
});

test('accounts are measured by the clock, two at a time, as often as the setting says', async () => {
	const [one, two, fresh] = [await tenant(), await tenant(), await tenant()];
	s.psql(`UPDATE postern.accounts SET created_at = now() - interval '2 hours' WHERE id <> ${fresh.account.id}`);
	s.psql(`DELETE FROM postern.jobs WHERE kind LIKE 'usage.%'; UPDATE postern.usage SET computed_at = now() - interval '7 hours'`);
	s.psql('SELECT usage.due()');
	await until(() => s.sql(`SELECT FROM postern.jobs WHERE kind = 'usage.schedule' AND status = 'succeeded'`).length, 'the setting');
	assert.equal(s.sql('SELECT usage.every_h() AS h')[0].h, 6);
	s.psql('SELECT usage.due()');
	const most = () => s.sql(`SELECT count(*)::int AS n FROM postern.jobs WHERE kind = 'usage.measure' AND status IN ('queued', 'running')`)[0].n;
	await until(async () => {
		assert.ok(most() <= 2);
		return (await show(one)).computed_at && (await show(two)).computed_at && most() === 0;
	}, 'one after the other');
	assert.equal((await show(fresh)).computed_at, null, 'a new account is given an hour');
	const count = () => s.sql(`SELECT count(*)::int AS n FROM postern.jobs WHERE kind = 'usage.measure'`)[0].n;
	const so_far = count();
	s.psql('SELECT usage.due()');
	assert.equal(count(), so_far, 'none is due again');
});

test('a tenant sees its own account only, an administrator all', async () => {
	const [one, two] = [await tenant(), await tenant()];
	const list = (await s.ask('/api/usage', { token: one.token })).json;
	assert.deepEqual([list.total, list.data.map((row) => row.account)], [1, [one.username]]);
	assert.equal((await s.ask(`/api/usage/${two.account.id}`, { token: one.token })).status, 404);
	const all = (await s.ask('/api/usage?per_page=100')).json.data.map((row) => row.account);
	assert.ok([one.username, two.username].every((name) => all.includes(name)));
});
