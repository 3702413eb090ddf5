// Prism between a client and an upstream, its judgement of what was recorded, and how the spellings of an address are read by the
// description.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { createInterface } from 'node:readline';

import { createInstance, getHttpOperationsFromSpec } from '@stoplight/prism-http';

import { root } from '../api/harness.mjs';

export const tool = (name) => path.join(root, 'node_modules/.bin', name);

export async function freePort() {
	const server = net.createServer();
	await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
	const { port } = server.address();
	await new Promise((resolve) => server.close(resolve));
	return port;
}

// Answers { url, stop }. `options`: more of Prism's.
export async function startPrism(file, upstream, options = []) {
	const port = await freePort();
	const child = spawn(process.execPath, [fs.realpathSync(tool('prism')), 'proxy', file, upstream, '--host', '127.0.0.1', '--port', String(port), '--cors', 'false', ...options],
		{ stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, NO_COLOR: '1', NODE_ENV: 'production' } });
	const ended = new Promise((resolve) => child.on('exit', resolve));
	await new Promise((resolve, reject) => {
		const lines = createInterface(child.stdout);
		const said = [];
		lines.on('line', (line) => {
			said.push(line);
			if (line.includes('Prism is listening'))
				resolve();
		});
		ended.then(() => reject(new Error(`prism did not start:\n${said.join('\n')}`)));
	});
	child.stdout.resume();
	return {
		url: `http://127.0.0.1:${port}`,
		stop: async () => {
			child.kill();
			await ended;
		},
	};
}

// Prism as a validating proxy in this process: its upstream gives the answer that was recorded, so that no connection is made. Answers
// a function of { method, target, headers, body } and { status, headers, text }, which answers the violations.
export async function judge(file) {
	const operations = await getHttpOperationsFromSpec(file);
	const quiet = { info() {}, warn() {}, error() {}, debug() {}, success() {}, child: () => quiet };
	const recorded = new WeakMap();
	const prism = createInstance({ isProxy: true, checkSecurity: true, validateRequest: true, validateResponse: true, errors: false,
		mock: {}, upstream: new URL('http://recorded.invalid') }, {
		logger: quiet,
		forward: ({ data }) => () => async () => ({ _tag: 'Right', right: recorded.get(data) }),
	});
	return async (request, answer) => {
		const { pathname, searchParams } = new URL(request.target, 'http://recorded.invalid');
		const query = {};
		for (const name of searchParams.keys()) {
			const values = searchParams.getAll(name);
			query[name] = values.length === 1 ? values[0] : values;
		}
		const input = { method: request.method.toLowerCase(), url: { path: pathname, query }, headers: request.headers, body: request.body };
		const json = answer.status !== 204 && /^application\/([^;]*\+)?json\b/.test(answer.headers['content-type'] ?? '');
		recorded.set(input, { statusCode: answer.status, headers: answer.headers, body: json ? JSON.parse(answer.text) : answer.text });
		const said = await prism.request(input, operations)();
		assert.equal(said._tag, 'Right', said.left?.message);
		return Object.entries(said.right.validations).flatMap(([where, all]) =>
			all.map((v) => ({ location: [where === 'input' ? 'request' : 'response', ...(v.path ?? [])], message: v.message })));
	};
}

// The description with every object of an answer closed: a member that is not described is then a violation.
export function closed(description) {
	const document = structuredClone(description);
	const seen = new Set();
	const resolve = (schema) => (schema?.$ref ? document.components.schemas[schema.$ref.split('/').pop()] : schema);
	const close = (given) => {
		const schema = resolve(given);
		if (!schema || seen.has(schema))
			return;
		seen.add(schema);
		if (schema.properties) {
			schema.additionalProperties ??= false;
			Object.values(schema.properties).forEach(close);
		}
		close(schema.items);
		for (const part of schema.anyOf ?? [])
			close(part);
	};
	for (const item of Object.values(document.paths))
		for (const operation of Object.values(item))
			for (const [, response] of Object.entries(operation.responses ?? {})) {
				const real = response.$ref ? document.components.responses[response.$ref.split('/').pop()] : response;
				for (const media of Object.values(real.content ?? {}))
					close(media.schema);
				// Prism takes problem+json for json and judges by the first of the two.
				if (real.content?.['application/problem+json']) {
					real.content['application/json'].schema = { anyOf: Object.values(real.content).map((media) => media.schema) };
					delete real.content['application/problem+json'];
				}
			}
	return document;
}

// The descriptions of both dialects as one: what the second names like the first is renamed.
export function joined(first, second) {
	const other = JSON.parse(JSON.stringify(second).replace(/#\/components\/(schemas|responses)\//g, '$&Plain'));
	const document = structuredClone(first);
	Object.assign(document.paths, other.paths);
	for (const kind of ['schemas', 'responses'])
		for (const [name, value] of Object.entries(other.components[kind]))
			document.components[kind][`Plain${name}`] = value;
	for (const [address, item] of Object.entries(other.paths))
		for (const operation of Object.values(item))
			if (operation.operationId && first.paths[address.replace(/^\/api/, '/api/v1')])
				operation.operationId += 'Plain';
	return document;
}

// How an address is described: { path: the template, canonical: the address as the description spells it }, or null.
export function reader(document) {
	const spellings = [];
	const escape = (text) => text.replace(/[.*+?^$()|[\]\\]/g, '\\$&');
	for (const [template, item] of Object.entries(document.paths))
		for (const spelling of [template, ...(item['x-spellings'] ?? [])]) {
			const [pathname, query] = spelling.split('?');
			spellings.push({
				template, byQuery: query !== undefined, literal: !template.includes('{'),
				// the web server's own spelling, /metrics, is that one path
				pattern: new RegExp(`^${escape(pathname).replace('{id}', '([^/]+)')}${pathname.startsWith('/api/') ? '/?' : ''}$`),
			});
		}
	spellings.sort((a, b) => b.byQuery - a.byQuery || b.literal - a.literal); // words of their own beat {id}
	return (target) => {
		const [pathname, search = ''] = target.split('?');
		const parameters = search.split('&').filter(Boolean);
		for (const s of spellings) {
			const match = s.pattern.exec(pathname);
			const id = s.byQuery ? parameters.find((p) => /^id=[^&/]+$/.test(p))?.slice(3) : match?.[1];
			if (!match || (s.byQuery && !id))
				continue;
			const rest = s.byQuery ? parameters.filter((p) => p !== `id=${id}`) : parameters;
			return { path: s.template, canonical: s.template.replace('{id}', id) + (rest.length ? `?${rest.join('&')}` : '') };
		}
		return null;
	};
}
