// What an attack on the finished work found, each as a test of what is right.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { answered, startStack } from '../api/harness.mjs';
import { keyOf, literal, serve } from '../api/statements.mjs';

let s, tenant, customer;
before(async () => {
	s = await startStack('walls-attack', { DOMAIN_PROOF: 'off' });
	tenant = s.tenant();
	customer = s.mint({ owner: tenant.user.username, scopes: ['*'] }).token;
});
after(() => s?.stop());

const ask = (method, target, body, token = s.token) => s.ask(target, { method, body, token });
async function expect(status, method, target, body, token) {
	const answer = await ask(method, target, body, token);
	assert.equal(answer.status, answered(status, answer), `${method} ${target}: ${answer.text}`);
	return answer.json;
}
const cron = (fields = {}) => expect(201, 'POST', '/api/cron', { schedule: '@daily', command: 'true', ...fields }, customer);
const ended = (job, status) => s.psql(`UPDATE postern.jobs SET status = '${status}' WHERE id = '${job}'`); // posternd's part

test('a job is done again only by who may ask for it', async () => {
	const entry = await cron(), narrow = s.mint({ owner: tenant.user.username, scopes: ['jobs:read', 'jobs:write'] }).token;
	const job = await expect(202, 'POST', `/api/cron/${entry.id}/run`, undefined, customer);
	await expect(403, 'POST', `/api/cron/${entry.id}/run`, undefined, narrow);
	ended(job.id, 'failed');
	const refused = await expect(403, 'POST', `/api/jobs/${job.id}/retry`, undefined, narrow);
	assert.match(refused.error.message, /was asked for by runCronJob, which your token may not do/);
	await expect(200, 'POST', `/api/jobs/${job.id}/retry`, undefined, customer);
	ended(job.id, 'failed');
});

test('to have a job done again counts as a heavy action', async () => {
	const route = s.routes().find((r) => r.name === 'jobs').routes.find((r) => r.operation_id === 'retryJob');
	assert.equal(route.bucket, 'action');
});

test('what an administrator cancelled a tenant does not start again', async () => {
	const entry = await cron(), job = await expect(202, 'POST', `/api/cron/${entry.id}/run`, undefined, customer);
	await expect(200, 'POST', `/api/jobs/${job.id}/cancel`);
	ended(job.id, 'cancelled');
	await expect(409, 'POST', `/api/jobs/${job.id}/retry`, undefined, customer);
});

test('a run of a cron job that an administrator disabled meanwhile is not done', async () => {
	const entry = await cron(), job = await expect(202, 'POST', `/api/cron/${entry.id}/run`, undefined, customer);
	await expect(200, 'POST', `/api/cron/${entry.id}/disable`);
	assert.throws(() => s.psql(`BEGIN; SET ROLE postern_operator; SELECT cron.task(j) FROM postern.jobs j WHERE id = '${job.id}'; COMMIT`),
		/an administrator disabled the cron job/);
});

test('a suspended domain is served under no other website either', async () => {
	const [own, other] = await Promise.all([0, 1].map(() => expect(201, 'POST', '/api/domains',
		{ domain: `${s.unique('alias')}.example`, account: tenant.account.username, type: 'addon', website: false })));
	const site = await expect(201, 'POST', '/api/websites', { domain: own.domain, aliases: [`www.${own.domain}`] });
	const aliased = await ask('PATCH', `/api/websites/${site.id}`, { aliases: [`www.${other.domain}`, `www.${own.domain}`] });
	assert.equal(aliased.status, 200, aliased.text);
	await expect(200, 'POST', `/api/domains/${other.id}/suspend`);
	const [row] = s.sql(`SELECT websites.served(w) AS names, w.job_id FROM postern.websites w WHERE id = ${site.id}`);
	assert.deepEqual(row.names, [`www.${own.domain}`]);
	assert.notEqual(row.job_id, aliased.json.job_id, 'the website follows');
});

test('an administrator without users:admin neither revokes, renames, rotates nor deletes another administrator\'s token', async () => {
	s.cliJson(['role', 'create', '--name', 'limited', '--base', 'admin', '--scopes', 'tokens:read,tokens:write,tokens:delete,domains:read']);
	s.cliJson(['user', 'create', '--username', 'limited', '--role', 'limited']);
	const limited = s.mint({ owner: 'limited', scopes: ['tokens:read', 'tokens:write', 'tokens:delete', 'domains:read'], expires_at: new Date(Date.now() + 80 * 86400e3).toISOString() });
	const victim = s.mint({ owner: 'admin', scopes: ['domains:read'], expires_at: new Date(Date.now() + 40 * 86400e3).toISOString() });
	for (const [method, target, body] of [['POST', `/api/tokens/${victim.id}/revoke`, {}], ['POST', '/api/tokens/revoke', { ids: [victim.id] }],
		['POST', `/api/tokens/${victim.id}/rotate`, {}], ['PATCH', `/api/tokens/${victim.id}`, { name: 'mine' }]])
		await expect(403, method, target, body, limited.token);
	assert.equal((await ask('GET', '/api/domains', undefined, victim.token)).status, 200);
	await expect(200, 'POST', `/api/tokens/${victim.id}/revoke`, {});
	await expect(403, 'DELETE', `/api/tokens/${victim.id}`, undefined, limited.token);
});

test('PostgreSQL takes no value that no endpoint would send', () => {
	const refused = (sql) => assert.throws(() => s.psql(sql), /violates check constraint/, sql);
	const domain = `${s.unique('shape')}.example`;
	s.cliJson(['domain', 'create', '--domain', domain, '--account', tenant.account.username, '--type', 'addon']);
	const box = (address, password) => `INSERT INTO postern.mailboxes (account_id, domain_id, address, password) SELECT account_id, id, '${address}@' || domain, '${password}' FROM postern.domains WHERE domain = '${domain}'`;
	const hash = `{BLF-CRYPT}$2b$10$${'x'.repeat(53)}`;
	refused(box('slow', hash.replace('$10$', '$20$')));
	refused(box('../other', hash));
	refused(box('a b', hash));
	s.psql(box('right', hash));
	refused(`UPDATE postern.domains SET domain = 'x; include /etc/passwd; #.example' WHERE domain = '${domain}'`);
	refused(`UPDATE postern.domains SET document_root = '/home/a/../../etc' WHERE domain = '${domain}'`);
	refused(`INSERT INTO postern.forwarders (account_id, domain_id, address, destinations) SELECT account_id, id, 'f@' || domain, '{"|/bin/sh -c id"}' FROM postern.domains WHERE domain = '${domain}'`);
	refused(`INSERT INTO postern.users (username) VALUES (E'a\nb')`);
	refused(`INSERT INTO postern.cron (account_id, schedule, command, time_zone) VALUES (${tenant.account.id}, '@daily', E'true\nfalse', 'UTC')`);
});

test('an endpoint\'s role takes no lock by number, keeps no large object, and leaves no transaction open for long', async () => {
	for (const sql of ["SELECT pg_advisory_lock(hashtext('postern.last_administrator'))", 'SELECT pg_try_advisory_xact_lock(1)', 'SELECT lo_create(0)', "SELECT lo_from_bytea(0, 'x')"])
		assert.throws(() => s.psql(sql, 'postern_health'), /permission denied/, sql);
	assert.equal(s.psql('BEGIN; SET ROLE postern_operator; SELECT work.end_stuck(); COMMIT'), '0');
	const may = s.sql(`SELECT pg_has_role('postern_monitor', 'pg_signal_backend', 'USAGE') AS ends`);
	assert.deepEqual(may, [{ ends: true }]);
});

test('the limit of heavy actions counts the request that is admitted, wherever an array begins', () => {
	const { key, digest } = keyOf(s, customer), two = (value, type) => `array_fill(${literal(value, type)}, ARRAY[2])`;
	const shifted = serve('backups', [], { key: `'[2:2]={${key}}'::text[]`, digest: `'[2:2]={"\\${digest}"}'::bytea[]`, ip: `'[2:2]={127.0.0.1}'::text[]`,
		insecure: two(false, 'boolean'), admin: two(false, 'boolean'), operation: `'[2:2]={createBackup}'::text[]`, op: two('', 'text'), id: two(null, 'text'),
		limit: two(21, 'int'), args: two(null, 'text'), match: two(null, 'text'), refused: two(null, 'int'), refusal: two(null, 'text'), later: two(true, 'boolean'),
		request_id: two('00000000-0000-4000-8000-000000000000', 'text'), object: two(null, 'text'), method: two('POST', 'text'), path: two('/', 'text'),
		agent: two(null, 'text'), elapsed_us: two(0, 'bigint') });
	assert.throws(() => s.psql(`SELECT * FROM ${shifted}`, 'postern_backups'), /a heavy action goes through the gate alone/);
});
