-- Status: a domain shows the worst of its parts, a suspension is shown as one when it holds, and a job that something else on the
-- machine is in the way of waits until that is mended.
SET LOCAL ROLE postern_owner;

-- How the website of a domain is, kept by a trigger (20_websites.sql), so that the domain's row travels as it is.
ALTER TABLE postern.domains ADD COLUMN site_status text, ADD COLUMN site_error text;
-- What of an account's suspension, or of its return, does not hold on the machine yet; null: all of it does.
ALTER TABLE postern.accounts ADD COLUMN lacks text;
-- What is in a job's way, as its action says; null: nothing but itself.
ALTER TABLE postern.jobs ADD COLUMN blocked text;
CREATE INDEX job_blocked ON postern.jobs (status) WHERE blocked IS NOT NULL;

RESET ROLE;
UPDATE postern.domains d SET site_status = w.status, site_error = w.last_error FROM postern.websites w WHERE w.domain_id = d.id;
