// The Node peer: fastify and pg, two processes, doing what peer.php does (see there for what both are spared). It is asked
// directly, without a web server in front, which flatters it; pg prepares each statement once a connection.
// environment: BENCH_PORT, BENCH_SOCKET (folder of PostgreSQL's), BENCH_PEPPER
import cluster from 'node:cluster';
import { createHmac, randomUUID, timingSafeEqual } from 'node:crypto';

const PROCESSES = 2, CONNECTIONS = 4; // each
if (cluster.isPrimary) {
	for (let i = 0; i < PROCESSES; i++)
		cluster.fork();
	process.on('SIGTERM', () => process.exit(0)); // the workers end with their channel
	cluster.on('exit', () => process.exit(1));
} else {
	process.on('disconnect', () => process.exit(0));
	await serve();
}

async function serve() {
	const { default: fastify } = await import('fastify');
	const { default: pg } = await import('pg');
	pg.types.setTypeParser(pg.types.builtins.INT8, Number);
	pg.types.setTypeParser(pg.types.builtins.TIMESTAMPTZ, (text) => `${text.replace(' ', 'T')}:00`); // without a Date, which costs; the session has UTC
	const pool = new pg.Pool({ host: process.env.BENCH_SOCKET, database: 'postern', user: 'bench', max: CONNECTIONS });
	const pepper = Buffer.from(process.env.BENCH_PEPPER, 'hex');
	const shape = /^Bearer [a-z][a-z0-9]{1,9}_([0-9A-Za-z]{8})_([0-9A-Za-z]{32})[0-9A-Za-z]{6}$/;
	const ask = async (name, text, values) => (await pool.query({ name, text, values })).rows;

	const who = `SELECT k.digest, t.id AS token_id, t.name AS token_name, t.account_id, t.user_id, u.username, t.rate_limit,
			t.revoked_at IS NULL AND coalesce(t.expires_at > now(), true) AND coalesce(k.expires_at > now(), true)
				AND u.status = 'active' AND a.status = 'active' AND u.account_id = t.account_id AS good,
			t.allowed_ips = '{}' OR $2::inet <<= ANY (t.allowed_ips) AS address,
			t.scopes && ARRAY['domains:read', 'domains:*', '*'] AND r.scopes && ARRAY['domains:read', 'domains:*', '*']
				AND NOT t.deny && ARRAY['domains:read', 'domains:*', '*'] AS scope
		FROM postern.keys k JOIN postern.tokens t ON t.account_id = k.account_id AND t.id = k.token_id JOIN postern.users u ON u.id = t.user_id
		JOIN postern.roles r ON r.name = u.role LEFT JOIN postern.accounts a ON a.id = t.account_id
		WHERE k.key_id = $1`;
	const count = `UPDATE postern.rates SET used = CASE WHEN window_start > now() - interval '60 s' THEN used + 1 ELSE 1 END,
			window_start = CASE WHEN window_start > now() - interval '60 s' THEN window_start ELSE now() END,
			last_used_at = now(), last_used_ip = $1
		WHERE token_id = $2 AND (window_start <= now() - interval '60 s' OR used < $3)
		RETURNING used, ceil(extract(epoch FROM window_start))::bigint + 60 AS reset`;
	const list = `SELECT ${process.env.BENCH_FIELDS} FROM domains.item WHERE tenant = $1 AND id > $2 ORDER BY id LIMIT 21 OFFSET $3`;
	const total_of = 'SELECT count(*) AS total FROM postern.domains WHERE account_id = $1';
	const row_of = `INSERT INTO postern.audit (account_id, at, request_id, actor, token_id, token_name, user_id, username, resource, verb,
			method, path, status, outcome, reason, duration_us, ip, user_agent)
		VALUES ($1, clock_timestamp(), $2, 'token', $3, $4, $5, $6, 'domain', 'list', $7, $8, $9, $10, $11, $12, $13, $14)`;

	const app = fastify();
	app.get('/domains', async (request, reply) => {
		const begin = process.hrtime.bigint(), id = randomUUID();
		const record = (token, status, reason) => ask('record', row_of, [token.account_id, id, token.token_id, token.token_name, token.user_id,
			token.username, request.method, '/domains', status, status < 400 ? 'allowed' : 'denied', reason,
			(process.hrtime.bigint() - begin) / 1000n, request.ip, request.headers['user-agent'] ?? null]);
		const answer = (status, body) => {
			reply.code(status).header('Content-Type', 'application/json; charset=utf-8').header('Cache-Control', 'private, no-cache').header('X-Request-Id', id);
			return { ...body, timestamp: new Date().toISOString(), request_id: id };
		};
		const refuse = (status, code) => answer(status, { success: false, message: code, error: { code, message: code } });

		const given = shape.exec(request.headers.authorization ?? '');
		if (!given)
			return refuse(401, 'unauthorized');
		const [token] = await ask('who', who, [given[1], request.ip]);
		if (!token || !timingSafeEqual(token.digest, createHmac('sha256', pepper).update(given[1] + given[2]).digest()))
			return refuse(401, 'unauthorized');
		for (const [check, status, code] of [['good', 401, 'unauthorized'], ['address', 403, 'forbidden'], ['scope', 403, 'forbidden']])
			if (!token[check]) {
				await record(token, status, check);
				return refuse(status, code);
			}
		const [rate] = await ask('count', count, [request.ip, token.token_id, token.rate_limit]);
		reply.header('X-RateLimit-Limit', token.rate_limit).header('X-RateLimit-Remaining', rate ? token.rate_limit - rate.used : 0);
		if (!rate) {
			await record(token, 429, 'rate_limit');
			return refuse(429, 'rate_limited');
		}
		reply.header('X-RateLimit-Reset', rate.reset);
		const page = request.query.cursor === undefined ? Math.max(1, Number(request.query.page ?? 1)) : null;
		const rows = await ask('list', list, [token.account_id, request.query.cursor ?? 0, page ? (page - 1) * 20 : 0]);
		const total = page ? (await ask('total', total_of, [token.account_id]))[0].total : null;
		const items = rows.slice(0, 20);
		await record(token, 200, null);
		return answer(200, { success: true, message: 'Domains', data: { resource: 'domains', items, total, page, per_page: 20,
			next_cursor: rows.length > 20 ? String(items[19].id) : null } });
	});
	await app.listen({ host: '127.0.0.1', port: Number(process.env.BENCH_PORT) });
}
