// Who has broken into an endpoint has its database role and sees valid tokens pass: with them he can do what they can do over HTTP at
// that endpoint, nothing more. Superseded keys grant nothing; families and accounts share a minute.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { mint, spread, takeClock } from '../api/credentials.mjs';
import { startStack, until } from '../api/harness.mjs';
import { keyOf, literal, serve, write } from '../api/statements.mjs';

const marker = 'zebrafish'; // in all that the other tenant has
let s, clock, operations, uuids, mine, other, tokens;
const endpoints = () => [...new Set(operations.map((op) => op.endpoint))];
const admin = (method, target, body) => s.ask(`/api/${target}`, { method, body });
const made = async (...words) => {
	const answer = await admin('POST', ...words);
	assert.ok(answer.status < 300, answer.text);
	return answer.json;
};

before(async () => {
	s = await startStack('walls-gate');
	clock = takeClock(s);
	s.token = s.mint({ name: 'tests', expires_at: null }).token;
	operations = s.routes().flatMap((r) => r.routes.map((route) => ({ ...route, endpoint: r.name, writes: route.method !== 'GET' })));
	uuids = s.routes().filter((r) => r.fields.some((f) => f.name === 'id' && f.type === 'uuid')).map((r) => r.name);
	[mine, other] = [s.tenant(), s.tenant({ username: `${marker}1` })];
	for (const [t, word] of [[mine, 'mine'], [other, marker]]) {
		t.domain = await made('domains', { domain: `${word}.example`, account: t.username });
		t.mailbox = await made('mailboxes', { address: `${word}@${word}.example`, password: 'correct horse' });
		t.forwarder = await made('forwarders', { address: `f-${word}@${word}.example`, destinations: [`${word}@example.net`] });
		t.cron = await made('cron', { schedule: '@daily', command: `echo ${word}`, account: t.username });
		t.job = s.sql(`SELECT id FROM postern.jobs WHERE account_id = ${t.account.id} LIMIT 1`)[0].id;
	}
	s.mint({ name: `${marker}-token`, owner: other.user.username });
	const scopes = [...new Set(operations.map((op) => op.scope))].filter((scope) => scope !== '-');
	tokens = {
		tenant: s.mint({ owner: mine.user.username, scopes }),
		limited: s.mint({ scopes: ['domains:read', 'cron:*', 'profile:read'] }),
		full: s.mint({ scopes: ['*'] }),
	};
	for (const token of Object.values(tokens))
		Object.assign(token, keyOf(s, token.token));
});
after(() => s?.stop());

// What psql says to each of these statements, as that role: rows, or the error's text.
function as(role, statements) {
	const setpriv = process.getuid() === 0 ? ['setpriv', '--reuid=postgres', '--regid=postgres', '--init-groups', '--'] : [];
	const input = `\\set VERBOSITY verbose\n${statements.map((text) => `\\echo ----\nSELECT coalesce(json_agg(q), '[]') FROM (${text}) q;\n`).join('')}`;
	const command = [...setpriv, 'psql', '-X', '-q', '-A', '-t', '-h', path.join(s.dir, 'pg/socket'), '-U', role, '-d', 'postern', '-f', '-'];
	const done = spawnSync('sh', ['-c', `exec ${command.join(' ')} 2>&1`], { input, encoding: 'utf8', cwd: '/', maxBuffer: 256 << 20 });
	const parts = done.stdout.split('----\n').slice(1);
	assert.equal(parts.length, statements.length, done.stdout.slice(-2000));
	return parts.map((text) => (/ERROR: {2}/.test(text) ? { error: /ERROR: {2}(\w{5}): (.*)/.exec(text).slice(1) } : { rows: JSON.parse(text) }));
}
const rowsOf = ({ rows, error }) => rows ?? assert.fail(error.join(' '));
const refusedWith = (answers, pattern, what) => answers.forEach((a, i) => assert.match(a.error?.join(' ') ?? JSON.stringify(a.rows), pattern, `${what} ${i}`));
const NOT_ADMITTED = /^PN503 the request was not admitted/;
const trailOf = (ids) => s.sql(`SELECT request_id, resource || '.' || verb AS action, status, reason, account_id, path FROM postern.audit WHERE request_id = ANY ('{${ids}}')`);
// All that another tenant has.
const fingerprint = (t) => s.sql(['users', 'tokens', 'keys', 'domains', 'certificates', 'mailboxes', 'forwarders', 'databases', 'backups', 'cron', 'websites', 'jobs', 'events']
	.map((table) => `SELECT '${table}' AS t, count(*), md5(string_agg(x::text, ';' ORDER BY x::text)) FROM postern.${table} x WHERE account_id = ${t.account.id}`)
	.concat(`SELECT 'accounts', 1, md5(a::text) FROM postern.accounts a WHERE a.id = ${t.account.id}`).join(' UNION ALL '));
// What may be read for an operation.
const words = (op) => ({ list: ['next', 'page', 'list'], get: ['get'], read: [op.call ?? ''] })[op.does] ?? [''];
const readings = () => ['', 'next', 'page', 'list', 'get', ...new Set(operations.filter((op) => op.does === 'read' && op.call).map((op) => op.call))];
const zero = '00000000-0000-0000-0000-000000000000';
const reading = (op, word, endpoint = op.endpoint) => ({
	op: word, later: false, request_id: randomUUID(), operation: op.operation_id,
	id: word === 'page' ? '0' : word === 'next' || word === 'get' ? (uuids.includes(endpoint) ? { next: zero, get: other.job }[word] : '1') : null,
	args: word === 'list' ? '{"limit":100000,"sort":"id","descending":false}' : '{}',
});

test('the functions that an endpoint may call are those that are attacked here', () => {
	for (const endpoint of endpoints()) {
		const may = s.sql(`SELECT n.nspname || '.' || p.proname AS f FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
			WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND has_schema_privilege('postern_${endpoint}', n.oid, 'USAGE')
			AND has_function_privilege('postern_${endpoint}', p.oid, 'EXECUTE') ORDER BY 1`).map((r) => r.f);
		const known = ['serve', 'write', 'outcome', 'export', 'learn', 'open'].map((f) => `${endpoint}.${f}`)
			.concat(['settings_held', 'compatible_from', 'settle', 'record', 'keep'].map((f) => `gate.${f}`));
		assert.deepEqual(may.filter((f) => !known.includes(f)), [], endpoint);
	}
});

for (const who of ['tenant', 'limited', 'full'])
	test(`whatever an endpoint asks to be read for every operation there is, it gets what a ${who} token gets over HTTP, and a row for it`, async () => {
		const token = tokens[who];
		const verdicts = new Map(await Promise.all(operations.map(async (op) => {
			const { json } = await s.ask('/api/explain', { method: 'POST', token: token.token, body: { method: op.method, path: `/api/${op.endpoint}${op.path.replace('{id}', '1')}` } });
			return [op.operation_id, json];
		})));
		const count = () => s.sql(`SELECT used FROM postern.rates WHERE token_id = '${token.id}'`)[0].used;
		const before = count(), sent = [], admitted = [];
		for (const endpoint of endpoints()) {
			// its own operations with every way to read, the others' with one that is theirs
			const requests = operations.flatMap((op) => (op.endpoint === endpoint ? readings() : words(op).slice(0, 1)).map((word) => ({ ...token, ...reading(op, word, endpoint), of: op })));
			const [plain] = as(`postern_${endpoint}`, [`SELECT n, status, reason, rows::text AS rows, doc, ticket FROM ${serve(endpoint, requests)}`]);
			const answered = new Map(rowsOf(plain).map((row) => [requests[row.n - 1], row]));
			sent.push(...requests.map((request) => [request, answered.get(request)]));
			admitted.push(...[...answered].filter(([, a]) => ![401, 403].includes(a.status)));
			for (const [i, request] of requests.entries()) {
				const op = request.of, a = answered.get(request), what = `${endpoint} ${i} ${op.operation_id} ${request.op}`;
				assert.equal(a !== undefined, op.endpoint === endpoint && !op.writes && op.does !== 'export' && words(op).includes(request.op), what);
				if (!a)
					continue;
				const verdict = verdicts.get(op.operation_id);
				if (verdict.reason === 'open') // not let in; as it answers nobody it answers where that is asked for
					assert.ok([401, 403].includes(a.status) && a.reason && a.doc === null, what);
				else
					assert.deepEqual([a.status === 401 || a.status === 403, a.reason], [!verdict.allowed, verdict.reason], what);
				assert.equal(a.ticket, null);
				if (a.status !== 200)
					assert.ok(!a.rows?.includes('(') && a.doc === null, what);
				if (who === 'tenant')
					for (const sign of [marker, Buffer.from(marker).toString('hex')])
						assert.ok(!`${a.rows}${a.doc}`.includes(sign), `${what} shows another's`);
			}
		}
		// a row for each that was let in, of that operation, and none for what was no request
		const rows = new Map(trailOf(sent.map(([request]) => request.request_id)).map((row) => [row.request_id, row]));
		for (const [request, a] of admitted)
			assert.deepEqual([rows.get(request.request_id)?.action, rows.get(request.request_id)?.status], [request.of.audit, a.status]);
		assert.deepEqual(sent.filter(([request, a]) => !a && rows.has(request.request_id)), []);
		assert.equal(count() - before, admitted.length);
	});

test('what is asked for as open is read for nobody, has its row, and is open only where the route is', () => {
	for (const [endpoint, id, told] of [['health', 'getHealth', [200, 'open']], ['openapi', 'getOpenapi', [403, 'scope']], ['me', 'getMe', [403, 'scope']], ['usage', 'listUsage', [403, 'scope']]]) {
		const op = operations.find((o) => o.operation_id === id);
		const narrow = s.mint({ owner: mine.user.username, scopes: ['cron:read'] });
		const request = { ...narrow, ...keyOf(s, narrow.token), ...reading(op, words(op)[0], endpoint), match: 'open' };
		const [answer] = as(`postern_${endpoint}`, [`SELECT status, reason, rows IS NULL AND doc IS NULL AS nothing FROM ${serve(endpoint, [request])}`]);
		assert.deepEqual(answer.rows, [{ status: told[0], reason: told[1], nothing: true }], id);
		assert.deepEqual(trailOf([request.request_id]).map((r) => [r.status, r.reason]), [told], id);
		assert.deepEqual(s.sql(`SELECT used FROM postern.rates WHERE token_id = '${narrow.id}'`), [{ used: 0 }]);
	}
});

test('a list holds a hundred rows whatever an endpoint asks for, and arrays that begin elsewhere lead nowhere', () => {
	s.psql(`INSERT INTO postern.domains (account_id, domain, type, document_root, status) SELECT ${mine.account.id}, 'many' || i || '.example', 'addon', '/home/x/many' || i, 'unproven'
		FROM generate_series(1, 300) i`);
	const all = ['next', 'page', 'list'].map((word) => ({ ...tokens.tenant, ...reading(operations.find((op) => op.operation_id === 'listDomains'), word), limit: 100000 }));
	const [{ rows }] = as('postern_domains', [`SELECT cardinality(rows) AS n FROM ${serve('domains', all)}`]);
	assert.deepEqual(rows.map((r) => r.n), [101, 101, 101]);
	// the first element is looked up as 1, so what is checked is what is done
	const shifted = serve('tokens', [], {
		...Object.fromEntries(['key', 'digest'].map((k) => [k, `ARRAY[${literal(tokens.limited[k], k === 'key' ? 'text' : 'bytea')}]`])), ip: `'{127.0.0.1}'`, insecure: `'{f}'`, admin: `'{f}'`,
		operation: `'[0:1]={getMe,listTokens}'`, op: `'[0:1]={"",page}'`, id: `'{0}'`, limit: `'{20}'`, args: `'{NULL}'`, match: `'{NULL}'`, refused: `'{NULL}'`, refusal: `'{NULL}'`, later: `'{f}'`,
		request_id: `ARRAY[gen_random_uuid()::text]`, object: `'{NULL}'`, method: `'{GET}'`, path: `'{/}'`, agent: `'{NULL}'`, elapsed_us: `'{0}'` });
	const [answer] = as('postern_tokens', [`SELECT status, rows IS NULL AS none FROM ${shifted}`]);
	assert.deepEqual(answer.rows, [{ status: 403, none: true }]);
});

test('what is read without its row at once has it all the same, and p_later of null is no way around', () => {
	const list = operations.find((op) => op.operation_id === 'listDomains');
	const [late, unsaid] = [true, null].map((later) => ({ ...tokens.tenant, ...reading(list, 'page'), later }));
	const [first] = as('postern_domains', [`SELECT status, ticket IS NOT NULL AS ticket, cardinality(rows) > 0 AS read FROM ${serve('domains', [late])}`]);
	assert.deepEqual(first.rows, [{ status: 200, ticket: true, read: true }]);
	assert.deepEqual(trailOf([late.request_id]), []);
	const [second] = as('postern_domains', [`SELECT status, ticket FROM ${serve('domains', [unsaid])}`]);
	assert.deepEqual(second.rows, [{ status: 200, ticket: null }]);
	assert.equal(trailOf([unsaid.request_id]).length, 1);
	try {
		clock.set('6 minutes');
		s.psql('SELECT gate.settle()');
		assert.deepEqual(trailOf([late.request_id]).map((r) => [r.action, r.status, r.reason]), [['domain.list', 200, 'unanswered']]);
	} finally {
		clock.set('0');
	}
});

// A ticket for each operation that changes something or exports, as the token is let in to it; null: it is not.
function ticketsOf(token, endpoint) {
	const own = operations.filter((op) => op.endpoint === endpoint && (op.writes || op.does === 'export'));
	const requests = own.map((op) => ({ ...token, operation: op.operation_id, later: true, request_id: randomUUID(), method: op.method, path: `/of/${op.operation_id}` }));
	return as(`postern_${endpoint}`, requests.map((r) => `SELECT status, reason, ticket FROM ${serve(endpoint, [r])}`))
		.map((answer, i) => ({ op: own[i], request: requests[i], ...answer.rows[0] }));
}

test('nothing is changed without the ticket of an admitted request, for another operation, about another\'s object, or twice', async () => {
	const token = tokens.tenant, { key, digest } = token, before = fingerprint(other);
	const foreign = { domains: other.domain.id, mailboxes: other.mailbox.id, forwarders: other.forwarder.id, cron: other.cron.id, accounts: other.account.id, users: other.user.id, jobs: other.job };
	const gained = new Map(endpoints().map((endpoint) => [endpoint, ticketsOf(token, endpoint)]));
	for (const [endpoint, tickets] of gained)
		for (const { op, status, ticket } of tickets) {
			const verdict = (await s.ask('/api/explain', { method: 'POST', token: token.token, body: { method: op.method, path: `/api/${endpoint}${op.path.replace('{id}', '1')}` } })).json;
			assert.deepEqual([status < 400, ticket !== null], [verdict.allowed, verdict.allowed], op.operation_id);
		}
	const all = [...gained.values()].flat().filter((t) => t.ticket);
	assert.ok(all.length > 40);
	for (const endpoint of endpoints()) {
		const role = `postern_${endpoint}`, fill = (t) => ({ key, digest, ticket: t?.ticket ?? null });
		const anywhere = (t, more) => [`SELECT * FROM ${write(endpoint, { ...fill(t), ...more })}`, `SELECT * FROM "${endpoint}".outcome('${key}', '${digest}', ${t?.ticket ?? 'NULL'}, true)`,
			`SELECT gate.record('${key}', '${digest}', ${t?.ticket ?? 'NULL'}, 200, NULL, 0)`];
		const strange = [...gained].filter(([name]) => name !== endpoint).map(([, tickets]) => tickets.find((t) => t.ticket)).filter(Boolean);
		const own = all.filter((t) => t.op.endpoint === endpoint && t.op.writes), onOne = (t) => t.op.path.includes('{id}');
		const attacks = [
			['none, or made up', NOT_ADMITTED, [...anywhere(null, {}), ...anywhere({ ticket: 987654321 }, { id: '1' })]],
			['of another endpoint', NOT_ADMITTED, strange.flatMap((t) => [...anywhere(t, { id: onOne(t) ? '1' : null }), `SELECT gate.record('${key}', '${digest}', ${t.ticket}, 500, NULL, 0)`])],
			['with an object where there is none, and the other way round', NOT_ADMITTED, own.map((t) => `SELECT * FROM ${write(endpoint, { ...fill(t), id: onOne(t) ? null : '1' })}`)],
			['of another token', NOT_ADMITTED, own.map((t) => `SELECT * FROM ${write(endpoint, { ...fill(t), key: tokens.full.key, digest: tokens.full.digest, id: onOne(t) ? '1' : null })}`)],
			['about what is another\'s', /^PN(404|403|422) /, own.filter((t) => onOne(t) && foreign[endpoint]).map((t) => `SELECT * FROM ${write(endpoint, { ...fill(t), id: foreign[endpoint] })}`)],
			['a row of success without the change', NOT_ADMITTED, own.map((t) => `SELECT gate.record('${key}', '${digest}', ${t.ticket}, 200, NULL, 0)`)],
			['the row of a failure', /^\[/, own.map((t) => `SELECT gate.record('${key}', '${digest}', ${t.ticket}, 422, 'test', 0)`)],
			['used up', NOT_ADMITTED, own.flatMap((t) => anywhere(t, { id: onOne(t) ? '1' : null }))],
		];
		const answers = as(role, attacks.flatMap(([, , statements]) => statements));
		for (const [what, pattern, statements] of attacks)
			refusedWith(answers.splice(0, statements.length), pattern, `${endpoint}, ${what}:`);
	}
	const changing = all.filter((t) => t.op.writes), rows = trailOf(changing.map((t) => t.request.request_id));
	for (const t of changing)
		assert.deepEqual(rows.filter((r) => r.request_id === t.request.request_id).map((r) => [r.action, r.status, r.account_id, r.path]),
			[[t.op.audit, 422, mine.account.id, t.request.path]], t.op.operation_id);
	assert.deepEqual(fingerprint(other), before);
});

test('a change uses its ticket up, each has been counted, and a revocation between admission and change holds', async () => {
	const token = s.mint({ owner: mine.user.username, scopes: ['domains:*'], rate_limit: 3 });
	Object.assign(token, keyOf(s, token.token));
	const ask = () => as('postern_domains', [`SELECT status, ticket FROM ${serve('domains', [{ ...token, operation: 'changeDomain', later: true, request_id: randomUUID(), method: 'PATCH' }])}`])[0].rows[0];
	const change = (ticket, more = {}) => as('postern_domains', [`SELECT id FROM ${write('domains', { ...token, ticket, id: mine.domain.id, body: { mail_enabled: false }, ...more })}`])[0];
	const first = ask();
	assert.deepEqual(change(first.ticket, { dry: true }).rows, [{ id: String(mine.domain.id) }]);
	refusedWith([change(first.ticket)], NOT_ADMITTED, 'after a dry run');
	const second = ask();
	assert.deepEqual(change(second.ticket).rows, [{ id: String(mine.domain.id) }]);
	refusedWith([change(second.ticket)], NOT_ADMITTED, 'again');
	const third = ask();
	assert.deepEqual(ask(), { status: 429, ticket: null });
	s.cliJson(['token', 'revoke', token.id]);
	refusedWith([change(third.ticket)], /^PN401 revoked/, 'revoked');
});

test('an answer is kept by the transaction that made the change, and by no other', () => {
	const { key, digest } = tokens.tenant;
	refusedWith(as('postern_domains', [`SELECT gate.keep('${key}', '${digest}', 'k', 200, '', '')`]), NOT_ADMITTED, 'keep');
	const [{ rows: [{ ticket }] }] = as('postern_domains', [`SELECT ticket FROM ${serve('domains', [{ ...tokens.tenant, operation: 'changeDomain', later: true, request_id: randomUUID() }])}`]);
	const [claimed] = as('postern_domains', [`SELECT id FROM ${write('domains', { key, digest, ticket, id: mine.domain.id, body: {}, idempotency: 'k', fingerprint: 'f' })}`]);
	assert.equal(claimed.rows.length, 1);
	refusedWith(as('postern_domains', [`SELECT gate.keep('${key}', '${digest}', 'k', 200, '', 'forged')`]), NOT_ADMITTED, 'afterwards');
	assert.deepEqual(s.sql("SELECT FROM postern.kept_answers WHERE body = 'forged'"), []);
});

test('an export is read by its ticket, up to the row in the trail that stands for it, and by a token that still may', async () => {
	const token = s.mint({ owner: mine.user.username, scopes: ['audit:read', 'domains:read'] });
	Object.assign(token, keyOf(s, token.token));
	const read = (ticket, args = {}) => as('postern_audit', [`SELECT encode(x.line, 'escape') AS line FROM audit.export('${token.key}', '${token.digest}', ${ticket},
		'${JSON.stringify({ limit: 100000, sort: 'at', descending: false, ...args })}') x`])[0];
	const late = (operation) => as('postern_audit', [`SELECT ticket FROM ${serve('audit', [{ ...token, operation, op: operation === 'listAudit' ? 'list' : '', args: '{"limit":2,"sort":"id","descending":false}', later: true, request_id: randomUUID() }])}`])[0].rows[0].ticket;
	refusedWith([read('NULL'), read(late('exportAudit')), read(late('listAudit'))], NOT_ADMITTED, 'without its row');
	const ticket = late('exportAudit');
	assert.ok(as('postern_audit', [`SELECT gate.record('${token.key}', '${token.digest}', ${ticket}, 200, NULL, 0)`])[0].rows);
	refusedWith(as('postern_audit', [`SELECT gate.record('${token.key}', '${token.digest}', ${ticket}, 200, NULL, 0)`]), NOT_ADMITTED, 'a second row');
	await s.ask('/api/domains/987654', { token: token.token });
	const rows = rowsOf(read(ticket, { until: '2100-01-01T00:00:00Z', since_column: 'at' }));
	assert.ok(rows.length > 5 && rows.length <= 2000);
	assert.ok(!rows.some((r) => r.line.includes('987654') || r.line.includes(marker)));
	assert.deepEqual(rowsOf(read(ticket, { tail: '' })), []);
	s.cliJson(['token', 'revoke', token.id]);
	refusedWith([read(ticket)], /^PN401 revoked/, 'revoked');
});

test('whoever waits for a job asks by the ticket of the change that made it', () => {
	const { key, digest } = tokens.tenant;
	const ticketFor = () => as('postern_cron', [`SELECT ticket FROM ${serve('cron', [{ ...tokens.tenant, operation: 'runCronJob', later: true, request_id: randomUUID() }])}`])[0].rows[0].ticket;
	const ticket = ticketFor();
	const outcome = (endpoint, t) => as(`postern_${endpoint}`, [`SELECT ended, doc::jsonb ->> 'id' AS job FROM ${endpoint}.outcome('${key}', '${digest}', ${t}, false)`])[0];
	const [{ rows: [changed] }] = as('postern_cron', [`SELECT job FROM ${write('cron', { key, digest, ticket, id: mine.cron.id, wait: true })}`]);
	assert.deepEqual(outcome('cron', ticket).rows, [{ ended: false, job: null }]);
	refusedWith([outcome('domains', ticket), outcome('cron', ticketFor())], NOT_ADMITTED, 'outcome');
	refusedWith(as('postern_cron', [`SELECT * FROM ${write('cron', { key, digest, ticket, id: mine.cron.id })}`]), NOT_ADMITTED, 'a second change');
	s.psql(`UPDATE postern.jobs SET status = 'succeeded', finished_at = now() WHERE id = '${changed.job}'`);
	assert.deepEqual(outcome('cron', ticket).rows, [{ ended: true, job: changed.job }]);
	refusedWith([outcome('cron', ticket)], NOT_ADMITTED, 'told once');
});

test('an endpoint says what its file has, not which settings there are or which may change', () => {
	const settings = () => s.sql('SELECT id, fixed, held, description FROM postern.settings ORDER BY id');
	const before = settings(), forged = JSON.stringify([{ id: 'dsn', fixed: null, present: 'x', source: 'file' }, { id: 'made_up', description: 'x', type: 'text', present: 1, source: 'file' }]);
	refusedWith(as('postern_settings', [`SELECT settings.learn('[]', true)`]), /which settings there are is for a migration to say/, 'learn');
	as('postern_settings', [`SELECT settings.learn('${forged}', false)`]);
	assert.deepEqual(settings(), before);
	const servers = () => s.sql('SELECT * FROM postern.servers ORDER BY name'), were = servers();
	for (const [endpoint, name] of [['databases', 'postgresql'], ['mailboxes', 'imap']]) { // where everybody's programs, and passwords, are sent
		const elsewhere = JSON.stringify([{ name, host: 'evil.example', port: 1 }]);
		as(`postern_${endpoint}`, [`SELECT ${endpoint}.learn('${elsewhere}', false)`]);
		refusedWith(as(`postern_${endpoint}`, [`SELECT ${endpoint}.learn('${elsewhere}', true)`]), /for a migration to say/, 'learn');
	}
	assert.ok(were.length === 4);
	assert.deepEqual(servers(), were);
});

test('a key that a rotation replaced reads and changes until its grace ends, but grants and revokes nothing, which explain knows', async () => {
	const made_ = s.mint({ owner: mine.user.username, scopes: ['domains:*', 'profile:read', 'tokens:read', 'tokens:write', 'tokens:delete', 'users:write', 'users:read'] });
	const victim = s.mint({ owner: mine.user.username, scopes: ['domains:read'] });
	const fresh = (await s.ask(`/api/tokens/${made_.id}/rotate`, { method: 'POST', token: made_.token, body: { grace_s: 3600 } })).json.token;
	const ask = (token, method, target, body) => s.ask(`/api/${target}`, { method, token, body });
	assert.equal((await ask(made_.token, 'GET', 'tokens')).status, 200);
	assert.equal((await ask(made_.token, 'PATCH', `domains/${mine.domain.id}`, { mail_enabled: true })).status, 200);
	for (const [method, target, body] of [['POST', `tokens/${made_.id}/rotate`, { grace_s: 0 }], ['POST', 'tokens', { name: 'more', scopes: ['domains:read'] }], ['PATCH', `tokens/${victim.id}`, { name: 'taken' }],
		['POST', `tokens/${victim.id}/revoke`, {}], ['POST', 'tokens/revoke', { ids: [victim.id] }], ['DELETE', `tokens/${victim.id}`], ['POST', 'users', { username: 'xyz' }],
		['PATCH', `users/${mine.user.id}`, { email: 'a@example.org' }]]) {
		const answer = await ask(made_.token, method, target, body);
		assert.equal(answer.status, 403, `${method} ${target}: ${answer.text}`);
		assert.match(answer.json.error.details, /refused by: superseded; .*use the token's new value/);
		assert.equal((await ask(made_.token, 'POST', 'explain', { method, path: `/api/${target}` })).json.reason, 'superseded');
	}
	assert.deepEqual(s.sql(`SELECT reason FROM postern.audit WHERE token_id = '${made_.id}' AND status = 403 LIMIT 1`), [{ reason: 'superseded' }]);
	assert.equal((await ask(fresh, 'POST', `tokens/${victim.id}/revoke`, {})).status, 200);
	assert.equal((await ask(fresh, 'POST', `tokens/${made_.id}/rotate`, {})).status, 200); // and with it the old one ends
	assert.equal((await ask(made_.token, 'GET', 'domains')).status, 401);
});

const codes = (answers) => answers.reduce((all, a) => ({ ...all, [a.status]: (all[a.status] ?? 0) + 1 }), {});
const flood = (list, n, target = '/api/domains') => spread(Array.from({ length: n }, (_, i) => () => s.ask(target, { token: list[i % list.length].token })), 40);

test('tokens that a token minted share its minute, and their descendants too; exactly its limit passes however they ask', async () => {
	const root = await mint(s, { owner: mine.user.username, scopes: ['domains:read', 'tokens:read', 'tokens:write'], rate_limit: 60, action_limit: 5 });
	const child = await mint(s, { scopes: ['domains:read', 'tokens:read', 'tokens:write'], rate_limit: 60 }, root.token);
	const grandchild = await mint(s, { scopes: ['domains:read'], rate_limit: 60 }, child.token);
	const small = await mint(s, { scopes: ['domains:read'], rate_limit: 10 }, root.token);
	const stranger = await mint(s, { owner: mine.user.username, scopes: ['domains:read'], rate_limit: 60 });
	const used = () => s.sql(`SELECT used FROM postern.rates WHERE token_id = '${root.id}'`)[0].used;
	s.psql('UPDATE postern.rates SET used = 0, window_start = postern.clock()');
	const answers = await flood([root, child, grandchild], 90);
	assert.deepEqual(codes(answers), { 200: 60, 429: 30 });
	assert.deepEqual(answers.filter((a) => a.status === 200).map((a) => Number(a.headers.get('x-ratelimit-remaining'))).sort((a, b) => a - b), Array.from({ length: 60 }, (_, i) => i));
	assert.equal(used(), 60);
	assert.deepEqual(codes(await flood([small], 3)), { 429: 3 });
	assert.deepEqual(codes(await flood([stranger], 3)), { 200: 3 }, 'one that an administrator minted is no relation');
	// a lesser limit counts what the others used, and leaves them the rest
	s.psql('UPDATE postern.rates SET used = 0, window_start = postern.clock()');
	assert.deepEqual(codes(await flood([root], 8)), { 200: 8 });
	assert.deepEqual(codes(await flood([small], 8)), { 200: 2, 429: 6 });
	assert.deepEqual(codes(await flood([child], 60)), { 200: 50, 429: 10 });
	s.cliJson(['token', 'revoke', root.id]);
	assert.equal((await s.ask('/api/domains', { token: child.token })).status, 401, 'revoking takes them along');
});

test('a family keeps its count when the token that began it is deleted', async () => {
	const root = await mint(s, { owner: mine.user.username, scopes: ['domains:read', 'tokens:write', 'tokens:delete'], rate_limit: 20 });
	const children = [await mint(s, { scopes: ['domains:read'], rate_limit: 20 }, root.token), await mint(s, { scopes: ['domains:read'], rate_limit: 20 }, root.token)];
	assert.equal((await s.ask(`/api/tokens/${root.id}/revoke`, { method: 'POST', body: { descendants: false } })).status, 200);
	assert.equal((await s.ask(`/api/tokens/${root.id}`, { method: 'DELETE' })).status, 204);
	s.psql('UPDATE postern.rates SET used = 0, window_start = postern.clock()');
	assert.deepEqual(codes(await flood(children, 30)), { 200: 20, 429: 10 });
	for (const child of children) {
		s.cliJson(['token', 'revoke', child.id]);
		assert.equal((await s.ask(`/api/tokens/${child.id}`, { method: 'DELETE' })).status, 204);
	}
	assert.deepEqual(s.sql(`SELECT FROM postern.rates WHERE token_id IN ('${root.id}', '${children[0].id}', '${children[1].id}')`), []);
});

test('heavy actions are shared by a family', async () => {
	const root = await mint(s, { owner: mine.user.username, scopes: ['cron:*', 'tokens:write'], action_limit: 2 });
	const child = await mint(s, { scopes: ['cron:*'], action_limit: 2 }, root.token);
	const run = (token) => s.ask(`/api/cron/${mine.cron.id}/run?dry_run=true`, { method: 'POST', token: token.token });
	const answers = [];
	for (const token of [child, root, child, root])
		answers.push(await run(token));
	assert.deepEqual(answers.map((a) => a.status), [200, 200, 429, 429], answers.map((a) => a.text).join('\n'));
});

test('all tokens of an account share its plan\'s minute, exactly; another account and an administrator are not touched', async () => {
	const [a, b] = [s.tenant(), s.tenant()];
	s.cliJson(['account', 'update', String(a.account.id), '--max-requests', '50']);
	const of = (t) => Promise.all(Array.from({ length: 4 }, () => mint(s, { owner: t.user.username, scopes: ['domains:read', 'profile:read'], rate_limit: 40 })));
	const [all, others] = [await of(a), await of(b)];
	const bound = await mint(s, { account: a.username, scopes: ['domains:read'], rate_limit: 40 });
	s.psql('UPDATE postern.rates SET used = 0, window_start = postern.clock()');
	const answers = await flood([...all, bound], 120);
	assert.deepEqual(codes(answers), { 200: 50, 429: 70 });
	assert.equal(s.sql(`SELECT used FROM postern.rates WHERE token_id = gate.whole(${a.account.id})`)[0].used, 50);
	assert.equal(s.sql(`SELECT sum(used)::int AS n FROM postern.rates WHERE account_id = ${a.account.id} AND token_id <> gate.whole(account_id)`)[0].n, 50, 'what is refused uses nothing up');
	const refused = await s.ask('/api/domains', { token: all[0].token });
	assert.deepEqual([refused.status, refused.headers.get('x-ratelimit-limit'), refused.headers.get('x-ratelimit-remaining')], [429, '50', '0']);
	assert.match(refused.json.error.message, /account's plan allows/);
	assert.deepEqual(codes(await flood(others, 20)), { 200: 20 });
	assert.equal((await s.ask(`/api/domains?account=${a.username}`)).status, 200);
	const told = await admin('POST', 'explain', { method: 'GET', path: '/api/domains', token: all[1].id });
	assert.equal(told.json.reason, 'account_limit');
	await until(() => s.sql(`SELECT sum(f.count)::int AS n FROM postern.refusals f WHERE f.account_id = ${a.account.id}`)[0].n > 0, 'refusals are counted');
	s.cliJson(['account', 'update', String(a.account.id), '--max-requests', '60']);
	assert.deepEqual(codes(await flood(all, 20)), { 200: 10, 429: 10 }, 'a larger plan holds at once');
});
