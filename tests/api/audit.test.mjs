// Exports of the audit trail: every row as it stands, written as it is read, for whoever may see it; and what health says of the
// trail. How it copes with millions of rows: tests/sql/trail.test.mjs.
import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, test } from 'node:test';

import { startStack, until } from './harness.mjs';

let s, token, tenant, own;
const ROWS = 60000, ACCOUNT = 77; // of no account that there is, and more than all buffers on the way hold

before(async () => {
	s = await startStack('audit');
	token = s.mint().token;
	tenant = s.tenant();
	own = s.mint({ owner: tenant.user.username, scopes: ['*'] }).token;
	// these rows lie seconds back: just after midnight on the first of a month, in the month before
	s.psql(`SELECT postern.audit_partition((date_trunc('month', now() AT TIME ZONE 'UTC') - interval '1 month')::date);
		INSERT INTO postern.audit (account_id, at, request_id, actor, token_name, username, resource, verb, path, status, outcome, user_agent)
		SELECT ${ACCOUNT}, now() - make_interval(secs => (${ROWS} - i) * 0.0001), gen_random_uuid(), 'token', 'ci', 'nobody', 'domain', 'list', '/api/' || repeat('x', 400), 200, 'allowed', 'test'
		FROM generate_series(1, ${ROWS}) i`);
});
after(() => s?.stop());

const ask = (path, options = {}) => s.ask(path, { token, ...options });
// A request whose answer is read as the test wants: { response, first: the first piece, rest(): all that follows, or the error }.
function open(path, who = token) {
	return new Promise((resolve, reject) => {
		const request = http.get(s.url + path, { headers: { Authorization: `Bearer ${who}` }, agent: false }, (response) => {
			response.once('readable', () => {
				const first = String(response.read() ?? '');
				resolve({
					response, first, request,
					rest: () => new Promise((done) => {
						let text = '';
						response.setEncoding('utf8').on('data', (piece) => { text += piece; });
						response.on('end', () => done({ text, whole: true })).on('error', () => done({ text, whole: false }))
							.on('aborted', () => done({ text, whole: false }));
					}),
				});
			});
		});
		request.on('error', reject);
	});
}
// The lines of an export without its last one, which must state their number.
function lines(text) {
	const all = text.split('\n');
	assert.equal(all.pop(), '', 'the last line is ended');
	assert.deepEqual(JSON.parse(all.pop()), { count: all.length });
	return all.map((line) => JSON.parse(line));
}
// CSV as RFC 4180 has it; an unquoted empty cell is null.
function cells(text) {
	const records = [];
	let record = [], cell = '', quoted = false, inside = false;
	const put = () => {
		record.push(cell === '' && !quoted ? null : cell);
		cell = '';
		quoted = false;
	};
	for (let i = 0; i < text.length; i++) {
		const c = text[i];
		if (inside) {
			if (c !== '"') cell += c;
			else if (text[i + 1] === '"') cell += text[++i];
			else inside = false;
		} else if (c === '"') {
			inside = quoted = true;
		} else if (c === ',') {
			put();
		} else if (c === '\r' && text[i + 1] === '\n') {
			put();
			records.push(record);
			record = [];
			i++;
		} else {
			cell += c;
		}
	}
	assert.equal(cell, '', 'the last line is ended');
	return records;
}
function table(text) {
	const [names, ...records] = cells(text);
	const [last] = records.pop();
	assert.equal(last, `# ${records.length} rows`);
	return records.map((r) => {
		assert.equal(r.length, names.length);
		return Object.fromEntries(r.map((v, i) => [names[i], v]));
	});
}
const asText = (row) => Object.fromEntries(Object.entries(row).map(([k, v]) => [k, v === null ? null : String(v)]));
const stands = (where) => s.sql(`SELECT account_id, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US') AS at, id, xid::text AS xid, request_id, actor, token_id, token_name, user_id, username,
	resource, verb, object_id, method, path, status, outcome, reason, duration_us, host(ip) AS ip, user_agent, changes::text AS changes, count FROM postern.audit a WHERE ${where} ORDER BY a.at, a.id`);
const instant = (row) => ({ ...row, xid: String(row.xid), at: row.at.replace('+00:00', '').replace(/(:\d\d)$/, '$1.000000') });

test('an export has every column of every row as it stands, oldest first, its own row too', async () => {
	await ask('/api/domains', { method: 'POST', body: { domain: 'exported.example', account: tenant.username }, headers: { 'User-Agent': '=1+1, "quoted"' } });
	const { status, headers, text } = await ask(`/api/v1/audit/export?account_id=0,${tenant.account.id}`);
	assert.equal(status, 200);
	assert.equal(headers.get('content-type'), 'application/x-ndjson; charset=utf-8');
	assert.equal(headers.get('content-length'), null);
	assert.equal(headers.get('etag'), null);
	assert.match(headers.get('content-disposition'), /filename="audit.ndjson"/);
	const rows = lines(text);
	assert.deepEqual(rows.map(instant), stands(`account_id IN (0, ${tenant.account.id}) AND (at, id) <= ('${rows.at(-1).at}', ${rows.at(-1).id})`));
	assert.deepEqual([rows.at(-1).request_id, rows.at(-1).verb, rows.at(-1).status], [headers.get('x-request-id'), 'export', 200]);
	assert.deepEqual(JSON.parse(rows.find((r) => r.verb === 'create' && r.resource === 'domain').changes).after.domain, 'exported.example');
});

test('both formats parse back to the same rows, in every spelling; no cell is a formula', async () => {
	const odd = ['=cmd|x', '+1', '-1', '@sum', '\ttab', "'quoted", 'a,b', 'a"b', 'a\r\nb', '', ' ', 'ü', '# 3 rows'];
	s.psql(odd.map((text, i) => `INSERT INTO postern.audit (account_id, at, actor, username, resource, verb, outcome, user_agent, reason)
		VALUES (78, now() - interval '1 min' * ${i + 1}, 'token', 'x', 'odd', 'list', 'allowed', E'${text.replaceAll("'", "''").replaceAll('\t', '\\t').replaceAll('\r\n', '\\r\\n')}', NULL)`).join(';'));
	const json = lines((await ask('/api/audit/export?resource=odd')).text);
	assert.deepEqual(json.map((r) => r.user_agent).reverse(), odd);
	for (const path of ['/api/v1/audit/export', '/api/v1/audit.php/export', '/api/audit.php/export', '/api/v1/admin/audit/export']) {
		const { status, headers, text } = await ask(`${path}?resource=odd&format=csv`);
		assert.equal(status, 200, text);
		assert.equal(headers.get('content-type'), 'text/csv; charset=utf-8');
		for (const record of cells(text).slice(0, -1))
			for (const cell of record)
				assert.doesNotMatch(cell ?? '', /^[=+\-@\t\r]/);
		const undone = table(text).map((row) => ({ ...row, user_agent: row.user_agent.replace(/^'/, '') }));
		assert.deepEqual(undone, json.map(asText), path);
	}
});

test("the list's filters choose the rows; what is unknown is named with what was probably meant", async () => {
	await ask('/api/domains?nonsense=1');
	const all = lines((await ask('/api/audit/export?resource=domain&outcome=failed')).text);
	assert.ok(all.length > 0 && all.every((r) => r.resource === 'domain' && r.outcome === 'failed'));
	const at = encodeURIComponent(all[0].at);
	assert.deepEqual(lines((await ask(`/api/audit/export?resource=domain&outcome=failed&since=${at}`)).text), all);
	assert.deepEqual(lines((await ask(`/api/audit/export?resource=domain&outcome=failed&until=${at}`)).text), []);
	assert.deepEqual(table((await ask('/api/audit/export?actor=nobody-at-all&format=csv')).text), []);
	for (const [query, field, pattern] of [['format=xml', 'format', /ndjson csv/], ['formt=csv', 'formt', /did you mean "format"/], ['page=1', 'page'], ['cursor=x', 'cursor'],
		['outcome=x', 'outcome'], ['sinse=x', 'sinse', /did you mean "since"/], ['until=x', 'until', /RFC 3339/], ['per_page=5', 'per_page']]) {
		const { status, json } = await ask(`/api/audit/export?${query}`);
		assert.equal(status, 400, query);
		assert.match(json.error.fields[field], pattern ?? /./, query);
	}
	const none = s.mint({ scopes: ['domains:read'] }).token;
	assert.equal((await ask('/api/audit/export', { token: none })).status, 403);
	const head = await ask('/api/v1/audit/export', { method: 'HEAD' });
	assert.deepEqual([head.status, head.text, head.headers.get('content-type')], [200, '', 'application/x-ndjson; charset=utf-8']);
});

test("a tenant's export holds its own account and nothing else, whatever it asks for", async () => {
	await ask(`/api/accounts/${tenant.account.id}`); // an administrator's deed there
	for (const query of ['', '?account_id=0', `?account_id=${ACCOUNT}`, '?actor=system', '?actor=admin', '?resource=account', '?format=csv']) {
		const { status, text } = await ask(`/api/audit/export${query}`, { token: own });
		assert.equal(status, 200, text);
		const rows = query.includes('csv') ? table(text) : lines(text);
		assert.ok(rows.every((r) => Number(r.account_id) === tenant.account.id), query);
		if (!query)
			assert.ok(rows.some((r) => r.username === 'admin') && rows.length > 2);
	}
	const bound = s.mint({ account: tenant.username, scopes: ['audit:read'] }).token;
	assert.ok(lines((await ask('/api/audit/export', { token: bound })).text).every((r) => r.account_id === tenant.account.id));
});

test('nothing is skipped or repeated while rows are added, and the export ends', async () => {
	const before = s.sql('SELECT id FROM postern.audit').map((r) => r.id);
	const { first, rest } = await open('/api/audit/export');
	let stop = false;
	const writers = Array.from({ length: 4 }, async () => {
		while (!stop)
			await ask('/api/domains?per_page=1');
	});
	const { text, whole } = await rest();
	stop = true;
	await Promise.all(writers);
	assert.ok(whole);
	const ids = lines(first + text).map((r) => r.id), seen = new Set(ids);
	assert.equal(seen.size, ids.length, 'a row came twice');
	assert.deepEqual(before.filter((id) => !seen.has(id)), [], 'rows were skipped');
});

test('as many exports as export_max run at once, while everything else is served; one more is told to come back', async () => {
	const slow = [await open(`/api/audit/export?account_id=${ACCOUNT}`), await open(`/api/audit/export?account_id=${ACCOUNT}&format=csv`)]; // nobody reads them
	const third = await ask('/api/v1/audit/export?resource=odd');
	assert.equal(third.status, 503, third.text);
	assert.ok(Number(third.headers.get('retry-after')) >= 1);
	assert.match(third.json.error.message, /export_max/);
	assert.deepEqual(s.sql(`SELECT status, outcome, reason FROM postern.audit WHERE request_id = '${third.headers.get('x-request-id')}'`), [{ status: 503, outcome: 'failed', reason: 'export_max' }]);
	for (let i = 0; i < 50; i++)
		assert.equal((await ask('/api/audit?per_page=5')).status, 200);
	const ends = await Promise.all(slow.map((e) => e.rest()));
	assert.deepEqual(ends.map((e) => e.whole), [true, true]);
	assert.equal(lines(slow[0].first + ends[0].text).length, ROWS);
	assert.equal(table(slow[1].first + ends[1].text).length, ROWS);
	// who hangs up gives the place back
	for (let i = 0; i < 3; i++)
		(await open(`/api/audit/export?account_id=${ACCOUNT}`)).request.destroy();
	await until(async () => (await ask('/api/audit/export?resource=odd')).status === 200, 'a place is free again');
});

test('an export that is cut shows it: no last line, and the connection ends in the middle', async () => {
	const cut = await open(`/api/audit/export?account_id=${ACCOUNT}`);
	assert.equal(cut.response.statusCode, 200);
	assert.match(cut.first, /^\{"account_id":77,/); // the first rows are there, so the last ones cannot have been read:
	await s.pgctl('stop', '-m', 'immediate');
	const { text, whole } = await cut.rest();
	await s.pgctl('start');
	const all = (cut.first + text).split('\n');
	assert.ok(all.length < ROWS);
	assert.doesNotMatch(all.at(-1), /count":\d+}$/);
	assert.equal(whole, false, 'the client is told by HTTP, too');
	await until(async () => (await ask('/api/audit/export?resource=odd')).status === 200, 'the next one is whole');
});

test('the command exports the same, with progress on stderr', async () => {
	const { text } = await ask('/api/audit/export?resource=odd');
	const done = s.cli(['audit', 'export', '--resource', 'odd']);
	assert.deepEqual([done.status, done.stdout], [0, text]);
	assert.match(done.stderr, /13 rows in all/);
	assert.equal(s.cli(['audit', 'export', '--format', 'csv', '--resource', 'odd']).stdout, (await ask('/api/audit/export?resource=odd&format=csv')).text);
	assert.equal(lines(s.cli(['audit', 'export', '--account-id', String(ACCOUNT), '--quiet']).stdout).length, ROWS);
	const wrong = s.cli(['audit', 'export', '--outcome', 'odd']);
	assert.deepEqual([wrong.status, wrong.stdout], [7, '']);
	const nowhere = s.cli(['audit', 'export', '--output', '/nonexistent/trail']);
	assert.equal(nowhere.status, 1);
	s.psql(`COPY (SELECT 1) TO PROGRAM 'cat >&2; mkdir -p ${s.dir}/pg/data/out'`); // a folder of the user that the command runs as
	const out = `${s.dir}/pg/data/out/trail.ndjson`;
	const kept = s.cli(['audit', 'export', '--resource', 'odd', '--output', out]);
	assert.deepEqual([kept.status, kept.stdout], [0, ''], kept.stderr);
	assert.equal(s.psql(`SELECT pg_read_file('out/trail.ndjson')`), text.trim());
	assert.equal(s.psql(`SELECT count(*) FROM pg_ls_dir('out')`), '1', 'no part is left');
	assert.ok(s.cliJson(['audit', 'list', '--since', '2000-01-01T00:00:00Z', '--until', '2999-01-01T00:00:00Z']).data.length > 0);
});

test('health warns while rows lie in the default partition, and names what puts them right', async () => {
	const health = async () => (await ask('/api/health')).json;
	assert.deepEqual([(await health()).reasons.some((r) => r.includes('audit')), (await health()).audit], [false, { status: 'ok', default_partition_empty: true }]);
	for (const year of ['1999', '2999'])
		s.psql(`INSERT INTO postern.audit (account_id, at, actor, resource, verb, outcome) VALUES (79, '${year}-05-05', 'system', 'odd', 'list', 'allowed')`);
	const alarm = await health();
	assert.ok(alarm.reasons.includes(alarm.audit.message));
	assert.deepEqual([alarm.status, alarm.audit.status, alarm.audit.default_partition_empty], ['warning', 'warning', false]);
	assert.match(alarm.audit.message, /postern\.audit_rehome\(\)/);
	assert.deepEqual((await ask('/api/health', { token: null })).json, { status: 'ok' }, 'the short form says no more');
	const rows = stands('account_id = 79');
	assert.equal(s.psql('SELECT postern.audit_rehome()'), '2');
	assert.deepEqual(stands('account_id = 79'), rows, 'the rows are what they were');
	assert.equal((await health()).audit.status, 'ok');
	assert.deepEqual(s.sql(`SELECT c.relname, c.relowner::regrole::text AS owner FROM pg_class c WHERE c.relname IN ('audit_199905', 'audit_299905')`).map((r) => r.owner), ['postern_owner', 'postern_owner']);
	// a month whose rows came before its partition keeps nobody from making the others
	s.psql(`INSERT INTO postern.audit (account_id, at, actor, resource, verb, outcome) VALUES (79, now() + interval '5 months', 'system', 'odd', 'list', 'allowed');
		SELECT postern.audit_partitions(6)`);
	assert.equal((await health()).audit.status, 'warning');
	assert.equal(s.psql('SELECT postern.audit_rehome()'), '1');
	assert.equal((await health()).audit.status, 'ok');
});
