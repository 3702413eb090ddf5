// Lists: pages, cursors, filters, search and order, for every resource that lists.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { startStack } from './harness.mjs';

let s, token, listable;
const accounts = [];

before(async () => {
	s = await startStack('lists', { DOMAIN_PROOF: 'off' });
	token = s.mint().token;
	listable = s.routes().filter((r) => r.routes.some((route) => route.does === 'list'));
	for (const username of ['ada', 'bob', 'cyd']) {
		accounts.push(s.cliJson(['account', 'create', '--username', username, '--name', `100%_${username}\\`]));
		s.cliJson(['user', 'create', '--username', username, '--account', username]);
	}
	// rows by SQL, where hundreds are needed: every name three times over accounts, so that sorted fields have equal values
	s.psql(`INSERT INTO postern.domain_names SELECT 'd' || to_char(i, 'FM0000') || '.example', (ARRAY[${accounts.map((a) => a.id)}])[1 + i % 3]
		FROM generate_series(1, 500) i;
		INSERT INTO postern.domains (account_id, domain, type, document_root, mail_enabled, status, proof, proven_at, created_at)
		SELECT n.account_id, n.domain, 'addon', '/home/x/' || n.domain, i % 2 = 0, CASE WHEN i % 5 = 0 THEN 'suspended' ELSE 'active' END, 'administrator', now(),
			'2026-01-01'::timestamptz + make_interval(secs => i / 10 * 1.000001)
		FROM (SELECT *, substr(domain, 2, 4)::int AS i FROM postern.domain_names) n WHERE n.domain LIKE 'd____.example';
		INSERT INTO postern.websites (account_id, domain_id, web_server, runtime, status)
		SELECT account_id, id, CASE WHEN id % 3 = 0 THEN 'apache' ELSE 'nginx' END, 'static', status FROM postern.domains WHERE id % 4 = 0;
		INSERT INTO postern.mailboxes (account_id, domain_id, address, password, quota_mb, status)
		SELECT account_id, id, 'a@' || domain, '{BLF-CRYPT}$2b$10$' || repeat('x', 53), id, status FROM postern.domains WHERE id % 50 = 0;
		INSERT INTO postern.forwarders (account_id, domain_id, address, destinations)
		SELECT account_id, id, '@' || domain, '{b@example.net}' FROM postern.domains WHERE id % 50 = 0;
		INSERT INTO postern.certificates (account_id, domain_id, source, wanted, status)
		SELECT account_id, id, CASE WHEN id % 100 = 0 THEN 'acme' ELSE 'upload' END, ARRAY[domain], 'error' FROM postern.domains WHERE id % 50 = 0;
		INSERT INTO postern.databases (account_id, engine, name, username, charset, verifier, size_bytes)
		SELECT ${accounts[0].id}, 'postgresql', 'l_' || i, 'l_' || i, 'UTF8', 'x', i / 2 FROM generate_series(1, 9) i;
		INSERT INTO postern.cron (account_id, name, schedule, command, time_zone)
		SELECT ${accounts[0].id}, 'c' || i / 2, '@daily', 'true', 'UTC' FROM generate_series(1, 9) i;
		INSERT INTO postern.backups (account_id, kind, status, parts, finished_at)
		SELECT ${accounts[0].id}, CASE WHEN i % 2 = 0 THEN 'full' ELSE 'mail' END, 'active', '[]', now() FROM generate_series(1, 9) i;
		INSERT INTO postern.services (kind, name, state, enabled) SELECT 'system', 's' || i, CASE WHEN i % 2 = 0 THEN 'active' ELSE 'failed' END, i % 3 = 0 FROM generate_series(1, 9) i;
		INSERT INTO postern.plugins (name, status, description) SELECT 'plug' || i, CASE WHEN i % 2 = 0 THEN 'active' ELSE 'error' END, 'd' || i / 2 FROM generate_series(1, 9) i;
		SELECT work.sequence(100000)`);
});
after(() => s?.stop());

const ask = (path, options = {}) => s.ask(path, { token, ...options });
async function list(path) {
	const { status, text, json } = await ask(path);
	assert.equal(status, 200, `${path}: ${text}`);
	return json;
}
async function refused(path, field, pattern) {
	const { status, json } = await ask(path);
	assert.equal(status, 400, path);
	assert.equal(json.error.code, 'bad_request');
	assert.ok(json.error.fields?.[field], `${path}: ${JSON.stringify(json.error)}`);
	if (pattern)
		assert.match(json.error.fields[field], pattern, path);
}
// All rows by cursor. between() runs after each page.
async function walk(path, between) {
	const rows = [];
	for (let cursor = null, first = true; first || cursor; first = false) {
		const json = await list(`${path}${path.includes('?') ? '&' : '?'}${cursor ? `cursor=${cursor}` : ''}`.replace(/[?&]$/, ''));
		rows.push(...json.data);
		cursor = json.next_cursor;
		if (!first)
			assert.equal(json.total, null);
		await between?.();
	}
	return rows;
}

test('pages have exact totals and end empty, for every resource', async () => {
	for (const resource of listable.filter((r) => !r.cursor_only)) {
		const path = `/api/${resource.name}`;
		const all = await list(`${path}?per_page=100`);
		assert.equal(typeof all.total, 'number');
		assert.ok(all.total > 0, resource.name);
		assert.deepEqual([all.page, all.per_page], [1, 100]);
		const pages = [];
		for (let page = 1; page <= Math.min(all.total, 3); page++) {
			const one = await list(`${path}?per_page=1&page=${page}`);
			assert.deepEqual([one.total, one.page, one.per_page, one.data.length], [all.total, page, 1, 1]);
			pages.push(one.data[0].id);
		}
		assert.deepEqual(pages, all.data.slice(0, pages.length).map((o) => o.id), resource.name);
		const beyond = await list(`${path}?page=100000`);
		assert.deepEqual(beyond, { data: [], total: all.total, page: 100000, per_page: 20, next_cursor: null });
		assert.equal((await list(path)).per_page, 20);
	}
});

test('malformed and unknown parameters are a 400 that names them and the remedy', async () => {
	for (const resource of listable) {
		const path = `/api/${resource.name}`;
		for (const value of ['101', '0', '-1', 'x', '', '1.5', '99999999999999999999'])
			await refused(`${path}?per_page=${value}`, 'per_page', /1 to 100/);
		for (const value of resource.cursor_only ? ['1'] : ['0', '-1', 'x', '', '1e3'])
			await refused(`${path}?page=${value}`, 'page');
		await refused(`${path}?order=down`, 'order', /asc or desc/);
		await refused(`${path}?sort=nope`, 'sort', new RegExp(resource.fields.find((f) => f.flags.includes('sort')).name));
		await refused(`${path}?per_pag=5`, 'per_pag', /did you mean "per_page"/);
		await refused(`${path}?sotr=id`, 'sotr', /did you mean "sort"/);
		await refused(`${path}?cursor=AAAA`, 'cursor');
		await refused(`${path}?cursor=`, 'cursor');
		await refused(`${path}?dry_run=true`, 'dry_run');
		await refused(`${path}?order=asc&order=desc`, 'order', /twice/);
		await refused(`${path}?${resource.cursor_only ? 'since' : 'updated_since'}=yesterday`, resource.cursor_only ? 'since' : 'updated_since', /RFC 3339/);
		for (const field of resource.fields.filter((f) => !f.flags.includes('filter') && !['path', 'user_agent'].includes(f.name)))
			await refused(`${path}?${field.name}=x`, field.name);
		assert.equal((await ask(`${path}?%zz=1`)).status, 400);
		assert.equal((await ask(`${path}?search=%00`)).status, 400);
		assert.equal((await ask(`${path}?search=%ff`)).status, 400);
	}
});

test('every sortable field sorts both ways, ties broken by id', async () => {
	const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
	for (const resource of listable)
		for (const field of resource.fields.filter((f) => f.flags.includes('sort')))
			for (const order of ['asc', 'desc']) {
				const path = `/api/${resource.name}?sort=${field.name}&order=${order}&per_page=50`;
				const { data } = await list(path);
				const value = (o) => (field.type === 'bool' ? Number(o[field.name]) : o[field.name]);
				const wanted = [...data].sort((a, b) => (order === 'asc' ? 1 : -1) * (compare(value(a), value(b)) || compare(a.id, b.id)));
				if (field.type !== 'timestamp') // texts of whole seconds do not sort as times
					assert.deepEqual(data.map((o) => o.id), wanted.map((o) => o.id), path);
				else
					for (let i = 1; i < data.length; i++) {
						const [x, y] = [data[i - 1], data[i]].map((o) => Date.parse(o[field.name]));
						assert.ok(order === 'asc' ? x <= y : x >= y, path);
					}
			}
});

test('a filter of every filterable field finds the rows that have the value, and only those', async () => {
	for (const resource of listable) {
		const { data } = await list(`/api/${resource.name}?per_page=100`);
		for (const field of resource.fields.filter((f) => f.flags.includes('filter'))) {
			const values = [...new Set(data.map((o) => o[field.name]).filter((v) => v !== null && v !== '' && !String(v).includes(',')))].slice(0, 2);
			for (const wanted of [values.slice(0, 1), values].filter((v) => v.length)) {
				const path = `/api/${resource.name}?per_page=100&${field.name}=${wanted.map(encodeURIComponent).join(',')}`;
				const found = await list(path);
				assert.ok(found.data.length > 0, path);
				const matches = (o) => wanted.includes(o[field.name]) || (resource.name === 'audit' && field.name === 'actor' && wanted.includes(o.token_name));
				assert.ok(found.data.every(matches), path);
				if (!resource.cursor_only && found.total <= 100)
					assert.equal(found.total, found.data.length, path);
			}
			if (!['text', 'object_id'].includes(field.type)) { // which take any text
				const bad = { int: '1x', bool: 'yes', enum: 'nope', uuid: 'x', username: 'A b', slug: '1', name: 'a b', hostname: 'a..b', email: 'x',
					timestamp: 'x', address: 'x' }[field.type];
				await refused(`/api/${resource.name}?${field.name}=${encodeURIComponent(bad)}`, field.name);
			}
			if (field.type === 'int')
				assert.deepEqual((await list(`/api/${resource.name}?${field.name}=9223372036854775807`)).data, [], field.name);
		}
	}
	const both = await list('/api/domains?status=active,suspended&mail_enabled=true&account=ada,bob&per_page=100');
	assert.equal(both.total, s.sql(`SELECT count(*) FROM postern.domains WHERE mail_enabled AND account_id IN (${accounts[0].id}, ${accounts[1].id})`)[0].count);
	assert.equal((await list('/api/domains?domain=D0001.EXAMPLE')).total, 1, 'a name is compared in its canonical form');
});

test('search finds parts of texts in any case; % _ and \\ stand for themselves', async () => {
	assert.equal((await list('/api/domains?search=D004')).total, 10);
	assert.equal((await list('/api/domains?search=d00%25')).total, 0);
	assert.equal((await list('/api/domains?search=d_001')).total, 0);
	for (const part of ['100%', '%_a', '_bob\\', '\\', '00%_C'])
		assert.equal((await list(`/api/accounts?search=${encodeURIComponent(part)}`)).total, part === '\\' ? 3 : ['100%'].includes(part) ? 3 : 1, part);
	assert.equal((await list('/api/accounts?search=%25%25')).total, 0);
	for (const resource of listable)
		for (const field of resource.fields.filter((f) => f.flags.includes('search'))) {
			const row = (await list(`/api/${resource.name}?per_page=100`)).data.find((o) => o[field.name]);
			if (row) {
				const found = (await list(`/api/${resource.name}?per_page=100&search=${encodeURIComponent(row[field.name].toUpperCase())}`)).data;
				assert.ok(found.some((o) => o.id === row.id), `${resource.name}.${field.name}`);
			}
		}
	await refused('/api/domains?search=', 'search');
	await refused(`/api/domains?search=${'x'.repeat(201)}`, 'search');
	await refused('/api/audit?search=x', 'search');
});

test('updated_since takes an instant and finds what changed from it on', async () => {
	const some = (await list('/api/domains?sort=updated_at&order=desc&per_page=1')).data[0];
	const instant = encodeURIComponent(some.updated_at);
	const since = await list(`/api/domains?updated_since=${instant}`);
	assert.ok(since.data.some((d) => d.id === some.id));
	for (const { name } of listable.filter((r) => !r.cursor_only)) {
		const { total } = await list(`/api/${name}`);
		assert.equal((await list(`/api/${name}?updated_since=2000-01-01T00:00:00%2B02:00`)).total, total, name);
		assert.equal((await list(`/api/${name}?updated_since=2999-01-01T00:00:00Z`)).total, 0, name);
	}
	assert.equal((await list(`/api/domains?updated_since=${instant}&status=active,suspended,pending,deleting,error`)).total, since.total);
	const changed = (await ask(`/api/domains/${some.id}`, { method: 'PATCH', body: { mail_enabled: !some.mail_enabled } })).json;
	assert.deepEqual((await list(`/api/domains?updated_since=${encodeURIComponent(changed.updated_at)}`)).data.map((d) => d.id), [some.id]);
});

test('a walk by cursor neither skips nor repeats a row while others are inserted, in any order', async () => {
	let n = 0;
	for (const shape of ['', 'order=desc', 'sort=domain', 'sort=domain&order=desc', 'sort=created_at', 'sort=created_at&order=desc',
		'sort=status&order=asc', 'sort=type&order=desc', 'search=example', 'mail_enabled=true,false&sort=updated_at']) {
		const before = s.sql('SELECT id FROM postern.domains').map((r) => r.id);
		// before, among and after what is still to come, in both directions
		const insert = async () => {
			const mark = String(n++ * 7 % 1000).padStart(4, '0');
			const made = await Promise.all([`a${n}.example`, `d${mark}x${n}.example`, `z${n}.example`]
				.map((domain) => ask('/api/domains', { method: 'POST', body: { domain, account: 'ada' } })));
			assert.deepEqual(made.map((m) => m.status), [201, 201, 201]);
		};
		const rows = (await walk(`/api/domains?per_page=90&${shape}`.replace(/&$/, ''), insert)).map((d) => d.id);
		assert.equal(new Set(rows).size, rows.length, `${shape}: a row came twice`);
		const seen = new Set(rows);
		assert.deepEqual(before.filter((id) => !seen.has(id)), [], `${shape}: rows were skipped`);
	}
});

test('what is deleted during a walk does not move the rest', async () => {
	const all = (await walk('/api/domains?per_page=100&search=z')).map((d) => d.id);
	const first = await list('/api/domains?per_page=5&search=z');
	for (const id of [first.data[0].id, first.data[4].id])
		assert.equal((await ask(`/api/domains/${id}`, { method: 'DELETE' })).status, 204);
	const rest = await walk(`/api/domains?per_page=5&search=z&cursor=${first.next_cursor}`.replace(/&$/, ''), undefined).catch(() => null);
	assert.equal(rest, null, 'a second cursor is refused');
	const next = await list(`/api/domains?per_page=100&search=z&cursor=${first.next_cursor}`);
	assert.deepEqual(next.data.map((d) => d.id), all.slice(5));
});

test('every resource can be walked by cursor from a page on, to the same rows', async () => {
	for (const resource of listable) {
		const path = `/api/${resource.name}?per_page=1`;
		const first = await list(path);
		assert.ok(first.next_cursor, resource.name);
		if (resource.cursor_only)
			assert.deepEqual([first.page, first.total], [null, null]);
		const second = await list(`${path}&cursor=${first.next_cursor}`);
		assert.deepEqual([second.page, second.total, second.data.length], [null, null, 1]);
		if (resource.cursor_only)
			continue; // each look adds a row
		assert.deepEqual(second.data[0].id, (await list(`${path}&page=2`)).data[0].id, resource.name);
		const { fields } = resource;
		for (const field of fields.filter((f) => f.flags.includes('sort')))
			for (const order of ['asc', 'desc']) {
				const shape = `/api/${resource.name}?sort=${field.name}&order=${order}`;
				const rows = await walk(`${shape}&per_page=${resource.name === 'domains' ? 97 : 1}`);
				const { total } = await list(shape);
				assert.equal(rows.length, total, shape);
				assert.equal(new Set(rows.map((o) => o.id)).size, total, shape);
			}
	}
});

test('a cursor is bound to its list: other filters, another order, another page are refused', async () => {
	const { next_cursor: cursor } = await list('/api/domains?per_page=2&status=active');
	assert.equal((await list(`/api/domains?per_page=50&status=active&cursor=${cursor}`)).data.length, 50, 'the size of a page is free');
	for (const other of ['', 'status=suspended', 'status=active,suspended', 'status=active&mail_enabled=true', 'status=active&search=d',
		'status=active&sort=domain', 'status=active&order=desc', 'status=active&updated_since=2026-01-01T00:00:00Z'])
		await refused(`/api/domains?${other}&cursor=${cursor}`, 'cursor');
	await refused(`/api/domains?status=active&page=1&cursor=${cursor}`, 'cursor', /excludes page/);
	await refused(`/api/users?cursor=${cursor}`, 'cursor');
	await refused(`/api/roles?cursor=${(await list('/api/domains?per_page=2')).next_cursor}`, 'cursor');
	const tenant = s.tenant();
	const foreign = s.mint({ owner: tenant.user.username, scopes: ['domains:read'] }).token;
	const { status, json } = await ask(`/api/domains?status=active&cursor=${cursor}`, { token: foreign });
	assert.equal(status, 400);
	assert.ok(json.error.fields.cursor);
});

test('a cursor with any character changed is a 400', async () => {
	for (const shape of ['per_page=2', 'per_page=2&sort=domain&order=desc']) {
		const { next_cursor: cursor } = await list(`/api/domains?${shape}`);
		assert.match(cursor, /^[A-Za-z0-9_-]+$/);
		for (let i = 0; i < cursor.length; i += 5) {
			const tampered = cursor.slice(0, i) + (cursor[i] === 'A' ? 'B' : 'A') + cursor.slice(i + 1);
			await refused(`/api/domains?${shape}&cursor=${tampered}`, 'cursor');
		}
		for (const tampered of [cursor.slice(0, -1), `${cursor}A`, cursor.slice(1), cursor + cursor, `${cursor}=`, 'x'.repeat(5000)])
			await refused(`/api/domains?${shape}&cursor=${tampered}`, 'cursor');
	}
});

test('a tenant lists, counts and walks its own rows only', async () => {
	const t = s.tenant();
	const own = s.mint({ owner: t.user.username, scopes: ['*'] }).token;
	const ids = [];
	for (const domain of ['own1.example', 'own2.example', 'own3.example'])
		ids.push((await ask('/api/domains', { token: own, method: 'POST', body: { domain } })).json.id);
	const read = async (path) => (await ask(path, { token: own })).json;
	for (const shape of ['', 'sort=domain', 'sort=created_at', 'search=example', `account_id=${t.account.id}`, 'status=active']) {
		const json = await read(`/api/domains?${shape}`);
		assert.deepEqual(json.data.map((d) => d.id), ids, shape);
		assert.equal(json.total, 3);
	}
	assert.deepEqual((await read(`/api/domains?account_id=${accounts[0].id}`)).data, []);
	const first = await read('/api/domains?per_page=2');
	assert.deepEqual((await read(`/api/domains?per_page=2&cursor=${first.next_cursor}`)).data.map((d) => d.id), ids.slice(2));
	assert.deepEqual((await read('/api/accounts')).data.map((a) => a.id), [t.account.id]);
	assert.deepEqual((await read('/api/users')).data.map((u) => u.username), [t.user.username]);
	const trail = await read('/api/audit?per_page=100');
	assert.ok(trail.data.length > 0 && trail.data.every((row) => row.account_id === t.account.id));
});

test('the audit trail: newest first, by cursor, with since, until, actor, action and outcome', async () => {
	const t = s.tenant();
	const minted = s.mint({ owner: t.user.username, scopes: ['domains:read', 'domains:write'] });
	const domain = (await ask('/api/domains', { token: minted.token, method: 'POST', body: { domain: 'trail.example' } })).json;
	await ask(`/api/domains/${domain.id}`, { token: minted.token, method: 'PATCH', body: { mail_enabled: false } });
	await ask('/api/domains', { token: minted.token, method: 'POST', body: { domain: 'trail.example' } });
	await ask('/api/users', { token: minted.token });
	const actions = async (query) => (await list(`/api/audit?${query}`)).data.map((row) => `${row.action} ${row.status}`);
	const mine = ['user.list 403', 'domain.create 409', 'domain.update 200', 'domain.create 201'];
	assert.deepEqual(await actions(`token_id=${minted.id}`), mine);
	for (const actor of [t.user.username, t.user.id, minted.id, minted.name])
		assert.deepEqual(await actions(`actor=${actor}&token_id=${minted.id}`), mine, `actor=${actor}`);
	assert.deepEqual(await actions(`actor=nobody&token_id=${minted.id}`), []);
	assert.ok((await list('/api/audit?actor=system')).data.every((row) => row.actor === 'system' && row.token_id === null));
	assert.deepEqual(await actions(`action=create&token_id=${minted.id}`), ['domain.create 409', 'domain.create 201']);
	assert.deepEqual(await actions(`action=domain.update,list&token_id=${minted.id}`), ['user.list 403', 'domain.update 200']);
	assert.deepEqual(await actions(`action=user.update&token_id=${minted.id}`), []);
	for (const [outcome, wanted] of [['allowed', mine.slice(2)], ['denied', mine.slice(0, 1)], ['failed', [mine[1]]], ['denied,failed', mine.slice(0, 2)]])
		assert.deepEqual(await actions(`outcome=${outcome}&token_id=${minted.id}`), wanted, outcome);
	assert.deepEqual(await actions(`resource=user&token_id=${minted.id}`), ['user.list 403']);
	const rows = (await list(`/api/audit?token_id=${minted.id}&per_page=100`)).data;
	const at = encodeURIComponent(rows[1].at);
	assert.deepEqual(await actions(`since=${at}&token_id=${minted.id}`), mine.slice(0, 2), 'since is included');
	assert.deepEqual(await actions(`until=${at}&token_id=${minted.id}`), mine.slice(2), 'until is not');
	assert.deepEqual(await actions(`ip=127.0.0.1&request_id=${rows[3].request_id}`), ['domain.create 201']);
	assert.deepEqual((await list(`/api/audit?sort=at&order=asc&token_id=${minted.id}`)).data.map((r) => r.id), rows.map((r) => r.id).reverse());
	const walked = await walk(`/api/audit?token_id=${minted.id}&per_page=1`, () => ask('/api/domains', { token: minted.token }));
	assert.deepEqual(walked.map((r) => r.id), rows.map((r) => r.id), 'rows added meanwhile are newer than where the walk is');
	assert.deepEqual(walked[2].changes, { before: { mail_enabled: true }, after: { mail_enabled: false } });
	assert.deepEqual((await list(`/api/audit/${rows[0].id}`)), rows[0]);
	await refused('/api/audit?until=x', 'until');
	await refused('/api/audit?updated_since=2026-01-01T00:00:00Z', 'updated_since');
});

test('the command gives the same rows: by page, by cursor, and all of them', async () => {
	const wanted = await walk('/api/domains?per_page=100&account=bob&sort=domain&order=desc');
	assert.ok(wanted.length > 100);
	const shape = ['domain', 'list', '--account', 'bob', '--sort', 'domain', '--order', 'desc'];
	const all = s.cliJson([...shape, '--all']);
	assert.deepEqual([all.data, all.next_cursor], [wanted, null]);
	const second = s.cliJson([...shape, '--per-page', '30', '--page', '2']);
	assert.deepEqual([second.data, second.total], [wanted.slice(30, 60), wanted.length]);
	assert.deepEqual(s.cliJson([...shape, '--per-page', '30', '--cursor', second.next_cursor]).data, wanted.slice(60, 90));
	const trail = s.cliJson(['audit', 'list', '--actor', 'system', '--action', 'create', '--resource', 'account']);
	assert.deepEqual(trail.data.slice(-4).map((row) => row.changes.after.username), ['cyd', 'bob', 'ada', 'demo']);
});
