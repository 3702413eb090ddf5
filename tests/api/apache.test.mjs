// The Apache includes in a virtual host with real PHP that does everything to get in the way: what is ours is ours, and
// every other answer is byte for byte what it was. Real binaries behind mod_proxy_fcgi, and started by mod_fcgid.
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { build, root, startStack, until } from './harness.mjs';

const asRoot = process.getuid() === 0;
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const basic = { Authorization: `Basic ${Buffer.from('panel:pass').toString('base64')}` };
const modules = ['mpm_event', 'authz_core', 'authz_host', 'authz_user', 'authn_core', 'authn_file', 'auth_basic', 'access_compat', 'alias',
	'dir', 'mime', 'env', 'setenvif', 'headers', 'rewrite', 'filter', 'deflate', 'expires', 'include', 'buffer', 'negotiation', 'autoindex', 'remoteip',
	'proxy', 'proxy_http', 'proxy_fcgi', 'fcgid', 'reqtimeout'];
let s, dir, port, php;

function freePorts(n) {
	const servers = Array.from({ length: n }, () => net.createServer());
	return Promise.all(servers.map((one) => new Promise((resolve) => one.listen(0, '127.0.0.1', () => resolve(one.address().port)))))
		.then((ports) => Promise.all(servers.map((one) => new Promise((resolve) => one.close(resolve)))).then(() => ports));
}
// Sends exactly these bytes; resolves with what came back until the server closed.
function send(to, bytes) {
	return new Promise((resolve, reject) => {
		const chunks = [];
		const socket = net.connect(to, '127.0.0.1', () => socket.write(bytes));
		socket.on('data', (chunk) => chunks.push(chunk));
		socket.on('error', (error) => (chunks.length ? resolve(Buffer.concat(chunks)) : reject(error)));
		socket.on('close', () => resolve(Buffer.concat(chunks)));
	});
}
function text(method, target, headers = {}, body = '') {
	const lines = Object.entries({ Host: 'panel.example', Connection: 'close', ...headers }).map(([k, v]) => `${k}: ${v}\r\n`);
	return `${method} ${target} HTTP/1.1\r\n${lines.join('')}\r\n${body}`;
}
function unchunk(body) {
	let out = '', at = 0;
	for (;;) {
		const end = body.indexOf('\r\n', at), size = parseInt(body.slice(at, end), 16);
		if (!size)
			return out;
		out += body.slice(end + 2, end + 2 + size);
		at = end + 4 + size;
	}
}
function parse(raw) {
	const [head, ...rest] = raw.toString('latin1').split('\r\n\r\n');
	const [first, ...lines] = head.split('\r\n');
	const headers = Object.fromEntries(lines.map((l) => [l.slice(0, l.indexOf(':')).toLowerCase(), l.slice(l.indexOf(':') + 2)]));
	const body = headers['transfer-encoding'] === 'chunked' ? unchunk(rest.join('\r\n\r\n')) : rest.join('\r\n\r\n');
	return { status: Number(first.split(' ')[1]), headers, body };
}
const ask = async (to, method, target, headers, body) => parse(await send(to, text(method, target, headers, body)));
const bearer = (token = s.token) => ({ Authorization: `Bearer ${token}` });
const json = { 'Content-Type': 'application/json' };

// An error that Apache gave in a binary's place, in the dialect named.
function assertError(answer, status, code, dialect) {
	assert.equal(answer.status, status);
	assert.equal(answer.headers['content-type'], 'application/json; charset=utf-8');
	assert.equal(answer.headers['cache-control'], 'no-store');
	const parsed = JSON.parse(answer.body);
	assert.equal(parsed.error.code, code);
	assert.ok(parsed.error.message && parsed.error.details);
	assert.match(parsed.request_id, uuid);
	assert.equal(parsed.request_id, answer.headers['x-request-id']);
	assert.equal(parsed.success, dialect === 'envelope' ? false : undefined);
	assert.equal('timestamp' in parsed, dialect === 'envelope');
	if (parsed.timestamp)
		assert.match(parsed.timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00$/);
}

function writePanel() {
	fs.mkdirSync(`${dir}/site/private`, { recursive: true });
	fs.mkdirSync(`${dir}/site/api/v1`, { recursive: true });
	const php_dump = `<?php
		$all = $_SERVER;
		foreach (['REMOTE_PORT', 'REQUEST_TIME', 'REQUEST_TIME_FLOAT', 'SERVER_PORT', 'HTTP_AUTHORIZATION'] as $one) unset($all[$one]);
		ksort($all);
		http_response_code((int)($_GET['status'] ?? 200));
		header('Content-Type: text/plain'); header('X-From: php');
		echo __FILE__, ' ', json_encode($all), ' ', file_get_contents('php://input');`;
	for (const [name, content] of Object.entries({
		'index.php': php_dump, 'tool.php': php_dump, 'api/v1/mine.php': php_dump, '404.php': php_dump, 'index.html': '<p>panel\n'.repeat(200),
		'style.css': 'body {}\n'.repeat(100), 'denied.html': 'panel says no\n', 'private/page.html': 'private\n',
		'.htaccess': 'RewriteEngine On\nRewriteCond %{REQUEST_FILENAME} !-f\nRewriteCond %{REQUEST_FILENAME} !-d\nRewriteRule ^ index.php [L]\n' +
			'RedirectMatch 302 ^/api/v1/domains /stolen\n',
		'private/.htaccess': `AuthType Basic\nAuthName Private\nAuthUserFile ${dir}/htpasswd\nRequire user nobody\n`,
	}))
		fs.writeFileSync(`${dir}/site/${name}`, content);
	const crypted = execFileSync('openssl', ['passwd', '-apr1', 'pass'], { encoding: 'utf8' }).trim();
	fs.writeFileSync(`${dir}/htpasswd`, `panel:${crypted}\n`);
	return `
		DocumentRoot ${dir}/site
		DirectoryIndex index.html index.php
		<Directory ${dir}/site>
			AllowOverride All
			Require all granted
		</Directory>
		<Location "/">
			AuthType Basic
			AuthName Panel
			AuthUserFile ${dir}/htpasswd
			Require valid-user
		</Location>
		<FilesMatch "\\.php$">
			SetHandler "proxy:unix:${dir}/php.sock|fcgi://localhost/"
		</FilesMatch>
		RewriteEngine On
		RewriteRule ^/old/(.*)$ /new/$1 [R=301,L]
		RewriteRule ^/api/v1/domains(.*)$ /tool.php?stolen=$1 [PT,L]
		RewriteRule ^/go/(.*)$ /tool.php?go=$1 [PT,L]
		ProxyPass /gone/ http://127.0.0.1:1/
		ProxyPass /api/v1/tokens http://127.0.0.1:1/
		ErrorDocument 401 /denied.html
		ErrorDocument 404 /404.php
		ErrorDocument 503 "the panel is busy"
		ProxyErrorOverride On 502 503
		LimitRequestBody 300000
		ExpiresActive On
		ExpiresDefault "access plus 1 year"
		Header set X-Panel yes
		SetOutputFilter DEFLATE`;
}

before(async () => {
	s = await startStack('apache-panel', { WEB: 'nginx', POSTERN_REQUIRE_HTTPS: 'off' });
	dir = fs.mkdtempSync(path.join(os.tmpdir(), 'postern-apache-'));
	const user = asRoot ? 'postgres' : os.userInfo().username; // whom the stack's database lets in: mod_fcgid's binaries run so
	const cgi = fs.existsSync(path.join(s.dir, 'app/cgi')) ? path.join(s.dir, 'app/cgi') : path.join(root, build, 'cgi');
	fs.mkdirSync(`${dir}/sockets`);
	fs.mkdirSync(`${dir}/postern`);
	for (const name of fs.readdirSync(`${root}/apache`))
		fs.copyFileSync(`${root}/apache/${name}`, `${dir}/postern/${name}`);
	for (const socket of fs.readdirSync(path.join(s.dir, 'fcgi')))
		fs.symlinkSync(path.join(s.dir, 'fcgi', socket), `${dir}/sockets/${socket}`);
	const routes = s.cli(['routes']).stdout;
	fs.writeFileSync(`${dir}/routes`, `${routes}ghosts phantoms\n`); // nothing answers for ghosts
	const snippet = (name, ...args) => {
		const made = spawnSync(`${root}/scripts/snippet`, ['--routes', `${dir}/routes`, '--dir', `${dir}/postern`, ...args]);
		assert.equal(made.status, 0, String(made.stderr));
		fs.writeFileSync(`${dir}/postern/${name}`, made.stdout);
		return `Include ${dir}/postern/${name}`;
	};
	const proxied = snippet('vhost.conf', '--sockets', `${dir}/sockets`, '--for', 'apache');
	const v1 = snippet('v1.conf', '--sockets', `${dir}/sockets`, '--for', 'apache', '--only', 'v1');
	const fcgid = snippet('fcgid.conf', '--cgi', cgi, '--for', 'apache-fcgid');
	const fallback = snippet('fallback.conf', '--for', 'apache-fallback');
	const panel = writePanel();
	const realip = fs.readFileSync(`${root}/apache/postern-remoteip.conf.sample`, 'utf8').replace('192.0.2.10', '127.0.0.1');
	const [alone, beside, all, bare, started, proxy] = await freePorts(6);
	port = { alone, beside, all, v1: bare, fcgid: started, proxy };
	const hosts = {
		alone: [], beside: [proxied], v1: [v1], all: [`Include ${dir}/postern/postern-errors.conf`, proxied, fallback],
		fcgid: [`FcgidInitialEnv POSTERN_CONFIG ${s.dir}/postern.conf`, fcgid], proxy: [realip, proxied],
	};
	fs.writeFileSync(`${dir}/php.conf`, `[global]\npid = ${dir}/php.pid\nerror_log = ${dir}/php.log\ndaemonize = no\n[panel]\n` +
		`${asRoot ? `user = ${user}\ngroup = ${user}\nlisten.owner = ${user}\n` : ''}listen = ${dir}/php.sock\npm = static\npm.max_children = 2\n`);
	fs.writeFileSync(`${dir}/apache.conf`, `
		${modules.map((m) => `LoadModule ${m}_module /usr/lib/apache2/modules/mod_${m}.so`).join('\n')}
		${asRoot ? `User ${user}\nGroup ${user}` : ''}
		ServerName panel.example
		ServerRoot ${dir}
		DefaultRuntimeDir ${dir}
		PidFile ${dir}/pid
		ErrorLog ${dir}/error.log
		TypesConfig /dev/null
		AddType text/html .html
		FcgidIPCDir ${dir}/fcgid
		FcgidProcessTableFile ${dir}/fcgid/shm
		StartServers 1
		ThreadsPerChild 20
		MaxRequestWorkers 40
		<Directory "/">
			AllowOverride None
			Require all denied
		</Directory>
		Include ${dir}/postern/postern-global.conf
		${Object.entries(port).map(([name, one]) => `Listen 127.0.0.1:${one}\n<VirtualHost 127.0.0.1:${one}>\n${panel}\n${hosts[name].join('\n')}\n</VirtualHost>`)
		.join('\n')}\n`);
	fs.mkdirSync(`${dir}/fcgid`);
	execFileSync('chmod', ['-R', 'a+rX', dir]);
	if (asRoot)
		execFileSync('chown', [user, dir, `${dir}/fcgid`]);
	php = spawn('php-fpm8.2', ['--fpm-config', `${dir}/php.conf`], { env, stdio: 'ignore' });
	await until(() => fs.existsSync(`${dir}/php.sock`), 'PHP listens');
	const apache = spawnSync('apache2', ['-f', `${dir}/apache.conf`, '-k', 'start'], { env, encoding: 'utf8' });
	assert.equal(apache.status, 0, apache.stderr);
	await until(() => fs.existsSync(`${dir}/pid`), 'Apache runs');
});
after(async () => {
	const pid = fs.existsSync(`${dir}/pid`) && Number(fs.readFileSync(`${dir}/pid`, 'utf8'));
	if (pid) {
		process.kill(pid, 'SIGTERM');
		await until(() => !fs.existsSync(`${dir}/pid`), 'Apache ends');
	}
	if (php?.exitCode === null) {
		php.kill('SIGTERM');
		await once(php, 'exit');
	}
	s?.stop();
	if (dir)
		fs.rmSync(dir, { recursive: true, force: true });
});

test('every spelling of a resource reaches its binary, past the panel\'s password, PHP, rewrites, proxies, caching and compression', async () => {
	for (const prefix of ['/api/v1', '/api/v1/admin', '/api'])
		for (const rest of ['domains', 'domains.php', 'domains?per_page=1', 'domains.php?per_page=1', 'tokens', 'api-keys.php', 'me', 'users.php']) {
			const answer = await ask(port.beside, 'GET', `${prefix}/${rest}`, { ...bearer(), 'Accept-Encoding': 'gzip' });
			assert.equal(answer.status, 200, `${prefix}/${rest} ${answer.body}`);
			assert.equal(answer.headers['content-type'], 'application/json; charset=utf-8');
			assert.equal(answer.headers['cache-control'], 'private, no-cache');
			assert.equal(answer.headers['content-encoding'], undefined);
			assert.equal(answer.headers.expires, undefined);
			assert.equal(Number(answer.headers['content-length']), Buffer.byteLength(answer.body, 'latin1'));
			assert.equal('success' in JSON.parse(answer.body), prefix !== '/api');
		}
	for (const [target, id] of [['/api/v1/domains/999999', 404], ['/api/v1/domains.php/999999', 404], ['/api/v1/domains.php?id=999999', 404],
		['/api//v1/./x/../domains', 200], ['/api/v1/dom%61ins', 200], ['/api/v1/domains/%3f%25', 404]])
		assert.equal((await ask(port.beside, 'GET', target, bearer())).status, id, target);
});

test('Authorization is passed, a second one refused where it has another token, and Basic credentials for the panel are no token', async () => {
	assert.equal((await ask(port.beside, 'GET', '/api/v1/me', bearer())).status, 200);
	assert.equal((await ask(port.beside, 'GET', '/api/v1/me', { 'X-API-Key': s.token })).status, 200);
	assert.equal((await ask(port.beside, 'GET', '/api/v1/me', { ...basic, 'X-API-Key': s.token })).status, 200);
	const none = await ask(port.beside, 'GET', '/api/v1/me', basic);
	assert.equal(none.status, 401);
	assert.equal(none.headers['www-authenticate'], 'Bearer realm="postern"');
	// Apache puts what comes twice into one line
	const both = async (one, other) => parse(await send(port.beside, `GET /api/v1/me HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${one}\r\n${other}\r\n\r\n`));
	const other = s.mint({ scopes: ['profile:read'] }).token;
	for (const name of ['Authorization: Bearer', 'X-API-Key:'])
		assert.equal((await both(`Authorization: Bearer ${s.token}`, `${name} ${s.token}`)).status, 200);
	assert.equal((await both(`X-API-Key: ${s.token}`, `X-API-Key: ${s.token}`)).status, 200);
	assert.equal((await both(`X-API-Key: ${s.token}`, `Authorization: Bearer ${other}`)).status, 400);
	const two = await both(`Authorization: Bearer ${s.token}`, `Authorization: Bearer ${other}`);
	assert.equal(two.status, 400);
	assert.equal(JSON.parse(two.body).error.code, 'bad_request');
});

test('ETag, HEAD, OPTIONS, TRACE and unknown methods are Postern\'s; no answer is cut by Range', async () => {
	const get = await ask(port.beside, 'GET', '/api/v1/domains', { ...bearer(), Range: 'bytes=0-3' });
	assert.equal(get.status, 200);
	const same = await ask(port.beside, 'GET', '/api/v1/domains', { ...bearer(), 'If-None-Match': get.headers.etag });
	assert.equal(same.status, 304);
	assert.equal(same.headers.etag, get.headers.etag);
	assert.equal(same.body, '');
	const head = await ask(port.beside, 'HEAD', '/api/v1/domains', bearer());
	assert.equal(head.status, 200);
	assert.equal(head.body, '');
	assert.equal(head.headers.etag, get.headers.etag);
	for (const hops of [{}, { 'Max-Forwards': '0' }]) {
		const options = await ask(port.beside, 'OPTIONS', '/api/v1/domains', hops);
		assert.equal(options.status, 204);
		assert.equal(options.headers.allow, 'GET, HEAD, POST, OPTIONS');
		for (const method of ['TRACE', 'FOO', 'get', 'PROPFIND']) {
			const answer = await ask(port.beside, method, '/api/v1/domains', hops);
			assert.equal(answer.status, 405, method);
			assert.equal(answer.headers.allow, 'GET, HEAD, POST, OPTIONS');
			assert.equal(JSON.parse(answer.body).error.code, 'method_not_allowed');
		}
	}
});

test('bodies: up to 1 MiB, announced or in chunks, whatever the panel takes; more is a 413 in JSON', async () => {
	const body = (size) => `{"domain":"${'x'.repeat(size - 13)}"}`;
	const chunked = (data) => `${data.length.toString(16)}\r\n${data}\r\n0\r\n\r\n`;
	for (const [target, dialect] of [['/api/v1/domains', 'envelope'], ['/api/domains', 'plain']]) {
		const headers = { ...bearer(), ...json };
		for (const size of [400000, 1048576]) {
			assert.equal((await ask(port.beside, 'POST', target, { ...headers, 'Content-Length': size }, body(size))).status, 422);
			assert.equal((await ask(port.beside, 'POST', target, { ...headers, 'Transfer-Encoding': 'chunked' }, chunked(body(size)))).status, 422);
		}
		// Announced: refused unread, by Apache. In chunks: by the binary's own limit.
		assertError(await ask(port.beside, 'POST', target, { ...headers, 'Content-Length': 2 << 20 }), 413, 'payload_too_large', dialect);
		assertError(await ask(port.beside, 'POST', target, { ...headers, 'Transfer-Encoding': 'chunked' }, chunked(body(2 << 20))), 413,
			'payload_too_large', dialect);
	}
});

test('what Apache says in our place is JSON in the dialect of the prefix, and a binary that is back is asked at once', async () => {
	for (const method of ['GET', 'POST', 'DELETE', 'HEAD'])
		for (const [target, dialect] of [['/api/v1/ghosts', 'envelope'], ['/api/v1/admin/phantoms.php', 'envelope'], ['/api/ghosts/1', 'plain']]) {
			const answer = await ask(port.beside, method, target, bearer());
			assert.equal(answer.headers['retry-after'], '1');
			if (method === 'HEAD')
				assert.equal(answer.status, 503);
			else
				assertError(answer, 503, 'unavailable', dialect);
		}
	const id = '0f8fad5b-d9cb-469f-a165-70867728950e';
	assert.equal(JSON.parse((await ask(port.beside, 'GET', '/api/ghosts', { 'X-Request-Id': id })).body).request_id, id);
	fs.symlinkSync(path.join(s.dir, 'fcgi/domains.sock'), `${dir}/sockets/ghosts.sock`);
	const back = await ask(port.beside, 'GET', '/api/ghosts', bearer());
	fs.rmSync(`${dir}/sockets/ghosts.sock`);
	assert.equal(back.status, 404);
	assert.equal(JSON.parse(back.body).error.code, 'not_found');
	// The address behind these answers does not exist to a client.
	for (const target of ['/api/v1/postern-error/503', '/api/v1/postern-error/'])
		assertError(await ask(port.beside, 'GET', target), 404, 'not_found', 'envelope');
});

test('request ids: the client\'s UUID, else one of its own for each request, also over one connection', async () => {
	const one = text('GET', '/api/v1/health', { Connection: 'keep-alive' });
	const raw = (await send(port.beside, one.repeat(20) + text('GET', '/api/v1/health'))).toString('latin1');
	const ids = [...raw.matchAll(/^X-Request-Id: (.*)\r$/gm)].map((m) => m[1]);
	assert.equal(ids.length, 21);
	assert.equal(new Set(ids).size, 21);
	for (const id of ids)
		assert.match(id, uuid);
	const id = '0f8fad5b-d9cb-469f-a165-70867728950e';
	assert.equal((await ask(port.beside, 'GET', '/api/v1/health', { 'X-Request-Id': id })).headers['x-request-id'], id);
	for (const junk of ['1', `${id}0`, 'x'.repeat(32), '"><script>'])
		assert.match((await ask(port.beside, 'GET', '/api/v1/health', { 'X-Request-Id': junk })).headers['x-request-id'], uuid);
});

// What the panel is asked; [method, target, headers, body].
const foreign = [
	['GET', '/'], ['GET', '/', basic], ['HEAD', '/', basic], ['GET', '/', { ...basic, 'Accept-Encoding': 'gzip' }], ['GET', '/index.php', basic],
	['GET', '/index.php?x=1&y=%2f', basic], ['POST', '/tool.php', { ...basic, 'Content-Length': 4 }, 'a=b\n'],
	['POST', '/tool.php', { ...basic, 'Transfer-Encoding': 'chunked' }, '3\r\nabc\r\n0\r\n\r\n'],
	['POST', '/tool.php', { ...basic, 'Content-Length': 400000 }, 'x'.repeat(400000)], ['PUT', '/style.css', { ...basic, 'Content-Length': 1 }, 'x'],
	['GET', '/tool.php?status=404', basic], ['GET', '/tool.php?status=503', basic], ['GET', '/tool.php?status=401', basic],
	['GET', '/style.css', basic], ['GET', '/style.css', { ...basic, Range: 'bytes=0-9' }], ['GET', '/style.css', { ...basic, 'If-None-Match': '*' }],
	['GET', '/nothing/here?a=b', basic], ['GET', '/missing.php', basic], ['GET', '/old/x', basic], ['GET', '/go/x', basic], ['GET', '/gone/x', basic],
	['GET', '/private/page.html', basic], ['GET', '/denied.html', basic], ['GET', '/.htaccess', basic], ['GET', '/style.css/', basic],
	['OPTIONS', '/', basic], ['OPTIONS', '/tool.php', basic], ['OPTIONS', '*'], ['TRACE', '/style.css', basic], ['DELETE', '/index.html', basic],
	['FOO', '/', basic], ['PROPFIND', '/nothing', basic], ['GET', '/postern-error/404', basic], ['GET', '/apidocs', basic],
	['GET', '/API/v1/domains', basic], ['GET', '/xapi/v1/domains', basic], ['GET', '/x/api/v1/domains', basic], ['GET', '/api', basic],
];
// Below /api/, yet none of ours.
const near = [
	['GET', '/api/', basic], ['GET', '/api/v1', basic], ['GET', '/api/v1/', basic], ['GET', '/api/v1/mine.php', basic], ['POST', '/api/v1/mine.php?x', basic],
	['GET', '/api/v1/domainsx', { ...basic }], ['GET', '/api/v1/usersx', basic], ['GET', '/api/v1/users.phpx', basic], ['GET', '/api/v2/users', basic],
	['GET', '/api/users%0a', basic], ['GET', '/api/v1/admin', basic], ['GET', '/api/v1/admin/', basic], ['GET', '/api/nope', basic],
];
// Refused before an address is looked at.
const malformed = [
	'GET / HTTP/1.1\r\nConnection: close\r\n\r\n', text('GET', '/%zz'), text('GET', '/a%2fb', basic), text('GET', '/%00', basic), text('GET', '/../..'),
	text('GET', `/${'x'.repeat(9000)}`), text('GET', '/', { 'X-Much': 'x'.repeat(9000) }), text('POST', '/', { 'Content-Length': 'x' }),
	text('GET', '/', { Expect: 'cake' }), '\x01\x02\r\n\r\n', 'GET /\r\n\r\n',
];
// All but the time; what is sent in chunks is cut into them by its timing.
function same(raw) {
	const all = raw.toString('latin1'), end = all.indexOf('\r\n\r\n') + 4, head = all.slice(0, end), body = all.slice(end);
	return (head.replace(/^(?:Date|Expires): .*\r\n/gm, '') + (/^Transfer-Encoding: chunked\r$/m.test(head) ? unchunk(body) : body))
		.replaceAll(/(?:127\.0\.0\.1|panel\.example):\d+/g, 'here');
}

test('every other answer of the virtual host is byte for byte as it was', async () => {
	const reached = { php: 0, denied: 0 };
	for (const bytes of [...[...foreign, ...near].map((one) => text(...one)), ...malformed]) {
		const was = same(await send(port.alone, bytes)), now = same(await send(port.beside, bytes));
		assert.ok(was.length > 0);
		assert.ok(now === was, `${bytes.slice(0, 80)}\n${was.slice(0, 2000)}\n--- has become ---\n${now.slice(0, 2000)}`);
		reached.php += was.includes('X-From: php');
		reached.denied += was.includes('panel says no');
	}
	assert.ok(reached.php >= 15 && reached.denied >= 1, `the panel did what is to be left alone: ${JSON.stringify(reached)}`);
	for (const one of foreign) {
		const bytes = text(...one);
		assert.ok(same(await send(port.all, bytes)) === same(await send(port.alone, bytes)), `with all includes: ${bytes.slice(0, 80)}`);
	}
});

test('/api/v1 alone can be included: the bare prefix stays the panel\'s', async () => {
	assert.equal((await ask(port.v1, 'GET', '/api/v1/domains', bearer())).status, 200);
	for (const target of ['/api/domains', '/api/domains.php?id=1', '/api/openapi.json', '/api/docs']) {
		const bytes = text('GET', target, basic);
		assert.equal(same(await send(port.v1, bytes)), same(await send(port.alone, bytes)), target);
	}
});

test('with the optional includes: JSON 404 below /api/, and JSON for what Apache refuses before it knows an address', async () => {
	for (const method of ['GET', 'POST', 'DELETE', 'FOO'])
		for (const [target, dialect] of [['/api/', 'plain'], ['/api/nope', 'plain'], ['/api/v2/users', 'plain'], ['/api/v1/nope', 'envelope'],
			['/api/v1/', 'envelope'], ['/api/v1/mine.php', 'envelope'], ['/api/v1/usersx', 'envelope']])
			assertError(await ask(port.all, method, target), 404, 'not_found', dialect);
	for (const bytes of ['GET /api/v1/me HTTP/1.1\r\nConnection: close\r\n\r\n', text('GET', '/api/v1/%zz'), text('POST', '/api/v1/me', { 'Content-Length': 'x' }),
		text('GET', '/api/v1/me', { 'X-Much': 'x'.repeat(9000) }), '\x01\x02\r\n\r\n'])
		assertError(parse(await send(port.all, bytes)), 400, 'bad_request', 'envelope');
	assertError(await ask(port.all, 'GET', `/api/v1/me?x=${'x'.repeat(9000)}`), 414, 'bad_request', 'envelope');
	const slash = await ask(port.all, 'GET', '/api/v1/domains/a%2Fb', bearer());
	assert.equal(JSON.parse(slash.body).error.code, 'not_found');
	assert.equal((await ask(port.all, 'GET', '/api/v1/domains', bearer())).status, 200);
});

test('behind a proxy, mod_remoteip\'s address is the client\'s; without it no header is believed', async () => {
	const { token } = s.mint({ scopes: ['profile:read'], allowed_ips: ['198.51.100.0/24'] });
	const via = (address) => ({ ...bearer(token), 'X-Forwarded-For': address });
	assert.equal((await ask(port.proxy, 'GET', '/api/v1/me', via('198.51.100.7'))).status, 200);
	assert.equal((await ask(port.proxy, 'GET', '/api/v1/me', via('203.0.113.9'))).status, 403);
	assert.equal((await ask(port.beside, 'GET', '/api/v1/me', via('198.51.100.7'))).status, 403);
});

test('mod_fcgid: Apache starts the binaries itself, restarts one that died and ends them', async () => {
	const gone = (read, instead) => { // threads and processes end while we look
		try {
			return read();
		} catch {
			return instead;
		}
	};
	const children = (pid) => gone(() => fs.readdirSync(`/proc/${pid}/task`), []).flatMap((task) =>
		gone(() => fs.readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number), []));
	const name = (pid) => gone(() => fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')[0], '');
	const family = (pid) => children(pid).flatMap((one) => [one, ...family(one)]);
	const apache = Number(fs.readFileSync(`${dir}/pid`, 'utf8'));
	const binaries = () => family(apache).filter((pid) => /\/cgi\/\w+$/.test(name(pid)));

	const list = await ask(port.fcgid, 'GET', '/api/v1/domains.php?per_page=1', { ...bearer(), 'Accept-Encoding': 'gzip' });
	assert.equal(list.status, 200, list.body);
	assert.equal(JSON.parse(list.body).data.resource, 'domains');
	assert.equal(list.headers['content-encoding'], undefined);
	assert.match(list.headers.etag, /^"/);
	assert.equal((await ask(port.fcgid, 'GET', '/api/domains', { ...bearer(), 'If-None-Match': '*' })).status, 304);
	const body = JSON.stringify({ username: s.unique('fcgid') });
	const made = await ask(port.fcgid, 'POST', '/api/accounts', { ...bearer(), ...json, 'Content-Length': body.length }, body);
	assert.equal(made.status, 201, made.body);
	assert.equal((await ask(port.fcgid, 'GET', `/api/v1/accounts/${JSON.parse(made.body).id}`, bearer())).status, 200);
	assert.equal((await ask(port.fcgid, 'GET', '/api/v1/me')).status, 401);
	assert.equal((await ask(port.fcgid, 'HEAD', '/api/v1/me', bearer())).body, '');
	assert.equal((await ask(port.fcgid, 'OPTIONS', '/api/v1/me')).status, 204);
	const large = `{"domain":"${'x'.repeat(1048576 - 13)}"}`;
	assert.equal((await ask(port.fcgid, 'POST', '/api/domains', { ...bearer(), ...json, 'Content-Length': large.length }, large)).status, 422);
	assertError(await ask(port.fcgid, 'POST', '/api/domains', { ...bearer(), ...json, 'Content-Length': 2 << 20 }), 413, 'payload_too_large', 'plain');
	for (const [one, ...rest] of [['GET', '/', basic], ['GET', '/nothing/here?a=b', basic], ['POST', '/tool.php', { ...basic, 'Content-Length': 4 }, 'a=b\n']])
		assert.equal(same(await send(port.fcgid, text(one, ...rest))), same(await send(port.alone, text(one, ...rest))));

	const before_ = binaries();
	assert.ok(before_.some((pid) => name(pid).endsWith('/cgi/domains')));
	for (const pid of before_)
		process.kill(pid, 'SIGKILL');
	await until(() => binaries().every((pid) => !before_.includes(pid)), 'the killed binaries are gone');
	const again = await until(async () => {
		const answer = await ask(port.fcgid, 'GET', '/api/v1/domains', bearer());
		return answer.status === 200 && answer;
	}, 'a new one serves');
	assert.equal(JSON.parse(again.body).success, true);
	const running = binaries();
	assert.ok(running.length > 0);
	process.kill(apache, 'SIGTERM');
	await until(() => !fs.existsSync(`${dir}/pid`) && running.every((pid) => !name(pid)), 'Apache took its binaries with it');
});
