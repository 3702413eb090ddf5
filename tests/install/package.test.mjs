// What `make install` puts where, and whether systemd, man and the shells take it. The Debian package itself, installed,
// upgraded and purged under a booted systemd: `make test-install`.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const build = process.env.POSTERN_BUILD ?? 'build';
const env = { PATH: `${process.env.PATH}:/usr/sbin:/sbin`, HOME: os.tmpdir(), LC_ALL: 'C.UTF-8' };
const has = (tool) => spawnSync('sh', ['-c', `command -v ${tool}`], { env }).status === 0;
const unless = (tool) => !has(tool) && `${tool} is not installed here`;
let dir, names;

// Not rebuilt: `all` is what the tests run against.
const make = (target) => spawnSync('make', ['-o', 'all', target, `DESTDIR=${dir}`, `BUILD=${build}`], { cwd: root, env, encoding: 'utf8' });
const file = (name) => path.join(dir, 'usr/local', name);
const postern = (...args) => spawnSync(path.join(root, build, 'cli/postern'), args, { env, encoding: 'utf8' }).stdout;

before(() => {
	dir = fs.mkdtempSync(path.join(os.tmpdir(), 'postern-tree-'));
	names = fs.readdirSync(path.join(root, build, 'cgi')).sort();
	const done = make('install');
	assert.equal(done.status, 0, done.stderr);
});
after(() => fs.rmSync(dir, { recursive: true, force: true }));

test('every endpoint has its program, socket, Unix user and manual page, with no list to keep', () => {
	const users = fs.readFileSync(file('lib/sysusers.d/postern.conf'), 'utf8');
	assert.deepEqual(fs.readdirSync(file('libexec/postern/cgi')).sort(), names);
	assert.deepEqual(fs.readdirSync(file('lib/systemd/system/postern.target.wants')).sort(), [...names.map((name) => `postern@${name}.socket`), 'posternd.service'].sort());
	assert.deepEqual([...users.matchAll(/^u postern-(\S+) /gm)].map((m) => m[1]).sort(), names);
	for (const name of names) {
		assert.ok(fs.existsSync(file(`share/man/man8/postern-${name}.8`)), name);
		assert.ok(`postern-${name}`.length <= 32, `${name}: too long for a Unix user`);
	}
	assert.equal(postern('routes').trim().split('\n').length, names.length);
});

test('no file of the installation names the folder it was built in, and no placeholder is left', () => {
	for (const folder of ['lib', 'share/postern/nginx', 'share/postern/apache'])
		for (const name of fs.existsSync(file(folder)) ? fs.readdirSync(file(folder), { recursive: true }) : []) {
			const one = path.join(file(folder), name);
			if (!/\.(conf|service|socket|target)$/.test(name) || !fs.lstatSync(one).isFile())
				continue;
			const text = fs.readFileSync(one, 'utf8');
			assert.ok(!text.includes(root) && !text.includes(dir), one);
			assert.doesNotMatch(text, /@[a-z]{3,}@/i, one);
		}
});

test('systemd takes the units, and finds little left to take away', { skip: unless('systemd-analyze') }, () => {
	const units = path.join(dir, 'units');
	fs.mkdirSync(units);
	for (const name of ['postern@.service', 'postern@.socket', 'posternd.service', 'postern.target']) // with programs and pages that are there
		fs.writeFileSync(path.join(units, name.replace('@', `@${names[0]}`)), fs.readFileSync(file(`lib/systemd/system/${name}`), 'utf8')
			.replace(/^ExecStart=(.*?)(%i)?$/m, (line, where, one) => `ExecStart=${dir}${where}${one ? names[0] : ''}`).replace(/^Documentation=.*\n/m, ''));
	const verified = spawnSync('systemd-analyze', ['verify', ...fs.readdirSync(units).map((name) => path.join(units, name))], { env, encoding: 'utf8' });
	assert.equal(verified.stderr, '');
	assert.equal(verified.status, 0);
	const judged = spawnSync('systemd-analyze', ['security', '--no-pager', '--offline=true', '--threshold=20',
		file('lib/systemd/system/postern@.service')], { env, encoding: 'utf8' });
	assert.equal(judged.status, 0, judged.stdout + judged.stderr);
	assert.match(judged.stdout, /Overall exposure level .*: [01]\.\d/);
});

test('systemd-sysusers takes the users', { skip: unless('systemd-sysusers') }, () => {
	const made = spawnSync('systemd-sysusers', ['--dry-run', `--root=${fs.mkdtempSync(`${dir}/root-`)}`, file('lib/sysusers.d/postern.conf')],
		{ env, encoding: 'utf8' });
	assert.equal(made.status, 0, made.stderr);
	for (const name of names)
		assert.match(made.stdout + made.stderr, new RegExp(`Creating user 'postern-${name}' .*with UID`));
});

test('manual pages are those of the tables, and man takes them without a warning', () => {
	assert.equal(fs.readFileSync(path.join(root, 'docs/postern.conf.5'), 'utf8'), postern('config', '--man'),
		'renew it: build/cli/postern config --man > docs/postern.conf.5');
	for (const setting of postern('config', '--sample').matchAll(/^#(\w+) = /gm))
		assert.match(postern('config', '--man'), new RegExp(`fB${setting[1]}\\\\fR`));
	const page = fs.readFileSync(path.join(root, 'docs/postern-endpoint.8'), 'utf8').replaceAll('\\-', '-');
	const help = spawnSync(path.join(root, build, 'cgi', names[0]), ['--help'], { env, encoding: 'utf8' }).stdout;
	const options = (text) => [...new Set([...text.matchAll(/--[a-z][a-z-]+/g)].map((m) => m[0]))].sort();
	assert.deepEqual(options(page), options(help));
	for (const name of fs.readdirSync(path.join(root, 'docs')).filter((x) => /\.[158]$/.test(x))) {
		const where = path.join(root, 'docs', name);
		if (has('groff'))
			assert.equal(spawnSync('groff', ['-man', '-ww', '-z', where], { env, encoding: 'utf8' }).stderr, '');
		// The version stands where others have a date.
		if (has('mandoc'))
			assert.equal(spawnSync('mandoc', ['-T', 'lint', '-W', 'warning', where], { env, encoding: 'utf8' }).stdout
				.split('\n').filter((line) => line && !/missing date/.test(line)).join('\n'), '');
	}
	assert.match(page, new RegExp(`Postern ${/^VERSION := (.*)$/m.exec(fs.readFileSync(path.join(root, 'Makefile'), 'utf8'))[1]}"`));
});

test('zsh completes resources, verbs, options and values', { skip: unless('zsh') }, () => {
	const script = fs.readFileSync(file('share/zsh/site-functions/_postern'), 'utf8');
	assert.match(script, /^#compdef postern\n/);
	// The last word is what is typed; compadd is zsh's own way out of a completion function.
	const complete = (...typed) => spawnSync('zsh', ['-f', '-c',
		`compadd() { shift; print -l -- "$@" }; _files() { print FILES }; words=("$@"); CURRENT=$#; ${script.replace(/\n_postern "\$@"\n$/, '\n')}\n_postern`,
		'zsh', file('bin/postern'), ...typed.slice(1)], { env, encoding: 'utf8' }).stdout.trim().split('\n').filter((word) => word.startsWith(typed.at(-1)));
	assert.deepEqual(complete('postern', 'doma'), ['domain']);
	assert.deepEqual(complete('postern', '--config', 'x', 'migr'), ['migrate']);
	assert.deepEqual(complete('postern', 'domains', 'unsus'), ['unsuspend']);
	assert.deepEqual(complete('postern', 'domain', 'create', '--mail'), ['--mail-enabled']);
	assert.deepEqual(complete('postern', 'domain', 'list', '--status', 'susp'), ['suspended']);
	assert.deepEqual(complete('postern', 'doctor', '--u'), ['--url']);
	assert.deepEqual(complete('postern', '--config', 'FI'), ['FILES']);
});

test("what names the server of Postern's database names the same one, which no account can enter", () => {
	const [install] = /^## Install [^]*?```sh\n([^]*?)```/m.exec(fs.readFileSync(path.join(root, 'docs/operations.md'), 'utf8')).slice(1);
	const [, port, folder] = /^pg_createcluster 15 postern --port (\d+) --socketdir (\S+)$/m.exec(install);
	assert.match(install, /^pg_conftool 15 postern set listen_addresses ''$/m);
	assert.ok(install.includes(`"host=${folder} port=${port} dbname=postern"`));
	const made = fs.readFileSync(file('share/postern/tmpfiles/postern-db.conf'), 'utf8');
	assert.match(made, new RegExp(`^d ${folder} 0710 postgres postern `, 'm'));
	assert.match(fs.readFileSync(file('share/postern/tmpfiles/postern-db-mail.conf'), 'utf8'), new RegExp(`^a\\+ ${folder} .* u:postfix:x,u:dovecot:x$`, 'm'));
	for (const name of ['postfix/aliases.cf', 'postfix/domains.cf', 'postfix/mailboxes.cf', 'postfix/refused.cf', 'dovecot/sql.conf.ext', 'dovecot/usage.conf.ext'])
		assert.match(fs.readFileSync(file(`share/postern/mail/${name}`), 'utf8'), new RegExp(`host=${folder}[& ]port=${port}[& ]`), name);
});

test('make deb installs all that the package is built with', () => {
	const control = fs.readFileSync(path.join(root, 'debian/control'), 'utf8');
	const wanted = /^Build-Depends:\n((?: .*\n)+)/m.exec(control)[1].split('\n').map((line) => /^ ([\w.+-]+)/.exec(line)?.[1]).filter(Boolean);
	assert.ok(wanted.length > 5);
	const installs = fs.readFileSync(path.join(root, 'scripts/deps'), 'utf8').match(/^need_(?:run|deb)\(\) \{[^}]*\}/gm).join(' ').split(/[\s;]+/);
	for (const name of wanted) // those of debhelper's sequences come with it
		assert.ok(installs.includes(/^(debhelper-compat|dh-sequence-.*)$/.test(name) ? 'debhelper' : name), name);
});

test('the Debian package has the version of the Makefile', () => {
	const version = /^VERSION := (.*)$/m.exec(fs.readFileSync(path.join(root, 'Makefile'), 'utf8'))[1];
	assert.match(fs.readFileSync(path.join(root, 'debian/changelog'), 'utf8'), new RegExp(`^postern \\(${version.replaceAll('.', '\\.')}\\) `));
});

test('what the installed documentation links to is installed beside it', () => {
	const docs = file('share/doc/postern'), pages = fs.readdirSync(docs, { recursive: true }).filter((name) => name.endsWith('.md'));
	assert.deepEqual(pages.filter((name) => name.startsWith('docs/')).sort(), fs.readdirSync(path.join(root, 'docs')).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`).sort());
	let links = 0;
	for (const page of pages)
		for (const [, target] of fs.readFileSync(path.join(docs, page), 'utf8').matchAll(/\]\((?!https?:|#)([^)#]+)/g)) {
			assert.ok(fs.existsSync(path.join(docs, path.dirname(page), target)), `${page} links to ${target}`);
			links++;
		}
	assert.ok(links > 10);
});

test('uninstall takes away what install put there, but for the settings', () => {
	const settings = path.join(dir, 'etc/postern/postern.conf');
	fs.writeFileSync(settings, '');
	fs.rmSync(path.join(dir, 'units'), { recursive: true, force: true });
	for (const name of fs.readdirSync(dir).filter((x) => x.startsWith('root-')))
		fs.rmSync(path.join(dir, name), { recursive: true });
	const done = make('uninstall');
	assert.equal(done.status, 0, done.stderr);
	const left = [];
	const walk = (folder) => fs.readdirSync(folder, { withFileTypes: true }).forEach((x) => {
		const one = path.join(folder, x.name);
		if (x.isDirectory())
			walk(one);
		else
			left.push(one);
	});
	walk(dir);
	assert.deepEqual(left, [settings]);
});
