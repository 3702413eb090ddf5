// Questions to a long audit trail are answered from indexes: what PostgreSQL does for the very functions that the endpoints call is
// asked of auto_explain, and held against the rows it had to touch, not against a clock. Lists can be walked to their end while
// rows are added, and an export of all rows takes no more memory than one of a few. 5,000,000 rows with SOAK=1.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { soak, startStack } from '../api/harness.mjs';

const ROWS = soak ? 5000000 : 200000, MONTHS = 6, MEMORY_KB = 50 * 1024;
let s, token, first, busy, gone, size;

// Rows over several months, most of them of few tokens. Users 1036 to 1039, their tokens 180 to 199 and an address are found in
// the first tenth only, and never again; one row in 9973 is about a role, one in 20011 a rotation.
function fill() {
	s.psql(`DO $$ DECLARE m timestamp := date_trunc('month', now() AT TIME ZONE 'UTC'); BEGIN
		FOR i IN 1 .. ${MONTHS} LOOP PERFORM postern.audit_partition((m - make_interval(months => i))::date); END LOOP; END $$;
		INSERT INTO postern.bearers SELECT md5('t' || t)::uuid, 'token-' || t, 1000 + t / 5, 'user-' || t / 5 FROM generate_series(0, 199) t;
		INSERT INTO postern.audit (account_id, at, request_id, actor, token_id, token_name, user_id, username, resource, verb, object_id, method, path, status, outcome,
			reason, duration_us, ip, user_agent, changes)
		SELECT CASE WHEN t % 10 = 0 THEN 0 ELSE 100 + t / 5 END, first + i * ((now() - interval '1 h' - first) / ${ROWS}), md5('r' || i)::uuid,
			CASE WHEN sys THEN 'system' ELSE 'token' END, CASE WHEN NOT sys THEN md5('t' || t)::uuid END, CASE WHEN NOT sys THEN 'token-' || t END,
			CASE WHEN NOT sys THEN 1000 + t / 5 END, CASE WHEN sys THEN 'posternd' ELSE 'user-' || t / 5 END,
			CASE WHEN i % 9973 = 0 THEN 'role' ELSE (ARRAY['domain', 'domain', 'domain', 'domain', 'mailbox', 'mailbox', 'website', 'database', 'job', 'account'])[1 + h % 10] END,
			CASE WHEN i % 20011 = 0 THEN 'rotate' WHEN g % 100 < 70 THEN 'list' WHEN g % 100 < 90 THEN 'read' WHEN g % 100 < 95 THEN 'create' ELSE 'update' END,
			CASE WHEN g % 100 >= 70 THEN (h % 5000)::text END, 'GET', '/api/v1/domains', CASE WHEN h % 100 < 92 THEN 200 WHEN h % 100 < 97 THEN 403 ELSE 422 END,
			CASE WHEN h % 100 < 92 THEN 'allowed' WHEN h % 100 < 97 THEN 'denied' ELSE 'failed' END,
			CASE WHEN h % 100 < 92 THEN NULL WHEN h % 100 < 97 THEN 'scope' ELSE 'validation_error' END, 1000 + h % 1000,
			CASE WHEN i < ${ROWS / 10} AND h % 3 = 0 THEN '192.0.2.77' ELSE '10.0.' || t % 4 || '.' || h % 250 END::inet, 'curl/7.88.1',
			CASE WHEN g % 100 >= 90 THEN '{"after": {"mail_enabled": false}}'::jsonb END
		FROM (SELECT i, abs(hashint8(i)) AS h, abs(hashint8(i * 7 + 1)) AS g, i % 50 = 0 AS sys,
			(date_trunc('month', now() AT TIME ZONE 'UTC') - interval '${MONTHS} months') AT TIME ZONE 'UTC' AS first,
			CASE WHEN i < ${ROWS / 10} AND i % 2 = 0 THEN 180 + i / 2 % 20 ELSE floor(180 * power(abs(hashint8(i * 3)) / 2147483648.0, 3))::int END AS t
			FROM generate_series(1, ${ROWS}::bigint) i) x`);
	// autovacuum's part
	s.psql(`ANALYZE postern.audit;
		SELECT brin_summarize_new_values(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
		WHERE a.amname = 'brin' AND i.indrelid::regclass::text LIKE 'postern.audit\\_%'`);
}

before(async () => {
	s = await startStack('trail');
	token = s.mint().token;
	fill();
	[first] = s.sql('SELECT min(at) AS at FROM postern.audit').map((r) => r.at);
	size = Object.fromEntries(s.sql("SELECT relname, reltuples::bigint AS n FROM pg_class WHERE relname LIKE 'audit\\_%' AND relkind = 'r'").map((r) => [r.relname, r.n]));
	[busy, gone] = s.sql("SELECT md5('t0')::uuid AS busy, md5('t190')::uuid AS gone").flatMap((r) => [r.busy, r.gone]);
});
after(() => s?.stop());

const quote = (text) => `'${String(text).replaceAll("'", "''")}'`;
// What read functions do, as auto_explain tells: of each call every scan of a partition, with the rows it touched. `role`: who logs in.
function scans(calls, role) {
	const settings = s.sql(`SELECT x FROM pg_roles, unnest(rolconfig) x WHERE rolname = '${role}'`).map(({ x }) => x.split(/=(.*)/s)).map(([name, value]) => `SET ${name} = ${quote(value)};`);
	const [file, ...rest] = [...(process.getuid() === 0 ? ['setpriv', '--reuid=postgres', '--regid=postgres', '--init-groups', '--'] : []),
		'psql', '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-h', path.join(s.dir, 'pg/socket'), '-d', 'postern', '-f', '-'];
	const done = spawnSync(file, rest, { encoding: 'utf8', cwd: '/', maxBuffer: 256 << 20, input: `LOAD 'auto_explain'; ${settings.join(' ')} SET statement_timeout = 0;
		SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on; SET auto_explain.log_analyze = on; SET auto_explain.log_timing = off;
		SET auto_explain.log_format = json; SET client_min_messages = log;
		${calls.map((call) => `SELECT ${call};\n\\warn next call`).join('\n')}` });
	assert.equal(done.status, 0, done.stderr);
	return done.stderr.split('next call\n').slice(0, -1).map((said) => {
		const found = [];
		let plans = 0;
		const look = (node) => {
			const relation = node['Relation Name'];
			if (relation?.startsWith('audit_'))
				found.push({ node: node['Node Type'], relation, touched: (node['Actual Rows'] + (node['Rows Removed by Filter'] ?? 0) + (node['Rows Removed by Index Recheck'] ?? 0)) * node['Actual Loops'] });
			(node.Plans ?? []).forEach(look);
		};
		for (const [, json] of said.matchAll(/plan:\n(\{[^]*?\n\})/g)) {
			const { 'Query Text': text, Plan: plan } = JSON.parse(json);
			plans += / FROM audit\.item /.test(text);
			look(plan);
		}
		return { found, plans };
	});
}
const list = (account, args) => (account === null
	? `cardinality(rows) FROM audit.operator_read(ARRAY[1], NULL, ARRAY['list'], ARRAY[NULL::text], ARRAY[21], ARRAY[${quote(JSON.stringify(args))}], ARRAY['*'])`
	: `cardinality(rows) FROM audit.tenant_read(ARRAY[1], ARRAY[${account}::bigint], ARRAY['list'], ARRAY[NULL::text], ARRAY[21], ARRAY[${quote(JSON.stringify(args))}], ARRAY[' domains domain '])`);
function served({ found, plans }, what, most) {
	assert.equal(plans, 1, `${what}: the plan was not seen`);
	assert.deepEqual(found.filter((f) => f.node === 'Seq Scan' && size[f.relation] > 1000), [], `${what}: read from end to end`);
	const touched = found.reduce((sum, f) => sum + f.touched, 0);
	assert.ok(touched <= most, `${what}: ${touched} rows were touched\n${JSON.stringify(found.filter((f) => f.touched))}`);
	return touched;
}

test('each filter alone and the usual pairs are answered from an index, for an administrator and for a tenant', (t) => {
	const id = s.sql("SELECT md5('r12345')::uuid AS id")[0].id;
	const middle = s.sql(`SELECT ${quote(first)}::timestamptz + (now() - ${quote(first)}::timestamptz) / 2 AS at`)[0].at;
	const filters = [{}, { actor: 'system' }, { actor: 'user-0' }, { actor: 'user-38' }, { actor: '1001' }, { actor: 'token-0' }, { actor: 'token-190' }, { actor: gone }, { actor: 'nobody' },
		{ action: 'create' }, { action: 'rotate' }, { action: 'domain.create' }, { action: 'domain.list' }, { action: 'role.list' }, { action: 'role.create,rotate' }, { action: 'delete' },
		{ ip: '192.0.2.77' }, { ip: '10.0.1.7' }, { ip: '198.51.100.1' }, { outcome: 'allowed' }, { outcome: 'denied' }, { outcome: 'denied,failed' },
		{ token_id: busy }, { token_id: gone }, { request_id: id }, { request_id: gone }, { resource: 'domain' }, { resource: 'role' }, { resource: 'none' },
		{ resource: 'domain', outcome: 'denied' }, { resource: 'role', outcome: 'allowed' }, { resource: 'role', outcome: 'failed' }, { token_id: busy, outcome: 'failed' },
		{ token_id: gone, outcome: 'allowed' }, { user_id: '1038' }, { token_name: 'token-3' }, { object_id: '31' }, { account_id: '136' }];
	const shapes = (filter) => [{ filter }, { filter, since: middle }, { filter, until: middle }, { filter, after: [middle, '1'] }, { filter, descending: false }];
	// of tenants: accounts of much and of little, and one whose rows are all old; who they ask for is theirs
	const own = (account) => filters.filter((f) => !(f.actor ?? f.token_id ?? f.user_id ?? f.token_name ?? f.account_id)).concat(
		{ actor: `user-${account - 100}` }, { actor: `token-${(account - 100) * 5 + 1}` }, { actor: `user-${account - 100}`, outcome: 'denied' });
	let worst = [0];
	const lists = [];
	for (const account of [null, 100, 120, 136, 999])
		for (const given of account === null ? filters : own(account)) {
			const filter = Object.fromEntries(Object.entries(given).map(([name, value]) => [name, value.split(',')]));
			for (const shape of account === null ? shapes(filter) : shapes(filter).slice(0, 2)) {
				const args = { limit: 21, sort: 'at', descending: true, since_column: 'at', ...shape };
				const what = `${account ?? 'all'}: ${JSON.stringify(args)}`;
				lists.push({ what, call: list(account, args) });
			}
		}
	for (const role of ['postern_audit', 'postern_cli']) {
		const done = scans(lists.map(({ call }) => call), role);
		assert.equal(done.length, lists.length);
		for (const [i, { what }] of lists.entries()) {
			const touched = served(done[i], `${role}: ${what}`, ROWS / 20);
			if (touched > worst[0])
				worst = [touched, what];
		}
	}
	t.diagnostic(`of ${ROWS} rows ${worst[0]} at most were touched by ${2 * lists.length} lists: ${worst[1]}`);
});

test('filters find what they name, and nothing else', async () => {
	const rows = async (query) => (await s.ask(`/api/audit?per_page=100&until=${encodeURIComponent(new Date(Date.now() - 3600e3).toISOString())}&${query}`, { token })).json.data;
	const wanted = (where) => s.sql(`SELECT id FROM postern.audit a WHERE at < now() - interval '1 h' AND ${where} ORDER BY a.at DESC, a.id DESC LIMIT 100`).map((r) => r.id);
	for (const [query, where] of [['actor=user-38', "username = 'user-38'"], ['actor=1038', 'user_id = 1038'], ['actor=token-190', "token_name = 'token-190'"], [`actor=${gone}`, `token_id = '${gone}'`],
		['actor=system', "actor = 'system'"], ['actor=system,user-37,token-0', "(actor = 'system' OR username = 'user-37' OR token_name = 'token-0')"], ['action=rotate', "verb = 'rotate'"],
		['action=role.list,rotate', "(resource = 'role' AND verb = 'list' OR verb = 'rotate')"], ['ip=192.0.2.77', "ip = '192.0.2.77'"], ['status=422,403&resource=role', "status IN (422, 403) AND resource = 'role'"],
		['request_id=00000000-0000-0000-0000-000000000000', 'false'], ['token_name=token-1,token-190', "token_name IN ('token-1', 'token-190')"]]) {
		const found = await rows(query);
		assert.deepEqual(found.map((r) => r.id), wanted(where), query);
		assert.ok(found.length > 0 || where === 'false', query);
	}
	// one id for many requests: more than are looked up one by one
	s.psql(`INSERT INTO postern.audit (account_id, at, request_id, actor, username, resource, verb, outcome)
		SELECT 5, now() - interval '2 h', '11111111-1111-4111-8111-111111111111', 'token', 'x', 'domain', 'list', 'allowed' FROM generate_series(1, 150)`);
	assert.equal((await rows('request_id=11111111-1111-4111-8111-111111111111')).length, 100);
});

test('a row is found by its number without reading the trail', () => {
	const call = "cardinality(rows) FROM audit.operator_read(ARRAY[1], NULL, ARRAY['get'], ARRAY['5000'], ARRAY[1], ARRAY['{}'], ARRAY['*'])";
	served(scans([call], 'postern_audit')[0], call, ROWS / 20);
});

test('a token that was renamed or deleted is found by every name it had', async () => {
	const { id, token: old } = s.mint({ name: 'first-name' });
	await s.ask('/api/domains', { token: old });
	assert.equal((await s.ask(`/api/tokens/${id}`, { method: 'PATCH', body: { name: 'second-name' } })).status, 200);
	await s.ask('/api/domains', { token: old });
	s.cliJson(['token', 'revoke', id]);
	assert.equal(s.cli(['token', 'delete', id]).status, 0);
	const names = async (actor) => (await s.ask(`/api/audit?actor=${actor}`, { token })).json.data.map((r) => r.token_name);
	assert.deepEqual(await names('first-name'), ['first-name']);
	assert.deepEqual(await names('second-name'), ['second-name']);
	assert.deepEqual((await names(id)).sort(), ['first-name', 'second-name']);
});

test('the whole list is walked by cursor while rows are inserted, and none is skipped or repeated', { timeout: 3600000 }, async (t) => {
	// two partitions at least, and enough rows early in a month, too
	const from = soak ? '' : s.sql("SELECT least(date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - interval '5 days', now() - interval '15 days') AS at")[0].at;
	const since = from && `&since=${encodeURIComponent(from)}`;
	const before = s.psql(`SELECT id FROM postern.audit WHERE ${from ? `at >= ${quote(from)}` : 'true'}`).split('\n').map(Number);
	const seen = new Set();
	let cursor = '', pages = 0;
	const agent = new http.Agent({ keepAlive: true });
	do {
		const answer = await new Promise((resolve, reject) => http.get(`${s.url}/api/audit?per_page=100${since}${cursor && `&cursor=${cursor}`}`, { agent, headers: { Authorization: `Bearer ${token}` } }, (r) => {
			let text = '';
			r.setEncoding('utf8').on('data', (piece) => { text += piece; }).on('end', () => resolve(JSON.parse(text))).on('error', reject);
		}).on('error', reject)); // each look inserts a row, too
		if (pages++ % 50 === 0) // before, among and after what is still to come
			s.psql(`INSERT INTO postern.audit (account_id, at, actor, username, resource, verb, outcome)
				SELECT 6, now() - interval '1 day' * i, 'token', 'late', 'domain', 'list', 'allowed' FROM generate_series(0, 150, 3) i`);
		for (const row of answer.data) {
			assert.ok(!seen.has(row.id), `row ${row.id} came twice`);
			seen.add(row.id);
		}
		cursor = answer.next_cursor;
	} while (cursor);
	agent.destroy();
	assert.ok(before.length > ROWS / 20);
	assert.deepEqual(before.filter((id) => !seen.has(id)).slice(0, 5), []);
	t.diagnostic(`${seen.size} rows in ${pages} pages`);
});

// Reads an export as it comes; answers the number of its lines and its last one.
function count(stream) {
	return new Promise((resolve, reject) => {
		let n = 0, rest = '';
		stream.on('data', (piece) => {
			for (let at = -1; (at = piece.indexOf(10, at + 1)) >= 0;)
				n++;
			rest = (rest + piece.toString('latin1')).slice(-200);
		}).on('end', () => resolve({ n, last: rest.trimEnd().split('\n').at(-1) })).on('error', reject);
	});
}
const peak = (pid) => Number(/^VmHWM:\s+(\d+) kB/m.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0); // 0: it has ended

test('an export of all rows takes less than 50 MB of memory, by the API and by the command', { timeout: 3600000 }, async (t) => {
	// rows that are large, too: a chunk of them would not fit
	s.psql(`INSERT INTO postern.audit (account_id, at, actor, username, resource, verb, outcome, changes)
		SELECT 7, now() - interval '3 h', 'token', 'large', 'domain', 'create', 'allowed', jsonb_build_object('after', (SELECT string_agg(md5((i * 40000 + j)::text), '"') FROM generate_series(1, 4000) j)) FROM generate_series(1, ${soak ? 6000 : 600}) i`);
	for (const format of ['ndjson', 'csv']) {
		const total = s.sql('SELECT count(*) AS n FROM postern.audit')[0].n + 1; // its own row
		const { n, last } = await new Promise((resolve, reject) => http.get(`${s.url}/api/audit/export?format=${format}`, { agent: false, headers: { Authorization: `Bearer ${token}` } },
			(response) => count(response).then(resolve, reject)).on('error', reject));
		assert.equal(last, format === 'csv' ? `# ${total} rows` : JSON.stringify({ count: total }));
		assert.equal(n, total + (format === 'csv' ? 2 : 1));
	}
	const memory = peak(s.pid('audit'));
	t.diagnostic(`the binary had ${memory} kB at most`);
	assert.ok(memory < MEMORY_KB, `${memory} kB`);
	const command = spawn(path.join(s.dir, 'postern'), ['audit', 'export'], { stdio: ['ignore', 'pipe', 'pipe'] });
	let told = '', most = 0;
	command.stderr.on('data', (text) => {
		told += text;
		most = Math.max(most, peak(command.pid));
	});
	const [{ last }] = await Promise.all([count(command.stdout), once(command, 'close')]);
	const total = JSON.parse(last).count;
	assert.ok(total > ROWS);
	assert.match(told, new RegExp(`100\\d{3} rows\n[^]*${total} rows in all`));
	t.diagnostic(`the command had ${most} kB`);
	assert.ok(most > 0 && most < MEMORY_KB, `${most} kB`);
});
