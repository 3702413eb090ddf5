// The feed of events: one order for all, in which nothing that was read past can still appear.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { startStack, until } from '../api/harness.mjs';

let s, token;

before(async () => {
	s = await startStack('events', { WORKER: 'yes' });
	token = s.mint({ scopes: ['*'] }).token;
});
after(() => s?.stop());

// A session of its own, for transactions that stay open: each call answers when its statement has been carried out.
function session() {
	const as = process.getuid() === 0 ? ['setpriv', '--reuid=postgres', '--regid=postgres', '--init-groups', '--'] : [];
	const [file, ...args] = [...as, 'psql', '-X', '-q', '-A', '-t', '-h', path.join(s.dir, 'pg/socket'), '-d', 'postern'];
	const psql = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'], cwd: '/' });
	let out = '', n = 0;
	psql.stdout.on('data', (d) => { out += d; });
	return {
		async run(text) {
			const mark = `done ${++n}`;
			psql.stdin.write(`${text};\nSELECT '${mark}';\n`);
			await until(() => out.includes(mark), text);
		},
		end: () => new Promise((resolve) => { psql.on('close', resolve); psql.stdin.end(); }),
	};
}
const insert = (name) => `INSERT INTO postern.events (account_id, type, resource, object_id) VALUES (0, 'test.${name}', 'test', '${name}')`;
const read = async (cursor, more = '') => (await s.ask(`/api/events?per_page=100&type=test.*${more}${cursor ? `&cursor=${cursor}` : ''}`, { token })).json;
// Whoever reads by cursor: everything from there to where the feed is now.
async function follow(cursor) {
	const seen = [];
	for (;;) {
		const page = await read(cursor);
		cursor = page.next_cursor;
		seen.push(...page.data);
		if (!page.data.length)
			return { cursor, seen };
	}
}

test('a reader misses and repeats nothing while transactions of different length commit; one who goes by a plain sequence does miss', async () => {
	const [long, short] = [session(), session()];
	await long.run('BEGIN');
	await long.run(insert('first'));
	await short.run(insert('second'));
	// a plain sequence: the second is there, with a number above the first's, which is not
	const place = () => s.sql(`SELECT object_id, place FROM postern.events WHERE resource = 'test' ORDER BY place`);
	const plain = place();
	assert.deepEqual(plain.map((e) => e.object_id), ['second']);
	await short.run(insert('third'));
	s.psql('SELECT work.sequence(1000)');
	const early = await follow(null);
	assert.deepEqual(early.seen, [], 'nothing is shown that something still open could precede');
	await long.run('COMMIT');
	const naive = place().filter((e) => e.place > plain[0].place).map((e) => e.object_id);
	assert.deepEqual(naive, ['third'], 'a reader by the sequence alone never sees the first');
	const late = await until(async () => {
		const all = await follow(null);
		return all.seen.length === 3 && all;
	}, 'the three are shown');
	assert.deepEqual(late.seen.map((e) => e.object_id), ['first', 'second', 'third']);
	assert.deepEqual((await follow(late.cursor)).seen, []);
	await Promise.all([long.end(), short.end()]);
});

test('many writers with short and long transactions, two sequencers and a reader: each event once, in one order', async () => {
	const writers = Array.from({ length: 6 }, session), count = 30;
	let { cursor } = await follow(null);
	const seen = [];
	let writing = true;
	const reader = (async () => {
		for (let last = false; !last;) {
			last = !writing && s.sql(`SELECT count(*)::int AS n FROM postern.events WHERE seq IS NULL`)[0].n === 0;
			const next = await follow(cursor);
			seen.push(...next.seen);
			cursor = next.cursor ?? cursor;
		}
	})();
	await Promise.all(writers.map(async (w, i) => {
		for (let n = 0; n < count; n++) {
			await w.run('BEGIN');
			await w.run(insert(`w${i}-${n}a`));
			if ((n + i) % 3 === 0)
				await w.run('SELECT work.sequence(50)'.replace(/^/, n % 2 ? 'SAVEPOINT x; ' : ''));
			await w.run(insert(`w${i}-${n}b`));
			await w.run((n * 7 + i) % 5 === 0 ? 'ROLLBACK' : 'COMMIT');
		}
	}));
	await Promise.all(writers.map((w) => w.end()));
	writing = false;
	await reader;
	const stored = s.sql(`SELECT object_id, seq FROM postern.events WHERE resource = 'test' AND object_id ~ '^w' ORDER BY seq`);
	assert.deepEqual(seen.map((e) => e.seq), stored.map((e) => e.seq));
	assert.equal(new Set(seen.map((e) => e.id)).size, seen.length);
	for (let i = 0; i < 6; i++) { // of one writer in the order in which it wrote
		const own = seen.filter((e) => e.object_id.startsWith(`w${i}-`)).map((e) => Number(e.object_id.match(/-(\d+)/)[1]) * 2 + (e.object_id.endsWith('b') ? 1 : 0));
		assert.deepEqual(own, [...own].sort((a, b) => a - b));
	}
	assert.equal(s.sql(`SELECT count(*)::int AS n, count(DISTINCT seq)::int AS d FROM postern.events WHERE seq IS NOT NULL`).map((r) => r.n - r.d)[0], 0);
});

test('each change has its event, in the feed of its account, with the object as it was then', async () => {
	const t = s.tenant();
	const own = s.mint({ owner: t.user.username, scopes: ['events:read', 'domains:*'] }).token;
	const made = (await s.ask('/api/domains', { method: 'POST', body: { domain: `${s.unique('e')}.example` }, token: own, headers: { 'X-Request-Id': '11111111-2222-4333-8444-555555555555' } })).json;
	const event = await until(async () => (await s.ask('/api/events?type=domain.created', { token: own })).json.data[0], 'the event');
	assert.deepEqual([event.type, event.resource, event.object_id, event.account_id, event.request_id, event.data.domain],
		['domain.created', 'domain', made.id, t.account.id, '11111111-2222-4333-8444-555555555555', made.domain]);
	assert.equal((await s.ask(`/api/events/${event.id}`, { token: own })).json.seq, event.seq);
	assert.ok((await s.ask('/api/events?type=nothing.*', { token: own })).json.next_cursor, 'nothing yet, but there is a place to go on from');
	const refused = await s.ask('/api/events?page=2', { token: own });
	assert.equal(refused.status, 400);
});

test('events older than the setting are forgotten, and numbers are never given twice', async () => {
	const before = s.sql('SELECT seq FROM postern.event_head')[0].seq;
	assert.ok(before > 0);
	await until(() => s.sql('SELECT FROM postern.events WHERE seq IS NULL').length === 0, 'all have their numbers');
	s.psql(`UPDATE postern.events SET at = at - interval '31 days'; SELECT work.keep_house(30, 90)`);
	assert.equal(s.sql(`SELECT count(*)::int AS n FROM postern.events WHERE at < postern.clock() - interval '30 days'`)[0].n, 0);
	s.psql(insert('after'));
	const next = await until(async () => (await read(null)).data[0], 'the next event');
	assert.ok(next.seq > before);
});
