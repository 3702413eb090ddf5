// An import takes over what the server serves, whole: a dry run is the real run taken back, whose files a site serves decides
// whose it is, and what is left out is named with file and line.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { startStack } from './harness.mjs';

const asRoot = process.getuid() === 0;
const needsRoot = !asRoot && 'needs root, for owners of folders and an /etc/passwd of its own';
const people = { anna: 4201, bert: 4202, 'carl.one': 4203 };
let s, dir;

before(async () => {
	s = await startStack('import-whole');
	dir = path.join(s.dir, 'whole');
	fs.mkdirSync(dir);
	fs.writeFileSync(`${dir}/passwd`, fs.readFileSync('/etc/passwd', 'utf8') +
		Object.entries(people).map(([name, uid]) => `${name}:x:${uid}:${uid}::/home/${name}:/bin/sh\n`).join(''));
});
after(() => s?.stop());

function write(file, text) {
	const name = path.join(dir, file);
	fs.mkdirSync(path.dirname(name), { recursive: true });
	fs.writeFileSync(name, text);
	return name;
}
function folder(name, owner) {
	const at = path.join(dir, 'www', name);
	fs.mkdirSync(at, { recursive: true });
	fs.chownSync(at, people[owner], people[owner]);
	return at;
}
// The command, on a machine that has these people.
function run(...args) {
	const done = spawnSync('unshare', ['-m', 'sh', '-c', 'mount --bind "$0" /etc/passwd && exec "$@"', `${dir}/passwd`, path.join(s.dir, 'postern'), ...args],
		{ encoding: 'utf8' });
	return { status: done.status, stderr: done.stderr, ...(done.stdout.startsWith('{') ? JSON.parse(done.stdout) : { stdout: done.stdout }) };
}
const state = () => JSON.stringify(['domains', 'accounts', 'domain_names', 'audit', 'events', 'jobs']
	.map((t) => s.sql(`SELECT count(*) FROM postern.${t}`)));
const rows = (done) => Object.fromEntries(done.items.map((i) => [i.domain, i]));

test('a dry run has the rows, refusals and exit code of the real run, and changes nothing', { skip: needsRoot }, () => {
	s.cliJson(['account', 'create', '--username', 'full', '--max-domains', '1']);
	s.cliJson(['account', 'create', '--username', 'holder']);
	s.cliJson(['domain', 'create', '--domain', 'held.example', '--account', 'holder']);
	const site = (name, root) => `server { listen 80; server_name ${name}; root ${root}; }\n`;
	const file = write('dry/nginx.conf', `http {
${site('anna.example www.anna.example', folder('anna', 'anna'))}${site('shop.anna.example', folder('shop', 'anna'))}
${site('dotted.example', folder('dotted', 'carl.one'))}${site('below.held.example', folder('held', 'anna'))}
${site('missing.example', `${dir}/www/none`)}${site('held.example', folder('held', 'anna'))}${site('odd.example', folder('näh', 'anna'))}
${site('nobody.example', '/usr/share')}}
`);
	const options = [['--account', 'full'], []];
	for (const more of options) {
		const was = state();
		const dry = run('--json', 'import', 'nginx', file, ...more, '--dry-run');
		assert.equal(state(), was);
		const real = run('--json', 'import', 'nginx', file, ...more);
		assert.deepEqual({ ...dry, dry_run: null }, { ...real, dry_run: null });
		if (more.length) {
			const by = rows(real);
			assert.deepEqual([by['anna.example'].account, by['anna.example'].action], ['anna', 'create']);
			assert.deepEqual([by['dotted.example'].account, by['dotted.example'].action], ['full', 'create'], 'the owner cannot be an account');
			assert.match(by['missing.example'].reason, /max_domains|limit|quota/);
			assert.match(by['odd.example'].reason, /document_root: must be/);
			assert.equal(by['held.example'].action, 'existing');
			assert.notEqual(real.status, 0);
			assert.deepEqual([real.failed > 0, real.accounts_created], [true, 1]);
		} else {
			assert.match(rows(real)['nobody.example'].reason, /belongs to no person/);
		}
	}
	const dotted = write('dotted/nginx.conf', `http { ${site('other.example', folder('dotted', 'carl.one'))} }\n`);
	const alone = run('--json', 'import', 'nginx', dotted);
	assert.deepEqual([alone.status, alone.unassigned], [0, 1]);
	assert.match(rows(alone)['other.example'].reason, /^its owner carl\.one cannot be an account: account carl\.one: username: must have/);
});

test('a site that redirects or proxies to another account\'s is its own owner\'s; without a root of its own it is an alias', { skip: needsRoot }, () => {
	const host = (name, ...rest) => `<VirtualHost *:80>\n\tServerName ${name}\n\t${rest.join('\n\t')}\n</VirtualHost>\n`;
	const root = (name, owner) => `DocumentRoot ${folder(name, owner)}`;
	const file = write('owners/apache2.conf', host('head.example', root('head', 'anna')) +
		host('theirs.example', root('theirs', 'bert'), 'Redirect permanent / http://head.example/') +
		host('front.example', root('front', 'bert'), 'RewriteEngine on', 'RewriteRule ^/(.*)$ http://head.example/$1 [P]') +
		host('flagless.example', 'RewriteEngine on', 'RewriteRule ^/?(.*)$ http://head.example/$1') +
		host('own.example', root('own', 'anna'), 'Redirect / http://head.example/'));
	const done = run('--json', 'import', 'apache', file), by = rows(done);
	assert.equal(done.status, 0, JSON.stringify(done));
	for (const [name, account, alias, kind] of [['theirs.example', 'bert', null, 'redirect'], ['front.example', 'bert', null, 'proxy'],
		['flagless.example', 'anna', 'head.example', 'redirect'], ['own.example', 'anna', 'head.example', 'redirect']])
		assert.deepEqual([by[name].account, by[name].alias_of, by[name].kind], [account, alias, kind], name);
	assert.ok(done.warnings.some((w) => /apache2\.conf:14: this is not taken over: \^\/\(\.\*\)\$ of front\.example is a proxy/.test(w)), done.warnings.join('\n'));
});

test('a folder of sites with subfolders, conf/nginx.conf and a single file with relative includes are read', () => {
	write('tree/nginx.conf', 'http { include sites/*.conf; }\n');
	write('tree/snippets/root.conf', `root ${dir};\n`);
	const one = write('tree/sites/one.conf', 'server { server_name one.tree.example; include snippets/root.conf; }\n');
	write('tree/sites/more/two.conf', 'server { server_name two.tree.example; include snippets/root.conf; }\n');
	write('tree/sites/.hidden.conf', 'server { server_name hidden.tree.example; }\n');
	const read = (kind, source, ...more) => {
		const done = s.cli(['--json', 'import', kind, source, '--account', 'demo', '--dry-run', ...more]);
		assert.equal(done.status, 0, done.stderr);
		const out = JSON.parse(done.stdout);
		return { by: rows(out), warnings: out.warnings.join('\n') };
	};
	assert.equal(read('nginx', one).by['one.tree.example'].document_root, dir);
	const { by, warnings } = read('nginx', `${dir}/tree/sites`);
	assert.deepEqual(Object.keys(by).sort(), ['one.tree.example', 'two.tree.example']);
	assert.equal(by['two.tree.example'].document_root, dir);
	assert.match(warnings, /a hidden file is left out: \S+\/\.hidden\.conf/);
	write('built/conf/nginx.conf', `http { server { server_name built.example; root ${dir}; } include gone.d/*.conf; }\n`);
	const built = read('nginx', `${dir}/built`);
	assert.equal(built.by['built.example'].document_root, dir);
	assert.match(built.warnings, /conf\/nginx\.conf:1: No such file or directory: \S+gone\.d/);
	// Apache includes a folder whole, with what lies below.
	const host = (name, rest = '') => `<VirtualHost *:80>\nServerName ${name}\n${rest}</VirtualHost>\n`;
	write('ap/apache2.conf', 'Include hosts\n<IfDefine EXTRA>\nInclude extra.conf\n</IfDefine>\nIncludeOptional ${WHERE}/*.conf\nIncludeOptional [m]issing.d/*.conf\n');
	write('ap/snippets/root.conf', `DocumentRoot ${dir}\n`);
	write('ap/hosts/a.conf', host('a.ap.example'));
	write('ap/hosts/b/c/deep.conf', host('deep.ap.example', 'Include snippets/root.conf\n'));
	write('ap/extra.conf', host('extra.ap.example') + '<IfVersion < 2.4.10>\n' + host('old.ap.example') + '</IfVersion>\n');
	write('ap/where/w.conf', host('where.ap.example'));
	const plain = read('apache', `${dir}/ap`);
	assert.deepEqual(Object.keys(plain.by).sort(), ['a.ap.example', 'deep.ap.example']);
	assert.equal(plain.by['deep.ap.example'].document_root, dir);
	assert.match(plain.warnings, /apache2\.conf:2: the name is not defined, so the section is left out; give --define NAME .*: IfDefine EXTRA/);
	assert.match(plain.warnings, /apache2\.conf:5: a variable of the path is not defined: give it a value \(--define NAME=VALUE\)/);
	const given = read('apache', `${dir}/ap`, '--define', `EXTRA,WHERE=${dir}/ap/where`, '--server-version', '2.4.6');
	assert.deepEqual(Object.keys(given.by).sort(), ['a.ap.example', 'deep.ap.example', 'extra.ap.example', 'old.ap.example', 'where.ap.example']);
	assert.equal(given.warnings, '');
	assert.equal(read('apache', `${dir}/ap/hosts/b`).by['deep.ap.example'].document_root, dir);
});

test('an option that a server has no use for, or that is malformed, is refused', () => {
	for (const [args, message] of [
		[['nginx', '--define', 'X'], /--define is for apache only: nginx has no conditions/],
		[['apache', '--server-version', '2.4'], /--server-version is no version: give it as 2\.4\.62/],
	]) {
		const done = s.cli(['import', ...args]);
		assert.equal(done.status, 2, done.stderr);
		assert.match(done.stderr, message);
	}
});

test('when PostgreSQL goes away, nothing is imported and the exit code says so', async () => {
	const file = write('gone/nginx.conf', `http { server { server_name gone.example; root ${dir}; } }\n`);
	await s.pgctl('stop', '-m', 'immediate');
	const done = s.cli(['import', 'nginx', file, '--account', 'demo']);
	assert.equal(done.status, 6, done.stderr);
	assert.match(done.stderr, /PostgreSQL is out of reach; nothing was imported: run again when it is back/);
	await s.pgctl('start');
	assert.deepEqual(s.sql("SELECT FROM postern.domains WHERE domain = 'gone.example'"), []);
});
