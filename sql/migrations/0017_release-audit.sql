-- The endpoint that compares an installation with its release.
INSERT INTO postern.endpoints VALUES ('release-audit', NULL, NULL);
