-- The endpoint that describes the API.
INSERT INTO postern.endpoints VALUES ('openapi', NULL, NULL);
