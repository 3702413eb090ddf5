// The first promise: what `make start` prints works.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { startStack } from './harness.mjs';

let s;
before(async () => { s = await startStack('smoke'); });
after(() => s?.stop());

test('the administrator of a fresh stack lists domains, as an envelope and as plain JSON', async () => {
	s.cliJson(['domain', 'create', '--domain', 'example.org', '--account', 'demo']);
	const envelope = await s.ask('/api/v1/domains.php');
	assert.equal(envelope.status, 200);
	assert.equal(envelope.json.success, true);
	assert.equal(envelope.json.data.items[0].domain, 'example.org');
	assert.equal(envelope.json.data.total, 1);
	const plain = await s.ask('/api/domains');
	assert.deepEqual(plain.json.data, envelope.json.data.items);
	const admin = await s.ask('/api/v1/admin/domains');
	assert.deepEqual(admin.json.data.items, envelope.json.data.items);
});

test('a token made for a customer sees its own account only', async () => {
	const t = s.tenant();
	const own = s.cliJson(['domain', 'create', '--domain', 'mine.example', '--account', t.username]);
	const token = s.mint({ owner: t.user.username, scopes: ['domains:read'] }).token;
	const list = await s.ask('/api/domains', { token });
	assert.deepEqual(list.json.data.map((d) => d.id), [own.id]);
	const foreign = (await s.ask('/api/domains?domain=example.org')).json.data[0];
	assert.equal((await s.ask(`/api/domains/${foreign.id}`, { token })).status, 404);
});

test('a change is answered with its object, its place and its version, and leaves its row and event', async () => {
	const made = await s.ask('/api/v1/domains', { method: 'POST', body: { domain: 'neu.example', account: 'demo' } });
	assert.equal(made.status, 201, made.text);
	const where = made.headers.get('location');
	assert.equal(where, `/api/v1/domains/${made.json.data.id}`);
	const changed = await s.ask(where, { method: 'PATCH', body: { mail_enabled: false }, headers: { 'If-Match': made.headers.get('etag') } });
	assert.equal(changed.status, 200, changed.text);
	assert.equal(changed.json.data.mail_enabled, false);
	assert.equal((await s.ask(where, { method: 'DELETE' })).status, 204);
	assert.equal((await s.ask(where)).status, 404);
	const rows = s.sql(`SELECT verb, status, changes FROM postern.audit WHERE resource = 'domain' AND object_id = '${made.json.data.id}' ORDER BY at`);
	assert.deepEqual(rows.map((r) => [r.verb, r.status]), [['create', 201], ['update', 200], ['delete', 204], ['read', 404]]);
	assert.deepEqual(rows[1].changes, { before: { held_by: null, mail_enabled: true }, after: { held_by: 'administrator', mail_enabled: false } });
	const events = s.sql(`SELECT type FROM postern.events WHERE object_id = '${made.json.data.id}' ORDER BY xid::text::bigint`);
	assert.deepEqual(events.map((e) => e.type), ['domain.created', 'domain.updated', 'domain.deleted']);
});
