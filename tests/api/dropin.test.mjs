// The nginx includes beside a panel that does everything to get in the way (Apache's: apache.test.mjs). Stand-ins answer
// for the binaries and for PHP, so that what is seen is the web server's doing alone.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
const uuid4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/;
const responders = [];
let dir, port;

// A FastCGI responder: answers with its name, the parameters it was given and the length of the body.
// `?die` closes the connection instead; `?status=N` answers N.
function responder(name) {
	const server = net.createServer((socket) => {
		let data = Buffer.alloc(0);
		const params = [];
		let body = 0;
		const record = (type, content) => {
			const head = Buffer.from([1, type, 0, 1, content.length >> 8, content.length & 255, 0, 0]);
			return Buffer.concat([head, content]);
		};
		const answer = () => {
			const fields = Object.fromEntries(pairs(Buffer.concat(params)));
			if (fields.QUERY_STRING === 'die')
				return socket.destroy();
			const text = JSON.stringify({ name, body, params: fields });
			const status = /^status=(\d+)$/.exec(fields.QUERY_STRING)?.[1] ?? '200';
			socket.end(Buffer.concat([
				record(6, Buffer.from(`Status: ${status} X\r\nContent-Type: application/json\r\nETag: "1"\r\n` +
					`Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`)),
				record(6, Buffer.alloc(0)), record(3, Buffer.alloc(8)),
			]));
		};
		socket.on('error', () => {});
		socket.on('data', (chunk) => {
			data = Buffer.concat([data, chunk]);
			while (data.length >= 8) {
				const length = data.readUInt16BE(4), end = 8 + length + data[6];
				if (data.length < end)
					break;
				const type = data[1], content = data.subarray(8, 8 + length);
				data = data.subarray(end);
				if (type === 4)
					params.push(content);
				else if (type === 5) {
					body += length;
					if (!length)
						answer();
				}
			}
		});
	});
	responders.push(server);
	return new Promise((resolve) => server.listen(path.join(dir, `${name}.sock`), () => {
		fs.chmodSync(path.join(dir, `${name}.sock`), 0o666);
		resolve();
	}));
}

function* pairs(bytes) {
	let at = 0;
	const length = () => {
		if (bytes[at] < 128)
			return bytes[at++];
		at += 4;
		return bytes.readUInt32BE(at - 4) & 0x7fffffff;
	};
	while (at < bytes.length) {
		const name = length(), value = length();
		yield [bytes.toString('latin1', at, at + name), bytes.toString('latin1', at + name, at + name + value)];
		at += name + value;
	}
}

function freePorts(n) {
	const servers = Array.from({ length: n }, () => net.createServer());
	return Promise.all(servers.map((s) => new Promise((resolve) => s.listen(0, '127.0.0.1', () => resolve(s.address().port)))))
		.then((ports) => Promise.all(servers.map((s) => new Promise((resolve) => s.close(resolve)))).then(() => ports));
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
async function ask(to, method, target, headers = {}, body = '') {
	const lines = Object.entries({ Host: 'panel.example', Connection: 'close', ...headers }).map(([k, v]) => `${k}: ${v}\r\n`);
	return parse(await send(to, `${method} ${target} HTTP/1.1\r\n${lines.join('')}\r\n${body}`));
}
function parse(raw) {
	const [head, ...rest] = raw.toString('latin1').split('\r\n\r\n');
	const [first, ...lines] = head.split('\r\n');
	return {
		status: Number(first.split(' ')[1]), body: rest.join('\r\n\r\n'),
		headers: Object.fromEntries(lines.map((l) => [l.slice(0, l.indexOf(':')).toLowerCase(), l.slice(l.indexOf(':') + 2)])),
	};
}
// An error that nginx gave in a binary's place, in the dialect named.
function assertError(answer, status, code, dialect) {
	assert.equal(answer.status, status);
	assert.equal(answer.headers['content-type'], 'application/json; charset=utf-8');
	assert.equal(answer.headers['cache-control'], 'no-store');
	const json = JSON.parse(answer.body);
	assert.equal(json.error.code, code);
	assert.ok(json.error.message && json.error.details);
	assert.equal(json.request_id, answer.headers['x-request-id']);
	assert.equal(json.success, dialect === 'envelope' ? false : undefined);
	assert.equal('timestamp' in json, dialect === 'envelope');
}

before(async () => {
	dir = fs.mkdtempSync(path.join(os.tmpdir(), 'postern-dropin-'));
	fs.chmodSync(dir, 0o711);
	for (const name of ['domains', 'php'])
		await responder(name);
	fs.writeFileSync(`${dir}/routes`, 'domains -\nmailboxes email\n'); // nothing answers for mailboxes
	for (const only of ['', 'v1']) {
		const made = spawnSync(`${root}/scripts/snippet`,
			['--routes', `${dir}/routes`, '--dir', `${root}/nginx`, '--sockets', dir, ...(only ? ['--only', only] : [])]);
		assert.equal(made.status, 0, String(made.stderr));
		fs.writeFileSync(`${dir}/server${only}.conf`, made.stdout);
	}
	fs.mkdirSync(`${dir}/panel`);
	for (const [name, text] of [['index.html', 'panel\n'], ['404.html', 'panel 404\n'], ['50x.html', 'panel 50x\n']])
		fs.writeFileSync(`${dir}/panel/${name}`, text);
	fs.writeFileSync(`${dir}/htpasswd`, 'u:{PLAIN}p\n');
	const panel = `
		auth_basic Panel; auth_basic_user_file ${dir}/htpasswd;
		expires 30d; gzip on; gzip_types application/json; gzip_min_length 1;
		fastcgi_intercept_errors on; client_max_body_size 8m;
		error_page 404 /404.html; error_page 413 502 503 504 /50x.html;
		rewrite ^/api/(.*)$ /index.php?r=$1;
		root ${dir}/panel;
		location / { try_files $uri $uri/ /index.php; }
		location ~ \\.php$ {
			fastcgi_param REQUEST_METHOD $request_method; fastcgi_param QUERY_STRING $query_string;
			fastcgi_pass unix:${dir}/php.sock;
		}`;
	const [alone, beside, all, v1] = await freePorts(4);
	port = { alone, beside, all, v1 };
	const includes = {
		alone: [], beside: [`${dir}/server.conf`], v1: [`${dir}/serverv1.conf`],
		all: [`${root}/nginx/postern-errors.conf`, `${dir}/server.conf`, `${root}/nginx/postern-fallback.conf`],
	};
	fs.writeFileSync(`${dir}/nginx.conf`, `
		${process.getuid() === 0 ? 'user www-data;' : ''}
		worker_processes 1; pid ${dir}/pid; error_log ${dir}/error.log; events { worker_connections 200; }
		http {
			access_log off;
			${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((t) => `${t}_temp_path ${dir}/${t};`).join('\n')}
			types { text/html html; }
			include "${root}/nginx/postern-http.conf";
			${Object.keys(port).map((k) => `server { listen 127.0.0.1:${port[k]};
				${includes[k].map((f) => `include "${f}";`).join('\n')} ${panel} }`).join('\n')}
		}`);
	const nginx = spawnSync('nginx', ['-p', dir, '-e', `${dir}/error.log`, '-c', `${dir}/nginx.conf`], { env });
	assert.equal(nginx.status, 0, String(nginx.stderr));
});
after(() => {
	if (fs.existsSync(`${dir}/pid`))
		process.kill(Number(fs.readFileSync(`${dir}/pid`, 'utf8')), 'SIGTERM');
	for (const server of responders)
		server.close();
	fs.rmSync(dir, { recursive: true, force: true });
});

test('every spelling of a resource reaches its binary, past the panel\'s password, rewrites, PHP and caching', async () => {
	for (const prefix of ['/api/v1', '/api/v1/admin', '/api'])
		for (const rest of ['domains', 'domains/', 'domains/31/suspend', 'domains.php', 'domains.php?id=31', 'domains.php/31']) {
			const answer = await ask(port.beside, 'GET', `${prefix}/${rest}`, { 'Accept-Encoding': 'gzip' });
			assert.equal(answer.status, 200, rest);
			const { name, params } = JSON.parse(answer.body);
			assert.equal(name, 'domains');
			assert.equal(params.REQUEST_URI, `${prefix}/${rest}`);
			assert.equal(answer.headers.etag, '"1"');
			assert.equal(answer.headers['cache-control'], undefined);
		}
	for (const method of ['FOO', 'PROPFIND', 'OPTIONS', 'DELETE'])
		assert.equal(JSON.parse((await ask(port.beside, method, '/api/v1/domains')).body).params.REQUEST_METHOD, method);
});

test('a binary\'s own errors pass as they are', async () => {
	for (const status of [404, 413, 502, 503, 504]) {
		const answer = await ask(port.beside, 'GET', `/api/v1/domains?status=${status}`);
		assert.equal(answer.status, status);
		assert.equal(JSON.parse(answer.body).name, 'domains');
	}
});

test('a binary that is down or dies is a 503 in the dialect of the prefix, with Retry-After', async () => {
	for (const [target, dialect] of [['/api/v1/mailboxes', 'envelope'], ['/api/v1/email.php?id=1', 'envelope'],
		['/api/v1/admin/email/3', 'envelope'], ['/api/mailboxes', 'plain'], ['/api/email.php/3', 'plain'],
		['/api/v1/domains?die', 'envelope'], ['/api/domains?die', 'plain']]) {
		const answer = await ask(port.beside, 'GET', target);
		assertError(answer, 503, 'unavailable', dialect);
		assert.equal(answer.headers['retry-after'], '1');
		assert.match(answer.headers['x-request-id'], uuid4);
	}
});

test('a body of 1 MiB passes, one more byte is a 413 in the dialect of the prefix, with a length or in chunks', async () => {
	const mib = 'x'.repeat(1 << 20);
	assert.equal(JSON.parse((await ask(port.beside, 'POST', '/api/domains', { 'Content-Length': mib.length }, mib)).body).body, 1 << 20);
	const chunked = `${(mib.length + 1).toString(16)}\r\n${mib}x\r\n0\r\n\r\n`;
	for (const [prefix, dialect] of [['/api/v1', 'envelope'], ['/api', 'plain']]) {
		assertError(await ask(port.beside, 'POST', `${prefix}/domains`, { 'Content-Length': mib.length + 1 }, `${mib}x`), 413, 'payload_too_large', dialect);
		assertError(await ask(port.beside, 'POST', `${prefix}/domains`, { 'Transfer-Encoding': 'chunked' }, chunked), 413, 'payload_too_large', dialect);
	}
});

test('a binary is told the truth: address, scheme, request id; and no client names its proxy', async () => {
	const id = '11111111-2222-3333-4444-555555555555';
	const seen = async (headers) => JSON.parse((await ask(port.beside, 'GET', '/api/v1/domains', headers)).body).params;
	const params = await seen({ Proxy: 'http://evil.example', 'X-Request-Id': id, Authorization: 'Bearer x', 'X-Forwarded-For': '192.0.2.1' });
	assert.equal('HTTP_PROXY' in params, false);
	assert.equal(params.HTTP_X_REQUEST_ID, id);
	assert.equal(params.HTTP_AUTHORIZATION, 'Bearer x');
	assert.equal(params.REMOTE_ADDR, '127.0.0.1');
	assert.equal(params.REQUEST_SCHEME, 'http');
	assert.equal('HTTPS' in params, false);
	assert.match((await seen({ 'X-Request-Id': 'no"uuid' })).HTTP_X_REQUEST_ID, uuid4);
	assert.equal(JSON.parse((await ask(port.beside, 'GET', '/api/email', { 'X-Request-Id': id })).body).request_id, id);
});

test('every other answer of the server is byte for byte as before', async () => {
	const password = 'Authorization: Basic dTpw\r\n';
	const plain = (raw) => raw.toString('latin1').replace(/^(Date|Expires): .*\r\n/gm, '');
	const compare = async (others, bytes) => {
		const was = plain(await send(port.alone, bytes));
		for (const other of others)
			assert.equal(plain(await send(port[other], bytes)), was, `${other}: ${bytes.slice(0, 80)}`);
	};
	for (const method of ['GET', 'HEAD', 'POST', 'FOO', 'TRACE'])
		for (const headers of ['', password, `${password}Accept-Encoding: gzip\r\n`]) {
			const request = (target) => `${method} ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${headers}\r\n`;
			for (const target of ['/', '/index.html', '/none', '/index.php', '/x.php?y=1', '/apiary', '/API/v1/domains'])
				await compare(['beside', 'v1', 'all'], request(target));
			if (method !== 'TRACE') // which the optional include answers below /api/
				for (const target of ['/api', '/api/', '/api/x', '/api/v1/x.php', '/api/v1/domainsx', '/api/v1/domains.phpx',
					'/api/v1/domains%0a', '/api/v1/domains.json', '/postern-error/400'])
					await compare(['beside', 'v1'], request(target));
		}
	await compare(['beside', 'v1', 'all'], 'GET /none HTTP/1.1\r\nConnection: close\r\n\r\n');
	await compare(['beside', 'v1', 'all'], `GET /none HTTP/1.1\r\nHost: x\r\nX: ${'a'.repeat(9000)}\r\n\r\n`);
	await compare(['beside', 'v1'], 'get / HTTP/1.1\r\nHost: x\r\n\r\n');
});

test('/api/v1 alone leaves the bare prefix to the panel', async () => {
	assert.equal(JSON.parse((await ask(port.v1, 'GET', '/api/v1/domains.php')).body).name, 'domains');
	assert.equal((await ask(port.v1, 'GET', '/api/domains')).status, 401);
	assert.equal(JSON.parse((await ask(port.v1, 'GET', '/api/domains', { Authorization: 'Basic dTpw' })).body).name, 'php');
});

test('with the optional include, errors before a URL is known are JSON', async () => {
	for (const [bytes, status, code, dialect] of [
		['get / HTTP/1.1\r\nHost: x\r\n\r\n', 400, 'bad_request', 'envelope'],
		['\x16\x03\x01\r\n\r\n', 400, 'bad_request', 'envelope'],
		['GET /../../etc HTTP/1.1\r\nHost: x\r\n\r\n', 400, 'bad_request', 'envelope'],
		['GET /api/v1/domains HTTP/1.1\r\n\r\n', 400, 'bad_request', 'envelope'],
		['GET /api/domains HTTP/1.1\r\nHost: x\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n', 400, 'bad_request', 'plain'],
		['GET / HTTP/3.7\r\nHost: x\r\n\r\n', 505, 'bad_request', 'envelope'],
		[`GET /${'a'.repeat(9000)} HTTP/1.1\r\nHost: x\r\n\r\n`, 414, 'bad_request', 'envelope'],
		[`GET /api/domains HTTP/1.1\r\nHost: x\r\nX: ${'a'.repeat(9000)}\r\n\r\n`, 431, 'bad_request', 'plain'],
		['TRACE /api/v1/domains HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 405, 'method_not_allowed', 'envelope'],
		['TRACE /api/domains HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 405, 'method_not_allowed', 'plain'],
	]) {
		const answer = parse(await send(port.all, bytes));
		assertError(answer, status, code, dialect);
		assert.equal('allow' in answer.headers, status === 405);
	}
});

test('with the optional fallback, all else below /api/ is a 404 in the dialect of the prefix', async () => {
	for (const [target, dialect] of [['/api/', 'plain'], ['/api/x', 'plain'], ['/api/x.php', 'plain'], ['/api/v1', 'envelope'],
		['/api/v1/', 'envelope'], ['/api/v1/x.php?y', 'envelope'], ['/api/v1/admin/x', 'envelope'], ['/api/v1x', 'plain']])
		assertError(await ask(port.all, 'POST', target), 404, 'not_found', dialect);
	assert.equal(JSON.parse((await ask(port.all, 'GET', '/api/v1/domains')).body).name, 'domains');
});
