// What is kept beside the tables it is made of: how tokens stand, and rows as they travel. It must be what a join would say,
// whoever changed what, at whatever moment.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { soak, startStack } from '../api/harness.mjs';

let s;
before(async () => {
	s = await startStack('kept');
});
after(() => s?.stop());

// Statements one after the other, each a transaction, as the superuser; what fails (a deadlock, a duplicate) fails alone.
function session(statements) {
	const args = ['psql', '-X', '-q', '-h', path.join(s.dir, 'pg/socket'), '-d', 'postern', '-f', '-'];
	const as = process.getuid() === 0 ? ['setpriv', '--reuid=postgres', '--regid=postgres', '--init-groups', '--'] : [];
	const [file, ...rest] = [...as, ...args];
	const child = spawn(file, rest, { cwd: '/', stdio: ['pipe', 'ignore', 'pipe'] });
	let said = '';
	child.stderr.on('data', (d) => (said += d));
	child.stdin.end(["SET deadlock_timeout = '10ms';", ...statements].join('\n'));
	return new Promise((resolve) => child.on('close', () => resolve(said)));
}
const pick = (list) => list[Math.floor(Math.random() * list.length)];
const number = (n) => 1 + Math.floor(Math.random() * n);

test('how tokens stand is kept right under changes of every kind at once', { timeout: 300000 }, async () => {
	s.psql(`INSERT INTO postern.accounts (name, username, home) SELECT 'k' || i, 'kept' || i, '/home/kept' || i FROM generate_series(1, 4) i;
		INSERT INTO postern.roles (name, base, scopes) SELECT 'kept' || i, 'customer', '{domains:read}' FROM generate_series(1, 3) i;
		INSERT INTO postern.users (account_id, username, role) SELECT a.id, a.username, 'kept1' FROM postern.accounts a WHERE a.username LIKE 'kept%';`);
	const user = () => `(SELECT id FROM postern.users WHERE username = 'kept${number(4)}')`;
	const account = () => `(SELECT id FROM postern.accounts WHERE username = 'kept${number(4)}')`;
	const token = () => `(SELECT t.id FROM postern.tokens t JOIN postern.users u ON u.id = t.user_id WHERE u.username LIKE 'kept%' ORDER BY t.id OFFSET ${number(6) - 1} LIMIT 1)`;
	let names = 0;
	const ways = [
		() => `INSERT INTO postern.tokens (account_id, user_id, name, role, scopes) VALUES (${account()}, ${user()}, 'k${names++}', ${pick(['NULL', "'kept2'", "'kept3'"])}, '{*}');`,
		() => `UPDATE postern.tokens SET revoked_at = ${pick(['NULL', 'now()'])} WHERE id = ${token()};`,
		() => `UPDATE postern.tokens SET role = ${pick(['NULL', "'kept2'", "'kept3'"])} WHERE id = ${token()};`,
		() => `DELETE FROM postern.tokens WHERE id = ${token()};`,
		() => `UPDATE postern.users SET status = '${pick(['active', 'suspended'])}' WHERE id = ${user()};`,
		() => `UPDATE postern.users SET role = 'kept${number(3)}', account_id = ${account()} WHERE id = ${user()};`,
		() => `UPDATE postern.roles SET scopes = '{domains:${pick(['read', 'write', 'delete'])}}', base = '${pick(['viewer', 'customer'])}' WHERE name = 'kept${number(3)}';`,
		() => `UPDATE postern.accounts SET status = '${pick(['active', 'suspended'])}' WHERE id = ${account()};`,
		// two at once in one transaction, so that others come in between
		() => `BEGIN; UPDATE postern.users SET status = '${pick(['active', 'suspended'])}' WHERE id = ${user()}; SELECT pg_sleep(0.002); UPDATE postern.accounts SET status = '${pick(['active', 'suspended'])}' WHERE id = ${account()}; COMMIT;`,
	];
	const rounds = soak ? 8000 : 800;
	for (let i = 0; i < 4; i++) {
		const said = await Promise.all(Array.from({ length: 6 }, () => session(Array.from({ length: rounds / 4 }, () => pick(ways)()))));
		for (const text of said) // nothing but what two writers may do to each other
			assert.deepEqual(text.split('\n').filter((line) => /ERROR/.test(line) && !/deadlock detected|transaction is aborted/.test(line)), []);
		assert.deepEqual(s.sql('(TABLE gate.standing EXCEPT TABLE postern.standings) UNION ALL (TABLE postern.standings EXCEPT TABLE gate.standing)'), []);
	}
	assert.ok(s.sql('SELECT count(*)::int AS n FROM postern.standings')[0].n > 5);
});

test('a token is refused from the moment its owner, role or account loses what it needs', async () => {
	const t = s.tenant();
	const { token } = s.mint({ owner: t.user.username, scopes: ['domains:read'] });
	const status = async () => (await s.ask('/api/domains', { token })).status;
	assert.equal(await status(), 200);
	for (const [change, back, refused] of [
		[`UPDATE postern.users SET status = 'suspended' WHERE id = ${t.user.id}`, `UPDATE postern.users SET status = 'active' WHERE id = ${t.user.id}`, 401],
		[`UPDATE postern.accounts SET status = 'suspended' WHERE id = ${t.account.id}`, `UPDATE postern.accounts SET status = 'active' WHERE id = ${t.account.id}`, 401],
		["UPDATE postern.roles SET scopes = array_remove(scopes, 'domains:read') WHERE name = 'customer'", "UPDATE postern.roles SET scopes = scopes || '{domains:read}' WHERE name = 'customer'", 403],
		[`UPDATE postern.users SET account_id = 0 WHERE id = ${t.user.id}`, `UPDATE postern.users SET account_id = ${t.account.id} WHERE id = ${t.user.id}`, 401],
	]) {
		s.psql(change);
		assert.equal(await status(), refused, change);
		s.psql(back);
		assert.equal(await status(), 200, back);
	}
});

test('a domain\'s row as it travels is what the view says, after every way to change it', async () => {
	const t = s.tenant();
	const differ = () => s.sql(`SELECT v.id FROM domains.item v WHERE v.shown IS DISTINCT FROM (SELECT record_send(x) FROM (SELECT
		${s.sql("SELECT attname FROM pg_attribute WHERE attrelid = 'domains.item'::regclass AND attnum > 0 AND attname <> 'shown' ORDER BY attnum").map((c) => `w.${c.attname}`).join(', ')}
		FROM domains.item w WHERE w.id = v.id) x)`);
	const made = await s.ask('/api/domains', { method: 'POST', body: { domain: 'kept.example', account: t.account.username } });
	assert.equal(made.status, 201, made.text);
	const at = `/api/domains/${made.json.id}`;
	for (const [method, target, body] of [['PATCH', at, { mail_enabled: false }], ['POST', `${at}/suspend`], ['POST', `${at}/unsuspend`], ['PUT', at, { type: 'addon' }]]) {
		const answer = await s.ask(target, { method, body });
		assert.ok(answer.status < 300, `${method} ${target}: ${answer.text}`);
		assert.deepEqual(differ(), []);
		const listed = (await s.ask(`/api/domains?account=${t.account.username}`)).json.data.find((d) => d.id === made.json.id);
		assert.deepEqual(listed, (await s.ask(at)).json);
		assert.equal(listed.updated_at, answer.json.updated_at);
	}
	s.psql(`UPDATE postern.domains SET ssl_status = 'active' WHERE id = ${made.json.id}`); // somebody with a client of their own
	assert.deepEqual(differ(), []);
	assert.equal((await s.ask(at)).json.ssl_status, 'active');
	assert.ok(s.sql('SELECT count(*)::int AS n FROM postern.domains WHERE shown IS NOT NULL')[0].n > 0);
});
