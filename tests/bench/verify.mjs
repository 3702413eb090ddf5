// Before anything is measured: does a candidate really do the work? Right rows, bad tokens refused, the limit exact, a row in
// the trail for each request. verify() throws with what is wrong.
import assert from 'node:assert/strict';
import { spread, stranger } from '../api/credentials.mjs';
import { until } from '../api/harness.mjs';

async function ask(url, token, options = {}) {
	const response = await fetch(url, { ...options, headers: { ...(token ? { Authorization: `Bearer ${token}` } : {}), ...options.headers } });
	const text = await response.text();
	return { status: response.status, text, json: text.startsWith('{') ? JSON.parse(text) : undefined };
}

function sameRow(shown, row, label) {
	for (const [name, value] of Object.entries(row)) {
		assert.ok(name in shown, `${label}: the field ${name} is missing`);
		const same = name.endsWith('_at') && value !== null ? Date.parse(shown[name]) === Date.parse(value) : Object.is(shown[name], value);
		assert.ok(same, `${label}: ${name} is ${JSON.stringify(shown[name])}, in the table ${JSON.stringify(value)}`);
	}
	assert.equal(Object.keys(shown).length, Object.keys(row).length, `${label}: as many fields as a row has`);
}

// Rows of the trail since `mark` (see trail.mjs), by status.
const rowsBecome = (trail, mark, status, wanted, label) => until(() => trail.rows(mark).filter((r) => r.status === status).reduce((n, r) => n + r.n, 0) >= wanted,
	`${label}: ${wanted} rows with status ${status} in the trail`, 3000);

// `base`: the address of its list. `product`: Postern, whose other routes are looked at too.
export async function verify(house, trail, base, product) {
	const { stack } = house;
	// the rows, by page and by cursor
	for (const i of [0, 1, house.accounts.length / 2 - 1, house.accounts.length - 1]) {
		const token = house.tokens[i], rows = stack.sql(`SELECT ${house.fields} FROM domains.item WHERE tenant = ${token.account.id} ORDER BY id LIMIT 100`);
		for (let page = 1; page <= 5; page++) {
			const { status, json, text } = await ask(`${base}?page=${page}`, token.text);
			assert.equal(status, 200, text);
			const { items, total, page: shown, per_page, resource, next_cursor } = json.data;
			assert.equal(json.success, true);
			assert.match(json.request_id, /^[0-9a-f-]{36}$/);
			assert.deepEqual([resource, total, shown, per_page, items.length], ['domains', house.domains, page, 20, 20], 'the envelope of a page');
			items.forEach((item, k) => sameRow(item, rows[(page - 1) * 20 + k], `page ${page}`));
			assert.equal(next_cursor === null, page * 20 >= house.domains, 'a next cursor where there is more');
		}
		let cursor = (await ask(`${base}?page=1`, token.text)).json.data.next_cursor;
		for (let at = 20; at < 100; at += 20) {
			const { json, text } = await ask(`${base}?cursor=${cursor}`, token.text);
			assert.ok(json?.success, text);
			assert.equal(json.data.total, null, 'a cursor has no total');
			assert.equal(json.data.items.length, 20);
			json.data.items.forEach((item, k) => sameRow(item, rows[at + k], `cursor after ${at}`));
			cursor = json.data.next_cursor;
		}
		assert.equal(cursor === null, house.domains === 100, 'the walk ends where the rows do');
	}
	// who must not come in
	const status = async (token) => (await ask(`${base}?page=1`, token)).status;
	assert.equal(await status(null), 401, 'no token');
	assert.equal(await status(stranger(house.tokens[0].text.slice(4, 12))), 401, 'a wrong secret');
	for (const [name, wanted] of Object.entries({ revoked: 401, expired: 401, owner: 401, scope: 403, address: 403 }))
		assert.equal(await status(house.bad[name].text), wanted, `a token refused for: ${name}`);
	const victim = house.few.pop();
	assert.equal(await status(victim.text), 200);
	stack.psql(`UPDATE postern.tokens SET revoked_at = now() WHERE id = '${victim.id}'`);
	assert.equal(await status(victim.text), 401, 'revoked a moment ago');
	// the limit, exactly, and a row for each that passed
	let mark = trail.mark();
	const limited = house.few.pop();
	const answers = await spread(Array.from({ length: 64 }, () => () => status(limited.text)), 64);
	assert.deepEqual([200, 429].map((s) => answers.filter((a) => a === s).length), [10, 54], 'of 64 at once against a limit of 10, by status 200 and 429');
	await rowsBecome(trail, mark, 200, 10, 'limit');
	mark = trail.mark();
	for (let i = 0; i < 7; i++)
		await ask(`${base}?page=1`, house.tokens[i].text);
	await rowsBecome(trail, mark, 200, 7, 'lists');
	assert.deepEqual(trail.rows(mark), [{ status: 200, n: 7 }], 'one row a request');
	if (product)
		await verifyProduct(house, trail, base);
	return (await ask(`${base}?cursor=${product ? house.accounts[0].cursors[0] : house.accounts[0].ids[19]}`, house.tokens[0].text)).text.length;
}

async function verifyProduct(house, trail, base) {
	const { stack } = house, token = house.tokens[2], account = token.account, api = new URL('.', base).href;
	const one = await ask(`${base}/${account.ids[7]}`, token.text);
	assert.equal(one.status, 200, one.text);
	sameRow(one.json.data, stack.sql(`SELECT ${house.fields} FROM domains.item WHERE id = ${account.ids[7]}`)[0], 'one object');
	assert.equal((await ask(`${base}/${house.accounts[3].ids[7]}`, token.text)).status, 404, "another account's object");
	const me = (await ask(`${api}me`, token.text)).json.data;
	assert.deepEqual([me.account_id, me.token_id], [account.id, token.id], 'me');
	for (const [name, wanted] of Object.entries({ accounts: [account.id], users: null, tokens: null })) {
		const { status, json, text } = await ask(`${api}${name}`, token.text);
		assert.equal(status, 200, text);
		const ids = stack.sql(`SELECT id FROM ${name}.item WHERE tenant = ${account.id} ORDER BY id LIMIT 20`).map((r) => r.id);
		assert.deepEqual(json.data.items.map((item) => item.id), wanted ?? ids, name);
	}
	const mark = trail.mark(), domain = 'checked.bench.example';
	const made = await ask(base, token.text, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ domain }) });
	assert.equal(made.status, 201, made.text);
	assert.equal(stack.sql(`SELECT id FROM postern.domains WHERE domain = '${domain}' AND account_id = ${account.id}`)[0].id, made.json.data.id, 'a created object is there');
	await rowsBecome(trail, mark, 201, 1, 'a create');
	house.dropCreated();
}
