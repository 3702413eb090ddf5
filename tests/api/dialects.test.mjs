// How the API speaks: spellings of a path, envelope and plain, problem details, headers, conditional requests.
import assert from 'node:assert/strict';
import net from 'node:net';
import { after, before, test } from 'node:test';

import { startStack, web } from './harness.mjs';

const RFC3339_UTC = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00$/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
let s, token, domain, tenant, viewer;

before(async () => {
	s = await startStack('dialects');
	token = s.mint().token; // an administrator's, without a limit that tests would meet
	tenant = s.tenant();
	viewer = s.mint({ owner: tenant.user.username, scopes: ['domains:read'] }).token;
	for (const name of ['one.example', 'two.example', 'three.example'])
		domain = s.cliJson(['domain', 'create', '--domain', name, '--account', tenant.username]);
});
after(() => s?.stop());

const ask = (path, options = {}) => s.ask(path, { token, ...options });

// What undici would refuse to send: the bytes as they are. Answers { status, headers, text, json }.
function raw(request) {
	return new Promise((resolve, reject) => {
		const { hostname, port } = new URL(s.url);
		const socket = net.connect(Number(port), hostname, () => socket.write(request));
		let all = '';
		const finish = () => {
			const [head, ...rest] = all.split('\r\n\r\n');
			const [line, ...lines] = head.split('\r\n');
			const text = rest.join('\r\n\r\n');
			const headers = new Headers(lines.map((l) => [l.slice(0, l.indexOf(':')), l.slice(l.indexOf(':') + 1).trim()]));
			socket.destroy();
			resolve({ status: Number(line.split(' ')[1]), headers, text, json: text.startsWith('{') ? JSON.parse(text) : undefined });
		};
		socket.setEncoding('latin1');
		socket.on('data', (part) => {
			all += part;
			const end = all.indexOf('\r\n\r\n'), length = all.match(/\r\ncontent-length: (\d+)\r\n/i);
			// a server that refuses a body lingers for it: the answer is complete before the connection ends
			if (end > 0 && length && all.length >= end + 4 + Number(length[1]))
				finish();
		});
		socket.on('error', reject);
		socket.on('end', finish);
	});
}
const rawAsk = (method, path, headers = '', body = '') =>
	raw(`${method} ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer ${token}\r\n${headers}\r\n${body}`);

function assertEnvelope(answer, success) {
	const { json, headers } = answer;
	assert.equal(headers.get('content-type'), 'application/json; charset=utf-8');
	assert.deepEqual(Object.keys(json).sort(), [success ? 'data' : 'error', 'message', 'request_id', 'success', 'timestamp']);
	assert.equal(json.success, success);
	assert.equal(typeof json.message, 'string');
	assert.match(json.timestamp, RFC3339_UTC);
	assert.match(json.request_id, UUID);
	assert.equal(json.request_id, headers.get('x-request-id'));
}
function assertError(error, code, fields = false) {
	assert.deepEqual(Object.keys(error).sort(), ['code', 'details', ...(fields ? ['fields'] : []), 'message']);
	assert.equal(error.code, code);
	for (const member of ['message', 'details'])
		assert.ok(typeof error[member] === 'string' && error[member].length > 0, member);
}

test('every spelling of a list gives the same rows, in its dialect', async () => {
	const wanted = (await ask('/api/domains')).json.data;
	assert.equal(wanted.length, 3);
	for (const path of ['/api/v1/domains', '/api/v1/domains.php', '/api/v1/domains/', '/api/v1/domains.php/', '/api/v1/admin/domains',
		'/api/v1/admin/domains.php', '/api/v1/domains?page=1', '/api/v1/domains.php?per_page=20']) {
		const answer = await ask(path);
		assert.equal(answer.status, 200, path);
		assertEnvelope(answer, true);
		assert.deepEqual(Object.keys(answer.json.data), ['resource', 'items', 'total', 'page', 'per_page', 'next_cursor'], path);
		assert.deepEqual({ ...answer.json.data, items: null },
			{ resource: 'domains', items: null, total: 3, page: 1, per_page: 20, next_cursor: null }, path);
		assert.deepEqual(answer.json.data.items, wanted, path);
	}
	for (const path of ['/api/domains', '/api/domains.php', '/api/domains/']) {
		const { json } = await ask(path);
		assert.deepEqual(json, { data: wanted, total: 3, page: 1, per_page: 20, next_cursor: null }, path);
	}
});

test('every spelling of an object gives the same object, in its dialect', async () => {
	const id = domain.id, wanted = (await ask(`/api/domains/${id}`)).json;
	assert.equal(wanted.domain, 'three.example');
	for (const path of [`/api/v1/domains/${id}`, `/api/v1/domains.php?id=${id}`, `/api/v1/domains.php/${id}`, '/api/v1/domains/three.example',
		'/api/v1/domains.php?id=three.example', `/api/v1/admin/domains/${id}`, `/api/v1/admin/domains.php?id=${id}`,
		`/api/v1/admin/domains.php/${id}`]) {
		const answer = await ask(path);
		assert.equal(answer.status, 200, path);
		assertEnvelope(answer, true);
		assert.deepEqual(answer.json.data, wanted, path);
	}
	for (const path of [`/api/domains.php?id=${id}`, `/api/domains.php/${id}`, '/api/domains/three.example'])
		assert.deepEqual((await ask(path)).json, wanted, path);
});

test('actions and changes work by each spelling', async () => {
	const id = domain.id;
	for (const base of [`/api/v1/domains/${id}`, `/api/v1/domains.php/${id}`, `/api/v1/admin/domains/${id}`,
		`/api/v1/admin/domains.php/${id}`, `/api/domains/${id}`, `/api/domains.php/${id}`])
		for (const action of ['suspend', 'unsuspend']) {
			const { status, json } = await ask(`${base}/${action}`, { method: 'POST' });
			assert.equal(status, 200, `${base}/${action}`);
			assert.equal((json.data ?? json).status, action === 'suspend' ? 'suspended' : 'active');
		}
	for (const [method, body] of [['PATCH', { mail_enabled: false }], ['PUT', { type: 'addon', mail_enabled: true }]]) {
		const { status, text, json } = await ask(`/api/v1/domains.php?id=${id}`, { method, body });
		assert.equal(status, 200, text);
		assert.equal(json.data.mail_enabled, body.mail_enabled);
	}
	const made = await ask('/api/v1/domains.php', { method: 'POST', body: { domain: 'gone.example', account: tenant.username } });
	assert.equal((await ask(`/api/v1/domains.php?id=${made.json.data.id}`, { method: 'DELETE' })).status, 204);
	assert.equal((await ask(`/api/v1/domains.php?id=${id}/suspend`, { method: 'POST' })).status, 400, 'actions go by path');
});

test('an alias is another name of the same resource', async () => {
	const id = s.mint({ scopes: ['profile:read'] }).id;
	const wanted = (await ask(`/api/tokens/${id}`)).json;
	assert.equal(wanted.id, id);
	assert.deepEqual((await ask(`/api/api-keys/${id}`)).json, wanted);
	for (const path of [`/api/v1/api-keys/${id}`, `/api/v1/api-keys.php?id=${id}`, `/api/v1/admin/api-keys/${id}`])
		assert.deepEqual((await ask(path)).json.data, wanted, path);
	assert.equal((await ask('/api/v1/api-keys')).json.data.resource, 'tokens');
});

test('the admin prefix takes administrators only', async () => {
	for (const path of ['/api/v1/admin/domains', '/api/v1/admin/domains.php', `/api/v1/admin/domains/${domain.id}`]) {
		const { status, json } = await ask(path, { token: viewer });
		assert.equal(status, 403, path);
		assert.equal(json.error.code, 'forbidden');
	}
	assert.equal((await ask('/api/v1/domains', { token: viewer })).status, 200);
});

test('Location keeps the spelling of the request', async () => {
	const places = { '/api/v1/domains': '', '/api/v1/domains.php': '', '/api/v1/admin/domains': '', '/api/v1/admin/domains.php': '',
		'/api/domains': '', '/api/domains.php': '' };
	for (const base of Object.keys(places)) {
		const made = await ask(base, { method: 'POST', body: { domain: `${s.unique('l')}.example`, account: tenant.username } });
		assert.equal(made.status, 201, made.text);
		const object = made.json.data ?? made.json;
		assert.equal(made.headers.get('location'), `${base}/${object.id}`);
		const read = await ask(made.headers.get('location'));
		assert.deepEqual(read.json.data ?? read.json, object);
		assert.equal((await ask(made.headers.get('location'), { method: 'DELETE' })).status, 204);
	}
	const minted = await ask('/api/v1/api-keys', { method: 'POST', body: { name: s.unique('k'), scopes: ['domains:read'] } });
	assert.equal(minted.headers.get('location'), `/api/v1/api-keys/${minted.json.data.id}`);
});

test('an error has the shape of its dialect, and fields only where single fields are at fault', async () => {
	const missing = await ask('/api/v1/domains/999999');
	assert.equal(missing.status, 404);
	assertEnvelope(missing, false);
	assertError(missing.json.error, 'not_found');
	assert.equal(missing.json.message, missing.json.error.message);
	const plain = await ask('/api/domains/999999');
	assert.equal(plain.headers.get('content-type'), 'application/json; charset=utf-8');
	assert.deepEqual(Object.keys(plain.json), ['error', 'request_id']);
	assertError(plain.json.error, 'not_found');
	assert.equal(plain.json.request_id, plain.headers.get('x-request-id'));
	const invalid = await ask('/api/v1/domains', { method: 'POST', body: { domian: 'x.example' } });
	assert.equal(invalid.status, 422);
	assertEnvelope(invalid, false);
	assertError(invalid.json.error, 'validation_error', true);
	assert.match(invalid.json.error.fields.domian, /did you mean "domain"/);
	const parameter = await ask('/api/domains?statsu=active');
	assert.equal(parameter.status, 400);
	assertError(parameter.json.error, 'bad_request', true);
	assert.match(parameter.json.error.fields.statsu, /did you mean "status"/);
});

test('errors are problem details where Accept asks for them, with the dialect as extensions', async () => {
	const headers = { Accept: 'application/problem+json' };
	for (const [path, status, code] of [['/api/v1/domains/999999', 404, 'not_found'], ['/api/domains?nope=1', 400, 'bad_request'],
		['/api/v1/domains/1/2/3', 404, 'not_found'], ['/api/v1/roles', 403, 'forbidden']]) {
		const answer = await ask(path, { headers, token: status === 403 ? viewer : token });
		assert.equal(answer.status, status, path);
		assert.equal(answer.headers.get('content-type'), 'application/problem+json; charset=utf-8');
		assert.equal(answer.json.status, status);
		assert.equal(answer.json.type, `urn:postern:error:${code}`);
		assert.ok(answer.json.title && answer.json.detail);
		assert.equal(answer.json.error.code, code);
		assert.equal(answer.json.request_id, answer.headers.get('x-request-id'));
		assert.equal('success' in answer.json, path.startsWith('/api/v1/'));
	}
	const good = await ask('/api/v1/domains', { headers });
	assert.equal(good.status, 200);
	assert.equal(good.headers.get('content-type'), 'application/json; charset=utf-8');
});

test('Accept that allows no JSON is a 406, anything that does is served', async () => {
	for (const accept of ['text/html', 'application/json;q=0', 'image/*, text/plain', 'application/xml; charset=utf-8']) {
		const { status, json } = await ask('/api/v1/domains', { headers: { Accept: accept } });
		assert.equal(status, 406, accept);
		assert.equal(json.error.code, 'not_acceptable');
	}
	for (const accept of ['*/*', 'application/*', 'application/json', 'text/html, application/json;q=0.1', 'text/html,*/*;q=0.8',
		'application/json; charset=utf-8'])
		assert.equal((await ask('/api/v1/domains', { headers: { Accept: accept } })).status, 200, accept);
	assert.equal((await rawAsk('GET', '/api/v1/domains')).status, 200, 'no Accept at all');
});

test('a UUID of the client is the id of the request; anything else is replaced', async () => {
	const id = '0f8fad5b-d9cb-469f-a165-70867728950e';
	for (const path of ['/api/v1/domains', '/api/v1/domains/999999', '/api/v1/nothing-here', '/api/v1/health']) {
		const answer = await ask(path, { headers: { 'X-Request-Id': id }, token: path.endsWith('health') ? null : token });
		assert.equal(answer.headers.get('x-request-id'), id, path);
		if (answer.json.request_id)
			assert.equal(answer.json.request_id, id, path);
	}
	assert.deepEqual(s.sql(`SELECT DISTINCT resource, verb, status FROM postern.audit WHERE request_id = '${id}' ORDER BY status`),
		[{ resource: 'domain', verb: 'list', status: 200 }, { resource: 'domain', verb: 'read', status: 404 }]);
	const seen = new Set();
	for (const junk of ['1', 'not-a-uuid', `${id}0`, `${id} `.repeat(2), '0f8fad5bd9cb469fa16570867728950e', '"><script>']) {
		const answer = await ask('/api/v1/domains', { headers: { 'X-Request-Id': junk } });
		assertEnvelope(answer, true);
		assert.notEqual(answer.json.request_id, junk);
		seen.add(answer.json.request_id);
	}
	assert.equal(seen.size, 6);
});

test('HEAD answers as GET does, without a body', async () => {
	for (const path of ['/api/v1/domains', `/api/v1/domains.php?id=${domain.id}`, '/api/domains?per_page=1', '/api/v1/me', '/api/v1/domains/999999',
		'/api/v1/domains?nope=1', '/api/v1/nothing-here']) {
		const get = await ask(path), head = await ask(path, { method: 'HEAD' });
		assert.equal(head.status, get.status, path);
		assert.equal(head.text, '');
		const own = (h) => Object.fromEntries([...h].filter(([name]) => !['date', 'x-request-id', 'x-ratelimit-remaining', 'x-ratelimit-reset',
			'ratelimit', 'connection', 'keep-alive'].includes(name)));
		assert.deepEqual(own(head.headers), own(get.headers), path);
	}
	const both = await rawAsk('HEAD', '/api/v1/domains');
	assert.equal(both.text, '');
});

test('OPTIONS answers 204 and Allow, without a token', async () => {
	for (const [path, allow] of [['/api/v1/domains', 'GET, HEAD, POST, OPTIONS'], ['/api/domains/1', 'GET, HEAD, PUT, PATCH, DELETE, OPTIONS'],
		[`/api/v1/domains.php?id=1`, 'GET, HEAD, PUT, PATCH, DELETE, OPTIONS'], ['/api/v1/domains/1/suspend', 'POST, OPTIONS'],
		['/api/v1/tokens/revoke', 'POST, OPTIONS'], ['/api/v1/me', 'GET, HEAD, OPTIONS'], ['/api/v1/audit', 'GET, HEAD, OPTIONS']]) {
		const { status, headers, text } = await ask(path, { method: 'OPTIONS', token: null });
		assert.equal(status, 204, path);
		assert.equal(headers.get('allow'), allow, path);
		assert.equal(text, '');
	}
	assert.equal((await ask('/api/v1/domains/1/2/3', { method: 'OPTIONS', token: null })).status, 404);
});

test('a method that a path does not take is a 405 with Allow, unknown methods too', async () => {
	for (const [method, path] of [['DELETE', '/api/v1/domains'], ['PUT', '/api/domains'], ['POST', '/api/v1/domains/1'], ['GET', '/api/v1/domains/1/suspend'],
		['FOO', '/api/v1/domains'], ['PROPFIND', '/api/domains/1'], ['POST', '/api/v1/me'], ['PATCH', '/api/v1/audit'], ['DELETE', '/api/v1/domains.php']]) {
		const { status, headers, json } = await rawAsk(method, path);
		assert.equal(status, 405, `${method} ${path}`);
		assert.equal(json.error.code, 'method_not_allowed');
		assert.match(headers.get('allow') ?? '', /, OPTIONS$/, `${method} ${path}`);
		assert.ok(!headers.get('allow').split(', ').includes(method));
		assert.equal('success' in json, path.startsWith('/api/v1'));
	}
});

test('ETag and If-None-Match: an object by its version, lists and documents by their data', async () => {
	const object = await ask(`/api/v1/domains/${domain.id}`);
	const version = s.sql(`SELECT version FROM postern.domains WHERE id = ${domain.id}`)[0].version;
	assert.equal(object.headers.get('etag'), `"${version}"`);
	for (const path of [`/api/v1/domains/${domain.id}`, `/api/domains.php?id=${domain.id}`, '/api/v1/domains', '/api/domains?sort=domain&per_page=2',
		'/api/v1/domains?status=active', '/api/v1/me', '/api/v1/roles/viewer']) {
		const etag = (await ask(path)).headers.get('etag');
		assert.match(etag ?? '', /^"[0-9a-f]+"$/, path);
		assert.equal((await ask(path)).headers.get('etag'), etag, `${path}: the same data, the same tag`);
		for (const match of [etag, `W/${etag}`, `"x", ${etag}`, '*']) {
			const answer = await ask(path, { headers: { 'If-None-Match': match } });
			assert.equal(answer.status, 304, `${path} ${match}`);
			assert.equal(answer.text, '');
			assert.equal(answer.headers.get('etag'), etag);
			assert.equal(answer.headers.get('cache-control'), 'private, no-cache');
			assert.match(answer.headers.get('x-request-id'), UUID);
			assert.equal((await ask(path, { method: 'HEAD', headers: { 'If-None-Match': match } })).status, 304);
		}
		for (const match of ['"x"', etag.replaceAll('"', ''), `"${etag.replaceAll('"', '')}0"`])
			assert.equal((await ask(path, { headers: { 'If-None-Match': match } })).status, 200, `${path} ${match}`);
	}
	const before = (await ask('/api/v1/domains')).headers.get('etag');
	const changed = await ask(`/api/v1/domains/${domain.id}`, { method: 'PATCH', body: { mail_enabled: false } });
	assert.equal(changed.headers.get('etag'), `"${version + 1}"`);
	assert.equal((await ask(`/api/v1/domains/${domain.id}`, { headers: { 'If-None-Match': `"${version}"` } })).status, 200);
	assert.notEqual((await ask('/api/v1/domains')).headers.get('etag'), before);
	assert.equal((await ask('/api/v1/domains/999999', { headers: { 'If-None-Match': '*' } })).status, 404);
});

test('Cache-Control: GETs private, no-cache; all else, errors and secrets no-store', async () => {
	const control = async (path, options) => (await ask(path, options)).headers.get('cache-control');
	for (const path of ['/api/v1/domains', '/api/domains/three.example', '/api/v1/me', '/api/v1/health'])
		assert.equal(await control(path), 'private, no-cache', path);
	assert.equal(await control('/api/v1/tokens', { method: 'POST', body: { name: s.unique('c'), scopes: ['domains:read'] } }), 'no-store');
	assert.equal(await control(`/api/v1/domains/${domain.id}`, { method: 'PATCH', body: { mail_enabled: true } }), 'no-store');
	assert.equal(await control('/api/v1/domains', { method: 'OPTIONS' }), 'no-store');
	for (const path of ['/api/v1/nothing-here', '/api/v1/domains?nope=1'])
		assert.equal(await control(path), 'no-store', path);
});

test('rate and scope headers are on every answer to a recognised token, and on no other', async () => {
	const names = ['x-ratelimit-limit', 'x-ratelimit-remaining', 'x-ratelimit-reset', 'ratelimit', 'ratelimit-policy', 'x-accepted-scopes'];
	for (const [path, options, scope] of [['/api/v1/domains', {}, 'domains:read'], ['/api/v1/domains/999999', {}, 'domains:read'],
		['/api/v1/domains?nope=1', {}, 'domains:read'], ['/api/v1/domains', { method: 'POST', body: {} }, 'domains:write'],
		['/api/v1/users', { token: viewer }, 'users:read'], [`/api/v1/domains/${domain.id}`, { headers: { 'If-None-Match': '*' } }, 'domains:read']]) {
		const { headers } = await ask(path, options);
		for (const name of names)
			assert.ok(headers.get(name), `${path} ${name}`);
		assert.equal(headers.get('x-accepted-scopes'), scope);
		assert.equal(headers.get('x-ratelimit-limit'), '1000000');
	}
	for (const sent of [null, `pst_${'a'.repeat(46)}`]) {
		const { status, headers } = await ask('/api/v1/domains', { token: sent });
		assert.equal(status, 401);
		for (const name of names)
			assert.equal(headers.get(name), null, name);
		assert.equal(headers.get('www-authenticate'), `Bearer realm="postern"${sent ? ', error="invalid_token"' : ''}`);
	}
});

test('Link leads to the neighbours of a page', async () => {
	const links = async (path) => Object.fromEntries((await ask(path)).headers.get('link')?.split(', ')
		.map((l) => l.match(/^<(.*)>; rel="(.*)"$/).slice(1).reverse()) ?? []);
	const total = (await ask('/api/domains')).json.total;
	assert.ok(total >= 3);
	assert.deepEqual(Object.keys(await links('/api/v1/domains?per_page=1')), ['first', 'next']);
	assert.deepEqual(Object.keys(await links('/api/v1/domains?per_page=1&page=2')), ['first', 'prev', 'next']);
	assert.deepEqual(Object.keys(await links(`/api/v1/domains?per_page=1&page=${total}`)), ['first', 'prev']);
	let path = '/api/domains.php?per_page=1&sort=domain&order=desc', seen = [];
	while (path) {
		seen = seen.concat((await ask(path)).json.data.map((d) => d.domain));
		path = (await links(path)).next;
		if (path)
			assert.ok(path.startsWith('/api/domains.php?'));
	}
	assert.deepEqual(seen, ['two.example', 'three.example', 'one.example']);
	let { next } = await links('/api/v1/audit?per_page=1');
	assert.match(next, /cursor=/);
	assert.equal((await ask(next)).json.data.items.length, 1);
});

test('what is not there is a 404 in JSON, in the dialect of its prefix', async () => {
	for (const [path, fallback] of [['/api/v1/domains/999999'], ['/api/v1/domains/no-such.example'], ['/api/domains/0'], ['/api/domains/-1'],
		['/api/v1/domains/99999999999999999999'], ['/api/v1/tokens/7'], ['/api/v1/domains/1/nope'], ['/api/v1/domains/1/suspend/x'],
		['/api/v1/audit/999999999'], ['/api/v1/nope', true], ['/api/nope', true], ['/api/', true], ['/api/v2/domains', true],
		['/api/v1/domains.phpx', true], ['/api/v1/domainsx', true]]) {
		const answer = await ask(path);
		assert.equal(answer.status, 404, path);
		assert.equal(answer.headers.get('content-type'), 'application/json; charset=utf-8', path);
		assert.equal(answer.json?.error.code, 'not_found', path);
		assert.ok(answer.json.error.message && answer.json.error.details, path);
		assert.equal(answer.json.request_id, answer.headers.get('x-request-id'), path);
		assert.equal('success' in answer.json, path.startsWith('/api/v1'), path);
		assert.equal(answer.headers.get('cache-control'), 'no-store', path);
		if (!fallback)
			assert.equal((await ask(path, { token: null })).status, path.endsWith('/nope') || path.endsWith('/x') ? 404 : 401, path);
	}
});

test('what the web server says in our place is JSON too', async () => {
	for (const [path, plain] of [['/api/v1/domains', false], ['/api/domains', true]]) {
		const large = await rawAsk('POST', path, `Content-Type: application/json\r\nContent-Length: ${2 << 20}\r\n`);
		assert.equal(large.status, 413, path);
		assert.equal(large.json.error.code, 'payload_too_large');
		assert.equal('success' in large.json, !plain);
		const long = await rawAsk('GET', `${path}?search=${'x'.repeat(70000)}`);
		assert.equal(long.status, 414, path);
		assert.equal(long.json.error.code, 'bad_request');
		const wide = await rawAsk('GET', path, `X-Much: ${'x'.repeat(70000)}\r\n`);
		assert.equal(wide.status, web === 'apache' ? 400 : 431, path); // Apache has one status for both
		assert.equal(wide.json.error.code, 'bad_request');
	}
	const broken = await raw('GET /api/v1/domains HTTP/1.1\r\nConnection: close\r\n\r\n'); // no Host
	assert.equal(broken.status, 400);
	assert.equal(broken.json.error.code, 'bad_request');
	const trace = await rawAsk('TRACE', '/api/v1/domains');
	assert.equal(trace.status, 405);
	assert.ok(trace.json.error.code === 'method_not_allowed' && trace.headers.get('allow'));
});

test('health: open in short, in full with platform:read', async () => {
	for (const path of ['/api/v1/health', '/api/health', '/api/v1/health.php']) {
		const open = await ask(path, { token: null });
		assert.equal(open.status, 200, path);
		assert.deepEqual(open.json, { status: 'ok' }, path);
		assert.equal((await ask(path, { token: null, method: 'HEAD' })).status, 200);
	}
	const full = await ask('/api/v1/health');
	assertEnvelope(full, true);
	assert.equal(full.json.data.status, 'warning', 'there is no worker on this stack');
	assert.match(full.json.data.reasons[0], /posternd does not run/);
	for (const member of ['time', 'database', 'worker', 'audit'])
		assert.ok(member in full.json.data, member);
	for (const token of [viewer, `pst_${'a'.repeat(46)}`]) // a token never sees less than nobody
		assert.deepEqual((await ask('/api/v1/health', { token })).json, { status: 'ok' });
	assert.equal((await ask('/api/v1/admin/health', { token: null })).status, 401);
});

test('metrics: the text form of Prometheus in every spelling, and where it looks by itself', async () => {
	for (const target of ['/metrics', '/api/metrics', '/api/v1/metrics', '/api/v1/metrics.php', '/api/v1/admin/metrics']) {
		const answer = await ask(target);
		assert.equal(answer.status, 200, `${target}: ${answer.text}`);
		assert.equal(answer.headers.get('content-type'), 'text/plain; charset=utf-8', target);
		assert.match(answer.text, /^# HELP postern_worker_up .*\n# TYPE postern_worker_up gauge\npostern_worker_up 0\n/m, target);
	}
	for (const [target, options, status] of [['/metrics', { token: null }, 401], ['/metrics', { token: viewer }, 403], ['/metrics', { method: 'DELETE' }, 405], ['/metrics/', {}, 404], ['/metricsx', {}, 404]])
		assert.equal((await ask(target, options)).status, status, target);
});
