// What many do at once: admission never waits in a circle and counts exactly; and with many rows, plans still use indexes.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { soak, startStack } from '../api/harness.mjs';
import { serveAll } from '../api/statements.mjs';

let s;
before(async () => { s = await startStack('sql-load'); });
after(() => s?.stop());

const asServer = process.getuid() === 0 ? ['setpriv', '--reuid=postgres', '--regid=postgres', '--init-groups', '--'] : [];
// psql in the background; resolves with what it said when it failed, else ''.
function session(statement) {
	const words = [...asServer, 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-h', path.join(s.dir, 'pg/socket'), '-d', 'postern', '-f', '-'];
	const child = spawn(words[0], words.slice(1), { cwd: '/', stdio: ['pipe', 'ignore', 'pipe'] });
	let said = '';
	child.stderr.on('data', (data) => { said += data; });
	child.stdin.end(statement);
	return new Promise((resolve) => child.on('close', (code) => resolve(code ? said || `exit ${code}` : '')));
}

test('batches that share tokens, in any order and from several binaries, never deadlock and count exactly', { timeout: 120000 }, async () => {
	const rounds = soak ? 2000 : 200, small = 40;
	for (let i = 0; i < 10; i++)
		s.mint({ name: `deadlock-${i}`, rate_limit: i % 2 ? 10000000 : small });
	const batches = (schema, serve = (k, d, n) => serveAll(schema, n, { key: k, digest: d, op: `array_fill('page'::text, ARRAY[${n}])`, id: `array_fill('0'::text, ARRAY[${n}])`,
		operation: `array_fill('list${schema[0].toUpperCase()}${schema.slice(1)}'::text, ARRAY[${n}])` })) => session(`SET enable_hashjoin = off; SET enable_mergejoin = off; -- as the binaries' roles have it
	DO $$
	DECLARE
		k text[]; d bytea[]; n int; whole boolean;
	BEGIN
		FOR i IN 1 .. ${rounds} LOOP
			SELECT array_agg(x.key_id), array_agg(x.digest), count(*) INTO k, d, n FROM (
				SELECT b.key_id, b.digest FROM postern.keys b JOIN postern.tokens t ON t.id = b.token_id, generate_series(1, 2)
				WHERE t.name LIKE 'deadlock-%' ORDER BY random() LIMIT 12) x;
			whole := true;
			BEGIN
				PERFORM ${serve('k', 'd', 'n')};
			EXCEPTION WHEN SQLSTATE 'PNONE' THEN -- a limit was reached: each alone, as the gate does it
				whole := false;
			END;
			COMMIT;
			FOR j IN 1 .. CASE WHEN whole THEN 0 ELSE n END LOOP
				LOOP
					BEGIN
						PERFORM ${serve('k[j:j]', 'd[j:j]', 1)};
						EXIT;
					EXCEPTION WHEN serialization_failure THEN
						NULL;
					END;
				END LOOP;
				COMMIT;
			END LOOP;
		END LOOP;
	END $$`);
	assert.deepEqual(await Promise.all(['domains', 'users', 'domains', 'tokens'].map((schema) => batches(schema))), ['', '', '', '']);
	assert.equal(s.psql("SELECT deadlocks FROM pg_stat_database WHERE datname = 'postern'"), '0');
	const counts = s.sql(`SELECT t.name, t.rate_limit, r.used, (SELECT count(*)::int FROM postern.audit a WHERE a.token_id = t.id AND a.status = 200) AS served,
		coalesce((SELECT sum(f.count)::int FROM postern.refusals f WHERE f.token_id = t.id), 0) AS refused
		FROM postern.tokens t JOIN postern.rates r ON r.token_id = t.id WHERE t.name LIKE 'deadlock-%' ORDER BY t.name`);
	for (const { name, rate_limit: most, used, served, refused } of counts)
		if (most === small && !soak) { // soak takes longer than a window
			assert.deepEqual([name, used, served], [name, small, small]);
			assert.ok(refused > 0);
		} else if (!soak) {
			assert.equal(used, served, name);
			assert.equal(refused, 0);
		}
	if (!soak)
		assert.equal(counts.reduce((sum, c) => sum + c.served + c.refused, 0), 4 * rounds * 12, 'every request was served or refused, once');
});

test('with many accounts and tokens, admission and the default list read by index', { skip: !soak && 'with make soak', timeout: 600000 }, () => {
	s.psql(`INSERT INTO postern.accounts (name, username, home) SELECT 'n' || i, 'many' || i, '/home/many' || i FROM generate_series(1, 2000) i;
		INSERT INTO postern.domain_names SELECT 'd' || i || '.example', a.id FROM generate_series(1, 100000) i JOIN postern.accounts a ON a.username = 'many' || (i % 2000 + 1);
		INSERT INTO postern.domains (account_id, domain, type, document_root, proof, proven_at)
			SELECT account_id, domain, 'addon', '/x', 'administrator', now() FROM postern.domain_names WHERE domain ~ '^d[0-9]+\\.example$';
		INSERT INTO postern.tokens (user_id, name, scopes) SELECT (SELECT min(id) FROM postern.users), 'many-' || i, '{*}' FROM generate_series(1, 50000) i;
		INSERT INTO postern.keys (key_id, token_id, account_id, digest, pepper_id) SELECT 'many' || t.name, t.id, 0, sha256(t.name::bytea), 'p' FROM postern.tokens t WHERE t.name LIKE 'many-%';
		INSERT INTO postern.rates (token_id, account_id) SELECT id, 0 FROM postern.tokens WHERE name LIKE 'many-%';
		ANALYZE`);
	const plan = (role, account, query) => s.psql(`SET ROLE ${role}; SET postern.account_id = '${account}'; EXPLAIN ${query}`);
	const account = s.psql("SELECT id FROM postern.accounts WHERE username = 'many7'");
	const scans = (text) => text.split('\n').filter((line) => /Seq Scan on (domains|keys|tokens|rates|domain_names)/.test(line));
	for (const [role, query] of [
		['postern_gate', "SELECT * FROM gate.bearer b WHERE b.key_id = 'manymany-77'"],
		['postern_gate', "SELECT FROM postern.rates r WHERE r.token_id IN (SELECT k.token_id FROM postern.keys k WHERE k.key_id = 'manymany-77') ORDER BY r.token_id FOR UPDATE"],
		['postern_tenant', `SELECT v FROM domains.item v WHERE v.tenant = ${account} ORDER BY v.id LIMIT 21`],
		['postern_tenant', `SELECT v FROM domains.item v WHERE v.id > 500 AND v.tenant = ${account} ORDER BY v.id LIMIT 21`],
		['postern_tenant', `SELECT count(*) FROM domains.item v WHERE v.tenant = ${account}`],
		['postern_tenant', `SELECT v FROM domains.item v WHERE v.id = 77 AND v.tenant = ${account}`],
		['postern_operator', 'SELECT v FROM domains.item v ORDER BY v.id LIMIT 21'],
		['postern_operator', "SELECT v FROM domains.item v WHERE v.domain = 'd77.example'"],
	]) {
		const text = plan(role, account, query);
		assert.deepEqual(scans(text), [], `${query}\n${text}`);
	}
});
