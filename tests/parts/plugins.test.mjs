// Plugins: what the administrator put on the machine replaces actions, adds some, and is told of events; what is wrong with one harms nothing else.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { answered, root, startStack, until } from '../api/harness.mjs';

let s, folder, tenant;

before(async () => {
	s = await startStack('plugins', { WORKER: 'yes' });
	folder = path.join(s.dir, 'plugins');
	tenant = s.tenant();
});
after(() => s?.stop());

const ask = (where, method = 'GET', body) => s.ask(where, { method, body });
const ended = (id) => until(async () => {
	const { json } = await ask(`/api/jobs/${id}`);
	return json.finished_at && json;
}, `job ${id} ends`);
// A plugin of these parts on the machine; programs are texts for sh.
function put(name, manifest, programs = {}) {
	const dir = path.join(folder, name);
	fs.rmSync(dir, { recursive: true, force: true });
	fs.mkdirSync(path.join(dir, 'actions'), { recursive: true, mode: 0o755 });
	fs.writeFileSync(path.join(dir, 'plugin.json'), typeof manifest === 'string' ? manifest : JSON.stringify({ name, version: '1', ...manifest }));
	for (const [kind, text] of Object.entries(programs))
		fs.writeFileSync(path.join(dir, 'actions', kind), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
	return dir;
}
// Registered and checked; answers its row.
async function register(name) {
	const made = await ask('/api/plugins', 'POST', { name });
	assert.equal(made.status, 201, made.text);
	assert.equal(made.json.status, 'pending');
	await ended(made.json.job_id);
	return (await ask(`/api/plugins/${name}`)).json;
}
async function checked(name) {
	const job = (await ask(`/api/plugins/${name}/check`, 'POST')).json;
	await ended(job.id);
	return (await ask(`/api/plugins/${name}`)).json;
}
async function use(name, change = {}) {
	const row = await register(name);
	assert.deepEqual([row.status, row.last_error], ['active', null]);
	if (Object.keys(change).length) {
		const changed = await ask(`/api/plugins/${name}`, 'PATCH', change);
		assert.equal(changed.status, 200, changed.text);
	}
	const on = await ask(`/api/plugins/${name}/enable`, 'POST');
	assert.deepEqual([on.status, on.json.enabled], [200, true], on.text);
	return on.json;
}
const run = async (name, action, input) => {
	const asked = await ask(`/api/plugins/${name}/run`, 'POST', { action, ...(input ? { input } : {}) });
	assert.equal(asked.status, answered(202, asked), asked.text);
	return ended(asked.json.id);
};
const site = async () => {
	const made = await ask('/api/domains', 'POST', { domain: `${s.unique('d')}.example`, account: tenant.username, type: 'addon' });
	assert.equal(made.status, 201, made.text);
	return made.json;
};

test('a folder or manifest that is not in order is named in last_error, and nothing can be enabled', async () => {
	const kind = { actions: { 'x.go': {} } }, program = { 'x.go': 'true' };
	put('bad', '{"name": "bad", ', {});
	const row = await register('bad');
	assert.deepEqual([row.status, row.enabled, row.plugin_version], ['error', false, null]);
	assert.match(row.last_error, /plugin\.json is no JSON object/);
	assert.equal((await ask('/api/plugins/bad/enable', 'POST')).status, 409);
	assert.equal((await ask('/api/plugins/bad', 'PATCH', { settings: {} })).status, 409);
	assert.equal((await ask('/api/plugins', 'POST', { name: 'bad' })).status, 409);
	const faults = [
		[() => put('bad', { name: 'other' }), /"name" must be that of its folder, bad/],
		[() => put('bad', { colour: 'red' }), /the member "colour" is not known/],
		[() => put('bad', kind), /actions\/x\.go is not there/],
		[() => put('bad', { actions: { '../x.go': {} } }), /no name of an action/],
		[() => put('bad', { actions: { 'plugin.check': {} } }), /no name of an action/],
		[() => put('bad', { actions: { 'ssl.renew': { limit_s: 5 } } }, { 'ssl.renew': 'true' }), /is one of Postern's/],
		[() => put('bad', { events: ['job.failed'] }, { 'bad.event': 'true' }), /not of jobs/],
		[() => put('bad', { events: ['domain.deleted'] }), /bad\.event is not there/],
		[() => put('bad', { settings: { properties: { a: { oneOf: [] } } } }), /settings\.a: "oneOf" is a keyword that is not supported/],
		[() => put('bad', { settings: { properties: { a: { type: 'string', pattern: '(' } } } }), /no regular expression/],
		[() => put('bad', { settings: { properties: { a: { type: 'integer', writeOnly: true } } } }), /"writeOnly" is for texts/],
		[() => fs.chmodSync(path.join(put('bad', kind, program), 'actions/x.go'), 0o775), /x\.go may be written by others/],
		[() => fs.chmodSync(path.join(put('bad', kind, program), 'actions/x.go'), 0o644), /x\.go is not executable/],
		[() => fs.chmodSync(path.join(put('bad', kind, program), 'actions'), 0o777), /actions may be written by others/],
		[() => fs.chmodSync(put('bad', kind, program), 0o777), /plugins\/bad may be written by others/],
		[() => fs.symlinkSync('/bin/true', path.join(put('bad', kind), 'actions/x.go')), /symbolic links are not followed/],
		[() => fs.rmSync(path.join(folder, 'bad'), { recursive: true }), /plugins\/bad is not there/],
	];
	for (const [make, fault] of faults) {
		make();
		const now = await checked('bad');
		assert.equal(now.status, 'error', String(fault));
		assert.match(now.last_error, fault);
	}
	put('bad', kind, program);
	assert.deepEqual([(await checked('bad')).status, (await ask('/api/plugins/bad')).json.plugin_version], ['active', '1']);
	assert.equal((await ask('/api/plugins/bad', 'DELETE')).status, 204);
	assert.ok(fs.existsSync(path.join(folder, 'bad')), 'the folder is the administrator\'s');
	assert.equal((await ask('/api/plugins', 'POST', { name: '../etc' })).status, 422);
});

test('settings and input are judged by the manifest\'s schemas; secrets go sealed to the action and nowhere else', async () => {
	put('mail-hook', {
		actions: { 'hook.send': { input: { properties: { to: { type: 'string', pattern: '^[a-z]+$', maxLength: 5 }, n: { type: 'integer', minimum: 1, maximum: 3 } }, required: ['to'] } } },
		settings: { properties: { url: { type: 'string' }, level: { enum: ['low', 'high'] }, key: { type: 'string', writeOnly: true } }, required: ['url', 'key'] },
	}, { 'hook.send': `cat > ${s.dir}/hook.said` });
	await register('mail-hook');
	const change = (body) => ask('/api/plugins/mail-hook', 'PATCH', body);
	const early = await ask('/api/plugins/mail-hook/enable', 'POST');
	assert.equal(early.status, 409);
	assert.match(early.json.error.message, /lacks "url"/);
	for (const [body, field, words] of [
		[{ settings: { url: 5 } }, 'settings', /url must be of type string/], [{ settings: { url: 'x', level: 'odd' } }, 'settings', /level must be one of: low, high/],
		[{ settings: { url: 'x', colour: 1 } }, 'settings', /has no "colour"; there are: key, level, url/], [{ settings: { url: 'x', key: 'open' } }, 'settings', /belongs into secrets/],
		[{ settings: { url: 'x' } }, 'settings', /lacks "key"/], [{ secrets: { other: 'x' } }, 'secrets', /./], [{ secrets: { key: 5 } }, 'secrets', /texts/],
		[{ secrets: 'x' }, 'secrets', /object/], [{ settings: [] }, 'settings', /object/],
	]) {
		const refused = await change(body);
		assert.equal(refused.status, 422, JSON.stringify(body));
		assert.match(refused.json.error.fields[field], words, refused.text);
	}
	const good = await change({ settings: { url: 'http://x', level: 'high' }, secrets: { key: 'hidden-in-here' } });
	assert.deepEqual([good.status, good.json.settings, good.json.secret_settings], [200, { url: 'http://x', level: 'high' }, ['key']], good.text);
	assert.equal((await ask('/api/plugins/mail-hook/run', 'POST', { action: 'hook.send', input: { to: 'a' } })).status, 409, 'not enabled');
	assert.equal((await ask('/api/plugins/mail-hook/enable', 'POST')).status, 200);
	for (const [input, words] of [[{}, /lacks "to"/], [{ to: 'A' }, /to must match/], [{ to: 'abcdef' }, /at most 5/], [{ to: 'a', n: 4 }, /n must be at most 3/], [{ to: 'a', n: 1.5 }, /whole number/]]) {
		const refused = await ask('/api/plugins/mail-hook/run', 'POST', { action: 'hook.send', input });
		assert.match(refused.json.error.fields.input, words, refused.text);
	}
	assert.match((await ask('/api/plugins/mail-hook/run', 'POST', { action: 'ssl.renew' })).json.error.fields.action, /hook\.send/);
	const job = await run('mail-hook', 'hook.send', { to: 'abc', n: 2 });
	const said = JSON.parse(fs.readFileSync(path.join(s.dir, 'hook.said'), 'utf8'));
	assert.deepEqual([job.status, job.kind, said.data, said.plugin],
		['succeeded', 'hook.send', { input: { to: 'abc', n: 2 } }, { name: 'mail-hook', version: '1', settings: { url: 'http://x', level: 'high', key: 'hidden-in-here' } }], JSON.stringify(job));
	for (const { t } of s.sql("SELECT format('%I.%I', schemaname, tablename) AS t FROM pg_tables WHERE schemaname = 'postern'"))
		assert.equal(s.sql(`SELECT count(*)::int AS n FROM ${t} x WHERE x::text LIKE '%hidden-in-here%'`)[0].n, 0, t);
	for (const log of fs.readdirSync(path.join(s.dir, 'log')))
		assert.ok(!fs.readFileSync(path.join(s.dir, 'log', log), 'utf8').includes('hidden-in-here'), log);
	assert.deepEqual(s.sql("SELECT changes -> 'after' ->> 'secrets' AS shown FROM postern.audit WHERE resource = 'plugin' AND verb = 'update' AND status = 200"), [{ shown: '***' }]);
	await ask('/api/plugins/mail-hook', 'DELETE');
});

test('an enabled plugin takes an action\'s place, below the administrator\'s own; disabled, ours is back', async () => {
	const made = async () => ended((await ask('/api/accounts', 'POST', { username: s.unique('p') })).json.job_id);
	const by = (who) => `cat >/dev/null; echo '{"result":{"by":"${who}"}}'`;
	put('one', { actions: { 'account.create': { about: 'another way' } } }, { 'account.create': by('one') });
	put('two', { actions: { 'account.create': {} } }, { 'account.create': by('two') });
	assert.deepEqual((await use('one')).actions, { 'account.create': { about: 'another way', replaces: true } });
	assert.deepEqual((await made()).result, { by: 'one' });
	await register('two');
	const clash = await ask('/api/plugins/two/enable', 'POST');
	assert.equal(clash.status, 409);
	assert.match(clash.json.error.message, /the plugin one provides/);
	s.replaceAction('account.create', by('local'));
	assert.deepEqual((await made()).result, { by: 'local' });
	fs.rmSync(path.join(s.dir, 'actions/account.create'));
	assert.equal((await ask('/api/plugins/one/disable', 'POST')).json.enabled, false);
	assert.equal((await made()).result?.by, undefined);
	assert.equal((await ask('/api/plugins/two/enable', 'POST')).status, 200);
	assert.deepEqual((await made()).result, { by: 'two' });
	for (const name of ['one', 'two'])
		await ask(`/api/plugins/${name}`, 'DELETE');
});

test('an executable that is missing, hangs, prints rubbish or exits non-zero leaves a clear error, and nothing else harmed', async () => {
	const kinds = ['miss.ing', 'hang.s', 'rub.bish', 'non.zero', 'wri.table', 'fi.ne'];
	const dir = put('sick', { actions: Object.fromEntries(kinds.map((k) => [k, { limit_s: 1, attempts: 1 }])) }, {
		'miss.ing': 'true', 'hang.s': 'echo begun; while :; do sleep 60; done', 'rub.bish': 'head -c 300000 /dev/zero | tr "\\0" x; printf "\\377\\000{{{\\n"; echo "{\\"progress\\":"; exit 3',
		'non.zero': 'echo "the disk is full" >&2; exit 9', 'wri.table': 'true', 'fi.ne': 'echo "{\\"result\\":{\\"ok\\":true}}"',
	});
	await use('sick');
	fs.rmSync(path.join(dir, 'actions/miss.ing'));
	fs.chmodSync(path.join(dir, 'actions/wri.table'), 0o777);
	const other = site(); // meanwhile
	const jobs = Object.fromEntries(await Promise.all(kinds.map(async (kind) => [kind, await run('sick', kind)])));
	assert.match(jobs['miss.ing'].error, /there is no executable miss\.ing in .*\/plugins\/sick\/actions/);
	assert.match(jobs['hang.s'].error, /it took longer than 1 s and was ended/);
	assert.match(jobs['rub.bish'].error, /exit code 3 and gave no reason/);
	assert.match(jobs['non.zero'].error, /exit code 9 and gave no reason; see the log/);
	assert.match(jobs['non.zero'].log, /the disk is full/);
	assert.match(jobs['wri.table'].error, /may be written by others than root/);
	for (const kind of kinds)
		assert.equal(jobs[kind].status, kind === 'fi.ne' ? 'succeeded' : 'failed', kind);
	assert.equal((await other).status, 'active');
	assert.equal((await ended((await ask('/api/accounts', 'POST', { username: s.unique('p') })).json.job_id)).status, 'succeeded');
	assert.equal((await ask('/api/plugins/sick/disable', 'POST')).status, 200);
	assert.equal((await ask('/api/plugins/sick/run', 'POST', { action: 'fi.ne' })).status, 409);
	await ask('/api/plugins/sick', 'DELETE');
});

test('each event that a plugin wants is told once and in order, tried again when that fails; others are not', async () => {
	const told = path.join(s.dir, 'told'), failing = path.join(s.dir, 'failing');
	put('ear', { events: ['domain.created', 'user.*'] }, { 'ear.event': `test ! -e ${failing} || { rm ${failing}; echo '{"error":"not now"}'; exit 75; }; cat >> ${told}` });
	await site(); // before it is enabled
	await use('ear');
	fs.writeFileSync(failing, '');
	const made = [];
	for (let i = 0; i < 3; i++)
		made.push((await site()).domain);
	const name = s.unique('u');
	await ask('/api/users', 'POST', { username: name, account: tenant.username });
	await ask('/api/roles', 'POST', { name: s.unique('r'), scopes: ['domains:read'] });
	s.psql("UPDATE postern.jobs SET run_at = now() WHERE kind = 'ear.event' AND status = 'queued'");
	const lines = await until(() => {
		s.psql("UPDATE postern.jobs SET run_at = now() WHERE kind = 'ear.event' AND status = 'queued' AND run_at > now()"); // no pause
		const all = fs.existsSync(told) ? fs.readFileSync(told, 'utf8').trim().split('\n') : [];
		return all.length >= 4 && all.map((l) => JSON.parse(l));
	}, 'the plugin is told of four events');
	assert.deepEqual(lines.map((l) => [l.kind, l.data.event.type, l.data.event.data.domain ?? l.data.event.data.username]),
		[...made.map((d) => ['ear.event', 'domain.created', d]), ['ear.event', 'user.created', name]]);
	assert.deepEqual(lines.map((l) => l.attempt), [2, 1, 1, 1]);
	assert.deepEqual(s.sql("SELECT status, count(*)::int AS n FROM postern.jobs WHERE kind = 'ear.event' GROUP BY status"), [{ status: 'succeeded', n: 4 }]);
	await ask('/api/plugins/ear', 'DELETE');
});

const get = (port, target) => new Promise((resolve, reject) => http.get({ port, host: '127.0.0.1', path: target, headers: { Host: 'cached.example' } }, (answer) => {
	let text = '';
	answer.on('data', (part) => { text += part; });
	answer.on('end', () => resolve({ text, cache: answer.headers['x-cache'] }));
}).on('error', reject));

test('the example nginx-cache takes pages out of a real nginx\'s cache', async () => {
	let served = 0, nginx;
	const origin = http.createServer((request, response) => response.end(`${request.url} ${++served}`));
	await new Promise((resolve) => origin.listen(0, '127.0.0.1', resolve));
	const dir = path.join(s.dir, 'cache'), conf = path.join(s.dir, 'cache.conf');
	fs.mkdirSync(path.join(dir, 'pages'), { recursive: true });
	fs.chmodSync(dir, 0o755);
	let port = 20000 + (process.pid % 20000);
	const start = () => {
		fs.writeFileSync(conf, `${process.getuid() === 0 ? 'user www-data;' : ''} pid ${dir}/nginx.pid; error_log ${dir}/error.log; events {}
			http { access_log off; proxy_cache_path ${dir}/pages levels=1:2 keys_zone=z:1m; proxy_temp_path ${dir}/t; client_body_temp_path ${dir}/b; fastcgi_temp_path ${dir}/f;
			uwsgi_temp_path ${dir}/u; scgi_temp_path ${dir}/s; server { listen 127.0.0.1:${port}; location / { proxy_pass http://127.0.0.1:${origin.address().port}; proxy_cache z;
			proxy_cache_key $host$request_uri; proxy_cache_valid 200 1h; add_header X-Cache $upstream_cache_status; } } }`);
		execFileSync('/usr/sbin/nginx', ['-c', conf, '-e', `${dir}/error.log`], { stdio: 'pipe' });
	};
	for (let tries = 0; !nginx && tries < 50; tries++)
		try {
			start();
			nginx = await until(() => fs.existsSync(`${dir}/nginx.pid`) && Number(fs.readFileSync(`${dir}/nginx.pid`, 'utf8')), 'nginx runs');
		} catch (error) {
			if (!/in use/.test(String(error.stderr)))
				throw error;
			port++;
		}
	try {
		fs.cpSync(path.join(root, 'plugins/nginx-cache'), path.join(folder, 'nginx-cache'), { recursive: true });
		await use('nginx-cache', { settings: { cache_dir: `${dir}/pages` } });
		fs.writeFileSync(path.join(dir, 'pages/precious'), 'no page of nginx');
		for (const page of ['/a', '/b?c=1'])
			assert.equal((await get(port, page)).cache, 'MISS');
		for (const page of ['/a', '/b?c=1'])
			assert.equal((await get(port, page)).cache, 'HIT');
		const one = await run('nginx-cache', 'cache.purge', { key: 'cached.example/b?c=1' });
		assert.deepEqual([one.status, one.result], ['succeeded', { purged: 1 }], JSON.stringify(one));
		assert.equal((await get(port, '/a')).cache, 'HIT');
		assert.deepEqual(await get(port, '/b?c=1'), { text: '/b?c=1 3', cache: 'MISS' });
		assert.deepEqual((await run('nginx-cache', 'cache.purge')).result, { purged: 2 });
		assert.equal((await get(port, '/a')).cache, 'MISS');
		assert.ok(fs.existsSync(path.join(dir, 'pages/precious')), 'what is no page of nginx stays');
		const named = await ask('/api/domains', 'POST', { domain: 'cached.example', account: tenant.username, type: 'addon' });
		assert.equal((await ask(`/api/domains/${named.json.id}`, 'DELETE')).status, 204);
		await until(async () => (await get(port, '/a')).cache === 'MISS', 'the deleted domain\'s pages are gone');
	} finally {
		if (nginx)
			process.kill(nginx, 'SIGTERM');
		origin.close();
		await ask('/api/plugins/nginx-cache', 'DELETE');
	}
});

test('the example panel-ssl has certificates made by another panel\'s command', async () => {
	const panel = path.join(s.dir, 'panel'), asked = path.join(s.dir, 'panel.asked');
	fs.writeFileSync(panel, `#!/bin/sh
		echo "$1 $PANEL_API_KEY" >> ${asked}
		[ -z "$FAIL" ] && [ ! -e ${panel}.broken ] || { echo "the panel is being upgraded" >&2; exit 4; }
		openssl req -x509 -newkey rsa:2048 -nodes -days 90 -subj "/CN=$1" -addext "subjectAltName=DNS:$1" -keyout ${panel}.key -out ${panel}.pem 2>/dev/null
		printf '%s\\n%s\\n' ${panel}.pem ${panel}.key\n`, { mode: 0o755 });
	fs.cpSync(path.join(root, 'plugins/panel-ssl'), path.join(folder, 'panel-ssl'), { recursive: true });
	const actions = s.cli(['config', '--show']).stdout.match(/^actions_dir = "(.*)"$/m)[1];
	await use('panel-ssl', { settings: { command: panel, actions_dir: actions }, secrets: { api_key: 'key-of-the-panel' } });
	const d = await site();
	const made = await ask('/api/ssl', 'POST', { domain: d.domain });
	assert.equal(made.status, 201, made.text);
	const issued = await ended(made.json.job_id);
	assert.equal(issued.status, 'succeeded', JSON.stringify(issued));
	const first = (await ask(`/api/ssl/${d.domain}`)).json;
	assert.deepEqual([first.status, first.chain_state, first.names, first.subject], ['untrusted', 'self_signed', [d.domain], `CN=${d.domain}`]);
	const renewed = await ended((await ask(`/api/ssl/${d.domain}/renew`, 'POST')).json.id);
	assert.equal(renewed.status, 'succeeded', JSON.stringify(renewed));
	const second = (await ask(`/api/ssl/${d.domain}`)).json;
	assert.notEqual(second.fingerprint_sha256, first.fingerprint_sha256);
	assert.equal(execFileSync('openssl', ['x509', '-noout', '-fingerprint', '-sha256', '-in', path.join(s.dir, 'sites/ssl', d.domain, 'fullchain.pem')], { encoding: 'utf8' })
		.trim().split('=')[1].replaceAll(':', '').toLowerCase(), second.fingerprint_sha256);
	assert.deepEqual(fs.readFileSync(asked, 'utf8'), `${d.domain} key-of-the-panel\n`.repeat(2));
	fs.writeFileSync(`${panel}.broken`, '');
	const failed = await ended((await ask(`/api/ssl/${d.domain}/renew`, 'POST')).json.id);
	assert.deepEqual([failed.status, failed.error], ['failed', `${panel} could not renew ${d.domain}; see the log`]);
	assert.match(failed.log, /the panel is being upgraded/);
	assert.equal((await ask(`/api/ssl/${d.domain}`)).json.fingerprint_sha256, second.fingerprint_sha256, 'the one before is served');
	await ask('/api/plugins/panel-ssl', 'DELETE');
});
