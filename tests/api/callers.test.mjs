// What callers meet: one token in two headers, open routes, a narrow token's own questions, scopes by every name, addresses and
// parameters as clients really send them, and refusals that name what was given and where to go.
import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, test } from 'node:test';

import { startStack } from './harness.mjs';

let s, tenant, narrow;

before(async () => {
	s = await startStack('callers');
	tenant = s.tenant();
	narrow = s.mint({ owner: tenant.username + '-user', scopes: ['mailboxes:read'] });
});
after(() => s?.stop());

// fetch() tidies addresses and headers; this sends them as they are.
const raw = (path, headers = {}, method = 'GET', body) => new Promise((resolve, reject) => {
	const url = new URL(s.url);
	const sized = body === undefined ? headers : { ...headers, 'Content-Length': Buffer.byteLength(body) };
	http.request({ host: url.hostname, port: url.port, method, path, headers: sized }, (answer) => {
		let text = '';
		answer.setEncoding('utf8').on('data', (d) => { text += d; }).on('end', () => {
			let json;
			try {
				json = JSON.parse(text);
			} catch {
				json = undefined;
			}
			resolve({ status: answer.statusCode, headers: answer.headers, text, json });
		});
	}).on('error', reject).end(body);
});
const bearer = (token) => ({ Authorization: `Bearer ${token}` });
const failed = (answer, status, pattern) => {
	assert.equal(answer.status, status, answer.text);
	assert.match(answer.text, pattern);
};

test('one token in both headers, or twice in one, is one token; different ones are a 400', async () => {
	for (const headers of [
		{ ...bearer(s.token), 'X-API-Key': s.token },
		{ Authorization: `Bearer ${s.token}, Bearer ${s.token}` },
		{ 'X-API-Key': `${s.token}, ${s.token}` },
		{ Authorization: 'Bearer ', 'X-API-Key': s.token },
	])
		assert.equal((await raw('/api/v1/me', headers)).status, 200, Object.keys(headers).join());
	for (const headers of [
		{ ...bearer(s.token), 'X-API-Key': narrow.token },
		{ Authorization: `Bearer ${s.token}, Bearer ${narrow.token}` },
		{ 'X-API-Key': `${narrow.token}, ${s.token}` },
	])
		failed(await raw('/api/v1/me', headers), 400, /two different tokens/);
});

test('an open address answers any token as it answers nobody, and the trail says so', async () => {
	const spent = s.mint({ owner: `${tenant.username}-user`, scopes: ['domains:read'], expires_on: '2099-01-01' });
	s.psql(`UPDATE postern.tokens SET expires_at = '2020-01-01' WHERE id = '${spent.id}'`);
	const unknown = s.mint({ scopes: ['domains:read'] });
	s.psql(`DELETE FROM postern.tokens WHERE id = '${unknown.id}'`);
	const slow = s.mint({ owner: `${tenant.username}-user`, scopes: ['domains:read'], rate_limit: 1 });
	await s.ask('/api/v1/domains', { token: slow.token });
	for (const path of ['/api/openapi.json', '/api/openapi.yaml', '/api/v1/health', '/api/health', '/api/docs/']) {
		const nobody = await s.ask(path, { token: null });
		assert.equal(nobody.status, 200, path);
		for (const token of [narrow.token, spent.token, unknown.token, slow.token, 'nonsense', '']) {
			const answer = await s.ask(path, { token });
			assert.equal(answer.status, 200, `${path} ${answer.text}`);
			assert.equal(answer.text, nobody.text, path);
		}
	}
	const tag = (await s.ask('/api/openapi.json', { token: null })).headers.get('etag');
	assert.equal((await s.ask('/api/openapi.json', { token: narrow.token, headers: { 'If-None-Match': tag } })).status, 304);
	assert.ok((await s.ask('/api/health')).json.database, 'with platform:read it tells all');
	assert.deepEqual(s.sql(`SELECT DISTINCT status, outcome, reason FROM postern.audit WHERE token_id = '${narrow.id}' AND resource IN ('health', 'openapi')`),
		[{ status: 200, outcome: 'allowed', reason: 'open' }]);
	const explained = await s.ask('/api/v1/explain', { method: 'POST', body: { method: 'GET', path: '/api/health', token: narrow.id } });
	assert.equal(explained.json.data.allowed, true, explained.text);
});

test('every valid token may ask who it is, in every spelling, and what scopes there are', async () => {
	const token = s.mint({ owner: `${tenant.username}-user`, scopes: ['cron:read'], deny: ['*'], rate_limit: 7777, allowed_ips: ['127.0.0.0/8', '::1'] });
	for (const path of ['/api/v1/tokens/self', '/api/v1/tokens.php/self', '/api/v1/tokens.php?id=self', '/api/v1/api-keys/self', '/api/v1/api-keys.php?id=self']) {
		const { status, json, text } = await s.ask(path, { token: token.token });
		assert.equal(status, 200, text);
		const { id, name, owner, account, scopes, deny, rate_limit: rate, action_limit: actions, expires_at: end, status: state } = json.data;
		assert.deepEqual([id, name, owner, account, scopes, deny, rate, actions, state],
			[token.id, token.name, `${tenant.username}-user`, tenant.username, ['cron:read'], ['*'], 7777, 10, 'active']);
		assert.match(end, /^\d{4}-/);
	}
	assert.equal((await s.ask('/api/tokens/self', { token: token.token })).json.name, token.name);
	failed(await s.ask('/api/v1/me', { token: token.token }), 403, /needed: profile:read; .*\/api\/v1\/tokens\/self/); // me keeps needing profile:read
	assert.equal((await s.ask('/api/v1/tokens/self', { token: null })).status, 401);
	assert.ok(s.sql(`SELECT FROM postern.audit WHERE token_id = '${token.id}' AND resource = 'token' AND verb = 'read' AND status = 200`).length >= 6);

	const all = await s.ask('/api/v1/scopes?per_page=100', { token: token.token });
	assert.equal(all.status, 200, all.text);
	const wanted = new Set(s.routes().flatMap((r) => [...r.routes.map((route) => route.scope), ...(r.scope_too ? [r.scope_too] : [])]));
	wanted.delete('-');
	assert.deepEqual(all.json.data.items.map((i) => i.id).sort(), [...wanted].sort());
	for (const item of all.json.data.items)
		assert.ok(item.description.length > 5, item.id);
	const mail = (await s.ask('/api/scopes/mailboxes:read', { token: token.token })).json;
	assert.match(mail.description, /List mailboxes/);
	assert.deepEqual(mail.aliases, ['email:read']);
	assert.equal(JSON.parse(s.cli(['--json', 'scope', 'get', 'domains:read']).stdout).role, 'viewer');
	const both = await Promise.all([token, narrow].map((t) => s.ask('/api/scopes', { token: t.token })));
	assert.deepEqual(both.map((b) => b.json.data.length), [20, 20]);
});

test('every alias of a resource is one in scopes: of tokens, of what they are denied, of roles, by command and by API', async () => {
	const made = await s.ask('/api/v1/tokens', { method: 'POST', body: {
		name: s.unique('a'), owner: `${tenant.username}-user`, scopes: ['email:read', 'mailboxes.read', 'read:email', 'api-keys:read'], deny: ['email:delete'] } });
	assert.equal(made.status, 201, made.text);
	assert.deepEqual([made.json.data.scopes, made.json.data.deny], [['mailboxes:read', 'tokens:read'], ['mailboxes:delete']]);
	assert.equal((await s.ask('/api/v1/email', { token: made.json.data.token })).status, 200);
	const wild = s.mint({ owner: `${tenant.username}-user`, scopes: ['email:*'] });
	assert.deepEqual(wild.scopes, ['mailboxes:*']);
	const role = await s.ask('/api/v1/roles', { method: 'POST', body: { name: s.unique('r'), scopes: ['config:read', 'email:write'], base: 'admin' } });
	assert.deepEqual(role.json.data.scopes, ['settings:read', 'mailboxes:write'], role.text);
	for (const resource of s.routes().filter((r) => r.alias && r.alias !== r.name)) {
		const scope = resource.routes.find((r) => r.scope.startsWith(`${resource.name}:`))?.scope;
		if (scope)
			assert.deepEqual(s.mint({ scopes: [scope.replace(resource.name, resource.alias)] }).scopes, [scope]);
	}
	failed(await s.ask('/api/v1/tokens', { method: 'POST', body: { name: s.unique('a'), scopes: ['emial:read'] } }), 422, /no scope/);
});

test('an address that leads nowhere is a 404 in the dialect of its prefix, whatever bytes and length it has', async () => {
	for (const resource of ['domains', 'tokens', 'jobs', 'databases', 'scopes', 'usage', 'settings', 'mailboxes'])
		for (const end of ['%ff', '%01', 'a%ffb/suspend', '%c3%28', '%7f', 'x'.repeat(3000), '9'.repeat(3000), '%f0%9f%98%80', 'a%2fb'])
			for (const prefix of ['/api/v1', '/api/v1/admin', '/api']) {
				const answer = await raw(`${prefix}/${resource}/${end}`, bearer(s.token));
				const shown = `${prefix}/${resource}/${end.slice(0, 20)}: ${answer.status} ${answer.text.slice(0, 300)}`;
				assert.ok([404, 405].includes(answer.status), shown);
				assert.equal(answer.json?.error?.code, { 404: 'not_found', 405: 'method_not_allowed' }[answer.status], shown);
				assert.equal('success' in answer.json, prefix !== '/api', shown);
			}
	for (const method of ['PATCH', 'DELETE'])
		failed(await raw(`/api/v1/domains/${'x'.repeat(3000)}`,
			{ ...bearer(s.token), 'Content-Type': 'application/json' }, method, '{}'), 404, /not_found/);
	failed(await raw(`/api/v1/domains.php?id=${'x'.repeat(3000)}`, bearer(s.token)), 404, /not_found/);
});

test('a body in an encoding that is not read is a 415 that says which are', async () => {
	const send = (encoding) => raw('/api/v1/domains', { ...bearer(s.token), 'Content-Type': 'application/json', 'Content-Encoding': encoding }, 'POST', '{"domain":"x"}');
	for (const encoding of ['gzip', 'br', 'deflate, gzip']) {
		const answer = await send(encoding);
		failed(answer, 415, /Content-Encoding/);
		assert.equal(answer.headers['accept-encoding'], 'identity');
		assert.equal(answer.headers.accept, undefined);
	}
	assert.equal((await send('identity')).status, 422);
});

test('what is left of a window lies within it', async () => {
	for (let i = 0; i < 30; i++) {
		const { headers } = await s.ask('/api/v1/domains', { token: s.mint({ scopes: ['domains:read'] }).token });
		const [, t] = /t=(\d+)/.exec(headers.get('ratelimit'));
		const [, w] = /w=(\d+)/.exec(headers.get('ratelimit-policy'));
		assert.ok(Number(t) <= Number(w), `${t} of ${w}`);
	}
});

test('a filter that comes several times is a list; other parameters come once, and the hint names the comma', async () => {
	const t = s.tenant();
	for (const [domain, type] of [['a', 'primary'], ['b', 'addon'], ['c', 'alias']])
		s.cliJson(['domain', 'create', '--domain', `${domain}.${t.username}.example`, '--account', t.username, '--type', type]);
	const list = async (query) => (await s.ask(`/api/v1/domains?account=${t.username}&${query}`)).json.data.items.map((d) => d.type).sort().join();
	assert.equal(await list('type=primary&type=addon'), 'addon,primary');
	assert.equal(await list('type=primary,alias&type=addon'), 'addon,alias,primary');
	failed(await s.ask('/api/v1/domains?type=primary&type=nonsense'), 400, /must be one of: .*several values are written with commas/);
	failed(await s.ask('/api/v1/domains?type[]=primary'), 400, /write \\"type\\", and several values with commas/);
	failed(await s.ask('/api/v1/domains?page=1&page=2'), 400, /page.*given twice/);
});

test('bounds are counted in characters, as the description says', async () => {
	const name = 'ü'.repeat(200);
	const made = await s.ask('/api/v1/accounts', { method: 'POST', body: { username: s.unique('u'), name } });
	assert.equal(made.status, 201, made.text);
	assert.equal((await s.ask(`/api/v1/accounts?search=${encodeURIComponent(name)}`)).json.data.items.length, 1);
	failed(await s.ask('/api/v1/accounts', { method: 'POST', body: { username: s.unique('u'), name: `${name}ü` } }), 422, /1 to 200 characters; it has 201/);
	failed(await s.ask(`/api/v1/accounts?search=${encodeURIComponent(name)}x`), 400, /1 to 200 characters/);
	const domain = `${s.unique('d')}.example`;
	s.cliJson(['domain', 'create', '--domain', domain, '--account', tenant.username, '--mail-enabled', 'true']);
	failed(await s.ask('/api/v1/mailboxes', { method: 'POST', body: { address: `a@${domain}`, password: 'ü'.repeat(40) } }), 422, /at most 72 bytes/);
});

test('a fault is told of the field that was given', async () => {
	const post = (body) => s.ask('/api/v1/tokens', { method: 'POST', body: { name: s.unique('n'), scopes: ['domains:read'], ...body } });
	const past = await post({ expires_on: '2020-01-01' });
	assert.equal(past.status, 422);
	assert.deepEqual(past.json.error.fields, { expires_on: 'must lie in the future' });
	assert.match(past.json.message, /^expires_on: /);
	assert.deepEqual(Object.keys((await post({ expires_at: '2020-01-01T00:00:00Z' })).json.error.fields), ['expires_at']);
	const minter = s.mint({ owner: `${tenant.username}-user`, scopes: ['tokens:write', 'domains:read'], rate_limit: 50 });
	const more = await s.ask('/api/v1/tokens', { token: minter.token, method: 'POST', body: { name: s.unique('n'), scopes: ['domains:read'], rateLimitRpm: 60 } });
	assert.equal(more.status, 422, more.text);
	assert.deepEqual(Object.keys(more.json.error.fields), ['rateLimitRpm']);
	const late = s.mint({ owner: `${tenant.username}-user`, scopes: ['tokens:write', 'domains:read'], expires_on: '2030-01-01' });
	assert.deepEqual(Object.keys((await s.ask('/api/v1/tokens', { token: late.token, method: 'POST',
		body: { name: s.unique('n'), scopes: ['domains:read'], expires_on: '2031-01-01' } })).json.error.fields), ['expires_on']);
});

test('a hint knows the words that people have for a field', async () => {
	for (const [path, meant] of [['domains?limit=5', 'per_page'], ['domains?pageSize=5', 'per_page'], ['domains?name=a.example', 'domain'], ['domains?q=x', 'search'],
		['domains?order_by=id', 'sort'], ['mailboxes?email=a', 'address'], ['domains?offset=3', 'page'], ['audit?from=x', 'since'], ['accounts?user=x', 'username']])
		failed(await s.ask(`/api/v1/${path}`), 400, new RegExp(`did you mean \\\\"${meant}\\\\"`));
	for (const [path, body, meant] of [['domains', { name: 'a.example' }, 'domain'], ['domains', { hostname: 'a.example' }, 'domain'], ['users', { user: 'a' }, 'username'],
		['users', { name: 'a' }, 'username'], ['mailboxes', { email: 'a@b.example' }, 'address'], ['mailboxes', { pass: 'x' }, 'password'], ['forwarders', { to: 'x' }, 'destinations'],
		['websites', { root: '/x' }, 'document_root'], ['tokens', { permissions: [] }, 'scopes'], ['cron', { cmd: 'x' }, 'command'], ['ssl', { key: 'x' }, 'private_key']])
		failed(await s.ask(`/api/v1/${path}`, { method: 'POST', body }), 422, new RegExp(`did you mean \\\\"${meant}\\\\"`));
});

test('one thing has one word in jobs, events and trail, and is found by each of its names; of no account is null, which 0 finds', async () => {
	const domain = `${s.unique('d')}.example`;
	const { id } = s.cliJson(['domain', 'create', '--domain', domain, '--account', tenant.username]);
	const site = s.cliJson(['website', 'create', '--domain', domain]);
	s.psql('SELECT work.sequence(10000)'); // posternd's part
	for (const word of ['website', 'websites'])
		for (const list of [`jobs?resource=${word}`, `audit?resource=${word}`, `audit?action=${word}.create`, `events?resource=${word}&per_page=100`]) {
			const rows = (await s.ask(`/api/${list}`)).json.data.filter((r) => r.object_id === site.id);
			assert.ok(rows.length >= 1, list);
			assert.deepEqual([...new Set(rows.map((r) => r.resource))], ['website'], list);
		}
	for (const list of ['jobs', 'audit', 'events']) // an id is a number where the resource has numbers, and a filter finds it
		assert.ok((await s.ask(`/api/${list}?object_id=${site.id}&resource=website`)).json.data.every((r) => r.object_id === site.id), list);
	const told = s.sql(`SELECT DISTINCT data ->> 'resource' AS word FROM postern.events WHERE type = 'job.queued' AND data ->> 'object_id' = '${site.id}'`);
	assert.ok(told.some((row) => row.word === 'website'));
	s.cliJson(['ssl', 'create', '--domain', domain, '--names', domain]);
	for (const path of ['/api/v1/ssl', '/api/v1/certificates', '/api/certificates.php'])
		assert.equal((await s.ask(`${path}?domain=${domain}`, { token: s.mint({ scopes: ['certificates:read'] }).token })).status, 200, path);
	for (const word of ['ssl', 'certificate', 'certificates'])
		assert.ok((await s.ask(`/api/audit?resource=${word}&action=${word}.create`)).json.data.length >= 1, word);
	const me = { method: 'GET', path: '/api/me' };
	for (const path of ['/api/explain', '/api/explanations'])
		assert.equal((await s.ask(path, { method: 'POST', body: me })).status, 200, path);
	await s.ask('/api/v1/roles');
	for (const list of ['audit', 'events', 'jobs', 'tokens', 'users']) {
		const rows = (await s.ask(`/api/${list}?account_id=0&per_page=100`)).json.data;
		assert.ok(rows.every((r) => r.account_id === null), list);
		assert.ok(list === 'events' || list === 'jobs' || rows.length >= 1, list);
		assert.ok((await s.ask(`/api/${list}?per_page=100`)).json.data.every((r) => r.account_id !== 0), list);
	}
	assert.ok((await s.ask(`/api/audit?account_id=${tenant.account.id}`)).json.data.every((r) => r.account_id === tenant.account.id));
	assert.equal((await s.ask(`/api/domains?account_id=${tenant.account.id}&domain=${domain}`)).json.data[0].id, id);
});

test('a job that the clock asked for says so', async () => {
	const id = s.psql(`SELECT gate.work(work.clockwork(), ${tenant.account.id}, 'usage.measure', 'usage', '${tenant.account.id}')`).trim();
	assert.deepEqual([(await s.ask(`/api/jobs/${id}`)).json.held_by, (await s.ask(`/api/jobs/${id}`)).json.source], ['schedule', 'schedule']);
	assert.deepEqual((await s.ask('/api/jobs?held_by=schedule')).json.data.map((j) => j.id), [id]);
});

test('a database and a mailbox name their servers from the first answer on', async () => {
	const other = await startStack('callers-servers', { POSTERN_DATABASES_POSTGRESQL_DSN: 'host=db.example.net port=6543 dbname=postgres', POSTERN_MAIL_HOST: 'mail.example.net',
		POSTERN_IMAP_PORT: '143', POSTERN_MARIADB_COMMAND: '/usr/bin/mariadb' });
	try {
		const t = other.tenant();
		const make = async (engine) => (await other.ask('/api/v1/databases', { method: 'POST', body: { name: 'shop', engine, account: t.username } })).json.data;
		const pg = await make('postgresql'), maria = await make('mariadb');
		assert.deepEqual([pg.host, pg.port, maria.host, maria.port], ['db.example.net', 6543, 'localhost', 3306]);
		other.cliJson(['domain', 'create', '--domain', `${t.username}.example`, '--account', t.username, '--mail-enabled', 'true']);
		const box = (await other.ask('/api/v1/mailboxes', { method: 'POST', body: { address: `a@${t.username}.example`, password: 'correct horse' } })).json.data;
		assert.deepEqual([box.imap_host, box.imap_port, box.smtp_host, box.smtp_port], ['mail.example.net', 143, 'mail.example.net', 587]);
		assert.equal(other.cliJson(['database', 'list', '--account', t.username]).data[0].host, 'db.example.net');
	} finally {
		other.stop();
	}
});

test('counts are those of now, and a tag changes with them', async () => {
	const t = s.tenant();
	const token = s.mint({ owner: t.user.username, scopes: ['*'] }).token;
	const first = await s.ask(`/api/usage/${t.username}`, { token });
	assert.deepEqual([first.json.domains, first.json.cron, first.json.disk_bytes, first.json.computed_at], [0, 0, null, null]);
	const jobs = first.json.jobs;
	await s.ask('/api/cron', { token, method: 'POST', body: { schedule: '@daily', command: 'true' } });
	const then = await s.ask(`/api/usage/${t.username}`, { token, headers: { 'If-None-Match': first.headers.get('etag') } });
	assert.equal(then.status, 200);
	assert.deepEqual([then.json.cron, then.json.tokens, then.json.users, then.json.jobs, then.json.max_jobs], [1, 1, 1, jobs + 1, 100]);
	assert.equal((await s.ask(`/api/usage/${t.username}`, { token, headers: { 'If-None-Match': then.headers.get('etag') } })).status, 304);
});

test('a refusal says who may, and what to do about that which was refused', async () => {
	const customer = s.mint({ owner: tenant.user.username, scopes: ['*'] }).token;
	const bound = s.mint({ scopes: ['*'], account: tenant.username }).token;
	const { id } = s.cliJson(['domain', 'create', '--domain', `${s.unique('d')}.example`, '--account', tenant.username]);
	for (const [token, path, body] of [[customer, `domains/${id}/confirm`], [customer, 'accounts', { username: 'x' }], [bound, 'accounts', { username: 'x' }]]) {
		const refused = await s.ask(`/api/${path}`, { token, method: 'POST', body });
		assert.equal(refused.status, 403);
		assert.match(refused.json.error.message, /administrators only/);
		assert.match(refused.json.error.details, /use an administrator's token/);
	}
	const field = await s.ask(`/api/accounts/${tenant.account.id}`, { token: customer, method: 'PATCH', body: { max_domains: 7 } });
	assert.equal(field.status, 403, field.text);
	assert.match(field.json.error.fields.max_domains, /administrator only/);
	assert.match(field.json.error.details, /^Leave out what the message names, or ask an administrator/);
	const owner = await s.ask('/api/tokens', { token: s.mint({ owner: tenant.user.username, scopes: ['*', 'tokens:write'] }).token, method: 'POST',
		body: { name: s.unique('n'), scopes: ['domains:read'], owner: 'admin' } });
	assert.equal(owner.status, 403, owner.text);
	assert.match(owner.json.error.details, /^Leave out/);
	const lost = await s.ask('/api/v1/nowhere', { token: customer });
	assert.match(lost.json?.error?.details ?? '', /\/api\/openapi\.json/);
});

test('a token that may read events and nothing that they tell of is told so', async () => {
	const token = s.mint({ owner: tenant.user.username, scopes: ['events:read'] }).token;
	const { json } = await s.ask('/api/v1/events', { token });
	assert.deepEqual(json.data.items, []);
	assert.match(json.message, /what it may read: of domains with domains:read/);
});

test('a rotation\'s grace is shown on the token', async () => {
	const made = s.mint({ owner: tenant.user.username, scopes: ['domains:read'] });
	const rotated = s.cliJson(['token', 'rotate', made.id, '--grace-s', '600']);
	const left = Date.parse(rotated.old_key_expires_at) - Date.now();
	assert.ok(left > 500e3 && left < 601e3, rotated.old_key_expires_at);
	assert.equal((await s.ask('/api/tokens/self', { token: made.token })).json.old_key_expires_at, (await s.ask(`/api/tokens/self`, { token: rotated.token })).json.old_key_expires_at);
	assert.equal(s.cliJson(['token', 'rotate', made.id]).old_key_expires_at, null);
});
