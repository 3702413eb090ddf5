// Every example that help, the manual page and the documents give is run, with the objects that other examples made.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const build = path.resolve(root, process.env.POSTERN_BUILD ?? 'build');
const bin = '/usr/lib/postgresql/15/bin';
const dropped = process.getuid() === 0 ? ['setpriv', '--reuid=postgres', '--regid=postgres', '--init-groups', '--'] : [];
const owner = dropped.length ? 'postgres' : execFileSync('id', ['-un'], { encoding: 'utf8' }).trim();
let dir, env, database = 'demo';

function pg(tool, args, input) {
	const [command, ...rest] = [...dropped, path.join(bin, tool), ...args];
	return execFileSync(command, rest, { encoding: 'utf8', cwd: '/', input, stdio: ['pipe', 'pipe', 'pipe'] }).trim();
}
const sql = (text, where = database) => pg('psql', ['-X', '-Atq', '-v', 'ON_ERROR_STOP=1', '-h', dir, '-U', owner, '-d', where, '-f', '-'], text);
// A command line as a shell has it: redirections, quotes and all.
function shell(line, where = database) {
	const { status, stdout, stderr } = spawnSync('sh', ['-c', line], { encoding: 'utf8', input: '', cwd: `${dir}/work`, timeout: 20000,
		env: { ...env, POSTERN_DSN: `host=${dir} dbname=${where}` } });
	return { status, stdout, stderr };
}
function postern(line, where) {
	const done = shell(`postern ${line}`, where);
	assert.equal(done.status, 0, `postern ${line}: ${done.status}\n${done.stdout}${done.stderr}`);
	return done.stdout;
}

before(() => {
	dir = fs.mkdtempSync('/var/tmp/postern-examples-');
	if (dropped.length)
		execFileSync('chown', ['postgres:postgres', dir]);
	fs.chmodSync(dir, 0o755);
	for (const folder of ['work', 'bin', 'plugins/nginx-cache', 'php'])
		fs.mkdirSync(`${dir}/${folder}`, { recursive: true });
	fs.symlinkSync(path.join(build, 'cli/postern'), `${dir}/bin/postern`);
	pg('initdb', ['-D', `${dir}/data`, '-U', owner, '-A', 'trust', '-E', 'UTF8', '--locale=C.UTF-8', '--no-instructions']);
	pg('pg_ctl', ['-s', '-w', '-D', `${dir}/data`, '-l', `${dir}/log`, '-o', `-c listen_addresses= -c fsync=off -c wal_level=minimal -c max_wal_senders=0 -k ${dir}`, 'start']);
	fs.writeFileSync(`${dir}/postern.conf`, [`sql_dir = "${root}/sql"`, `pepper_file = "${dir}/etc/pepper"`, `worker_dir = "${dir}/worker"`,
		`worker_public = "${dir}/etc/worker.pem"`, `audit_public_key = "${dir}/etc/audit.pub"`, `audit_checkpoints = "${dir}/worker/checkpoints"`,
		`plugins_dir = "${dir}/plugins"`, 'unix_users = none', `home_dir = "${dir}/home"`, 'domain_websites = off', 'domain_proof = off', 'databases_postgresql_dsn = "host=/nowhere"',
		'services = nginx'].join('\n') + '\n');
	env = { PATH: `${dir}/bin:${process.env.PATH}`, PGUSER: owner, POSTERN_CONFIG: `${dir}/postern.conf` };
	postern('init --admin admin');
	fs.writeFileSync(`${dir}/work/secret`, 'correct horse battery\n');
	fs.writeFileSync(`${dir}/work/trail.ndjson`, '');
	// it stands in for posternd: what it would have made is there at once
	sql(`CREATE FUNCTION public.ended() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			NEW.status := 'succeeded';
			NEW.finished_at := now();
			RETURN NEW;
		END $$;
		CREATE TRIGGER ended BEFORE INSERT ON postern.jobs FOR EACH ROW EXECUTE FUNCTION public.ended()`);
	postern('account create --username demo');
	sql(`UPDATE postern.accounts SET status = 'active'`);
	sql('CREATE DATABASE readme TEMPLATE demo', 'postgres');
});
after(() => {
	if (!dir)
		return;
	if (fs.existsSync(`${dir}/data/postmaster.pid`))
		pg('pg_ctl', ['-s', '-w', '-m', 'immediate', '-D', `${dir}/data`, 'stop']);
	fs.rmSync(dir, { recursive: true, force: true });
});

// ---- which examples there are ----

const lines = (text) => text.split('\n').filter((line) => line.startsWith('  postern ')).map((line) => line.slice('  postern '.length));
// The examples stand first in each page, up to an empty line.
const examples = (page) => lines(postern(page).split('\n\n')[0]);
function ofHelp() {
	const all = examples('help');
	for (const command of ['completion', 'config', 'doctor', 'help', 'import', 'init', 'migrate', 'openapi', 'release-audit', 'routes', 'audit verify'])
		all.push(...examples(`help ${command}`));
	for (const resource of JSON.parse(postern('routes --json'))) {
		all.push(...examples(`help ${resource.one}`));
		for (const verb of new Set(resource.routes.map((route) => route.verb).filter(Boolean)))
			all.push(...postern(`help ${resource.one} ${verb}`).split('\n').filter((line) => line.startsWith('  postern ')).map((line) => line.slice(10)));
	}
	return new Set(all);
}
// Lines of documents that begin with the command, and `postern …` within a line where it is whole.
function ofDocuments() {
	const all = [];
	for (const file of ['README.md', ...fs.readdirSync(path.join(root, 'docs')).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`)]) {
		const text = fs.readFileSync(path.join(root, file), 'utf8');
		for (const [, line] of text.matchAll(/^(?: {4})?(?:run\/)?postern ([a-z].*)$/gm))
			if (!/^ ?(checkpoint|root|postgres|postfix|dovecot)/.test(line) && !/\\$/.test(line))
				all.push([file, line.replace(/\s+# asks for a password$/, ' --password-stdin < secret').replace(/\s+#.*$/, '').trim()]);
	}
	return all;
}


// ---- how one is run ----

// Examples name objects by numbers that are somebody's: here they are those of the objects that examples made.
const real = Object.fromEntries(Object.entries({
	audit: 'SELECT max(id) FROM postern.audit', backup: 'SELECT max(id) FROM postern.backups', cron: 'SELECT max(id) FROM postern.cron',
	database: 'SELECT max(id) FROM postern.databases', event: 'SELECT id FROM postern.events WHERE seq IS NOT NULL LIMIT 1',
	job: 'SELECT id FROM postern.jobs ORDER BY id LIMIT 1', usage: `SELECT id FROM postern.accounts WHERE username = 'demo'`,
}).map(([name, text]) => [name, () => sql(text)]));
const uuid = '0190b3a4-5c1e-7c3a-9f27-3a1d0f6b2c11';
function withIds(line) {
	const [resource] = line.split(' ');
	if (!line.includes(uuid) && !/ 31\b/.test(line))
		return line;
	assert.ok(real[resource], `${line}: which is that?`);
	return line.replaceAll(uuid, real[resource]()).replace(/ 31\b/g, ` ${real[resource]()}`);
}
// Files are written here, wherever the example writes them.
const inside = (line) => line.replace(/> \/\S*\//, '> ').replace(/--output \S*\//, '--output ');
const reads = /^(\S+ (list|get|show|self|export)|help|routes|completion|config|openapi|doctor|release-audit|audit verify|audit rotate-key|init)\b/;
// What the machine itself may be at fault for: there is nothing to verify without posternd, no configuration of a web server.
const machine = /^(doctor|release-audit|audit verify|audit rotate-key|config --check|import)\b/;
// The state that an example starts from, and the one after it.
const set = (table, state, back = 'active') => [`UPDATE postern.${table} SET status = '${state}'`, `UPDATE postern.${table} SET status = '${back}'`];
const states = {
	'account unsuspend': set('accounts', 'suspended'), 'user unsuspend': set('users', 'suspended'),
	'domain unsuspend': set('domains', 'suspended'), 'mailbox unsuspend': set('mailboxes', 'suspended'), 'forwarder unsuspend': set('forwarders', 'suspended'),
	'database unsuspend': ['UPDATE postern.databases SET suspended = true', 'UPDATE postern.databases SET suspended = false'],
	'website unsuspend': ['UPDATE postern.websites SET suspended = true', 'UPDATE postern.websites SET suspended = false'],
	'domain prove': [`UPDATE postern.domains SET status = 'unproven', proven_at = NULL, proof = 'none'`, `UPDATE postern.domains SET status = 'active', proven_at = now(), proof = 'administrator'`],
	'domain confirm': [`UPDATE postern.domains SET status = 'unproven', proven_at = NULL, proof = 'none'`, `UPDATE postern.domains SET status = 'active', proven_at = now(), proof = 'administrator'`],
	'cron enable': ['UPDATE postern.cron SET enabled = false', 'UPDATE postern.cron SET enabled = true'],
	'plugin enable': ['UPDATE postern.plugins SET enabled = false', 'UPDATE postern.plugins SET enabled = true'],
	'token delete': ['UPDATE postern.tokens SET revoked_at = now()', 'UPDATE postern.tokens SET revoked_at = NULL'],
	'job cancel': [`UPDATE postern.jobs SET status = 'queued', finished_at = NULL`, `UPDATE postern.jobs SET status = 'succeeded', finished_at = now()`],
	'job retry': [`UPDATE postern.jobs SET status = 'failed'`, `UPDATE postern.jobs SET status = 'succeeded'`],
};
// What posternd notes of what was made.
const settle = `UPDATE postern.accounts SET status = 'active'; UPDATE postern.databases SET status = 'active'; UPDATE postern.cron SET status = 'active';
	UPDATE postern.websites SET status = 'active'; UPDATE postern.domains SET status = 'active';
	UPDATE postern.backups SET status = 'active', finished_at = now(), parts = '[{"part":"files","snapshot_id":"x"}]';
	UPDATE postern.plugins SET status = 'active', plugin_version = '1', enabled = true, kinds = '{cache.purge}', actions = '{"cache.purge":{"input":{"type":"object"}}}',
		settings_schema = '{"type":"object","properties":{"cache_dir":{"type":"string"}}}';
	UPDATE postern.events SET seq = floor(random() * 1e9) WHERE seq IS NULL`;

// What creates is done; of what changes or deletes all is done and taken back, so that the next example finds it.
function tryOut(example) {
	const line = inside(withIds(example)), creates = /^\S+ create\b/.test(line), state = Object.entries(states).find(([start]) => line.startsWith(start))?.[1];
	if (state)
		sql(state[0]);
	const done = shell(`postern ${line}${creates || reads.test(line) ? '' : line.startsWith('migrate --dry-run') || line.startsWith('import') && /--dry-run/.test(line) ? '' : ' --dry-run'}`);
	if (state)
		sql(state[1]);
	if (creates)
		sql(settle);
	return done.status === 0 || (machine.test(line) && [1, 4, 7].includes(done.status)) ? [] : [`${line}: ${done.status} ${done.stderr}`];
}
const order = ['account', 'role', 'user', 'token', 'domain', 'mailbox', 'forwarder', 'website', 'certificate', 'database', 'cron', 'backup', 'plugin'];

test('every example of help does what it says', () => {
	const rest = ofHelp(), failed = [];
	sql(`INSERT INTO postern.services (name, kind, state) VALUES ('nginx', 'system', 'active')`);
	for (const name of order) {
		const own = [...rest].filter((line) => line.startsWith(`${name} `));
		const create = own.filter((line) => line.startsWith(`${name} create `) && !/ --wait/.test(line));
		assert.ok(create.length, name);
		failed.push(...create.flatMap(tryOut));
		if (name === 'token')
			postern('token create --name ci-deploy-old --scopes domains:read');
		own.filter((line) => !/^\S+ create /.test(line)).forEach((line) => failed.push(...tryOut(line)));
		own.forEach((line) => rest.delete(line));
	}
	for (const line of rest)
		failed.push(...tryOut(line));
	assert.deepEqual(failed, []);
});

test('the commands of the README, one after the other, do what they say', () => {
	for (const [file, line] of ofDocuments())
		if (file === 'README.md') {
			const done = shell(`postern ${line}`, 'readme');
			assert.ok(done.status === 0 || machine.test(line), `${line}: ${done.stderr}`);
		}
});

test('the command understands every line of the documents', () => {
	const failed = [];
	for (const [file, example] of ofDocuments().filter(([name]) => name !== 'README.md')) {
		const line = inside(example).replace(/\b(ID|TOKEN_ID)\b/g, uuid).replace(/ --wait\b/, ''), done = shell(`postern ${line}${reads.test(line) || /--dry-run/.test(line) ? '' : ' --dry-run'}`);
		// what is not there, or is there already, is the demo's; so is that accounts have no Unix users
		if (![0, 3, 4].includes(done.status) && !machine.test(line) && !/No such file|setting unix_users/.test(done.stderr))
			failed.push(`${file}: ${line}: ${done.status} ${done.stderr}`);
	}
	assert.deepEqual(failed, []);
});
