// The gate's rules, each against a model of its own or a table of cases; and the trail's partitions.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { startStack } from '../api/harness.mjs';

let s;
before(async () => { s = await startStack('rules'); });
after(() => s?.stop());

const array = (list) => `ARRAY[${list.map((x) => `'${x}'`).join(',')}]::text[]`;
// Many questions in one statement: each case is [SQL expression, expected].
function ask(cases) {
	const rows = s.sql(`SELECT * FROM (VALUES ${cases.map(([expression], n) => `(${n}, to_jsonb(${expression}))`).join(',\n')}) x (n, answer) ORDER BY n`);
	rows.forEach(({ n, answer }) => assert.deepEqual(answer, cases[n][1], cases[n][0]));
	assert.equal(rows.length, cases.length);
}

const lists = [[], ['*'], ['domains:*'], ['domains:read'], ['domains:read', 'tokens:*'], ['tokens:read'], ['domains'], ['domain:*'], ['domains:write', '*'], [':*'], ['*:read']];
const wanted = ['domains:read', 'domains:write', 'tokens:read', 'tokens:write'];

test('holds: the scope itself, its resource\'s wildcard, or *; where no wildcard counts, an administrator\'s * alone', () => {
	ask(lists.flatMap((held) => wanted.flatMap((w) => [false, true].flatMap((noWild) => [1, 2, 3].map((rank) => [
		`gate.holds(${array(held)}, '${w}', ${noWild}, ${rank})`,
		held.includes(w) || (held.includes('*') && (rank === 3 || !noWild)) || (!noWild && held.includes(`${w.split(':')[0]}:*`)),
	])))));
});

test('denies: the scope, its resource\'s wildcard or *, whoever asks', () => {
	ask(lists.flatMap((deny) => wanted.map((w) => [
		`gate.denies(${array(deny)}, '${w}')`, deny.includes(w) || deny.includes('*') || deny.includes(`${w.split(':')[0]}:*`)])));
});

test('covers: a pattern needs all that it opens', () => {
	const read = s.sql("SELECT scope FROM postern.scopes WHERE resource = 'domains'").map((r) => r.scope);
	assert.deepEqual(read.sort(), ['domains:delete', 'domains:read', 'domains:write']);
	const [open] = [s.sql('SELECT scope FROM postern.scopes WHERE NOT no_wild ORDER BY scope').map((r) => r.scope)];
	ask([
		[`gate.covers('{}', 'domains:read', 2)`, false],
		[`gate.covers('{domains:read}', 'domains:read', 1)`, true],
		[`gate.covers('{domains:read}', 'domains:*', 2)`, false],
		[`gate.covers(${array(read)}, 'domains:*', 2)`, true],
		[`gate.covers('{domains:*}', 'domains:write', 2)`, true],
		[`gate.covers('{domains:*}', 'domains:*', 2)`, true],
		[`gate.covers('{domains:*}', '*', 2)`, false],
		[`gate.covers('{*}', 'domains:*', 2)`, true],
		[`gate.covers('{*}', '*', 2)`, true],
		[`gate.covers('{*}', 'tokens:write', 2)`, false],
		[`gate.covers('{*}', 'tokens:write', 3)`, true],
		[`gate.covers('{tokens:*}', 'tokens:write', 2)`, false],
		[`gate.covers('{tokens:write}', 'tokens:write', 2)`, true],
		[`gate.covers(${array(open)}, '*', 2)`, true],
		[`gate.covers(${array(open.slice(1))}, '*', 2)`, false],
		[`gate.covers(${array(open)}, '*', 3)`, false], // an administrator's "*" opens tokens:write, too
	]);
});

test('judge: each reason for itself, and the first in the order of the contract where several hold', () => {
	const t = s.tenant();
	const key = s.mint({ owner: t.user.username, scopes: ['domains:read'] }).key_id;
	const good = { at: 'now()', ip: "'192.0.2.7'", insecure: false, wanted: 'domains:read', no_wild: false, least: 1, admin: false, own: false, grants: false };
	const judge = (fields = {}, request = {}) => {
		const r = { ...good, ...request };
		const row = Object.entries(fields).map(([k, v]) => `'${k}', ${v}`).join(', ');
		return `(SELECT gate.judge(jsonb_populate_record(b, jsonb_build_object(${row})), ${r.at}, ${r.ip}::inet, ${r.insecure}, ${r.admin},
			jsonb_populate_record(NULL::postern.operations, '${JSON.stringify({ scope: r.wanted, no_wild: r.no_wild, rank: r.least, own: r.own, grants: r.grants })}'))
			FROM gate.bearer b WHERE b.key_id = '${key}')`;
	};
	const past = "now() - interval '1 s'", admin = { owner_rank: 3, rank: 3 };
	// In the order of the contract: [what the row says, what the request says, the reason].
	const reasons = [
		[{ revoked_at: past }, {}, 'revoked'],
		[{ expires_at: past }, {}, 'expired'],
		[{ key_expires_at: past }, {}, 'expired'],
		[{ user_status: "'suspended'" }, {}, 'owner_suspended'],
		[{ account_status: "'suspended'" }, {}, 'account_suspended'],
		[{ user_account_id: 0 }, {}, 'owner_moved'],
		[{}, { insecure: true }, 'insecure'],
		[{ allowed_ips: "'{198.51.100.0/24}'::cidr[]" }, {}, 'address'],
		[{}, { admin: true }, 'admin_path'],
		[{}, { least: 3 }, 'role'],
		[{ scopes: "'{}'::text[]" }, {}, 'scope'],
		[{ deny: "'{domains:*}'::text[]" }, {}, 'denied'],
		[{ key_expires_at: "now() + interval '1 h'" }, { grants: true }, 'superseded'],
	];
	ask([[judge(), null], ...reasons.map(([fields, request, reason]) => [judge(fields, request), reason])]);
	// of two reasons the earlier one is told (both keys of a row may name the same field: then they are one)
	ask(reasons.flatMap(([f1, r1, reason], i) => reasons.slice(i + 1).map(([f2, r2]) => [judge({ ...f2, ...f1 }, { ...r2, ...r1 }), reason])));
	ask([
		[judge({ allowed_ips: "'{192.0.2.0/24}'::cidr[]" }), null],
		[judge({ allowed_ips: "'{192.0.2.0/24}'::cidr[]" }, { ip: 'NULL' }), 'address'],
		[judge({ allowed_ips: "'{2001:db8::/32}'::cidr[]" }, { ip: "'2001:db8:1::1'" }), null],
		[judge({ allowed_ips: "'{0.0.0.0/0}'::cidr[]" }, { ip: "'2001:db8::1'" }), 'address'],
		[judge({ key_expires_at: "now() + interval '1 h'" }), null],
		[judge({ account_status: 'NULL::text' }), 'account_suspended'],
		[judge({ account_id: 0, user_account_id: 0 }), 'no_account'],
		[judge({ account_id: 0, user_account_id: 0 }, { own: true }), null],
		[judge(admin, { least: 3 }), 'bound'],
		[judge({ ...admin, account_id: 0 }, { least: 3 }), null],
		[judge({ ...admin, user_account_id: 0 }), null],
		[judge({ role_scopes: "'{tokens:*}'::text[]" }), 'scope'],
		[judge({ cap_scopes: "'{tokens:*}'::text[]" }), 'scope'],
		[judge({ cap_scopes: "'{domains:*}'::text[]" }), null],
		[judge({ scopes: "'{domains:*}'::text[]" }, { no_wild: true }), 'scope'],
		[judge({ scopes: "'{*}'::text[]" }, { no_wild: true }), 'scope'],
		[judge({ deny: "'{*}'::text[]" }), 'denied'],
		[judge({ expires_at: 'now()' }), 'expired'], // the instant itself is over
		[judge({ expires_at: "now() + interval '1 us'" }), null],
	]);
	ask([...reasons.map(([, , reason]) => reason), 'bound', 'no_account', 'unknown', 'rate_limit', 'account_limit', 'action_limit'].map((reason) => [`gate.status_of('${reason}')`,
		['unknown', 'revoked', 'expired', 'owner_suspended', 'account_suspended', 'owner_moved'].includes(reason) ? 401 : reason.endsWith('_limit') ? 429 : 403]));
	ask([['gate.status_of(NULL)', 200]]);
});

test('changes: the changed fields before and after, null too; secrets only as changed', () => {
	const changes = (before_, after_, secrets = 'NULL') => `gate.changes(${[before_, after_].map((o) => (o ? `'${JSON.stringify(o)}'::jsonb` : 'NULL')).join(', ')}, ${secrets})`;
	ask([
		[changes({ a: 1, b: 2 }, { a: 1, b: 3 }), { before: { b: 2 }, after: { b: 3 } }],
		[changes({ a: 1, version: 1, updated_at: 'x', tenant: 1 }, { a: 1, version: 2, updated_at: 'y', tenant: 1 }), null],
		[changes({ a: 'x' }, { a: null }), { before: { a: 'x' }, after: { a: null } }],
		[changes({ a: null }, { a: 'x' }), { before: { a: null }, after: { a: 'x' } }],
		[changes(null, { a: 1, b: null, version: 1 }), { after: { a: 1 } }],
		[changes({ a: 1, b: null, tenant: 3 }, null), { before: { a: 1 } }],
		[changes({ a: 1 }, { a: 1 }, "'{password}'"), { after: { password: '***' } }],
		[changes(null, { a: { n: null } }, "'{password}'"), { after: { a: { n: null }, password: '***' } }],
		[changes(null, null), null],
	]);
});

test('the trail has partitions for this month and the next three; making them again makes none', () => {
	const partitions = () => s.sql(`SELECT c.relname AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent = 'postern.audit'::regclass ORDER BY 1`).map((r) => r.name);
	const [{ months }] = s.sql("SELECT array(SELECT 'audit_' || to_char(date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => i), 'YYYYMM') FROM generate_series(0, 3) i) AS months");
	assert.deepEqual(partitions(), [...months, 'audit_default'].sort());
	assert.equal(s.psql('SELECT postern.audit_partitions()'), '0');
	assert.equal(s.psql('SELECT postern.audit_partitions(5)'), '2');
	assert.equal(s.psql('SELECT postern.audit_partitions(5)'), '0');
	assert.deepEqual(s.sql('SELECT DISTINCT tableoid::regclass::text AS name FROM postern.audit'), [{ name: `postern.${months[0]}` }]);
	assert.equal(s.psql('SELECT count(*) FROM postern.audit_default'), '0');
});

test('months begin in UTC, over the end of a year too, and no instant falls between two', () => {
	const found = s.psql(`BEGIN; SET TimeZone = 'Pacific/Kiritimati';
		CREATE OR REPLACE FUNCTION postern.clock() RETURNS timestamptz LANGUAGE sql AS $$ SELECT timestamptz '2030-11-30 23:59:59.999999+00' $$;
		SELECT postern.audit_partitions();
		INSERT INTO postern.audit (account_id, at, actor, resource, verb, outcome)
			SELECT 0, x, 'system', 'x', 'x', 'allowed' FROM unnest(ARRAY['2030-11-01 00:00+00', '2030-11-30 23:59:59.999999+00', '2030-12-01 00:00+00',
				'2030-12-31 23:59:59.999999+00', '2031-01-01 00:00+00', '2031-02-28 23:59:59.999999+00', '2031-03-01 00:00+00']::timestamptz[]) x;
		SELECT string_agg(substr(tableoid::regclass::text, 15), ' ' ORDER BY at) FROM postern.audit WHERE at > '2030-01-01'; ROLLBACK`);
	assert.deepEqual(found.split('\n'), ['4', '203011 203011 203012 203012 203101 203102 default']);
});
