// What an administrator did holds; the feed, the jobs and the trail open nothing that a token may not read.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { mint } from '../api/credentials.mjs';
import { startStack } from '../api/harness.mjs';

let s, a, b, limited, bound;
const scopes = ['*', 'tokens:read', 'tokens:write', 'tokens:delete'];
const plenty = { rate_limit: 1000000, action_limit: 1000000, expires_at: null };
const ask = (token, method, target, body) => s.ask(`/api/${target}`, { method, body, token });
const good = async (token, method, target, body) => {
	const answer = await ask(token, method, target, body);
	assert.ok(answer.status < 300, `${method} ${target}: ${answer.text}`);
	return answer.json;
};
const held = async (token, method, target, body, words = /an administrator .*(suspended|disabled|keeps|set )/) => {
	const answer = await ask(token, method, target, body);
	assert.equal(answer.status, 409, `${method} ${target}: ${answer.text}`);
	assert.match(answer.json.error.message + answer.json.error.details, words);
};
const with_scopes = async (who, list) => (await mint(s, { owner: who.user.username, scopes: list, ...plenty })).token;
async function tenant() {
	const t = s.tenant();
	t.token = await with_scopes(t, scopes);
	return t;
}
// An object of a tenant: its path, how it is suspended and put back.
async function suspendable(t, as = t.token) {
	const named = as === t.token ? {} : { account: t.username };
	const domain = await good(as, 'POST', 'domains', { domain: `${s.unique('held')}.example`, ...named });
	const second = await good(as, 'POST', 'domains', { domain: `${s.unique('site')}.example`, ...named });
	const box = await good(as, 'POST', 'domains', { domain: `${s.unique('mail')}.example`, ...named });
	return {
		domains: domain,
		websites: await good(as, 'POST', 'websites', { domain_id: second.id, aliases: [`www.${second.domain}`] }),
		mailboxes: await good(as, 'POST', 'mailboxes', { address: `info@${box.domain}`, password: 'long enough' }),
		forwarders: await good(as, 'POST', 'forwarders', { address: `sales@${box.domain}`, destinations: ['x@example.com'] }),
		users: await good(as, 'POST', 'users', { username: s.unique('held'), ...named }),
		databases: await good(as, 'POST', 'databases', { name: s.unique('held'), engine: 'postgresql', ...named }),
	};
}

before(async () => {
	s = await startStack('holds', { DOMAIN_PROOF: 'off', POSTERN_DATABASES_POSTGRESQL_DSN: 'host=/nowhere dbname=postgres' }); // no worker asks it
	s.token = s.mint({ name: 'tests', expires_at: null }).token;
	a = await tenant();
	b = await tenant();
	s.cliJson(['role', 'create', '--name', 'some', '--base', 'admin', '--scopes', 'domains:*,websites:*,mailboxes:*,forwarders:*,users:*,databases:*,cron:*,backups:*,ssl:*,jobs:*,events:*,audit:*']);
	s.cliJson(['user', 'create', '--username', 'limited', '--role', 'some']);
	limited = s.mint({ owner: 'limited', scopes: ['*'] }).token;
	bound = s.mint({ account: a.username, scopes }).token;
});
after(() => s?.stop());

test('what an administrator suspended, a tenant neither lifts nor deletes, and the row says who holds it', async () => {
	const staff = {
		'a full administrator': (path) => good(s.token, 'POST', `${path}/suspend`),
		'a limited administrator': (path) => good(limited, 'POST', `${path}/suspend`),
		'an administrator bound to the account': (path) => good(bound, 'POST', `${path}/suspend`),
		'the operator': (path) => s.cliJson([path.split('/')[0].replace(/(?<=x)es$|s$/, ''), 'suspend', path.split('/')[1]]),
	};
	for (const [who, suspend] of Object.entries(staff)) {
		const objects = await suspendable(a);
		for (const [resource, row] of Object.entries(objects)) {
			const path = `${resource}/${row.id}`;
			if (resource === 'websites')
				s.psql(`UPDATE postern.websites SET status = 'active' WHERE id = ${row.id}`); // as posternd has it
			assert.equal(row.held_by, null, `${resource} ${who}`);
			await good(a.token, 'POST', `${path}/suspend`); // a measure of the tenant's own
			await good(a.token, 'POST', `${path}/unsuspend`);
			await suspend(path);
			assert.equal((await good(a.token, 'GET', path)).held_by, 'administrator', `${resource} ${who}`);
			await held(a.token, 'POST', `${path}/unsuspend`);
			await held(a.token, 'DELETE', `${path}?cascade=true`, resource === 'databases' ? { confirm: row.name } : undefined);
			await held(a.token, 'POST', `${path}/unsuspend?dry_run=true`);
			assert.equal((await ask(b.token, 'POST', `${path}/unsuspend`)).status, 404);
			await good(resource === 'users' ? s.token : limited, 'POST', `${path}/unsuspend`); // a user's role is more than a limited one's
			assert.equal((await good(a.token, 'GET', path)).held_by, null, `${resource} ${who}`);
			await good(a.token, 'POST', `${path}/suspend`);
			await good(a.token, 'POST', `${path}/unsuspend`);
		}
	}
});

test('an administrator takes over what a tenant suspended', async () => {
	for (const [resource, row] of Object.entries(await suspendable(a))) {
		await good(a.token, 'POST', `${resource}/${row.id}/suspend`);
		assert.equal((await good(s.token, 'POST', `${resource}/${row.id}/suspend`)).held_by, 'administrator');
		assert.equal((await ask(s.token, 'POST', `${resource}/${row.id}/suspend`)).status, 409);
		await held(a.token, 'POST', `${resource}/${row.id}/unsuspend`);
		await good(s.token, 'POST', `${resource}/${row.id}/unsuspend`);
	}
});

test('switches that an administrator set stay so: mail of a domain, a cron job, renewal of a certificate, a kept backup', async () => {
	const d = await good(a.token, 'POST', 'domains', { domain: `${s.unique('switch')}.example` });
	assert.equal((await good(s.token, 'PATCH', `domains/${d.id}`, { mail_enabled: false })).held_by, 'administrator');
	await held(a.token, 'PATCH', `domains/${d.id}`, { mail_enabled: true });
	await held(a.token, 'PUT', `domains/${d.id}`, { mail_enabled: true });
	await held(a.token, 'DELETE', `domains/${d.id}`);
	assert.equal((await good(a.token, 'PATCH', `domains/${d.id}`, { type: d.type })).mail_enabled, false);
	assert.equal((await good(limited, 'PATCH', `domains/${d.id}`, { mail_enabled: true })).held_by, null);

	const c = await good(a.token, 'POST', 'cron', { schedule: '@daily', command: 'true' });
	assert.equal((await good(bound, 'POST', `cron/${c.id}/disable`)).held_by, 'administrator');
	await held(a.token, 'POST', `cron/${c.id}/enable`);
	await held(a.token, 'PATCH', `cron/${c.id}`, { enabled: true });
	await held(a.token, 'POST', `cron/${c.id}/run`);
	await held(a.token, 'DELETE', `cron/${c.id}`);
	await good(a.token, 'PATCH', `cron/${c.id}`, { name: 'still mine' });
	await good(s.token, 'POST', `cron/${c.id}/enable`);

	const x = await good(a.token, 'POST', 'ssl', { domain_id: d.id });
	assert.equal((await good(s.token, 'PATCH', `ssl/${x.id}`, { auto_renew: false })).held_by, 'administrator');
	await held(a.token, 'PATCH', `ssl/${x.id}`, { auto_renew: true });
	await held(a.token, 'DELETE', `ssl/${x.id}`);
	await held(a.token, 'DELETE', `domains/${d.id}?cascade=true`);

	await good(s.token, 'POST', 'backups', { kind: 'files', keep: true, account: a.username });
	await good(a.token, 'POST', 'backups', { kind: 'mail', keep: true });
	const [mine, theirs] = (await good(a.token, 'GET', 'backups?sort=id&order=desc')).data;
	assert.deepEqual([mine.held_by, theirs.held_by], [null, 'administrator']);
	s.psql(`UPDATE postern.jobs SET status = 'failed' WHERE id = '${theirs.job_id}'; UPDATE postern.backups SET status = 'error' WHERE id = ${theirs.id}`);
	await held(a.token, 'DELETE', `backups/${theirs.id}`, undefined, /an administrator keeps the backup/);
	await good(a.token, 'DELETE', `backups/${mine.id}`);
	await good(s.token, 'DELETE', `backups/${theirs.id}`);
});

test('no way around: cascades, names below a suspended domain, names of its website, addresses and restored databases', async () => {
	const d = await good(a.token, 'POST', 'domains', { domain: `${s.unique('round')}.example` });
	const site = await good(a.token, 'POST', 'websites', { domain_id: d.id, aliases: [`www.${d.domain}`] });
	const box = await good(a.token, 'POST', 'mailboxes', { address: `x@${d.domain}`, password: 'long enough' });
	const way = await good(a.token, 'POST', 'forwarders', { address: `y@${d.domain}`, destinations: ['x@example.com'] });
	for (const path of [`mailboxes/${box.id}`, `forwarders/${way.id}`, `websites/${site.id}`]) {
		await good(s.token, 'POST', `${path}/suspend`);
		await held(a.token, 'DELETE', `domains/${d.id}?cascade=true`);
		if (path.startsWith('mail'))
			await held(a.token, 'POST', 'forwarders', { address: box.address, destinations: ['x@example.com'] });
		else if (path.startsWith('forw'))
			await held(a.token, 'POST', 'mailboxes', { address: way.address, password: 'long enough' });
		else
			await held(a.token, 'PATCH', path, { aliases: [] });
		await good(s.token, 'POST', `${path}/unsuspend`);
	}
	await good(s.token, 'POST', `domains/${d.id}/suspend`);
	await held(a.token, 'DELETE', `domains/${d.id}?cascade=true`);
	await held(a.token, 'POST', 'domains', { domain: `shop.${d.domain}` });
	await held(a.token, 'PATCH', `websites/${site.id}`, { aliases: [] });
	await held(a.token, 'DELETE', `websites/${site.id}`);
	const other = await good(a.token, 'POST', 'domains', { domain: `${s.unique('other')}.example` });
	await held(a.token, 'POST', 'websites', { domain_id: other.id, aliases: [`shop.${d.domain}`] });
	assert.equal((await good(s.token, 'POST', 'domains', { domain: `shop.${d.domain}`, account: a.username })).domain, `shop.${d.domain}`);

	const base = await good(a.token, 'POST', 'databases', { name: s.unique('kept'), engine: 'postgresql' });
	const free = await good(a.token, 'POST', 'databases', { name: s.unique('free'), engine: 'postgresql' });
	await good(a.token, 'POST', 'backups', { kind: 'databases' });
	const [kept] = (await good(a.token, 'GET', 'backups?sort=id&order=desc')).data;
	s.psql(`UPDATE postern.databases SET status = 'active' WHERE id IN (${base.id}, ${free.id});
		UPDATE postern.backups SET status = 'active', parts = '[{"part":"database","database":"${base.name}","engine":"postgresql","snapshot_id":"1"}]' WHERE id = ${kept.id}`);
	const body = { what: 'database', database: base.name, as: free.name };
	await good(a.token, 'POST', `backups/${kept.id}/restore?dry_run=true`, body);
	await good(s.token, 'POST', `databases/${base.id}/suspend`);
	await held(a.token, 'POST', `backups/${kept.id}/restore`, body);
	await good(s.token, 'POST', `backups/${kept.id}/restore?dry_run=true`, body);
});

test('in PostgreSQL, too: a tenant\'s role changes no column that is held, whatever statement it runs', async () => {
	const d = await good(s.token, 'POST', 'domains', { domain: `${s.unique('sql')}.example`, account: a.username });
	await good(s.token, 'POST', `domains/${d.id}/suspend`);
	const as_tenant = (statement, rank) => `BEGIN; SET LOCAL ROLE postern_tenant; SET LOCAL postern.account_id = '${a.account.id}';
		${rank ? `SET LOCAL postern.rank = '${rank}';` : ''} ${statement}; COMMIT`;
	for (const rank of [undefined, 1, 2])
		for (const statement of ["UPDATE postern.domains SET status = 'active'", "UPDATE postern.domains SET status = 'deleting'", 'DELETE FROM postern.domains',
			"UPDATE postern.domains SET held = '{}', status = 'active'"])
			assert.throws(() => s.psql(as_tenant(`${statement} WHERE id = ${d.id}`, rank)), /an administrator suspended the domain|permission denied/, statement);
	assert.throws(() => s.psql(as_tenant(`UPDATE postern.domains SET held = '{}' WHERE id = ${d.id}`)), /permission denied/);
	assert.equal((await good(a.token, 'GET', `domains/${d.id}`)).held_by, 'administrator');
});

test('a job that an administrator, the operator or the clock asked for is no tenant\'s to cancel, to retry or to end by a deletion', async () => {
	const base = () => good(a.token, 'POST', 'databases', { name: s.unique('job'), engine: 'postgresql' });
	const path = (job) => `jobs/${job}`;
	const refused = (job, verb, who = /an administrator/) => held(a.token, 'POST', `${path(job)}/${verb}`, undefined, who);
	const staff = [() => good(s.token, 'POST', 'backups', { kind: 'files', account: a.username }), () => good(bound, 'POST', 'backups', { kind: 'mail' }),
		() => s.cliJson(['backup', 'create', '--kind', 'databases', '--account', a.username])];
	for (const asks of staff) {
		const job = (await asks()).id;
		assert.equal((await good(a.token, 'GET', path(job))).held_by, 'administrator');
		await refused(job, 'cancel');
		const [backup] = (await good(a.token, 'GET', 'backups?sort=id&order=desc')).data;
		await held(a.token, 'DELETE', `backups/${backup.id}`, undefined, /an administrator asked for the job backup.create/);
		assert.equal((await ask(b.token, 'POST', `${path(job)}/cancel`)).status, 404);
		await good(limited, 'POST', `${path(job)}/cancel`);
		s.psql(`UPDATE postern.jobs SET status = 'failed' WHERE id = '${job}'`);
		await refused(job, 'retry');
		await good(limited, 'POST', `${path(job)}/retry`);
		s.psql(`UPDATE postern.jobs SET status = 'failed' WHERE id = '${job}'; UPDATE postern.backups SET status = 'error' WHERE id = ${backup.id}`);
		await good(a.token, 'DELETE', `backups/${backup.id}`);
	}
	const { id } = await base();
	const clock = s.psql(`SELECT gate.work(work.clockwork(), ${a.account.id}, 'database.apply', 'databases', '${id}') AS job`);
	await refused(clock, 'cancel', /a schedule asked for this job/);
	const mine = (await base()).job_id;
	assert.equal((await good(a.token, 'GET', path(mine))).held_by, null);
	await good(a.token, 'POST', `${path(mine)}/cancel`);
});

test('a token that an administrator bound to an account is not the tenant\'s: not its name, its end, its keys, its addresses', async () => {
	const made = await mint(s, { account: a.username, scopes: ['domains:read'], allowed_ips: ['127.0.0.0/8'], ...plenty });
	const given = await mint(s, { owner: a.user.username, scopes: ['domains:read'], allowed_ips: ['127.0.0.0/8'], ...plenty });
	await good(made.token, 'GET', 'domains');
	for (const token of [a.token, await with_scopes(a, ['tokens:read', 'tokens:write', 'tokens:delete'])]) {
		const seen = await good(token, 'GET', `tokens/${made.id}`);
		assert.deepEqual([seen.held_by, seen.allowed_ips, seen.last_used_ip], ['administrator', null, null]);
		const listed = (await good(token, 'GET', 'tokens?per_page=100')).data.find((t) => t.id === made.id);
		assert.deepEqual([listed.name, listed.allowed_ips, listed.last_used_ip], [made.name, null, null]);
		for (const [method, end, body] of [['PATCH', '', { name: 'mine' }], ['POST', '/revoke'], ['POST', '/rotate'], ['DELETE', '']]) {
			const answer = await ask(token, method, `tokens/${made.id}${end}`, body);
			assert.ok([403, 409].includes(answer.status), answer.text);
		}
		assert.deepEqual(await good(token, 'POST', 'tokens/revoke', { ids: [made.id] }), { revoked: [], not_found: [made.id] });
	}
	assert.equal((await ask(made.token, 'GET', 'domains')).status, 200);
	const own = await good(a.token, 'GET', `tokens/${given.id}`); // the user's own, whoever minted it
	assert.deepEqual([own.held_by, own.allowed_ips], [null, ['127.0.0.0/8']]);
	await good(a.token, 'POST', `tokens/${given.id}/revoke`);
	assert.deepEqual((await good(s.token, 'GET', `tokens/${made.id}`)).allowed_ips, ['127.0.0.0/8']);
	await good(s.token, 'POST', `tokens/${made.id}/revoke`);
	assert.equal((await ask(a.token, 'DELETE', `tokens/${made.id}`)).status, 409);
	// what a token of less rank mints, though its owner is an administrator, is the account's
	const handed = (await mint(s, { account: a.username, role: 'customer', scopes, ...plenty })).token;
	const child = await good(handed, 'POST', 'tokens', { name: s.unique('child'), scopes: ['domains:read'] });
	assert.equal(child.held_by, null);
	await good(handed, 'POST', `tokens/${child.id}/revoke`);
	const me = await good(handed, 'GET', 'me');
	await good(handed, 'PATCH', `tokens/${me.token_id}`, { name: s.unique('renamed') });
});

// The feed as a token reads it: all pages.
async function feed(token, query = '') {
	const rows = [];
	for (let cursor; ;) {
		const page = await good(token, 'GET', `events?per_page=100${query}${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`);
		rows.push(...page.data);
		if (page.data.length === 0 || page.next_cursor === cursor)
			return rows;
		cursor = page.next_cursor;
	}
}
const sequence = () => s.psql('SELECT work.sequence(100000)');

test('the feed shows a token the events of what it may read, and no others: list, filter, one by its id; administrators as well', async () => {
	const d = await good(a.token, 'POST', 'domains', { domain: `${s.unique('feed')}.example` });
	await good(a.token, 'POST', 'websites', { domain_id: d.id });
	await good(a.token, 'POST', 'tokens', { name: s.unique('feed'), scopes: ['domains:read'], allowed_ips: ['127.0.0.0/8'] });
	sequence();
	const kinds = (rows) => [...new Set(rows.map((e) => e.resource))].sort();
	const all = await feed(a.token);
	assert.ok(['domain', 'job', 'token', 'website'].every((r) => kinds(all).includes(r)), kinds(all));
	assert.ok(!JSON.stringify(await feed(s.token)).match(/allowed_ips|last_used_ip/));
	const some = s.mint({ owner: 'limited', scopes: ['events:read', 'domains:read'] }).token;
	for (const who of [a, bound, some]) {
		const has = async (list) => (who === a ? with_scopes(a, list) : who === some ? s.mint({ owner: 'limited', scopes: list }).token
			: s.mint({ account: a.username, scopes: list }).token);
		assert.deepEqual(await feed(await has(['events:read'])), []);
		assert.deepEqual(kinds(await feed(await has(['events:read', 'domains:read']))), ['domain']);
		assert.deepEqual(await feed(await has(['events:read', 'domains:read']), '&type=token.*,website.*,job.*'), []);
		const jobs = await feed(await has(['events:read', 'jobs:read', 'websites:read']));
		assert.deepEqual(kinds(jobs), ['job', 'website']);
		assert.deepEqual([...new Set(jobs.filter((e) => e.resource === 'job').map((e) => e.data.resource))], ['website']);
		if (who === a)
			assert.deepEqual(kinds(await feed(await has(['*']), '&type=token.*')), [], 'no wildcard but an administrator\'s reads tokens');
		for (const e of all.slice(-30)) {
			const answer = await ask(await has(['events:read', 'websites:read']), 'GET', `events/${e.id}`);
			assert.equal(answer.status, e.resource === 'website' ? 200 : 404, e.type);
		}
	}
	// what is hidden is not walked again: the cursor comes to the end of the feed
	const token = await with_scopes(a, ['events:read', 'websites:read']), from = (cursor) => good(token, 'GET', `events?cursor=${encodeURIComponent(cursor)}`);
	let { next_cursor: end } = (await good(token, 'GET', 'events?per_page=100'));
	await good(a.token, 'POST', 'domains', { domain: `${s.unique('feed')}.example` });
	sequence();
	const beyond = await from(end);
	assert.deepEqual(beyond.data, []);
	assert.notEqual(beyond.next_cursor, end);
	const told = await good(a.token, 'POST', 'domains', { domain: `${s.unique('feed')}.example` });
	await good(a.token, 'POST', 'websites', { domain_id: told.id });
	sequence();
	({ next_cursor: end } = beyond);
	assert.deepEqual((await from(end)).data.map((e) => e.type), ['website.created']);
});

test('a job tells what it said and found to those who may read what it works on', async () => {
	const { job_id } = await good(a.token, 'POST', 'databases', { name: s.unique('told'), engine: 'postgresql' });
	s.psql(`UPDATE postern.jobs SET status = 'failed', message = 'secret m', error = 'secret e', log = 'secret l', result = '{"secret": "r"}' WHERE id = '${job_id}'`);
	const look = async (token) => (await ask(token, 'GET', `jobs/${job_id}`)).text;
	for (const token of [await with_scopes(a, ['jobs:*']), await with_scopes(a, ['jobs:*', 'domains:*', 'databases:write']), s.mint({ owner: 'limited', scopes: ['jobs:read'] }).token]) {
		assert.ok(!(await look(token)).includes('secret'));
		assert.ok(!(await ask(token, 'GET', 'jobs?per_page=100&resource=databases')).text.includes('secret'));
		assert.equal((await good(token, 'GET', `jobs/${job_id}`)).status, 'failed');
	}
	const retried = await ask(await with_scopes(a, ['jobs:*', 'databases:write']), 'POST', `jobs/${job_id}/retry?dry_run=true`);
	assert.ok(retried.status === 200 && !retried.text.includes('secret'), retried.text);
	for (const token of [await with_scopes(a, ['jobs:read', 'databases:read']), limited, s.token])
		assert.equal((await look(token)).match(/secret [mel]|"secret":"r"|"secret": "r"/g).length, 4);
	// a plugin's job about an event tells of anything: only who reads everything reads it
	const plugin = s.psql(`INSERT INTO postern.jobs (account_id, kind, status, resource, object_id, log) VALUES (0, 'toy.event', 'failed', 'plugins', 'toy events', 'secret') RETURNING id`);
	const reads = s.mint({ scopes: ['jobs:read', 'plugins:read', 'events:read'] }).token;
	assert.ok(!(await ask(reads, 'GET', `jobs/${plugin}`)).text.includes('secret'));
	assert.ok((await ask(s.token, 'GET', `jobs/${plugin}`)).text.includes('secret'));
});

test('the trail tells no tenant where an administrator was, and nobody what changed in what a token may not read', async () => {
	const agent = { 'User-Agent': 'staff-browser' };
	const d = await good(a.token, 'POST', 'domains', { domain: `${s.unique('trail')}.example` });
	await s.ask(`/api/domains/${d.id}`, { token: s.token, method: 'PATCH', body: { mail_enabled: false }, headers: agent });
	await mint(s, { account: a.username, scopes: ['domains:read'], allowed_ips: ['127.0.0.0/8', '::1/128'], ...plenty });
	s.cliJson(['domain', 'suspend', String(d.id)]);
	const trail = async (token, query = '') => (await good(token, 'GET', `audit?per_page=100${query}`)).data;
	const of = (rows, action) => rows.find((r) => r.action === action && (action.startsWith('token') || r.object_id === d.id));
	for (const token of [a.token, await with_scopes(a, ['*', 'tokens:read'])]) {
		const rows = await trail(token);
		const [made, changed, operated] = [of(rows, 'domain.create'), of(rows, 'domain.update'), of(rows, 'domain.suspend')];
		assert.ok(made.ip && made.user_agent && made.changes.after.domain);
		assert.deepEqual([changed.actor, changed.ip, changed.user_agent, changed.changes.after.mail_enabled], ['admin', null, null, false]);
		assert.deepEqual([operated.actor, operated.operator], ['system', null]);
		const minted = rows.find((r) => r.action === 'token.create' && r.actor === 'admin');
		assert.ok(!('allowed_ips' in minted.changes.after) && minted.changes.after.scopes);
		assert.ok((await trail(token, `&ip=${made.ip}`)).every((r) => r.actor !== 'admin'));
		const exported = await s.ask('/api/audit/export', { token });
		assert.ok(!exported.text.includes('staff-browser') && exported.text.includes(made.request_id));
	}
	const only = await trail(await with_scopes(a, ['audit:read']));
	assert.ok(of(only, 'domain.create') && only.every((r) => r.changes === null));
	const domains = await trail(await with_scopes(a, ['audit:read', 'domains:read']));
	assert.ok(of(domains, 'domain.create').changes && domains.every((r) => r.resource === 'domain' || r.changes === null));
	const exported = await s.ask('/api/audit/export', { token: await with_scopes(a, ['audit:read']) });
	assert.ok(exported.text.includes('"changes":null') && !exported.text.includes('mail_enabled'));
	// an administrator sees addresses, yet not what changed where the token may not read
	const staff = await trail(s.mint({ owner: 'limited', scopes: ['audit:read', 'domains:read'] }).token, `&object_id=${d.id}`);
	assert.ok(of(staff, 'domain.update').ip && of(staff, 'domain.update').user_agent === 'staff-browser');
	assert.ok((await trail(s.mint({ owner: 'limited', scopes: ['audit:read'] }).token)).every((r) => r.changes === null));
	assert.ok((await trail(s.token, `&ip=${of(staff, 'domain.update').ip}`)).some((r) => r.actor === 'admin'));
	// who used the operator's command is in its rows
	const [row] = await trail(s.token, `&action=domain.suspend&object_id=${d.id}`);
	assert.ok(row.actor === 'system' && /^[a-z_0-9][a-z0-9_-]*$/.test(row.operator) && row.operator !== 'system', JSON.stringify(row));
	assert.ok((await trail(s.token, `&operator=${row.operator}&action=domain.suspend`)).some((r) => r.id === row.id));
	assert.deepEqual(await trail(s.token, '&operator=nobody-here'), []);
});
