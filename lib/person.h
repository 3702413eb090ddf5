/*
 * person.h: who is at the machine? The login name of whoever started this program, for the trail of the operator's command.
 *
 * The kernel's login uid says it, which su and sudo leave as it is and which nobody but root can change. Where there is none (a
 * container, a program that a service started), sudo's word counts, but only for a process of root's that really has sudo above
 * it, as everybody may set SUDO_UID; else it is the user that the program runs as.
 */
#ifndef POSTERN_PERSON_H
#define POSTERN_PERSON_H

enum { PERSON_MAX = 64 };

/* The name, or the number of a user who has none. Returns `name`. */
const char *person_name(char name[PERSON_MAX]);
#endif
