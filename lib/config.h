/*
 * config.h: settings. One file (postern.conf), one table (config.c) with name, type, unit, bounds, default and meaning.
 * File syntax: "name = value" a line, '#' comments, blank lines; values may be quoted with "". Order of precedence:
 * environment POSTERN_<NAME IN CAPITALS> over database over file over default. Unknown names and values out of bounds are
 * errors that name file, line, setting and remedy. File and environment are read once at start; what the database holds of
 * the settings that may change while programs run is laid over them (settings.h).
 */
#ifndef POSTERN_CONFIG_H
#define POSTERN_CONFIG_H
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum log_format { LOG_TEXT = 0, LOG_JSON };
enum config_source { CONFIG_DEFAULT = 0, CONFIG_FILE, CONFIG_ENVIRONMENT, CONFIG_DATABASE };
enum { CONFIG_SETTINGS_MAX = 128, CONFIG_SERVICES_MAX = 128 };

struct config {
	const char *path;        /* of the file that was read, or would be if there were one; borrowed */
	unsigned char source[CONFIG_SETTINGS_MAX]; /* where each setting's value comes from, in the table's order */
	char *dsn;               /* libpq connection string, without user: each program adds its own role */
	char *dsn_direct;        /* the same past a pooler, for migrations; default: dsn */
	char *role_prefix;       /* login roles are <role_prefix><program>, default "postern_" */
	char *pepper_file;       /* default /etc/postern/pepper */
	char *sql_dir;           /* migrations and functions, default <datadir>/sql */
	char *socket_dir;        /* where the binaries' sockets are, for snippets and doctor, default /run/postern */
	char *token_prefix;      /* for minting only, default "pst" */
	bool prepare;            /* named prepared statements; off behind a pooler in transaction mode; default on */
	bool require_https;      /* default on; loopback is exempt */
	bool open_health;        /* health answers without a token, default on */
	bool open_docs;          /* the API description is open, default on */
	int threads;             /* requests served at once per binary, 1..256, default 32 */
	int batch_max;           /* requests admitted by one statement, 1..64, default 32 */
	int db_idle_s;           /* close idle connections after, 1..3600, default 60 */
	int db_timeout_ms;       /* wait for PostgreSQL at most, 100..600000, default 10000 */
	int io_timeout_s;        /* wait for the web server at most, 1..600, default 10 */
	int body_max_bytes;      /* request body, 1024..16777216, default 1048576 */
	int export_max;          /* exports that a binary writes at once, 1..16, default 2 */
	int unknown_token_limit; /* per minute and address, 1..100000, default 20 */
	enum log_format log_format; /* text (default) or json */
	char *worker_dir;        /* posternd's locks and key, default /var/lib/postern */
	int worker_jobs;         /* run at once, 1..64, default 4 */
	int heavy_jobs;          /* of these, 0..63, default 0: half of them */
	int account_jobs;        /* of one account, 1..64, default 2 */
	int job_idle_s;          /* 5..86400, default 600 */
	int tenant_memory_mb;    /* of programs that run as a tenant, 0..16777216, default 1024; 0: no limit */
	int tenant_processes;    /* 0..1000000, default 200 */
	int tenant_cpu_percent;  /* 0..100000, default 100: one CPU */
	int tenant_io_weight;    /* 1..1000, default 50 */
	int audit_seal_s, audit_checkpoint_s; /* seal and sign the trail every, default 10 and 60 */
	int audit_months;        /* keep sealed months, default 0: for ever */
	char *audit_public_key;  /* default /etc/postern/audit.pub */
	char *audit_checkpoints; /* appended to, default /var/lib/postern/audit-checkpoints */
	int job_days, event_days; /* how long ended jobs and events are kept, 1..3650, default 90 and 30 */
	char *actions_dir;       /* default <libexecdir>/postern/actions */
	char *local_actions_dir; /* goes before it, default /etc/postern/actions */
	char *plugins_dir;       /* default /etc/postern/plugins */
	char *reserved_names;    /* no tenant's, separated by spaces, default "" */
	char *public_suffix_list; /* path; see suffix.h */
	char *domain_proof;      /* "required", "off" */
	char *machine_addresses; /* blocks, separated by spaces; "": those of the interfaces */
	char *dns_server;        /* "address:port"; "": the system's */
	char *unix_users;        /* "adopt" (default), "create", "none" */
	char *privileged_groups; /* patterns, separated by spaces; their members are nobody's account */
	char *home_dir;          /* of accounts, default /home */
	char *web_user;          /* nginx and Apache serve as, default www-data */
	char *mail_dir;          /* mailboxes' folders, default /var/vmail */
	char *mailbox_kick;      /* command line, called with an address; "": none */
	char *mail_host;         /* that people are told; "": this machine's name */
	int imap_port, smtp_port; /* there, 1..65535, default 993 and 587 */
	char *cron_dir;          /* users' crontabs, default /var/spool/cron/crontabs */
	char *cron_results_dir;  /* default /var/spool/postern */
	char *databases_postgresql_dsn; /* administrator's, of accounts' databases; "": none there */
	int database_transaction_max_s; /* default 900; 0: they may stay open */
	char *mariadb_command;   /* the same for MariaDB: a client that is logged in */
	char *database_host;     /* that people are told; "": the DSN's, else localhost */
	int mariadb_port;        /* there, 1..65535, default 3306 */
	bool domain_websites;    /* a domain gets a website unless it says otherwise, default on */
	char *default_web_server; /* "nginx" (default), "apache" */
	char *nginx_sites_dir;   /* our virtual hosts, default /etc/nginx/postern-sites */
	char *nginx_test, *nginx_reload, *nginx_dump; /* command lines */
	char *nginx_listen, *nginx_listen_tls; /* addresses with ports, default "*:80 [::]:80", "*:443 [::]:443" */
	char *apache_sites_dir;  /* default /etc/apache2/postern-sites */
	char *apache_test, *apache_reload, *apache_dump;
	char *postconf_command, *postmap_command;
	char *apache_listen, *apache_listen_tls; /* default "*:80", "*:443" */
	char *php_dir;           /* default /etc/php */
	char *app_sockets_dir;   /* default /var/lib/postern-apps */
	int web_reload_pause_ms; /* 0..60000, default 1000 */
	char *php_socket;        /* of PHP-FPM; %v: version, %u: Unix user; default /run/php/php%v-fpm-%u.sock */
	char *acme_webroot;      /* every virtual host shows its /.well-known/acme-challenge, default /var/www/postern-acme */
	char *ssl_dir;           /* <domain>/fullchain.pem and privkey.pem, default /etc/postern/ssl */
	char *acme_directory;    /* of the certificate authority, default Let's Encrypt's */
	char *acme_email;        /* or "" */
	char *acme_command;      /* default /usr/bin/uacme */
	char *worker_public;     /* secrets for posternd are encrypted to it, default /etc/postern/worker.pem */
	char *templates_dir;     /* default <datadir>: nginx/site.conf.in, apache/site.conf.in */
	char *local_templates_dir; /* goes before it, default /etc/postern/templates */
	char *pg_dump_command;   /* default /usr/bin/pg_dump */
	char *pg_restore_command; /* default /usr/bin/pg_restore */
	char *mariadb_dump_command; /* default /usr/bin/mariadb-dump */
	char *backup_engine;     /* command, default /usr/bin/restic */
	char *backup_repository; /* default /var/lib/postern/backups */
	char *backup_password_file; /* default /var/lib/postern/backups.password */
	int backup_keep_last;    /* 1..1000, default 7 */
	int usage_every_h;       /* 0..8760, default 24; 0: never */
	char *usage_logs;        /* path with %d or %u, or "" */
	int backup_keep_deleted_days; /* 0..36500, default 90; 0: until somebody deletes them */
	int backup_ballast_mb;   /* 0..65536, default 64 */
	int backup_every_h;      /* 0..8760, default 0: never */
	char *services;          /* of this machine, "name" or "name:/pid/file", default "" */
	char *service_manager;   /* "auto" (default), "systemd", "none" */
	char *systemctl_command; /* default /usr/bin/systemctl */
	char *service_command;   /* where there is no systemd: called with name and verb; "": none */
	char *metrics_addresses; /* may read /metrics without a token, default "" */
	int watch_s;             /* look at machine and services every, 1..3600, default 15 */
	int disk_warning_pct, disk_critical_pct;
	int memory_warning_pct, memory_critical_pct;
	int swap_warning_pct;
	int load_warning_pct, load_critical_pct; /* of one for each CPU */
	int connections_warning_pct, connections_critical_pct;
	int transaction_warning_s;
	int replication_warning_s;
	int queue_warning_s, queue_critical_s;
	int certificate_warning_days, certificate_critical_days;
	int backup_warning_h;    /* 0 (default): twice backup_every_h */
};

/* Load from path (NULL: $POSTERN_CONFIG, else /etc/postern/postern.conf; a default path that is missing is no error, a
 * path that was asked for is). Errors are written to `err` as sentences, one a line. False when there was any. */
bool config_load(struct config *, const char *path, FILE *err);
void config_free(struct config *);

/* Is this host name (lower case, A-labels) reserved for the installation? */
bool config_reserves(const struct config *, const char *name);

/* The table as a sample postern.conf (comments with meaning, unit, bounds; defaults commented out). */
void config_print_sample(FILE *);
/* The table for other readers: row `i`, texts in *s; false past the end. */
struct setting_text {
	const char *name, *about, *preset;
	const char *type;            /* number, switch, choice, text */
	const char *unit, *choices;  /* or NULL */
	long min, max;               /* of a number */
	const char *fixed;           /* why it cannot change while programs run; NULL: it can */
	char takes[160];
};
bool config_describe(size_t i, struct setting_text *s);

/* Would the file's reader take this value? False with its message. */
bool config_judge(const char *name, const char *value, char *remedy, size_t size);
/* Its value as the file has it, without quotes, passwords in dsn masked; the caller frees it. And where it comes from. */
char *config_value(const struct config *, size_t i);
const char *config_source(const struct config *, size_t i);

/* A copy, to lay what the database holds over. False when out of memory. */
bool config_copy(struct config *, const struct config *);
/* Lay a value of the database over; the environment's stays. False where it may not be changed so, or does not fit. */
bool config_lay(struct config *, const char *name, const char *value);

/* The settings in force, one "name = value" a line; passwords in dsn masked. */
void config_print(const struct config *, FILE *);
/* Whether a connection string has a password in it, as libpq reads it. */
bool config_holds_password(const char *dsn);
#endif
