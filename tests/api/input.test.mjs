// What is sent to us: strict JSON, types, bounds, sizes. Every fault names its field and the remedy, and nothing is stored.
import assert from 'node:assert/strict';
import net from 'node:net';
import { after, before, test } from 'node:test';

import { startStack } from './harness.mjs';

let s, token, stored;

before(async () => {
	s = await startStack('input');
	token = s.mint({ action_limit: 1000000 }).token;
	stored = inventory();
});
after(() => s?.stop());

const ask = (where, options = {}) => s.ask(where, { token, ...options });
// Every row of every table but the trail and the counts of requests.
function inventory() {
	const tables = s.sql(`SELECT c.relname AS name FROM pg_class c WHERE c.relnamespace = 'postern'::regnamespace AND c.relkind = 'r'
		AND c.relname !~ '^(audit|rates|refusals)' ORDER BY 1`);
	return s.psql(tables.map(({ name }) =>
		`SELECT '${name}', md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')), count(*) FROM postern.${name} t;`).join('\n'));
}
function assertError(answer, status, code, where) {
	assert.equal(answer.status, status, `${where}: ${answer.text}`);
	assert.equal(answer.json.error.code, code, where);
	assert.ok(answer.json.error.message && answer.json.error.details, where);
	assert.equal(answer.headers.get('content-type'), 'application/json; charset=utf-8');
}
// Bytes as they are; for what fetch would not send. Answers { status, json }.
function raw(bytes) {
	return new Promise((resolve, reject) => {
		const { hostname, port } = new URL(s.url);
		const socket = net.connect(Number(port), hostname, () => socket.write(bytes));
		let all = '';
		const resolved = (end) => resolve({ status: Number(all.split(' ')[1]), json: JSON.parse(all.slice(end + 4)) });
		socket.setEncoding('latin1');
		socket.on('data', (part) => {
			all += part;
			const end = all.indexOf('\r\n\r\n'), length = all.match(/\r\ncontent-length: (\d+)\r\n/i);
			if (end > 0 && length && all.length >= end + 4 + Number(length[1])) {
				socket.destroy();
				resolved(end);
			}
		});
		socket.on('error', reject);
		// An answer without a length ends with the connection.
		socket.on('end', () => (/^content-length:|^transfer-encoding:/im.test(all) || !all ? reject(new Error(`no whole answer: ${all}`)) : resolved(all.indexOf('\r\n\r\n'))));
	});
}
const creates = () => s.routes().flatMap((resource) => resource.routes.filter((r) => r.does === 'create').map((route) => ({ resource, route })));

test('bad input of every kind is a clear error that names field and remedy', async () => {
	for (const [where, body, status, field, remedy] of [
		['/api/domains', { domian: 'x.example', account: 'demo' }, 422, 'domian', /did you mean "domain"/],
		['/api/domains', { domain: 'x.example', account: 'demo', zzz: 1 }, 422, 'zzz', /leave it out/],
		['/api/domains', { domain: 'a..b', account: 'demo' }, 422, 'domain', /no two in a row/],
		['/api/domains', {}, 422, 'domain', /required/],
		['/api/tokens', { name: 'x'.repeat(51), scopes: ['domains:read'] }, 422, 'name', /1 to 50/],
		['/api/tokens', { name: 'x', scopes: ['domains:read'], rate_limit: -1 }, 422, 'rate_limit', /between 1 and 10000000/],
		['/api/tokens', { name: 'x', scopes: ['domains:read'], rateLimitRpm: 0 }, 422, 'rateLimitRpm', /between 1 and 10000000/],
		['/api/tokens', { name: 'x', scopes: ['domains:read'], rate_limit: 5, rateLimitRpm: 5 }, 422, 'rateLimitRpm', /give one/],
		['/api/tokens', { name: 'x', scopes: ['domains:read'], expires_on: '2025-02-30' }, 422, 'expires_on', /calendar/],
		['/api/tokens', { name: 'x', scopes: ['domains:read'], expires_on: '2099-01-01', expires_at: null }, 422, 'expires_on', /give one/],
		['/api/tokens', { name: 'x', scopes: ['domains:read'], expires_at: '2020-01-01T00:00:00Z' }, 422, 'expires_at', /future/],
		['/api/tokens', { name: 'x', scopes: ['domains:read'], allowed_ips: ['10.0.0.1/8'] }, 422, 'allowed_ips', /10\.0\.0\.0\/8/],
		['/api/tokens', { name: 'x', scopes: ['domains:raed'] }, 422, 'scopes', /did you mean/],
		['/api/tokens', { name: 'x' }, 422, 'scopes', /required/],
		['/api/domains?dry_rnu=true', { domain: 'x.example', account: 'demo' }, 400, 'dry_rnu', /did you mean "dry_run"/],
		['/api/domains?page=1', { domain: 'x.example', account: 'demo' }, 400, 'page', /./],
	]) {
		const answer = await ask(where, { method: 'POST', body });
		assertError(answer, status, status === 400 ? 'bad_request' : 'validation_error', JSON.stringify(body));
		assert.match(answer.json.error.fields[field] ?? '', remedy, `${JSON.stringify(body)}: ${answer.text}`);
		assert.ok(answer.json.error.message.startsWith(`${field}: `), answer.text);
	}
	assert.equal(inventory(), stored);
});

test('several faults of a body are told at once', async () => {
	const { json } = await ask('/api/domains', { method: 'POST', body: { domain: 'a..b', type: 'x', mail_enabled: 'yes', nope: 1, id: 5 } });
	assert.deepEqual(Object.keys(json.error.fields).sort(), ['domain', 'id', 'mail_enabled', 'nope', 'type']);
	assert.match(json.error.fields.domain, /empty label/, 'the fault, not that it is missing');
});

test('a body of more than 1 MiB is a 413, from the web server or from us', async () => {
	for (const where of ['/api/v1/domains', '/api/domains']) {
		const declared = await raw(`POST ${where} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/json\r\nContent-Length: ${2 << 20}\r\n\r\n`);
		assert.equal(declared.status, 413);
		assert.equal(declared.json.error.code, 'payload_too_large');
		assert.equal('success' in declared.json, where.startsWith('/api/v1'));
	}
	const padded = (bytes) => JSON.stringify({ domain: 'x.example' }).padEnd(bytes, ' ');
	assert.equal((await ask('/api/domains', { method: 'POST', body: padded((1 << 20) + 1) })).status, 413);
	assert.equal((await ask('/api/domains?dry_run=true', { method: 'POST', body: JSON.stringify({ domain: 'x.example', account: 'demo' }).padEnd(1 << 20, ' ') })).status, 200);
	assert.equal(inventory(), stored);
});

test('JSON is read strictly', async () => {
	const deep = (n) => '{"domain":' + '['.repeat(n - 1) + ']'.repeat(n - 1) + '}';
	const bad = ['', ' ', '{', '}', '{"domain":"a.example"', '{"domain":"a.example"}}', '{"domain":"a.example"} x', '{"domain":"a.example"}{}', "{'domain':'a.example'}", '{domain:"a.example"}',
		'{"domain":"a.example",}', '{"domain":"a.example","domain":"b.example"}', '{"domain":"a.example","d\\u006fmain":"b.example"}', '{"a":NaN}', '{"a":Infinity}', '{"a":-Infinity}',
		'{"a":undefined}', '{"a":True}', '{"a":01}', '{"a":.5}', '{"a":1.}', '{"a":+1}', '{"a":0x10}', '{"a":1e999}', '{"a":9223372036854775808}', '{"a":"\n"}', '{"a":"\t"}', '{"a":"\u0001"}', '{"a":"\\x41"}',
		'{"a":"\\u00"}', '{"a":"\\ud800"}', '{"a":"\\u0000"}', '{"a":"x}', '// c\n{}', '/* c */ {}', '{"a":1 "b":2}', '{"a" 1}', '\ufeff{}', deep(17), Buffer.from('{"a":"\xff"}', 'latin1'),
		Buffer.from('{"a":"\xc0\xaf"}', 'latin1'), Buffer.from('{"a":"\xed\xa0\x80"}', 'latin1'), Buffer.from([0x7b, 0x7d, 0x00]), Buffer.from('{}', 'utf16le')];
	for (const body of bad.filter((b) => b.length)) {
		const answer = await ask('/api/v1/domains', { method: 'POST', body });
		assertError(answer, 400, 'bad_request', String(body).slice(0, 80));
		assert.match(answer.json.error.message, /not valid JSON: .*, at byte \d+/, String(body).slice(0, 80));
	}
	for (const body of ['[]', '"x"', '5', 'true', 'null', '[{}]']) {
		const answer = await ask('/api/v1/domains', { method: 'POST', body });
		assertError(answer, 422, 'validation_error', body);
		assert.match(answer.json.error.message, /must be a JSON object/, body);
	}
	assertError(await ask('/api/v1/domains', { method: 'POST', body: deep(16) }), 422, 'validation_error', 'depth 16 is read');
	assertError(await ask('/api/v1/domains', { method: 'POST' }), 422, 'validation_error', 'no body');
	assert.equal((await ask('/api/domains?dry_run=1', { method: 'POST', body: ' {"domain" : "\\u0061.example",\r\n\t"account":"demo" } \n' })).json.domain, 'a.example');
	assert.equal(inventory(), stored);
});

test('a body has a Content-Type that says JSON', async () => {
	const body = '{"domain":"a.example","account":"demo"}';
	for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/jsonx', 'text/json', 'application/xml', 'multipart/form-data; boundary=x', '*/*']) {
		const answer = await ask('/api/domains?dry_run=true', { method: 'POST', body, headers: { 'Content-Type': type } });
		assertError(answer, 415, 'unsupported_media_type', type);
		assert.equal(answer.headers.get('accept'), 'application/json');
	}
	for (const type of ['application/json', 'application/json; charset=utf-8', 'APPLICATION/JSON;charset=UTF-8', 'application/merge-patch+json'])
		assert.equal((await ask('/api/domains?dry_run=true', { method: 'POST', body, headers: { 'Content-Type': type } })).status, 200, type);
	const none = await raw(`POST /api/domains HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
	assert.equal(none.status, 415);
	assert.equal(inventory(), stored);
});

test('a GET has no body, and an action that takes none takes none', async () => {
	const get = await raw(`GET /api/v1/domains HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}`);
	assert.equal(get.status, 400);
	assert.match(get.json.error.message, /no body/);
	const given = await ask('/api/v1/accounts/demo/suspend', { method: 'POST', body: { reason: 'x' } });
	assertError(given, 422, 'validation_error', 'suspend');
	assert.ok(given.json.error.fields.reason);
	assert.equal((await ask('/api/v1/accounts/demo/suspend?dry_run=true', { method: 'POST', body: {} })).status, 200);
	assertError(await ask('/api/v1/accounts/demo', { method: 'DELETE', body: { cascade: true } }), 422, 'validation_error', 'delete');
	assert.equal(inventory(), stored);
});

test('read-only fields and fields fixed at creation are refused by name', async () => {
	const samples = { int: 1, bool: true, timestamp: '2026-01-01T00:00:00Z', uuid: '0f8fad5b-d9cb-469f-a165-70867728950e', scope_list: [], cidr_list: [] };
	for (const { resource, route } of creates()) {
		const change = resource.routes.find((r) => r.does === 'patch');
		for (const field of resource.fields) {
			const body = { [field.name]: samples[field.type] ?? 'x' };
			if (!field.flags.includes('create')) {
				const { status, json } = await ask(`/api/${resource.name}${route.path}`, { method: 'POST', body });
				assert.equal(status, 422, field.name);
				assert.match(json.error.fields[field.name] ?? '', field.flags.includes('local') ? /operator's command at the machine only/ : /read-only/,
					`${resource.name}.${field.name}`);
			}
			if (change && !field.flags.includes('change')) {
				const { status, json } = await ask(`/api/${resource.name}/1`, { method: 'PATCH', body });
				assert.equal(status, 422, field.name);
				assert.match(json.error.fields[field.name] ?? '', field.flags.includes('create') ? /fixed at creation/ : /read-only/, `${resource.name}.${field.name}`);
			}
		}
	}
	assert.equal(inventory(), stored);
});

test('a value of a wrong type, or beyond its bounds, is refused by the name of its field, for every field there is', async () => {
	const text = [5, true, [], {}, ['x'], 1.5];
	const wrong = {
		int: ['5', true, [], {}, 1.5, 1e300, '0x5'], bool: ['true', 0, 1, [], {}, 'yes'],
		text: [...text, 'a\u0007b', 'a\u007fb'], enum: [...text, '', 'nope', 'NONE', ' '], name: [...text, '', 'a b', 'a.b', 'é', 'x'.repeat(51)],
		slug: [...text, '', 'A', '1a', 'a b', 'x'.repeat(51)], username: [...text, '', 'A', '1a', 'a b', '../x', 'x'.repeat(33)],
		hostname: [...text, '', 'a..b', 'a', 'a_b.example', '-a.example', '*.example.org'], email: [...text, '', 'x', '@x.example', 'x@', 'x@y', 'a b@x.example', 'a@b@x.example', `${'x'.repeat(65)}@x.example`],
		mailbox: [...text, '', 'x', 'x@', 'x@y', 'a b@x.example', 'a@b@x.example', `${'x'.repeat(65)}@x.example`],
		email_list: ['a@x.example', 5, {}, [5], [null], [''], ['x'], ['a b@x.example'], [['a@x.example']], Array(101).fill('a@x.example')],
		path: [...text, '', 'x', '/a/../b', '/a//b', '/a/./b', '/a\u0001', '/a\nb', `/${'x'.repeat(600)}`],
		timestamp: [...text, '', 'x', '2027-01-01', '2027-02-30T00:00:00Z', '2027-01-01T25:00:00Z', '2027-01-01 00:00:00', '2027-01-01T00:00:00'],
		date: [...text, '', 'x', '2025-02-30', '2027-13-01', '27-01-01', '2027-1-1', '2027-01-01T00:00:00Z'],
		uuid: [...text, '', 'x'], address: [...text, '', 'x', '1.2.3', '1.2.3.256', '::g'],
		cidr_list: ['10.0.0.0/8', 5, {}, [5], [null], ['x'], ['10.0.0.1/8'], ['10.0.0.0/33'], ['::1/64'], ['010.0.0.0/8'], [['10.0.0.0/8']], Array(101).fill('10.0.0.0/8')],
		scope_list: ['domains:read', 5, {}, [5], [null], [''], ['A:B'], ['x'.repeat(101)], ['domains read'], [[]], Array(201).fill('domains:read')],
		hostname_list: ['a.example', 5, {}, [5], [null], [''], ['a'], ['*.example.org'], ['a..b'], [['a.example']], Array(101).fill('a.example')],
		port_list: ['8080', 8080, {}, ['8080'], [null], [0], [65536], [-1], [1.5], [[8080]], Array(101).fill(8080)],
		pem: [...text, '', 'x', '-----BEGIN', `-----BEGIN X-----\n${'A'.repeat(70000)}\n-----END X-----\n`],
		uuid_list: ['x', 5, {}, [5], [null], ['x'], ['']],
	};
	let tried = 0;
	for (const { resource, route } of creates()) {
		const inputs = resource.fields.filter((f) => f.flags.includes('create'));
		assert.ok(inputs.length > 0, resource.name);
		for (const field of inputs) {
			assert.ok(wrong[field.type], `no wrong values are known for a ${field.type}: add some`);
			const values = [...wrong[field.type]];
			if (!field.flags.includes('nullable'))
				values.push(null);
			if (field.max > 0 && field.type === 'int')
				values.push(field.min - 1, field.max + 1);
			if (field.type === 'text')
				values.push('x'.repeat((field.max || 200) + 1), ...(field.min > 0 ? [''] : []));
			await Promise.all(values.map(async (value) => {
				const { status, text: shown, json } = await ask(`/api/${resource.name}${route.path}`, { method: 'POST', body: { [field.name]: value } });
				const what = `${resource.name}.${field.name} = ${JSON.stringify(value).slice(0, 60)}: ${shown}`;
				assert.equal(status, 422, what);
				assert.ok(json.error.fields[field.name] && !/^is (required|read-only|no field)/.test(json.error.fields[field.name]), what);
				tried++;
			}));
		}
	}
	assert.ok(tried > 200, `${tried} values were tried`);
	assert.equal(inventory(), stored);
});

test('input of actions is judged by their own tables', async () => {
	const { id } = s.mint({ scopes: ['domains:read'] });
	stored = inventory();
	for (const [where, body, field] of [['/revoke', {}, 'ids'], ['/revoke', { ids: 'x' }, 'ids'], ['/revoke', { ids: ['x'] }, 'ids'], ['/revoke', { ids: [id], descendants: 1 }, 'descendants'],
		['/revoke', { ids: Array(1001).fill(id) }, 'ids'], [`/${id}/revoke`, { descendant: true }, 'descendant'], [`/${id}/rotate`, { grace_s: -1 }, 'grace_s'],
		[`/${id}/rotate`, { grace_s: 86401 }, 'grace_s'], [`/${id}/rotate`, { grace_s: '5' }, 'grace_s'], [`/${id}/rotate`, { name: 'x' }, 'name']]) {
		const answer = await ask(`/api/tokens${where}`, { method: 'POST', body });
		assertError(answer, 422, 'validation_error', where);
		assert.ok(answer.json.error.fields[field], `${where} ${JSON.stringify(body).slice(0, 80)}: ${answer.text}`);
	}
	assert.equal(inventory(), stored);
});

test('texts that look like SQL, markup or templates are stored as they are', async () => {
	for (const name of ["Robert'); DROP TABLE postern.accounts;--", '<script>alert(1)</script>', '${7*7} {{7*7}} %s %n', '\\', '"', '日本語 🚪', 'NULL', '{1,2}', '\u202etxt']) {
		const made = await ask('/api/accounts', { method: 'POST', body: { username: s.unique('q'), name } });
		assert.equal(made.status, 201, made.text);
		assert.equal(made.json.name, name);
		const found = await ask(`/api/accounts?search=${encodeURIComponent(name)}`);
		assert.deepEqual(found.json.data.map((a) => a.id), [made.json.id], name);
		assert.equal((await ask(`/api/accounts/${made.json.id}`)).json.name, name);
	}
});
