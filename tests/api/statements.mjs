// The statements behind the gate (sql/functions/90_endpoints.sql), as a binary sends them, for tests that stand in its place.
export const literal = (value, type) => (value === undefined || value === null ? `NULL::${type}` : `'${String(value).replaceAll("'", "''")}'::${type}`);

// serve's parameters: name, type, and what a request has that says nothing of it.
const columns = [['key', 'text'], ['digest', 'bytea'], ['ip', 'text', '127.0.0.1'], ['insecure', 'boolean', false], ['admin', 'boolean', false],
	['operation', 'text'], ['op', 'text', ''], ['id', 'text'], ['limit', 'int', 21], ['args', 'text'], ['match', 'text'], ['refused', 'int'],
	['refusal', 'text'], ['later', 'boolean', false], ['request_id', 'text', '00000000-0000-4000-8000-000000000000'], ['object', 'text'],
	['method', 'text', 'GET'], ['path', 'text', '/'], ['agent', 'text'], ['elapsed_us', 'bigint', 0]];
export const serve = (schema, requests, more = {}) => `"${schema}".serve(${columns.map(([name, type, otherwise]) =>
	more[name] ?? `ARRAY[${requests.map((r) => literal(name in r ? r[name] : otherwise, type))}]`)}, 0)`;
// A whole batch of equal requests, whose texts are SQL that a loop has in its variables.
export const serveAll = (schema, n, texts) => serve(schema, [], Object.fromEntries(columns.map(([name, type, otherwise]) =>
	[name, texts[name] ?? `array_fill(${literal(otherwise, type)}, ARRAY[${n}])`])));
export const write = (schema, { key, digest, ticket, id, body = {}, match, dry = false, wait = false, idempotency, fingerprint }) =>
	`"${schema}".write(${[[key, 'text'], [digest, 'bytea'], [ticket, 'bigint'], [id, 'text'], [JSON.stringify(body), 'jsonb'], [match, 'text[]'], [dry, 'boolean'],
		[wait, 'boolean'], [null, 'text[]'], [0, 'bigint'], [idempotency, 'bytea'], [fingerprint, 'bytea']].map(([value, type]) => literal(value, type))})`;
// The key of a token and its digest, as a binary has them that was sent the token.
export const keyOf = (s, token) => s.sql(`SELECT key_id AS key, '\\x' || encode(digest, 'hex') AS digest FROM postern.keys WHERE key_id = '${token.split('_')[1]}'`)[0];
