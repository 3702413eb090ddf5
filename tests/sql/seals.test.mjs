// The sealed audit trail: whatever is done to rows, seals or checkpoints afterwards is found, and the right row is named.
import assert from 'node:assert/strict';
import { createHash, createPublicKey } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { soak, startStack, until } from '../api/harness.mjs';
import { check, sealHash } from '../audit/verifier.mjs';

let s, last;

before(async () => {
	s = await startStack('seals', { WORKER: 'yes', POSTERN_AUDIT_SEAL_S: '1', POSTERN_AUDIT_CHECKPOINT_S: '1' });
	// several seals: each look seals what is there
	for (let batch = 0; batch < 6; batch++) {
		fill(50, batch);
		await sealed();
	}
	await s.endWorker();
	await until(() => s.sql(`SELECT count(*)::int AS n FROM postern.checkpoints`)[0].n > 2, 'checkpoints');
	s.psql(`CREATE TABLE audit_kept AS TABLE postern.audit; CREATE TABLE seals_kept AS TABLE postern.seals; CREATE TABLE checkpoints_kept AS TABLE postern.checkpoints`);
	last = s.sql('SELECT number, xid::text, id FROM postern.seals ORDER BY number DESC LIMIT 1')[0];
});
after(() => s?.stop());

// Rows of every shape: null and not, other alphabets, changes.
const fill = (n, batch) => s.psql(`INSERT INTO postern.audit (account_id, at, request_id, actor, token_id, token_name, user_id, username, resource, verb, object_id,
	method, path, status, outcome, reason, duration_us, ip, user_agent, changes)
	SELECT i % 5, now() + i * interval '1 microsecond', CASE WHEN i % 7 > 0 THEN gen_random_uuid() END, CASE WHEN i % 9 > 0 THEN 'token' ELSE 'system' END, CASE WHEN i % 9 > 0 THEN gen_random_uuid() END,
	CASE WHEN i % 9 > 0 THEN 'töken ' || i END, i, 'user' || ${batch}, 'domain', (ARRAY['create', 'list', 'delete'])[1 + i % 3], i::text, 'POST', '/api/domains?x=' || i, 201, 'allowed',
	CASE WHEN i % 4 = 0 THEN '' WHEN i % 4 = 1 THEN 'because' END, i * 10, CASE i % 3 WHEN 0 THEN '10.0.0.1'::inet WHEN 1 THEN '2001:db8::1' END, 'agent "' || i,
	CASE WHEN i % 3 = 0 THEN jsonb_build_object('before', jsonb_build_object('a', 1.50), 'after', jsonb_build_object('ü', null, 'b', '[1]'::jsonb)) END
	FROM generate_series(1, ${n}) i`);
const sealed = () => until(() => s.sql(`SELECT count(*)::int AS n FROM postern.audit a WHERE NOT EXISTS (SELECT FROM postern.seals x WHERE (a.xid, a.id) <= (x.xid, x.id))
	OR (SELECT coalesce(max(number), 0) FROM postern.seals) > coalesce((SELECT substring(text FROM 'seal ([0-9]+)')::bigint FROM postern.checkpoints ORDER BY number DESC LIMIT 1), 0)`)[0].n === 0, 'all rows are sealed and signed');
const verify = (...more) => {
	const done = s.cli(['--json', 'audit', 'verify', ...more]);
	assert.ok(done.stdout, done.stderr);
	const verdict = JSON.parse(done.stdout);
	assert.equal(done.status, verdict.intact ? 0 : 1);
	return verdict;
};
const restore = () => s.psql(`DELETE FROM postern.audit; INSERT INTO postern.audit SELECT * FROM audit_kept; DELETE FROM postern.seals; INSERT INTO postern.seals SELECT * FROM seals_kept;
	DELETE FROM postern.checkpoints; INSERT INTO postern.checkpoints SELECT * FROM checkpoints_kept`);
// Tamper, look, mend.
function tampered(sql, check) {
	s.psql(sql);
	try {
		const verdict = verify();
		assert.equal(verdict.intact, false, sql);
		check(verdict, sql);
	} finally {
		restore();
	}
}
const rows = () => s.sql('SELECT id, account_id, xid::text AS xid FROM audit_kept ORDER BY xid, id');
let seed = 20261121;
const random = (n) => (seed = seed * 48271 % 2147483647) % n;

test('an untouched trail verifies, to its last row', () => {
	const verdict = verify();
	assert.deepEqual([verdict.intact, verdict.not_sealed, verdict.findings], [true, 0, 0], JSON.stringify(verdict));
	assert.ok(verdict.rows >= 300 && verdict.seals >= 6);
	const people = s.cli(['audit', 'verify']);
	assert.match(people.stdout, /^intact: \d+ rows \(0 not sealed yet\), \d+ seals, \d+ checkpoints\nsigned up to row \d+ at /);
});

test('a change of any column of any row is found, and that row is named', () => {
	const change = { account_id: 'account_id + 100', at: `at + interval '1 microsecond'`, id: 'id + 1000000', xid: `(xid::text::bigint - 1)::text::xid8`,
		request_id: 'gen_random_uuid()', actor: `actor || 'x'`, token_id: 'gen_random_uuid()', token_name: `coalesce(token_name, '') || 'x'`, user_id: 'coalesce(user_id, 0) + 1',
		username: `coalesce(username, '') || 'x'`, resource: `resource || 'x'`, verb: `verb || 'x'`, object_id: `coalesce(object_id, '') || 'x'`, method: `coalesce(method, '') || 'x'`,
		path: `coalesce(path, '') || 'x'`, status: 'coalesce(status, 0) + 1', outcome: `'denied'`, reason: `CASE WHEN reason = '' THEN NULL ELSE '' END`,
		duration_us: 'coalesce(duration_us, 0) + 1', ip: `'192.0.2.1'`, user_agent: `coalesce(user_agent, '') || ' '`, changes: `coalesce(changes, '{}') || '{"x":1}'`, count: 'count + 1' };
	const all = rows(), columns = s.sql(`SELECT attname AS name FROM pg_attribute WHERE attrelid = 'postern.audit'::regclass AND attnum > 0 AND NOT attisdropped`).map((c) => c.name);
	assert.deepEqual(Object.keys(change).sort(), columns.sort(), 'every column there is');
	for (let i = 0; i < (soak ? 6000 : 69); i++) {
		const column = columns[i % columns.length], row = all[random(all.length)];
		tampered(`UPDATE postern.audit SET ${column} = ${change[column]} WHERE id = ${row.id}`, (verdict, sql) => {
			const first = verdict.data[0];
			assert.equal(first.id, row.id, `${sql}: ${JSON.stringify(first)}`);
			assert.equal(first.kind, ['account_id', 'at', 'id'].includes(column) ? 'removed' : 'changed', sql);
		});
	}
});

test('rows that are removed at the start, in the middle or at the end, added or swapped are told apart', () => {
	const all = rows();
	for (let i = 0; i < (soak ? 1000 : 8); i++) {
		const at = [0, all.length - 1, all.length >> 1, random(all.length)][i % 4];
		tampered(`DELETE FROM postern.audit WHERE id = ${all[at].id}`, ({ data, findings }) => {
			assert.deepEqual([findings, data[0].kind, data[0].id], [1, 'removed', all[at].id]);
		});
		const source = all[random(all.length - 1)];
		tampered(`INSERT INTO postern.audit SELECT (jsonb_populate_record(a, '{"id": ${900000 + i}, "xid": "${all[0].xid}"}')).* FROM postern.audit a WHERE id = ${source.id}`, ({ data, findings }, sql) => {
			assert.deepEqual([findings, data[0].kind, data[0].id], [1, 'added', 900000 + i], sql);
		});
		const [one, two] = [all[random(all.length >> 1)], all[(all.length >> 1) + random(all.length >> 1)]];
		tampered(`CREATE TEMP TABLE pair AS SELECT * FROM postern.audit WHERE id IN (${one.id}, ${two.id});
			DELETE FROM postern.audit WHERE id IN (${one.id}, ${two.id});
			INSERT INTO postern.audit SELECT (jsonb_populate_record(b, jsonb_build_object('id', a.id, 'at', a.at, 'account_id', a.account_id))).* FROM pair a JOIN pair b ON b.id <> a.id`, ({ data, findings }) => {
			assert.deepEqual([findings, ...data.map((f) => f.kind)], [2, 'swapped', 'swapped']);
			assert.deepEqual(data.map((f) => f.id).sort(), [one.id, two.id].sort());
		});
	}
});

test('an export of all rows is verified with nothing but the public key, by the command and by a verifier of another hand', async () => {
	const key = path.join(s.dir, 'keys/audit.pub'), file = path.join(s.dir, 'export.ndjson'), token = s.mint().token;
	const byCommand = s.cli(['audit', 'export']).stdout, byApi = (await s.ask('/api/audit/export', { token })).text;
	const other = (text) => check(text.trimEnd().split('\n'), createPublicKey(fs.readFileSync(key)));
	const own = (text) => {
		fs.writeFileSync(file, text);
		return verify('--export', file, '--key', key);
	};
	for (const text of [byCommand, byApi]) {
		const lines = text.trimEnd().split('\n').map((l) => JSON.parse(l));
		assert.equal(lines.filter((l) => l.seal).length, last.number);
		assert.ok(lines.filter((l) => l.checkpoint).length > 2);
		assert.equal(own(text).intact, true, JSON.stringify(own(text)));
		assert.equal(await other(text), 'intact');
	}
	const all = rows(), lines = byApi.trimEnd().split('\n'), at = (id) => lines.findIndex((l) => JSON.parse(l).id === id && JSON.parse(l).xid);
	for (let i = 0; i < (soak ? 2000 : 24); i++) {
		const one = at(all[random(all.length)].id), two = at(all[random(all.length)].id), row = JSON.parse(lines[one]), count = JSON.parse(lines.at(-1)).count;
		const changed = [...lines];
		const kind = ['changed', 'removed', 'added'][i % 3];
		if (kind === 'changed')
			changed[one] = JSON.stringify({ ...row, ...[{ username: 'x' }, { status: 999 }, { changes: '{}' }, { reason: 'none' }][i % 4] });
		else if (kind === 'removed')
			changed.splice(one, 1, ...[]), changed[changed.length - 1] = JSON.stringify({ count: count - 1 });
		else
			changed.splice(two, 0, JSON.stringify({ ...row, id: 700000 + i, xid: Number(all[0].xid) })), changed[changed.length - 1] = JSON.stringify({ count: count + 1 });
		const verdict = own(`${changed.join('\n')}\n`), id = kind === 'added' ? 700000 + i : row.id;
		assert.deepEqual([verdict.findings, verdict.data[0].kind, verdict.data[0].id], [1, kind, id]);
		assert.equal(await other(changed.join('\n')), `row ${id} was ${kind}`);
	}
	assert.match(s.cli(['audit', 'verify', '--export', '-', '--key', key], { input: lines.slice(0, -1).join('\n') }).stderr, /cut off/);
	// what leaves rows out cannot be verified, and has no seals
	const bound = s.mint({ owner: s.tenant().user.username, scopes: ['audit:read'] }).token;
	for (const [target, who] of [['/api/audit/export', bound], ['/api/audit/export?outcome=allowed', token], ['/api/audit/export?since=2026-01-01', token], ['/api/audit/export?format=csv', token]])
		assert.doesNotMatch((await s.ask(target, { token: who })).text, /"seal"|"checkpoint"/, target);
});

test('seals that are changed, removed, swapped or made anew with right digests are found', () => {
	for (let number = 1; number <= last.number; number++) {
		tampered(`UPDATE postern.seals SET hashes = overlay(hashes PLACING '\\xff00ff' FROM ${1 + random(30)}) WHERE number = ${number}`, ({ data }) => assert.ok(data.some((f) => f.kind === 'changed')));
		tampered(`DELETE FROM postern.seals WHERE number = ${number}`, ({ data }) => assert.ok(['removed', 'reordered', 'truncated'].includes(data[0].kind), JSON.stringify(data[0])));
	}
	tampered('UPDATE postern.seals SET number = -number WHERE number IN (2, 3); UPDATE postern.seals SET number = 5 + number WHERE number < 0', ({ data }) => assert.ok(data.length > 0));
	// from some row on everything is made anew, as somebody would who has all of the database and not the key
	for (let round = 0; round < (soak ? 200 : 3); round++) {
		const from = 1 + random(last.number), row = s.sql(`SELECT a.id FROM audit_kept a JOIN seals_kept x ON x.number = ${from} AND (a.xid, a.id) <= (x.xid, x.id) LEFT JOIN seals_kept y ON y.number = ${from - 1}
			WHERE (a.xid, a.id) > (coalesce(y.xid, '0'), coalesce(y.id, 0)) ORDER BY a.xid, a.id LIMIT 1`);
		assert.equal(row.length, 1);
		let before = null, script = `UPDATE postern.audit SET username = 'somebody else' WHERE id = ${row[0].id};`;
		for (const seal of s.sql(`SELECT number, count, encode(keys, 'hex') AS keys, encode(hashes, 'hex') AS hashes, encode(before, 'hex') AS before FROM seals_kept WHERE number >= ${from} ORDER BY number`)) {
			const hashes = before ? seal.hashes : createHash('sha256').update('another row').digest('hex') + seal.hashes.slice(64);
			const made = { ...seal, hashes, before: before ?? seal.before };
			before = sealHash(made).toString('hex');
			script += `UPDATE postern.seals SET hashes = '\\x${hashes}', before = '\\x${made.before}', hash = '\\x${before}' WHERE number = ${seal.number};`;
		}
		tampered(script, ({ data }) => assert.ok(data.some((f) => f.kind === 'rewritten'), JSON.stringify(data)));
	}
});

test('a trail cut off at its end is told by the file of checkpoints', () => {
	const file = path.join(s.dir, 'worker/audit-checkpoints'), text = fs.readFileSync(file, 'utf8');
	tampered(`DELETE FROM postern.audit a USING seals_kept x WHERE x.number = ${last.number - 1} AND (a.xid, a.id) > (x.xid, x.id);
		DELETE FROM postern.seals WHERE number = ${last.number};
		DELETE FROM postern.checkpoints WHERE substring(text FROM 'seal ([0-9]+)')::bigint >= ${last.number}`, ({ data, findings }) => {
		assert.deepEqual([findings, data[0].kind], [1, 'truncated'], JSON.stringify(data));
	});
	tampered(`UPDATE postern.checkpoints SET signature = overlay(signature PLACING '\\x0000' FROM 5) WHERE number = 1`, ({ data }) => assert.equal(data[0].kind, 'forged'));
	try {
		fs.writeFileSync(file, text.replace('rows', 'rowz'));
		assert.equal(verify().data[0].kind, 'forged', 'the file itself');
	} finally {
		fs.writeFileSync(file, text);
	}
});

test('no role that logs in changes, removes or adds rows, seals or checkpoints', () => {
	const roles = s.sql(`SELECT rolname FROM pg_roles WHERE rolcanlogin AND rolname LIKE 'postern\\_%'`).map((r) => r.rolname);
	assert.ok(roles.length > 15);
	for (const role of roles)
		for (const table of ['audit', 'seals', 'checkpoints'])
			for (const statement of [`UPDATE postern.${table} SET ${table === 'audit' ? 'at = now()' : 'number = 1'}`, `DELETE FROM postern.${table}`, `TRUNCATE postern.${table}`,
				table === 'audit' ? `INSERT INTO postern.audit (account_id, at, actor, resource, verb, outcome) VALUES (0, '2020-01-01', 'token', 'x', 'y', 'allowed')`
					: `INSERT INTO postern.${table} DEFAULT VALUES`])
				assert.throws(() => s.psql(`BEGIN; ${statement}; ROLLBACK`, role), /permission denied/, `${role}: ${statement}`);
});

test('whole months that are sealed and signed are dropped when the setting says so, each with a row that tells it, and the rest verifies', async () => {
	s.psql(`CREATE TABLE postern.audit_202001 PARTITION OF postern.audit FOR VALUES FROM ('2020-01-01+00') TO ('2020-02-01+00');
		CREATE TABLE postern.audit_202002 PARTITION OF postern.audit FOR VALUES FROM ('2020-02-01+00') TO ('2020-03-01+00');
		INSERT INTO postern.audit (account_id, at, actor, resource, verb, outcome) SELECT 0, '2020-01-15'::timestamptz + i * interval '20 days', 'system', 'old', 'row', 'allowed' FROM generate_series(0, 1) i`);
	const drop = (role) => s.psql('SELECT seals.drop_months(13)', role);
	assert.equal(drop('postern_worker'), '0', 'what is not sealed stays');
	s.startWorker();
	await sealed();
	assert.equal(drop('postern_worker'), '2');
	assert.deepEqual(s.sql(`SELECT object_id, changes FROM postern.audit WHERE resource = 'audit' AND verb = 'drop' ORDER BY object_id`),
		[{ object_id: '202001', changes: { before: { rows: 1 } } }, { object_id: '202002', changes: { before: { rows: 1 } } }]);
	await sealed();
	const verdict = verify();
	assert.equal(verdict.intact, true, JSON.stringify(verdict));
});

test('killed at any moment, the sealer leaves a chain that goes on', async () => {
	for (let i = 0; i < (soak ? 40 : 5); i++) {
		fill(40, i);
		await s.endWorker('SIGKILL');
		s.startWorker();
	}
	await sealed();
	assert.equal(verify().intact, true);
	assert.equal(fs.readFileSync(path.join(s.dir, 'worker/audit-checkpoints'), 'utf8').trim().split('\n').length, s.sql('SELECT count(*)::int AS n FROM postern.checkpoints')[0].n);
});

const MANY = soak ? 1000000 : 5000;
test(`an untouched trail of ${MANY} rows verifies without a false alarm`, { timeout: 1800000 }, async (t) => {
	for (let filled = 0; filled < MANY; filled += 5000)
		fill(5000, filled);
	const [end] = s.sql('SELECT xid::text AS xid, id FROM postern.audit ORDER BY postern.audit.xid DESC, id DESC LIMIT 1');
	await until(() => s.sql(`SELECT number FROM postern.seals WHERE (xid, id) = ('${end.xid}', ${end.id}) AND number = (SELECT substring(text FROM 'seal ([0-9]+)')::bigint
		FROM postern.checkpoints ORDER BY number DESC LIMIT 1)`).length, 'all rows are sealed and signed', 1800000);
	const start = Date.now(), verdict = verify();
	assert.deepEqual([verdict.intact, verdict.findings, verdict.not_sealed, verdict.rows > MANY], [true, 0, 0, true], JSON.stringify(verdict));
	t.diagnostic(`${verdict.rows} rows, ${verdict.seals} seals, ${verdict.checkpoints} checkpoints verified in ${Date.now() - start} ms`);
});
