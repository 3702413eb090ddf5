-- me: the caller, as the gate sees it.
DROP SCHEMA IF EXISTS me CASCADE;
CREATE SCHEMA me AUTHORIZATION postern_owner;
SET LOCAL ROLE postern_owner;

CREATE FUNCTION me.show(c postern.caller, args jsonb) RETURNS jsonb
LANGUAGE sql STABLE AS $$
	SELECT jsonb_build_object(
		'user_id', c.user_id, 'username', c.username, 'email', u.email, 'role', u.role,
		'account_id', nullif(c.account_id, 0), 'account', a.username, 'administrator', gate.may_admin(c),
		'token_id', c.token_id, 'token_name', c.token_name, 'key_id', c.key_id,
		'scopes', p.scopes, 'operations', p.operations,
		'deny', to_jsonb(c.deny), 'allowed_ips', to_jsonb(c.allowed_ips::text[]),
		'rate_limit', c.rate_limit, 'action_limit', c.action_limit, 'expires_at', c.expires_at, 'ip', host(c.ip))
	FROM gate.permissions(c) p
	LEFT JOIN postern.users u ON u.id = c.user_id
	LEFT JOIN postern.accounts a ON a.id = c.account_id
$$;

RESET ROLE;
