// Certificates: issued by a real ACME server, uploaded, renewed and taken away; what nginx serves is what the API says.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import tls from 'node:tls';
import { after, before, test } from 'node:test';

import { answered, startStack, until } from '../api/harness.mjs';

const asRoot = process.getuid() === 0;
const skip = asRoot ? false : 'not run: what uacme trusts can be set for it alone by root only';
const openssl = (...args) => execFileSync('openssl', args, { encoding: 'utf8', stdio: ['pipe', 'pipe', 'pipe'] });
let s, told, port, work, tenant, token, authority;

before(async () => {
	if (!asRoot)
		return;
	s = await startStack('ssl', { WORKER: 'yes', DOMAIN_PROOF: 'off', SITES: 'yes', PARTS: 'acme', WEB: 'nginx' });
	told = Object.fromEntries(fs.readFileSync(path.join(s.dir, 'env'), 'utf8').trim().split('\n').map((l) => l.split(/=(.*)/s)));
	port = Number(new URL(s.url).port) + 1000;
	s.env.SSL_CERT_FILE = told.POSTERN_ACME_ROOT; // as the stack has it for posternd: this authority is trusted here
	work = path.join(s.dir, 'work');
	fs.mkdirSync(work);
	tenant = s.tenant();
	token = s.mint({ owner: tenant.user.username, scopes: ['domains:*', 'websites:*', 'ssl:*', 'jobs:*'], action_limit: 1000, expires_at: 'null' }).token;
	await until(async () => (await s.ask(`/api/accounts/${tenant.account.id}`)).json.status === 'active', 'the account is there');
	// A clock that tests can move (design.md: only a test database replaces it).
	s.psql(`SET ROLE postern_owner; CREATE TABLE postern.test_clock (ahead interval NOT NULL); INSERT INTO postern.test_clock VALUES ('0');
		CREATE OR REPLACE FUNCTION postern.clock() RETURNS timestamptz LANGUAGE sql VOLATILE SECURITY DEFINER
		SET search_path = pg_catalog, pg_temp AS 'SELECT clock_timestamp() + (SELECT ahead FROM postern.test_clock)'`);
	authority = sign('authority', '/CN=A private authority', { ca: true });
});
after(() => s?.stop());

// ---- certificates of one's own ----

// A key and a certificate by openssl: { pem, key }, signed by `by` or by itself.
function sign(name, subject, { names, by, ca, days = 90, from } = {}) {
	const file = (what) => path.join(work, `${name}.${what}`);
	openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', file('key'), '-subj', subject, '-out', file('csr'));
	fs.writeFileSync(file('ext'), ca ? 'basicConstraints=critical,CA:TRUE\n' : `subjectAltName=${names.map((n) => `DNS:${n}`).join(',')}\n`);
	const signer = by ? ['-CA', path.join(work, `${by}.pem`), '-CAkey', path.join(work, `${by}.key`), '-CAcreateserial'] : ['-signkey', file('key')];
	const command = ['x509', '-req', '-in', file('csr'), ...signer, '-days', String(days), '-extfile', file('ext'), '-out', file('pem')];
	openssl(...command);
	if (from) { // openssl x509 knows no beginning: one that is over is made by ca
		fs.writeFileSync(file('db'), '');
		fs.writeFileSync(file('cnf'), `[ca]\ndefault_ca=d\n[d]\ndatabase=${file('db')}\nrand_serial=yes\ndefault_md=sha256\npolicy=p\nnew_certs_dir=${work}\nunique_subject=no\n[p]\ncommonName=supplied\n`);
		openssl('ca', '-batch', '-notext', '-config', file('cnf'), '-in', file('csr'), '-cert', path.join(work, `${by}.pem`), '-keyfile', path.join(work, `${by}.key`),
			'-startdate', from[0], '-enddate', from[1], '-extfile', file('ext'), '-out', file('pem'));
	}
	return { pem: fs.readFileSync(file('pem'), 'utf8'), key: fs.readFileSync(file('key'), 'utf8') };
}

// ---- asking ----

const wait = { Prefer: 'wait=30' };
// A reload may close even a connection that was just opened: then the same request is sent again, which does nothing twice
const api = (method, target, body, who = token) => {
	const headers = { ...wait, ...(method === 'GET' ? {} : { 'Idempotency-Key': s.unique('key') }) };
	const send = () => s.ask(target, { method, body, token: who, headers });
	return send().catch((error) => (/^fetch failed/.test(error.message) ? send() : Promise.reject(error)));
};
async function expect(status, method, target, body, who) {
	const answer = await api(method, target, body, who);
	assert.equal(answer.status, answered(status, answer), `${method} ${target}: ${answer.text}`);
	return answer.json;
}
const row = (domain) => expect(200, 'GET', `/api/ssl/${domain}`);
const site = async (aliases = ['www']) => {
	const domain = `${s.unique('d')}.example`;
	await expect(201, 'POST', '/api/domains', { domain, www: false });
	if (aliases.length)
		await expect(200, 'PATCH', `/api/websites/${domain}`, { aliases: aliases.map((a) => `${a}.${domain}`) });
	return domain;
};
// What nginx presents for a name; null where that is for others only, or nothing.
const served = (name) => new Promise((resolve) => {
	const socket = tls.connect({ host: '127.0.0.1', port, servername: name, rejectUnauthorized: false }, () => {
		const certificate = socket.getPeerX509Certificate();
		socket.destroy();
		resolve(certificate?.checkHost(name) ? certificate : null);
	}).on('error', () => resolve(null));
});
const serial = (certificate) => certificate?.serialNumber.toLowerCase().replace(/^0+/, '');
// While nginx reloads its workers of before answer, too; this is what it comes to. Answers the certificate.
const serves = (name, want) => until(async () => {
	const certificate = await served(name);
	return serial(certificate) === want.replace(/^0+/, '') && certificate;
}, `${name} serves ${want}`);
// What openssl s_client says of a name where only `root` is trusted: it comes to be good.
const verified = (name, root) => until(() => {
	const done = spawnSync('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, '-servername', name, '-verify_hostname', name, '-verify_return_error', '-CAfile', root],
		{ input: '', encoding: 'utf8' });
	return done.status === 0 && /Verify return code: 0 \(ok\)/.test(done.stdout);
}, `the chain that is sent for ${name} leads to ${root}`);
const plain = (name, target = '/') => new Promise((resolve, reject) => {
	http.get({ host: '127.0.0.1', port: port - 1000, path: target, agent: false, headers: { Host: name } }, (response) => {
		response.resume().on('end', () => resolve(response.statusCode));
	}).on('error', reject);
});
// Where names lead: pebble asks this server for them.
const lead = async (host, addresses) => {
	const answer = await fetch(`${told.POSTERN_ACME_DNS}/${addresses ? 'add-a' : 'clear-a'}`, { method: 'POST', body: JSON.stringify({ host: `${host}.`, addresses }) });
	assert.equal(answer.status, 200);
};
// A name leads where nobody answers, and the authority will ask it. Pebble takes an account's earlier proof of a name for one in a hundred
// orders even with PEBBLE_AUTHZREUSE=0 (it rolls 0 to 99 and asks again above 0): a new account has none.
const leadAway = async (host) => {
	await lead(host, ['127.0.0.2']);
	fs.rmSync(path.join(s.dir, 'worker/acme'), { recursive: true });
};
const issued = async (domain, fields = {}) => {
	const made = await expect(201, 'POST', '/api/ssl', { domain, ...fields });
	assert.equal(made.status, 'active', JSON.stringify(made));
	made.served = await serves(domain, made.serial);
	return made;
};

test('a certificate is issued for two names by ACME, served by nginx, and its chain leads to the authority\'s root', { skip }, async () => {
	const domain = await site();
	assert.equal(await served(domain), null);
	const made = await expect(201, 'POST', '/api/ssl', { domain });
	assert.deepEqual([made.status, made.source, made.names, made.last_error, made.auto_renew], ['active', 'acme', [domain, `www.${domain}`], null, true]);
	const certificate = await serves(domain, made.serial);
	for (const name of [domain, `www.${domain}`])
		await verified(name, told.POSTERN_ACME_ROOT);
	assert.equal(made.fingerprint_sha256, certificate.fingerprint256.replaceAll(':', '').toLowerCase());
	assert.deepEqual([Date.parse(made.not_before), Date.parse(made.not_after)], [Date.parse(certificate.validFrom), Date.parse(certificate.validTo)]);
	assert.deepEqual([made.subject, made.key_type, made.chain_state], [`CN=${domain}`, 'EC P-256', 'valid'], 'posternd trusts this authority');
	assert.match(made.issuer, /Pebble/);
	assert.equal(made.days_left, Math.floor((Date.parse(made.not_after) - Date.parse(made.updated_at)) / 86400e3));
	assert.equal((await expect(200, 'GET', `/api/domains/${domain}`)).ssl_status, 'active');
	const folder = path.join(s.dir, 'sites/ssl', domain);
	for (const [file, mode] of [[folder, 0o700], [`${folder}/privkey.pem`, 0o600], [`${folder}/fullchain.pem`, 0o600]])
		assert.equal(fs.statSync(file).mode & 0o777, mode, file);
	assert.deepEqual(fs.readdirSync(folder).sort(), ['fullchain.pem', 'privkey.pem']);
	assert.deepEqual(fs.readdirSync(path.join(s.dir, 'sites/acme/.well-known/acme-challenge')), [], 'challenges are taken away');
	const again = await expect(409, 'POST', '/api/ssl', { domain });
	assert.match(again.error.message, /has a certificate already; renew/);
});

test('renewing puts another certificate with another key in its place, and the event says so when it is done', { skip }, async () => {
	const domain = await site();
	const spki = (certificate) => certificate.publicKey.export({ format: 'der', type: 'spki' });
	const first = await issued(domain);
	const job = await expect(202, 'POST', `/api/ssl/${domain}/renew`);
	assert.deepEqual([job.kind, job.status, job.resource, job.object_id], ['ssl.renew', 'succeeded', 'ssl', first.id]);
	const second = await row(domain);
	assert.notEqual(second.serial, first.serial);
	assert.deepEqual([second.status, second.names], ['active', first.names]);
	assert.ok(!spki(await serves(domain, second.serial)).equals(spki(first.served)));
	assert.deepEqual(s.sql(`SELECT type FROM postern.events WHERE resource = 'ssl' AND object_id = '${first.id}' AND type !~ 'progress' ORDER BY place`).map((e) => e.type),
		['ssl.created', 'ssl.issued', 'ssl.renewed']);
});

test('a refused challenge leaves the old certificate serving, and its reason is in the job and the certificate', { skip }, async () => {
	const domain = await site();
	const first = await issued(domain);
	await leadAway(domain);
	const job = await expect(202, 'POST', `/api/ssl/${domain}/renew`);
	assert.equal(job.status, 'failed');
	assert.match(job.error, /the certificate authority refuses: (connection|unauthorized): .*must lead to this machine/);
	const left = await row(domain);
	assert.deepEqual([left.status, left.serial, left.last_error], ['active', first.serial, job.error]);
	await serves(domain, first.serial);
	assert.equal((await expect(200, 'GET', `/api/domains/${domain}`)).ssl_status, 'active');
	await lead(domain);
	await expect(200, 'POST', `/api/jobs/${job.id}/retry`);
	await until(async () => (await row(domain)).last_error === null, 'it is renewed');
	const now = await row(domain);
	assert.notEqual(now.serial, first.serial);
	await serves(domain, now.serial);
});

test('where the first one is refused there is none: error, plain HTTP goes on, and names that are not the account\'s are a 422', { skip }, async () => {
	const domain = await site([]);
	await leadAway(domain);
	const made = await expect(201, 'POST', '/api/ssl', { domain });
	assert.deepEqual([made.status, made.names, made.not_after, made.serial], ['error', [domain], null, null]);
	assert.match(made.last_error, /refuses: connection: .*must lead to this machine/);
	await lead(domain);
	assert.equal((await expect(200, 'GET', `/api/domains/${domain}`)).ssl_status, 'error');
	assert.deepEqual([await plain(domain), await served(domain)], [200, null]);
	const fixed = await expect(200, 'PATCH', `/api/ssl/${domain}`, { names: [] });
	assert.deepEqual([fixed.status, fixed.names], ['active', [domain]]);
	const other = s.tenant();
	const theirs = s.mint({ owner: other.user.username, scopes: ['domains:*', 'ssl:*'] }).token;
	s.psql(`INSERT INTO postern.domain_names VALUES ('held.${domain}', ${other.account.id})`); // an administrator gave it to them
	for (const names of [['other.example'], [`x${domain}`], [`held.${domain}`], [`a.held.${domain}`]])
		assert.ok((await expect(422, 'PATCH', `/api/ssl/${domain}`, { names })).error.fields.names, names[0]);
	for (const names of [['*.example'], ['a b'], 'x'])
		await expect(422, 'PATCH', `/api/ssl/${domain}`, { names });
	// another tenant
	for (const [method, target, body] of [['GET', ''], ['PATCH', '', { auto_renew: false }], ['DELETE', ''], ['POST', '/renew']])
		for (const id of [domain, made.id])
			await expect(404, method, `/api/ssl/${id}${target}`, body, theirs);
	assert.match((await expect(422, 'POST', '/api/ssl', { domain }, theirs)).error.fields.domain, /no such domain/);
	assert.deepEqual((await expect(200, 'GET', '/api/ssl', undefined, theirs)).data, []);
});

test('a certificate of one\'s own is served; its successor takes its place', { skip }, async () => {
	const domain = await site([]);
	const mid = sign('middle', '/CN=Middle', { by: 'authority', ca: true });
	const one = sign('one', `/CN=${domain}`, { by: 'middle', names: [domain, `*.${domain}`] });
	const made = await expect(201, 'POST', '/api/ssl', { domain, certificate: one.pem, chain: mid.pem, private_key: one.key });
	assert.deepEqual([made.status, made.source, made.names, made.chain_state, made.days_left], ['untrusted', 'upload', [domain, `*.${domain}`], 'unknown', 89]);
	assert.equal(made.serial.replace(/^0+/, ''), serial(new X509Certificate(one.pem)));
	await serves(domain, made.serial);
	await verified(domain, path.join(work, 'authority.pem'));
	const two = sign('two', `/CN=${domain}`, { by: 'middle', names: [domain] });
	const next = await expect(200, 'PATCH', `/api/ssl/${domain}`, { certificate: two.pem + mid.pem, private_key: two.key });
	assert.deepEqual([next.status, next.names], ['untrusted', [domain]]);
	await serves(domain, next.serial);
	assert.match((await expect(409, 'POST', `/api/ssl/${domain}/renew`)).error.message, /was uploaded/);
	assert.ok((await expect(422, 'PATCH', `/api/ssl/${domain}`, { names: [domain] })).error.fields.names);
	const switched = await expect(200, 'PATCH', `/api/ssl/${domain}`, { source: 'acme' });
	assert.deepEqual([switched.source, switched.status], ['acme', 'active']);
	assert.match(switched.issuer, /Pebble/);
	await serves(domain, switched.serial);
});

test('an upload that cannot be served is a 422 that names the field and the remedy', { skip }, async () => {
	const domain = await site([]);
	const mid = sign('middle2', '/CN=Middle 2', { by: 'authority', ca: true });
	const good = sign('good', `/CN=${domain}`, { by: 'middle2', names: [domain] });
	const stranger = sign('stranger', '/CN=stranger', { by: 'middle2', names: ['stranger.example', '*.sub.example'] });
	const old = sign('old', `/CN=${domain}`, { by: 'middle2', names: [domain], from: ['20200101000000Z', '20210101000000Z'] });
	const locked = openssl('pkey', '-in', path.join(work, 'good.key'), '-aes256', '-passout', 'pass:secret');
	const whole = { domain, certificate: good.pem, chain: mid.pem, private_key: good.key };
	const cases = [
		[{ private_key: stranger.key }, 'private_key', /not the key of this certificate/],
		[{ private_key: locked }, 'private_key', /passphrase/],
		[{ private_key: good.pem }, 'private_key', /must be a private key/],
		[{ private_key: 'x' }, 'private_key', /PEM/],
		[{ private_key: undefined }, 'private_key', /required/],
		[{ certificate: undefined }, 'certificate', /required/],
		[{ certificate: mid.pem + good.pem, chain: undefined }, 'certificate', /must come first/],
		[{ chain: authority.pem + mid.pem }, 'chain', /out of order/],
		[{ chain: stranger.pem }, 'chain', /out of order/],
		[{ chain: good.key }, 'chain', /belongs into private_key/],
		[{ certificate: old.pem, private_key: old.key }, 'certificate', /expired at 2021-01-01/],
		[{ certificate: stranger.pem, private_key: stranger.key }, 'certificate', /is for stranger\.example, .*not for/],
		[{ certificate: `${good.pem}\u00e9` }, 'certificate', /PEM/],
		[{ certificate: good.pem + '\n'.repeat(65536) }, 'certificate', /64 KiB/],
		[{ source: 'acme' }, 'source', /upload/],
		[{ names: [domain] }, 'names', /read from the certificate/],
	];
	const seen = s.sql('SELECT count(*)::int AS n FROM postern.jobs')[0].n;
	for (const [fields, field, remedy] of cases) {
		const answer = await expect(422, 'POST', '/api/ssl', { ...whole, ...fields });
		assert.deepEqual(Object.keys(answer.error.fields), [field], JSON.stringify(answer.error));
		assert.match(answer.error.fields[field], remedy);
	}
	assert.ok((await expect(422, 'POST', '/api/ssl', { domain, source: 'upload' })).error.fields.certificate);
	assert.equal(s.sql('SELECT count(*)::int AS n FROM postern.jobs')[0].n, seen);
	await expect(404, 'GET', `/api/ssl/${domain}`);
});

// Every file below a folder that holds the text.
function filesWith(text, folder) {
	return fs.readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
		const at = path.join(folder, entry.name);
		if (entry.isDirectory())
			return filesWith(text, at);
		return entry.isFile() && fs.readFileSync(at).includes(text) ? [at] : [];
	});
}

test('a private key is in its file alone: in no answer, table, log or event, and its sealed form is erased when the job ends', { skip }, async () => {
	const domain = await site([]);
	const own = sign('secret', `/CN=${domain}`, { by: 'authority', names: [domain] });
	const hold = path.join(work, 'hold');
	s.replaceAction('ssl.install', `until [ -e ${hold} ]; do read -rt 0.02 <> <(:) || true; done; exec "${fs.readlinkSync(`/proc/${workerPid()}/exe`).replace('worker/posternd', 'actions/ssl.install')}"`);
	const headers = { 'Idempotency-Key': s.unique('upload') };
	const made = await s.ask('/api/ssl', { method: 'POST', token, headers, body: { domain, certificate: own.pem, private_key: own.key } });
	assert.equal(made.status, 201, made.text);
	assert.equal(made.json.status, 'pending');
	const sealed = () => s.sql(`SELECT octet_length(secret) AS n, input, secret FROM postern.jobs WHERE id = '${made.json.job_id}'`)[0];
	assert.ok(sealed().n > 100);
	fs.writeFileSync(hold, '');
	const job = await until(async () => {
		const j = (await expect(200, 'GET', `/api/jobs/${made.json.job_id}`));
		return j.finished_at && j;
	}, 'it is in place');
	assert.equal(job.status, 'succeeded', JSON.stringify(job));
	fs.rmSync(path.join(s.dir, 'actions/ssl.install'));
	assert.equal(sealed().n, null);
	const body = openssl('pkey', '-in', path.join(work, 'secret.key')).split('\n').slice(1, -2);
	const answers = [made.text, JSON.stringify(job)];
	for (const target of ['/api/ssl', `/api/ssl/${domain}`, '/api/jobs', `/api/v1/admin/audit?request_id=${made.headers.get('x-request-id')}`])
		answers.push((await s.ask(target, { headers: wait })).text);
	const tables = s.sql(`SELECT format('%I.%I', schemaname, tablename) AS t FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')`);
	for (const line of [...body, own.key.split('\n')[1]]) {
		assert.ok(line.length > 20);
		for (const text of answers)
			assert.ok(!text.includes(line));
		assert.deepEqual(s.sql(tables.map(({ t }) => `SELECT '${t}' AS t FROM ${t} x WHERE x::text LIKE '%${line}%' OR x::text LIKE '%${Buffer.from(line).toString('hex')}%'`).join(' UNION ALL ')), []);
		const files = filesWith(line, s.dir).map((f) => path.relative(s.dir, f)).filter((f) => !/^(pg|work)\//.test(f));
		assert.deepEqual(files, [`sites/ssl/${domain}/privkey.pem`]);
	}
	const [trail] = s.sql(`SELECT changes FROM postern.audit WHERE request_id = '${made.headers.get('x-request-id')}' AND method = 'POST'`);
	assert.ok(trail.changes.after.private_key && !/BEGIN/.test(JSON.stringify(trail)), 'the trail says that a key was given');
});
const workerPid = () => fs.readFileSync(path.join(s.dir, 'worker/pid'), 'utf8').trim();

test('when a third of its time is left a certificate is renewed by itself; after a failure it is tried again after growing pauses', { skip }, async () => {
	const domain = await site([]), still = await site([]);
	const first = await issued(domain);
	await issued(still, { auto_renew: false });
	s.psql(`UPDATE postern.certificates x SET auto_renew = false FROM postern.domains d WHERE d.id = x.domain_id AND d.domain <> '${domain}'`);
	const span = Date.parse(first.not_after) - Date.parse(first.not_before), ahead = (third) => Math.round((Date.parse(first.not_before) + span * third - Date.now()) / 1000);
	const move = (seconds) => s.psql(`UPDATE postern.test_clock SET ahead = make_interval(secs => ${seconds})`);
	const house = () => s.psql('SELECT work.keep_house(100000, 100000)', 'postern_worker');
	const jobs = (name) => s.sql(`SELECT j.id, j.source, j.status FROM postern.jobs j JOIN ssl.item v ON j.object_id = v.id::text WHERE j.resource = 'ssl' AND v.domain = '${name}' AND j.kind = 'ssl.renew' ORDER BY j.place`);
	const ended = () => until(() => jobs(domain).every((j) => ['succeeded', 'failed'].includes(j.status)), 'its jobs have ended');
	try {
		await s.endWorker();
		move(ahead(0.666));
		house();
		assert.deepEqual(jobs(domain), []);
		move(ahead(0.667));
		house();
		house();
		assert.deepEqual(jobs(domain).map((j) => [j.source, j.status]), [['schedule', 'queued']], 'one, however often the clock strikes');
		assert.deepEqual(jobs(still), []);
		await leadAway(domain);
		s.startWorker();
		await ended();
		const failed = await row(domain);
		assert.equal(failed.serial, first.serial);
		assert.match(failed.last_error, /refuses/);
		await s.endWorker();
		for (const [hours, count] of [[0.9, 1], [1.1, 2], [1.1 + 1.9, 2], [1.1 + 2.1, 3]]) {
			move(ahead(0.667) + hours * 3600);
			house();
			assert.equal(jobs(domain).length, count, `${hours} h later`);
			if (jobs(domain).some((j) => j.status === 'queued')) {
				s.startWorker();
				await ended();
				await s.endWorker();
			}
		}
		await lead(domain);
		move(ahead(0.667) + 12 * 3600);
		house();
		s.startWorker();
		await ended();
		const next = await row(domain);
		assert.deepEqual([next.last_error, next.serial === first.serial], [null, false]);
		await serves(domain, next.serial);
		// and what is not renewed comes to its end
		const seen = [];
		for (const left of [31, 29, 0.5, -1]) {
			const quiet = (await row(still));
			move((Date.parse(quiet.not_after) - Date.now()) / 1000 - left * 86400);
			house();
			const now = await row(still);
			seen.push([now.status, now.days_left]);
			assert.equal(s.sql(`SELECT ssl_status FROM postern.domains WHERE domain = '${still}'`)[0].ssl_status, now.status);
		}
		assert.deepEqual(seen, [['active', 30], ['expiring', 28], ['expiring', 0], ['expired', 0]]);
	} finally {
		move(0);
		await s.endWorker();
		s.startWorker();
	}
});

test('deleting takes the files away and the website goes on over plain HTTP; a domain takes its certificate along', { skip }, async () => {
	const domain = await site();
	await issued(domain);
	await expect(200, 'PATCH', `/api/websites/${domain}`, { https_redirect: true });
	await until(async () => await plain(domain) === 301, 'plain HTTP leads to HTTPS');
	const job = await expect(202, 'DELETE', `/api/ssl/${domain}`);
	assert.deepEqual([job.kind, job.status], ['ssl.remove', 'succeeded'], job.error);
	await expect(404, 'GET', `/api/ssl/${domain}`);
	assert.equal(fs.existsSync(path.join(s.dir, 'sites/ssl', domain)), false);
	assert.equal((await expect(200, 'GET', `/api/domains/${domain}`)).ssl_status, 'none');
	await until(async () => await plain(domain) === 200 && await served(domain) === null, 'plain HTTP again');
	await issued(domain);
	const gone = await expect(202, 'DELETE', `/api/domains/${domain}`);
	assert.equal(gone.status, 'succeeded', gone.error);
	await expect(404, 'GET', `/api/domains/${domain}`);
	assert.equal(fs.existsSync(path.join(s.dir, 'sites/ssl', domain)), false);
	assert.equal(fs.existsSync(path.join(s.dir, 'sites/nginx', `${domain}.conf`)), false);
});

// Somebody else's fault is none of a certificate's: nothing is ordered, and the job goes on by itself when that is mended.
test('where the server refuses what is there already nothing is ordered: the old pair goes on serving, and the job heals', { skip }, async (context) => {
	const domain = await site([]);
	const first = await issued(domain), folder = path.join(s.dir, 'sites/ssl', domain);
	const before = fs.readFileSync(`${folder}/privkey.pem`, 'utf8');
	const broken = path.join(s.dir, 'sites/nginx/0-broken.conf');
	context.after(() => fs.rmSync(broken, { force: true }));
	fs.writeFileSync(broken, 'this is no configuration;\n');
	const { json: { id } } = await s.ask(`/api/ssl/${domain}/renew`, { method: 'POST', token });
	const job = await until(async () => { const j = await expect(200, 'GET', `/api/jobs/${id}`); return j.error && j; }, 'the reason');
	assert.deepEqual([job.status, job.attempts], ['queued', 0]);
	assert.match(job.error, /^something else on this server is in the way/);
	assert.match((await until(async () => { const j = (await api('GET', `/api/jobs/${id}`, undefined, s.token)).json; return j.error && j; }, 'what staff reads')).error,
		/^not this site: .*0-broken\.conf:1: /);
	assert.equal(fs.readFileSync(`${folder}/privkey.pem`, 'utf8'), before);
	assert.deepEqual(fs.readdirSync(folder).sort(), ['fullchain.pem', 'privkey.pem']);
	await serves(domain, first.serial);
	assert.equal((await row(domain)).last_error, job.error);
	fs.rmSync(broken);
	await until(async () => (await expect(200, 'GET', `/api/jobs/${id}`)).status === 'succeeded', 'it heals');
	assert.equal((await row(domain)).last_error, null);
	assert.notEqual(fs.readFileSync(`${folder}/privkey.pem`, 'utf8'), before);
});

test('killed at any moment an issue is done again and leaves one certificate', { skip }, async () => {
	const domain = await site([]);
	await s.ask('/api/ssl', { method: 'POST', token, body: { domain } });
	for (const progress of [5, 20, 50]) {
		await until(() => s.sql(`SELECT j.progress, j.status FROM postern.jobs j JOIN ssl.item v ON v.job_id = j.id WHERE v.domain = '${domain}'`)
			.some((j) => j.status !== 'running' || j.progress >= progress), 'it is on its way');
		await s.endWorker('SIGKILL');
		s.startWorker();
	}
	await until(async () => (await row(domain)).status === 'active', 'it is issued');
	const now = await row(domain);
	await serves(domain, now.serial);
	assert.deepEqual(fs.readdirSync(path.join(s.dir, 'sites/ssl', domain)).sort(), ['fullchain.pem', 'privkey.pem']);
	assert.deepEqual(fs.readdirSync(path.join(s.dir, 'worker/acme')).flatMap((d) => fs.readdirSync(path.join(s.dir, 'worker/acme', d, 'issue', domain)).sort()), ['job', 'kept.pem']);
});

test('the command takes certificate and key from files', { skip }, async () => {
	const domain = await site([]);
	const own = sign('cli', `/CN=${domain}`, { by: 'authority', names: [domain] });
	const file = (name) => path.join(work, name);
	for (const name of ['cli.pem', 'cli.key'])
		fs.chmodSync(file(name), 0o644);
	const done = s.cli(['--json', 'certificate', 'create', '--domain', domain, '--certificate', file('cli.pem'), '--private-key', file('cli.key'), '--wait']);
	assert.equal(done.status, 0, done.stderr);
	assert.ok(!done.stdout.includes(own.key.split('\n')[1]));
	assert.equal(JSON.parse(done.stdout).status, 'untrusted');
	const missing = s.cli(['certificate', 'create', '--domain', domain, '--certificate', file('none.pem')]);
	assert.equal(missing.status, 7);
	assert.match(missing.stderr, /none\.pem: No such file/);
});
