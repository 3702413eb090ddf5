/*
 * links.h: does the kernel follow symbolic links that a tenant puts into a sticky folder of root's?
 */
#ifndef POSTERN_LINKS_H
#define POSTERN_LINKS_H
#include <stdbool.h>

/* False: fs.protected_symlinks is set, or the folder (open) lies on a mount with nosymfollow. True also where neither can be told. */
bool links_are_followed(int folder);
#endif
