// The operator's command: its words, its help and its migrations, against a PostgreSQL of its own. What it shows of
// resources is tested with the API, which has rows to show.
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const build = path.resolve(root, process.env.POSTERN_BUILD ?? 'build');
const bin = '/usr/lib/postgresql/15/bin';
const dropped = process.getuid() === 0 ? ['setpriv', '--reuid=postgres', '--regid=postgres', '--init-groups', '--'] : [];
const owner = dropped.length ? 'postgres' : execFileSync('id', ['-un'], { encoding: 'utf8' }).trim();
let dir, sql, env;

function pg(tool, ...args) {
	const [command, ...rest] = [...dropped, path.join(bin, tool), ...args];
	return execFileSync(command, rest, { encoding: 'utf8', cwd: '/', stdio: ['ignore', 'pipe', 'pipe'] });
}
function postern(args, more = {}) {
	const { status, stdout, stderr } = spawnSync(path.join(build, 'cli/postern'), args,
		{ encoding: 'utf8', env: { ...env, ...more.env }, input: more.input ?? '' });
	return { status, stdout, stderr };
}
const query = (database, text) => pg('psql', '-X', '-At', '-h', dir, '-U', owner, '-d', database, '-c', text).trim();
const at = (database) => ({ env: { POSTERN_DSN: `host=${dir} dbname=${database}` } });
function fresh(database) {
	query('postgres', `CREATE DATABASE ${database} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8'`);
	return at(database);
}
// A copy of the SQL files that a test may change.
function own(name) {
	const copy = path.join(dir, name);
	fs.cpSync(path.join(root, 'sql'), copy, { recursive: true });
	return copy;
}

before(() => {
	dir = fs.mkdtempSync('/var/tmp/postern-cli-');
	sql = path.join(root, 'sql');
	if (dropped.length)
		execFileSync('chown', ['postgres:postgres', dir]);
	fs.chmodSync(dir, 0o755);
	pg('initdb', '-D', `${dir}/data`, '-U', owner, '-A', 'trust', '-E', 'UTF8', '--locale=C.UTF-8', '--no-instructions');
	pg('pg_ctl', '-s', '-w', '-D', `${dir}/data`, '-l', `${dir}/log`, '-o', `-c listen_addresses= -c fsync=off -k ${dir}`, 'start');
	fs.writeFileSync(`${dir}/postern.conf`, `dsn = "host=${dir} dbname=postern"\nsql_dir = "${sql}"\npepper_file = "${dir}/etc/pepper"\nworker_dir = "${dir}/worker"\nworker_public = "${dir}/etc/worker.pem"\n`);
	env = { PATH: process.env.PATH, PGUSER: owner, POSTERN_CONFIG: `${dir}/postern.conf` };
});
after(() => {
	if (!dir)
		return;
	if (fs.existsSync(`${dir}/data/postmaster.pid`))
		pg('pg_ctl', '-s', '-w', '-m', 'immediate', '-D', `${dir}/data`, 'stop');
	fs.rmSync(dir, { recursive: true, force: true });
});

test('postern alone is a usage error that shows help on stderr, --help shows it on stdout', () => {
	const alone = postern([]), help = postern(['--help']);
	assert.equal(alone.status, 2);
	assert.equal(alone.stdout, '');
	assert.equal(help.status, 0);
	assert.equal(help.stderr, '');
	assert.equal(alone.stderr, help.stdout);
	assert.match(help.stdout, /^Examples:\n/);
});

test('an unknown word is a usage error that names the nearest known one', () => {
	for (const [args, near] of [
		[['domian', 'list'], 'domain'], [['migrat'], 'migrate'], [['domain', 'crate'], 'create'],
		[['domain', 'list', '--statsu', 'active'], '--status'], [['domain', 'list', '--columns', 'domian'], 'domain'],
		[['help', 'exit-statos'], 'exit-status'], [['migrate', '--dryrun'], '--dry-run'],
	]) {
		const { status, stdout, stderr } = postern(args);
		assert.equal(status, 2, args.join(' '));
		assert.equal(stdout, '');
		assert.ok(stderr.includes(`did you mean "${near}"?`), stderr);
	}
});

test('a usage error asks neither database nor settings', () => {
	for (const args of [['domain'], ['domain', 'get'], ['domain', 'get', '1', '2'], ['domain', 'update', '1'],
		['domain', 'list', '--page'], ['domain', 'list', '--page', '1', '--page', '2'], ['domain', 'list', '--all=yes'],
		['domain', 'list', '--all', '--page', '2'], ['domain', 'create', 'example.org'], ['config'], ['completion'], ['import']]) {
		const { status, stdout } = postern(args, { env: { POSTERN_CONFIG: '/nonexistent' } });
		assert.equal(status, 2, args.join(' '));
		assert.equal(stdout, '');
	}
});

test('settings that cannot be read end with 1, whatever the command', () => {
	for (const args of [['domain', 'list'], ['migrate'], ['init'], ['config', '--check']]) {
		const { status, stdout, stderr } = postern([...args, '--config', '/nonexistent']);
		assert.equal(status, 1, args.join(' '));
		assert.equal(stdout, '');
		assert.ok(stderr.includes('/nonexistent'), stderr);
	}
});

test('every command, resource and verb has help with examples first', () => {
	const { stdout } = postern(['routes', '--json']);
	const pages = [['completion'], ['config'], ['doctor'], ['help'], ['import'], ['init'], ['migrate'], ['routes']];
	for (const resource of JSON.parse(stdout)) {
		pages.push([resource.one], [resource.name]);
		for (const route of resource.routes)
			if (route.verb)
				pages.push([resource.one, route.verb]);
	}
	for (const page of pages) {
		const shown = postern([...page, '--help']), asked = postern(['help', ...page]);
		assert.equal(shown.status, 0, page.join(' '));
		assert.match(shown.stdout, /^Examples?:\n {2}postern /, page.join(' '));
		if (page[0] !== 'config')
			assert.equal(asked.stdout, shown.stdout, page.join(' '));
	}
});

test('no field takes the name of an option that every command has', () => {
	// the description is a command of its own, after whose name --version is the edition's
	for (const resource of JSON.parse(postern(['routes', '--json']).stdout).filter((r) => r.name !== 'openapi'))
		for (const field of [...resource.fields.filter((f) => /create|change|filter|local/.test(f.flags)), ...resource.routes.flatMap((route) => route.input ?? [])])
			assert.ok(!['config', 'json', 'quiet', 'help', 'version', 'all', 'columns'].includes(field.name), field.name);
});

test('routes tells every resource once, in order, and both forms agree', () => {
	const full = JSON.parse(postern(['routes', '--json']).stdout), short = postern(['routes']).stdout;
	assert.deepEqual(full.map((r) => r.name), full.map((r) => r.name).sort());
	assert.equal(short, full.map((r) => `${r.name} ${r.alias ?? '-'}\n`).join(''));
	for (const resource of full)
		for (const route of resource.routes) {
			assert.match(route.method, /^(GET|POST|PUT|PATCH|DELETE)$/);
			assert.match(route.role, /^(viewer|customer|admin|none)$/);
			assert.ok(route.scope && route.audit && route.operation_id && route.summary, `${resource.name}${route.path}`);
		}
});

test('the manual page in docs is the one that the program makes, and man takes it', () => {
	const { stdout } = postern(['help', '--man']);
	assert.equal(fs.readFileSync(path.join(root, 'docs/postern.1'), 'utf8'), stdout,
		'renew it: build/cli/postern help --man > docs/postern.1');
	const groff = spawnSync('groff', ['-man', '-ww', '-z'], { input: stdout, encoding: 'utf8' });
	if (!groff.error)
		assert.equal(groff.stderr, '');
});

// As bash fills its variables: it ends words at "@", ":" and "=", too.
function complete(line, more = '') {
	const script = postern(['completion', 'bash']).stdout, words = line.match(/[^\s@:=]+|[@:=]/g);
	if (/[\s@:=]$/.test(line))
		words.push('');
	return execFileSync('bash', ['-c', `${script}\nCOMP_LINE=$1; COMP_POINT=\${#1}; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _postern
		printf '%s\n' "\${COMPREPLY[@]}"`, 'bash', line.replace(/^postern/, path.join(build, 'cli/postern')), ...words],
	{ encoding: 'utf8', env: { ...env, ...more } }).trim().split('\n');
}
test('bash completes resources, verbs, options and values', () => {
	assert.deepEqual(complete('postern doma'), ['domain']);
	assert.deepEqual(complete('postern --config x migr'), ['migrate']);
	assert.deepEqual(complete('postern domains unsus'), ['unsuspend']);
	assert.deepEqual(complete('postern domain create --mail'), ['--mail-enabled']);
	assert.deepEqual(complete('postern domain list --status susp'), ['suspended']);
	assert.deepEqual(complete('postern audit ver'), ['verify']);
	assert.deepEqual(complete('postern audit verify --ch'), ['--checkpoints']);
	assert.deepEqual(complete('postern domain update x --mail-enabled y'), ['yes']);
	assert.deepEqual(complete('postern domain list --columns stat'), ['status']);
});

test('scripts for bash, zsh and fish are what these shells can read', () => {
	for (const shell of ['bash', 'zsh', 'fish']) {
		const script = postern(['completion', shell]).stdout, read = spawnSync(shell, ['-n'], { input: script, encoding: 'utf8' });
		assert.match(script, /completion words --/);
		if (!read.error) // the shell is there
			assert.equal(read.status, 0, read.stderr);
	}
});

test('with --json a usage error is JSON, wherever it is found', () => {
	for (const [args, message] of [[['--json'], /command is needed/], [['domain', '--json'], /verb is needed/], [['--json', 'domian', 'list'], /there is no command/],
		[['domain', 'list', '--statsu', 'x', '--json'], /there is no option/], [['domain', 'get', '--json'], /which domain/], [['--config', '--json'], null],
		[['migrate', 'x', '--json'], /one word too many/], [['--json', 'completion'], /for which shell/]]) {
		const { status, stdout, stderr } = postern(args);
		if (!message)
			continue;
		assert.equal(status, 2, args.join(' '));
		assert.equal(stdout, '');
		const { error } = JSON.parse(stderr);
		assert.equal(error.code, 'usage');
		assert.match(error.message, message);
		assert.match(error.details, /Try: postern/);
	}
});

test('what belongs to a resource is found by its help', () => {
	assert.match(postern(['audit', '--help']).stdout, /^ {2}verify +Recompute/m);
	assert.equal(postern(['help', 'audit', 'verify']).stdout, postern(['audit', 'verify', '--help']).stdout);
});

test('help and messages speak of the command, not of HTTP', () => {
	const page = postern(['help', '--man']).stdout.replaceAll('\\-', '-');
	for (const word of [/\bPOST\b/, /\bPATCH\b/, /\bPUT\b/, /\b409\b/, /\b422\b/, /query parameter/, /\w=true\b/, /The same as/])
		assert.doesNotMatch(page, word);
});

test('a database out of reach ends with 6', () => {
	const nowhere = { env: { POSTERN_DSN: `host=${dir}/nowhere dbname=postern` } };
	for (const args of [['migrate'], ['migrate', '--dry-run'], ['init'], ['domain', 'list']]) {
		const { status, stdout } = postern(args, nowhere);
		assert.equal(status, 6, args.join(' '));
		assert.equal(stdout, '');
	}
});

test('init makes what is missing and finds it the next time', () => {
	const first = postern(['init', '--admin', 'kim']), second = postern(['init', '--admin', 'other']);
	assert.equal(first.status, 0, first.stderr);
	assert.match(first.stdout, /^created the database postern\ncreated the folder .*\ncreated the pepper .*\ncreated the folder .*\ncreated the worker's key .*\napplied 0001_/);
	assert.match(first.stdout, /\ncreated the administrator kim\n$/);
	assert.equal(second.status, 0, second.stderr);
	assert.match(second.stdout, /^found the database postern\nfound the pepper .*\nfound the worker's public key .*\nnothing to do\nfound an administrator: kim\n$/);
	assert.equal(fs.statSync(`${dir}/etc/pepper`).mode & 0o777, 0o640);
	assert.equal(fs.statSync(`${dir}/etc`).mode & 0o777, 0o750);
	assert.deepEqual([fs.statSync(`${dir}/worker/key`).mode & 0o777, fs.statSync(`${dir}/etc/worker.pem`).mode & 0o777], [0o600, 0o644]);
});

test('a database name needs no tame characters', () => {
	const { status, stdout, stderr } = postern(['init'], { env: { POSTERN_DSN: `host=${dir} dbname='We ird;-- %s'` } });
	assert.equal(status, 0, stderr);
	assert.ok(stdout.includes('created the database We ird;-- %s\n'));
	assert.equal(query('postgres', `SELECT datname FROM pg_database WHERE datname LIKE 'We%'`), 'We ird;-- %s');
});

test('migrate does each step once, also when several run at once', async () => {
	const where = fresh('together');
	const outputs = await Promise.all([1, 2, 3, 4].map(() => new Promise((resolve) => {
		const child = spawn(path.join(build, 'cli/postern'), ['migrate'], { env: { ...env, ...where.env } });
		let out = '', err = '';
		child.stdout.on('data', (data) => { out += data; });
		child.stderr.on('data', (data) => { err += data; });
		child.on('close', (status) => resolve({ status, out, err }));
	})));
	for (const { status, err } of outputs)
		assert.equal(status, 0, err);
	const steps = outputs.flatMap(({ out }) => out.split('\n')).filter((line) => line && line !== 'nothing to do');
	assert.deepEqual(steps.filter((line) => line.startsWith('applied ')).sort(),
		fs.readdirSync(`${sql}/migrations`).sort().map((name) => `applied ${name}`));
	assert.equal(steps.filter((line) => line.startsWith('replaced ')).length, 1);
	assert.equal(postern(['migrate'], where).stdout, 'nothing to do\n');
});

test('migrate --dry-run says what would be done and does nothing', () => {
	const where = fresh('dry'), { status, stdout } = postern(['migrate', '--dry-run'], where);
	assert.equal(status, 0);
	assert.match(stdout, /^would apply 0001_/);
	assert.match(stdout, /\nwould replace the functions \(\d+ files\) and the list of operations\n$/);
	assert.equal(query('dry', `SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'postern%'`), '0');
});

test('the scopes in the database are those of the routes, each with the least role that has it', () => {
	const where = fresh('scopes');
	assert.equal(postern(['migrate'], where).status, 0);
	const ranks = { viewer: 1, customer: 2, admin: 3, none: 3 }, wanted = {};
	for (const resource of JSON.parse(postern(['routes', '--json']).stdout)) {
		for (const { scope, role } of resource.routes)
			if (scope !== '-')
				wanted[scope] = Math.min(wanted[scope] ?? 3, ranks[role]);
		if (resource.scope_too)
			wanted[resource.scope_too] = 3;
	}
	const rows = query('scopes', 'SELECT scope, rank FROM postern.scopes').split('\n').map((row) => row.split('|'));
	assert.deepEqual(Object.fromEntries(rows.map(([scope, rank]) => [scope, Number(rank)]).sort()),
		Object.fromEntries(Object.entries(wanted).sort()));
});

test('functions are replaced when a file of them changes, and only then', () => {
	const copy = own('changed-functions'), where = fresh('functions');
	where.env.POSTERN_SQL_DIR = copy;
	assert.equal(postern(['migrate'], where).status, 0);
	fs.appendFileSync(`${copy}/functions/${fs.readdirSync(`${copy}/functions`)[0]}`, '-- changed\n');
	assert.match(postern(['migrate'], where).stdout, /^replaced the functions .*\n$/);
	assert.equal(postern(['migrate'], where).stdout, 'nothing to do\n');
});

test('a migration that fails leaves no trace; the error names file and line', () => {
	const copy = own('failing'), where = fresh('failing'), file = `${copy}/migrations/9000_bad.sql`;
	where.env.POSTERN_SQL_DIR = copy;
	fs.writeFileSync(file, '-- é is one character and two bytes\nCREATE TABLE public.trace ();\n\nSELEC 1;\n');
	const { status, stdout, stderr } = postern(['migrate'], where);
	assert.equal(status, 1);
	assert.match(stdout, /^applied 0001_/);
	assert.ok(stderr.includes(`${file}:4: syntax error`), stderr);
	assert.equal(query('failing', `SELECT to_regclass('public.trace'), max(number) < 9000 FROM postern_schema.migrations`), '|t');
	fs.writeFileSync(file, 'COMMIT;\n');
	assert.match(postern(['migrate'], where).stderr, /9000_bad\.sql: ends the transaction/);
	fs.writeFileSync(file, 'COPY postern_schema.migrations FROM STDIN;\n');
	assert.match(postern(['migrate'], where).stderr, /9000_bad\.sql: COPY/);
	fs.writeFileSync(file, 'CREATE TABLE public.mended ();\n');
	assert.equal(postern(['migrate'], where).status, 0);
	assert.equal(query('failing', `SELECT to_regclass('public.mended')`), 'mended');
});

test('a migration that changed after it was applied is refused by name', () => {
	const copy = own('changed'), where = fresh('changed');
	where.env.POSTERN_SQL_DIR = copy;
	assert.equal(postern(['migrate'], where).status, 0);
	const name = fs.readdirSync(`${copy}/migrations`).sort()[1];
	fs.appendFileSync(`${copy}/migrations/${name}`, '-- changed\n');
	for (const args of [['migrate'], ['migrate', '--dry-run']]) {
		const { status, stdout, stderr } = postern(args, where);
		assert.equal(status, 4);
		assert.equal(stdout, '');
		assert.ok(stderr.includes(name), stderr);
	}
});

test('a newer database is refused, and so is a migration older than what is applied', () => {
	const copy = own('newer'), where = fresh('newer');
	where.env.POSTERN_SQL_DIR = copy;
	fs.writeFileSync(`${copy}/migrations/9000_new.sql`, 'SELECT 1;\n');
	assert.equal(postern(['migrate'], where).status, 0);
	fs.writeFileSync(`${copy}/migrations/8000_late.sql`, 'SELECT 1;\n');
	assert.match(postern(['migrate'], where).stderr, /8000_late\.sql: comes before 9000_new\.sql/);
	const { status, stderr } = postern(['migrate'], at('newer'));
	assert.equal(status, 4);
	assert.match(stderr, /newer than this Postern: it has 9000_new\.sql/);
});

test('a schema of somebody else that has the name of one of ours stays, and migrate says what to do', () => {
	const where = fresh('shared');
	query('shared', 'CREATE SCHEMA cron; CREATE TABLE cron.job (id int)');
	const { status, stderr } = postern(['migrate'], where);
	assert.equal(status, 1);
	assert.match(stderr, /schema cron of this database is not Postern's; give Postern a database of its own/);
	assert.equal(query('shared', "SELECT to_regclass('cron.job')"), 'cron.job');
});

test('a name that is no migration, and a number given twice, are refused', () => {
	const copy = own('names'), where = fresh('names');
	where.env.POSTERN_SQL_DIR = copy;
	fs.writeFileSync(`${copy}/migrations/x.sql`, '');
	assert.match(postern(['migrate'], where).stderr, /x\.sql: a migration is called NNNN_name\.sql/);
	fs.rmSync(`${copy}/migrations/x.sql`);
	fs.writeFileSync(`${copy}/migrations/0001_again.sql`, '');
	assert.match(postern(['migrate'], where).stderr, /have the same number/);
});

test('who may not migrate is told who may', () => {
	query('postgres', 'CREATE ROLE joe LOGIN');
	fresh('joes');
	const { status, stderr } = postern(['migrate'], { env: { ...at('joes').env, PGUSER: 'joe' } });
	assert.equal(status, 5);
	assert.match(stderr, /Migrate as a superuser; PGUSER says as whom/);
	const created = postern(['init'], { env: { ...at('nobodys').env, PGUSER: 'joe' } });
	assert.equal(created.status, 5);
	assert.match(created.stderr, /the database .* cannot be created: .*Connect as a superuser/s);
});

test('output that cannot be written is a failure', () => {
	const full = fs.openSync('/dev/full', 'w');
	const { status, stderr } = spawnSync(path.join(build, 'cli/postern'), ['--help'], { env, encoding: 'utf8', stdio: ['ignore', full, 'pipe'] });
	fs.closeSync(full);
	assert.equal(status, 1);
	assert.match(stderr, /stdout could not be written/);
});
