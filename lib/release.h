/*
 * release.h: is what is installed what was released? Programs and files against the manifest that `make install` writes
 * (as sha256sum does), migrations against those shipped, modes of configuration and key files. What cannot be seen is said.
 */
#ifndef POSTERN_RELEASE_H
#define POSTERN_RELEASE_H
#include "api.h"

/* `tell`: {database, migrations, grants} as SQL knows them become the whole report. */
int release_tell(struct request *, struct json_object *document);
#endif
