// Websites: what the API says of them is what real nginx and real Apache answer.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { answered, needsRoot, startStack, until } from '../api/harness.mjs';

let s;
const asRoot = process.getuid() === 0;
const started = [];

before(async () => {
	s = await startStack('websites', { WORKER: 'yes', DOMAIN_PROOF: 'off', SITES: 'yes', PARTS: 'apachesites', WEB: 'nginx' });
	if (asRoot)
		started.push(s.mountApps());
	const told = Object.fromEntries(fs.readFileSync(path.join(s.dir, 'env'), 'utf8').trim().split('\n').map((l) => l.split(/=(.*)/s)));
	servers.nginx = s.url;
	servers.apache = told.POSTERN_APACHE_URL;
});
after(() => {
	for (const stop of started)
		stop();
	s?.stop();
});
const servers = {};

const settle = { Prefer: 'wait=30' };
const api = async (method, target, body, token = s.token) => s.ask(target, { method, body, token, headers: settle });
async function expect(status, method, target, body, token) {
	const answer = await api(method, target, body, token);
	assert.equal(answer.status, answered(status, answer), `${method} ${target}: ${answer.text}`);
	return answer.json;
}

// What a browser gets: { status, text, location } from that server, by that name.
function get(server, name, target = '/', { tls = false } = {}) {
	const url = new URL(servers[server]);
	const options = { host: '127.0.0.1', port: Number(url.port) + (tls ? 1000 : 0), path: target, agent: false, headers: { Host: name },
		...(tls ? { rejectUnauthorized: false, servername: name } : {}) };
	return new Promise((resolve, reject) => {
		(tls ? https : http).get(options, (response) => {
			let text = '';
			response.setEncoding('utf8').on('data', (more) => { text += more; })
				.on('end', () => resolve({ status: response.statusCode, text, location: response.headers.location }));
		}).on('error', reject);
	});
}
// What the API said holds for the next request.
async function comes(server, name, target, want, options) {
	const answer = await get(server, name, target, options);
	assert.ok(want(answer), `${server}: ${name}${target}: ${JSON.stringify(answer)}`);
}

// An account whose home is there, and a token of its own.
async function tenant() {
	const t = s.tenant();
	await until(async () => (await expect(200, 'GET', `/api/accounts/${t.username}`)).status === 'active', 'the account');
	t.token = s.mint({ owner: t.user.username, scopes: ['*'] }).token;
	t.home = t.account.home;
	return t;
}
async function site(t, fields = {}) {
	const name = `${s.unique('site')}.example`;
	await expect(201, 'POST', '/api/domains', { domain: name, website: false }, t.token);
	const made = await expect(201, 'POST', '/api/websites', { domain: name, ...fields }, t.token);
	assert.equal(made.status, 'active', JSON.stringify(made));
	return made;
}
const jobOf = (website) => expect(200, 'GET', `/api/jobs/${website.job_id}`);
// An application of the tenant's, on a socket or a port.
async function application(where) {
	const app = http.createServer((request, response) => response.end(`app ${request.headers.host} ${request.url}`));
	await new Promise((resolve) => app.listen(...(typeof where === 'number' ? [where, '127.0.0.1'] : [where]), resolve));
	if (typeof where === 'string')
		fs.chmodSync(where, 0o666);
	started.push(() => app.close());
	return app.address().port ?? where;
}

test('creating a domain creates its website, which answers; deleting it takes both away and leaves the files', async () => {
	const t = await tenant(), name = `${s.unique('d')}.example`;
	const made = await expect(201, 'POST', '/api/domains', { domain: name }, t.token);
	assert.match(made.job_id, /^[0-9a-f-]{36}$/);
	const website = await expect(200, 'GET', `/api/websites/${name}`, undefined, t.token);
	assert.deepEqual([website.domain_id, website.status, website.document_root, website.job_id], [made.id, 'active', made.document_root, made.job_id]);
	await comes('nginx', name, '/', (a) => a.status === 200 && a.text.includes('This website is ready'));
	fs.writeFileSync(path.join(made.document_root, 'hello.txt'), 'hello');
	assert.equal((await get('nginx', name, '/hello.txt')).text, 'hello');
	assert.equal((await get('nginx', name, '/none.txt')).status, 404);
	assert.equal((await get('nginx', name, '/.htpasswd')).status, 404);
	const removal = await expect(202, 'DELETE', `/api/domains/${made.id}`, undefined, t.token);
	assert.deepEqual([removal.kind, removal.status], ['website.remove', 'succeeded']);
	for (const gone of [`/api/domains/${made.id}`, `/api/websites/${website.id}`])
		await expect(404, 'GET', gone);
	await comes('nginx', name, '/', (a) => a.status === 404);
	assert.equal(fs.readFileSync(path.join(made.document_root, 'hello.txt'), 'utf8'), 'hello');
	const again = await expect(201, 'POST', '/api/domains', { domain: name }, t.token);
	await comes('nginx', name, '/hello.txt', (a) => a.text === 'hello');
	assert.deepEqual(fs.readdirSync(made.document_root).sort(), ['hello.txt', 'index.html'], 'nothing was put into a folder that was there');
	await expect(202, 'DELETE', `/api/domains/${again.id}?cascade=true`, undefined, t.token);
});

test('"website": false creates none, and such a domain is deleted at once; one website a domain', async () => {
	const t = await tenant(), name = `${s.unique('d')}.example`;
	const made = await expect(201, 'POST', '/api/domains', { domain: name, website: false }, t.token);
	assert.equal(made.job_id, null);
	await expect(404, 'GET', `/api/websites/${name}`);
	await expect(201, 'POST', '/api/websites', { domain_id: made.id }, t.token);
	const second = await expect(409, 'POST', '/api/websites', { domain: name }, t.token);
	assert.equal(second.error.fields.domain, 'has a website');
	assert.equal((await expect(202, 'DELETE', `/api/websites/${name}`, undefined, t.token)).status, 'succeeded');
	await expect(204, 'DELETE', `/api/domains/${made.id}`, undefined, t.token);
	await expect(422, 'POST', '/api/websites', { domain: name }, t.token);
	await expect(422, 'POST', '/api/websites', {}, t.token);
	const done = s.cliJson(['domain', 'create', '--domain', name, '--account', t.username, '--website', 'false']);
	assert.equal(done.job_id, null);
	const imported = s.cliJson(['domain', 'create', '--domain', `i${name}`, '--account', t.username, '--managed', 'false']);
	await expect(404, 'GET', `/api/websites/${imported.domain}`);
	await expect(409, 'POST', '/api/websites', { domain: imported.domain });
});

for (const server of ['nginx', 'apache']) {
	test(`${server}: files, further names, and no others`, async () => {
		const t = await tenant(), other = await tenant();
		const made = await site(t, { web_server: server, aliases: ['www.', 'b\u00fccher.'].map((x) => `${x}${s.unique('n')}.example`) });
		assert.ok(made.aliases.every((name) => /^[a-z0-9.-]+$/.test(name)), 'as A-labels');
		for (const name of [made.domain, ...made.aliases])
			await comes(server, name, '/', (a) => a.text.includes('This website is ready'));
		assert.equal((await get(server, 'nobody.example')).status, 404);
		const taken = await expect(409, 'POST', '/api/domains', { domain: made.aliases[0] }, other.token);
		assert.equal(taken.error.fields.domain, 'is taken');
		await expect(409, 'POST', '/api/domains', { domain: `x.${made.aliases[0]}` }, other.token);
		const theirs = await site(other);
		for (const name of [made.domain, made.aliases[0], `y.${made.domain}`]) {
			const refused = await expect(409, 'PATCH', `/api/websites/${theirs.id}`, { aliases: [name] }, other.token);
			assert.match(refused.error.fields.aliases, /is taken/);
			assert.ok(!JSON.stringify(refused).includes(t.username));
		}
		const left = await expect(200, 'PATCH', `/api/websites/${made.id}`, { aliases: made.aliases.slice(1) }, t.token);
		assert.equal(left.status, 'active');
		await comes(server, made.aliases[0], '/', (a) => a.status === 404);
		await expect(200, 'PATCH', `/api/websites/${theirs.id}`, { aliases: [made.aliases[0]] }, other.token); // it is free again
		for (const aliases of [[made.domain], ['a.example', 'A.example'], ['no name']])
			assert.ok((await expect(422, 'PATCH', `/api/websites/${made.id}`, { aliases }, t.token)).error.fields.aliases);
	});

	test(`${server}: suspended, a plain 503 by all its names; by itself, with its domain, with its account`, async () => {
		const t = await tenant(), made = await site(t, { web_server: server, aliases: [`${s.unique('al')}.example`] });
		const works = (a) => a.status === 200, stands = (a) => a.status === 503 && a.text.includes('suspended');
		for (const [target, put, status] of [[`/api/websites/${made.id}`, t.token, 'suspended'], [`/api/domains/${made.domain_id}`, t.token, 'active'], [`/api/accounts/${t.username}`, s.token, 'active']]) {
			await expect(200, 'POST', `${target}/suspend`, undefined, put);
			for (const name of [made.domain, made.aliases[0]])
				await comes(server, name, '/any/where?x=1', stands);
			await until(async () => (await expect(200, 'GET', `/api/websites/${made.id}`)).status === 'suspended', 'the status');
			if (target.includes('websites'))
				assert.match((await expect(409, 'POST', `${target}/suspend`, undefined, put)).error.message, /already/);
			await expect(200, 'POST', `${target}/unsuspend`, undefined, put);
			await comes(server, made.domain, '/', works);
			await until(async () => (await expect(200, 'GET', `/api/websites/${made.id}`)).status === 'active', status);
		}
		// Its own suspension outlives that of its domain.
		await expect(200, 'POST', `/api/websites/${made.id}/suspend`, undefined, t.token);
		await expect(200, 'POST', `/api/domains/${made.domain_id}/suspend`, undefined, t.token);
		await expect(200, 'POST', `/api/domains/${made.domain_id}/unsuspend`, undefined, t.token);
		assert.equal((await expect(200, 'GET', `/api/websites/${made.id}`)).status, 'suspended');
		await comes(server, made.domain, '/', stands);
	});

	test(`${server}: an application behind it, on a socket in the account's folder for them or a port of the account's`, { skip: needsRoot }, async () => {
		const t = await tenant();
		const made = await site(t, { web_server: server, runtime: 'proxy', proxy_target: 'unix:a+b@1.sock' });
		const told = await until(async () => (await expect(200, 'GET', `/api/websites/${made.id}`, undefined, t.token)).sockets_folder, 'posternd tells the folder');
		assert.equal(told, path.join(s.dir, 'apps', t.username, 's'));
		await application(path.join(told, 'a+b@1.sock'));
		await comes(server, made.domain, '/x?y=1', (a) => a.text === `app ${made.domain} /x?y=1`);
		const port = await application(0);
		const refused = await expect(422, 'PATCH', `/api/websites/${made.id}`, { proxy_target: `http://127.0.0.1:${port}` }, t.token);
		assert.match(refused.error.fields.proxy_target, /port assigned/);
		await expect(200, 'PATCH', `/api/accounts/${t.username}`, { ports: [port] });
		await expect(200, 'PATCH', `/api/websites/${made.id}`, { proxy_target: `http://127.0.0.1:${port}` }, t.token);
		await comes(server, made.domain, '/', (a) => a.text === `app ${made.domain} /`);
		const busy = await expect(409, 'PATCH', `/api/accounts/${t.username}`, { ports: [] });
		assert.match(busy.error.message, new RegExp(made.domain));
	});

	test(`${server}: PHP by the account's pool; a version without one is an error that says so`, async () => {
		const t = await tenant(), socket = path.join(s.dir, `sites/php8.2-${t.username}.sock`);
		const conf = path.join(s.dir, `fpm-${t.username}.conf`);
		fs.writeFileSync(conf, `[global]\nerror_log = ${s.dir}/log/fpm-${t.username}.log\ndaemonize = no\n[site]\nlisten = ${socket}\nlisten.mode = 0666\n` +
			`${asRoot ? 'user = www-data\ngroup = www-data\n' : ''}pm = static\npm.max_children = 1\n`);
		const fpm = spawn('/usr/sbin/php-fpm8.2', ['-y', conf], { stdio: 'ignore' });
		started.push(() => fpm.kill('SIGTERM'));
		await until(() => fs.existsSync(socket), 'PHP-FPM');
		const made = await site(t, { web_server: server, runtime: 'php', php_version: '8.2' });
		fs.writeFileSync(path.join(made.document_root, 'index.php'), '<?php echo "php ", $_SERVER["REQUEST_URI"], " ", $_SERVER["HTTP_HOST"];');
		for (const target of ['/', '/pretty/address?q=1', '/index.php?z=1'])
			await comes(server, made.domain, target, (a) => a.text === `php ${target} ${made.domain}`);
		assert.ok((await expect(422, 'PATCH', `/api/websites/${made.id}`, { php_version: null }, t.token)).error.fields.php_version);
		for (const php_version of ['8', '../8.2', '8.2;', '8.2 '])
			await expect(422, 'PATCH', `/api/websites/${made.id}`, { php_version }, t.token);
		// what is not there is refused at once; what is, but without a pool, says so at its first attempt
		await until(() => s.sql("SELECT facts -> 'php' ? '8.2' AS known FROM postern.machines")[0]?.known, 'posternd has looked');
		const refused = await expect(422, 'PATCH', `/api/websites/${made.id}`, { php_version: '7.4' }, t.token);
		assert.match(refused.error.fields.php_version, /is not on this machine; there is 8\.2/);
		fs.renameSync(socket, `${socket}.away`);
		const waiting = await s.ask(`/api/websites/${made.id}`, { method: 'PATCH', body: { https_redirect: false }, token: t.token, headers: { Prefer: 'wait=1' } });
		assert.equal(waiting.status, 200);
		const shown = await until(async () => { const w = await expect(200, 'GET', `/api/websites/${made.id}`); return w.last_error && w; }, 'the reason');
		assert.deepEqual([shown.status, shown.last_error], ['pending', (await jobOf(shown)).error]);
		assert.match(shown.last_error, /no socket .*php8\.2/);
		fs.renameSync(`${socket}.away`, socket);
		assert.equal((await get(server, made.domain)).text, `php / ${made.domain}`, 'it answers as before');
		await expect(200, 'PATCH', `/api/websites/${made.id}`, { php_version: '8.2' }, t.token);
	});

	test(`${server}: with a certificate it speaks TLS; https_redirect leads there, but for the challenges of certificate authorities`, async () => {
		const t = await tenant(), made = await site(t, { web_server: server, https_redirect: true });
		await comes(server, made.domain, '/', (a) => a.status === 200);
		const folder = path.join(s.dir, 'sites/ssl', made.domain), challenges = path.join(s.dir, 'sites/acme/.well-known/acme-challenge');
		fs.mkdirSync(folder, { recursive: true });
		execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', `/CN=${made.domain}`,
			'-keyout', path.join(folder, 'privkey.pem'), '-out', path.join(folder, 'fullchain.pem')], { stdio: 'ignore' });
		fs.mkdirSync(challenges, { recursive: true });
		fs.writeFileSync(path.join(challenges, 'token'), 'proof');
		await expect(200, 'PATCH', `/api/websites/${made.id}`, {}, t.token);
		const port = Number(new URL(servers[server]).port) + 1000;
		for (const target of ['/', '/a%20b/%0d%0aX:y?q=1&r=%2f'])
			await comes(server, made.domain, target, (a) => a.status === 301 && a.location === `https://${made.domain}:${port}${target}`);
		await comes(server, made.domain, '/', (a) => a.text.includes('This website is ready'), { tls: true });
		for (const action of ['', '/suspend']) {
			if (action)
				await expect(200, 'POST', `/api/websites/${made.id}${action}`, undefined, t.token);
			await comes(server, made.domain, '/.well-known/acme-challenge/token', (a) => a.text === 'proof');
		}
		await comes(server, made.domain, '/', (a) => a.status === 503, { tls: true });
	});

	test(`${server}: a template that the server refuses is taken back: the job has its words, the old site answers`, async () => {
		const t = await tenant(), made = await site(t, { web_server: server });
		await comes(server, made.domain, '/', (a) => a.status === 200);
		const template = path.join(s.dir, 'templates', server, 'site.conf.in'), file = path.join(s.dir, 'sites', server, `${made.domain}.conf`);
		const present = fs.readFileSync(file, 'utf8');
		fs.mkdirSync(path.dirname(template), { recursive: true });
		try {
			for (const [text, words] of [[server === 'nginx' ? 'server { listen @LISTEN@; no_such_directive on; }\n' : '<VirtualHost @LISTEN*@>\nNoSuchDirective on\n</VirtualHost>\n', /no_?such_?directive/i],
				['@NOTHING@\n', /there is no @NOTHING@/]]) {
				fs.writeFileSync(template, text);
				const answer = await expect(200, 'PATCH', `/api/websites/${made.id}`, { https_redirect: true }, t.token);
				assert.deepEqual([answer.status, words.test(answer.last_error)], ['error', true], answer.last_error);
				assert.match((await jobOf(answer)).error, words);
				assert.equal(fs.readFileSync(file, 'utf8'), present);
				assert.deepEqual(fs.readdirSync(path.dirname(file)).filter((name) => name.includes(made.domain)), [`${made.domain}.conf`]);
				assert.equal((await get(server, made.domain)).status, 200);
				const fresh = `${s.unique('f')}.example`; // of a new one nothing is left
				await expect(201, 'POST', '/api/domains', { domain: fresh, website: false }, t.token);
				assert.equal((await expect(201, 'POST', '/api/websites', { domain: fresh, web_server: server }, t.token)).status, 'error');
				assert.ok(!fs.existsSync(path.join(path.dirname(file), `${fresh}.conf`)));
			}
		} finally {
			fs.rmSync(template);
		}
		assert.equal((await expect(200, 'PATCH', `/api/websites/${made.id}`, {}, t.token)).status, 'active');
	});

	test(`${server}: a file that Postern did not write is left alone`, async () => {
		const t = await tenant(), name = `${s.unique('mine')}.example`, file = path.join(s.dir, 'sites', server, `${name}.conf`);
		fs.writeFileSync(file, '# mine\n');
		await expect(201, 'POST', '/api/domains', { domain: name, website: false }, t.token);
		const made = await expect(201, 'POST', '/api/websites', { domain: name, web_server: server }, t.token);
		assert.equal(made.status, 'error');
		assert.match(made.last_error, /not written by Postern/);
		assert.equal((await expect(202, 'DELETE', `/api/domains/${name}`, undefined, t.token)).status, 'failed');
		assert.deepEqual([(await expect(200, 'GET', `/api/domains/${name}`)).status, fs.readFileSync(file, 'utf8')], ['error', '# mine\n']);
		fs.rmSync(file);
		assert.equal((await expect(202, 'DELETE', `/api/domains/${name}`, undefined, t.token)).status, 'succeeded');
	});

	test(`${server}: links that a tenant plants lead nowhere`, async () => {
		const t = await tenant(), made = await site(t, { web_server: server });
		await comes(server, made.domain, '/', (a) => a.status === 200);
		// To what belongs to somebody else: as root the link's owner is changed, else the file is root's anyway.
		const own = (link) => asRoot && fs.lchownSync(link, 12345, 12345);
		for (const [link, to, target] of [['secret', '/etc/hostname', '/secret'], ['etc', '/etc', '/etc/hostname']]) {
			fs.symlinkSync(to, path.join(made.document_root, link));
			own(path.join(made.document_root, link));
			assert.ok([403, 404].includes((await get(server, made.domain, target)).status), target);
		}
		const elsewhere = path.join(t.home, 'elsewhere');
		fs.symlinkSync('/etc', elsewhere);
		own(elsewhere);
		fs.renameSync(made.document_root, `${made.document_root}.old`); // the document root itself
		fs.symlinkSync('/etc', made.document_root);
		own(made.document_root);
		assert.ok([403, 404].includes((await get(server, made.domain, '/hostname')).status));
		for (const document_root of [`${elsewhere}/made`, elsewhere]) {
			const answer = await expect(200, 'PATCH', `/api/websites/${made.id}`, { document_root }, t.token);
			assert.deepEqual([answer.status, /symbolic link/.test(answer.last_error)], ['error', true], answer.last_error);
		}
		assert.ok(!fs.existsSync('/etc/made'));
	});
}

test('moving a website to the other server takes it away from the first', async () => {
	const t = await tenant(), made = await site(t);
	assert.equal(made.web_server, 'nginx');
	await comes('nginx', made.domain, '/', (a) => a.status === 200);
	await expect(200, 'PATCH', `/api/websites/${made.id}`, { web_server: 'apache' }, t.token);
	await comes('apache', made.domain, '/', (a) => a.status === 200);
	await comes('nginx', made.domain, '/', (a) => a.status === 404);
	assert.ok(!fs.existsSync(path.join(s.dir, 'sites/nginx', `${made.domain}.conf`)));
});

test('what is not the tenant\'s is refused, and named', async () => {
	const t = await tenant(), other = await tenant(), made = await site(t);
	await expect(200, 'PATCH', `/api/accounts/${other.username}`, { ports: [45678] });
	for (const [field, values] of Object.entries({
		document_root: ['/etc', '/home', t.home, `${t.home}x/public`, other.home + '/public_html', `${t.home}/../x`, `${t.home}/a;b`, `${t.home}/a"b`, `${t.home}/$host`, `${t.home}/a\nb`],
		proxy_target: ['http://127.0.0.1:22', 'http://127.0.0.1:45678', 'http://127.0.0.1', 'http://localhost:3000', 'http://192.0.2.1:80', 'http://[::1]:80', `unix:${other.home}/a.sock`,
			'unix:/run/docker.sock', `unix:${t.home}/../${other.username}/a.sock`, `unix:${t.home}/a;b`, `unix:${t.home}/a"b`, `unix:${t.home}/${'x'.repeat(110)}`, 'http://127.0.0.1:3000/path', 'https://127.0.0.1:3000',
			'http://999.1.1.1:80', `unix:${t.home}/a|b`, 'ftp://x', `unix:${t.home}/app.sock`, 'unix:../x.sock', 'unix:a/b.sock', 'unix:.x', `unix:${'x'.repeat(60)}`],
		runtime: ['cgi'], web_server: ['iis'], aliases: ['x', [1], ['*.example']], https_redirect: ['yes'],
	}))
		for (const value of values) {
			const refused = await expect(422, 'PATCH', `/api/websites/${made.id}`, { [field]: value }, t.token);
			assert.ok(refused.error.fields[field], `${field}: ${JSON.stringify(refused)}`);
		}
	await expect(422, 'PATCH', `/api/websites/${made.id}`, { runtime: 'proxy' }, t.token);
	await expect(404, 'GET', `/api/websites/${made.id}`, undefined, other.token);
	await expect(404, 'PATCH', `/api/websites/${made.id}`, {}, other.token);
	const foreign = `${s.unique('o')}.example`;
	await expect(201, 'POST', '/api/domains', { domain: foreign, website: false }, other.token);
	assert.ok((await expect(422, 'POST', '/api/websites', { domain: foreign }, t.token)).error.fields.domain);
	// Ports belong to one account, and are an administrator's to give.
	assert.equal((await expect(409, 'PATCH', `/api/accounts/${t.username}`, { ports: [45678] })).error.code, 'conflict');
	for (const ports of [[22], [0], [70000], ['x'], 'x', [1.5]])
		assert.ok((await expect(422, 'PATCH', `/api/accounts/${t.username}`, { ports })).error.fields.ports, JSON.stringify(ports));
	await expect(403, 'PATCH', `/api/accounts/${t.username}`, { ports: [45679] }, t.token);
	// An administrator may choose a folder elsewhere; it must be there.
	assert.match((await expect(200, 'PATCH', `/api/websites/${made.id}`, { document_root: '/no/such/folder' })).last_error, /no folder/);
	assert.equal((await expect(200, 'PATCH', `/api/websites/${made.id}`, { document_root: null }, t.token)).status, 'active');
});

test('a change that was cut short before its test is taken back by the next', async () => {
	const t = await tenant(), made = await site(t), next = await site(t);
	await comes('nginx', made.domain, '/', (a) => a.status === 200);
	const file = path.join(s.dir, 'sites/nginx', `${made.domain}.conf`), good = fs.readFileSync(file, 'utf8');
	const stray = path.join(s.dir, 'sites/nginx/stray.example.conf');
	// As an action leaves it that is killed between the swap and the server's test.
	fs.linkSync(file, `${file}.before`);
	fs.writeFileSync(path.join(s.dir, 'worker/nginx.change'), `+${file}\n-${stray}\n`);
	fs.writeFileSync(`${file}.new`, 'server { untested');
	fs.renameSync(`${file}.new`, file);
	fs.writeFileSync(stray, 'untested }');
	assert.equal((await expect(200, 'PATCH', `/api/websites/${next.id}`, { aliases: [`${s.unique('al')}.example`] }, t.token)).status, 'active');
	assert.equal(fs.readFileSync(file, 'utf8'), good);
	for (const gone of [stray, `${file}.before`, path.join(s.dir, 'worker/nginx.change')])
		assert.ok(!fs.existsSync(gone), gone);
});

test('an account is deleted with its websites', async () => {
	const t = await tenant(), made = await site(t, { aliases: [`${s.unique('al')}.example`] }), second = await site(t, { web_server: 'apache' });
	const job = await expect(202, 'DELETE', `/api/accounts/${t.username}?cascade=true&confirm=${t.username}`);
	assert.deepEqual([job.kind, job.status], ['account.delete', 'succeeded']);
	for (const [server, name] of [['nginx', made.domain], ['nginx', made.aliases[0]], ['apache', second.domain]])
		await comes(server, name, '/', (a) => a.status === 404);
	assert.deepEqual(s.sql(`SELECT count(*)::int FROM postern.domain_names WHERE domain = '${made.aliases[0]}'`), [{ count: 0 }]);
	const kept = path.join(path.dirname(t.home), '.deleted', `${t.account.id}-${t.username}`);
	assert.ok(fs.existsSync(made.document_root.replace(t.home, kept)), 'files stay, for root');
});
