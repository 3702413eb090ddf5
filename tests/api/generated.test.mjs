// What generators of clients make of the description compiles, and its clients list, create and delete a domain.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

import { tool } from '../description/prism.mjs';
import { build, root, startStack } from './harness.mjs';

const folder = path.join(root, build, 'test/makers/made');
const run = promisify(execFile);
const node = (name, args, more = {}) => run(process.execPath, [fs.realpathSync(tool(name)), ...args],
	{ cwd: folder, timeout: 120000, maxBuffer: 1 << 26, ...more });

// How each is run, and the same three calls through what it makes. A number of domains is what each answers.
const generators = {
	'openapi-ts': {
		make: ['-i', 'openapi.json', '-o', 'hey', '--silent', '--no-log-file'],
		client: `import { createDomain, deleteDomain, listDomains } from './hey/index.js';
import { client } from './hey/client.gen.js';
client.setConfig({ baseUrl: url, auth: token });
const list = async () => (await listDomains({ throwOnError: true })).data.data.items;
const create = async (domain: string) => (await createDomain({ body: { domain, account: 'demo' }, throwOnError: true })).data.data.id;
const remove = async (id: number, confirm: string) => (await deleteDomain({ path: { id }, query: { confirm }, throwOnError: true })).response.status;`,
	},
	orval: {
		make: ['--input', 'openapi.json', '--output', 'orval.ts', '--client', 'fetch'],
		client: `import { createDomain, deleteDomain, listDomains } from './orval.js';
const headers = { Authorization: \`Bearer \${token}\` };
const plain = fetch;
globalThis.fetch = (to, how) => plain(new URL(String(to), url), how); // its addresses are relative, for browsers
const list = async () => {
	const answer = await listDomains(undefined, { headers });
	if (answer.status !== 200)
		throw new Error(String(answer.status));
	return answer.data.data.items;
};
const create = async (domain: string) => {
	const answer = await createDomain({ domain, account: 'demo' }, undefined, { headers });
	if (answer.status !== 201)
		throw new Error(JSON.stringify(answer.data));
	return answer.data.data.id;
};
const remove = async (id: number, confirm: string) => (await deleteDomain(id, { confirm }, undefined, { headers })).status;`,
	},
	'swagger-typescript-api': {
		make: ['generate', '-p', 'openapi.json', '-o', '.', '-n', 'sta.ts', '--silent'],
		client: `import { Api } from './sta.js';
const { api } = new Api({ baseUrl: url, baseApiParams: { headers: { Authorization: \`Bearer \${token}\` }, format: 'json' } });
const list = async () => (await api.listDomains()).data.data.items;
const create = async (domain: string) => (await api.createDomain({ domain, account: 'demo' })).data.data.id;
const remove = async (id: number, confirm: string) => (await api.deleteDomain(id, {}, { confirm })).status;`,
	},
	'openapi-typescript': {
		make: ['openapi.json', '-o', 'fetch.d.ts'],
		client: `import createClient from 'openapi-fetch';
import type { paths } from './fetch.js';
const client = createClient<paths>({ baseUrl: url, headers: { Authorization: \`Bearer \${token}\` } });
const list = async () => (await client.GET('/api/v1/domains')).data!.data.items;
const create = async (domain: string) => (await client.POST('/api/v1/domains', { body: { domain, account: 'demo' } })).data!.data.id;
const remove = async (id: number, confirm: string) =>
	(await client.DELETE('/api/v1/domains/{id}', { params: { path: { id }, query: { confirm } } })).response.status;`,
	},
	oazapfts: {
		make: ['openapi.json', 'oaz.ts'],
		client: `import { createDomain, defaults, deleteDomain, listDomains } from './oaz.js';
defaults.baseUrl = url;
defaults.headers = { Authorization: \`Bearer \${token}\` };
const list = async () => {
	const answer = await listDomains({});
	if (answer.status !== 200)
		throw new Error(String(answer.status));
	return answer.data.data.items;
};
const create = async (domain: string) => {
	const answer = await createDomain({ domain, account: 'demo' });
	if (answer.status !== 201)
		throw new Error(JSON.stringify(answer.data));
	return answer.data.data.id;
};
const remove = async (id: number, confirm: string) => (await deleteDomain(id, undefined, { confirm })).status;`,
	},
};
const begin = `declare const process: { env: Record<string, string> };
const url = process.env.POSTERN_URL!, token = process.env.POSTERN_TOKEN!;
`;
const use = `
const domain: string = process.env.DOMAIN!;
const id: number = await create(domain);
const there: string[] = (await list()).map((one) => one.domain);
const status: number = await remove(id, domain);
const left: string[] = (await list()).map((one) => one.domain);
console.log(JSON.stringify({ there: there.includes(domain), status, left: left.includes(domain) }));
export {};
`;
let s;

before(async () => {
	s = await startStack('makers', { WORKER: 'yes' });
	fs.rmSync(folder, { recursive: true, force: true });
	fs.mkdirSync(folder, { recursive: true });
	fs.writeFileSync(path.join(folder, 'package.json'), '{"type":"module"}\n');
	const described = await s.ask('/api/openapi.json', { token: null });
	assert.equal(described.status, 200, described.text);
	fs.writeFileSync(path.join(folder, 'openapi.json'), described.text);
});
after(() => s?.stop());

test('five generators make clients that compile', async () => {
	for (const [name, { make, client }] of Object.entries(generators)) {
		await node(name, make);
		const [first, ...rest] = client.split(/\n(?!import )/);
		fs.writeFileSync(path.join(folder, `use-${name}.ts`), `${first}\n${begin}${rest.join('\n')}${use}`);
	}
	const files = Object.keys(generators).map((name) => `use-${name}.ts`);
	const said = await node('tsc', ['--strict', '--target', 'es2022', '--module', 'esnext', '--moduleResolution', 'bundler', '--lib', 'es2022,dom,dom.iterable',
		'--skipLibCheck', '--noEmit', ...files]).catch((e) => e);
	assert.equal(said.stdout, '');
	await run(fs.realpathSync(tool('esbuild')), [...files, '--bundle', '--platform=node', '--format=esm', '--outdir=js', '--log-level=error'], { cwd: folder });
});

for (const name of Object.keys(generators))
	test(`the client that ${name} makes creates, lists and deletes a domain`, async () => {
		const done = await run(process.execPath, [`js/use-${name}.js`],
			{ cwd: folder, timeout: 60000, env: { ...process.env, POSTERN_URL: s.url, POSTERN_TOKEN: s.token, DOMAIN: `${name}.example` } });
		const { there, status, left } = JSON.parse(done.stdout);
		assert.equal(there, true);
		assert.ok(status === 204 || status === 202, String(status));
		if (status === 204)
			assert.equal(left, false);
	});
