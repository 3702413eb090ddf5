// Writes: what POST, PUT, PATCH and DELETE mean; If-Match, dry runs, Idempotency-Key; and what commits with a change.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { startStack } from './harness.mjs';

let s, token, tenant;

before(async () => {
	s = await startStack('writes', { POSTERN_DATABASES_POSTGRESQL_DSN: 'host=/nowhere dbname=postgres', DOMAIN_PROOF: 'off' });
	token = s.mint({ expires_at: 'null', action_limit: 1000 }).token; // it outlives every token that tests rotate
	tenant = s.tenant();
	// A clock that tests can move (design.md: only a test database replaces it).
	s.psql(`SET ROLE postern_owner; CREATE TABLE postern.test_clock (ahead interval NOT NULL); INSERT INTO postern.test_clock VALUES ('0');
		CREATE OR REPLACE FUNCTION postern.clock() RETURNS timestamptz LANGUAGE sql VOLATILE SECURITY DEFINER
		SET search_path = pg_catalog, pg_temp AS 'SELECT clock_timestamp() + (SELECT ahead FROM postern.test_clock)'`);
});
after(() => s?.stop());

const ask = (path, options = {}) => s.ask(path, { token, ...options });
const post = (path, body, options = {}) => ask(path, { method: 'POST', body, ...options });
const patch = (path, body, options = {}) => ask(path, { method: 'PATCH', body, ...options });
const domain = async (fields = {}) => {
	const made = await post('/api/domains', { domain: `${s.unique('w')}.example`, account: tenant.username, ...fields });
	assert.equal(made.status, 201, made.text);
	return made.json;
};
// Every row of every table that a change could touch: not the trail, and not the counts of requests.
function inventory() {
	const tables = s.sql(`SELECT c.relname AS name FROM pg_class c WHERE c.relnamespace = 'postern'::regnamespace AND c.relkind = 'r'
		AND c.relname !~ '^(audit|rates|refusals|test_clock)' ORDER BY 1`).map((t) => t.name);
	assert.ok(tables.includes('events') && tables.includes('jobs') && tables.includes('domains'));
	return s.psql(tables.map((t) => `SELECT '${t}', md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')), count(*) FROM postern.${t} t;`).join('\n'));
}
const rowsOf = (id) => s.sql(`SELECT resource || '.' || verb AS action, status, reason, outcome, changes, object_id FROM postern.audit
	WHERE request_id = '${id}' ORDER BY at, id`);

test('PATCH tells absent, null and a value apart; PUT clears what it leaves out', async () => {
	const user = (await post('/api/users', { username: s.unique('u'), email: 'a@example.org', account: tenant.username })).json;
	const at = `/api/users/${user.id}`;
	assert.equal(user.email, 'a@example.org');
	const untouched = (await patch(at, {})).json;
	assert.deepEqual([untouched.email, untouched.account], ['a@example.org', tenant.username]);
	assert.equal((await patch(at, { email: 'b@example.org' })).json.email, 'b@example.org');
	assert.equal((await patch(at, { email: null })).json.email, null);
	assert.equal((await patch(at, { email: 'c@example.org' })).json.account, tenant.username);
	const merged = await patch(at, { email: 'd@example.org' }, { headers: { 'Content-Type': 'application/merge-patch+json' } });
	assert.equal(merged.json.email, 'd@example.org');
	const put = await ask(at, { method: 'PUT', body: { role: 'viewer', account: tenant.username } });
	assert.equal(put.status, 200, put.text);
	assert.deepEqual([put.json.email, put.json.role, put.json.account_id], [null, 'viewer', tenant.account.id]);
	const d = await domain({ document_root: '/elsewhere' });
	assert.equal((await ask(`/api/domains/${d.id}`, { method: 'PUT', body: { mail_enabled: false } })).json.document_root,
		`${tenant.account.home}/${d.type === 'primary' ? 'public_html' : d.domain}`, 'the default again');
	assert.equal((await patch(`/api/users/${user.id}`, { role: null })).status, 422, 'null where none may be');
	const role = await post('/api/roles', { name: s.unique('r'), scopes: ['domains:read'], description: 'x' });
	const missing = await ask(`/api/roles/${role.json.id}`, { method: 'PUT', body: { description: 'y' } });
	assert.equal(missing.status, 422, 'a whole object has all that is required');
	assert.ok(missing.json.error.fields.scopes);
});

test('a version grows by one with each change and updated_at with it', async () => {
	const d = await domain();
	for (let version = 2; version < 5; version++) {
		const { headers, json } = await patch(`/api/domains/${d.id}`, { mail_enabled: version % 2 === 0 });
		assert.equal(headers.get('etag'), `"${version}"`);
		assert.ok(json.updated_at > d.updated_at);
		assert.equal(json.created_at, d.created_at);
	}
});

test('If-Match: a change of what somebody else changed is a 412 and changes nothing', async () => {
	const d = await domain(), at = `/api/domains/${d.id}`;
	assert.equal((await patch(at, { mail_enabled: false }, { headers: { 'If-Match': '"1"' } })).status, 200);
	for (const [method, path, body] of [['PATCH', at, { mail_enabled: true }], ['PUT', at, { mail_enabled: true }], ['DELETE', at], ['POST', `${at}/suspend`]])
		for (const match of ['"1"', '"1", "7"', 'W/"2"', '"22"', 'junk', '""']) {
			const { status, json } = await ask(path, { method, body, headers: { 'If-Match': match } });
			assert.equal(status, 412, `${method} ${match}`);
			assert.equal(json.error.code, 'precondition_failed');
		}
	assert.equal((await ask(at)).headers.get('etag'), '"2"');
	for (const [match, version] of [['"2"', 3], ['"1", "3"', 4], ['*', 5]])
		assert.equal((await patch(at, {}, { headers: { 'If-Match': match } })).headers.get('etag'), `"${version}"`, match);
	assert.equal((await ask('/api/domains/999999', { method: 'PATCH', body: {}, headers: { 'If-Match': '*' } })).status, 404);
	assert.equal((await ask(at, { method: 'DELETE', headers: { 'If-Match': '"5"' } })).status, 204);
});

test('of 20 changes with the same If-Match exactly one wins', async () => {
	const d = await domain();
	const all = await Promise.all(Array.from({ length: 20 }, (_, i) =>
		patch(`/api/domains/${d.id}`, { document_root: `/home/x/${i}` }, { headers: { 'If-Match': '"1"' } })));
	const won = all.filter((a) => a.status === 200);
	assert.deepEqual(all.map((a) => a.status).sort(), [200, ...Array(19).fill(412)]);
	const now = await ask(`/api/domains/${d.id}`);
	assert.equal(now.headers.get('etag'), '"2"');
	assert.deepEqual(now.json, won[0].json);
	assert.equal(s.sql(`SELECT count(*) FROM postern.events WHERE object_id = '${d.id}' AND type = 'domain.updated'`)[0].count, 1);
});

test('changes of one object without If-Match take turns: none is lost', async () => {
	const d = await domain();
	const all = await Promise.all(Array.from({ length: 20 }, (_, i) => patch(`/api/domains/${d.id}`, { mail_enabled: i % 2 === 0 })));
	assert.deepEqual(all.map((a) => Number(a.headers.get('etag').replaceAll('"', ''))).sort((a, b) => a - b), Array.from({ length: 20 }, (_, i) => i + 2));
});

test('a dry run of every write checks everything, answers 200 and changes nothing but the trail', async () => {
	const d = await domain(), suspended = await domain();
	await post(`/api/domains/${suspended.id}/suspend`);
	const role = (await post('/api/roles', { name: s.unique('r'), scopes: ['domains:read'] })).json;
	const account = s.tenant();
	const stopped = s.tenant();
	await post(`/api/accounts/${stopped.account.id}/suspend`);
	await post(`/api/users/${stopped.user.id}/suspend`);
	const live = s.mint({ scopes: ['domains:read'] }), dead = s.mint({ scopes: ['domains:read'] });
	await post(`/api/tokens/${dead.id}/revoke`);
	s.psql(`UPDATE postern.jobs SET status = 'failed', attempts = 1 WHERE id = '${stopped.account.job_id}'`);
	const site = await domain(), bare = await domain(), still = await domain();
	for (const one of [site, still])
		await post('/api/websites', { domain: one.domain });
	await post(`/api/websites/${still.domain}/suspend`);
	const secured = (await post('/api/ssl', { domain: site.domain })).json;
	s.psql(`UPDATE postern.jobs SET status = 'failed' WHERE id = '${secured.job_id}'`);
	const { id: claimed, domain: claim } = await domain(); // as it is until it is proven
	s.psql(`UPDATE postern.domains SET status = 'unproven', proof = 'none', proven_at = NULL WHERE id = ${claimed}; DELETE FROM postern.domain_names WHERE domain = '${claim}'`);
	const timed = (await post('/api/cron', { schedule: '@daily', command: 'true', account: tenant.username })).json;
	const idle = (await post('/api/cron', { schedule: '@daily', command: 'true', enabled: false, account: tenant.username })).json;
	const good = {
		createCronJob: { body: { schedule: '@daily', command: 'true', account: tenant.username } }, changeCronJob: { id: timed.id, body: { name: 'dry' } }, deleteCronJob: { id: timed.id },
		enableCronJob: { id: idle.id }, disableCronJob: { id: timed.id }, runCronJob: { id: timed.id },
		createCertificate: { body: { domain: bare.domain } }, changeCertificate: { id: site.domain, body: { auto_renew: false } }, renewCertificate: { id: secured.id },
		deleteCertificate: { id: secured.id },
		createWebsite: { body: { domain: bare.domain } }, replaceWebsite: { id: site.domain, body: { runtime: 'static' } }, changeWebsite: { id: site.domain, body: { https_redirect: true } },
		deleteWebsite: { id: site.domain }, suspendWebsite: { id: site.domain }, unsuspendWebsite: { id: still.domain },
		cancelJob: { id: account.account.job_id }, retryJob: { id: stopped.account.job_id },
		createDomain: { body: { domain: 'dry.example', account: tenant.username } }, replaceDomain: { id: d.id, body: { type: 'alias' } },
		changeDomain: { id: d.id, body: { mail_enabled: false } }, deleteDomain: { id: d.id }, suspendDomain: { id: d.id },
		unsuspendDomain: { id: suspended.id }, proveDomain: { id: claimed }, confirmDomain: { id: claimed },
		createAccount: { body: { username: 'dry' } }, replaceAccount: { id: account.account.id, body: { name: 'dry' } },
		changeAccount: { id: account.account.id, body: { max_domains: 1 } }, deleteAccount: { id: account.account.id, query: '&cascade=true' },
		mendAccount: { id: account.account.id }, suspendAccount: { id: account.account.id }, unsuspendAccount: { id: stopped.account.id },
		createUser: { body: { username: 'dry' } }, replaceUser: { id: account.user.id, body: {} }, changeUser: { id: account.user.id, body: { email: 'd@example.org' } },
		deleteUser: { id: account.user.id }, suspendUser: { id: account.user.id }, unsuspendUser: { id: stopped.user.id },
		createRole: { body: { name: 'dry', scopes: ['domains:read'] } }, replaceRole: { id: role.id, body: { scopes: [] } },
		changeRole: { id: role.id, body: { description: 'dry' } }, deleteRole: { id: role.id },
		explainRequest: { body: { method: 'GET', path: '/api/v1/me' }, doc: true },
		createToken: { body: { name: 'dry', scopes: ['domains:read'] } }, changeToken: { id: live.id, body: { name: 'dry' } }, deleteToken: { id: dead.id },
		revokeToken: { id: live.id }, revokeTokens: { body: { ids: [live.id] }, doc: true }, rotateToken: { id: live.id },
	};
	const mailbox = async (address) => (await post('/api/mailboxes', { address: `${address}@${d.domain}`, password: 'long enough' })).json;
	const box = await mailbox('box'), closed = await mailbox('closed');
	await post(`/api/mailboxes/${closed.id}/suspend`);
	const forwarder = async (address) => (await post('/api/forwarders', { address: `${address}@${d.domain}`, destinations: ['x@example.com'] })).json;
	const way = await forwarder('way'), barred = await forwarder('barred');
	await post(`/api/forwarders/${barred.id}/suspend`);
	Object.assign(good, {
		deleteDomain: { id: d.id, query: '&cascade=true' },
		createMailbox: { body: { address: `dry@${d.domain}`, password: 'long enough' } }, changeMailbox: { id: box.id, body: { quota_mb: 5, password: 'longer still' } },
		deleteMailbox: { id: box.id }, suspendMailbox: { id: box.id }, unsuspendMailbox: { id: closed.id },
		createForwarder: { body: { address: `dry@${d.domain}`, destinations: ['x@example.com'] } }, replaceForwarder: { id: way.id, body: { destinations: ['y@example.com'] } },
		changeForwarder: { id: way.id, body: { destinations: ['y@example.com'] } }, deleteForwarder: { id: way.id }, suspendForwarder: { id: way.id },
		unsuspendForwarder: { id: barred.id },
	});
	const database = async (name) => (await post('/api/databases', { name, engine: 'postgresql', account: tenant.username })).json;
	const base = await database('base'), shut = await database('shut');
	await post(`/api/databases/${shut.id}/suspend`);
	Object.assign(good, {
		createDatabase: { body: { name: 'dry', engine: 'postgresql', account: tenant.username } }, changeDatabase: { id: base.id, body: { charset: 'UTF8' } },
		deleteDatabase: { id: base.id, body: { confirm: base.name } }, rotateDatabasePassword: { id: base.id }, suspendDatabase: { id: base.id },
		unsuspendDatabase: { id: shut.id },
	});
	const kept = s.psql(`INSERT INTO postern.backups (account_id, kind, status, parts) -- posternd's part
		VALUES (${tenant.account.id}, 'files', 'active', '[{"part": "files"}]') RETURNING id`);
	Object.assign(good, {
		createBackup: { body: { account: tenant.username } }, restoreBackup: { id: kept, body: { what: 'files' } }, verifyBackup: { id: kept }, deleteBackup: { id: kept },
	});
	const service = s.psql("INSERT INTO postern.services (kind, name, state) VALUES ('system', 'dry', 'active') RETURNING id"); // posternd's part
	for (const verb of ['start', 'stop', 'restart', 'reload'])
		good[`${verb}Service`] = { id: service };
	const plugin = s.psql(`INSERT INTO postern.plugins (name, plugin_version, status, enabled, enabled_at, actions, kinds) -- posternd's part
		VALUES ('dry', '1', 'active', true, now(), '{"x.go": {}}', '{x.go}') RETURNING id`);
	for (const verb of ['enable', 'disable', 'check', 'delete'])
		good[`${verb}Plugin`] = { id: plugin };
	Object.assign(good, {
		createPlugin: { body: { name: 'drier' } }, replacePlugin: { id: plugin, body: { settings: {} } }, changePlugin: { id: plugin, body: { settings: {} } },
		runPlugin: { id: plugin, body: { action: 'x.go' } },
		setSettings: { body: { job_days: 7 }, doc: true }, putSettings: { body: { job_days: 7 }, doc: true }, changeSettings: { body: { job_days: 7 }, doc: true },
		replaceSetting: { id: 'job_days', body: { value: 7 } }, changeSetting: { id: 'job_days', body: { value: 7 } }, deleteSetting: { id: 'job_days' }, resetSetting: { id: 'job_days' },
	});
	const before = inventory();
	const operations = s.routes().flatMap((resource) => resource.routes.filter((r) => r.method !== 'GET').map((r) => ({ ...r, resource: resource.name })));
	for (const { operation_id, method, path, resource, audit } of operations) {
		const given = good[operation_id];
		assert.ok(given, `no request is known for ${operation_id}: add one`);
		const { id, body, query = '' } = given;
		for (const base of ['/api/v1/', '/api/']) {
			const { status, headers, text, json } = await ask(`${base}${resource}${path.replace('{id}', id)}?dry_run=true${query}`, { method, body });
			assert.equal(status, 200, `${operation_id}: ${text}`);
			assert.equal(json.dry_run, true, operation_id);
			assert.ok(!('token' in (json.data ?? json)) && !('password' in (json.data ?? json)), 'what was not made has no secret');
			assert.equal(headers.get('etag'), null);
			assert.equal(headers.get('location'), null);
			const rows = rowsOf(headers.get('x-request-id'));
			assert.deepEqual(rows.map((r) => [r.action, r.status, r.reason, r.changes]), [[audit, 200, 'dry_run', null]], operation_id);
		}
	}
	assert.equal(inventory(), before);
	const shown = await patch(`/api/v1/domains/${d.id}?dry_run=1`, { mail_enabled: false });
	assert.equal(shown.json.data.mail_enabled, false, 'the answer shows what would be');
	assert.deepEqual((await ask(`/api/domains/${d.id}`)).json, d);
	for (const [path, body, status] of [['/api/domains', { domain: d.domain, account: tenant.username }, 409], ['/api/domains', { domain: 'a..b' }, 422],
		['/api/accounts', { username: tenant.username }, 409], ['/api/domains/999999/suspend', undefined, 404]])
		assert.equal((await post(`${path}?dry_run=true`, body)).status, status, `a dry run says no where the change would: ${path}`);
	assert.equal((await patch(`/api/domains/${d.id}?dry_run=true`, {}, { headers: { 'If-Match': '"7"' } })).status, 412);
	assert.equal((await post('/api/domains?dry_run=maybe', {})).status, 400);
	assert.equal(inventory(), before);
	assert.equal((await post('/api/domains', { domain: 'dry.example', account: tenant.username })).status, 201, 'the name is still free');
});

test('a change, its audit row and its event are there together, and the row names changed fields only', async () => {
	const made = await post('/api/domains', { domain: `${s.unique('t')}.example`, account: tenant.username });
	const [row] = rowsOf(made.headers.get('x-request-id'));
	assert.deepEqual([row.action, row.status, row.outcome, row.object_id], ['domain.create', 201, 'allowed', String(made.json.id)]);
	assert.equal(row.changes.after.domain, made.json.domain);
	assert.equal('before' in row.changes, false);
	const changed = await patch(`/api/domains/${made.json.id}`, { mail_enabled: false, type: made.json.type });
	assert.deepEqual(rowsOf(changed.headers.get('x-request-id'))[0].changes, { before: { held_by: null, mail_enabled: true }, after: { held_by: 'administrator', mail_enabled: false } });
	const nothing = await patch(`/api/domains/${made.json.id}`, { mail_enabled: false });
	assert.equal(rowsOf(nothing.headers.get('x-request-id'))[0].changes, null);
	const failed = await patch(`/api/domains/${made.json.id}`, { type: 'subdomain' });
	assert.equal(failed.status, 422);
	assert.deepEqual(rowsOf(failed.headers.get('x-request-id')).map((r) => [r.action, r.status, r.outcome, r.changes]), [['domain.update', 422, 'failed', null]]);
	const gone = await ask(`/api/domains/${made.json.id}`, { method: 'DELETE' });
	const [last] = rowsOf(gone.headers.get('x-request-id'));
	assert.equal(last.changes.before.domain, made.json.domain);
	assert.equal('after' in last.changes, false);
	const events = s.sql(`SELECT type, request_id, account_id FROM postern.events WHERE object_id = '${made.json.id}' AND resource = 'domain'`);
	const by = { [made.headers.get('x-request-id')]: 'domain.created', [changed.headers.get('x-request-id')]: 'domain.updated',
		[nothing.headers.get('x-request-id')]: 'domain.updated', [gone.headers.get('x-request-id')]: 'domain.deleted' };
	assert.deepEqual(Object.fromEntries(events.map((e) => [e.request_id, e.type])), by, 'the failed one has none');
	assert.ok(events.every((e) => e.account_id === tenant.account.id));
	const xids = s.sql(`SELECT count(DISTINCT x) FROM (SELECT xid::text AS x FROM postern.audit WHERE request_id = '${changed.headers.get('x-request-id')}'
		UNION ALL SELECT xid::text FROM postern.events WHERE request_id = '${changed.headers.get('x-request-id')}') q`);
	assert.equal(xids[0].count, 1, 'one transaction');
});

test('a show-once secret is in its one answer, and nowhere else', async () => {
	const minted = await post('/api/tokens', { name: s.unique('once'), scopes: ['domains:read'] }, { headers: { 'Idempotency-Key': s.unique('k') } });
	assert.equal(minted.status, 201, minted.text);
	const secret = minted.json.token.slice(-38, -6);
	assert.ok(!('token' in (await ask(`/api/tokens/${minted.json.id}`)).json));
	assert.ok(!s.psql(`SELECT string_agg(t::text, ' ') FROM postern.audit t; SELECT string_agg(t::text, ' ') FROM postern.events t;
		SELECT string_agg(t::text, ' ') FROM postern.kept_answers t; SELECT string_agg(t::text, ' ') FROM postern.tokens t`).includes(secret));
});

test('what is unique is a 409 that does not say whose it is', async () => {
	const other = s.tenant();
	const theirs = s.mint({ owner: other.user.username, scopes: ['*', 'tokens:read', 'tokens:write', 'tokens:delete'] }).token;
	const d = await domain();
	for (const [who, path, body, field] of [[theirs, '/api/domains', { domain: d.domain }, 'domain'], [theirs, '/api/users', { username: other.user.username }, 'username'],
		[token, '/api/accounts', { username: tenant.username }, 'username'], [token, '/api/roles', { name: 'viewer', scopes: [] }, 'name']]) {
		const { status, text, json } = await post(path, body, { token: who });
		assert.equal(status, 409, text);
		assert.equal(json.error.code, 'conflict');
		assert.equal(json.error.fields[field], 'is taken');
		if (who === theirs)
			assert.ok(!text.replaceAll(tenant.user.username, '').includes(tenant.username) && !text.includes(`"${tenant.account.id}"`), text);
	}
	const name = s.unique('same');
	assert.equal((await post('/api/tokens', { name, scopes: ['domains:read'] })).status, 201);
	assert.equal((await post('/api/tokens', { name, scopes: ['domains:read'] })).status, 409);
});

test('of two tenants that claim a name at the same moment exactly one gets it', async () => {
	const pair = [s.tenant(), s.tenant()].map((t) => s.mint({ owner: t.user.username, scopes: ['*'] }).token);
	for (let round = 0; round < 10; round++) {
		const name = `${s.unique('race')}.example`;
		const all = await Promise.all([0, 1, 0, 1, 0, 1].map((i) => post('/api/domains', { domain: name }, { token: pair[i] })));
		assert.deepEqual(all.map((a) => a.status).sort(), [201, 409, 409, 409, 409, 409]);
		assert.equal(s.sql(`SELECT count(*) FROM postern.domains WHERE domain = '${name}'`)[0].count, 1);
	}
});

test('Idempotency-Key: the same request again gets the first answer and does nothing', async () => {
	for (const [method, path, body] of [['POST', '/api/v1/domains', { domain: `${s.unique('i')}.example`, account: tenant.username }],
		['PATCH', `/api/domains/${(await domain()).id}`, { mail_enabled: false }], ['POST', `/api/v1/domains/${(await domain()).id}/suspend`],
		['DELETE', `/api/domains.php?id=${(await domain()).id}`], ['POST', '/api/users', { username: s.unique('i') }]]) {
		const headers = { 'Idempotency-Key': s.unique('key-') };
		const first = await ask(path, { method, body, headers });
		assert.ok(first.status < 300, first.text);
		assert.equal(first.headers.get('idempotent-replayed'), null);
		const before = inventory();
		for (const key of [headers['Idempotency-Key'], `"${headers['Idempotency-Key']}"`]) {
			const again = await ask(path, { method, body, headers: { 'Idempotency-Key': key } });
			assert.deepEqual([again.status, again.text], [first.status, first.text], path);
			assert.equal(again.headers.get('idempotent-replayed'), 'true');
			for (const name of ['location', 'etag', 'cache-control', 'content-type'])
				assert.equal(again.headers.get(name), first.headers.get(name), name);
			assert.deepEqual(rowsOf(again.headers.get('x-request-id')).map((r) => [r.status, r.reason]), [[first.status, 'replayed']]);
		}
		assert.equal(inventory(), before);
	}
});

test('20 identical creates under one Idempotency-Key make one object', async () => {
	const body = { domain: `${s.unique('many')}.example`, account: tenant.username }, headers = { 'Idempotency-Key': s.unique('many-') };
	const all = await Promise.all(Array.from({ length: 20 }, () => post('/api/domains', body, { headers })));
	assert.ok(all.every((a) => a.status === 201 || (a.status === 409 && !a.json.error.fields)), all.map((a) => a.text).join('\n'));
	const made = all.filter((a) => a.status === 201);
	assert.equal(made.filter((a) => !a.headers.get('idempotent-replayed')).length, 1);
	assert.equal(new Set(made.map((a) => a.json.id)).size, 1);
	assert.equal(s.sql(`SELECT count(*) FROM postern.events WHERE type = 'domain.created' AND data ->> 'domain' = '${body.domain}'`)[0].count, 1);
});

test('another request under a used Idempotency-Key is a 422', async () => {
	const d = await domain(), e = await domain(), headers = { 'Idempotency-Key': s.unique('other-') };
	assert.equal((await ask(`/api/v1/domains.php?id=${d.id}`, { method: 'DELETE', headers })).status, 204);
	for (const [method, path, body] of [['DELETE', `/api/v1/domains.php?id=${e.id}`], ['DELETE', `/api/v1/domains/${d.id}`], ['PATCH', `/api/v1/domains.php?id=${d.id}`, {}],
		['DELETE', `/api/v1/domains.php?id=${d.id}&cascade=true`], ['DELETE', `/api/v1/domains.php?id=${d.id}`, {}]]) {
		const { status, json } = await ask(path, { method, body, headers });
		assert.equal(status, 422, `${method} ${path}`);
		assert.match(json.error.message, /Idempotency-Key/);
	}
	assert.equal((await ask(`/api/domains/${e.id}`)).status, 200);
	const stranger = s.mint().token; // a key is its token's own
	assert.equal((await post('/api/domains', { domain: `${s.unique('o')}.example`, account: tenant.username }, { headers, token: stranger })).status, 201);
});

test('only answers of committed changes are kept under an Idempotency-Key', async () => {
	const d = await domain(), headers = { 'Idempotency-Key': s.unique('failed-') };
	const body = { domain: d.domain, account: tenant.username };
	assert.equal((await post('/api/domains', body, { headers })).status, 409);
	assert.equal((await post('/api/domains', { domain: 'a..b' }, { headers })).status, 422);
	assert.equal((await ask(`/api/domains/${d.id}`, { method: 'DELETE' })).status, 204);
	const dry = await post('/api/domains?dry_run=true', body, { headers });
	assert.equal(dry.status, 200);
	const made = await post('/api/domains', body, { headers });
	assert.equal(made.status, 201, made.text);
	assert.equal(made.headers.get('idempotent-replayed'), null);
});

test('a show-once secret is replayed as null with the remedy', async () => {
	for (const [path, body] of [['/api/v1/tokens', { name: s.unique('rep'), scopes: ['domains:read'] }],
		[`/api/v1/tokens/${s.mint({ scopes: ['domains:read'] }).id}/rotate`, { grace_s: 60 }]]) {
		const headers = { 'Idempotency-Key': s.unique('secret-') };
		const first = (await post(path, body, { headers })).json.data, again = await post(path, body, { headers });
		assert.match(first.token, /^pst_/);
		assert.equal(again.headers.get('idempotent-replayed'), 'true');
		assert.equal(again.json.data.token, null);
		assert.match(again.json.data.token_remedy, /rotate/);
		assert.equal(again.json.data.id, first.id);
	}
});

test('an Idempotency-Key is kept for 24 hours', async () => {
	const headers = { 'Idempotency-Key': s.unique('day-') }, body = { domain: `${s.unique('day')}.example`, account: tenant.username };
	const move = (ahead) => s.psql(`UPDATE postern.test_clock SET ahead = '${ahead}'`);
	assert.equal((await post('/api/domains', body, { headers })).status, 201);
	try {
		move('23 h 59 min');
		assert.equal((await post('/api/domains', body, { headers })).headers.get('idempotent-replayed'), 'true');
		move('24 h 1 min');
		assert.equal((await post('/api/domains', body, { headers })).status, 409, 'a new request: the name is taken');
	} finally {
		move('0');
	}
});

test('an Idempotency-Key that cannot be kept is a 400', async () => {
	for (const key of ['x'.repeat(256), '""', 'two words', 'caf\u00e9', 'a"b']) {
		const { status, json } = await post('/api/domains', { domain: `${s.unique('l')}.example`, account: tenant.username }, { headers: { 'Idempotency-Key': key } });
		assert.equal(status, 400, key);
		assert.match(json.error.message, /Idempotency-Key/);
	}
	assert.equal((await post('/api/users', { username: s.unique('l') }, { headers: { 'Idempotency-Key': 'x'.repeat(255) } })).status, 201);
});

test('cascade is for DELETE, and parameters of lists are for lists', async () => {
	const d = await domain();
	for (const [method, path] of [['PATCH', `/api/domains/${d.id}?cascade=true`], ['POST', '/api/domains?page=1'], ['DELETE', `/api/domains/${d.id}?cascade=perhaps`],
		['DELETE', `/api/domains/${d.id}?cascde=true`], ['DELETE', `/api/domains/${d.id}?id=${d.id}`]])
		assert.equal((await ask(path, { method, body: method === 'DELETE' ? undefined : {} })).status, 400, path);
	assert.equal((await ask(`/api/domains/${d.id}?cascade=true`, { method: 'DELETE' })).status, 204);
});
