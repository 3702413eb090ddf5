// Hostile input, through the web server and straight to the binaries' sockets: always an answer in JSON (or, where what came
// is no FastCGI, a closed connection), never a crash, and good requests are served as before. POSTERN_SEED=N repeats a run.
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import fs from 'node:fs';
import net from 'node:net';
import { after, before, test } from 'node:test';

import { BEGIN, PARAMS, STDIN, exchange, fcgi, pairs, parse, record, request, socketOf, stream } from './fastcgi.mjs';
import { soak, startStack, until, web } from './harness.mjs';

const COUNT = soak ? 20000 : 200;
const SEED = Number(process.env.POSTERN_SEED ?? randomInt(2 ** 31));
const limit = { timeout: soak ? 3600000 : 120000 };
const binaries = ['domains', 'tokens', 'me', 'health', 'audit'];
let s, token, processes;

before(async () => {
	s = await startStack('malformed', { POSTERN_IO_TIMEOUT_S: '1' });
	token = s.mint().token;
	processes = incarnations();
});
after(() => s?.stop());

// Process id and start time of each binary: unchanged unless one died.
const incarnations = () => binaries.map((name) => {
	const pid = s.pid(name);
	return `${name} ${pid} ${fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(' ')[21]}`;
});
async function assertServes() {
	assert.deepEqual(incarnations(), processes, 'a binary died');
	for (const name of binaries) {
		const answer = await s.ask(`/api/v1/${name}`, { token });
		assert.equal(answer.status, 200, `${name}: ${answer.text}`);
	}
}

// mulberry32: small, and the same everywhere.
function random(seed) {
	let a = seed >>> 0;
	const next = () => {
		a = (a + 0x6d2b79f5) >>> 0;
		let t = Math.imul(a ^ (a >>> 15), 1 | a);
		t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
		return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
	};
	const below = (n) => Math.floor(next() * n);
	return { below, pick: (list) => list[below(list.length)], bytes: (n) => Buffer.from(Array.from({ length: n }, () => below(256))) };
}

// Runs `one` for each case, a few at once; a failure tells how to see it again.
async function storm(name, offset, cases, one) {
	let next = 0;
	const worker = async () => {
		while (next < COUNT) {
			const n = next++, r = random(SEED + offset + n * 7919);
			const [label, ...rest] = cases(r);
			try {
				await one(label, ...rest);
			} catch (error) {
				error.message = `${name} ${n}, ${label} (POSTERN_SEED=${SEED}): ${error.message}`;
				throw error;
			}
		}
	};
	await Promise.all(Array.from({ length: 24 }, worker));
	assert.deepEqual(s.sql("SELECT path, status FROM postern.audit WHERE status >= 500 LIMIT 5"), [], `POSTERN_SEED=${SEED}`);
	await assertServes();
}

// --- over HTTP ---

const junk = (r) => r.pick(['%', '%zz', '%00', '%ff%fe', '%c0%ae%c0%ae', "'", '";--', "' OR '1'='1", '../', '..%2f', '%2e%2e/', '\\', '<script>', '${x}', '{id}', '%0d%0aX: y',
	'-1', '0', '1e9', '99999999999999999999', '9223372036854775808', 'NaN', '\u00e4', '%F0%9F%92%A9', '+', '&', '=', ';', ',', 'A'.repeat(r.below(3000)), '*', 'null', '[]', '%5b%5d']);
const targets = ['/api/v1/domains', '/api/domains', '/api/v1/domains.php', '/api/v1/tokens', '/api/v1/audit', '/api/v1/me', '/api/v1/admin/domains', '/api/health',
	'/api/v1/domains/1', '/api/v1/users', '/api/v1/nothing'];
const names = ['page', 'per_page', 'sort', 'order', 'search', 'cursor', 'status', 'domain', 'updated_since', 'id', 'dry_run', 'actor', 'ip', 'since', 'outcome', 'cascade', 'x'];
const header = (method, target, lines, version = 'HTTP/1.1') => `${method} ${target} ${version}\r\n${lines.join('\r\n')}${lines.length ? '\r\n' : ''}\r\n`;
const good = () => ['Host: localhost', 'Connection: close', `Authorization: Bearer ${token}`];
const jsonBody = (r) => r.pick([
	Buffer.from('{'), Buffer.from('[]'), Buffer.from('null'), Buffer.from('"x"'), Buffer.from(''), Buffer.from('{"domain":NaN}'), Buffer.from("{'domain':'a'}"),
	Buffer.from('{"domain":"a.example","domain":"b.example"}'), Buffer.from('{"domain":"a\u0000.example"}'), Buffer.from('{"domain":"\\u0000.example"}'),
	Buffer.from('{"domain":"\\ud800.example"}'), Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), Buffer.from('{"domain":1}'), Buffer.from('{"domain":{}}'), Buffer.from('{"domain":null}'),
	Buffer.from(`{"a":${'['.repeat(40)}${']'.repeat(40)}}`), Buffer.from('['.repeat(100000)), Buffer.from(`{"domain":"${'a'.repeat(70000)}"}`),
	Buffer.from(`{${Array.from({ length: 5000 }, (_, i) => `"f${i}":1`).join(',')}}`), Buffer.from('{"domain":"a.example"}x'), Buffer.from('\ufeff{"domain":"a.example"}'),
	Buffer.from('{"account_id":1e400,"domain":"a.example"}'), Buffer.from('{"account_id":-9223372036854775809}'), Buffer.from('{"managed":"true","domain":"x.example","account":"\' OR 1=1"}'), r.bytes(r.below(2000)),
]);

function httpCase(r) {
	const target = r.pick(targets), method = r.pick(['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS']);
	const posts = (body, extra = [], length = body.length) => Buffer.concat([
		Buffer.from(header(r.pick(['POST', 'PUT', 'PATCH']), target, [...good(), 'Content-Type: application/json', `Content-Length: ${length}`, ...extra])), body]);
	const chunked = (body) => Buffer.concat([Buffer.from(header('POST', r.pick(targets.slice(0, 10)), [...good(), 'Content-Type: application/json', 'Transfer-Encoding: chunked'])), Buffer.from(body)]);
	return r.pick([
		// the request line
		() => ['method', header(r.pick(['get', 'FOO', 'TRACE', 'CONNECT', 'PROPFIND', 'G=T', 'A'.repeat(300), '\x01GET', '']), target, good())],
		() => ['version', header('GET', target, good(), r.pick(['HTTP/3.7', 'HTTP/0.1', 'HTTP/2.0', 'HTTP/1.', 'HTTP/11', 'http/1.1', 'XTTP/1.1', 'HTTP/99999999999.1']))],
		() => ['simple', r.pick([`GET ${target}\r\n`, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'GET\r\n\r\n', ' \r\n\r\n', 'GET  HTTP/1.1\r\n\r\n', `GET ${target} x HTTP/1.1\r\n\r\n`])],
		() => ['binary', Buffer.concat([r.bytes(1 + r.below(400)), Buffer.from('\r\n\r\n')]), 'any'],
		() => ['tls', Buffer.concat([Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]), r.bytes(100), Buffer.from('\r\n\r\n')]), 'any'],
		() => ['uri length', header('GET', `${target}?search=${'a'.repeat(r.pick([4000, 7900, 9000, 33000, 100000]))}`, good())],
		// paths
		() => ['path', header(method, `${target}/${junk(r)}${r.pick(['', '/', junk(r)])}`.replaceAll(' ', '+'), good()), 'any'],
		() => ['path escape', header('GET', `${target}${r.pick(['%00', '/%00', '/%', '/%4', '%2f1', '//1', '/./1', '/../domains', '/.', ';a=b', '.php/..', '.php.php', '%2ephp', '/%c0%af', '?', '#x'])}`, good())],
		() => ['traversal', header('GET', `${target}/${r.pick(['../', '%2e%2e/', '..%2f', '..%5c']).repeat(r.below(8))}etc/passwd`, good()), 'any'],
		// parameters
		() => ['query', header('GET', `${target}?${Array.from({ length: r.below(6) }, () => `${r.pick(names)}=${junk(r).replaceAll(' ', '+').replaceAll('#', '')}`).join('&')}`, good())],
		() => ['query shape', header('GET', `${target}?${r.pick(['&&&', '===', '=x', 'page', 'page=1&page=2', '%70age=1', 'page[]=1', 'a=1&'.repeat(1500)])}`, good())],
		// headers
		() => ['two tokens', header('GET', target, [...good(), r.pick([`Authorization: Bearer ${token}`, `X-API-Key: ${token}`, 'Authorization: Basic eDp5'])])],
		() => ['token', header('GET', target, ['Host: x', 'Connection: close', `Authorization: ${r.pick(['Bearer', 'Bearer ', 'bearer\t', 'Bearer x y', '', 'Digest x'])}${r.pick(['', junk(r), token.slice(0, r.below(token.length)), `${token}x`, 'é'])}`])],
		() => ['header', header(method, target, [...good(), r.pick(['If-None-Match: ', 'If-Match: ', 'Accept: ', 'X-Request-Id: ', 'Prefer: ', 'Idempotency-Key: ', 'Content-Type: ', 'User-Agent: ', 'X-Forwarded-For: ', 'Range: bytes=', 'Expect: ', 'Cookie: '])
			+ r.pick([junk(r), '"', '"a","b","c"', 'W/"1"', ',,,,', '"'.repeat(1000), r.bytes(40).toString('latin1').replace(/[\r\n\0]/g, '')])]), 'any'],
		() => ['header size', header('GET', target, [...good(), `X-Big: ${'b'.repeat(r.pick([8000, 9000, 40000]))}`])],
		() => ['header count', header('GET', target, [...good(), ...Array.from({ length: r.pick([90, 500, 3000]) }, (_, i) => `X-${i}: ${i}`)])],
		() => ['header syntax', header('GET', target, [...good(), r.pick(['no colon', ': empty', 'Host: two', 'X Y: z', '\tfolded: x', ' continued', 'X\u0000Y: z', 'Content-Length: -1', 'Content-Length: 1, 2', 'Content-Length: 9e9', 'Content-Length: 99999999999999999999'])]), 'any'],
		() => ['no host', header('GET', target, [`Authorization: Bearer ${token}`])],
		// bodies
		() => ['body', posts(jsonBody(r))],
		() => ['body type', Buffer.from(header('POST', target, [...good(), `Content-Type: ${r.pick(['text/plain', '', 'application/json;charset=latin1', 'multipart/form-data; boundary=x', 'application/jsonx', junk(r)])}`, 'Content-Length: 2']) + '{}')],
		() => ['body size', posts(Buffer.alloc(r.pick([1048576, 1048577, 1200000]), 'x'))],
		() => ['body and GET', Buffer.from(header('GET', target, [...good(), 'Content-Length: 5']) + 'hello')],
		() => ['smuggling', Buffer.from(header('POST', target, [...good(), 'Content-Length: 6', `Transfer-Encoding: ${r.pick(['chunked', 'Chunked', 'x', 'chunked, identity', ' chunked'])}`]) + '0\r\n\r\nX')],
		() => ['two lengths', Buffer.from(header('POST', target, [...good(), 'Content-Length: 2', 'Content-Length: 3']) + '{}x')],
		() => ['chunks', chunked(r.pick(['zz\r\n', '-1\r\n', 'ffffffffffffffffff\r\n', '1;\r\n', '2\r\n{}', '2\r\n{}\r\n0\r\n\r\n', '2\r\n{}x\r\n0\r\n\r\n', '\r\n', '0\r\n\r\n'])), 'cut'],
		() => ['short body', posts(Buffer.from('{"doma'), [], 100), 'cut'],
		() => ['cut', Buffer.from(header('GET', target, good())).subarray(0, r.below(60)), 'cut'],
	])();
}

// Sends and reads one answer. `cut`: the client ends its side, so an answer may fail to come.
function sendHttp(bytes, cut) {
	const { hostname, port } = new URL(s.url);
	return new Promise((resolve, reject) => {
		const socket = net.connect(Number(port), hostname);
		const chunks = [];
		socket.on('connect', () => (cut ? socket.end(bytes) : socket.write(bytes)));
		socket.on('data', (data) => {
			chunks.push(data);
			const text = Buffer.concat(chunks).toString('latin1'), end = text.indexOf('\r\n\r\n');
			const length = /^content-length: (\d+)/im.exec(text.slice(0, end));
			if (end >= 0 && length && text.length >= end + 4 + Number(length[1]))
				socket.destroy();
		});
		socket.on('error', (error) => (['EPIPE', 'ECONNRESET'].includes(error.code) ? socket.destroy() : reject(error)));
		socket.on('close', () => resolve(Buffer.concat(chunks).toString('utf8')));
	});
}

test(`${COUNT} hostile HTTP requests are all answered in JSON, and service goes on`, limit, async () => {
	const seen = new Map();
	await storm('HTTP', 1, httpCase, async (label, bytes, expected) => {
		const raw = await sendHttp(bytes, expected === 'cut');
		if (!raw && expected === 'cut')
			return;
		assert.ok(raw, 'no answer');
		const shown = `${Buffer.from(bytes).toString('latin1').slice(0, 300)}\n->\n${raw.slice(0, 500)}`;
		if (!raw.startsWith('HTTP/')) // HTTP/0.9 has no header
			return assert.ok(JSON.parse(raw), shown);
		const status = Number(raw.split(' ')[1]), head = raw.slice(0, raw.indexOf('\r\n\r\n')), body = raw.slice(head.length + 4);
		seen.set(status, (seen.get(status) ?? 0) + 1);
		assert.ok(status >= 200 && status < 500 || status === 501 || status === 505, shown);
		assert.ok(!raw.includes('root:'), shown);
		const ours = /^content-type: application\/(problem\+)?json/im.test(head);
		if (status === 204 || status === 304 || (ours && !body))
			return undefined;
		if (expected === 'any' && !ours)
			return assert.ok([400, 404, 405, 431, 494].includes(status), shown); // an address that is none of ours
		// Apache reads a refused body to its end before it shows an error document, and shows its own where the end never comes.
		if (expected === 'cut' && web === 'apache' && !ours)
			return assert.ok(status >= 400, shown);
		assert.ok(ours, shown);
		const json = JSON.parse(body);
		if (status >= 400)
			assert.ok(json.error?.code ?? json.code, shown);
		return undefined;
	});
	assert.ok(seen.size >= 6, `a storm that met only ${[...seen.keys()]}`);
});

// --- straight to the sockets ---

const head = Buffer.from([0, 1, 0, 0, 0, 0, 0, 0]);
const whole = (params, body = Buffer.alloc(0)) => Buffer.concat([record(BEGIN, head), stream(PARAMS, params), stream(STDIN, body)]);
const be32 = (n) => Buffer.from([(n >>> 24) & 255, (n >>> 16) & 255, (n >>> 8) & 255, n & 255]);

function fcgiCase(r) {
	const binary = r.pick(binaries), path = `/api/v1/${binary}`;
	const hostile = () => r.pick([r.bytes(r.below(300)), Buffer.from(junk(r)), Buffer.alloc(r.pick([1, 8191, 8192, 65536, 200000]), 'A'), Buffer.from('\0a'), Buffer.from(''), Buffer.from('%00%ff')]);
	const spoilt = (options, times) => { // a good request with some bytes changed
		const bytes = Buffer.from(request(options));
		for (let i = 0; i < times; i++)
			bytes[r.below(bytes.length)] = r.below(256);
		return bytes;
	};
	return [binary, ...r.pick([
		() => ['noise', r.bytes(1 + r.below(2000))],
		() => ['spoilt', spoilt({ path, token }, 1 + r.below(4))],
		() => ['spoilt body', spoilt({ path, token, method: 'POST', body: { domain: 'x.example' } }, 1 + r.below(4))],
		() => ['cut', (() => { const b = request({ path, token }); return b.subarray(0, r.below(b.length)); })()],
		() => ['type', Buffer.concat([record(BEGIN, head), record(r.below(256), r.bytes(r.below(100))), request({ path, token })])],
		() => ['version', record(BEGIN, head, { version: r.below(256) })],
		() => ['id', Buffer.concat([record(BEGIN, head, { id: r.below(65536) }), stream(PARAMS, pairs({ A: 'b' }), { id: r.below(65536) }), stream(STDIN, Buffer.alloc(0))])],
		() => ['two ids', Buffer.concat([record(BEGIN, head), record(BEGIN, head, { id: 2 }), request({ path, token })])],
		() => ['role', Buffer.concat([record(BEGIN, Buffer.from([r.below(256), r.below(256), r.below(256), 0, 0, 0, 0, 0])), request({ path, token }).subarray(16)])],
		() => ['short begin', record(BEGIN, r.bytes(r.below(8)))],
		() => ['management', Buffer.concat([record(r.pick([9, 10, 11, 200]), pairs({ FCGI_MAX_CONNS: '', x: 'y'.repeat(r.below(500)) }), { id: 0 }), request({ path, token })])],
		() => ['abort', Buffer.concat([record(BEGIN, head), record(2), request({ path, token })])],
		() => ['end first', Buffer.concat([record(3, head), request({ path, token })])],
		() => ['lengths', whole(Buffer.concat([r.pick([0xffffffff, 0xfffffffe, 0x80000000, 0x80000001, 0x8000ffff, 0x80100000].map(be32)), r.pick([be32(0xffffffff), be32(0x80000005), be32(0x80ffffff), Buffer.from([5])]), r.bytes(r.below(50))]))],
		() => ['truncated pair', whole(pairs({ REQUEST_METHOD: 'GET', REQUEST_URI: path }).subarray(0, r.below(30)))],
		() => ['no params', whole(Buffer.alloc(0))],
		() => ['many params', whole(pairs(Object.fromEntries(Array.from({ length: 20000 }, (_, i) => [`HTTP_X${i}`, 'v']))))],
		() => ['param names', whole(Buffer.concat([pairs({ REQUEST_METHOD: 'GET', DOCUMENT_URI: path, HTTP_AUTHORIZATION: `Bearer ${token}` }), pairs({ 'A=B': 'c', '': 'empty', 'NUL\0': 'x\0y' }),
			pairs({ REQUEST_METHOD: 'DELETE', HTTP_AUTHORIZATION: 'Bearer twice' })]))],
		() => ['missing', request({ path, token, params: { [r.pick(['REQUEST_METHOD', 'REQUEST_URI', 'DOCUMENT_URI', 'QUERY_STRING', 'REMOTE_ADDR'])]: undefined } })],
		() => ['content length', request({ path, token, method: 'POST', body: '{"domain":"x"}', params: { CONTENT_LENGTH: r.pick(['0', '1', '-1', '14x', '99999999999999999999', '', '14 ', 'x', '4294967310']) } })],
		() => ['stdin', request({ path, token, method: 'POST', body: Buffer.alloc(r.pick([1048576, 1048577, 5000000]), '[') })],
		() => ['stdin unannounced', whole(pairs({ REQUEST_METHOD: 'POST', DOCUMENT_URI: path, HTTP_AUTHORIZATION: `Bearer ${token}`, CONTENT_TYPE: 'application/json' }), Buffer.from('{}'))],
		() => ['value', request({ path, token, method: r.pick(['GET', 'POST']), body: r.pick(['', '{}']), params: { [r.pick(['REQUEST_METHOD', 'REQUEST_URI', 'DOCUMENT_URI', 'QUERY_STRING', 'REMOTE_ADDR', 'HTTP_X_REQUEST_ID', 'HTTP_AUTHORIZATION',
			'HTTP_USER_AGENT', 'HTTP_IF_NONE_MATCH', 'HTTP_IF_MATCH', 'HTTP_ACCEPT', 'CONTENT_TYPE', 'HTTP_IDEMPOTENCY_KEY', 'HTTPS', 'REQUEST_SCHEME'])]: hostile().toString('latin1') } })],
		() => ['raw value', (() => { const v = hostile(), n = r.pick(['QUERY_STRING', 'DOCUMENT_URI', 'HTTP_USER_AGENT', 'HTTP_IDEMPOTENCY_KEY', 'HTTP_IF_NONE_MATCH']); return whole(Buffer.concat([
			pairs({ REQUEST_METHOD: 'GET', HTTP_AUTHORIZATION: `Bearer ${token}`, REMOTE_ADDR: '127.0.0.1', ...(n === 'DOCUMENT_URI' ? {} : { DOCUMENT_URI: path }) }),
			Buffer.from([n.length]), be32((v.length | 0x80000000) >>> 0), Buffer.from(n), v])); })()],
		() => ['trailing', Buffer.concat([request({ path, token }), r.bytes(r.below(500))])],
		() => ['padding', Buffer.concat([record(BEGIN, head, { padding: 255 }), record(PARAMS, pairs({ REQUEST_METHOD: 'GET', DOCUMENT_URI: path }), { padding: 255 }), record(PARAMS), record(STDIN)])],
		() => ['drip', Array.from(request({ path, token }), (byte) => Buffer.from([byte]))],
	])()];
}

test(`${COUNT} hostile FastCGI connections end in an answer in JSON or closed, and service goes on`, limit, async () => {
	const count = { answered: 0, closed: 0 };
	await storm('FastCGI', 2, (r) => { const [binary, label, bytes] = fcgiCase(r); return [`${binary} ${label}`, binary, bytes]; }, async (label, binary, bytes) => {
		const { stdout, ended } = await exchange(socketOf(s, binary), bytes);
		count[ended ? 'answered' : 'closed']++;
		if (!stdout.length)
			return;
		const answer = parse(stdout), shown = stdout.toString('latin1').slice(0, 600);
		assert.ok(answer.status >= 200 && answer.status < 500, shown);
		if (answer.status !== 204 && answer.status !== 304 && answer.text)
			assert.ok(answer.json, shown);
	});
	assert.ok(count.answered > COUNT / 10 && count.closed > COUNT / 20, JSON.stringify(count));
});

test('forty silent connections hold a binary up for no longer than io_timeout_s', limit, async () => {
	const silent = await Promise.all(Array.from({ length: 40 }, (_, i) => new Promise((resolve, reject) => {
		const socket = net.connect(socketOf(s, 'domains'), () => {
			if (i % 2) // half of them say how a request begins
				socket.write(Buffer.concat([record(BEGIN, head), record(PARAMS, pairs({ REQUEST_METHOD: 'GET' }))]));
			resolve(socket);
		});
		socket.on('error', reject);
		socket.on('close', () => { socket.over = true; });
		socket.resume();
	})));
	assert.equal((await s.ask('/api/v1/domains', { token })).status, 200);
	await until(() => silent.every((socket) => socket.over), 'the binary closes them by itself');
	await assertServes();
});

test('a hundred clients that ask for much and read nothing hold a binary up for no longer than io_timeout_s each', limit, async () => {
	const much = request({ path: '/api/openapi.json', token: s.token }); // more than a socket takes in
	// more than there are threads: those that wait have all been sent when they are accepted
	const deaf = await Promise.all(Array.from({ length: 100 }, () => new Promise((resolve, reject) => {
		const socket = net.connect(socketOf(s, 'openapi'), () => socket.write(much, () => resolve(socket)));
		socket.on('error', reject);
		socket.pause();
	})));
	const answer = await s.ask('/api/openapi.json');
	assert.equal(answer.status, 200);
	assert.ok(answer.json.openapi, 'whole, in several records');
	deaf.forEach((socket) => socket.destroy());
});

test('a body that drips in, each byte in time, is ended after a while and answered', limit, async () => {
	const whole = request({ method: 'POST', path: '/api/v1/domains', token: s.token, body: 'x'.repeat(60000) });
	const start = whole.indexOf(Buffer.from('xxxxxxxxxx'));
	const connection = net.connect(socketOf(s, 'domains'));
	const answer = [];
	connection.on('error', () => {});
	connection.on('data', (data) => answer.push(data));
	connection.write(whole.subarray(0, start));
	let at = start;
	const drip = setInterval(() => connection.write(whole.subarray(at, ++at)), 300);
	await new Promise((resolve) => connection.once('close', resolve));
	clearInterval(drip);
	assert.match(Buffer.concat(answer).toString(), /^.{8}Status: 400 Bad Request\r\n[^]*shorter or longer than its Content-Length/s);
	assert.ok(at - start < 200, 'it was ended long before its end');
});

test('a value in a record is a value: what looks like another parameter, or a second one, changes nothing', async () => {
	const ask = (params) => fcgi(socketOf(s, 'domains'), { path: '/api/v1/domains', params });
	assert.equal((await ask({ HTTP_USER_AGENT: `x\nHTTP_AUTHORIZATION=Bearer ${token}` })).status, 401);
	assert.equal((await ask({ [`X=1\0HTTP_AUTHORIZATION`]: `Bearer ${token}` })).status, 401);
});
