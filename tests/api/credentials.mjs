// What the tests of the gate share: tokens by the API (fast), token texts that were never minted, a clock that can be moved.
import { randomInt } from 'node:crypto';

const base62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
export const shape = /^[a-z][a-z0-9]{1,9}_[0-9A-Za-z]{8}_[0-9A-Za-z]{38}$/;

function crc32(text) {
	let crc = 0xffffffff;
	for (const byte of Buffer.from(text)) {
		crc ^= byte;
		for (let bit = 0; bit < 8; bit++)
			crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return (crc ^ 0xffffffff) >>> 0;
}

// The six digits that end a token.
export function checksum(head) {
	let n = crc32(head), text = '';
	for (let i = 0; i < 6; i++, n = Math.floor(n / 62))
		text = base62[n % 62] + text;
	return text;
}

const random = (n) => Array.from({ length: n }, () => base62[randomInt(62)]).join('');

// Well-formed, never minted; with `keyId`: a wrong secret for that key.
export function stranger(keyId = random(8)) {
	const head = `pst_${keyId}_${random(32)}`;
	return head + checksum(head);
}

// The same token with its checksum broken.
export const broken = (token) => token.slice(0, -1) + (token.endsWith('0') ? '1' : '0');

// Make a token over the API; answers its row with its value. `by`: the minting token, default the administrator's.
export async function mint(s, fields = {}, by = s.token) {
	const made = await s.ask('/api/tokens', { method: 'POST', token: by, body: { name: s.unique('tok'), ...fields } });
	if (made.status !== 201)
		throw new Error(`no token: ${made.status} ${made.text}`);
	return made.json;
}

// Replace the database's clock by one that the test moves: await is not needed, every statement reads it anew.
export function takeClock(s) {
	s.psql(`CREATE TABLE postern.test_clock (ahead interval NOT NULL, still timestamptz);
		INSERT INTO postern.test_clock VALUES ('0');
		GRANT SELECT ON postern.test_clock TO PUBLIC;
		CREATE OR REPLACE FUNCTION postern.clock() RETURNS timestamptz LANGUAGE sql VOLATILE PARALLEL SAFE
		AS 'SELECT coalesce(still, pg_catalog.clock_timestamp() + ahead) FROM postern.test_clock';`);
	return {
		set: (ahead) => s.psql(`UPDATE postern.test_clock SET ahead = '${ahead}'`),
		stop: () => s.psql('UPDATE postern.test_clock SET still = clock_timestamp() + ahead'),
		start: () => s.psql('UPDATE postern.test_clock SET still = NULL'),
		forward: (by) => s.psql(`UPDATE postern.test_clock SET ahead = ahead + '${by}'`),
	};
}

// Run jobs with at most `width` under way; answers their results in order.
export async function spread(jobs, width = 16) {
	const results = new Array(jobs.length);
	let next = 0;
	await Promise.all(Array.from({ length: Math.min(width, jobs.length) }, async () => {
		while (next < jobs.length) {
			const i = next++;
			results[i] = await jobs[i]();
		}
	}));
	return results;
}
