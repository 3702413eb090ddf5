// What existing clients of such panels call: sixteen .php endpoints in the envelope dialect, and four bare ones in the plain one.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { mint } from './credentials.mjs';
import { startStack } from './harness.mjs';

const endpoints = ['me', 'accounts', 'domains', 'websites', 'email', 'databases', 'ssl', 'backups', 'jobs', 'cron', 'health', 'server-health', 'services',
	'settings', 'openapi', 'release-audit'];
let s, resources, tenant, viewer;

before(async () => {
	s = await startStack('clients');
	resources = s.routes();
	tenant = s.tenant();
	viewer = s.cliJson(['user', 'create', '--username', s.unique('v'), '--account', tenant.username, '--role', 'viewer']);
	s.token = s.mint({ scopes: ['*'] }).token;
});
after(() => s?.stop());

const resourceOf = (name) => resources.find((r) => r.name === name || r.alias === name);
const reading = (name) => resourceOf(name)?.routes.find((r) => r.method === 'GET' && r.path === '');

test('there are sixteen .php endpoints, each a route of the tables', () => {
	assert.equal(endpoints.length, 16);
	assert.deepEqual(endpoints.filter((name) => !reading(name)), []);
});

for (const name of endpoints)
	test(`/api/v1/${name}.php answers a token that holds exactly the scope it needs, and no other`, async () => {
		const route = reading(name);
		assert.ok(route, `there is no resource ${name}`);
		const administrators = route.role === 'admin';
		const owner = administrators ? {} : { owner: route.role === 'viewer' ? viewer.username : tenant.user.username };
		const other = route.scope === 'events:read' ? 'users:read' : 'events:read';
		const target = `/api/v1/${name}.php`;
		const holder = await mint(s, { ...owner, scopes: [route.scope] });
		const answer = await s.ask(target, { token: holder.token });
		assert.equal(answer.status, 200, answer.text);
		assert.equal(answer.json.success, true);
		assert.equal(typeof answer.json.data, 'object');
		assert.equal(answer.headers.get('x-accepted-scopes'), route.scope);
		if (route.does === 'list')
			assert.ok(answer.json.data.resource === resourceOf(name).name && Array.isArray(answer.json.data.items), answer.text);
		assert.equal((await s.ask(target, { method: 'HEAD', token: holder.token })).status, 200);
		const refused = [await mint(s, { ...owner, scopes: [other] }), await mint(s, { ...owner, scopes: ['*'], deny: [route.scope] })];
		if (administrators)
			refused.push(await mint(s, { owner: tenant.user.username, scopes: [route.scope, '*'] }), await mint(s, { account: tenant.username, scopes: [route.scope] }));
		for (const [i, { token }] of refused.entries()) {
			const said = await s.ask(target, { token });
			if (name === 'health') { // it answers without a token, and so with any
				assert.deepEqual([said.status, said.json], [200, { status: 'ok' }]);
				continue;
			}
			assert.equal(said.status, 403, said.text);
			assert.equal(said.json.success, false);
			assert.equal(said.json.error.code, 'forbidden');
			if (i === 0)
				assert.ok(said.json.error.details.includes(`needed: ${route.scope}`), said.text);
		}
		assert.equal((await s.ask(target, { token: null })).status, name === 'health' ? 200 : 401);
	});

// In the plain dialect an object is as it is, a list is {data, total, page, per_page, next_cursor}, an error {error, request_id}.
const ask = async (method, target, body, status) => {
	const answer = await s.ask(target, { method, body });
	assert.equal(answer.status, status, `${method} ${target}: ${answer.text}`);
	assert.match(answer.headers.get('content-type') ?? 'application/json', /^application\/json/);
	if (status === 204)
		assert.equal(answer.text, '');
	else
		assert.ok(!('success' in answer.json) && !('timestamp' in answer.json), answer.text);
	return answer;
};
const list = async (target) => {
	const { json } = await ask('GET', target, undefined, 200);
	assert.deepEqual(Object.keys(json).sort(), ['data', 'next_cursor', 'page', 'per_page', 'total'].filter((k) => k in json || !target.includes('audit')).sort());
	assert.ok(Array.isArray(json.data));
	return json.data;
};
// What the table does not have is a 405 that says what it has, in the dialect of the others.
const others = async (name, id) => {
	for (const [target, path] of [[`/api/${name}`, ''], [`/api/${name}/${id}`, '/{id}']])
		for (const method of ['GET', 'POST', 'PUT', 'DELETE']) {
			const routes = resourceOf(name).routes.filter((r) => r.path === path);
			if (routes.some((r) => r.method === method))
				continue;
			const { json, headers } = await ask(method, target, undefined, 405);
			assert.equal(json.error.code, 'method_not_allowed');
			for (const route of routes)
				assert.ok(headers.get('allow').split(', ').includes(route.method), `${target}: ${headers.get('allow')}`);
		}
};

test('/api/users is listed, created, replaced and deleted in the plain dialect', async () => {
	const username = s.unique('plain');
	const made = await ask('POST', '/api/users', { username, account: tenant.username, email: 'a@example.org' }, 201);
	assert.equal(made.json.username, username);
	assert.match(made.headers.get('location'), new RegExp(`/api/users/${made.json.id}$`));
	assert.ok((await list('/api/users?per_page=100')).some((u) => u.id === made.json.id));
	assert.equal((await ask('GET', `/api/users/${made.json.id}`, undefined, 200)).json.username, username);
	assert.equal((await ask('PUT', `/api/users/${made.json.id}`, { email: 'b@example.org', role: 'viewer', account: tenant.username }, 200)).json.email, 'b@example.org');
	const wrong = await ask('POST', '/api/users', { username }, 409);
	assert.deepEqual(Object.keys(wrong.json), ['error', 'request_id']);
	await others('users', made.json.id);
	await ask('DELETE', `/api/users/${made.json.id}`, undefined, 204);
	await ask('GET', `/api/users/${made.json.id}`, undefined, 404);
});

test('/api/audit is read in the plain dialect, and by no method written', async () => {
	await ask('GET', '/api/users', undefined, 200);
	const [first] = await list('/api/audit');
	assert.ok(first.action && first.at && first.outcome, JSON.stringify(first));
	assert.equal((await ask('GET', `/api/audit/${first.id}`, undefined, 200)).json.id, first.id);
	await others('audit', first.id);
});

test('/api/config is listed, set and set back in the plain dialect', async () => {
	assert.ok(resourceOf('config'), 'there is no resource config');
	assert.ok((await list('/api/config?per_page=100')).some((x) => x.name === 'job_days'));
	const was = (await ask('GET', '/api/config/job_days', undefined, 200)).json.value;
	assert.equal((await ask('PUT', '/api/config/job_days', { value: was + 1 }, 200)).json.value, was + 1);
	await ask('POST', '/api/config', { job_days: was + 2 }, 200);
	assert.equal((await ask('GET', '/api/config/job_days', undefined, 200)).json.value, was + 2);
	await ask('PUT', '/api/config', { job_days: was + 3 }, 200);
	assert.ok((await ask('PUT', '/api/config/job_days', { value: 0 }, 422)).json.error.fields.value);
	await others('config', 'job_days');
	await ask('DELETE', '/api/config/job_days', undefined, 204);
	assert.equal((await ask('GET', '/api/config/job_days', undefined, 200)).json.value, was);
});

test('/api/plugins is listed, registered, set and forgotten in the plain dialect', async () => {
	assert.ok(resourceOf('plugins'), 'there is no resource plugins');
	const made = await ask('POST', '/api/plugins', { name: 'plain' }, 201);
	assert.equal(made.json.name, 'plain');
	assert.match(made.headers.get('location'), new RegExp(`/api/plugins/${made.json.id}$`));
	assert.ok((await list('/api/plugins')).some((p) => p.id === made.json.id));
	assert.equal((await ask('GET', '/api/plugins/plain', undefined, 200)).json.id, made.json.id);
	s.psql(`UPDATE postern.plugins SET plugin_version = '1', status = 'active', actions = '{}' WHERE id = ${made.json.id}`); // posternd's part
	assert.deepEqual((await ask('PUT', `/api/plugins/${made.json.id}`, { settings: {} }, 200)).json.settings, {});
	await ask('POST', '/api/plugins', { name: 'plain' }, 409);
	assert.ok((await ask('POST', '/api/plugins', { name: '../plain' }, 422)).json.error.fields.name);
	await others('plugins', made.json.id);
	await ask('DELETE', `/api/plugins/${made.json.id}`, undefined, 204);
	await ask('GET', `/api/plugins/${made.json.id}`, undefined, 404);
});
