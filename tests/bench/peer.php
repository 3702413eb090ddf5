<?php
// The PHP peer: a list of domains as a careful PHP programmer would serve it from the same tables, with the gate's duties:
// token by key id and HMAC digest, revocation, expiry, states of owner and account, address list, scope, exact limit, the
// audit row committed before the answer. PDO is persistent and uses the fastest way found for it (ask).
// What it is spared: the checksum, role caps, row-level security, ETag, signed cursors, the flood rule, every other route.
// So comparisons flatter it. GET …/domains?page=N (with the exact total) or ?cursor=ID.
declare(strict_types=1);
$begin = hrtime(true);
$db = new PDO(getenv('BENCH_PDO'), null, null, [
	PDO::ATTR_PERSISTENT => true,
	PDO::ATTR_EMULATE_PREPARES => true,
	PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
	PDO::ATTR_DEFAULT_FETCH_MODE => PDO::FETCH_ASSOC,
]);
$request_id = $_SERVER['HTTP_X_REQUEST_ID'];

// Named statements stay with the persistent connection, so PostgreSQL plans each once: twice as fast here as PDO's own
// prepares on either side. BENCH_PLAIN: those on the client's side, which is what most programs do.
function ask(string $name, string $sql, array $values): PDOStatement
{
	global $db;
	if (isset($_SERVER['BENCH_PLAIN'])) {
		$statement = $db->prepare(preg_replace('/\$\d+/', '?', $sql));
		$statement->execute($values);
		return $statement;
	}
	$execute = "EXECUTE $name(" . implode(',', array_map(fn($v) => $v === null ? 'NULL' : (is_int($v) ? $v : $db->quote($v)), $values)) . ')';
	try {
		return $db->query($execute);
	} catch (PDOException $e) {
		if ($e->getCode() !== '26000') // not prepared on this connection yet
			throw $e;
		$db->exec("PREPARE $name AS $sql");
		return $db->query($execute);
	}
}

function answer(int $status, array $body): never
{
	global $request_id;
	$text = json_encode($body + ['timestamp' => gmdate('Y-m-d\TH:i:sP'), 'request_id' => $request_id], JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE);
	http_response_code($status);
	header('Content-Type: application/json; charset=utf-8');
	header('Cache-Control: private, no-cache');
	header('X-Request-Id: ' . $request_id);
	header('Content-Length: ' . strlen($text));
	echo $text;
	exit;
}

function refuse(int $status, string $code): never
{
	answer($status, ['success' => false, 'message' => $code, 'error' => ['code' => $code, 'message' => $code]]);
}

// One row a request, committed by itself: synchronous_commit is on.
function record(array $token, int $status, ?string $reason): void
{
	global $begin, $request_id;
	ask('record', "INSERT INTO postern.audit (account_id, at, request_id, actor, token_id, token_name, user_id, username, resource, verb,
			method, path, status, outcome, reason, duration_us, ip, user_agent)
		VALUES ($1, clock_timestamp(), $2, 'token', $3, $4, $5, $6, 'domain', 'list', $7, $8, $9, $10, $11, $12, $13, $14)", [
		$token['account_id'], $request_id, $token['token_id'], $token['token_name'], $token['user_id'], $token['username'],
		$_SERVER['REQUEST_METHOD'], strtok($_SERVER['REQUEST_URI'], '?'), $status, $status < 400 ? 'allowed' : 'denied',
		$reason, intdiv(hrtime(true) - $begin, 1000), $_SERVER['REMOTE_ADDR'], $_SERVER['HTTP_USER_AGENT'] ?? null]);
}

// --- who asks, and may they? ---
if (!preg_match('/^Bearer [a-z][a-z0-9]{1,9}_([0-9A-Za-z]{8})_([0-9A-Za-z]{32})[0-9A-Za-z]{6}$/', $_SERVER['HTTP_AUTHORIZATION'] ?? '', $given))
	refuse(401, 'unauthorized');
[, $key, $secret] = $given;
$token = ask('who', "SELECT encode(k.digest, 'hex') AS digest, t.id AS token_id, t.name AS token_name, t.account_id, t.user_id, u.username, t.rate_limit,
		t.revoked_at IS NULL AND coalesce(t.expires_at > now(), true) AND coalesce(k.expires_at > now(), true)
			AND u.status = 'active' AND a.status = 'active' AND u.account_id = t.account_id AS good,
		t.allowed_ips = '{}' OR $1::inet <<= ANY (t.allowed_ips) AS address,
		t.scopes && ARRAY['domains:read', 'domains:*', '*'] AND r.scopes && ARRAY['domains:read', 'domains:*', '*']
			AND NOT t.deny && ARRAY['domains:read', 'domains:*', '*'] AS scope
	FROM postern.keys k JOIN postern.tokens t ON t.account_id = k.account_id AND t.id = k.token_id JOIN postern.users u ON u.id = t.user_id
	JOIN postern.roles r ON r.name = u.role LEFT JOIN postern.accounts a ON a.id = t.account_id
	WHERE k.key_id = $2", [$_SERVER['REMOTE_ADDR'], $key])->fetch();
if (!$token || !hash_equals($token['digest'], hash_hmac('sha256', $key . $secret, hex2bin(getenv('BENCH_PEPPER')))))
	refuse(401, 'unauthorized');
foreach (['good' => [401, 'unauthorized'], 'address' => [403, 'forbidden'], 'scope' => [403, 'forbidden']] as $check => [$status, $code])
	if (!$token[$check]) {
		record($token, $status, $check);
		refuse($status, $code);
	}

// --- the limit: one statement counts and judges, so it is exact however many arrive at once ---
$rate = ask('count', "UPDATE postern.rates SET used = CASE WHEN window_start > now() - interval '60 s' THEN used + 1 ELSE 1 END,
		window_start = CASE WHEN window_start > now() - interval '60 s' THEN window_start ELSE now() END,
		last_used_at = now(), last_used_ip = $1
	WHERE token_id = $2 AND (window_start <= now() - interval '60 s' OR used < $3)
	RETURNING used, ceil(extract(epoch FROM window_start))::bigint + 60 AS reset", [$_SERVER['REMOTE_ADDR'], $token['token_id'], $token['rate_limit']])->fetch();
header('X-RateLimit-Limit: ' . $token['rate_limit']);
header('X-RateLimit-Remaining: ' . ($rate ? $token['rate_limit'] - $rate['used'] : 0));
if (!$rate) {
	record($token, 429, 'rate_limit');
	refuse(429, 'rate_limited');
}
header('X-RateLimit-Reset: ' . $rate['reset']);

// --- the list: 21 rows, so that there is a next cursor only where there is more ---
$page = isset($_GET['cursor']) ? null : max(1, (int)($_GET['page'] ?? 1));
$rows = ask('list', 'SELECT ' . getenv('BENCH_FIELDS') . ' FROM domains.item WHERE tenant = $1 AND id > $2 ORDER BY id LIMIT 21 OFFSET $3',
	[$token['account_id'], (int)($_GET['cursor'] ?? 0), $page ? ($page - 1) * 20 : 0])->fetchAll();
$total = $page ? ask('total', 'SELECT count(*) FROM postern.domains WHERE account_id = $1', [$token['account_id']])->fetchColumn() : null;
$more = count($rows) > 20;
$rows = array_slice($rows, 0, 20);
foreach ($rows as &$row) { // the session's time zone is UTC
	foreach (['created_at', 'updated_at'] as $name)
		$row[$name] = str_replace(' ', 'T', $row[$name]) . ':00';
}
unset($row);
record($token, 200, null);
answer(200, ['success' => true, 'message' => 'Domains', 'data' => ['resource' => 'domains', 'items' => $rows, 'total' => $total,
	'page' => $page, 'per_page' => 20, 'next_cursor' => $more ? (string)$rows[19]['id'] : null]]);
