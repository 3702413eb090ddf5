// postern doctor: each thing it promises to find is broken, found by its name with a remedy, and mended again.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { build, root, startStack, until } from './harness.mjs';

let s, nginx, url;
const asRoot = process.getuid() === 0;

function doctor(where, options = {}) {
	const done = s.cli(['--json', 'doctor', ...(where ? ['--url', where] : [])],
		{ env: { ...process.env, ...options.env } });
	assert.ok(done.stdout, done.stderr);
	const { data, findings } = JSON.parse(done.stdout);
	const wrong = data.filter((row) => row.status === 'finding');
	assert.equal(findings, wrong.length);
	assert.equal(done.status, findings ? 1 : 0);
	for (const row of wrong)
		assert.ok(row.finding && row.remedy, JSON.stringify(row));
	return { rows: data, wrong, stderr: done.stderr };
}
// Exactly this check has findings, and one of them says so.
function found(report, check, says) {
	assert.deepEqual([...new Set(report.wrong.map((row) => row.check))], [check], JSON.stringify(report.wrong, null, 1));
	assert.ok(report.wrong.some((row) => says.test(row.finding)), JSON.stringify(report.wrong, null, 1));
}
// Break, look, mend; then all is well again.
async function broken(breakIt, mend, check, says, where) {
	await breakIt();
	try {
		found(doctor(where), check, says);
	} finally {
		await mend();
	}
}

function freePorts(names) {
	const servers = names.map(() => net.createServer());
	return Promise.all(servers.map((x) => new Promise((resolve) => x.listen(0, '127.0.0.1', () => resolve(x.address().port)))))
		.then((ports) => Promise.all(servers.map((x) => new Promise((resolve) => x.close(resolve))))
			.then(() => Object.fromEntries(names.map((name, i) => [name, ports[i]]))));
}

// A second nginx before the same endpoints, with a server for each way to get it wrong.
before(async () => {
	s = await startStack('doctor', { WORKER: 'yes', WEB: 'nginx' }); // its findings are made with nginx
	const dir = fs.mkdtempSync(path.join(s.dir, 'wrong-'));
	fs.chmodSync(dir, 0o711);
	const include = fs.readFileSync(`${s.dir}/nginx/postern-server.conf`, 'utf8');
	const write = (name, text) => { fs.writeFileSync(`${dir}/${name}`, text); return `include "${dir}/${name}";`; };
	const without = (pattern) => include.split('\n').filter((line) => !/^location (=|\^~)/.test(line) || !pattern.test(line)).join('\n');
	const fastcgi = `${root}/nginx/postern-fastcgi.conf`;
	write('withholding.conf', `include "${fastcgi}"; fastcgi_param HTTP_AUTHORIZATION "";`);
	const php = 'location ~ \\.php { add_header X-Powered-By "PHP/8.2.0"; default_type text/html; return 200 "<p>panel</p>"; }';
	const servers = {
		right: write('right.conf', include) + php,
		none: php + ' location / { return 404; }',
		php: write('php.conf', without(/\.php/)) + php,
		old: write('old.conf', without(/\/audit[ /.]/)) + 'location / { return 404; }',
		withholding: write('withheld.conf', include.replaceAll(`${root}/nginx/postern-fastcgi.conf`, `${dir}/withholding.conf`)),
		trusting: write('trusting.conf', include) + 'set_real_ip_from 127.0.0.0/8; real_ip_header X-Forwarded-For;',
		deaf: write('deaf.conf', include.replaceAll('/fcgi/roles.sock', '/fcgi/nowhere.sock')),
	};
	const port = await freePorts(Object.keys(servers));
	url = Object.fromEntries(Object.entries(port).map(([name, n]) => [name, `http://127.0.0.1:${n}`]));
	fs.writeFileSync(`${dir}/nginx.conf`, `
		${asRoot ? 'user www-data;' : ''}
		worker_processes 1; pid ${dir}/pid; error_log ${dir}/error.log; events { worker_connections 200; }
		http {
			access_log off;
			${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((t) => `${t}_temp_path ${dir}/${t};`).join('\n')}
			include "${root}/nginx/postern-http.conf";
			${Object.entries(servers).map(([name, text]) => `server { listen 127.0.0.1:${port[name]}; ${text} }`).join('\n')}
		}`);
	const started = spawnSync('nginx', ['-p', dir, '-e', `${dir}/error.log`, '-c', `${dir}/nginx.conf`],
		{ env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` }, encoding: 'utf8' });
	assert.equal(started.status, 0, started.stderr);
	nginx = `${dir}/pid`;
});
after(() => {
	if (nginx && fs.existsSync(nginx))
		process.kill(Number(fs.readFileSync(nginx, 'utf8')), 'SIGTERM');
	s?.stop();
});

test('a healthy installation has no finding, in both forms, and keeps no token of the check', () => {
	const { wrong, rows } = doctor(url.right);
	assert.deepEqual(wrong, []);
	assert.deepEqual(rows.map((row) => row.check), ['settings', 'names', 'pepper', 'programs', 'database', 'migrations', 'grants', 'logins', 'clock', 'homes', 'tenants', 'audit', 'databases',
		'database server', 'reloads', 'sockets', 'worker', 'include', 'php', 'authorization', 'proxy_trust', 'endpoints']);
	const table = s.cli(['doctor', '--url', `${url.right}/`]);
	assert.equal(table.status, 0, table.stderr);
	assert.match(table.stdout, /^CHECK +STATUS +FINDING, REMEDY\n[^]*\n0 findings\n$/);
	assert.deepEqual(s.sql(`SELECT name FROM postern.tokens WHERE name LIKE 'postern-doctor%'`), []);
	assert.equal(doctor().rows.at(-1).status, 'skipped');
});

test('a table for people names the remedy under the finding', () => {
	const table = s.cli(['doctor', '--url', url.none]);
	assert.equal(table.status, 1);
	assert.match(table.stdout, /^include +finding +not active: [^]*^ +Put the two includes [^]*\n1 finding\n$/m);
});

test('a worker that does not run', async () => {
	const look = () => JSON.parse(spawnSync(path.join(root, build, 'cli/postern'), ['--config', `${s.dir}/postern.conf`, '--json', 'doctor'], { encoding: 'utf8' }).stdout)
		.data.find((row) => row.check === 'worker');
	assert.equal(look().status, 'ok');
	await s.endWorker();
	const { status, remedy } = look();
	assert.equal(status, 'finding');
	assert.match(remedy, /systemctl enable --now posternd/);
	s.startWorker();
	await until(() => look().status === 'ok', 'it is at work again');
});

test('settings and key file that others may change or read', async () => {
	const conf = `${s.dir}/postern.conf`, pepper = `${s.dir}/keys/pepper`, folder = `${s.dir}/keys`;
	const mode = (file, bits) => () => fs.chmodSync(file, bits);
	await broken(mode(conf, 0o666), mode(conf, 0o644), 'settings', /may change it \(mode 0666/);
	const text = fs.readFileSync(conf, 'utf8');
	await broken(() => fs.writeFileSync(conf, text.replace('dbname=postern', 'dbname=postern password=x')), () => fs.writeFileSync(conf, text),
		'settings', /holds a password/);
	await broken(mode(pepper, 0o644), mode(pepper, 0o640), 'pepper', /others than its group may read it \(mode 0644/);
	await broken(mode(pepper, 0o660), mode(pepper, 0o640), 'pepper', /others than its owner may change it/);
	await broken(mode(folder, 0o777), mode(folder, 0o700), 'pepper', /may replace what is in it/);
	await broken(() => fs.renameSync(pepper, `${pepper}.away`), () => fs.renameSync(`${pepper}.away`, pepper), 'pepper', /No such file/);
	assert.deepEqual(doctor().wrong, []);
});

test('no list of public suffixes', () => {
	found(doctor(null, { env: { POSTERN_PUBLIC_SUFFIX_LIST: `${s.dir}/nowhere` } }), 'names', /tenants cannot claim any domain/);
});

test('a database out of reach', () => {
	found(doctor(null, { env: { POSTERN_DSN: `host=${s.dir}/nowhere dbname=postern` } }), 'database', /nowhere/);
});

test('migrations and functions of another version', async () => {
	const last = s.sql('SELECT number, name, sha256 FROM postern_schema.migrations ORDER BY number DESC LIMIT 1')[0];
	await broken(() => s.psql(`DELETE FROM postern_schema.migrations WHERE number = ${last.number}`),
		() => s.psql(`INSERT INTO postern_schema.migrations VALUES (${last.number}, '${last.name}', '${last.sha256}')`),
		'migrations', /^1 not applied/);
	await broken(() => s.psql(`UPDATE postern_schema.functions SET sha256 = 'x' || sha256`),
		() => s.psql('UPDATE postern_schema.functions SET sha256 = substr(sha256, 2)'), 'migrations', /functions are those of another version/);
	await broken(() => s.psql(`INSERT INTO postern_schema.migrations VALUES (9999, '9999_future.sql', 'x')`),
		() => s.psql('DELETE FROM postern_schema.migrations WHERE number = 9999'), 'migrations', /not one that this version/);
	assert.deepEqual(doctor().wrong, []);
});

test('grants that are missing and grants in excess', async () => {
	const serve = s.sql(`SELECT oid::regprocedure::text AS f FROM pg_proc WHERE pronamespace = 'domains'::regnamespace AND proname = 'serve'`)[0].f;
	const read = s.sql(`SELECT oid::regprocedure::text AS f FROM pg_proc WHERE pronamespace = 'domains'::regnamespace AND proname = 'tenant_read'`)[0].f;
	const pairs = [
		[`REVOKE EXECUTE ON FUNCTION ${serve} FROM postern_domains`, `GRANT EXECUTE ON FUNCTION ${serve} TO postern_domains`,
			/^postern_domains lacks: EXECUTE on domains\.serve/],
		['ALTER ROLE postern_me NOLOGIN', 'ALTER ROLE postern_me LOGIN', null],
		['GRANT SELECT ON postern.keys TO postern_domains', 'REVOKE SELECT ON postern.keys FROM postern_domains',
			/^postern_domains has more than it should: privileges on postern\.keys$/],
		['GRANT SELECT (digest) ON postern.keys TO PUBLIC', 'REVOKE SELECT (digest) ON postern.keys FROM PUBLIC', /privileges on postern\.keys/],
		[`GRANT EXECUTE ON FUNCTION ${read} TO postern_domains`, `REVOKE EXECUTE ON FUNCTION ${read} FROM postern_domains`,
			/^postern_domains has more than it should: EXECUTE on domains\.tenant_read/],
		['GRANT postern_gate TO postern_audit', 'REVOKE postern_gate FROM postern_audit', /membership of postern_gate/],
		['ALTER ROLE postern_roles BYPASSRLS', 'ALTER ROLE postern_roles NOBYPASSRLS', /^postern_roles has more than it should: BYPASSRLS/],
		['ALTER ROLE postern_cli SUPERUSER', 'ALTER ROLE postern_cli NOSUPERUSER', /^postern_cli has more than it should: SUPERUSER/],
		['ALTER ROLE postern_tenant BYPASSRLS', 'ALTER ROLE postern_tenant NOBYPASSRLS', /^postern_tenant has more/],
		['GRANT DELETE ON postern.audit TO postern_operator', 'REVOKE DELETE ON postern.audit FROM postern_operator', /postern\.audit/],
		['ALTER TABLE postern.domains NO FORCE ROW LEVEL SECURITY', 'ALTER TABLE postern.domains FORCE ROW LEVEL SECURITY',
			/^table postern\.domains lacks: enabled and forced row-level security/],
	];
	for (const [wrong, right, says] of pairs) {
		s.psql(wrong);
		try {
			const report = doctor();
			if (says)
				found(report, 'grants', says);
			else // a role without LOGIN is met by two checks
				assert.deepEqual([...new Set(report.wrong.map((row) => row.check))], ['grants', 'logins']);
		} finally {
			s.psql(right);
		}
	}
	assert.deepEqual(doctor().wrong, []);
});

test('postern migrate --force gives back what was taken away, as the remedy says', () => {
	for (const wrong of ['REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA domains FROM postern_domains', 'ALTER ROLE postern_me NOLOGIN',
		'REVOKE CONNECT ON DATABASE postern FROM PUBLIC; REVOKE CONNECT ON DATABASE postern FROM postern_audit',
		'ALTER TABLE postern.domains NO FORCE ROW LEVEL SECURITY', 'REVOKE USAGE ON SCHEMA gate FROM postern_worker']) {
		s.psql(wrong);
		const { wrong: rows } = doctor();
		assert.ok(rows.some((row) => row.check === 'grants' && /^postern migrate --force /.test(row.remedy)), wrong);
		assert.equal(s.cli(['migrate']).stdout, 'nothing to do\n');
		const mended = s.cli(['migrate', '--force']);
		assert.equal(mended.status, 0, mended.stderr);
		assert.match(mended.stdout, /^replaced the functions /);
		assert.deepEqual(doctor().wrong, [], wrong);
	}
});

test('programs that settings name and that are not there', () => {
	for (const [name, program] of [['ACME_COMMAND', 'uacme'], ['BACKUP_ENGINE', 'restic']]) {
		const report = doctor(null, { env: { [`POSTERN_${name}`]: '/nonexistent/program --word' } });
		found(report, 'programs', /^\/nonexistent\/program .*No such file/);
		assert.match(report.wrong[0].remedy, new RegExp(`apt-get install ${program}`));
	}
});

test('a server of databases that does not answer is left after a while', () => {
	const file = `${s.dir}/silent`;
	fs.writeFileSync(file, '#!/bin/sh\nexec sleep 300\n', { mode: 0o755 });
	fs.chmodSync(s.dir, fs.statSync(s.dir).mode | 0o011);
	const began = Date.now(), row = doctor(null, { env: { POSTERN_MARIADB_COMMAND: file } }).rows.find(({ check }) => check === 'databases');
	assert.match(row.finding, /does not answer within 10 seconds/);
	assert.ok(Date.now() - began < 60000);
});

test('a worker that another user than root looks for', { skip: asRoot ? false : 'not run: the lock is ours' }, async () => {
	const look = () => doctor().rows.find(({ check }) => check === 'worker');
	fs.chmodSync(`${s.dir}/worker/lock`, 0o600);
	fs.chownSync(`${s.dir}/worker/lock`, 0, 0);
	assert.equal(look().status, 'ok', look().finding);
	await s.endWorker();
	const { status, remedy } = await until(() => look().status === 'finding' && look(), 'its session ends');
	assert.equal(status, 'finding');
	assert.match(remedy, /systemctl enable --now posternd/);
	s.startWorker();
	await until(() => look().status === 'ok', 'it is at work again');
});

// With Unix users of endpoints that are seen in a mount namespace of our own only.
test('a pepper that the endpoints\' users cannot read, and a login that is lost', { skip: asRoot ? false : 'not run: it takes root' }, () => {
	const passwd = `${s.dir}/passwd`, group = `${s.dir}/group`, names = JSON.parse(s.cli(['routes', '--json']).stdout).map(({ name }) => name);
	fs.writeFileSync(group, `${fs.readFileSync('/etc/group', 'utf8')}postern:x:59999:${names.map((name) => `postern-${name}`).join(',')}\n`);
	fs.writeFileSync(passwd, fs.readFileSync('/etc/passwd', 'utf8') + names.map((name, i) => `postern-${name}:x:${60001 + i}:60001::/:/bin/false\n`).join(''));
	const keys = `${s.dir}/private-keys`, pepper = `${keys}/pepper`;
	fs.mkdirSync(keys, { mode: 0o750 });
	fs.copyFileSync(`${s.dir}/keys/pepper`, pepper);
	fs.chmodSync(pepper, 0o640);
	fs.chmodSync(s.dir, fs.statSync(s.dir).mode | 0o011);
	const look = () => {
		const done = spawnSync('unshare', ['-m', 'sh', '-c', `mount --bind ${passwd} /etc/passwd && mount --bind ${group} /etc/group && exec "$@"`, 'sh',
			path.join(root, build, 'cli/postern'), '--config', `${s.dir}/postern.conf`, '--json', 'doctor'], { encoding: 'utf8',
			env: { ...process.env, POSTERN_PEPPER_FILE: pepper } });
		assert.ok(done.stdout, done.stderr);
		return JSON.parse(done.stdout).data.find(({ check }) => check === 'pepper');
	};
	const row = look();
	assert.equal(row.status, 'finding', row.finding);
	assert.match(row.finding, /cannot be read by postern-accounts, .*Permission denied.*these endpoints know no token/);
	for (const command of row.remedy.split(';')[0].split(', ')) { // what it says is done
		const [program, ...words] = command.replace('postern ', '59999 ').split(' ');
		assert.equal(spawnSync(program, words).status, 0, command);
	}
	assert.equal(look().status, 'ok', look().finding);
});

test('a login that pg_hba.conf refuses, and a line of it that PostgreSQL cannot read', async () => {
	const hba = `${s.dir}/pg/data/pg_hba.conf`, text = fs.readFileSync(hba, 'utf8');
	const put = async (line, settled) => {
		fs.writeFileSync(hba, line + text);
		s.psql('SELECT pg_reload_conf()');
		await until(settled, 'the reload');
	};
	const loginFails = (role) => { try { s.psql('SELECT 1', role); return false; } catch { return true; } };
	await broken(() => put('local postern postern_audit reject\n', () => loginFails('postern_audit')),
		() => put('', () => !loginFails('postern_audit')), 'logins', /audit/);
	// A running endpoint that has lost its connection cannot come back either: seen from outside as well.
	await put('local postern postern_audit reject\n', () => loginFails('postern_audit'));
	try {
		s.psql(`SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = 'postern_audit'`);
		const { wrong } = doctor(url.right);
		assert.deepEqual([...new Set(wrong.map((row) => row.check))], ['logins', 'endpoints']);
		assert.match(wrong.find((row) => row.check === 'endpoints').finding, /audit/);
	} finally {
		await put('', () => !loginFails('postern_audit'));
	}
	fs.writeFileSync(hba, `local postern all nonsense\n${text}`);
	try {
		found(doctor(), 'logins', /line 1: invalid authentication method/);
	} finally {
		fs.writeFileSync(hba, text);
	}
	assert.deepEqual(doctor(url.right).wrong, []);
});

test('clocks that disagree', async () => {
	const was = s.psql(`SELECT pg_get_functiondef('postern.clock()'::regprocedure)`);
	const shift = (by) => () => s.psql(was.replace('pg_catalog.clock_timestamp()', `pg_catalog.clock_timestamp() ${by}`));
	await broken(shift("+ interval ''1 hour''".replaceAll("''", "'")), () => s.psql(was), 'clock', /3600\.\d s ahead of/);
	await broken(shift("- interval ''1 hour''".replaceAll("''", "'")), () => s.psql(was), 'clock', /(3600|3599)\.\d s behind/);
});

test('sockets that are gone, that nobody listens to, or that are open to everybody', async () => {
	const sock = `${s.dir}/fcgi/audit.sock`;
	await broken(() => fs.renameSync(sock, `${sock}.away`), () => fs.renameSync(`${sock}.away`, sock), 'sockets', /audit\.sock: No such file/);
	await broken(() => fs.chmodSync(sock, 0o666), () => fs.chmodSync(sock, 0o660), 'sockets', /audit\.sock: everybody/);
	await broken(async () => {
		fs.renameSync(sock, `${sock}.away`);
		const dead = spawnSync(process.execPath, ['-e', `require('net').createServer().listen(${JSON.stringify(sock)}, () => process.kill(process.pid, 'SIGKILL'))`]);
		assert.equal(dead.signal, 'SIGKILL');
		fs.chmodSync(sock, 0o777);
	}, () => fs.renameSync(`${sock}.away`, sock), 'sockets', /audit\.sock: Connection refused/);
	assert.deepEqual(doctor().wrong, []);
});

test('an include that is not active, or older than the endpoints', () => {
	found(doctor(url.none), 'include', /not active: .*status 404/);
	const { wrong } = doctor(url.old);
	assert.deepEqual(wrong.map((row) => row.check), ['include', 'php']);
	assert.match(wrong[0].finding, /does not know audit \(status 404/);
});

test('a PHP handler that swallows our routes', () => {
	found(doctor(url.php), 'php', /answered by somebody else \(status 200, text\/html; PHP gave it\): .*domains/);
});

test('a withheld Authorization header', () => {
	const report = doctor(url.withholding);
	found(report, 'authorization', /withholds the Authorization header/);
	assert.match(report.wrong[0].remedy, /X-API-Key works/);
});

test('trust in a forwarding header that anybody can send', () => {
	found(doctor(url.trusting), 'proxy_trust', /believes a header of ours: (127\.0\.0\.1 became 203\.0\.113\.9|with a made-up address, 200 became 403)/);
});

test('a web server that cannot reach an endpoint, or is not there', () => {
	const { wrong } = doctor(url.deaf);
	assert.deepEqual([...new Set(wrong.map((row) => row.check))], ['endpoints']);
	assert.match(wrong[0].finding, /answers 503 for: roles$/);
	found(doctor('http://127.0.0.1:1'), 'web', /127\.0\.0\.1/);
	found(doctor('file:///etc/passwd'), 'web', /file/);
});

test('pools of several users that share one opcache are found, and only those', () => {
	const dir = path.join(s.dir, 'php'), fpm = path.join(dir, '8.2/fpm');
	fs.mkdirSync(path.join(fpm, 'pool.d'), { recursive: true });
	const pool = (name, user) => fs.writeFileSync(path.join(fpm, 'pool.d', `${name}.conf`), `[${name}]\n; user = nobody\nuser = ${user}\nlisten = /run/php/${name}.sock\n`);
	const look = () => doctor(null, { env: { POSTERN_PHP_DIR: dir } });
	pool('www', 'www-data');
	assert.deepEqual(look().wrong, [], 'one user alone');
	pool('alice', 'alice');
	const ini = path.join(fpm, 'php.ini');
	for (const text of ['', 'opcache.validate_permission = 1\n', 'opcache.validate_permission = 0\nopcache.restrict_api = /nonexistent\n', ';opcache.validate_permission = 1\n;opcache.restrict_api = /x\n']) {
		fs.writeFileSync(ini, text);
		found(look(), 'php', /8\.2\/fpm serve several users and share one opcache/);
	}
	fs.writeFileSync(ini, 'opcache.validate_permission=On\nopcache.restrict_api="/nonexistent"\n');
	assert.deepEqual(look().wrong, []);
	fs.writeFileSync(ini, 'opcache.enable = 0\n');
	assert.deepEqual(look().wrong, []);
});

test('accounts\' databases on the server of Postern\'s own are found', () => {
	const same = doctor(null, { env: { POSTERN_DATABASES_POSTGRESQL_DSN: `host=${s.dir}/pg/socket dbname=postgres` } });
	const row = same.wrong.find(({ check }) => check === 'database server'); // the role, being a superuser, is another finding
	assert.match(row.finding, /a tenant who uses up its connections stops every endpoint/);
	assert.match(row.remedy, /"A server of its own"/);
});

test('a server of Postern\'s database to which every user of the machine can open connections is found', async () => {
	const fine = ({ rows }) => assert.match(rows.find(({ check }) => check === 'database server').finding, /^no account can open connections/);
	fine(doctor());
	const closed = [`${s.dir}/pg`, 0o700], open = [`${s.dir}/pg`, 0o711];
	await broken(() => fs.chmodSync(...open), () => fs.chmodSync(...closed), 'database server', /every user of this machine can open connections/);
	const socket = `${s.dir}/pg/socket/.s.PGSQL.5432`; // or one that lets nobody else write
	fs.chmodSync(socket, 0o700);
	fs.chmodSync(...open);
	fine(doctor());
	fs.chmodSync(...closed);
	fs.chmodSync(socket, 0o777);
	assert.deepEqual(doctor().wrong, []);
});

test('a folder of websites that the web server does not read is found, with the line that is missing', () => {
	const conf = `${s.dir}/nginx/nginx.conf`, whole = fs.readFileSync(conf, 'utf8'), line = /^.*include "[^"]*\/sites\/nginx\/\*\.conf";$/m;
	const [program, ...words] = fs.readFileSync(`${s.dir}/postern.conf`, 'utf8').match(/^nginx_dump = "(.*)"$/m)[1].split(' ');
	const look = (dump) => { // what nginx says, for whom doctor runs as
		fs.writeFileSync(`${s.dir}/dump`, dump);
		return doctor(null, { env: { POSTERN_DOMAIN_WEBSITES: 'on', POSTERN_NGINX_DUMP: `/bin/cat ${s.dir}/dump` } });
	};
	const real = () => look(spawnSync(program, words, { encoding: 'utf8' }).stdout);
	assert.match(whole, line);
	assert.match(real().rows.find(({ check }) => check === 'sites').finding, /^nginx reads the folder of websites/);
	fs.writeFileSync(conf, whole.replace(line, '# $&'));
	try {
		found(real(), 'sites', new RegExp(`nginx does not read the folder of websites: "include ${s.dir}/sites/nginx/\\*\\.conf;" is missing`));
	} finally {
		fs.writeFileSync(conf, whole);
	}
	const told = (text) => look(`# configuration file ${s.dir}/nginx.conf:\nhttp {\n${text}\n}\n`).rows.find(({ check }) => check === 'sites').status;
	assert.deepEqual(['\tinclude sites/nginx/*.conf;', '\tinclude sites/*/*;', '\tinclude sites/*;', '\t# include sites/nginx/*.conf;'].map(told),
		['ok', 'ok', 'finding', 'finding']);
});

test('right after a reload it waits until the web server\'s workers of before accept no more', async () => {
	const proxy = spawn(process.execPath, ['-e', `const http = require('http'); let first;
		http.createServer((q, r) => {
			first ??= Date.now();
			if (Date.now() - first < 1500) // the panel, which it was before
				return r.writeHead(200, { 'Content-Type': 'text/html' }).end('<p>panel</p>');
			q.pipe(http.request({ host: '127.0.0.1', port: ${new URL(url.right).port}, path: q.url, method: q.method, headers: q.headers }, (a) => {
				r.writeHead(a.statusCode, a.headers);
				a.pipe(r);
			}));
		}).listen(0, '127.0.0.1', function () { console.log(this.address().port); })`]);
	after(() => proxy.kill());
	const [port] = await once(proxy.stdout, 'data');
	assert.deepEqual(doctor(`http://127.0.0.1:${String(port).trim()}`).wrong, []);
	proxy.kill();
});

test('worker_shutdown_timeout is advised, and is no finding', () => {
	const told = (dump) => doctor(null, { env: { POSTERN_NGINX_DUMP: dump } }).rows.filter(({ check }) => check === 'reloads').map(({ status, finding }) => [status, finding]);
	const file = `${s.dir}/dump`;
	fs.writeFileSync(file, 'user www-data;\nevents { }\n');
	assert.match(told(`/bin/cat ${file}`)[0].join(), /^ok,.* stay as long as .*worker_shutdown_timeout 10m;/);
	fs.writeFileSync(file, `# configuration file /etc/nginx/nginx.conf:\n  worker_shutdown_timeout  5m;\n${'#\n'.repeat(1 << 20)}`);
	assert.deepEqual(told(`/bin/cat ${file}`), [['ok', "nginx's workers of before a reload end after 5m at the latest"]]);
	assert.deepEqual(told('/bin/false').map(([status]) => status), ['skipped']);
	assert.deepEqual(told(`${s.dir}/no-such-program`), []);
});

test('PostgreSQL on its way down is told from one that is not there, by every command', async () => {
	await s.pgctl('stop', '-m', 'smart', '-W'); // the endpoints' sessions hold it up
	try {
		await until(() => /shutting down/.test(s.cli(['migrate']).stderr), 'it takes nobody in');
		for (const args of [['domain', 'list'], ['migrate'], ['init']]) {
			const { status, stderr } = s.cli(args);
			assert.equal(status, 6, args.join(' '));
			assert.match(stderr, /Try again when/);
		}
		assert.match(doctor().wrong.find(({ check }) => check === 'database').remedy, /on its way up or down/);
	} finally {
		await s.pgctl('stop', '-m', 'fast');
		await s.pgctl('start');
		await until(() => s.cli(['domain', 'list']).status === 0, 'it is back');
	}
});
