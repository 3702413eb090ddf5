/*
 * secret.h: secrets come in by stdin or by hand, never as an argument, where every process list would show them.
 */
#ifndef POSTERN_SECRET_H
#define POSTERN_SECRET_H
#include <stdbool.h>

#define SECRET_MAX 1025

/* True when stdin is a terminal, so that a person can be asked. */
bool secret_terminal(void);

/* One line from stdin without its end; on a terminal it asks for `name` and shows nothing of what is typed. False with
 * secret[] wiped when there is no line, it is empty, too long or holds a NUL. The caller wipes it after use. */
bool secret_read(const char *name, char secret[SECRET_MAX]);
#endif
