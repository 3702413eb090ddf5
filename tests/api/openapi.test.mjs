// The description is true: valid, complete against the tables, answered by every address it names, and of use to client authors.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { closed, joined, startPrism, tool } from '../description/prism.mjs';
import { build, root, startStack } from './harness.mjs';

const methods = ['get', 'post', 'put', 'patch', 'delete'];
const folder = path.join(root, build, 'test/description');
const editions = [{ file: 'openapi.json', query: '' }, { file: 'plain.json', query: 'dialect=plain' },
	{ file: 'openapi-3.0.json', query: 'version=3.0' }, { file: 'plain-3.0.json', query: 'version=3.0&dialect=plain' }];
let s, document, plain, routes;

before(async () => {
	s = await startStack('openapi', { WORKER: 'yes' });
	routes = s.routes();
	const answer = await s.ask('/api/openapi.json', { token: null });
	assert.equal(answer.status, 200, answer.text);
	document = answer.json;
	fs.mkdirSync(folder, { recursive: true });
	fs.writeFileSync(path.join(folder, 'openapi.json'), answer.text);
	for (const edition of editions.slice(1))
		fs.writeFileSync(path.join(folder, edition.file), (await s.ask(`/api/openapi.json?${edition.query}`, { token: null })).text);
	plain = JSON.parse(fs.readFileSync(path.join(folder, 'plain.json'), 'utf8'));
	fs.writeFileSync(path.join(folder, 'openapi.yaml'), (await s.ask('/api/openapi.yaml', { token: null })).text);
});
after(() => s?.stop());

const run = (name, args, options = {}) => spawnSync(process.execPath, [fs.realpathSync(tool(name)), ...args], {
	encoding: 'utf8', cwd: folder, env: { ...process.env, REDOCLY_TELEMETRY: 'off', REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true', NO_COLOR: '1' }, ...options });
const operations = (of = document) => Object.entries(of.paths).flatMap(([address, item]) =>
	methods.filter((m) => item[m]).map((method) => ({ address, method, item, operation: item[method] })));

test('redocly finds no error and nothing to warn of', (t) => {
	for (const name of [...editions.map((e) => e.file), 'openapi.yaml']) {
		const done = run('redocly', ['lint', name, '--format', 'json']);
		const { totals, problems } = JSON.parse(done.stdout);
		t.diagnostic(`${name}: ${totals.errors} errors, ${totals.warnings} warnings`);
		assert.deepEqual(problems.map((p) => `${p.ruleId}: ${p.message}`), []);
		assert.equal(done.status, 0, done.stderr);
	}
});

test('the YAML is the same document, and so is what the operator prints', () => {
	const done = run('redocly', ['bundle', 'openapi.yaml', '--ext', 'json', '-o', 'from-yaml.json']);
	assert.equal(done.status, 0, done.stderr);
	assert.deepEqual(JSON.parse(fs.readFileSync(path.join(folder, 'from-yaml.json'), 'utf8')), document);
	assert.deepEqual(JSON.parse(s.cli(['openapi']).stdout), document);
	assert.deepEqual(JSON.parse(s.cli(['openapi', '--dialect', 'plain', '--version', '3.0']).stdout), JSON.parse(fs.readFileSync(path.join(folder, 'plain-3.0.json'), 'utf8')));
	assert.equal(s.cli(['openapi', '--version', '2.0']).status, 2);
	assert.equal(s.cli(['openapi', '--yaml']).stdout, fs.readFileSync(path.join(folder, 'openapi.yaml'), 'utf8'));
});

test('it is answered open, closed by a setting, and under /api/v1 to platform:read only', async () => {
	const envelope = await s.ask('/api/v1/openapi.php');
	assert.deepEqual(envelope.json.data, document);
	assert.deepEqual((await s.ask('/api/openapi')).json, document);
	assert.equal((await s.ask('/api/v1/openapi', { token: null })).status, 401);
	const other = s.mint({ scopes: ['domains:read'] }).token;
	assert.equal((await s.ask('/api/v1/openapi', { token: other })).status, 403);
	for (const address of ['/api/openapi.json', '/api/openapi.yaml']) // a token never sees less than nobody
		assert.equal((await s.ask(address, { token: other })).status, 200, address);
	const yaml = await s.ask('/api/openapi.yaml', { token: null, headers: { Accept: 'application/yaml' } });
	assert.match(yaml.headers.get('content-type'), /^application\/yaml/);
	for (const token of [null, s.token]) {
		const again = await s.ask('/api/openapi.yaml', { token, headers: { 'If-None-Match': yaml.headers.get('etag') } });
		assert.equal(again.status, 304);
	}
	const shut = await startStack('openapi-closed', { POSTERN_OPEN_DOCS: 'off' });
	try {
		for (const address of ['/api/openapi.json', '/api/openapi.yaml']) {
			assert.equal((await shut.ask(address, { token: null })).status, 401, address);
			assert.equal((await shut.ask(address)).status, 200, address);
			assert.equal((await shut.ask(address, { token: shut.mint({ scopes: ['domains:read'] }).token })).status, 403, address);
		}
	} finally {
		shut.stop();
	}
});

test('every route of the tables is described in both dialects, and nothing else is', () => {
	const wanted = new Map([['get /api/docs', 'getDocs -']]);
	for (const r of routes)
		for (const route of r.routes) {
			const bare = route.path.startsWith('.');
			if (!bare)
				wanted.set(`${route.method.toLowerCase()} /api/v1/${r.name}${route.path}`, `${route.operation_id} ${route.scope}`);
			wanted.set(`${route.method.toLowerCase()} /api/${r.name}${route.path}`, `${route.operation_id} ${route.scope}`);
		}
	const described = new Map([...operations(), ...operations(plain)].map(({ address, method, operation }) =>
		[`${method} ${address}`, `${operation.operationId} ${operation['x-required-scope'] ?? '-'}`]));
	assert.deepEqual(new Map([...described].sort()), new Map([...wanted].sort()));
	for (const of of [document, plain]) {
		const ids = operations(of).map(({ operation }) => operation.operationId);
		assert.equal(new Set(ids).size, ids.length);
	}
});

test('every address that it names answers in each of its spellings, with the methods it names and no others', async () => {
	let asked = 0;
	for (const [address, item] of [...Object.entries(document.paths), ...Object.entries(plain.paths)]) {
		if (address === '/api/docs')
			continue;
		const allow = ['OPTIONS', ...methods.filter((m) => item[m]).flatMap((m) => (m === 'get' ? ['GET', 'HEAD'] : [m.toUpperCase()]))].sort();
		for (const spelling of [address, ...(item['x-spellings'] ?? [])]) {
			const target = spelling.replace('{id}', '31');
			const options = await s.ask(target, { token: null, method: 'OPTIONS' });
			assert.equal(options.status, 204, spelling);
			// `?id=` names an object in one address that lists as well
			const there = options.headers.get('allow').split(', ').sort();
			assert.deepEqual(there, allow, spelling);
			for (const method of methods.filter((m) => item[m])) {
				const open = item[method].security.some((way) => Object.keys(way).length === 0) && !spelling.includes('/admin/');
				const answer = await s.ask(target, { token: null, method: method.toUpperCase() });
				assert.equal(answer.status, open ? 200 : 401, `${method} ${spelling}: ${answer.text}`);
				asked++;
			}
		}
	}
	assert.ok(asked > 300, `only ${asked} were asked`);
});

test('clients work through Prism as a strict validating proxy, with the description\'s own examples', async () => {
	const strict = path.join(folder, 'strict.json');
	fs.writeFileSync(strict, JSON.stringify(closed(joined(document, plain))));
	const both = { paths: { ...document.paths, ...plain.paths } };
	const prism = await startPrism(strict, s.url, ['--errors']);
	const direct = s.url;
	const ask = async (status, target, options) => {
		const answer = await s.ask(target, options);
		assert.equal(answer.status, status, `${options?.method ?? 'GET'} ${target}: ${answer.text}`);
		return answer.json;
	};
	try {
		s.url = prism.url;
		for (const base of ['/api/v1', '/api']) {
			const data = (json) => (base === '/api' ? json : json.data);
			const example = (name, more) => ({ ...both.paths[`${base}/${name}`].post.requestBody.content['application/json'].example, ...more });
			const account = data(await ask(201, `${base}/accounts`, { method: 'POST', body: example('accounts') }));
			const bodies = {
				domains: [example('domains', { account_id: account.id }), { mail_enabled: false }],
				users: [example('users', { account_id: account.id }), { email: 'alice@example.org' }],
				roles: [example('roles'), { description: null }],
				tokens: [example('tokens'), { name: 'renamed' }],
			};
			for (const [name, [create, change]] of Object.entries(bodies)) {
				await ask(200, `${base}/${name}?dry_run=true`, { method: 'POST', body: create });
				const made = data(await ask(201, `${base}/${name}`, { method: 'POST', body: create, headers: { 'Idempotency-Key': `${base}${name}` } }));
				await ask(201, `${base}/${name}`, { method: 'POST', body: create, headers: { 'Idempotency-Key': `${base}${name}` } });
				const one = `${base}/${name}/${made.id}`;
				await ask(200, one);
				await ask(200, `${base}/${name}?per_page=1&order=desc`);
				await ask(200, `${one}?dry_run=true`, { method: 'PATCH', body: change });
				await ask(200, one, { method: 'PATCH', body: change });
				await ask(412, one, { method: 'PATCH', body: change, headers: { 'If-Match': '"77"' } });
				if (both.paths[`${base}/${name}/{id}`].put)
					await ask(200, one, { method: 'PUT', body: name === 'roles' ? { scopes: ['domains:read'] } : {} });
				if (both.paths[`${base}/${name}/{id}/suspend`]) {
					await ask(200, `${one}/suspend`, { method: 'POST' });
					await ask(409, `${one}/suspend`, { method: 'POST' });
					await ask(200, `${one}/unsuspend?dry_run=true`, { method: 'POST' });
				}
				if (name === 'tokens') {
					await ask(200, `${one}/rotate`, { method: 'POST', body: { grace_s: 60 } });
					await ask(200, `${base}/tokens/revoke`, { method: 'POST', body: { ids: [made.id] } });
				}
				await ask(200, `${one}?dry_run=true`, { method: 'DELETE' });
				await ask(name === 'accounts' ? 200 : 204, name === 'accounts' ? `${one}?confirm=${made.username}` : one, { method: 'DELETE', headers: { Prefer: 'wait=20' } });
				await ask(404, one);
			}
			await ask(200, `${base}/accounts/${account.username}?cascade=true&confirm=${account.username}`, { method: 'DELETE', headers: { Prefer: 'wait=20' } });
			for (const name of ['me', 'health', 'openapi', 'audit?action=create'])
				await ask(200, `${base}/${name}`);
			await ask(401, `${base}/domains`, { token: s.token.replace(/.$/, (c) => (c === '0' ? '1' : '0')) });
		}
		for (const address of ['/api/openapi.json', '/api/openapi.yaml', '/api/v1/health', '/api/docs'])
			await ask(200, address, { token: null });
	} finally {
		s.url = direct;
		await prism.stop();
	}
});

test('what openapi-typescript makes of it compiles, and a typed client lists domains', async () => {
	s.cliJson(['domain', 'create', '--domain', 'typed.example', '--account', 'demo']);
	const made = run('openapi-typescript', ['openapi.json', '-o', 'api.d.ts']);
	assert.equal(made.status, 0, made.stderr);
	fs.writeFileSync(path.join(folder, 'package.json'), '{"type":"module"}\n');
	fs.writeFileSync(path.join(folder, 'client.ts'), `import createClient from 'openapi-fetch';
import type { components, paths } from './api.js';
declare const process: { env: Record<string, string> };
const client = createClient<paths>({ baseUrl: process.env.POSTERN_URL!, headers: { Authorization: \`Bearer \${process.env.POSTERN_TOKEN}\` },
	querySerializer: { array: { style: 'form', explode: false } } });
const { data, error } = await client.GET('/api/v1/domains', { params: { query: { status: ['active', 'suspended'], sort: 'domain', per_page: 5 } } });
if (error) {
	const code: components['schemas']['Fault']['code'] = error.error.code;
	throw new Error(code);
}
const names: string[] = data.data.items.map((domain) => domain.domain);
const total: number | null = data.data.total;
const one = await client.GET('/api/v1/domains/{id}', { params: { path: { id: names[0]! } } });
const managed: boolean | undefined = one.data?.data.managed;
// @ts-expect-error: a field that there is not
void one.data?.data.nonsense;
// @ts-expect-error: a body without its required field
void (() => client.POST('/api/v1/domains', { body: {} }));
console.log(JSON.stringify({ names, total, managed }));
`);
	const compiled = run('tsc', ['--strict', '--noUncheckedIndexedAccess', '--target', 'es2022', '--module', 'nodenext', '--moduleResolution', 'nodenext', '--skipLibCheck', 'client.ts']);
	assert.equal(compiled.status, 0, compiled.stdout);
	const ran = spawnSync(process.execPath, ['client.js'], { cwd: folder, encoding: 'utf8', env: { ...process.env, POSTERN_URL: s.url, POSTERN_TOKEN: s.token } });
	assert.equal(ran.status, 0, ran.stderr);
	assert.deepEqual(JSON.parse(ran.stdout), { names: ['typed.example'], total: 1, managed: true });
});

test('names of schemas end in nothing that generators append, no enum holds null, every error has an example of its own, and every body one', () => {
	for (const of of [document, plain]) {
		for (const name of Object.keys(of.components.schemas))
			assert.doesNotMatch(name, /(?:Body|Data|Errors?|Options|Params|Payload|Responses?|Requests?|Result|Query|Headers)$/);
		assert.doesNotMatch(JSON.stringify(of), /"enum":\[[^\]]*\bnull\b/);
		const errors = Object.values(of.components.responses).filter((r) => r.content?.['application/problem+json']);
		const told = errors.map((r) => `${r.content['application/json'].example.error.code} ${r.content['application/problem+json'].example.status}`);
		assert.ok(told.length > 10 && new Set(told).size === told.length, told.join());
		for (const { method, address, operation } of operations(of))
			if (operation.requestBody && method !== 'delete')
				assert.ok(operation.requestBody.content['application/json'].example, `${method} ${address}`);
		assert.ok(operations(of).every(({ operation }) => Object.entries(operation.responses).every(([status, r]) => status < 202 || r.$ref || operation.operationId === 'getDocs')));
	}
	assert.ok(Object.keys(document.paths).every((p) => p.startsWith('/api/v1/')));
	assert.ok(Object.keys(plain.paths).every((p) => !p.startsWith('/api/v1/')));
});

test('a wrong edition is refused with its name, with a token or none, and an answer is sent compressed to who takes it', async () => {
	for (const token of [null, s.token]) {
		const wrong = await s.ask('/api/openapi.json?dialect=fancy', { token });
		assert.equal(wrong.status, 400, wrong.text);
		assert.ok(wrong.json.error.fields.dialect);
		assert.ok((await s.ask('/api/openapi.json?nonsense=1', { token })).json.error.fields.nonsense);
	}
	const packed = await fetch(`${s.url}/api/openapi.json`, { headers: { 'Accept-Encoding': 'gzip' } });
	assert.equal(packed.headers.get('content-encoding'), 'gzip');
	assert.deepEqual(await packed.json(), document);
	const again = await fetch(`${s.url}/api/openapi.json`, { headers: { 'Accept-Encoding': 'gzip', 'If-None-Match': packed.headers.get('etag') } });
	assert.equal(again.status, 304);
	assert.equal((await fetch(`${s.url}/api/v1/domains`, { headers: { 'Accept-Encoding': 'gzip', Authorization: `Bearer ${s.token}` } })).headers.get('content-encoding'), null);
});
