/*
 * servers.h: where people's and accounts' programs reach databases and mail, as the settings say. `postern migrate` tells
 * the database (gate.learn_servers), so that databases and mailboxes name their servers.
 */
#ifndef POSTERN_SERVERS_H
#define POSTERN_SERVERS_H
struct config;
struct json_object;

/* Lists of name, host and port: postgresql and mariadb; imap and smtp. */
struct json_object *servers_of_databases(const struct config *);
struct json_object *servers_of_mail(const struct config *);
#endif
