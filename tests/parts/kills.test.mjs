// kill -9 of the worker while it makes real accounts, websites and databases: what is there in the end is what was asked for.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { soak, startStack, until } from '../api/harness.mjs';

let s;
const [kills, accounts] = soak ? [50, 50] : [5, 8];

before(async () => {
	s = await startStack('kills', { WORKER: 'yes', SITES: 'yes', PARTS: 'postgresql,mariadb', WEB: 'nginx' });
	s.token = s.mint({ expires_at: 'null' }).token;
});
after(() => s?.stop());

// While PostgreSQL is away a 503 says so and nothing has happened: the same request is sent again.
async function ask(method, target, body) {
	const key = body ? { 'Idempotency-Key': `${s.unique('key')}` } : {};
	for (;;) {
		const answer = await s.ask(target, { method, body, headers: key }).catch((error) => ({ status: 0, text: error.message }));
		if (![0, 502, 503].includes(answer.status))
			return answer;
	}
}
async function make(target, body) {
	const answer = await ask('POST', target, body);
	assert.equal(answer.status, 201, answer.text);
	return answer.json;
}
const page = (name) => new Promise((resolve) => {
	const url = new URL(s.url);
	http.get({ host: url.hostname, port: url.port, path: '/', agent: false, headers: { Host: name } }, (response) => {
		response.resume();
		resolve(response.statusCode);
	}).on('error', () => resolve(0));
});
const query = (text) => {
	for (;;)
		try {
			return s.sql(text);
		} catch (error) {
			if (!/connection to server|terminating connection|the database system|closed the connection/.test(error.stderr ?? error.message))
				throw error;
		}
};
const open = () => query(`SELECT count(*)::int AS n FROM postern.jobs WHERE status IN ('queued', 'running')`)[0].n;
const attempts = () => query(`SELECT coalesce(sum(attempts), 0)::int AS n FROM postern.jobs`)[0].n;

test(`${kills} kills, one restart of PostgreSQL: every job ends well, and the machine is as the API says`, async () => {
	const asked = (async () => {
		const all = [];
		for (let i = 0; i < accounts; i++) {
			const account = await make('/api/accounts', { username: s.unique('k') });
			const domain = await make('/api/domains', { domain: `${account.username}.example`, account: account.username });
			const databases = [];
			for (const engine of i % 4 ? ['postgresql'] : ['postgresql', 'mariadb'])
				databases.push(await make('/api/databases', { name: 'db', engine, account: account.username }));
			if (i % 3 === 0) // and some go again
				assert.equal((await ask('DELETE', `/api/databases/${databases[0].id}?confirm=${encodeURIComponent(databases[0].name)}`)).status, 202);
			all.push({ account, domain, databases, dropped: i % 3 === 0 });
		}
		return all;
	})();
	for (let kill = 0; kill < kills; kill++) {
		const before = attempts();
		await until(() => attempts() > before + (kill * 7) % 3 || open() === 0, 'something is begun');
		await s.endWorker('SIGKILL');
		if (kill === Math.floor(kills / 2))
			await s.pgctl('restart', '-m', 'immediate');
		s.startWorker();
	}
	const all = await asked;
	await until(() => open() === 0, 'all jobs are ended', 300000);
	const bad = query(`SELECT kind, status, error FROM postern.jobs WHERE status <> 'succeeded' AND message IS DISTINCT FROM 'no longer needed: the object is being removed'`);
	assert.deepEqual(bad, []);
	const there = s.accountsPsql('SELECT datname FROM pg_database').split('\n');
	for (const { account, domain, databases, dropped } of all) {
		assert.equal((await ask('GET', `/api/accounts/${account.id}`)).json.status, 'active');
		assert.ok(fs.statSync(account.home).isDirectory());
		const website = (await ask('GET', `/api/websites/${domain.domain}`)).json;
		assert.equal(website.status, 'active', website.last_error);
		await until(async () => await page(domain.domain) === 200, `${domain.domain} is served`);
		assert.equal(there.includes(databases[0].name), !dropped, databases[0].name);
		assert.equal((await ask('GET', `/api/databases/${databases[0].id}`)).status, dropped ? 404 : 200);
		for (const d of databases.slice(dropped ? 1 : 0))
			assert.equal((await ask('GET', `/api/databases/${d.id}`)).json.status, 'active');
	}
	assert.deepEqual(fs.readdirSync(path.join(s.dir, 'worker/jobs')), [], 'no lock is left');
});
