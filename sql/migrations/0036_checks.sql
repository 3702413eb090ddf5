-- What PostgreSQL itself does not let pass, whoever writes it: values that no endpoint would send, and locks and large objects
-- that are not an endpoint's.
SET LOCAL ROLE postern_owner;

-- Which operation asked for a job: who has it done again must be able to ask for it.
ALTER TABLE postern.jobs ADD COLUMN operation text;

-- Rows from before were judged by the endpoints.
ALTER TABLE postern.accounts
	ADD CONSTRAINT account_username_shape CHECK (username ~ '^[a-z_][a-z0-9_-]{0,31}$') NOT VALID,
	ADD CONSTRAINT account_home_shape CHECK (home ~ '^(/[^/[:cntrl:]]+)+$' AND home !~ '/\.\.?(/|$)') NOT VALID;
ALTER TABLE postern.users ADD CONSTRAINT user_username_shape CHECK (username ~ '^[a-z_][a-z0-9_-]{0,31}$') NOT VALID;
ALTER TABLE postern.domains
	ADD CONSTRAINT domain_shape CHECK (domain ~ '^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$') NOT VALID,
	ADD CONSTRAINT domain_root_shape CHECK (document_root ~ '^(/[^/[:cntrl:]]+)+$' AND document_root !~ '/\.\.?(/|$)') NOT VALID;
ALTER TABLE postern.websites
	ADD CONSTRAINT website_root_shape CHECK (document_root ~ '^(/[^/[:cntrl:]]+)+$' AND document_root !~ '/\.\.?(/|$)') NOT VALID;
-- an expensive hash would keep the mail server's authentication busy for everybody
ALTER TABLE postern.mailboxes
	ADD CONSTRAINT mailbox_address_shape CHECK (address ~ '^[^/@[:cntrl:][:space:]]+@[a-z0-9._-]+$') NOT VALID,
	ADD CONSTRAINT mailbox_password_cost CHECK (password ~ '^\{BLF-CRYPT\}\$2b\$(0[4-9]|1[0-2])\$[./A-Za-z0-9]{53}$') NOT VALID;
ALTER TABLE postern.forwarders
	ADD CONSTRAINT forwarder_address_shape CHECK (address ~ '^[^/@[:cntrl:][:space:]]*@[a-z0-9._-]+$') NOT VALID,
	ADD CONSTRAINT forwarder_destinations_shape
	CHECK (array_to_string(destinations, ' ') ~ '^[^ @|/:"[:cntrl:]]+@[a-z0-9._-]+( [^ @|/:"[:cntrl:]]+@[a-z0-9._-]+)*$') NOT VALID;
ALTER TABLE postern.cron ADD CONSTRAINT cron_command_shape CHECK (command !~ '[[:cntrl:]]') NOT VALID;

RESET ROLE;

-- A lock by number, or a large object, is anybody's who may call these: an endpoint's role may not.
DO $$
DECLARE
	f regprocedure;
BEGIN
	FOR f IN SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace
	         AND p.proname ~ '^(pg_(try_)?advisory_|lo_|lowrite$|loread$)' LOOP
		EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f);
		IF f::text ~ 'advisory' THEN
			EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO postern_owner, postern_gate, postern_tenant, postern_operator', f);
		END IF;
	END LOOP;
END $$;

-- Ends sessions that stand in everybody's way: work.end_stuck.
GRANT pg_signal_backend TO postern_monitor;
