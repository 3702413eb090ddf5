// Status tells the truth: what the API says is how it is on the machine, at that moment, with real nginx and real Apache.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { answered, startStack, until } from '../api/harness.mjs';

let s;
const servers = {};
before(async () => {
	s = await startStack('status', { WORKER: 'yes', DOMAIN_PROOF: 'off', SITES: 'yes', PARTS: 'apachesites', WEB: 'nginx' });
	servers.nginx = s.url;
	servers.apache = s.told.POSTERN_APACHE_URL;
});
after(() => s?.stop());

async function expect(status, method, target, body, { token = s.token, wait = 30 } = {}) {
	const answer = await s.ask(target, { method, body, token, headers: wait ? { Prefer: `wait=${wait}` } : {} });
	assert.equal(answer.status, answered(status, answer), `${method} ${target}: ${answer.text}`);
	return answer.json;
}
function get(server, name) {
	return new Promise((resolve, reject) => {
		http.get({ host: '127.0.0.1', port: new URL(servers[server]).port, agent: false, headers: { Host: name } }, (response) => {
			response.resume().on('end', () => resolve(response.statusCode));
		}).on('error', reject);
	});
}
const all = async (server, names, times = 1) => [...new Set(await Promise.all(Array.from({ length: times }, () => names.map((n) => get(server, n))).flat()))];
async function tenant() {
	const t = s.tenant();
	await until(async () => (await expect(200, 'GET', `/api/accounts/${t.username}`)).status === 'active', 'the account');
	t.token = s.mint({ owner: t.user.username, scopes: ['*'] }).token;
	return t;
}
async function site(t, fields = {}, wait = 30) {
	const domain = `${s.unique('site')}.example`;
	await expect(201, 'POST', '/api/domains', { domain, website: false }, t);
	return expect(201, 'POST', '/api/websites', { domain, ...fields }, { ...t, wait });
}
// What everybody reads of a job that waits for something which is not its own; what that is, staff alone.
const blocked = 'something else on this server is in the way, which an administrator has to mend; this goes on by itself then';
const jobOf = (object, who) => expect(200, 'GET', `/api/jobs/${object.job_id}`, undefined, who);
const website = (made) => expect(200, 'GET', `/api/websites/${made.id}`);
const health = async () => {
	const h = await expect(200, 'GET', '/api/server-health');
	return { status: h.status, jobs: h.reasons.filter((r) => r.subject === 'jobs').map((r) => r.message) };
};

for (const server of ['nginx', 'apache']) {
	test(`${server}: active, suspended and gone hold for every request from that answer on`, async () => {
		const t = await tenant(), made = [];
		for (let i = 0; i < 5; i++) {
			const one = await site(t, { web_server: server });
			assert.equal(one.status, 'active', JSON.stringify(one));
			assert.deepEqual(await all(server, [one.domain], 20), [200], `website ${i + 1}`);
			made.push(one);
		}
		for (const one of made.slice(0, 2)) {
			assert.equal((await expect(200, 'POST', `/api/websites/${one.id}/suspend`, undefined, t)).status, 'suspended');
			assert.deepEqual(await all(server, [one.domain], 20), [503]);
			await expect(202, 'DELETE', `/api/websites/${one.id}`, undefined, t);
			assert.deepEqual(await all(server, [one.domain], 20), [404]);
		}
		const account = await expect(200, 'POST', `/api/accounts/${t.username}/suspend`);
		assert.equal(account.status, 'suspended', account.last_error);
		assert.deepEqual(await all(server, made.slice(2).map((m) => m.domain), 5), [503]);
	});
}

test('a file of somebody else\'s that a server refuses: not this site, loud, and healed alone when it is mended', async (context) => {
	const broken = {}, sites = {}, place = {};
	const t = await tenant();
	for (const server of ['nginx', 'apache']) {
		sites[server] = await site(t, { web_server: server });
		broken[server] = path.join(s.dir, 'sites', server, 'somebody.conf');
		place[server] = new RegExp(`not this site: ${broken[server].replaceAll('.', '\\.')}:2: .*no_?such_?directive`, 'i');
	}
	const more = await tenant();
	assert.deepEqual((await health()).jobs, []);
	context.after(() => Object.values(broken).forEach((file) => fs.rmSync(file, { force: true })));
	fs.writeFileSync(broken.nginx, '# mine\nno_such_directive on;\n');
	fs.writeFileSync(broken.apache, '# mine\nNoSuchDirective on\n');

	const account = await expect(200, 'POST', `/api/accounts/${t.username}/suspend`, undefined, { wait: 0 });
	assert.equal(account.status, 'pending', 'nothing of it holds yet');
	for (const server of ['nginx', 'apache']) {
		const stuck = await until(async () => { const w = await website(sites[server]); return w.last_error && w; }, `${server}: the reason`);
		assert.equal(stuck.status, 'pending');
		assert.equal(stuck.last_error, blocked);
		const job = await until(async () => { const j = await jobOf(stuck); return j.error && j; }, 'what staff reads');
		assert.deepEqual([job.status, job.attempts], ['queued', 0]);
		assert.match(job.error, place[server]);
		const domain = await expect(200, 'GET', `/api/domains/${stuck.domain}`);
		assert.deepEqual([domain.status, domain.last_error, domain.job_id], ['pending', `its website: ${stuck.last_error}`, stuck.job_id]);
		assert.equal(await get(server, stuck.domain), 200, 'it is served, and not called suspended');
	}
	const held = await expect(200, 'GET', `/api/accounts/${t.username}`);
	assert.equal(held.status, 'pending');
	assert.match(held.last_error, new RegExp(`^the website site.* is not suspended yet: ${blocked}$`));
	assert.deepEqual((await expect(200, 'GET', `/api/accounts?status=pending&username=${t.username}`)).data.length, 1);
	const asked = await site(more, {}, 1); // one that is new, too
	await until(() => s.sql(`SELECT FROM postern.jobs WHERE kind = 'account.suspend' AND status = 'succeeded' AND account_id = ${t.account.id}`).length === 1,
		'its programs are ended without waiting for that');
	const fresh = await until(async () => { const w = await website(asked); return w.last_error && w; }, 'the reason');
	const loud = await health();
	assert.equal(loud.status, 'warning');
	for (const server of ['nginx', 'apache'])
		assert.ok(loud.jobs.some((m) => place[server].test(m)), JSON.stringify(loud));
	assert.match(loud.jobs[0], /^jobs wait until this is mended: /);
	assert.equal(fresh.status, 'pending');
	assert.equal(fresh.last_error, blocked);
	const theirs = await until(async () => { const j = await jobOf(fresh, more); return j.error && j; }, 'what its tenant reads');
	assert.equal(theirs.error, blocked);
	for (const look of [`jobs/${theirs.id}`, 'events?per_page=100', `websites/${fresh.id}`, `domains/${fresh.domain}`]) {
		const read = await s.ask(`/api/${look}`, { token: more.token });
		assert.equal(read.status, 200, read.text);
		assert.doesNotMatch(read.text, /somebody\.conf|no_?such_?directive/i, look);
	}

	fs.rmSync(broken.nginx);
	fs.rmSync(broken.apache);
	const healed = await until(async () => { const a = await expect(200, 'GET', `/api/accounts/${t.username}`); return a.status === 'suspended' && a; }, 'it heals');
	assert.equal(healed.last_error, null);
	for (const server of ['nginx', 'apache']) {
		assert.deepEqual(await all(server, [sites[server].domain], 10), [503]);
		assert.equal((await expect(200, 'GET', `/api/domains/${sites[server].domain}`)).status, 'suspended');
	}
	await until(async () => (await website(fresh)).status === 'active', 'the new one');
	assert.deepEqual(await all('nginx', [fresh.domain], 10), [200]);
	await until(async () => (await health()).jobs.length === 0, 'server-health');
});

test('a domain shows the worst of its parts', async () => {
	const t = await tenant(), domain = `${s.unique('worst')}.example`, file = path.join(s.dir, 'sites/nginx', `${domain}.conf`);
	fs.writeFileSync(file, '# mine\n'); // a website of this name cannot be written
	const made = await expect(201, 'POST', '/api/domains', { domain }, t);
	assert.equal(made.status, 'error');
	assert.match(made.last_error, /^its website: .* was not written by Postern/);
	assert.deepEqual((await expect(200, 'GET', `/api/domains?status=error&domain=${domain}`)).data.map((d) => d.id), [made.id]);
	const etag = (await s.ask(`/api/domains/${made.id}`)).headers.get('etag');
	fs.rmSync(file);
	const again = await expect(200, 'PATCH', `/api/websites/${domain}`, {}, t);
	assert.deepEqual([again.status, again.last_error], ['active', null]);
	const mended = await s.ask(`/api/domains/${made.id}`, { headers: { 'If-None-Match': etag } });
	assert.deepEqual([mended.status, mended.json.status, mended.json.last_error], [200, 'active', null]);
	// mail: whoever is suspended above it, an address is
	await expect(201, 'POST', '/api/mailboxes', { address: `post@${domain}`, password: 'kaM3-tuv9-holm' }, t);
	const before = await expect(200, 'GET', `/api/mailboxes/post@${domain}`);
	assert.equal((await expect(200, 'POST', `/api/domains/${domain}/suspend`, undefined, t)).status, 'suspended');
	const box = await expect(200, 'GET', `/api/mailboxes/post@${domain}`);
	assert.equal(box.status, 'suspended');
	assert.notEqual(box.updated_at, before.updated_at);
	assert.equal((await expect(200, 'POST', `/api/domains/${domain}/unsuspend`, undefined, t)).status, 'active');
	assert.equal((await expect(200, 'GET', `/api/mailboxes/post@${domain}`)).status, 'active');
});

test('who holds a website that is not suspended itself is said, with the remedy', async () => {
	const t = await tenant(), made = await site(t);
	await expect(200, 'POST', `/api/domains/${made.domain}/suspend`);
	const held = await expect(200, 'GET', `/api/websites/${made.id}`, undefined, t);
	assert.deepEqual([held.status, held.held_by], ['suspended', 'administrator']);
	const refused = await expect(409, 'POST', `/api/websites/${made.id}/unsuspend`, undefined, t);
	assert.match(refused.error.message, new RegExp(`an administrator suspended its domain ${made.domain}; ask an administrator`));
	const told = await expect(409, 'POST', `/api/websites/${made.id}/unsuspend`);
	assert.match(told.error.message, /is suspended; unsuspend that/);
});

test('Prefer: wait answers 200 for what a job has done by then, 202 for what it has not', async () => {
	const t = await tenant(), [one, two] = [await site(t), await site(t)], file = path.join(s.dir, 'sites/nginx', `${two.domain}.conf`);
	const ask = (id, wait) => s.ask(`/api/websites/${id}`, { method: 'DELETE', token: t.token, headers: wait ? { Prefer: 'wait=30' } : {} });
	const done = await ask(one.id, true);
	assert.deepEqual([done.status, done.json.kind, done.json.status, done.json.object_id, done.headers.get('location'), done.headers.get('etag')],
		[200, 'website.remove', 'succeeded', one.id, `/api/jobs/${done.json.id}`, null]);
	fs.writeFileSync(file, '# mine\n'); // which is not removed
	const failed = await ask(two.id, true);
	assert.deepEqual([failed.status, failed.json.status], [202, 'failed']);
	fs.rmSync(file);
	const asked = await ask(two.id, false);
	assert.deepEqual([asked.status, asked.json.status], [202, 'queued']);
});

test('an account whose Unix user cannot be is refused at once', async () => {
	const refused = await expect(422, 'POST', '/api/accounts', { username: s.unique('a'), adopt: true });
	assert.match(refused.error.fields.adopt, /unix_users = none.*leave adopt out/);
	const create = (users, ...more) => s.cli(['--json', 'account', 'create', '--username', ...more], { env: { ...process.env, POSTERN_UNIX_USERS: users } });
	await until(() => s.sql('SELECT FROM postern.machines WHERE facts_at IS NOT NULL').length, 'posternd has looked');
	for (const [users, words, says] of [['adopt', ['nobodys-name'], /no Unix users are made on this machine .*adopt: true/],
		['adopt', ['nobodys-name', '--adopt', 'true'], /there is no Unix user nobodys-name to adopt; create that user/],
		['create', ['nobodys-name', '--adopt', 'true'], /there is no Unix user nobodys-name to adopt/]]) {
		const done = create(users, ...words);
		assert.equal(done.status, 7, done.stderr);
		assert.match(done.stderr + done.stdout, says);
	}
	assert.deepEqual(s.sql("SELECT FROM postern.accounts WHERE username = 'nobodys-name'"), []);
});

for (const server of ['nginx', 'apache']) {
	test(`${server}: a folder of sites that it does not read makes no website active; the line that is missing is named, and heals it`, async (context) => {
		const conf = path.join(s.dir, server === 'nginx' ? 'nginx/nginx.conf' : 'apachesites/apache.conf'), whole = fs.readFileSync(conf, 'utf8');
		const line = /^.*include(?:optional)? "?[^\n]*\/sites\/(?:nginx|apache)\/\*\.conf"?;?$/im;
		assert.match(whole, line);
		const t = await tenant();
		context.after(() => fs.writeFileSync(conf, whole));
		fs.writeFileSync(conf, whole.replace(line, ''));
		const domain = `${s.unique('unread')}.example`;
		await expect(201, 'POST', '/api/domains', { domain, website: false }, t);
		const made = await expect(201, 'POST', '/api/websites', { domain, web_server: server }, { ...t, wait: 0 });
		const stuck = await until(async () => { const w = await website(made); return w.last_error && w; }, 'the reason');
		assert.equal(stuck.status, 'pending');
		assert.equal(stuck.last_error, blocked);
		assert.match((await until(async () => { const j = await jobOf(stuck); return j.error && j; }, 'what staff reads')).error, new RegExp(`^not this site: .* does not read the folder of websites: add "include(optional)? ${s.dir}/sites/${server}/\\*\\.conf;?" .*${conf}$`, 'i'));
		assert.equal(await get(server, domain), 404);
		fs.writeFileSync(conf, whole);
		await until(async () => (await website(made)).status === 'active', 'it heals');
		assert.deepEqual(await all(server, [domain], 10), [200]);
	});
}

const master = (server) => Number(fs.readFileSync(path.join(s.dir, server === 'nginx' ? 'nginx/nginx.pid' : 'apachesites/apache.pid'), 'utf8'));
const conf = (server, made) => path.join(s.dir, 'sites', server, `${made.domain}.conf`);
// A server that takes the word and cannot act on it yet: its first process is stopped, those that answer requests go on.
function stopped(context, server) {
	const pid = master(server), go = () => process.kill(pid, 'SIGCONT');
	context.after(go);
	process.kill(pid, 'SIGSTOP');
	return go;
}
const unheard = /was told to read its configuration again, and does not answer by it yet: .*; the files stay in place, and it is told again/;

for (const server of ['nginx', 'apache']) {
	test(`${server}: a change that it was told of and does not answer by yet stays in place, is not called active, and heals`, async (context) => {
		const t = await tenant(), go = stopped(context, server), made = await site(t, { web_server: server }, 0);
		const stuck = await until(async () => { const w = await website(made); return w.last_error && w; }, 'the reason');
		assert.match(stuck.last_error, unheard);
		assert.equal(stuck.status, 'pending');
		assert.equal(await get(server, made.domain), 404);
		assert.match(fs.readFileSync(conf(server, made), 'utf8'), new RegExp(made.domain), 'it may be loaded at any moment, and is not taken back');
		go();
		await until(async () => (await website(made)).status === 'active', 'it heals');
		assert.deepEqual(await all(server, [made.domain], 10), [200]);
	});

	test(`${server}: what takes away is in place though somebody else's file is refused, and holds whoever reloads the server`, async (context) => {
		const t = await tenant(), [one, two] = [await site(t, { web_server: server }), await site(t, { web_server: server })];
		const broken = path.join(s.dir, 'sites', server, 'somebody.conf');
		context.after(() => fs.rmSync(broken, { force: true }));
		fs.writeFileSync(broken, server === 'nginx' ? 'no_such_directive on;\n' : 'NoSuchDirective on\n');
		await expect(200, 'POST', `/api/websites/${one.id}/suspend`, undefined, { ...t, wait: 0 });
		await expect(202, 'DELETE', `/api/websites/${two.id}`, undefined, { ...t, wait: 0 });
		for (const made of [one, two])
			await until(async () => (await website(made)).last_error === blocked, 'it waits');
		assert.equal((await website(one)).status, 'pending');
		assert.deepEqual(await all(server, [one.domain, two.domain]), [200], 'nothing of it holds yet');
		assert.equal(fs.existsSync(conf(server, two)), false);
		await s.endWorker();
		try {
			fs.rmSync(broken);
			process.kill(master(server), server === 'nginx' ? 'SIGHUP' : 'SIGUSR1');
			await until(async () => await get(server, one.domain) === 503 && await get(server, two.domain) === 404, 'it holds without posternd');
		} finally {
			s.startWorker();
		}
		await until(async () => (await website(one)).status === 'suspended', 'it heals');
		await until(async () => (await s.ask(`/api/websites/${two.id}`)).status === 404, 'and goes');
	});
}

test('a catch-all that gives back what it is asked does not pass for the new configuration', async (context) => {
	const t = await tenant(), file = path.join(s.dir, 'sites/nginx/catch-all.conf');
	const name = (host) => new Promise((resolve, reject) => {
		http.get({ host: '127.0.0.1', port: new URL(servers.nginx).port, agent: false, headers: { Host: host } }, (r) => {
			let text = '';
			r.on('data', (d) => { text += d; }).on('end', () => resolve(text));
		}).on('error', reject);
	});
	context.after(() => fs.rmSync(file, { force: true }));
	fs.writeFileSync(file, `server {\n\tlisten 127.0.0.1:${new URL(servers.nginx).port};\n\tserver_name *.postern.invalid;\n\tdefault_type text/plain;\n` +
		'\tlocation / {\n\t\treturn 200 "$host\\n";\n\t}\n}\n');
	process.kill(master('nginx'), 'SIGHUP');
	await until(async () => await name('echo.postern.invalid') === 'echo.postern.invalid\n', 'it answers');
	const go = stopped(context, 'nginx'), made = await site(t, {}, 0);
	const stuck = await until(async () => { const w = await website(made); return w.last_error && w; }, 'the reason');
	assert.deepEqual([stuck.status, await get('nginx', made.domain)], ['pending', 404]);
	assert.match(stuck.last_error, unheard);
	go();
	await until(async () => (await website(made)).status === 'active', 'it heals');
});
