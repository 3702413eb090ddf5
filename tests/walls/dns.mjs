// A DNS server on loopback, for tests of what DNS says of a name: RFC 1035 over UDP, with what a test tells it.
import dgram from 'node:dgram';
import { once } from 'node:events';

const types = { A: 1, AAAA: 28, TXT: 16 };
const label = (name) => Buffer.concat([...name.split('.').map((part) => Buffer.concat([Buffer.from([part.length]), Buffer.from(part, 'latin1')])), Buffer.from([0])]);
const groups = (address) => {
	const [head, tail] = address.split('::').map((side) => (side ? side.split(':') : []));
	return tail === undefined ? head : [...head, ...Array(8 - head.length - tail.length).fill('0'), ...tail];
};
const data = {
	A: (address) => Buffer.from(address.split('.').map(Number)),
	AAAA: (address) => Buffer.concat(groups(address).map((g) => Buffer.from(g.padStart(4, '0'), 'hex'))),
	// strings of at most 255 bytes, each after its length
	TXT: (text) => Buffer.concat(text.match(/.{1,200}/gs).map((part) => Buffer.concat([Buffer.from([part.length]), Buffer.from(part, 'latin1')]))),
};

// { address, set(name, type, ...values), fail(name), raw(name, bytes), forget(name), end() }: names without records do not exist.
export async function startDns() {
	const records = new Map(), failing = new Set(), raw = new Map(), socket = dgram.createSocket('udp4');
	socket.on('message', (query, from) => {
		const parts = [];
		let at = 12;
		for (; query[at]; at += query[at] + 1)
			parts.push(query.subarray(at + 1, at + 1 + query[at]).toString('latin1').toLowerCase());
		const name = parts.join('.'), type = query.readUInt16BE(at + 1), question = query.subarray(12, at + 5);
		const kind = Object.keys(types).find((t) => types[t] === type);
		const values = records.get(`${name} ${kind}`) ?? [];
		const known = values.length > 0 || [...records.keys()].some((key) => key.startsWith(`${name} `));
		const header = Buffer.alloc(12);
		query.copy(header, 0, 0, 2);
		header.writeUInt16BE(0x8180 | (failing.has(name) ? 2 : known ? 0 : 3), 2); // an answer of a recursive server; SERVFAIL, NXDOMAIN
		header.writeUInt16BE(1, 4);
		header.writeUInt16BE(failing.has(name) ? 0 : values.length, 6);
		const answers = (failing.has(name) ? [] : values).map((value) => {
			const rest = Buffer.alloc(10), bytes = raw.get(name) ?? data[kind](value);
			rest.writeUInt16BE(type, 0);
			rest.writeUInt16BE(1, 2);
			rest.writeUInt16BE(bytes.length, 8);
			return Buffer.concat([label(name), rest, bytes]);
		});
		socket.send(Buffer.concat([header, question, ...answers]), from.port, from.address);
	});
	socket.bind(0, '127.0.0.1');
	await once(socket, 'listening');
	return {
		address: `127.0.0.1:${socket.address().port}`,
		set: (name, type, ...values) => records.set(`${name} ${type}`, values),
		fail: (name) => failing.add(name),
		raw: (name, bytes) => raw.set(name, bytes),
		forget: (name) => [failing, raw].forEach((all) => all.delete(name)),
		end: () => socket.close(),
	};
}
