// `postern import nginx` against a running stack: what nginx serves is in the inventory, and nothing else is touched.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { root, startStack } from './harness.mjs';

const fixtures = path.join(root, 'tests/fixtures/nginx');
const asRoot = process.getuid() === 0;
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
let s, site;

before(async () => {
	s = await startStack('import');
	site = path.join(s.dir, 'sites');
	fs.cpSync(fixtures, site, { recursive: true, verbatimSymlinks: true }); // readable for the servers' user, and observable
});
after(() => s?.stop());

const listed = async (query = '') => Object.fromEntries((await s.ask(`/api/v1/domains.php?per_page=100${query}`)).json.data.items.map((d) => [d.domain, d]));
const json = (args, options) => {
	const done = s.cli(['--json', 'import', 'nginx', ...args], options);
	assert.equal(done.status, 0, done.stderr);
	return JSON.parse(done.stdout);
};
// Everything that an import could change: the inventory's rows, and the files it reads.
function state() {
	const files = fs.readdirSync(site, { recursive: true, withFileTypes: true }).filter((f) => f.isFile()).map((f) => {
		const file = path.join(f.parentPath ?? f.path, f.name), { mtimeMs, uid, mode } = fs.statSync(file);
		return [file, mtimeMs, uid, mode, fs.readFileSync(file, 'latin1')];
	});
	return JSON.stringify([files, s.sql('SELECT * FROM postern.domains ORDER BY id'), s.sql('SELECT * FROM postern.accounts ORDER BY id'), s.sql('SELECT * FROM postern.domain_names ORDER BY 1')]);
}

test('a dry run shows a lined-up table of what would happen and changes nothing', () => {
	const was = state();
	const done = s.cli(['import', 'nginx', path.join(site, 'apps'), '--account', 'demo', '--dry-run']);
	assert.equal(done.status, 0, done.stderr);
	const lines = done.stdout.split('\n'), end = lines.indexOf('');
	const column = lines[0].indexOf('WHAT HAPPENS'), account = lines[0].indexOf('ACCOUNT');
	assert.ok(column > account && account > 0);
	for (const line of lines.slice(1, end)) {
		assert.match(line.slice(column), /^(would create|skip: )/, line);
		assert.match(line.slice(column - 2, column), /^ {2}$/, line);
		assert.match(line.slice(account), /^(demo|-) +/, line);
	}
	assert.match(lines[end + 1], /^8 would be created, 0 already there, 10 skipped, 0 unassigned, 0 failed; 0 accounts would be created$/);
	assert.equal(state(), was);
});

test('what is in nobody\'s folder is listed with the remedy and left out without --account', () => {
	const was = state();
	const done = s.cli(['import', 'nginx', path.join(site, 'debian')]);
	assert.equal(done.status, 0, done.stderr);
	assert.match(done.stdout, /^example\.org .* unassigned: give --account \(its document root is missing; \S+\/sites-enabled\/anna:1\)$/m);
	assert.match(done.stderr, /2 domains were left out without an account: run again with --account NAME/);
	assert.equal(state(), was);
});

test('imported sites are in the API: named, unmanaged, with their document roots and certificates', async () => {
	for (const name of ['debian', 'apps'])
		assert.equal(json([path.join(site, name), '--account', 'demo']).failed, 0);
	const domains = await listed('&account=demo');
	assert.deepEqual(Object.keys(domains).sort(), ['after.example.com', 'cloud.example.com', 'example.org', 'git.example.com', 'pma.example.com',
		'quoted.example.com', 'shop.example.com', 'tree.example.com', 'www.example.org', 'www.shop.example.com']);
	for (const domain of Object.values(domains)) {
		assert.equal(domain.managed, false);
		assert.equal(domain.account, 'demo');
		assert.equal(domain.status, 'active');
	}
	assert.deepEqual(['type', 'document_root', 'ssl_status'].map((f) => domains['example.org'][f]), ['primary', '/home/anna/public_html', 'error']);
	assert.deepEqual(['type', 'document_root', 'ssl_status'].map((f) => domains['tree.example.com'][f]), ['addon', '/srv/odd site/web/pub', 'none']);
	assert.equal(domains['www.example.org'].type, 'alias');
	const rows = s.sql(`SELECT actor, verb, status FROM postern.audit WHERE resource = 'domain' AND object_id = '${domains['example.org'].id}'`);
	assert.deepEqual(rows, [{ actor: 'system', verb: 'create', status: 201 }]);
});

test('run again, all is already there; what somebody changed or removed since stays as it is', async () => {
	const { id } = (await listed())['shop.example.com'];
	assert.equal((await s.ask(`/api/domains/${id}`, { method: 'PATCH', body: { mail_enabled: false } })).status, 200);
	const gone = s.cliJson(['domain', 'create', '--domain', 'elsewhere.example', '--account', 'demo']);
	const was = state();
	const again = json([path.join(site, 'apps'), '--account', 'demo']);
	assert.deepEqual([again.created, again.existing, again.failed], [0, 8, 0]);
	assert.equal(state(), was, 'an import only adds');
	assert.match(s.cli(['import', 'nginx', path.join(site, 'apps'), '--account', 'demo']).stdout, /0 created, 8 already there/);
	assert.ok((await listed())[gone.domain]);
});

test('the output of nginx -T with sites as certbot leaves them can be piped in', async () => {
	const dir = path.join(site, 'live');
	fs.mkdirSync(path.join(dir, 'sites-enabled'), { recursive: true });
	execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=live.example', '-days', '90', '-keyout', path.join(dir, 'key.pem'), '-out', path.join(dir, 'cert.pem')], { stdio: 'ignore' });
	fs.writeFileSync(path.join(dir, 'nginx.conf'), `pid ${dir}/nginx.pid;\nevents { }\nhttp {\n\tinclude sites-enabled/*;\n}\n`);
	fs.writeFileSync(path.join(dir, 'sites-enabled/live'), `server {
    server_name live.example www.live.example;
    root /srv/live;
    listen 127.0.0.1:65001 ssl; # managed by Certbot
    ssl_certificate ${dir}/cert.pem; # managed by Certbot
    ssl_certificate_key ${dir}/key.pem; # managed by Certbot
}
server {
    if ($host = www.live.example) {
        return 301 https://$host$request_uri;
    } # managed by Certbot
    if ($host = live.example) {
        return 301 https://$host$request_uri;
    } # managed by Certbot
    listen 127.0.0.1:65002;
    server_name live.example www.live.example;
    return 404; # managed by Certbot
}
server { listen 127.0.0.1:65002; server_name plain.live.example; root "/srv/pl ain"; location / { try_files $uri =404; } }
`);
	const shown = spawnSync('nginx', ['-T', '-p', dir, '-c', path.join(dir, 'nginx.conf'), '-e', path.join(dir, 'error.log')], { env, encoding: 'utf8' });
	assert.equal(shown.status, 0, shown.stderr);
	const was = fs.readFileSync(path.join(dir, 'sites-enabled/live'), 'utf8');
	const done = json(['-', '--account', 'demo'], { input: shown.stdout });
	assert.deepEqual([done.created, done.failed, done.skipped], [3, 0, 0]);
	const domains = await listed('&search=live.example');
	assert.deepEqual(Object.values(domains).map((d) => [d.domain, d.type, d.document_root, d.ssl_status]).sort(), [
		['live.example', 'addon', '/srv/live', 'active'],
		['plain.live.example', 'subdomain', '/srv/pl ain', 'none'],
		['www.live.example', 'alias', '/srv/live', 'active'],
	]);
	assert.equal(fs.readFileSync(path.join(dir, 'sites-enabled/live'), 'utf8'), was);
	const again = json(['-', '--account', 'demo'], { input: shown.stdout });
	assert.deepEqual([again.created, again.existing], [0, 3]);
});

test('the collected output in the fixtures gives old redirects and their certificates too', async () => {
	const dry = s.cli(['import', 'nginx', path.join(site, 'certbot.txt'), '--account', 'demo', '--dry-run']);
	assert.match(dry.stdout, /^gone\.example\.net .* would create, without its redirect \(\S+:\d+\)$/m);
	const done = json([path.join(site, 'certbot.txt'), '--account', 'demo']);
	assert.equal(done.failed, 0);
	const domains = await listed();
	for (const name of ['blog.example.org', 'old.example.net', 'gone.example.net'])
		assert.equal(domains[name]?.managed, false, name);
	assert.equal(domains['blog.example.org'].ssl_status, 'error'); // its file is not on this machine
	assert.equal(domains['gone.example.net'].ssl_status, 'none');
});

const people = execFileSync('getent', ['passwd'], { encoding: 'utf8' }).trim().split('\n').map((line) => line.split(':'))
	.filter(([, , uid]) => Number(uid) >= 1000 && Number(uid) !== 65534).map(([name, , uid, gid, , home]) => ({ name, uid: Number(uid), gid: Number(gid), home }));
const owned = !asRoot ? 'needs root, to give folders to a user' : people.length === 0 && 'this machine has no user to give folders to';
test('sites belong to the Unix owner of their document root: one unmanaged account each', { skip: owned }, async () => {
	const person = people[0], webroot = path.join(site, 'web');
	for (const [name, uid, gid] of [['theirs', person.uid, person.gid], ['second', person.uid, person.gid], ['system', 0, 0]]) {
		fs.mkdirSync(path.join(webroot, name), { recursive: true });
		fs.chownSync(path.join(webroot, name), uid, gid);
	}
	fs.symlinkSync(path.join(webroot, 'theirs'), path.join(webroot, 'link'));
	const block = (name, folder) => `server { listen 80; server_name ${name}; root ${webroot}/${folder}; }\n`;
	const file = path.join(site, 'owners.conf');
	fs.writeFileSync(file, `http {\n${block('theirs.example www.theirs.example', 'theirs')}${block('second.example', 'second')}${block('system.example', 'system')}${block('link.example', 'link')}}\n`);
	const was = state();
	const dry = json([file, '--dry-run']);
	assert.deepEqual([dry.created, dry.unassigned, dry.accounts_created], [4, 1, 1]);
	assert.equal(state(), was);
	const done = json([file]);
	assert.deepEqual([done.created, done.unassigned, done.accounts_created], [4, 1, 1]);
	assert.match(done.items.find((i) => i.domain === 'system.example').reason, /belongs to no person/);
	const account = (await s.ask(`/api/accounts/${person.name}`)).json;
	assert.equal(account.managed, false);
	assert.equal(account.home, person.home);
	const domains = await listed(`&account=${person.name}`);
	assert.deepEqual(Object.values(domains).map((d) => [d.domain, d.type, d.managed]).sort(), [
		['link.example', 'addon', false], ['second.example', 'addon', false], ['theirs.example', 'primary', false], ['www.theirs.example', 'alias', false]]);
	const rest = json([file, '--account', 'demo']);
	assert.deepEqual([rest.created, rest.existing, rest.accounts_created], [1, 4, 0]);
	assert.equal((await listed())['system.example'].account, 'demo');
});

test('a configuration that includes itself or misses a file is read as far as it goes, with a warning naming file and line', () => {
	const done = s.cli(['import', 'nginx', path.join(site, 'loop'), '--account', 'demo']);
	assert.equal(done.status, 0);
	assert.match(done.stderr, /b\.conf:5: the file includes itself/);
	assert.match(done.stderr, /nginx\.conf:3: No such file or directory/);
	assert.match(done.stdout, /loop\.example\.org .* create$/m);
});

test('an account that does not exist is no owner: nothing is imported, and the exit code says so', () => {
	const was = state();
	const done = s.cli(['import', 'nginx', path.join(site, 'apps'), '--account', 'no-such-account']);
	assert.equal(done.status, 0, 'all of it is already there'); // existing rows need no account
	fs.writeFileSync(path.join(site, 'new.conf'), 'http { server { listen 80; server_name new.example; } }\n');
	const fresh = s.cli(['import', 'nginx', path.join(site, 'new.conf'), '--account', 'no-such-account']);
	assert.equal(fresh.status, 3);
	assert.match(fresh.stdout, /failed: account no-such-account does not exist and is no Unix user: create it first/);
	fs.rmSync(path.join(site, 'new.conf'));
	assert.equal(state(), was);
	assert.equal(s.cli(['import', 'nginx', path.join(site, 'nothing-here')]).status, 7);
	assert.equal(s.cli(['import']).status, 2);
});

test('Debian\'s own /etc/nginx is read without a complaint', { skip: !fs.existsSync('/etc/nginx/nginx.conf') && 'nginx has no folder here' }, () => {
	const done = s.cli(['import', 'nginx', '--dry-run']);
	assert.equal(done.status, 0, done.stderr);
	assert.match(done.stdout, /\d+ would be created, \d+ already there, \d+ skipped, \d+ unassigned, 0 failed/);
});
