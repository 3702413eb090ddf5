-- openapi: the description of the API is made by its binary; here it is only admitted.
DROP SCHEMA IF EXISTS openapi CASCADE;
CREATE SCHEMA openapi AUTHORIZATION postern_owner;
