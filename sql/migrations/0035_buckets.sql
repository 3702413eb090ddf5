-- What counts in several buckets costs those only whom it can concern.
SET LOCAL ROLE postern_owner;

-- The family whose count must be looked at before it is counted on: where not all of its tokens have one limit, or where `whole` is set.
-- `whole` is set where an account's tokens together could come to its plan's limit.
ALTER TABLE postern.standings ADD COLUMN looked_at uuid;

-- Looked up in every admission: compared byte by byte.
ALTER TABLE postern.operations ALTER COLUMN operation TYPE text COLLATE "C", ALTER COLUMN endpoint TYPE text COLLATE "C";

RESET ROLE;
