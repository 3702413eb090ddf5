// What the web server and posternd open is what it was when it was looked at; and reloads are few.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { needsRoot, startStack, until } from '../api/harness.mjs';

let s, log;
const started = [];
before(async () => {
	s = await startStack('web-walls', { WORKER: 'no', SITES: 'yes', PARTS: 'apachesites', WEB: 'nginx', RELOAD_PAUSE_MS: '1000' });
	log = path.join(s.dir, 'reloads');
	// the real reload, noted: when it began and ended
	const conf = path.join(s.dir, 'postern.conf'), script = path.join(s.dir, 'reload');
	const [, real] = fs.readFileSync(conf, 'utf8').match(/^nginx_reload = "(.*)"$/m);
	fs.writeFileSync(script, `#!/bin/sh\necho begin >>${log}\n${real}\nrc=$?\necho end >>${log}\nexit $rc\n`, { mode: 0o755 });
	fs.writeFileSync(conf, fs.readFileSync(conf, 'utf8').replace(/^nginx_reload = .*$/m, `nginx_reload = "${script}"`));
	if (!needsRoot)
		started.push(s.mountApps());
	s.startWorker();
});
after(async () => {
	await s?.endWorker();
	for (const stop of started)
		stop();
	s?.stop();
});

const ask = (target, options) => s.ask(target, options);
const server = { nginx: () => s.url, apache: () => s.told.POSTERN_APACHE_URL };
function page(name, by = 'nginx') {
	return new Promise((resolve, reject) => {
		http.get({ host: '127.0.0.1', port: new URL(server[by]()).port, path: '/', agent: false, headers: { Host: name } }, (response) => {
			let text = '';
			response.setEncoding('utf8').on('data', (more) => { text += more; }).on('end', () => resolve({ status: response.statusCode, text }));
		}).on('error', reject);
	});
}
const get = async (name) => (await page(name)).status;
const quiet = () => until(() => s.sql("SELECT FROM postern.jobs WHERE status IN ('queued', 'running')").length === 0, 'all jobs are ended');

test('fifteen websites that change at once are served after a few reloads, never two at a time', async () => {
	const tenants = Array.from({ length: 5 }, () => s.tenant());
	await until(() => s.sql("SELECT FROM postern.jobs WHERE status IN ('queued', 'running')").length === 0, 'the accounts are there');
	const names = await Promise.all(tenants.flatMap((t) => Array.from({ length: 3 }, async () => {
		const name = `${s.unique('many')}.example`;
		const made = await ask('/api/domains', { method: 'POST', body: { domain: name, account: t.account.username, type: 'addon' } });
		assert.equal(made.status, 201, made.text);
		return name;
	})));
	await until(() => s.sql("SELECT FROM postern.jobs WHERE status IN ('queued', 'running')").length === 0, 'all jobs are ended');
	assert.deepEqual(s.sql("SELECT kind, error FROM postern.jobs WHERE status <> 'succeeded'"), []);
	for (const name of names)
		assert.equal(await get(name), 200, `${name} is served`);
	const lines = fs.readFileSync(log, 'utf8').trim().split('\n');
	for (let i = 0; i < lines.length; i += 2)
		assert.deepEqual(lines.slice(i, i + 2), ['begin', 'end'], 'one at a time');
	assert.ok(lines.length / 2 <= 9, `${lines.length / 2} reloads for 15 changes`);
});

test('a reload that fails takes its change back, and the job says so and is tried again', async () => {
	const t = s.tenant(), name = `${s.unique('later')}.example`;
	await until(() => s.sql("SELECT FROM postern.jobs WHERE status IN ('queued', 'running')").length === 0, 'the account is there');
	const script = path.join(s.dir, 'reload'), real = fs.readFileSync(script, 'utf8');
	fs.writeFileSync(script, '#!/bin/sh\necho "no reload today" >&2\nexit 1\n', { mode: 0o755 });
	const made = (await ask('/api/domains', { method: 'POST', body: { domain: name, account: t.account.username, type: 'addon' } })).json;
	const job = await until(async () => {
		const { json } = await ask(`/api/jobs/${made.job_id}`);
		return json.attempts > 0 && json.status === 'queued' && json;
	}, 'it waits for its next attempt');
	assert.match(job.error, /could not be reloaded, and its files are as before.*no reload today/);
	assert.ok(!fs.existsSync(path.join(s.dir, 'sites/nginx', `${name}.conf`)));
	fs.writeFileSync(script, real, { mode: 0o755 });
	await ask(`/api/jobs/${made.job_id}/retry`, { method: 'POST' });
	await until(async () => await get(name) === 200, `${name} is served`);
});

test('a program in the place of an action is looked at before each run, with every folder on the way to it', { skip: needsRoot }, async () => {
	const t = s.tenant(), folder = path.join(s.dir, 'actions'), away = path.join(s.dir, 'away'), mark = path.join(s.dir, 'ran');
	await until(() => s.sql("SELECT FROM postern.jobs WHERE status IN ('queued', 'running')").length === 0, 'the account is there');
	for (const dir of [folder, away])
		fs.mkdirSync(dir, { recursive: true });
	const program = path.join(folder, 'website.apply'), elsewhere = path.join(away, 'website.apply');
	const text = `#!/bin/sh\ncat >/dev/null\ntouch ${mark}\necho '{"result":{}}'\n`;
	const asked = async () => {
		fs.rmSync(mark, { force: true });
		const { json } = await ask('/api/domains', { method: 'POST', body: { domain: `${s.unique('x')}.example`, account: t.account.username, type: 'addon' } });
		return until(async () => {
			const job = (await ask(`/api/jobs/${json.job_id}`)).json;
			return (job.error || job.finished_at) && job;
		}, 'the job is tried');
	};
	// in order
	fs.writeFileSync(program, text, { mode: 0o755 });
	assert.equal((await asked()).status, 'succeeded');
	assert.ok(fs.existsSync(mark));
	fs.rmSync(program);
	// a link, to a program that is in order
	fs.writeFileSync(elsewhere, text, { mode: 0o755 });
	fs.symlinkSync(elsewhere, program);
	assert.match((await asked()).error, /website\.apply is a symbolic link, which is not followed/);
	assert.ok(!fs.existsSync(mark));
	fs.rmSync(program);
	// somebody else's, or for others to write
	for (const [change, why] of [[() => fs.chownSync(program, 65534, 65534), /may be written by others than root/], [() => fs.chmodSync(program, 0o777), /may be written by others/]]) {
		fs.writeFileSync(program, text, { mode: 0o755 });
		change();
		assert.match((await asked()).error, why);
		assert.ok(!fs.existsSync(mark));
		fs.rmSync(program);
	}
	// in a folder where others may put another in its place
	fs.writeFileSync(program, text, { mode: 0o755 });
	for (const [change, back] of [[() => fs.chmodSync(folder, 0o777), () => fs.chmodSync(folder, 0o755)], [() => fs.chownSync(folder, 65534, 65534), () => fs.chownSync(folder, 0, 0)]]) {
		change();
		assert.match((await asked()).error, /actions may be written by others than root/);
		assert.ok(!fs.existsSync(mark));
		back();
	}
	fs.rmSync(program);
});

test('a link in the place of an application\'s socket leads the web server nowhere', { skip: needsRoot }, async () => {
	const [alice, bob] = [s.tenant(), s.tenant()];
	await quiet();
	const at = (t, name) => path.join(s.dir, 'apps', t.username, 's', name);
	for (const by of ['nginx', 'apache']) {
		const names = {}, apps = {};
		for (const t of [alice, bob]) {
			names[t.username] = `${s.unique('app')}.example`;
			assert.equal((await ask('/api/domains', { method: 'POST', body: { domain: names[t.username], account: t.username, type: 'addon', website: false } })).status, 201);
			const made = await ask('/api/websites', { method: 'POST', headers: { Prefer: 'wait=30' },
				body: { domain: names[t.username], web_server: by, runtime: 'proxy', proxy_target: `unix:${by}.sock` } });
			assert.equal(made.json.status, 'active', made.text);
			const app = http.createServer((request, response) => response.end(`app of ${t.username}`));
			await new Promise((resolve) => { app.listen(at(t, `${by}.sock`), resolve); });
			fs.chmodSync(at(t, `${by}.sock`), 0o666);
			started.push(() => app.close());
			apps[t.username] = app;
		}
		for (const t of [alice, bob])
			await until(async () => (await page(names[t.username], by)).text === `app of ${t.username}`, 'it answers');
		// what alice's shell can do while it is served
		apps[alice.username].close(); // connections that a server keeps would still lead there
		apps[alice.username].closeAllConnections();
		fs.rmSync(at(alice, `${by}.sock`), { force: true });
		fs.symlinkSync(at(bob, `${by}.sock`), at(alice, `${by}.sock`));
		fs.lchownSync(at(alice, `${by}.sock`), 23456, 23456);
		// (after a reload a web server's workers of before may answer once more, with 404)
		await until(async () => {
			const seen = await page(names[alice.username], by);
			assert.ok(!seen.text.includes(bob.username), `${by}: ${seen.text}`);
			return [502, 503].includes(seen.status);
		}, `${by} gets nothing by the link`);
		await until(async () => (await page(names[bob.username], by)).text === `app of ${bob.username}`, 'the other one answers');
	}
});

test('a socket below a home is refused, whoever asks for it', async () => {
	const t = s.tenant(), name = `${s.unique('home')}.example`;
	await quiet();
	assert.equal((await ask('/api/domains', { method: 'POST', body: { domain: name, account: t.username, type: 'addon', website: false } })).status, 201);
	const refused = await ask('/api/websites', { method: 'POST', body: { domain: name, runtime: 'proxy', proxy_target: `unix:${t.account.home}/app.sock` } });
	assert.equal(refused.status, 422, refused.text);
	assert.match(refused.json.error.fields.proxy_target, /must not lie below the account's home/);
	// another account's, which SQL does not know of: the job says so
	const other = s.tenant();
	const made = await ask('/api/websites', { method: 'POST', headers: { Prefer: 'wait=30' }, body: { domain: name, runtime: 'proxy', proxy_target: `unix:${other.account.home}/app.sock` } });
	assert.equal(made.json.status, 'error', made.text);
	assert.match(made.json.last_error, /where its owner can put a link in its place; have the application listen on/);
});
