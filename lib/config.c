/* config.c: one table drives loading, the environment, the sample and printing. */
#include "config.h"
#include "address.h"
#include "nearest.h"
#include "utf8.h"

#include <ctype.h>
#include <errno.h>
#include <libpq-fe.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#ifndef POSTERN_LIBEXECDIR
#define POSTERN_LIBEXECDIR "/usr/libexec/postern"
#endif
#ifndef POSTERN_DATADIR
#define POSTERN_DATADIR "/usr/share/postern"
#endif
#define DEFAULT_PATH "/etc/postern/postern.conf"
#define FILE_BYTES_MAX ((size_t)64 << 10)
#define TEXT_BYTES_MAX 1024

enum type { DSN, PATH, PREFIX, ROLE, SWITCH, NUMBER, FORMAT, CHOICE, COMMAND, NAMES, LISTEN, WEB, EMAIL, SERVICES, BLOCKS, UNIX, SERVER };

struct setting {
	const char *name;
	enum type type;
	const char *unit; /* of a number; of a choice, the words there are */
	long min, max;    /* of a number */
	const char *preset;
	const char *about;
	size_t offset;
	const char *fixed; /* why the API cannot change it; LIVE(): it can; NULL, as a row that says nothing has it: see fixed_by() */
};

#define CHANGES ""
#define AT(member) offsetof(struct config, member), NULL
#define LIVE(member) offsetof(struct config, member), CHANGES
#define FIXED(member, why) offsetof(struct config, member), why
#define OF_THE_TRAIL "how the audit trail is sealed and kept is not for those to say whom it watches"
#define OF_WHERE "it sends posternd, which runs as root, to an address of the setter's choice"
#define OF_NAMES "whose a name is, is decided by it"
#define OF_WHAT_STANDS "what stands on this machine was made by it"
static const struct setting settings[] = {
	{ "dsn", DSN, "", 0, 0, "dbname=postern",
	  "How to reach PostgreSQL, without user: each program adds its own role", AT(dsn) },
	{ "dsn_direct", DSN, "", 0, 0, "",
	  "The same past a pooler, for migrations; left out: dsn", AT(dsn_direct) },
	{ "role_prefix", ROLE, "", 0, 0, "postern_",
	  "Login roles are this and the program's name", AT(role_prefix) },
	{ "pepper_file", PATH, "", 0, 0, "/etc/postern/pepper",
	  "The server-side secret of token digests; keep a copy apart from the database's", AT(pepper_file) },
	{ "sql_dir", PATH, "", 0, 0, POSTERN_DATADIR "/sql",
	  "Folder of migrations and functions", AT(sql_dir) },
	{ "socket_dir", PATH, "", 0, 0, "/run/postern",
	  "Folder of the binaries' sockets", AT(socket_dir) },
	{ "token_prefix", PREFIX, "", 0, 0, "pst",
	  "First letters of new tokens; older ones keep theirs", LIVE(token_prefix) },
	{ "prepare", SWITCH, "", 0, 0, "on",
	  "Named prepared statements; off behind a pooler in transaction mode", AT(prepare) },
	{ "require_https", SWITCH, "", 0, 0, "on",
	  "Refuse tokens over plain HTTP, loopback exempt", LIVE(require_https) },
	{ "open_health", SWITCH, "", 0, 0, "on",
	  "Answer health without a token, in short", LIVE(open_health) },
	{ "open_docs", SWITCH, "", 0, 0, "on",
	  "Show the API description without a token", LIVE(open_docs) },
	{ "threads", NUMBER, "", 1, 256, "32",
	  "Requests served at once by each binary", AT(threads) },
	{ "batch_max", NUMBER, "", 1, 64, "32",
	  "Requests admitted by one statement at most", AT(batch_max) },
	{ "db_idle_s", NUMBER, "seconds", 1, 3600, "60",
	  "Close idle connections to PostgreSQL after", AT(db_idle_s) },
	{ "db_timeout_ms", NUMBER, "milliseconds", 100, 600000, "10000",
	  "Wait for PostgreSQL at most", AT(db_timeout_ms) },
	{ "io_timeout_s", NUMBER, "seconds", 1, 600, "10",
	  "Wait for the web server at most", AT(io_timeout_s) },
	{ "body_max_bytes", NUMBER, "bytes", 1024, 16777216, "1048576",
	  "Largest request body", FIXED(body_max_bytes, "the web server's own limit goes with it") },
	{ "export_max", NUMBER, "", 1, 16, "2",
	  "Exports that a binary writes at once for tenants, one for each account, and for administrators as many again", LIVE(export_max) },
	{ "unknown_token_limit", NUMBER, "requests per minute", 1, 100000, "20",
	  "Well-formed but unknown tokens taken from one client address", LIVE(unknown_token_limit) },
	{ "log_format", FORMAT, "", 0, 0, "text",
	  "Form of log lines", AT(log_format) },
	{ "worker_dir", PATH, "", 0, 0, "/var/lib/postern",
	  "What posternd keeps on disk: locks of running jobs, its key", AT(worker_dir) },
	{ "worker_jobs", NUMBER, "", 1, 64, "4",
	  "Jobs that posternd runs at once", LIVE(worker_jobs) },
	{ "heavy_jobs", NUMBER, "", 0, 63, "0",
	  "Of these, heavy ones (backups, restores, cron jobs run by hand, usage); one place stays for others where there are two; "
	  "0: half of worker_jobs", LIVE(heavy_jobs) },
	{ "account_jobs", NUMBER, "", 1, 64, "2",
	  "Of these, jobs of one account; at most one of them is heavy", LIVE(account_jobs) },
	{ "job_idle_s", NUMBER, "seconds", 5, 86400, "600",
	  "End a job that has neither said anything nor used CPU time for", LIVE(job_idle_s) },
	{ "tenant_memory_mb", NUMBER, "MiB", 0, 16777216, "1024",
	  "Memory of the programs that jobs of one account run as its Unix user; 0: no limit", LIVE(tenant_memory_mb) },
	{ "tenant_processes", NUMBER, "", 0, 1000000, "200",
	  "Processes and threads of these programs; 0: no limit", LIVE(tenant_processes) },
	{ "tenant_cpu_percent", NUMBER, "percent", 0, 100000, "100",
	  "CPU time of these programs, of one CPU; 0: no limit", LIVE(tenant_cpu_percent) },
	{ "tenant_io_weight", NUMBER, "", 1, 1000, "50",
	  "Share of these programs where disks are busy; others have 100", LIVE(tenant_io_weight) },
	{ "audit_seal_s", NUMBER, "seconds", 1, 3600, "10",
	  "Seal new rows of the audit trail every", FIXED(audit_seal_s, OF_THE_TRAIL) },
	{ "audit_checkpoint_s", NUMBER, "seconds", 1, 86400, "60",
	  "Sign the trail's seals every", FIXED(audit_checkpoint_s, OF_THE_TRAIL) },
	{ "audit_months", NUMBER, "months", 0, 1200, "0",
	  "Keep sealed months of the audit trail for; 0: for ever", FIXED(audit_months, OF_THE_TRAIL) },
	{ "audit_public_key", PATH, "", 0, 0, "/etc/postern/audit.pub",
	  "Public key by which the trail's checkpoints are verified; keep a copy elsewhere", AT(audit_public_key) },
	{ "audit_checkpoints", PATH, "", 0, 0, "/var/lib/postern/audit-checkpoints",
	  "File that signed checkpoints are appended to; copy it to where this machine's root does not reach", AT(audit_checkpoints) },
	{ "job_days", NUMBER, "days", 1, 3650, "90",
	  "Keep ended jobs for", LIVE(job_days) },
	{ "event_days", NUMBER, "days", 1, 3650, "30",
	  "Keep events for", LIVE(event_days) },
	{ "actions_dir", PATH, "", 0, 0, POSTERN_LIBEXECDIR "/actions",
	  "Folder of the actions that come with Postern", AT(actions_dir) },
	{ "local_actions_dir", PATH, "", 0, 0, "/etc/postern/actions",
	  "Folder of the administrator's own actions, which go before those of the same name", AT(local_actions_dir) },
	{ "plugins_dir", PATH, "", 0, 0, "/etc/postern/plugins",
	  "Folder of the administrator's plugins, each a folder with plugin.json and actions/", AT(plugins_dir) },
	{ "reserved_names", NAMES, "", 0, 0, "",
	  "Host names that no tenant may claim, such as the panel's own; this machine's name is one of them", LIVE(reserved_names) },
	{ "public_suffix_list", PATH, "", 0, 0, "/usr/share/publicsuffix/public_suffix_list.dafsa",
	  "The list of public suffixes (publicsuffix.org), as text or compiled: names on it are nobody's", AT(public_suffix_list) },
	{ "domain_proof", CHOICE, "required off", 0, 0, "required",
	  "Whether a tenant's domain must be shown to be theirs before mail is taken and a website is served for it; off: their word is enough",
	  FIXED(domain_proof, OF_NAMES) },
	{ "machine_addresses", BLOCKS, "", 0, 0, "",
	  "Addresses of this machine, to which a tenant's domain may lead as a proof; left out: those of its network interfaces, without "
	  "loopback and link-local ones", FIXED(machine_addresses, OF_NAMES) },
	{ "dns_server", SERVER, "", 0, 0, "",
	  "Who is asked where a domain leads; left out: the system's resolvers", FIXED(dns_server, OF_NAMES) },
	{ "unix_users", CHOICE, "adopt create none", 0, 0, "adopt",
	  "An account's Unix user: create (useradd makes it), adopt (none is made: each account takes one that exists, where an administrator "
	  "asks for that), none (a folder only, which belongs to posternd)", FIXED(unix_users, OF_WHAT_STANDS) },
	{ "privileged_groups", UNIX, "", 0, 0, "root sudo wheel adm admin staff docker podman lxd incus incus-admin shadow disk kmem kvm libvirt* "
	  "systemd-* tty dialout input crontab mail postgres mysql redis ssl-cert ssh backup operator www-data nginx apache postern*",
	  "Groups that give rights on the machine: none of their members is adopted as an account's user, nor runs cron jobs; "
	  "the web server's is one of them",
	  FIXED(privileged_groups, "whom Postern takes for harmless is not for the API to say") },
	{ "home_dir", PATH, "", 0, 0, "/home",
	  "Folder that accounts' homes are in: <home_dir>/<username>/home of a user that Postern makes, <home_dir>/<username> else", AT(home_dir) },
	{ "web_user", UNIX, "", 0, 0, "www-data",
	  "Unix user as whom nginx and Apache serve: the one user beside its owner who may enter an account's home",
	  FIXED(web_user, OF_WHAT_STANDS) },
	{ "mail_dir", PATH, "", 0, 0, "/var/vmail",
	  "Folder that mail is kept in, as Dovecot's sql.conf.ext says", AT(mail_dir) },
	{ "mailbox_kick", COMMAND, "", 0, 0, "",
	  "Ends the sessions of a mailbox of an account that is suspended or removed: a program that is called with the address, such as "
	  "/usr/bin/doveadm kick; left out: they last until their clients leave", AT(mailbox_kick) },
	{ "mail_host", NAMES, "", 0, 0, "",
	  "Host name by which people's programs reach their mailboxes (IMAP) and send mail (SMTP), as mailboxes show it; left out: this "
	  "machine's name. `postern migrate` takes a change over", AT(mail_host) },
	{ "imap_port", NUMBER, "", 1, 65535, "993",
	  "Port of IMAP there", AT(imap_port) },
	{ "smtp_port", NUMBER, "", 1, 65535, "587",
	  "Port there that takes mail from those who log in", AT(smtp_port) },
	{ "cron_dir", PATH, "", 0, 0, "/var/spool/cron/crontabs",
	  "Folder of users' crontabs, as Debian's cron has it", AT(cron_dir) },
	{ "cron_results_dir", PATH, "", 0, 0, "/var/spool/postern",
	  "Folder that runs of cron jobs leave their results in, a folder for each user, until posternd collects them", AT(cron_results_dir) },
	{ "databases_postgresql_dsn", DSN, "", 0, 0, "",
	  "How posternd reaches the PostgreSQL server of accounts' databases, with its user, who needs CREATEDB and CREATEROLE (a "
	  "password belongs into its passfile); left out: no such databases", AT(databases_postgresql_dsn) },
	{ "database_transaction_max_s", NUMBER, "seconds", 0, 86400, "900",
	  "End the session of an account's user in PostgreSQL whose transaction has written and is open for this long (such a one holds "
	  "up vacuum of the whole server); 0: never", LIVE(database_transaction_max_s) },
	{ "mariadb_command", COMMAND, "", 0, 0, "",
	  "The client with which posternd administers the MariaDB server of accounts' databases, such as /usr/bin/mariadb "
	  "--defaults-file=/etc/postern/mariadb.cnf; left out: no such databases", AT(mariadb_command) },
	{ "database_host", NAMES, "", 0, 0, "",
	  "Host name by which accounts' programs reach their databases, as databases show it; left out: the host of "
	  "databases_postgresql_dsn where it names one, else localhost. `postern migrate` takes a change over", AT(database_host) },
	{ "mariadb_port", NUMBER, "", 1, 65535, "3306",
	  "Port of MariaDB there; PostgreSQL's is that of databases_postgresql_dsn, else 5432", AT(mariadb_port) },
	{ "domain_websites", SWITCH, "", 0, 0, "on",
	  "Create a website with each domain that does not say website: false", LIVE(domain_websites) },
	{ "default_web_server", CHOICE, "nginx apache", 0, 0, "nginx",
	  "Web server of websites that name none", LIVE(default_web_server) },
	{ "nginx_sites_dir", PATH, "", 0, 0, "/etc/nginx/postern-sites",
	  "Folder of the virtual hosts for nginx; its http {} must include all *.conf of it", AT(nginx_sites_dir) },
	{ "nginx_test", COMMAND, "", 0, 0, "/usr/sbin/nginx -t",
	  "Checks nginx's configuration", AT(nginx_test) },
	{ "nginx_reload", COMMAND, "", 0, 0, "/usr/sbin/nginx -s reload",
	  "Has nginx read its configuration again", AT(nginx_reload) },
	{ "nginx_dump", COMMAND, "", 0, 0, "/usr/sbin/nginx -T",
	  "Shows nginx's whole configuration: names that it serves already are not a tenant's to claim", AT(nginx_dump) },
	{ "nginx_listen", LISTEN, "", 0, 0, "*:80 [::]:80",
	  "Where nginx serves virtual hosts over plain HTTP", FIXED(nginx_listen, OF_WHAT_STANDS) },
	{ "nginx_listen_tls", LISTEN, "", 0, 0, "*:443 [::]:443",
	  "Where nginx serves virtual hosts over TLS", FIXED(nginx_listen_tls, OF_WHAT_STANDS) },
	{ "apache_sites_dir", PATH, "", 0, 0, "/etc/apache2/postern-sites",
	  "Folder of the virtual hosts for Apache, which must include all *.conf of it", AT(apache_sites_dir) },
	{ "apache_test", COMMAND, "", 0, 0, "/usr/sbin/apache2ctl configtest",
	  "Checks Apache's configuration", AT(apache_test) },
	{ "apache_reload", COMMAND, "", 0, 0, "/usr/sbin/apache2ctl graceful",
	  "Has Apache read its configuration again", AT(apache_reload) },
	{ "apache_dump", COMMAND, "", 0, 0, "/usr/sbin/apache2ctl -S",
	  "Shows Apache's virtual hosts: names that it serves already are not a tenant's to claim", AT(apache_dump) },
	{ "postconf_command", COMMAND, "", 0, 0, "/usr/sbin/postconf",
	  "Shows Postfix's settings: domains that it takes mail for already are not a tenant's to claim", AT(postconf_command) },
	{ "postmap_command", COMMAND, "", 0, 0, "/usr/sbin/postmap",
	  "Looks these domains up where Postfix has them in a table", AT(postmap_command) },
	{ "apache_listen", LISTEN, "", 0, 0, "*:80",
	  "Where Apache serves virtual hosts over plain HTTP", FIXED(apache_listen, OF_WHAT_STANDS) },
	{ "apache_listen_tls", LISTEN, "", 0, 0, "*:443",
	  "Where Apache serves virtual hosts over TLS", FIXED(apache_listen_tls, OF_WHAT_STANDS) },
	{ "php_dir", PATH, "", 0, 0, "/etc/php",
	  "Folder of PHP's configurations, <version>/fpm below it, in which pools are looked for", AT(php_dir) },
	{ "app_sockets_dir", PATH, "", 0, 0, "/var/lib/postern-apps",
	  "Folder of the sockets of accounts' applications: <app_sockets_dir>/<username>/s/<name> for proxy_target unix:<name>", AT(app_sockets_dir) },
	{ "web_reload_pause_ms", NUMBER, "milliseconds", 0, 60000, "1000",
	  "Between two reloads of a web server; one reload does for all websites that were changed meanwhile", LIVE(web_reload_pause_ms) },
	{ "php_socket", PATH, "", 0, 0, "/run/php/php%v-fpm-%u.sock",
	  "PHP-FPM's socket for an account; %v is the version of PHP, %u the Unix user", AT(php_socket) },
	{ "acme_webroot", PATH, "", 0, 0, "/var/www/postern-acme",
	  "Every virtual host shows /.well-known/acme-challenge/ of this folder", AT(acme_webroot) },
	{ "ssl_dir", PATH, "", 0, 0, "/etc/postern/ssl",
	  "Folder of certificates: <domain>/fullchain.pem and <domain>/privkey.pem", AT(ssl_dir) },
	{ "acme_directory", WEB, "", 0, 0, "https://acme-v02.api.letsencrypt.org/directory",
	  "Certificate authority: the address of its ACME directory", FIXED(acme_directory, OF_WHERE) },
	{ "acme_email", EMAIL, "", 0, 0, "",
	  "Where the certificate authority reaches the administrator; left out: it is given none", LIVE(acme_email) },
	{ "acme_command", COMMAND, "", 0, 0, "/usr/bin/uacme",
	  "The ACME client, uacme", AT(acme_command) },
	{ "worker_public", PATH, "", 0, 0, "/etc/postern/worker.pem",
	  "Public key of posternd, to which secrets on their way to it are encrypted; the private one is worker_dir/key", AT(worker_public) },
	{ "templates_dir", PATH, "", 0, 0, POSTERN_DATADIR,
	  "Folder of the templates that come with Postern, such as nginx/site.conf.in", AT(templates_dir) },
	{ "local_templates_dir", PATH, "", 0, 0, "/etc/postern/templates",
	  "Folder of the administrator's own templates, which go before those of the same name", AT(local_templates_dir) },
	{ "pg_dump_command", COMMAND, "", 0, 0, "/usr/bin/pg_dump",
	  "The program that dumps databases of PostgreSQL, at least as new as the server", AT(pg_dump_command) },
	{ "pg_restore_command", COMMAND, "", 0, 0, "/usr/bin/pg_restore",
	  "The program that reads such dumps", AT(pg_restore_command) },
	{ "mariadb_dump_command", PATH, "", 0, 0, "/usr/bin/mariadb-dump",
	  "The program that dumps databases of MariaDB, called with the options of mariadb_command", AT(mariadb_dump_command) },
	{ "backup_engine", COMMAND, "", 0, 0, "/usr/bin/restic",
	  "The program that keeps backups: restic, with words in front of it (nice) or after it as wanted", AT(backup_engine) },
	{ "backup_repository", PATH, "", 0, 0, "/var/lib/postern/backups",
	  "Folder of the backups' repository, made when the first one is", AT(backup_repository) },
	{ "backup_password_file", PATH, "", 0, 0, "/var/lib/postern/backups.password",
	  "The password that the repository is encrypted with, made with it; keep a copy elsewhere: without it no backup can be read",
	  AT(backup_password_file) },
	{ "backup_keep_last", NUMBER, "", 1, 1000, "7",
	  "Backups of each kind that are kept of an account that does not say otherwise", LIVE(backup_keep_last) },
	{ "backup_keep_deleted_days", NUMBER, "days", 0, 36500, "90",
	  "Keep the backups of a deleted account for; 0: until somebody deletes them", LIVE(backup_keep_deleted_days) },
	{ "backup_ballast_mb", NUMBER, "MiB", 0, 65536, "64",
	  "A file of this size lies in the repository, and goes where a full disk keeps a backup from being deleted, so that it can be; 0: none",
	  AT(backup_ballast_mb) },
	{ "backup_every_h", NUMBER, "hours", 0, 8760, "0",
	  "Make a full backup of every account this often; 0: only when asked to", LIVE(backup_every_h) },
	{ "services", SERVICES, "", 0, 0, "",
	  "System services of this machine that may be looked at, started and stopped over the API, such as nginx postfix; where there is no "
	  "systemd, each with its pid file or socket: nginx:/run/nginx.pid", FIXED(services, "which services may be touched over the API is not for the API to say") },
	{ "service_manager", CHOICE, "auto systemd none", 0, 0, "auto",
	  "What knows of these services; auto: systemd where it runs", AT(service_manager) },
	{ "systemctl_command", COMMAND, "", 0, 0, "/usr/bin/systemctl",
	  "How posternd asks systemd", AT(systemctl_command) },
	{ "service_command", COMMAND, "", 0, 0, "",
	  "Where there is no systemd: a program that is called with a service's name and start, stop, restart or reload, such as "
	  "/usr/sbin/service; left out: they are stopped and reloaded by signal, and cannot be started", AT(service_command) },
	{ "metrics_addresses", BLOCKS, "", 0, 0, "",
	  "Who may read /metrics without a token, beside those who hold metrics:read; behind a proxy every request may come from its "
	  "address", LIVE(metrics_addresses) },
	{ "watch_s", NUMBER, "seconds", 1, 3600, "15",
	  "Look at this machine and its services every", LIVE(watch_s) },
	{ "disk_warning_pct", NUMBER, "percent", 1, 100, "85",
	  "Warn where a file system has used so much of its space or inodes", LIVE(disk_warning_pct) },
	{ "disk_critical_pct", NUMBER, "percent", 1, 100, "95",
	  "Call that critical from", LIVE(disk_critical_pct) },
	{ "memory_warning_pct", NUMBER, "percent", 1, 100, "90",
	  "Warn where so much of the memory is not available", LIVE(memory_warning_pct) },
	{ "memory_critical_pct", NUMBER, "percent", 1, 100, "97",
	  "Call that critical from", LIVE(memory_critical_pct) },
	{ "swap_warning_pct", NUMBER, "percent", 1, 100, "80",
	  "Warn where so much of the swap space is used", LIVE(swap_warning_pct) },
	{ "load_warning_pct", NUMBER, "percent", 1, 100000, "200",
	  "Warn where the load of five minutes is so much of the number of CPUs", LIVE(load_warning_pct) },
	{ "load_critical_pct", NUMBER, "percent", 1, 100000, "800",
	  "Call that critical from", LIVE(load_critical_pct) },
	{ "connections_warning_pct", NUMBER, "percent", 1, 100, "80",
	  "Warn where so many of PostgreSQL's connections are used", LIVE(connections_warning_pct) },
	{ "connections_critical_pct", NUMBER, "percent", 1, 100, "95",
	  "Call that critical from", LIVE(connections_critical_pct) },
	{ "transaction_warning_s", NUMBER, "seconds", 1, 604800, "3600",
	  "Warn of a transaction that is open for so long", LIVE(transaction_warning_s) },
	{ "replication_warning_s", NUMBER, "seconds", 1, 604800, "60",
	  "Warn where a replica is so far behind", LIVE(replication_warning_s) },
	{ "queue_warning_s", NUMBER, "seconds", 1, 604800, "300",
	  "Warn where a job that is due has waited for so long", LIVE(queue_warning_s) },
	{ "queue_critical_s", NUMBER, "seconds", 1, 604800, "3600",
	  "Call that critical from", LIVE(queue_critical_s) },
	{ "certificate_warning_days", NUMBER, "days", 1, 365, "14",
	  "Warn of certificates that expire so soon", LIVE(certificate_warning_days) },
	{ "certificate_critical_days", NUMBER, "days", 0, 365, "3",
	  "Call that critical from", LIVE(certificate_critical_days) },
	{ "backup_warning_h", NUMBER, "hours", 0, 87600, "0",
	  "Warn where an account's last good backup is older, or there is none; 0: than twice backup_every_h, and never where that is 0",
	  LIVE(backup_warning_h) },
	{ "usage_every_h", NUMBER, "hours", 0, 8760, "24",
	  "Measure what each account takes up this often; 0: never", LIVE(usage_every_h) },
	{ "usage_logs", PATH, "", 0, 0, "",
	  "The web server's access logs in combined format, from which transfer is counted: %d is a domain, %u the account's user name, such as "
	  "/var/log/nginx/%d.access.log; left out: it is not counted", AT(usage_logs) },
};
#define SETTINGS (sizeof settings / sizeof *settings)
_Static_assert(SETTINGS <= CONFIG_SETTINGS_MAX, "a source for each");

/* What is being read, for messages: an empty file stands for the environment and the defaults. */
struct source {
	const char *file;
	unsigned line;
	FILE *err;
};

static void *member(const struct config *c, const struct setting *s)
{
	return (char *)c + s->offset;
}

static bool is_text(enum type type)
{
	return type == DSN || type == PATH || type == PREFIX || type == ROLE || type == CHOICE || type == COMMAND || type == NAMES || type == LISTEN ||
	       type == WEB || type == EMAIL || type == SERVICES || type == BLOCKS || type == UNIX || type == SERVER;
}

static bool complain(const struct source *from, const char *name, const char *remedy)
{
	if (from->line)
		fprintf(from->err, "%s:%u: %s: %s.\n", from->file, from->line, name, remedy);
	else
		fprintf(from->err, "%s: %s: %s.\n", from->file, name, remedy);
	return false;
}

/* What a value must be, for messages and the sample. */
static void describe(const struct setting *s, char *out, size_t size)
{
	switch (s->type) {
	case DSN:    snprintf(out, size, "a libpq connection string or URI"); break;
	case PATH:   snprintf(out, size, "an absolute path"); break;
	case PREFIX: snprintf(out, size, "2 to 10 of a-z 0-9, starting with a letter"); break;
	case ROLE:   snprintf(out, size, "1 to 32 of a-z 0-9 _, starting with a letter"); break;
	case SWITCH: snprintf(out, size, "on or off"); break;
	case FORMAT: snprintf(out, size, "text or json"); break;
	case CHOICE: snprintf(out, size, "one of: %s", s->unit); break;
	case NAMES: snprintf(out, size, "host names, separated by spaces"); break;
	case COMMAND: snprintf(out, size, "a program by its absolute path, with its arguments; no shell reads it"); break;
	case LISTEN: snprintf(out, size, "addresses with ports, separated by spaces, such as *:80 [::]:80"); break;
	case WEB:    snprintf(out, size, "an address that begins with https://"); break;
	case EMAIL:  snprintf(out, size, "an e-mail address"); break;
	case SERVICES: snprintf(out, size, "at most %d names of letters, digits and @ . _ -, each perhaps with : and an absolute path, separated by spaces",
	                            CONFIG_SERVICES_MAX); break;
	case UNIX:   snprintf(out, size, "names of Unix users or groups, separated by spaces; * stands for any text"); break;
	case SERVER: snprintf(out, size, "an IPv4 address with a port, such as 127.0.0.1:53"); break;
	case BLOCKS: snprintf(out, size, "addresses or blocks of addresses (CIDR), separated by spaces"); break;
	case NUMBER:
		snprintf(out, size, "a whole number%s%s from %ld to %ld", *s->unit ? " of " : "", s->unit, s->min, s->max);
		break;
	}
}

static bool is_word(const char *text, size_t min, size_t max, const char *others)
{
	size_t len = strlen(text);
	if (len < min || len > max || !islower((unsigned char)text[0]))
		return false;
	for (; *text; text++)
		if (!(*text >= 'a' && *text <= 'z') && !(*text >= '0' && *text <= '9') && !strchr(others, *text))
			return false;
	return true;
}

/* Addresses with ports; what each means is the web server's to judge. */
static bool is_listen(const char *text)
{
	size_t words = 0;

	for (const char *at = text; *at; at += strspn(at, " ")) {
		const char *end = at + strcspn(at, " "), *colon = end;

		while (colon > at && *colon != ':')
			colon--;
		if (colon == at || colon + 1 == end || strspn(colon + 1, "0123456789") != (size_t)(end - colon - 1) ||
		    strspn(at, "0123456789abcdefABCDEF.:[]*") != (size_t)(end - at))
			return false;
		words++;
		at = end;
	}
	return words > 0 && words <= 16;
}

static bool is_dsn(const char *text)
{
	PQconninfoOption *options = PQconninfoParse(text, NULL);
	PQconninfoFree(options);
	return options;
}

/* Lower case, as they are compared; A-labels. */
static bool are_names(const char *text)
{
	return strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789.- ") == strlen(text);
}

static bool are_unix_names(const char *text)
{
	return *text && strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-* ") == strlen(text);
}

/* Each begins with a letter, so that it is neither a number nor an option. */
static bool are_services(const char *text)
{
	int count = 0;

	for (const char *at = text; *at; at += strspn(at, " ")) {
		size_t len = strcspn(at, " "), name = strcspn(at, ": ");

		if (++count > CONFIG_SERVICES_MAX || !isalpha((unsigned char)*at) || name > 64 || (name < len && at[name + 1] != '/') ||
		    strspn(at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@._-") < name)
			return false;
		at += len;
	}
	return *text != ' ';
}

static bool are_blocks(const char *text)
{
	char one[ADDRESS_TEXT_MAX], block[ADDRESS_TEXT_MAX];
	const char *why;

	for (const char *at = text; *at; at += strspn(at, " ")) {
		size_t len = strcspn(at, " ");

		snprintf(one, sizeof one, "%.*s", (int)len, at);
		if (len >= sizeof one || !address_parse_cidr(one, block, &why))
			return false;
		at += len;
	}
	return true;
}

static bool is_server(const char *text)
{
	char address[ADDRESS_TEXT_MAX], canonical[ADDRESS_TEXT_MAX];
	const char *colon = strrchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : 0;
	long port = colon && isdigit((unsigned char)colon[1]) && strlen(colon) <= 6 ? strtol(colon + 1, NULL, 10) : 0;

	if (!len || len >= sizeof address || strchr(text, ':') != colon || colon[1 + strspn(colon + 1, "0123456789")] || port < 1 || port > 65535)
		return false;
	memcpy(address, text, len);
	address[len] = '\0';
	return address_parse(address, canonical);
}

static bool is_switch(const char *text, bool *on)
{
	*on = !strcmp(text, "on") || !strcmp(text, "true") || !strcmp(text, "yes");
	return *on || !strcmp(text, "off") || !strcmp(text, "false") || !strcmp(text, "no");
}

static bool is_one_of(const char *words, const char *text)
{
	size_t len = strlen(text);

	for (const char *at = words; *at; at += strcspn(at, " "), at += *at == ' ')
		if (strcspn(at, " ") == len && strncmp(at, text, len) == 0)
			return len > 0;
	return false;
}

static bool store_text(char **where, const char *text)
{
	char *copy = strdup(text);
	if (!copy)
		return false;
	free(*where);
	*where = copy;
	return true;
}

/* Judge a value and keep it; false with what it must be. That never repeats it: a dsn may hold a password. */
static bool keep(struct config *c, const struct setting *s, const char *value, char *remedy, size_t size)
{
	bool fits = false;
	switch (s->type) {
	case DSN:    fits = (!*value && !*s->preset) || (*value && is_dsn(value)); break;
	case PATH:   fits = (!*value && !*s->preset) || *value == '/'; break;
	case NAMES: fits = are_names(value); break;
	case SERVICES: fits = are_services(value); break;
	case BLOCKS: fits = are_blocks(value); break;
	case UNIX:   fits = are_unix_names(value); break;
	case SERVER: fits = !*value || is_server(value); break;
	case COMMAND: fits = (!*value && !*s->preset) || *value == '/'; break;
	case LISTEN: fits = is_listen(value); break;
	case WEB:    fits = !strncmp(value, "https://", 8) && value[8] && !strchr(value, ' '); break;
	case EMAIL:  fits = !*value || (isalnum((unsigned char)*value) && strchr(value, '@') && !strchr(value, ' ')); break;
	case CHOICE: fits = is_one_of(s->unit, value); break;
	case PREFIX: fits = is_word(value, 2, 10, ""); break;
	case ROLE:   fits = is_word(value, 1, 32, "_"); break;
	case SWITCH: {
		bool on;
		fits = is_switch(value, &on);
		if (fits)
			*(bool *)member(c, s) = on;
		break;
	}
	case NUMBER: {
		char *end;
		errno = 0;
		long number = strtol(value, &end, 10);
		fits = isdigit((unsigned char)*value) && !*end && !errno && number >= s->min && number <= s->max;
		if (fits)
			*(int *)member(c, s) = (int)number;
		break;
	}
	case FORMAT: {
		bool json = !strcmp(value, "json");
		fits = json || !strcmp(value, "text");
		*(enum log_format *)member(c, s) = json ? LOG_JSON : LOG_TEXT;
		break;
	}
	}
	if (is_text(s->type)) {
		if (strlen(value) > TEXT_BYTES_MAX || strchr(value, '"')) {
			snprintf(remedy, size, "must be at most 1024 bytes without double quotes (in a URI write %%22)");
			return false;
		}
		if (fits && !store_text(member(c, s), value)) {
			snprintf(remedy, size, "out of memory");
			return false;
		}
	}
	if (!fits) {
		char must[160];
		describe(s, must, sizeof must);
		snprintf(remedy, size, "must be %s; default: %s", must, *s->preset ? s->preset : "left out");
	}
	return fits;
}

static bool set(struct config *c, const struct setting *s, const char *value, const struct source *from, enum config_source source)
{
	char remedy[400];

	c->source[s - settings] = (unsigned char)source;
	return keep(c, s, value, remedy, sizeof remedy) || complain(from, s->name, remedy);
}

static bool complain_unknown(const struct source *from, const char *name)
{
	const char *names[SETTINGS];
	for (size_t i = 0; i < SETTINGS; i++)
		names[i] = settings[i].name;
	const char *known = nearest(name, names, SETTINGS);
	char remedy[160];
	snprintf(remedy, sizeof remedy, known ? "unknown setting; did you mean %s?" : "unknown setting; remove the line%s",
	         known ? known : "");
	return complain(from, name, remedy);
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static char *trim(char *text)
{
	while (is_space(*text))
		text++;
	size_t len = strlen(text);
	while (len && is_space(text[len - 1]))
		len--;
	text[len] = '\0';
	return text;
}

/* The value in what follows the '=', without quotes and comment; NULL when its quotes are wrong. */
static char *value_of(char *text)
{
	text = trim(text);
	if (*text == '"') {
		char *end = strchr(++text, '"');
		if (!end)
			return NULL;
		*end = '\0';
		const char *rest = trim(end + 1);
		return !*rest || *rest == '#' ? text : NULL;
	}
	for (char *p = text; *p; p++) {
		if (*p == '#' && (p == text || is_space(p[-1]))) {
			*p = '\0';
			break;
		}
	}
	return trim(text);
}

static bool read_line(struct config *c, char *line, const struct source *from, bool seen[SETTINGS])
{
	line = trim(line);
	if (!*line || *line == '#')
		return true;
	char *equals = strchr(line, '=');
	if (!equals)
		return complain(from, "line", "has no '='; settings are written name = value, comments start with #");
	*equals = '\0';
	const char *name = trim(line);
	for (size_t i = 0; i < SETTINGS; i++) {
		if (strcmp(settings[i].name, name))
			continue;
		if (seen[i])
			return complain(from, name, "is set twice; keep one of the lines");
		seen[i] = true;
		const char *value = value_of(equals + 1);
		if (!value)
			return complain(from, name, "has text after its value, or no closing double quote; write name = \"value\"");
		return set(c, &settings[i], value, from, CONFIG_FILE);
	}
	return complain_unknown(from, name);
}

static bool has_control(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (((unsigned char)text[i] < ' ' && !strchr("\t\r\n", text[i])) || !text[i] || text[i] == 0x7f)
			return true;
	return false;
}

static bool read_text(struct config *c, char *text, size_t len, const char *path, FILE *err)
{
	struct source from = { path, 0, err };
	for (size_t i = 0, n; i < len; i += n) {
		n = utf8_sequence(text + i, len - i);
		if (!n)
			return complain(&from, "file", "is not valid UTF-8");
	}
	if (has_control(text, len))
		return complain(&from, "file", "holds control characters; it is a text file");

	bool seen[SETTINGS] = { false }, fine = true;
	for (char *line = text, *next; line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		from.line++;
		fine = read_line(c, line, &from, seen) && fine;
	}
	return fine;
}

static bool read_file(struct config *c, const char *path, bool asked_for, FILE *err)
{
	struct source from = { path, 0, err };
	FILE *file = fopen(path, "re");
	if (!file)
		return (errno == ENOENT && !asked_for) || complain(&from, "file", strerror(errno));

	bool fine = false;
	char *text = malloc(FILE_BYTES_MAX + 1);
	size_t len = text ? fread(text, 1, FILE_BYTES_MAX, file) : 0;
	if (!text) {
		complain(&from, "file", "out of memory");
	} else if (ferror(file)) {
		complain(&from, "file", strerror(errno));
	} else if (len == FILE_BYTES_MAX) {
		complain(&from, "file", "is too large; at most 64 KiB are read");
	} else {
		text[len] = '\0';
		fine = read_text(c, text, len, path, err);
	}
	free(text);
	fclose(file);
	return fine;
}

static bool read_environment(struct config *c, FILE *err)
{
	bool fine = true;
	for (size_t i = 0; i < SETTINGS; i++) {
		char name[64] = "POSTERN_";
		size_t len = strlen(name);
		for (const char *p = settings[i].name; *p; p++)
			name[len++] = (char)toupper((unsigned char)*p);
		const char *value = getenv(name);
		if (!value)
			continue;
		struct source from = { name, 0, err };
		if (has_control(value, strlen(value)))
			fine = complain(&from, settings[i].name, "holds control characters");
		else
			fine = set(c, &settings[i], value, &from, CONFIG_ENVIRONMENT) && fine;
	}
	return fine;
}

bool config_load(struct config *c, const char *path, FILE *err)
{
	*c = (struct config){ 0 };
	struct source presets = { "defaults", 0, err };
	bool fine = true;
	for (size_t i = 0; i < SETTINGS; i++)
		fine = set(c, &settings[i], settings[i].preset, &presets, CONFIG_DEFAULT) && fine;

	if (!path)
		path = getenv("POSTERN_CONFIG");
	c->path = path ? path : DEFAULT_PATH;
	fine = read_file(c, c->path, path, err) && fine;
	fine = read_environment(c, err) && fine;
	if (fine && !*c->dsn_direct && !store_text(&c->dsn_direct, c->dsn))
		fine = complain(&presets, "dsn_direct", "out of memory");
	if (!fine)
		config_free(c);
	return fine;
}

void config_free(struct config *c)
{
	for (size_t i = 0; i < SETTINGS; i++)
		if (is_text(settings[i].type))
			free(*(char **)member(c, &settings[i]));
	*c = (struct config){ 0 };
}

bool config_reserves(const struct config *c, const char *name)
{
	char own[256] = "";
	size_t len = strlen(name);

	if (gethostname(own, sizeof own - 1) == 0 && strcasecmp(own, name) == 0)
		return true;
	for (const char *at = c->reserved_names; *at; at += strcspn(at, " "), at += strspn(at, " "))
		if (strcspn(at, " ") == len && strncmp(at, name, len) == 0)
			return true;
	return false;
}

/* Why it is for postern.conf alone, or NULL. Whoever may set a program, a folder or a role, may become whoever runs posternd. */
static const char *fixed_by(const struct setting *s)
{
	switch (s->type) {
	case PATH: case COMMAND:
		return "it names a program or a place on this machine: who may change that is who may write postern.conf";
	case DSN: case ROLE:
		return "it says where the database is, which must be known before it can be asked";
	default:
		return !s->fixed ? "it is read when a program starts" : *s->fixed ? s->fixed : NULL;
	}
}

bool config_describe(size_t i, struct setting_text *s)
{
	static const char *const types[] = {
		[DSN] = "text", [PATH] = "text", [PREFIX] = "text", [ROLE] = "text", [SWITCH] = "switch", [NUMBER] = "number", [FORMAT] = "choice",
		[CHOICE] = "choice", [COMMAND] = "text", [NAMES] = "text", [LISTEN] = "text", [WEB] = "text", [EMAIL] = "text", [SERVICES] = "text", [BLOCKS] = "text", [UNIX] = "text",
		[SERVER] = "text"
	};
	const struct setting *it = &settings[i];

	if (i >= SETTINGS)
		return false;
	*s = (struct setting_text){
		.name = it->name, .about = it->about, .preset = it->preset, .type = types[it->type], .fixed = fixed_by(it), .min = it->min,
		.max = it->max, .unit = it->type == NUMBER && *it->unit ? it->unit : NULL,
		.choices = it->type == CHOICE ? it->unit : it->type == FORMAT ? "text json" : NULL
	};
	describe(it, s->takes, sizeof s->takes);
	return true;
}

static const struct setting *find(const char *name)
{
	for (size_t i = 0; i < SETTINGS; i++)
		if (strcmp(settings[i].name, name) == 0)
			return &settings[i];
	return NULL;
}

bool config_judge(const char *name, const char *value, char *remedy, size_t size)
{
	const struct setting *s = find(name);
	struct config scratch = { 0 };
	bool fine = false;

	if (!s)
		snprintf(remedy, size, "there is no such setting");
	else if (has_control(value, strlen(value)))
		snprintf(remedy, size, "holds control characters");
	else
		fine = keep(&scratch, s, value, remedy, size);
	config_free(&scratch);
	return fine;
}

bool config_copy(struct config *to, const struct config *from)
{
	bool fine = true;

	*to = *from;
	for (size_t i = 0; i < SETTINGS; i++)
		if (is_text(settings[i].type)) {
			char **text = member(to, &settings[i]);

			*text = NULL;
			fine = store_text(text, *(char **)member(from, &settings[i])) && fine;
		}
	if (!fine)
		config_free(to);
	return fine;
}

bool config_lay(struct config *c, const char *name, const char *value)
{
	const struct setting *s = find(name);
	char remedy[400];

	if (!s || fixed_by(s) || has_control(value, strlen(value)))
		return false;
	if (c->source[s - settings] == CONFIG_ENVIRONMENT)
		return true; /* which goes over it */
	if (!keep(c, s, value, remedy, sizeof remedy))
		return false;
	c->source[s - settings] = CONFIG_DATABASE;
	return true;
}

const char *config_source(const struct config *c, size_t i)
{
	static const char *const words[] = {
		[CONFIG_DEFAULT] = "default", [CONFIG_FILE] = "file", [CONFIG_ENVIRONMENT] = "environment", [CONFIG_DATABASE] = "database"
	};

	return words[c->source[i]];
}

void config_print_sample(FILE *out)
{
	fputs("# postern.conf: settings of Postern. Lines are: name = value. Values may stand in double quotes, and must\n"
	      "# where they hold \" #\". The environment, as POSTERN_<NAME IN CAPITALS>, goes over this file, and this\n"
	      "# file over the defaults, which are shown here.\n", out);
	struct setting_text s;
	for (size_t i = 0; config_describe(i, &s); i++)
		fprintf(out, "\n# %s.\n# Takes %s.\n#%s = %s\n", s.about, s.takes, s.name, s.preset);
}

bool config_holds_password(const char *dsn)
{
	PQconninfoOption *parts = PQconninfoParse(dsn, NULL);
	bool holds = false;

	for (const PQconninfoOption *p = parts; p && p->keyword; p++)
		holds |= p->dispchar[0] == '*' && p->val && *p->val;
	PQconninfoFree(parts);
	return holds;
}

/* The parts of a connection string, those that libpq calls passwords masked. */
static void print_dsn(const char *dsn, FILE *out)
{
	PQconninfoOption *options = PQconninfoParse(dsn, NULL);
	const char *space = "";
	for (const PQconninfoOption *o = options; o && o->keyword; o++) {
		if (!o->val)
			continue;
		fprintf(out, "%s%s=", space, o->keyword);
		space = " ";
		if (o->dispchar[0] == '*') {
			fputs("********", out);
			continue;
		}
		bool quoted = !*o->val || strpbrk(o->val, " '\\");
		fputs(quoted ? "'" : "", out);
		for (const char *p = o->val; *p; p++)
			fprintf(out, strchr("'\\", *p) ? "\\%c" : "%c", *p);
		fputs(quoted ? "'" : "", out);
	}
	PQconninfoFree(options);
}

static void print_value(const struct config *c, const struct setting *s, FILE *out)
{
	void *value = member(c, s);

	if (s->type == DSN)
		print_dsn(*(char **)value, out);
	else if (is_text(s->type))
		fputs(*(char **)value, out);
	else if (s->type == SWITCH)
		fputs(*(bool *)value ? "on" : "off", out);
	else if (s->type == NUMBER)
		fprintf(out, "%d", *(int *)value);
	else
		fputs(*(enum log_format *)value == LOG_JSON ? "json" : "text", out);
}

char *config_value(const struct config *c, size_t i)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (out) {
		print_value(c, &settings[i], out);
		fclose(out);
	}
	return text;
}

void config_print(const struct config *c, FILE *out)
{
	for (size_t i = 0; i < SETTINGS; i++) {
		const char *quote = is_text(settings[i].type) ? "\"" : "";

		fprintf(out, "%s = %s", settings[i].name, quote);
		print_value(c, &settings[i], out);
		fprintf(out, "%s%s\n", quote, c->source[i] == CONFIG_DATABASE ? " # of the database" : "");
	}
}
