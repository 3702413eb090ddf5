// `postern import apache`, and what both imports record of certificates, against a running stack.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { root, startStack } from './harness.mjs';

const asRoot = process.getuid() === 0;
let s, folder;

const host = (name, rest) => `<VirtualHost *:80>\n\tServerName ${name}\n\t${rest.join('\n\t')}\n</VirtualHost>\n`;
const tls = (file) => ['SSLEngine on', `SSLCertificateFile ${file}`];

before(async () => {
	s = await startStack('import-apache');
	folder = path.join(s.dir, 'sites');
	fs.cpSync(path.join(root, 'tests/fixtures/apache'), folder, { recursive: true, verbatimSymlinks: true });
	fs.mkdirSync(`${folder}/etc/tls`, { recursive: true });
	fs.mkdirSync(`${folder}/etc/sites-enabled`);
	fs.mkdirSync(`${folder}/www/shop`, { recursive: true });
	const key = `${folder}/etc/tls/key.pem`, first = `${folder}/etc/tls/first.pem`;
	execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=example', '-keyout', key, '-out', first],
		{ stdio: 'ignore' });
	for (const [name, days] of [['good', 60], ['soon', 7], ['late', -1]])
		execFileSync('openssl', ['x509', '-in', first, '-signkey', key, '-days', String(days), '-out', `${folder}/etc/tls/${name}.pem`], { stdio: 'ignore' });
	// A chain of which the first is the site's own.
	fs.writeFileSync(`${folder}/etc/tls/chain.pem`, ['soon', 'good'].map((n) => fs.readFileSync(`${folder}/etc/tls/${n}.pem`)).join(''));
	fs.writeFileSync(`${folder}/etc/tls/junk.pem`, 'no certificate\n');
	fs.writeFileSync(`${folder}/etc/apache2.conf`, `Define WWW ${folder}/www\nIncludeOptional sites-enabled/*.conf\n`);
	fs.writeFileSync(`${folder}/etc/sites-enabled/shop.conf`,
		host('good.example', ['ServerAlias www.good.example', 'DocumentRoot ${WWW}/shop', ...tls(`${folder}/etc/tls/good.pem`)]) +
		host('shop.good.example', ['DocumentRoot ${WWW}/shop', ...tls('tls/soon.pem')]));
	fs.writeFileSync(`${folder}/etc/sites-enabled/more.conf`,
		host('late.example', ['DocumentRoot ${WWW}/shop', ...tls('tls/late.pem')]) + host('chain.example', tls('tls/chain.pem')) +
		host('secret.example', tls('/root/none.pem')) + host('junk.example', tls('tls/junk.pem')) + host('plain.example', ['ServerAlias *.plain.example']));
	execFileSync('chmod', ['-R', 'a+rX', folder]);
});
after(() => s?.stop());

const listed = async () => Object.fromEntries((await s.ask('/api/v1/domains.php?per_page=100')).json.data.items.map((d) => [d.domain, d]));
const json = (...args) => s.cliJson(['import', ...args]);
function state() {
	const files = fs.readdirSync(folder, { recursive: true, withFileTypes: true }).filter((f) => f.isFile()).map((f) => {
		const file = path.join(f.parentPath ?? f.path, f.name), { mtimeMs, uid, mode } = fs.statSync(file);
		return [file, mtimeMs, uid, mode, fs.readFileSync(file, 'latin1')];
	});
	return JSON.stringify([files, ...['domains', 'accounts', 'domain_names'].map((t) => s.sql(`SELECT * FROM postern.${t} ORDER BY 1, 2`))]);
}
const expected = {
	'good.example': ['primary', 'active'], 'www.good.example': ['alias', 'active'], 'shop.good.example': ['subdomain', 'expiring'],
	'late.example': ['addon', 'expired'], 'chain.example': ['addon', 'expiring'], 'secret.example': ['addon', 'pending'],
	'junk.example': ['addon', 'error'], 'plain.example': ['addon', 'none'],
};

test('a dry run shows what would happen and changes nothing', () => {
	const was = state();
	const done = s.cli(['import', 'apache', `${folder}/etc`, '--account', 'demo', '--dry-run']);
	assert.equal(done.status, 0, done.stderr);
	assert.match(done.stdout, /^DOMAIN +TYPE +ACCOUNT +DOCUMENT ROOT +CERTIFICATE +WHAT HAPPENS$/m);
	assert.match(done.stdout, /^late\.example .* expired +would create$/m);
	assert.match(done.stdout, /^\*\.plain\.example .* skip: a wildcard name \(\S+\/more\.conf:\d+\)$/m);
	assert.match(done.stdout, /^8 would be created, 0 already there, 1 skipped, 0 unassigned, 0 failed/m);
	assert.equal(state(), was);
	// what is not there is named with file and line
	assert.match(done.stderr, /\/more\.conf:\d+: the certificate of junk\.example is recorded as error: tls\/junk\.pem: there is no certificate in it/);
	assert.match(done.stderr, /\/more\.conf:\d+: the certificate of secret\.example is recorded as pending: \/root\/none\.pem: Permission denied/);
});

test('without --account, what belongs to no person is listed and left out', () => {
	const was = state();
	const done = json('apache', `${folder}/etc`);
	assert.equal(done.unassigned, asRoot ? 8 : done.unassigned);
	assert.equal(done.created + done.unassigned, 8);
	if (done.created === 0)
		assert.equal(state(), was);
});

test('virtual hosts are in the API: typed, unmanaged, with roots and the state of their certificates', async () => {
	const done = json('apache', `${folder}/etc`, '--account', 'demo');
	assert.equal(done.failed, 0);
	const domains = await listed();
	// demo has a primary domain where the demo data has made one.
	for (const [name, [type, ssl]] of Object.entries(expected)) {
		assert.equal(domains[name]?.ssl_status, ssl, name);
		assert.equal(domains[name].managed, false);
		if (domains[name].account === 'demo' && type !== 'primary' && type !== 'addon')
			assert.equal(domains[name].type, type, name);
	}
	for (const name of ['good.example', 'www.good.example', 'shop.good.example', 'late.example'])
		assert.equal(domains[name].document_root, `${fs.realpathSync(folder)}/www/shop`, name);
});

test('a second import changes nothing, and what is gone from the configuration stays in the inventory', async () => {
	const was = s.sql('SELECT * FROM postern.domains ORDER BY id');
	const again = json('apache', `${folder}/etc`, '--account', 'demo');
	assert.deepEqual([again.created, again.existing, again.failed], [0, 8, 0]);
	fs.rmSync(`${folder}/etc/sites-enabled/more.conf`);
	assert.equal(json('apache', `${folder}/etc`, '--account', 'demo').existing, 3);
	assert.deepEqual(s.sql('SELECT * FROM postern.domains ORDER BY id'), was);
});

test('a file or a folder of sites can be given, with includes, macros and conditions', async () => {
	const sites = json('apache', `${folder}/debian/sites-available`, '--account', 'demo', '--dry-run').items;
	assert.ok(sites.some((row) => row.domain === 'disabled.example.org'));
	const macros = json('apache', `${folder}/macros/httpd.conf`, '--account', 'demo');
	assert.equal(macros.failed, 0);
	const domains = await listed();
	assert.equal(domains['two.example'].document_root, '/srv/www/bert/two.example');
	assert.equal(domains['one.example'].ssl_status, 'error'); // its file is not there
	assert.equal(domains['two.example'].ssl_status, 'none');
	assert.equal(domains['old.example'].type, 'alias');
	assert.equal(domains['main.example'], undefined);
});

test('what is no configuration is refused with the remedy', () => {
	for (const [args, status, message] of [
		[['apache', `${folder}/etc/tls/good.pem`], 7, /has no virtual host: give apache2\.conf/],
		[['apache', `${folder}/none`], 7, /none: No such file or directory/],
		[['caddy'], 2, /There are: nginx, apache/],
		[[], 2, /There are: nginx, apache/],
	]) {
		const done = s.cli(['import', ...args]);
		assert.equal(done.status, status, `${args}: ${done.stderr}`);
		assert.match(done.stderr, message);
	}
});

test('nginx: the state of certificates is read too, relative paths as nginx reads them', () => {
	fs.mkdirSync(`${folder}/nginx/tls`, { recursive: true });
	for (const name of ['good', 'soon', 'late'])
		fs.copyFileSync(`${folder}/etc/tls/${name}.pem`, `${folder}/nginx/tls/${name}.pem`);
	fs.writeFileSync(`${folder}/nginx/nginx.conf`, `http {\n${['good', 'soon', 'late', 'none', '$ssl_server_name'].map((name) =>
		`server { listen 443 ssl; server_name ${name.replace('$ssl_server_name', 'variable')}.nginx.example; ssl_certificate tls/${name}.pem; }`).join('\n')}
		server { listen 80; server_name plain.nginx.example; root /srv/plain; ssl_certificate tls/good.pem; }\n}\n`);
	execFileSync('chmod', ['-R', 'a+rX', folder]);
	const { items } = json('nginx', `${folder}/nginx`, '--account', 'demo');
	assert.deepEqual(items.map((row) => [row.domain.split('.')[0], row.ssl_status, row.action]),
		[['good', 'active', 'create'], ['soon', 'expiring', 'create'], ['late', 'expired', 'create'], ['none', 'error', 'create'],
			['variable', 'pending', 'create'], ['plain', 'none', 'create']]);
	const { stderr } = s.cli(['import', 'nginx', `${folder}/nginx`, '--account', 'demo']);
	assert.match(stderr, /nginx\.conf:5: the certificate of none\.nginx\.example is recorded as error: tls\/none\.pem: No such file/);
	assert.match(stderr, /nginx\.conf:6: .* is recorded as pending: tls\/\$ssl_server_name\.pem: its name has a variable/);
	assert.match(stderr, /nginx\.conf:7: the certificate is not served: nothing listens with TLS here.*plain\.nginx\.example/);
});
