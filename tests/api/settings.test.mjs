// Settings over the API: what is set through one binary is obeyed by every other at its next request, and by posternd at its next job.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { mint, spread } from './credentials.mjs';
import { fcgi, socketOf } from './fastcgi.mjs';
import { startStack, until } from './harness.mjs';

let s, tenant;

before(async () => {
	s = await startStack('settings', { WORKER: 'yes', POSTERN_UNKNOWN_TOKEN_LIMIT: '77' });
	s.token = s.mint({ name: 'settings', rate_limit: 10000000 }).token;
	tenant = s.tenant();
});
after(() => s?.stop());

const ask = (where, method = 'GET', body, more = {}) => s.ask(where, { method, body, ...more });
const set = async (name, value) => {
	const answer = await ask(`/api/settings/${name}`, 'PUT', { value });
	assert.equal(answer.status, 200, answer.text);
	return answer.json;
};
const all = async () => {
	const pages = [await ask('/api/settings?per_page=100'), await ask('/api/settings?per_page=100&page=2')]; // there are more than a page holds
	return pages.flatMap((page) => page.json.data);
};
const sent = (binary, what) => fcgi(socketOf(s, binary), { path: `/api/${binary}`, token: s.token, ...what });

test('every setting of the one table is shown with type, bounds, default and where its value comes from; a file\'s say why they are', async () => {
	const rows = await all();
	const sample = s.cli(['config', '--sample']).stdout;
	assert.deepEqual(rows.map((r) => r.name).sort(), [...sample.matchAll(/^#([a-z0-9_]+) = /gm)].map((m) => m[1]).sort());
	const of = Object.fromEntries(rows.map((r) => [r.id, r]));
	for (const r of rows) {
		assert.equal(r.id, r.name);
		assert.ok(r.description && r.takes, r.id);
		assert.equal(r.changeable, r.reason === null, r.id);
		assert.equal({ number: 'number', switch: 'boolean', choice: 'string', text: 'string' }[r.type], typeof r.default, r.id);
		assert.equal(typeof r.value, typeof r.default, r.id);
		if (r.type === 'number')
			assert.ok(r.minimum <= r.default && r.default <= r.maximum, r.id);
		if (r.type === 'choice')
			assert.ok(r.choices.includes(r.default), r.id);
		// whoever may set a program, a folder or where the database is, could become whoever runs posternd
		if (/_(dir|command|test|reload|file|repository|engine|dsn|dsn_direct|dump|list|webroot|socket|public|key)$/.test(r.id) || r.id.startsWith('dsn') || r.id.startsWith('audit_'))
			assert.equal(r.changeable, false, r.id);
	}
	const { description, updated_at: at, ...days } = of.job_days;
	assert.deepEqual(days, { id: 'job_days', name: 'job_days', value: 90, source: 'default', default: 90, type: 'number', unit: 'days', minimum: 1, maximum: 3650,
		choices: null, takes: 'a whole number of days from 1 to 3650', changeable: true, reason: null });
	assert.ok(description && at);
	assert.deepEqual([of.unix_users.source, of.unix_users.value], ['file', 'none']);
	assert.deepEqual([of.unknown_token_limit.source, of.unknown_token_limit.value], ['environment', 77]);
	assert.deepEqual((await ask('/api/v1/config.php?id=job_days')).json.data, of.job_days, 'the other name of settings');
	assert.equal((await ask('/api/settings/nothing')).status, 404);
});

test('a password in a setting is masked', async () => {
	const conf = path.join(s.dir, 'secret.conf');
	fs.writeFileSync(conf, `${fs.readFileSync(path.join(s.dir, 'postern.conf'), 'utf8')}databases_postgresql_dsn = "host=db user=x password=hidden-in-here"\n`, { mode: 0o644 });
	assert.equal(s.cli(['--config', conf, 'migrate']).status, 0, 'tells what this file says');
	const row = s.cliJson(['setting', 'get', 'databases_postgresql_dsn']);
	assert.equal(row.value, 'user=x password=******** host=db');
	assert.ok(!s.psql('SELECT string_agg(x::text, chr(10)) FROM postern.settings x').includes('hidden-in-here'));
	assert.equal(s.cli(['migrate']).status, 0);
});

test('what is set through one binary is obeyed by another at its next request, time and again, also while others are under way', async () => {
	const own = (await mint(s, { owner: tenant.user.username, scopes: ['domains:*', 'tokens:*'], rate_limit: 1000000 })).token;
	let going = true, answered = 0;
	const busy = Array.from({ length: 4 }, async (_, i) => {
		for (; going; answered++)
			assert.equal((await ask(['/api/domains', '/api/tokens', '/api/me', '/api/health'][i])).status, 200);
	});
	for (let i = 0; i < 24; i++) {
		const name = `r${i}.example`, prefix = `p${String(i).padStart(2, '0')}`;
		await set('reserved_names', name);
		assert.equal((await ask('/api/domains?dry_run=true', 'POST', { domain: name }, { token: own })).status, 403, `${name} is reserved`);
		assert.equal((await ask('/api/domains?dry_run=true', 'POST', { domain: `r${i - 1}.example` }, { token: own })).status, 200, 'the one before no longer');
		await set('token_prefix', prefix);
		assert.equal((await ask('/api/tokens', 'POST', { name: s.unique('n'), scopes: ['profile:read'] })).json.token.split('_')[0], prefix);
		await set('require_https', i % 2 === 0);
		assert.equal((await sent('me', { address: '192.0.2.7' })).status, i % 2 === 0 ? 403 : 200);
		await set('open_docs', i % 2 === 0);
		assert.equal((await ask('/api/openapi.json', 'GET', undefined, { token: null })).status, i % 2 === 0 ? 200 : 401);
		await set('open_health', i % 2 === 1);
		assert.equal((await ask('/api/health', 'GET', undefined, { token: null })).status, i % 2 === 1 ? 200 : 401);
	}
	going = false;
	await Promise.all(busy);
	assert.ok(answered > 24);
	assert.deepEqual(s.sql('SELECT count(*)::int AS n FROM postern.audit WHERE status >= 500'), [{ n: 0 }]);
	assert.equal((await ask('/api/settings', 'PATCH', { reserved_names: null, token_prefix: null, require_https: null, open_docs: null, open_health: null })).status, 200);
	assert.equal((await ask('/api/openapi.json', 'GET', undefined, { token: null })).status, 200);
});

test('a request that was judged by settings of before is counted once and leaves one row', async () => {
	const once = await mint(s, { scopes: ['domains:read'], rate_limit: 5 });
	for (let i = 0; i < 3; i++) {
		await set('token_prefix', `q${i}x`);
		const answer = await ask('/api/domains', 'GET', undefined, { token: once.token });
		assert.equal(answer.headers.get('x-ratelimit-remaining'), String(4 - i));
	}
	assert.deepEqual(s.sql(`SELECT count(*)::int AS n FROM postern.audit WHERE token_id = '${once.id}'`), [{ n: 3 }]);
	assert.equal((await ask('/api/settings/token_prefix', 'DELETE')).status, 204);
});

test('posternd and its actions go by what was set when they take a job', async () => {
	s.replaceAction('account.create', 'cat >/dev/null; echo "{\\"result\\":{\\"keep\\":\\"$POSTERN_BACKUP_KEEP_LAST\\",\\"dir\\":\\"$POSTERN_HOME_DIR\\"}}"');
	for (const keep of [3, 4, 5, 6]) {
		await set('backup_keep_last', keep);
		const made = await ask('/api/accounts', 'POST', { username: s.unique('w') }, { headers: { Prefer: 'wait=20' } });
		const job = await until(async () => {
			const { json } = await ask(`/api/jobs/${made.json.job_id}`);
			return json.finished_at && json;
		}, 'the job ends');
		assert.deepEqual(job.result, { keep: String(keep), dir: '' }, JSON.stringify(job));
	}
	fs.rmSync(path.join(s.dir, 'actions/account.create'));
	await set('backup_keep_last', null);
});

test('a value that does not fit is a 422 that names it, in the words of --check-config; nothing changes', async () => {
	const rows = await all(), before = JSON.stringify(rows);
	const wrong = { number: (r) => [r.minimum - 1, r.maximum + 1, 'x'], switch: () => ['maybe', 2], choice: () => ['nope'], text: (r) =>
		({ token_prefix: ['P', 'x', 'x'.repeat(11)], acme_email: ['x'], reserved_names: ['Upper.Example'], metrics_addresses: ['x', '10.0.0.0/33'] }[r.id] ?? []) };
	const conf = path.join(s.dir, 'wrong.conf');
	for (const r of rows.filter((x) => x.changeable && x.source !== 'environment')) {
		assert.ok(wrong[r.type](r).length > 0, `no wrong values are known for ${r.id}: add some`);
		for (const value of wrong[r.type](r)) {
			const one = await ask(`/api/settings/${r.id}`, 'PUT', { value });
			const several = await ask('/api/v1/settings', 'PUT', { default_web_server: 'apache', [r.id]: value });
			fs.writeFileSync(conf, `${r.id} = "${value}"\n`, { mode: 0o644 });
			const said = spawnSync(path.join(s.dir, 'postern'), ['--config', conf, 'config', '--check'], { encoding: 'utf8' }).stderr;
			const [, words] = said.match(new RegExp(`^${conf}:1: ${r.id}: (.*)\\.\n`)) ?? assert.fail(said);
			assert.equal(one.status, 422, `${r.id} = ${value}`);
			assert.equal(one.json.error.fields.value, words);
			assert.equal(several.status, 422);
			assert.deepEqual(several.json.error.fields, { [r.id]: words });
		}
		for (const value of [[], {}, 1.5, [1]])
			assert.equal((await ask(`/api/settings/${r.id}`, 'PATCH', { value })).status, 422, `${r.id} = ${JSON.stringify(value)}`);
	}
	for (const r of rows.filter((x) => !x.changeable)) {
		const refused = await ask(`/api/settings/${r.id}`, 'PUT', { value: r.default });
		assert.equal(refused.status, 422, r.id);
		assert.ok(refused.json.error.fields.value.includes(r.reason), refused.text);
		assert.match((await ask('/api/settings', 'PATCH', { [r.id]: r.default })).json.error.fields[r.id], /read-only/);
	}
	assert.match((await ask('/api/settings', 'PATCH', { jobdays: 3 })).json.error.fields.jobdays, /did you mean "job_days"/);
	assert.equal((await ask('/api/settings/job_days', 'PUT', {})).status, 422);
	assert.equal(JSON.stringify(await all()), before);
});

test('the environment goes over the database: a change that could not be obeyed is a 409', async () => {
	const refused = await ask('/api/settings/unknown_token_limit', 'PUT', { value: 5 });
	assert.equal(refused.status, 409);
	assert.match(refused.json.error.message, /POSTERN_UNKNOWN_TOKEN_LIMIT/);
	const several = await ask('/api/settings', 'PUT', { job_days: 5, unknown_token_limit: 5 });
	assert.equal(several.status, 409);
	assert.ok(several.json.error.fields.unknown_token_limit);
	assert.equal((await ask('/api/settings/job_days')).json.value, 90, 'all or nothing');
});

test('several settings change together, each in the trail with before and after', async () => {
	const [own, other] = process.env.WEB === 'apache' ? ['apache', 'nginx'] : ['nginx', 'apache']; // as the stack's file says
	const values = { job_days: 30, event_days: '12', open_docs: 'off', default_web_server: other };
	const answer = await ask('/api/config', 'PUT', values);
	assert.equal(answer.status, 200, answer.text);
	assert.deepEqual(answer.json, { job_days: 30, event_days: 12, open_docs: false, default_web_server: other });
	const changes = (a) => s.sql(`SELECT resource || '.' || verb AS action, object_id, status, changes FROM postern.audit WHERE request_id = '${a.headers.get('x-request-id')}'`);
	assert.deepEqual(changes(answer), [{ action: 'setting.update', object_id: null, status: 200, changes: {
		before: { job_days: 90, event_days: 30, open_docs: true, default_web_server: own }, after: answer.json } }]);
	const put = await ask('/api/config/job_days', 'PUT', { value: 31 });
	assert.deepEqual(changes(put), [{ action: 'setting.update', object_id: 'job_days', status: 200, changes: { before: { value: 30 }, after: { value: 31 } } }]);
	const reset = await ask('/api/config/job_days/reset', 'POST');
	assert.deepEqual([reset.status, reset.json.value, reset.json.source], [200, 90, 'default']);
	assert.deepEqual(changes(reset), [{ action: 'setting.reset', object_id: 'job_days', status: 200,
		changes: { before: { value: 31, source: 'database' }, after: { value: 90, source: 'default' } } }]);
	assert.deepEqual(s.sql("SELECT type, data ->> 'id' AS id FROM postern.events WHERE resource = 'setting' ORDER BY at DESC, place DESC LIMIT 2"),
		[{ type: 'setting.reset', id: 'job_days' }, { type: 'setting.updated', id: 'job_days' }]);
	const back = await ask('/api/config', 'PATCH', { event_days: null, open_docs: null, default_web_server: null });
	assert.deepEqual(back.json, { event_days: 30, open_docs: true, default_web_server: own });
	assert.deepEqual((await all()).filter((r) => r.source === 'database'), []);
});

test('a dry run is obeyed by nobody; If-Match keeps two who change one setting apart', async () => {
	const dry = await ask('/api/settings/open_health?dry_run=true', 'PUT', { value: false });
	assert.deepEqual([dry.status, dry.json.value], [200, false]);
	assert.equal((await ask('/api/health', 'GET', undefined, { token: null })).status, 200);
	const { headers } = await ask('/api/settings/job_days');
	const ways = await Promise.all([10, 11, 12].map((value) => ask('/api/settings/job_days', 'PUT', { value }, { headers: { 'If-Match': headers.get('etag') } })));
	assert.deepEqual(ways.map((a) => a.status).sort(), [200, 412, 412]);
	const many = await spread(Array.from({ length: 30 }, (_, i) => () => ask(`/api/settings/${i % 2 ? 'job_days' : 'event_days'}`, 'PUT', { value: 20 + i })), 10);
	assert.deepEqual(new Set(many.map((a) => a.status)), new Set([200]), 'changes take turns');
	await ask('/api/settings', 'PATCH', { job_days: null, event_days: null });
});

test('what was set outlives PostgreSQL\'s end and a change of its functions', async () => {
	const docs = async () => (await ask('/api/openapi.json', 'GET', undefined, { token: null })).status;
	const minted = async () => (await ask('/api/tokens', 'POST', { name: s.unique('n'), scopes: ['profile:read'] })).json.token.slice(0, 4);
	await set('open_docs', false);
	await set('token_prefix', 'kept');
	await s.pgctl('restart', '-m', 'fast');
	assert.deepEqual([await docs(), await minted()], [401, 'kept']);
	s.psql("UPDATE postern_schema.functions SET sha256 = 'another'");
	assert.match(s.cli(['migrate']).stdout, /replaced the functions/);
	assert.deepEqual([await docs(), await minted()], [401, 'kept']);
	await set('token_prefix', 'next');
	assert.deepEqual([await docs(), await minted()], [401, 'next']);
	await ask('/api/settings', 'PATCH', { open_docs: null, token_prefix: null });
	assert.deepEqual([await docs(), await minted()], [200, 'pst_']);
});

test('the operator\'s command shows and changes the same, and is in the trail as system', async () => {
	assert.equal(s.cliJson(['settings', 'update', 'job_days', '--value', '44']).value, 44);
	assert.deepEqual(s.cliJson(['settings', 'update', '--event-days', '9', '--token-prefix', 'cli']), { event_days: 9, token_prefix: 'cli' });
	assert.match(s.mint().token, /^cli_/, 'obeyed by the command itself');
	assert.equal((await ask('/api/settings/event_days')).json.value, 9);
	assert.match(s.cli(['config', '--show']).stdout, /^job_days = 44 # of the database$/m);
	assert.equal(s.cliJson(['config', 'get', 'job_days']).source, 'database');
	const rows = s.cliJson(['settings', 'list', '--all']).data;
	assert.deepEqual(rows, await all());
	const bad = s.cli(['settings', 'update', 'job_days', '--value', '0']);
	assert.equal(bad.status, 7);
	assert.match(bad.stderr, /must be a whole number of days from 1 to 3650; default: 90/);
	for (const name of ['job_days', 'event_days', 'token_prefix'])
		assert.equal(s.cliJson(['settings', 'reset', name]).source, 'default');
	const [reset] = s.sql("SELECT actor, username FROM postern.audit WHERE resource = 'setting' AND verb = 'reset' ORDER BY at DESC LIMIT 1");
	assert.ok(reset.actor === 'system' && reset.username && reset.username !== 'system', 'the person at the command is named');
	await s.pgctl('stop', '-m', 'fast');
	try {
		const away = s.cli(['config', '--show']);
		assert.match(away.stderr, /the database cannot be asked/);
		assert.match(away.stdout, /^job_days = 90$/m);
	} finally {
		await s.pgctl('start');
	}
});
