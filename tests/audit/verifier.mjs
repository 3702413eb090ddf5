// A second verifier of the audit trail, written from docs/audit-format.md alone: node tests/audit/verifier.mjs EXPORT PUBLIC_KEY
// Prints the first fault, or "intact"; exit code 1 or 0.
import { createHash, createPublicKey, verify } from 'node:crypto';
import fs from 'node:fs';
import readline from 'node:readline';

const columns = ['xid', 'request_id', 'actor', 'token_id', 'token_name', 'user_id', 'username', 'resource', 'verb', 'object_id', 'method', 'path',
	'status', 'outcome', 'reason', 'duration_us', 'ip', 'user_agent', 'changes', 'count'];
const sha256 = (...parts) => parts.reduce((h, p) => h.update(p), createHash('sha256')).digest();
const int64 = (...numbers) => Buffer.concat(numbers.map((n) => { const b = Buffer.alloc(8); b.writeBigInt64BE(BigInt(n)); return b; }));
// 2026-11-21T08:05:12.432124+00:00 in microseconds since 1970.
export function microseconds(text) {
	const [, seconds, fraction = ''] = /^(.*?:\d\d:\d\d)(?:\.(\d+))?(?:Z|\+00:00)$/.exec(text);
	return BigInt(Date.parse(`${seconds}Z`)) * 1000n + BigInt(fraction.padEnd(6, '0'));
}
export const keyOf = (row) => int64(row.account_id, microseconds(row.at), row.id);
export const contentOf = (row) => sha256(...columns.flatMap((name) => {
	const size = Buffer.alloc(4), text = row[name] ?? null;
	const bytes = Buffer.from(text === null ? '' : String(text));
	size.writeUInt32BE(text === null ? 0xffffffff : bytes.length);
	return [size, bytes];
}));
export const digestOf = (row) => sha256(keyOf(row), contentOf(row));
export const sealHash = (s) => sha256('postern seal 1\n', int64(s.number, s.count), Buffer.from(s.before, 'hex'), Buffer.from(s.keys, 'hex'), Buffer.from(s.hashes, 'hex'));

// A key of a checkpoint's text, as 64 hexadecimal digits, and back.
const keyOfHex = (hex) => createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(hex, 'hex').toString('base64url') }, format: 'jwk' });
const hexOfKey = (key) => Buffer.from(key.export({ format: 'jwk' }).x, 'base64url').toString('hex');

// `key` is the public key that is trusted: the first one's, the last one's, or any between.
export async function check(lines, key) {
	const trusted = hexOfKey(key);
	let signer = null, vouched = false;
	let early = []; // checkpoints of before they named their keys, by another key than the trusted one
	const rows = new Map(), seals = [];
	let head = Buffer.alloc(32), before = Buffer.alloc(32), count = -1, checkpoints = 0, goneBefore = -Infinity;
	for await (const line of lines) {
		const it = JSON.parse(line);
		if (it.seal) {
			const s = it.seal;
			if (s.number !== seals.length + 1 || s.before !== head.toString('hex') || s.hash !== sealHash(s).toString('hex'))
				return `seal ${s.number}`;
			for (let i = 0; i < s.count; i++) {
				const at = s.keys.slice(48 * i, 48 * i + 48), row = rows.get(at);
				if (!row && Number(Buffer.from(at, 'hex').readBigInt64BE(8)) >= goneBefore)
					return `row ${Buffer.from(at, 'hex').readBigInt64BE(16)} was removed`;
				if (row && row.digest !== s.hashes.slice(64 * i, 64 * i + 64))
					return `row ${row.id} was changed`;
				if (row)
					row.sealed = true;
			}
			head = Buffer.from(s.hash, 'hex');
			seals.push({ hash: s.hash, rows: (seals.at(-1)?.rows ?? 0) + s.count });
		} else if (it.checkpoint) {
			const { text, signature } = it.checkpoint;
			const said = Object.fromEntries(text.trim().split('\n').slice(1).map((l) => l.split(' ')));
			const by = (hex) => verify(null, Buffer.from(text), keyOfHex(hex), Buffer.from(signature, 'hex'));
			if (!signer && !said.key) {
				if (by(trusted))
					vouched = true;
				else
					early.push(by);
			} else if (!signer) {
				signer = vouched ? trusted : said.key;
				if (!early.every((one) => one(signer)))
					return 'the signature of a checkpoint of before keys were named';
				early = [];
			}
			if (signer) {
				// by itself, as the key before it is lost
				const replaced = said.next_key && !by(signer) && by(said.next_key);
				if ((said.key ?? signer) !== signer || !replaced && !by(signer))
					return `the signature of checkpoint ${checkpoints + 1}`;
				vouched = !replaced && vouched || (replaced ? said.next_key : signer) === trusted;
				signer = said.next_key ?? signer;
			}
			if (Number(said.number) !== ++checkpoints || said.before !== before.toString('hex'))
				return `checkpoint ${said.number}`;
			if (seals[said.seal - 1]?.hash !== said.head || seals[said.seal - 1].rows !== Number(said.rows))
				return `seal ${said.seal} is not what checkpoint ${said.number} signs`;
			before = sha256(text);
		} else if (Object.keys(it).length === 1 && 'count' in it) {
			count = it.count;
		} else {
			rows.set(keyOf(it).toString('hex'), { id: it.id, xid: BigInt(it.xid), digest: digestOf(it).toString('hex'), sealed: false });
			if (it.resource === 'audit' && it.verb === 'drop')
				goneBefore = Math.max(goneBefore, Date.UTC(it.object_id.slice(0, 4), Number(it.object_id.slice(4)), 1) * 1000);
		}
	}
	if (count !== rows.size)
		return `${rows.size} rows, ${count} were announced`;
	if (early.length || checkpoints && !vouched)
		return 'no checkpoint is vouched for by the key that is trusted';
	const last = [...rows.values()].filter((r) => r.sealed).reduce((a, r) => (r.xid > a.xid || (r.xid === a.xid && r.id > a.id) ? r : a), { xid: -1n, id: 0 });
	const added = [...rows.values()].find((r) => !r.sealed && (r.xid < last.xid || (r.xid === last.xid && r.id < last.id)));
	return added ? `row ${added.id} was added` : 'intact';
}

if (process.argv[1]?.endsWith('verifier.mjs')) {
	const verdict = await check(readline.createInterface({ input: fs.createReadStream(process.argv[2]) }), createPublicKey(fs.readFileSync(process.argv[3])));
	console.log(verdict);
	process.exitCode = verdict === 'intact' ? 0 : 1;
}
