// What is measured. A candidate has
//   name      for ONLY= and the tables
//   title     for people
//   base      where requests go
//   requests  whole HTTP requests, sent in turn (load.lua, openloop.c)
//   status    the only one expected
//   trail     what the audit trail must then hold: 'rows', one a request; 'refusals', counted; nothing for those without one
//   before, after   run around each round
//   needs     what must be started: 'apache', 'node', 'million'
//   proof     which verification it stands on: 'nginx', 'apache', 'million', 'php', 'node'
const raw = (method, target, token, body) => `${method} ${target} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\nAccept: application/json\r\n${
	token ? `Authorization: Bearer ${token.text}\r\n` : ''}${
	body ? `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n` : ''}\r\n${body ?? ''}`;
const get = (target, token) => raw('GET', target, token);

const list = '/api/v1/domains';
// Four requests for each token, one round of all tokens after the other.
const rounds = (tokens, make) => [0, 1, 2, 3].flatMap((at) => tokens.map((token, i) => make(token, at, i)));
const byCursor = (token, at) => get(`${list}?cursor=${token.account.cursors[at]}`, token);
const byPage = (path, { domains }, pages = domains / 20) => (token, at, i) => get(`${path}?page=${1 + (i + at * Math.floor(pages / 4)) % pages}`, token);
const byId = (path) => (token, at) => get(`${path}?cursor=${token.account.ids[at * 20 + 19]}`, token); // the peers' cursor
const one = (token, at, i) => get(`${list}/${token.account.ids[(at * 29 + i) % token.account.ids.length]}`, token);

const loads = {
	cursor: (h) => rounds(h.tokens.slice(0, 1000), byCursor),
	page: (h) => rounds(h.tokens.slice(0, 1000), byPage(list, h)),
	get: (h) => rounds(h.tokens.slice(0, 1000), one),
	half: (h) => rounds(h.tokens.slice(0, 1000), (token, at, i) => (i % 2 ? one : byCursor)(token, (at + i) % 4, i)),
	me: (h) => h.tokens.slice(0, 1000).map((token) => get('/api/v1/me', token)),
	hot: (h) => rounds(h.tokens.slice(0, 1), byCursor),
	tokens10k: (h) => rounds(h.tokens, byCursor),
	create: (h) => h.tokens.slice(0, 1000).map((token) => raw('POST', list, token, '{"domain":"new##########.bench.example"}')),
	endpoints: (h) => rounds(h.tokens.slice(0, 1000), (token, at, i) => {
		const ways = [byCursor, one, ...['accounts', 'tokens', 'users', 'me'].map((name) => () => get(`/api/v1/${name}`, token))];
		return ways[(at + i) % ways.length](token, at, i);
	}),
};

export const all = [
	{ name: 'nginx', title: 'nginx alone (return 200)', requests: (h) => h.tokens.slice(0, 1000).map((t) => get('/bench/nginx', t)) },
	{ name: 'floor', title: 'floor: empty libfcgi answer', requests: (h) => rounds(h.tokens.slice(0, 1000), (t, at) => get(`/bench/floor?cursor=${t.account.cursors[at]}`, t)), sample: true },
	{ name: 'cursor', title: 'list by cursor', requests: loads.cursor, proof: 'nginx', sample: true },
	{ name: 'page', title: 'list by page, exact total', requests: loads.page, proof: 'nginx' },
	{ name: 'get', title: 'one object', requests: loads.get, proof: 'nginx' },
	{ name: 'half', title: 'half lists, half objects', requests: loads.half, proof: 'nginx' },
	{ name: 'me', title: 'me', requests: loads.me, proof: 'nginx' },
	{ name: 'endpoints', title: 'five endpoints at once', requests: loads.endpoints, proof: 'nginx', sample: true },
	{ name: 'hot', title: 'list by cursor, one token', requests: loads.hot, proof: 'nginx' },
	{ name: 'tokens10k', title: 'list by cursor, 10,000 tokens', requests: loads.tokens10k, proof: 'nginx' },
	{ name: 'million', title: 'list by cursor, 1 M domains', requests: loads.cursor, proof: 'million', needs: 'million' },
	{ name: 'million-page', title: 'list by page, 1 M domains', requests: loads.page, proof: 'million', needs: 'million' },
	{ name: 'apache', title: 'list by cursor, through Apache', requests: loads.cursor, proof: 'apache', needs: 'apache' },
	{ name: '401', title: '401, a revoked token', requests: (h) => [get(list, h.bad.revoked)], status: 401, trail: 'refusals', proof: 'nginx' },
	{ name: '403', title: '403, a scope too few', requests: (h) => [get(list, h.bad.scope)], status: 403, trail: 'refusals', proof: 'nginx' },
	{
		name: '429', title: '429, a limit used up', requests: (h) => [get(list, h.bad.limit)], status: 429, trail: 'refusals', proof: 'nginx',
		// used up from this moment on, for a minute
		before: (h) => h.stack.psql(`UPDATE postern.rates SET window_start = postern.clock(), used = 60 WHERE token_id = '${h.bad.limit.id}'`),
	},
	{ name: 'php', title: 'PHP-FPM, list by cursor', requests: (h) => rounds(h.tokens.slice(0, 1000), byId('/bench/php/domains')), proof: 'php', sample: true },
	{ name: 'php-page', title: 'PHP-FPM, list by page', requests: (h) => rounds(h.tokens.slice(0, 1000), byPage('/bench/php/domains', h)), proof: 'php' },
	{ name: 'php-hot', title: 'PHP-FPM, one token', requests: (h) => rounds(h.tokens.slice(0, 1), byId('/bench/php/domains')), proof: 'php' },
	{ name: 'php-plain', title: 'PHP-FPM, by cursor, plain prepares', requests: (h) => rounds(h.tokens.slice(0, 1000), byId('/bench/php-plain/domains')), proof: 'php' },
	{ name: 'node', title: 'Node, list by cursor', requests: (h) => rounds(h.tokens.slice(0, 1000), byId('/domains')), proof: 'node', needs: 'node', sample: true },
	// last in a round, as it fills tables that are cleared then
	{ name: 'create', title: 'create', requests: loads.create, status: 201, proof: 'nginx', after: (h) => h.dropCreated() },
].map((c) => ({ status: 200, trail: c.proof && 'rows', ...(c.trail === 'refusals' && { longest_s: 50 }), ...c })); // a window has 60 s

// At a fixed rate: the same requests again.
export const open = ['floor', 'cursor', 'php', 'node'].map((name) => ({ ...all.find((c) => c.name === name), name: `open-${name}`, sample: false }));
