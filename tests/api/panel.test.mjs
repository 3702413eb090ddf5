// Dropped into a server that is in use: a real PHP panel behind a front controller, a password and error pages of its own.
// The same requests go to that server without and with our includes; our routes work, all other bytes are the same.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { root, startStack, until } from './harness.mjs';

const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
const fpm = ['/usr/sbin/php-fpm8.2', '/usr/sbin/php-fpm'].find((file) => fs.existsSync(file));
const skip = !fpm && 'php8.2-fpm is not installed';
const asRoot = process.getuid() === 0;
let s, dir, php, pid;

// Both kinds of front controller; each without our includes, with all of them, with the one that is needed, with /api/v1 alone.
const styles = {
	try_files: 'location / { try_files $uri $uri/ /index.php?$args; }',
	rewrite: 'if (!-e $request_filename) { rewrite ^(.*)$ /index.php?route=$1 last; }\n\t\trewrite ^/(?:old|api/v1/domains)$ /moved.html permanent;',
};
const variants = {
	without: () => [],
	needed: () => [`${s.dir}/nginx/postern-server.conf`],
	v1: () => [`${dir}/postern-server-v1.conf`],
	all: () => [`${root}/nginx/postern-errors.conf`, `${s.dir}/nginx/postern-server.conf`, `${root}/nginx/postern-fallback.conf`],
};
const socketOf = (style, variant) => path.join(dir, `${style}-${variant}.sock`);

function panel(style, variant) {
	return `server {
		listen unix:${socketOf(style, variant)};
		server_name panel.example;
		${variants[variant]().map((file) => `include "${file}";`).join('\n\t\t')}
		root ${dir}/htdocs;
		index index.php index.html;
		auth_basic "Panel"; auth_basic_user_file ${dir}/htpasswd;
		error_page 401 /errors/401.html; error_page 403 /errors/403.html; error_page 404 /errors/404.php;
		error_page 413 /errors/413.html; error_page 500 502 503 504 /errors/50x.html;
		add_header X-Panel yes always; add_header X-Frame-Options DENY;
		gzip on; gzip_types application/json text/plain; gzip_min_length 10;
		client_max_body_size 2m;
		${styles[style]}
		location ^~ /errors/ { auth_basic off; location ~ \\.php$ { include ${dir}/php.conf; } }
		location = /deny { deny all; }
		location /static/ { expires 30d; autoindex on; }
		location = /broken { fastcgi_pass unix:${dir}/nobody.sock; }
		location ~ \\.php(/|$) { fastcgi_split_path_info ^(.+?\\.php)(/.*)$; include ${dir}/php.conf; }
	}`;
}

before(async () => {
	if (skip)
		return;
	s = await startStack('panel', { WEB: 'nginx' }); // apache.test.mjs does the same with Apache
	dir = path.join(s.dir, 'panel');
	for (const folder of ['htdocs/errors', 'htdocs/static/sub', 'htdocs/api/v2'])
		fs.mkdirSync(path.join(dir, folder), { recursive: true });
	const show = `<?php
		header('X-Panel-Php: ' . PHP_MAJOR_VERSION);
		setcookie('panel', 'kept');
		$code = (int) ($_GET['code'] ?? 200);
		http_response_code($code);
		if (isset($_GET['type'])) header('Content-Type: ' . $_GET['type']);
		$keys = ['REQUEST_METHOD', 'REQUEST_URI', 'DOCUMENT_URI', 'SCRIPT_NAME', 'PATH_INFO', 'QUERY_STRING', 'CONTENT_TYPE', 'CONTENT_LENGTH',
			'REMOTE_USER', 'PHP_AUTH_USER', 'HTTP_AUTHORIZATION', 'HTTP_X_REQUEST_ID', 'HTTP_X_API_KEY', 'HTTP_COOKIE', 'SERVER_NAME'];
		echo basename(__FILE__), "\\n", json_encode(array_intersect_key($_SERVER, array_flip($keys)), JSON_PRETTY_PRINT), "\\n",
			strlen(file_get_contents('php://input')), ' ', json_encode($_POST), "\\n";`;
	for (const [file, text] of [
		['index.php', show], ['api/v2/index.php', show], ['api/domains.php', show], ['static/note.txt', 'a note that is long enough to be compressed\n'.repeat(20)],
		['static/sub/x.json', '{"a":"long enough to be compressed"}'], ['moved.html', 'moved\n'], ['api/v2/file.json', '{"v":2}\n'],
		['errors/401.html', 'panel 401\n'], ['errors/403.html', 'panel 403\n'], ['errors/413.html', 'panel 413\n'], ['errors/50x.html', 'panel 50x\n'],
		['errors/404.php', "<?php http_response_code(404); echo 'panel 404 ', $_SERVER['REQUEST_URI'];"],
	])
		fs.writeFileSync(path.join(dir, 'htdocs', file), text);
	fs.writeFileSync(path.join(dir, 'htpasswd'), 'u:{PLAIN}p\n');
	fs.writeFileSync(path.join(dir, 'php.conf'), `include /etc/nginx/fastcgi_params;
		fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name; fastcgi_param PATH_INFO $fastcgi_path_info;
		fastcgi_param HTTP_PROXY ""; fastcgi_pass unix:${dir}/php.sock;\n`);
	const only = spawnSync(path.join(root, 'scripts/snippet'), ['--routes', `${s.dir}/nginx/routes`, '--dir', `${root}/nginx`, '--sockets', `${s.dir}/fcgi`, '--only', 'v1'], { encoding: 'utf8' });
	assert.equal(only.status, 0, only.stderr);
	fs.writeFileSync(path.join(dir, 'postern-server-v1.conf'), only.stdout);
	fs.writeFileSync(path.join(dir, 'php-fpm.conf'), `[global]
error_log = ${dir}/php.log
daemonize = no
[panel]
listen = ${dir}/php.sock
${asRoot ? 'user = www-data\ngroup = www-data\nlisten.owner = www-data' : ''}
pm = static
pm.max_children = 2
`);
	php = spawn(fpm, ['-n', '-F', '-y', path.join(dir, 'php-fpm.conf')], { stdio: 'ignore' });
	const words = Object.keys(styles).flatMap((style) => Object.keys(variants).map((variant) => panel(style, variant)));
	fs.writeFileSync(path.join(dir, 'nginx.conf'), `${asRoot ? 'user www-data;' : ''}
worker_processes 1; pid ${dir}/nginx.pid; error_log ${dir}/error.log; events { worker_connections 200; }
http {
	access_log off; include /etc/nginx/mime.types; default_type application/octet-stream;
	${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((t) => `${t}_temp_path ${dir}/temp-${t};`).join('\n\t')}
	# the requests come by a socket, where there is no address: as on this machine
	set_real_ip_from unix:; real_ip_header X-Test-Address;
	include "${root}/nginx/postern-http.conf";
	${words.join('\n\t')}
}\n`);
	const nginx = spawnSync('nginx', ['-p', dir, '-e', `${dir}/error.log`, '-c', path.join(dir, 'nginx.conf')], { env, encoding: 'utf8' });
	assert.equal(nginx.status, 0, nginx.stderr);
	await until(() => fs.existsSync(path.join(dir, 'php.sock')) && fs.existsSync(path.join(dir, 'nginx.pid')), 'PHP and nginx listen');
	pid = Number(fs.readFileSync(path.join(dir, 'nginx.pid'), 'utf8'));
});
after(() => {
	if (pid)
		process.kill(pid, 'SIGTERM');
	php?.kill('SIGTERM');
	s?.stop();
});

// Bytes out, bytes back until the server closes.
function send(socket, bytes) {
	return new Promise((resolve, reject) => {
		const chunks = [];
		const connection = net.connect(socket, () => connection.write(bytes));
		connection.on('data', (chunk) => chunks.push(chunk));
		connection.on('error', (error) => (chunks.length || ['EPIPE', 'ECONNRESET'].includes(error.code) ? connection.destroy() : reject(error)));
		connection.on('close', () => resolve(Buffer.concat(chunks)));
	});
}
function bytesOf(method, target, headers = {}, body = '') {
	const all = { Host: 'panel.example', Connection: 'close', ...(body ? { 'Content-Length': Buffer.byteLength(body) } : {}), ...headers };
	return `${method} ${target} HTTP/1.1\r\n${Object.entries(all).map(([k, v]) => `${k}: ${v}\r\n`).join('')}\r\n${body}`;
}
async function ask(style, variant, method, target, headers = {}, body = '') {
	const raw = (await send(socketOf(style, variant), bytesOf(method, target, { 'X-Test-Address': '127.0.0.1', ...headers }, body))).toString('utf8');
	const end = raw.indexOf('\r\n\r\n'), text = raw.slice(end + 4);
	let json;
	try {
		json = JSON.parse(text);
	} catch {
		json = undefined;
	}
	return { status: Number(raw.split(' ')[1]), head: raw.slice(0, end), text, json };
}

const password = { Authorization: 'Basic dTpw' };
const form = { 'Content-Type': 'application/x-www-form-urlencoded' };
// [method, target, headers, body]; none of these is an address of ours.
const others = [
	['GET', '/'], ['GET', '/', password], ['HEAD', '/', password], ['GET', '/index.php', password], ['GET', '/index.php/deep/path?x=1', password],
	['GET', '/login', password], ['POST', '/login', { ...password, ...form }, 'user=a&password=b'], ['PUT', '/thing/7', password, '{"a":1}'],
	['DELETE', '/thing/7', password], ['OPTIONS', '/', password], ['PROPFIND', '/', password], ['TRACE', '/', password],
	['GET', '/none.html', password], ['GET', '/none.php', password], ['GET', '/errors/401.html'], ['GET', '/index.php?code=404', password],
	['GET', '/index.php?code=500', password], ['GET', '/index.php?code=503', password], ['GET', '/index.php?code=302', password],
	['GET', '/index.php?type=application/json', { ...password, 'Accept-Encoding': 'gzip' }], ['GET', '/static/note.txt', { ...password, 'Accept-Encoding': 'gzip' }],
	['GET', '/static/', password], ['GET', '/static', password], ['GET', '/static/note.txt', { ...password, Range: 'bytes=2-9' }],
	['GET', '/static/note.txt', { ...password, 'If-Modified-Since': 'Fri, 01 Jan 2100 00:00:00 GMT' }], ['GET', '/static/sub/x.json', password],
	['GET', '/deny', password], ['GET', '/broken', password], ['GET', '/old', password], ['GET', '/api', password], ['GET', '/apiary', password],
	['GET', '/API/v1/domains', password], ['GET', '/x/api/v1/domains', password], ['GET', '/?route=/api/v1/domains', password],
	['GET', '/index.php', { ...password, 'X-Request-Id': 'abc', 'X-API-Key': 'k', Cookie: 'a=b' }],
	['POST', '/upload', password, 'x'.repeat(2 * 1024 * 1024 + 1)], ['POST', '/upload', password, 'x'.repeat(1536 * 1024)],
	['GET', '/errors/none', password], ['GET', '/postern-server.conf', password],
];
// Below /api/, but none of ours: the panel's, where the fallback is not included.
const below = [
	['GET', '/api/', password], ['GET', '/api/v1', password], ['GET', '/api/v1/', password], ['GET', '/api/v2/', password], ['GET', '/api/v2/index.php?x=1', password],
	['GET', '/api/v2/file.json', password], ['POST', '/api/v2/things', { ...password, ...form }, 'a=1'], ['GET', '/api/v1/panel', password], ['GET', '/api/v1/domainsx', password],
	['GET', '/api/v1/domains.json', password], ['GET', '/api/nothing.php', password], ['DELETE', '/api/things/1', password], ['GET', '/api/v1/adminx/domains'],
];
// No address is read from these: the optional include for errors answers them, else the panel's server.
const unread = [['GET', '/%2e%2e/etc/passwd', password], ['GET', '/%zz', password], ['GET', '/', { ...password, Host: 'a b' }], ['get', '/']];
const bare = [['GET', '/api/domains', password], ['GET', '/api/domains.php', password], ['GET', '/api/domains/1', password], ['POST', '/api/tokens', password, '{}']];

const plain = (raw) => raw.toString('latin1').replace(/^(?:Date|Expires): .*\r\n/gm, '');
async function same(style, variant, requests) {
	for (const request of requests) {
		const bytes = bytesOf(...request), was = plain(await send(socketOf(style, 'without'), bytes));
		assert.match(was, /^HTTP\/1\.1 /);
		assert.equal(plain(await send(socketOf(style, variant), bytes)), was, `${style}, ${variant}: ${bytes.slice(0, 120)}`);
	}
}

for (const style of Object.keys(styles)) {
	test(`${style}: the panel is one that PHP answers, so that what is compared means something`, { skip }, async () => {
		const front = await ask(style, 'without', 'GET', '/login', password);
		assert.equal(front.status, 200);
		assert.match(front.text, /^index\.php$/m);
		assert.match(front.head, /^X-Panel-Php: 8/m);
		assert.equal((await ask(style, 'without', 'GET', '/login')).text, 'panel 401\n');
		assert.match((await ask(style, 'without', 'GET', '/none.php', password)).text, style === 'rewrite' ? /^index\.php$/m : /panel 404 \/none\.php|File not found/);
	});

	test(`${style}: every answer that is not ours is byte for byte as before`, { skip, timeout: 60000 }, async () => {
		for (const variant of ['needed', 'v1', 'all'])
			await same(style, variant, others);
		for (const variant of ['needed', 'v1'])
			await same(style, variant, [...below, ...unread]);
		await same(style, 'v1', bare);
	});

	for (const variant of ['needed', 'v1', 'all'])
		test(`${style}, ${variant}: our routes work past the panel's password, rewrites, PHP handler, caching and error pages`, { skip, timeout: 60000 }, async () => {
			const auth = { Authorization: `Bearer ${s.token}` };
			const domain = `${s.unique('panel')}.example`;
			const made = await ask(style, variant, 'POST', '/api/v1/domains', { ...auth, 'Content-Type': 'application/json' }, JSON.stringify({ domain, account: 'demo' }));
			assert.equal(made.status, 201, made.text);
			const id = made.json.data.id;
			const spellings = [`/api/v1/domains/${id}`, `/api/v1/domains.php?id=${id}`, `/api/v1/domains.php/${id}`, `/api/v1/admin/domains/${id}`, `/api/v1/admin/domains.php?id=${id}`];
			if (variant !== 'v1')
				spellings.push(`/api/domains/${id}`, `/api/domains.php?id=${id}`);
			for (const target of spellings) {
				const answer = await ask(style, variant, 'GET', target, { ...auth, 'Accept-Encoding': 'gzip' });
				assert.equal(answer.status, 200, `${target}: ${answer.text}`);
				assert.equal((answer.json.data ?? answer.json).domain, domain);
				assert.match(answer.head, /^Content-Type: application\/json; charset=utf-8\r?$/m);
				assert.match(answer.head, /^ETag: "/m);
				assert.doesNotMatch(answer.head, /^(?:X-Panel-Php|Content-Encoding|Expires|Set-Cookie|X-Powered-By):/mi);
			}
			for (const [method, target, headers, status] of [
				['GET', '/api/v1/domains', {}, 401], ['GET', '/api/v1/domains', password, 401], ['GET', '/api/v1/domains/999999999', auth, 404],
				['GET', '/api/v1/domains?nonsense=1', auth, 400], ['FOO', '/api/v1/domains', auth, 405], ['GET', '/api/v1/domains/x/y/z', auth, 404]]) {
				const answer = await ask(style, variant, method, target, headers);
				assert.equal(answer.status, status, answer.text);
				assert.equal(answer.json?.success, false, answer.text);
				assert.ok(answer.json.error.code);
			}
			const large = await ask(style, variant, 'POST', '/api/v1/domains', { ...auth, 'Content-Type': 'application/json' }, 'x'.repeat(1024 * 1024 + 1));
			assert.equal(large.status, 413);
			assert.equal(large.json?.error?.code, 'payload_too_large', large.text.slice(0, 200));
			assert.equal((await ask(style, variant, 'DELETE', `/api/v1/domains/${id}`, auth)).status, 204);
		});

	test(`${style}: the fallback answers all else below /api/ with a 404 in JSON`, { skip }, async () => {
		for (const [method, target, headers, body] of below.filter(([, target]) => target !== '/api')) {
			const answer = await ask(style, 'all', method, target, headers, body);
			assert.equal(answer.status, 404, `${target}: ${answer.text}`);
			assert.equal(answer.json?.error?.code, 'not_found', answer.text);
		}
	});
}
