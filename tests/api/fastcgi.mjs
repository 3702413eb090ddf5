// A FastCGI client without a web server: for what only a web server may say (REMOTE_ADDR, HTTPS) and for malformed records.
//   const a = await fcgi(socketOf(s, 'domains'), { path: '/api/v1/domains', token, address: '192.0.2.1', https: true });
// The socket belongs to the server's user; root and the server's user may connect.
import net from 'node:net';
import path from 'node:path';

export const BEGIN = 1, ABORT = 2, END = 3, PARAMS = 4, STDIN = 5, STDOUT = 6, STDERR = 7;

export const socketOf = (stack, binary) => path.join(stack.dir, 'fcgi', `${binary}.sock`);

// One record; `version` and `padding` may be wrong on purpose.
export function record(type, content = Buffer.alloc(0), { id = 1, version = 1, padding = 0 } = {}) {
	const head = Buffer.from([version, type, id >> 8, id & 255, content.length >> 8, content.length & 255, padding, 0]);
	return Buffer.concat([head, content, Buffer.alloc(padding)]);
}

// A stream: as many records as it takes, and the empty one that ends it.
export function stream(type, content, options) {
	const records = [];
	for (let at = 0; at < content.length; at += 65535)
		records.push(record(type, content.subarray(at, at + 65535), options));
	return Buffer.concat([...records, record(type, undefined, options)]);
}

const length = (n) => (n < 128 ? Buffer.from([n]) : Buffer.from([(n >>> 24) | 128, (n >>> 16) & 255, (n >>> 8) & 255, n & 255]));
export function pairs(params) {
	return Buffer.concat(Object.entries(params).flatMap(([name, value]) => {
		const n = Buffer.from(name), v = Buffer.from(String(value));
		return [length(n.length), length(v.length), n, v];
	}));
}

// The records of one request. `params` adds to or replaces (undefined: removes) what a web server would send.
export function request({ method = 'GET', path: target = '/', token, address = '127.0.0.1', https = false, headers = {}, body = '',
	params = {}, keep = false } = {}) {
	const bytes = Buffer.isBuffer(body) ? body : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
	const [uri, query = ''] = target.split(/\?(.*)/s);
	const all = {
		REQUEST_METHOD: method, REQUEST_URI: target, DOCUMENT_URI: uri, QUERY_STRING: query, SERVER_PROTOCOL: 'HTTP/1.1',
		SERVER_NAME: 'localhost', SERVER_PORT: https ? '443' : '80', REMOTE_ADDR: address, REQUEST_SCHEME: https ? 'https' : 'http',
		...(https ? { HTTPS: 'on' } : {}),
		...(bytes.length ? { CONTENT_LENGTH: bytes.length, CONTENT_TYPE: 'application/json' } : {}),
		...(token ? { HTTP_AUTHORIZATION: `Bearer ${token}` } : {}),
		...Object.fromEntries(Object.entries(headers).map(([k, v]) => [`HTTP_${k.toUpperCase().replaceAll('-', '_')}`, v])),
		...params,
	};
	for (const name of Object.keys(all))
		if (all[name] === undefined)
			delete all[name];
	return Buffer.concat([
		record(BEGIN, Buffer.from([0, 1, keep ? 1 : 0, 0, 0, 0, 0, 0])), stream(PARAMS, pairs(all)), stream(STDIN, bytes)]);
}

// Write bytes to the socket, in pieces if an array is given, and read until the other side ends or `done` records say END.
// Answers { stdout, stderr, ended }: ended false means the connection closed without an END record. sent() is called when
// the kernel has all of it.
export function exchange(socket, bytes, sent) {
	return new Promise((resolve, reject) => {
		const connection = net.connect(socket);
		let rest = Buffer.alloc(0), ended = false;
		const out = { [STDOUT]: [], [STDERR]: [] };
		connection.on('error', (error) => (['EPIPE', 'ECONNRESET'].includes(error.code) ? connection.destroy() : reject(error)));
		connection.on('connect', () => {
			const pieces = Array.isArray(bytes) ? bytes : [bytes];
			pieces.forEach((piece, i) => connection.write(piece, i === pieces.length - 1 ? sent : undefined));
		});
		connection.on('data', (data) => {
			rest = Buffer.concat([rest, data]);
			while (rest.length >= 8) {
				const size = rest.readUInt16BE(4), whole = 8 + size + rest[6];
				if (rest.length < whole)
					return;
				out[rest[1]]?.push(rest.subarray(8, 8 + size));
				ended ||= rest[1] === END;
				rest = rest.subarray(whole);
			}
			if (ended)
				connection.end();
		});
		connection.on('close', () => resolve({ stdout: Buffer.concat(out[STDOUT]), stderr: Buffer.concat(out[STDERR]), ended }));
	});
}

// A CGI answer's bytes as { status, headers (lower-case names), text, json }.
export function parse(stdout) {
	const text = stdout.toString('utf8'), end = text.indexOf('\r\n\r\n');
	const headers = new Map(text.slice(0, end).split('\r\n').map((line) => {
		const [name, value] = line.split(/:\s*(.*)/s);
		return [name.toLowerCase(), value];
	}));
	const body = text.slice(end + 4);
	let json;
	try {
		json = JSON.parse(body);
	} catch {
		json = undefined;
	}
	return { status: Number.parseInt(headers.get('status') ?? '200', 10), headers, text: body, json };
}

export async function fcgi(socket, options) {
	return parse((await exchange(socket, request(options))).stdout);
}
