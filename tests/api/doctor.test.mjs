// postern doctor: each thing it promises to find is broken, found by its name with a remedy, and mended again.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
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
	assert.deepEqual(rows.map((row) => row.check), ['settings', 'pepper', 'database', 'migrations', 'grants', 'logins', 'clock',
		'sockets', 'worker', 'include', 'php', 'authorization', 'proxy_trust', 'endpoints']);
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
