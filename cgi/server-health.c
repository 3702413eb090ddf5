/* server-health.c: how the machine is. Its parts and the verdict are made in sql/functions/20_server-health.sql. */
#include "api.h"

static const struct field fields[] = {
	{ "status",       F_ENUM,      0,            "Verdict", .choices = "ok warning critical" },
	{ "reasons",      F_JSON,      0,            "Why it is no better: severity, subject and message of each" },
	{ "time",         F_TIMESTAMP, 0,            "The database's clock" },
	{ "machine",      F_TEXT,      F_MAYBE_NULL, "Name of the machine that posternd runs on; null: it never ran" },
	{ "machine_time", F_TIMESTAMP, F_MAYBE_NULL, "When posternd looked at it: the setting watch_s says how often" },
	{ "system",       F_TEXT,      F_MAYBE_NULL, "Its operating system" },
	{ "kernel",       F_TEXT,      F_MAYBE_NULL, "Release of its kernel" },
	{ "architecture", F_TEXT,      F_MAYBE_NULL, "Its processors' kind" },
	{ "uptime_s",     F_INT,       F_MAYBE_NULL, "Seconds since it was started" },
	{ "cpus",         F_INT,       F_MAYBE_NULL, "Number of CPUs" },
	{ "load",         F_JSON,      F_MAYBE_NULL, "Load of one, five and fifteen minutes" },
	{ "cpu",          F_JSON,      F_MAYBE_NULL, "used_pct: how busy CPUs were since the look before" },
	{ "memory",       F_JSON,      F_MAYBE_NULL, "total_bytes, available_bytes, used_pct" },
	{ "swap",         F_JSON,      F_MAYBE_NULL, "total_bytes, used_bytes, used_pct" },
	{ "disks",        F_JSON,      0,            "File systems: mount, device, type, total_bytes, used_bytes, available_bytes, used_pct, inodes, inodes_used, inodes_used_pct" },
	{ "network",      F_JSON,      0,            "Interfaces: name, received_bytes, sent_bytes, errors, dropped" },
	{ "containment",  F_JSON,      F_MAYBE_NULL, "How tenants' programs are limited: by (group or process), limits; missing: those that there are not, null: none; reason" },
	{ "worker",       F_JSON,      0,            "Whether posternd is at work" },
	{ "audit",        F_JSON,      0,            "Whether the audit trail is in order" },
	{ "postgresql",   F_JSON,      0,            "connections and their maximum, oldest_transaction_s, replicas, sizes of databases (the largest, looked up every five minutes)" },
	{ "jobs",         F_JSON,      0,            "queued, running, oldest_due_s, failed_last_day" },
	{ "feed",         F_JSON,      0,            "Events that are not in the feed yet: waiting, and delay_s of the oldest" },
	{ "services",     F_JSON,      0,            "The services of the machine, and their state" },
	{ "certificates", F_JSON,      0,            "Those that expire soon: how many, how many have; items: the first hundred (as `list`, too)" },
	{ "backups",      F_JSON,      0,            "Time since each account's last good backup: items: the hundred that need one most (as `list`, too); counts of all" },
	{ "thresholds",   F_JSON,      0,            "The settings that the verdict goes by" },
	{ 0 }
};

static const struct route routes[] = {
	/* method path operation          scope            role   bucket     audit                 does */
	{ M_GET, "", "getServerHealth", "platform:read", ADMIN, RATE_CALL, "server_health.read", READ("show"), "Show how the machine is" },
	{ 0 }
};

static const struct resource server_health = {
	"server-health", "server-health", NULL, "How the machine is, with PostgreSQL, jobs, certificates and backups, and a verdict", fields, routes
};
POSTERN_RESOURCE(server_health);
