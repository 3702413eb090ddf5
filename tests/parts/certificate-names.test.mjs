// Names of certificates and websites: which ones a certificate has, what becomes of those that fail, and what is shown for others.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import path from 'node:path';
import tls from 'node:tls';
import { after, before, test } from 'node:test';

import { startStack, until } from '../api/harness.mjs';

const asRoot = process.getuid() === 0;
const skip = asRoot ? false : 'not run: what uacme trusts can be set for it alone by root only';
const ports = {}, started = [];
let s, told, tenant, token;

before(async () => {
	if (!asRoot)
		return;
	s = await startStack('certificate-names',
		{ WORKER: 'yes', DOMAIN_PROOF: 'off', SITES: 'yes', PARTS: 'acme,apachesites', WEB: 'nginx' });
	told = Object.fromEntries(fs.readFileSync(path.join(s.dir, 'env'), 'utf8').trim().split('\n').map((l) => l.split(/=(.*)/s)));
	s.env.SSL_CERT_FILE = told.POSTERN_ACME_ROOT;
	ports.nginx = Number(new URL(s.url).port);
	ports.apache = Number(new URL(told.POSTERN_APACHE_URL).port);
	tenant = s.tenant();
	token = s.mint({ owner: tenant.user.username, scopes: ['*'], action_limit: 1000, expires_at: 'null' }).token;
	await until(async () => (await s.ask(`/api/accounts/${tenant.account.id}`)).json.status === 'active', 'the account is there');
});
after(() => {
	for (const stop of started)
		stop();
	s?.stop();
});

async function expect(status, method, target, body) {
	const headers = { Prefer: 'wait=30', ...(method === 'GET' ? {} : { 'Idempotency-Key': s.unique('key') }) };
	const send = () => s.ask(target, { method, body, token, headers });
	const answer = await send().catch((error) => (/^fetch failed/.test(error.message) ? send() : Promise.reject(error)));
	assert.equal(answer.status, status, `${method} ${target}: ${answer.text}`);
	return answer.json;
}
const site = async (fields = {}) => {
	const domain = `${s.unique('n')}.example`;
	await expect(201, 'POST', '/api/domains', { domain, ...fields });
	return domain;
};
const row = (domain) => expect(200, 'GET', `/api/ssl/${domain}`);
const website = (domain) => expect(200, 'GET', `/api/websites/${domain}`);
const lead = async (host, addresses) => {
	const what = addresses ? 'add-a' : 'clear-a';
	const answer = await fetch(`${told.POSTERN_ACME_DNS}/${what}`, { method: 'POST', body: JSON.stringify({ host: `${host}.`, addresses }) });
	assert.equal(answer.status, 200);
};
// Names of the certificate that is presented for a name; null: the handshake is refused.
const presented = (server, servername) => new Promise((resolve) => {
	const socket = tls.connect({ host: '127.0.0.1', port: ports[server] + 1000, servername, rejectUnauthorized: false }, () => {
		const names = socket.getPeerX509Certificate()?.subjectAltName ?? '';
		socket.destroy();
		resolve(names.split(', ').map((n) => n.replace('DNS:', '')).filter(Boolean).sort());
	}).on('error', () => resolve(null));
});
const get = (server, name, target = '/', { secure = false, method = 'GET', body } = {}) => new Promise((resolve, reject) => {
	const options = { host: '127.0.0.1', port: ports[server] + (secure ? 1000 : 0), path: target, method, agent: false,
		headers: { Host: name, ...(body ? { 'Content-Length': body.length } : {}) }, ...(secure ? { rejectUnauthorized: false, servername: name } : {}) };
	const request = (secure ? https : http).request(options, (response) => {
		let text = '';
		response.setEncoding('utf8').on('data', (more) => { text += more; })
			.on('end', () => resolve({ status: response.statusCode, text, location: response.headers.location, headers: response.headers }));
	}).on('error', reject);
	request.end(body);
});

test('www comes with a domain unless it is refused, and not with what lies below another name', { skip }, async () => {
	const domain = await site(), bare = await site({ www: false });
	assert.deepEqual((await website(domain)).aliases, [`www.${domain}`]);
	assert.equal((await get('nginx', `www.${domain}`)).status, 200);
	assert.deepEqual((await website(bare)).aliases, []);
	await expect(201, 'POST', '/api/domains', { domain: `shop.${domain}`, type: 'subdomain' });
	assert.deepEqual((await website(`shop.${domain}`)).aliases, []);
});

test('a domain of type alias serves the site that it belongs to, and leaves it again', { skip }, async () => {
	const domain = await site({ www: false }), other = `${s.unique('n')}.example`;
	const made = await expect(201, 'POST', '/api/domains', { domain: other, type: 'alias', alias_of: domain });
	assert.equal(made.alias_of, domain);
	await expect(404, 'GET', `/api/websites/${other}`);
	assert.deepEqual((await website(domain)).aliases, [other, `www.${other}`]);
	assert.match((await get('nginx', other)).text, /This website is ready/);
	assert.ok((await expect(422, 'PATCH', `/api/websites/${domain}`, { aliases: [] })).error.fields.aliases);
	await expect(200, 'DELETE', `/api/domains/${other}`);
	assert.deepEqual((await website(domain)).aliases, []);
	await until(async () => (await get('nginx', other)).status === 404, 'it is served no more');
});

test('names follow the website: one that comes is in the certificate before plain HTTP leads to HTTPS, one that goes leaves', { skip }, async () => {
	const domain = await site({ www: false });
	assert.deepEqual((await expect(201, 'POST', '/api/ssl', { domain })).names, [domain]);
	await expect(200, 'PATCH', `/api/websites/${domain}`, { https_redirect: true, aliases: [`a.${domain}`] });
	await until(async () => (await presented('nginx', `a.${domain}`))?.length === 2, 'the further name is in it');
	assert.deepEqual((await row(domain)).names, [`a.${domain}`, domain].sort((x, y) => (x === domain ? -1 : 1)));
	await until(async () => (await get('nginx', `a.${domain}`)).status === 301, 'it leads to HTTPS');
	await expect(200, 'PATCH', `/api/websites/${domain}`, { aliases: [] });
	await expect(200, 'POST', `/api/ssl/${domain}/renew`);
	assert.deepEqual((await row(domain)).names, [domain]);
});

test('a name that fails is left out and named; it has no redirect to HTTPS, and the rest is issued', { skip }, async () => {
	const domain = await site();
	await lead(`www.${domain}`, ['127.0.0.2']);
	const made = await expect(201, 'POST', '/api/ssl', { domain });
	assert.deepEqual([made.status, made.names, made.left_out.map((l) => l.name)], ['active', [domain], [`www.${domain}`]]);
	assert.match(made.last_error, /left out: www\..*connection/);
	assert.ok(Date.parse(made.next_attempt_at) > Date.now());
	await expect(200, 'PATCH', `/api/websites/${domain}`, { https_redirect: true });
	await until(async () => (await get('nginx', domain)).status === 301, 'the domain leads to HTTPS');
	assert.equal((await get('nginx', `www.${domain}`)).status, 200, 'what is not in the certificate does not');
	assert.equal(await presented('nginx', `www.${domain}`), null);
	await lead(`www.${domain}`);
	await s.psql(`UPDATE postern.certificates SET failed_at = failed_at - interval '2 hours' WHERE id = ${made.id}`);
	s.psql('SELECT work.keep_house(100000, 100000)', 'postern_worker');
	await until(async () => (await row(domain)).names.length === 2, 'it is tried again by the clock');
	assert.deepEqual([(await row(domain)).left_out, (await row(domain)).last_error], [null, null]);
});

test('a first issue that failed is tried again by the clock, which says when', { skip }, async () => {
	const domain = await site({ www: false });
	await lead(domain, ['127.0.0.2']);
	const made = await expect(201, 'POST', '/api/ssl', { domain });
	assert.equal(made.status, 'error');
	assert.ok(Math.abs(Date.parse(made.next_attempt_at) - Date.now() - 3600e3) < 60e3, made.next_attempt_at);
	await lead(domain);
	s.psql(`UPDATE postern.certificates SET failed_at = failed_at - interval '2 hours' WHERE id = ${made.id}`);
	s.psql('SELECT work.keep_house(100000, 100000)', 'postern_worker');
	await until(async () => (await row(domain)).status === 'active', 'it is issued');
});

test('a pair that was issued is used again: after its files were taken away nothing is ordered anew', { skip }, async () => {
	const domain = await site({ www: false });
	const first = await expect(201, 'POST', '/api/ssl', { domain });
	await expect(200, 'DELETE', `/api/ssl/${domain}`);
	const second = await expect(201, 'POST', '/api/ssl', { domain });
	assert.equal(second.serial, first.serial);
	const rsa = await expect(200, 'PATCH', `/api/ssl/${domain}`, { key_algorithm: 'rsa' });
	assert.deepEqual([rsa.key_type, rsa.serial === first.serial], ['RSA 2048', false]);
});

for (const server of ['nginx', 'apache']) {
	test(`${server}: HTTPS for a name without a certificate, and by address, shows nobody's page or certificate`, { skip }, async () => {
		const domain = await site({ www: false, website: false }), other = await site({ www: false, website: false });
		for (const name of [domain, other])
			await expect(201, 'POST', '/api/websites', { domain: name, web_server: server });
		const folder = path.join(s.dir, 'sites/ssl', domain), from = await site({ www: false });
		await expect(201, 'POST', '/api/ssl', { domain: from });
		fs.cpSync(path.join(s.dir, 'sites/ssl', from), folder, { recursive: true });
		await expect(201, 'POST', '/api/ssl', { domain: other }).catch(() => null);
		await expect(200, 'PATCH', `/api/websites/${domain}`, {});
		for (const name of ['nobody.example', undefined]) {
			const shown = await presented(server, name);
			assert.ok(shown === null || shown.length === 0, `${name}: ${shown}`);
		}
	});

	test(`${server}: uploads as large as max_body_mb, /.well-known/ and PATH_INFO are served alike`, { skip }, async () => {
		const domain = await site({ www: false, website: false }), socket = path.join(s.dir, `sites/php8.2-${tenant.account.username}.sock`);
		const conf = path.join(s.dir, `fpm-${server}.conf`);
		fs.rmSync(socket, { force: true });
		fs.writeFileSync(conf, `[global]\nerror_log = ${s.dir}/log/fpm.log\ndaemonize = no\n[site]\nlisten = ${socket}\nlisten.mode = 0666\n` +
			'user = www-data\ngroup = www-data\npm = static\npm.max_children = 1\nphp_admin_value[post_max_size] = 9M\n');
		const fpm = spawn('/usr/sbin/php-fpm8.2', ['-y', conf], { stdio: 'ignore' });
		started.push(() => fpm.kill('SIGTERM'));
		await until(() => fs.existsSync(socket), 'PHP-FPM');
		const made = await expect(201, 'POST', '/api/websites', { domain, web_server: server, runtime: 'php', php_version: '8.2', max_body_mb: 3 });
		assert.deepEqual([made.status, made.max_body_mb], ['active', 3], made.last_error);
		const put = (name, text) => {
			fs.mkdirSync(path.dirname(path.join(made.document_root, name)), { recursive: true });
			fs.writeFileSync(path.join(made.document_root, name), text);
		};
		put('in.php', '<?php echo "in ", $_SERVER["PATH_INFO"] ?? "-", " ", strlen(file_get_contents("php://input"));');
		put('.well-known/security.txt', 'Contact: here\n');
		put('.git/config', 'secret');
		put('evil.jpg', '<?php echo "evil";');
		assert.equal((await get(server, domain, '/in.php')).text, 'in - 0');
		assert.equal((await get(server, domain, '/in.php/a/b')).text, 'in /a/b 0');
		assert.equal((await get(server, domain, '/.well-known/security.txt')).text, 'Contact: here\n');
		assert.equal((await get(server, domain, '/.git/config')).status, 404);
		assert.ok(!/^evil/.test((await get(server, domain, '/evil.jpg/x.php')).text), 'no file is run but a script');
		const sent = (mb) => get(server, domain, '/in.php', { method: 'POST', body: Buffer.alloc(mb << 20, 'x') }).catch((e) => ({ status: e.code }));
		assert.equal((await sent(2)).text, `in - ${2 << 20}`);
		assert.ok([413, 'ECONNRESET', 'EPIPE'].includes((await sent(4)).status), 'a larger one is refused');
		fpm.kill('SIGTERM');
		await until(() => fpm.exitCode !== null || fpm.signalCode, 'PHP-FPM has ended');
	});
}
