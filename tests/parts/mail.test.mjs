// Mailboxes and forwarders, as real Postfix and real Dovecot see them.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { answered, needsRoot, soak, startStack, until } from '../api/harness.mjs';
import * as mail from './mail.mjs';

let s, relay, a, b;
const check = (name, run) => test(name, { skip: needsRoot }, run);
const ask = (who, method, target, body) => s.ask(`/api/${target}`, { method, body, token: who.token });
const made = async (who, target, body) => {
	const answer = await ask(who, 'POST', target, body);
	assert.equal(answer.status, 201, answer.text);
	return answer.json;
};
const send = (to, options) => mail.send(s.told.POSTERN_SMTP, { to, ...options });
const accepted = async (to, options) => assert.match(await send(to, options), /^250 2\.0\.0 Ok: queued/);
const refused = async (to, reply, options) => assert.match(await send(to, options), reply, String(to));
const login = (user, password) => mail.imap(s.told.POSTERN_IMAP, user, password);
const barred = (user, password) => assert.rejects(login(user, password), /AUTHENTICATIONFAILED/);

// A mail's text, when it has come.
async function arrived(user, password, subject) {
	const box = await login(user, password);
	try {
		const [number] = await until(async () => {
			const found = await box.find(subject);
			return found.length && found;
		}, `"${subject}" for ${user}`);
		return await box.text(number);
	} finally {
		box.end();
	}
}
const subjects = async (user, password) => {
	const box = await login(user, password);
	try {
		const all = [];
		for (const number of await box.find())
			all.push((await box.text(number)).match(/^Subject: (.*)$/m)[1]);
		return all;
	} finally {
		box.end();
	}
};
// Nothing is under way: all that was taken is delivered, or was sent back.
const queued = () => ['incoming', 'active', 'deferred', 'maildrop'].flatMap((name) => {
	const folder = path.join(s.dir, 'mail/q', name);
	return fs.readdirSync(folder, { withFileTypes: true }).flatMap((e) => (e.isDirectory() ? fs.readdirSync(path.join(folder, e.name)) : [e.name]));
});
const settled = () => until(() => queued().length === 0, 'an empty queue');

// A tenant with a domain, and a mailbox "post" in it.
async function furnish() {
	const t = s.tenant();
	t.token = s.mint({ owner: t.user.username, scopes: ['*'] }).token;
	t.domain = await made(t, 'domains', { domain: `${s.unique('mail')}.example` });
	t.at = (local) => `${local}@${t.domain.domain}`;
	t.secret = `secret of ${t.username}`;
	t.post = await made(t, 'mailboxes', { address: t.at('post'), password: t.secret });
	return t;
}

before(async () => {
	if (needsRoot)
		return;
	relay = await mail.sink();
	s = await startStack('mail', { PARTS: 'mail', DOMAIN_PROOF: 'off', MAIL_RELAY: relay.address, WORKER: 'yes' });
	a = await furnish();
	b = await furnish();
});
after(() => {
	s?.stop();
	relay?.close();
});

check('a mailbox takes mail by SMTP and shows it by IMAP as soon as it is created', async () => {
	const answer = await s.ask('/api/v1/email.php', { token: a.token, method: 'POST', body: { address: `Info@${a.domain.domain.toUpperCase()}`, password: 'correct horse' } });
	assert.equal(answer.status, 201, answer.text);
	const box = answer.json.data;
	assert.deepEqual([box.address, box.domain_id, box.domain, box.account_id, box.account, box.quota_mb, box.used_mb, box.status],
		[a.at('info'), a.domain.id, a.domain.domain, a.account.id, a.username, null, 0, 'active']);
	assert.match(answer.headers.get('location'), new RegExp(`^/api/v1/email.php/${box.id}$`));
	await accepted(a.at('info'), { subject: 'first', body: 'as it was sent' });
	assert.match(await arrived(a.at('info'), 'correct horse', 'first'), /\nas it was sent/);
	await accepted(a.at('INFO').toUpperCase(), { subject: 'in capitals' });
	await accepted(a.at('info+news'), { subject: 'sub-address' });
	await arrived(a.at('Info').toUpperCase(), 'correct horse', 'in capitals');
	await arrived(a.at('info'), 'correct horse', 'sub-address');
	assert.equal((await ask(a, 'GET', `mailboxes/${a.at('info')}`)).json.id, box.id);
	assert.equal((await ask(a, 'GET', `email?domain=${a.domain.domain}&search=info`)).json.total, 1);
	assert.equal((await ask(a, 'GET', `accounts/${a.account.id}`)).json.mailboxes, 2);
});

check('mail for an address that nobody has is refused, and none goes through to elsewhere', async () => {
	await refused(a.at('nobody'), /^550 5\.1\.1 /);
	await refused('somebody@elsewhere.example', /^[45]54 [45]\.7\.1 .*Relay access denied/);
	await refused(`"' OR '1'='1"@${a.domain.domain}`, /^550 5\.1\.1 /);
	await refused(`_@${a.domain.domain}`, /^550 5\.1\.1 /);
	await refused(`x@sub.${a.domain.domain}`, /^[45]54 [45]\.7\.1 /);
	for (const name of [`' OR '1'='1`, `${a.at('post')}' --`, a.at('nobody'), 'post', ''])
		await barred(name, a.secret);
});

check('a changed password is the only one', async () => {
	const box = await made(a, 'mailboxes', { address: a.at('changing'), password: 'the old one' });
	(await login(box.address, 'the old one')).end();
	await barred(box.address, 'the old on');
	const changed = await ask(a, 'PATCH', `mailboxes/${box.id}`, { password: 'the n\u00e9w one' });
	assert.equal(changed.status, 200, changed.text);
	await barred(box.address, 'the old one');
	(await login(box.address, Buffer.from('the n\u00e9w one').toString('latin1'))).end();
	const of = `x${'\u00e9'.repeat(35)}y`; // 72 bytes: as long as bcrypt takes
	assert.equal((await ask(a, 'PATCH', `mailboxes/${box.id}`, { password: of })).status, 200);
	(await login(box.address, Buffer.from(of).toString('latin1'))).end();
	await barred(box.address, Buffer.from(of.slice(0, -1)).toString('latin1'));
	for (const password of [`${of}z`, 'shorter', '', null, 12345678, 'with\u0007bell!'])
		assert.deepEqual(Object.keys((await ask(a, 'PATCH', `mailboxes/${box.id}`, { password })).json.error.fields), ['password'], String(password));
});

check('a password, and its hash, are nowhere but in the table that Dovecot reads', async () => {
	s.psql(`ALTER SYSTEM SET log_statement = 'all'`);
	s.psql('ALTER SYSTEM SET log_min_duration_statement = 0');
	s.psql('SELECT pg_reload_conf()');
	await until(() => s.psql('SHOW log_statement') === 'all', 'the new setting');
	const clear = ['tulips in winter', 'lilies in spring', 'roses in summer', 'asters in autumn'];
	const [one, two, three, four] = clear;
	const key = { 'Idempotency-Key': s.unique('key') };
	const body = { address: a.at('quiet'), password: one };
	const box = (await s.ask('/api/mailboxes', { token: a.token, method: 'POST', body, headers: key })).json;
	assert.equal((await s.ask('/api/mailboxes', { token: a.token, method: 'POST', body, headers: key })).json.id, box.id);
	await ask(a, 'PATCH', `mailboxes/${box.id}`, { password: two });
	await ask(a, 'POST', 'mailboxes', { address: a.at('quiet'), password: two });
	await ask(a, 'POST', 'mailboxes?dry_run=true', { address: a.at('quieter'), password: three });
	await ask(a, 'POST', 'mailboxes', { address: 'nonsense', password: three });
	const cli = s.cli(['--json', 'mailbox', 'create', '--address', a.at('cli'), '--password-stdin'], { input: `${four}\n` });
	assert.equal(cli.status, 0, cli.stderr);
	(await login(box.address, two)).end();
	(await login(a.at('cli'), four)).end();
	const shown = [cli.stdout, cli.stderr, (await ask(a, 'GET', 'mailboxes?per_page=100')).text,
		s.psql(`SELECT string_agg(t::text, ' ') FROM postern.audit t; SELECT string_agg(t::text, ' ') FROM postern.events t;
			SELECT string_agg(t::text, ' ') FROM postern.kept_answers t; SELECT string_agg(t::text, ' ') FROM postern.jobs t`)].join('\n');
	const hashes = s.sql('SELECT substr(password, 12) AS hash FROM postern.mailboxes').map((r) => r.hash);
	assert.ok(hashes.length >= 4 && hashes.every((h) => /^\$2b\$1\d\$/.test(h)));
	const logs = ['log', 'pg'].flatMap((folder) => fs.readdirSync(path.join(s.dir, folder)).filter((f) => f.endsWith('.log')).map((f) => fs.readFileSync(path.join(s.dir, folder, f), 'latin1')));
	assert.ok(logs.some((log) => log.includes('mailboxes.write')), 'the statements were logged');
	for (const text of [shown, ...logs])
		for (const secret of clear)
			assert.ok(!text.includes(secret), secret);
	for (const hash of hashes)
		assert.ok(!shown.includes(hash));
	const [row] = s.sql(`SELECT changes FROM postern.audit WHERE resource = 'mailbox' AND verb = 'update' AND object_id = '${box.id}'`);
	assert.deepEqual(row.changes, { after: { password: '***' } }, 'the trail says that it changed');
	// What is kept of a request, to know it again, must not let a password be tried at leisure.
	const guess = createHash('sha256').update(`POST\n/api/mailboxes\n\n${JSON.stringify(body)}`).digest('hex');
	assert.ok(!s.sql(`SELECT encode(fingerprint, 'hex') AS f FROM postern.kept_answers`).some((r) => r.f === guess));
	s.psql('ALTER SYSTEM RESET ALL');
	s.psql('SELECT pg_reload_conf()');
});

check('a mailbox takes no more than its quota, and says so; how full it is can be seen', async () => {
	const box = await made(a, 'mailboxes', { address: a.at('small'), password: 'small enough', quota_mb: 1 });
	const big = `${'x'.repeat(70)}\r\n`.repeat(9000); // 0.62 MiB
	await accepted(box.address, { subject: 'fits', body: big });
	await arrived(box.address, 'small enough', 'fits');
	const used = async () => (await ask(a, 'GET', `mailboxes/${box.id}`)).json.used_mb;
	await until(async () => await used() === 1, 'used_mb to be told');
	await refused(box.address, /^552 5\.2\.2 .*mailbox is full/i, { size: big.length });
	// without a size it is found out on delivery: the sender is told
	await accepted(box.address, { subject: 'does not fit', body: big, from: a.post.address });
	assert.match(await arrived(a.post.address, a.secret, 'Undelivered'), /552 5\.2\.2 .*The mailbox is full/);
	assert.deepEqual(await subjects(box.address, 'small enough'), ['fits']);
	assert.equal((await ask(a, 'PATCH', `mailboxes/${box.id}`, { quota_mb: 3 })).json.quota_mb, 3);
	await accepted(box.address, { subject: 'fits now', body: big, size: big.length });
	await arrived(box.address, 'small enough', 'fits now');
	await until(async () => await used() === 2, 'used_mb to grow');
	const inbox = await login(box.address, 'small enough');
	assert.ok((await inbox.command('GETQUOTAROOT INBOX')).some((l) => /STORAGE \d+ 3072/.test(l)));
	await inbox.command('STORE 1:* +FLAGS (\\Deleted)');
	await inbox.command('EXPUNGE');
	await inbox.command('LOGOUT');
	inbox.end();
	await until(async () => await used() === 0, 'used_mb to shrink');
	assert.equal((await ask(a, 'GET', `mailboxes/${box.id}`)).headers.get('etag'), '"2"', 'what Dovecot tells is no change of somebody\'s');
});

check('without a quota of its own a mailbox may hold what the plan allows, and a smaller plan goes before a larger quota', async () => {
	const t = await furnish();
	const quota = async () => {
		const inbox = await login(t.post.address, t.secret);
		const line = (await inbox.command('GETQUOTAROOT INBOX')).find((l) => l.includes('STORAGE'));
		inbox.end();
		return line?.match(/STORAGE \d+ (\d+)/)[1];
	};
	assert.equal(await quota(), undefined, 'no limit');
	assert.equal((await s.ask(`/api/accounts/${t.account.id}`, { method: 'PATCH', body: { max_disk_mb: 7 } })).status, 200);
	assert.equal(await quota(), '7168');
	assert.equal((await ask(t, 'PATCH', `mailboxes/${t.post.id}`, { quota_mb: 6 })).status, 200);
	assert.equal(await quota(), '6144');
	assert.equal((await s.ask(`/api/accounts/${t.account.id}`, { method: 'PATCH', body: { max_disk_mb: 0 } })).status, 200);
	await refused(t.post.address, /^552 /, { size: 10000 });
});

check('a suspended mailbox refuses logins and mail, and nobody gets that mail instead', async () => {
	const t = await furnish();
	const box = await made(t, 'mailboxes', { address: t.at('gone'), password: 'for a while' });
	const all = await made(t, 'forwarders', { address: t.at(''), destinations: [t.post.address] });
	assert.equal(all.address, `@${t.domain.domain}`);
	await made(t, 'forwarders', { address: t.at('team'), destinations: [box.address] });
	await accepted(box.address, { subject: 'before' });
	await arrived(box.address, 'for a while', 'before');
	const suspended = await ask(t, 'POST', `mailboxes/${box.id}/suspend`);
	assert.equal(suspended.json.status, 'suspended', suspended.text);
	await barred(box.address, 'for a while');
	await refused(box.address, /^550 5\.2\.1 .*suspended/);
	await refused(t.at('gone+tag'), /^550 5\.2\.1 .*suspended/);
	await refused(t.at('GONE'), /^550 5\.2\.1 .*suspended/);
	await accepted(t.at('team'), { subject: 'by a forwarder', from: b.post.address }); // it goes back to its sender
	assert.match(await arrived(b.post.address, b.secret, 'Undelivered'), /550 5\.1\.1/);
	await settled();
	assert.deepEqual(await subjects(t.post.address, t.secret), [], 'the catch-all got nothing');
	assert.equal((await ask(t, 'POST', `mailboxes/${box.id}/suspend`)).status, 409);
	assert.equal((await ask(t, 'POST', `mailboxes/${box.id}/unsuspend`)).json.status, 'active');
	await accepted(box.address, { subject: 'after' });
	await arrived(box.address, 'for a while', 'after');
	assert.deepEqual((await subjects(box.address, 'for a while')).sort(), ['after', 'before']);
});

check('a suspended domain or account takes no mail and lets nobody log in; a domain below it goes on', async () => {
	const t = await furnish();
	const below = await made(t, 'domains', { domain: `sub.${t.domain.domain}`, type: 'subdomain' });
	const box = await made(t, 'mailboxes', { address: `post@${below.domain}`, password: 'below it' });
	await made(t, 'forwarders', { address: t.at(''), destinations: [box.address] });
	const off = async (text) => {
		for (const to of [t.post.address, t.at('anybody')])
			await refused(to, /^550 5\.2\.1 .*suspended/);
		await barred(t.post.address, t.secret);
		await settled();
		assert.ok(!(await s.sql(`SELECT 1 FROM mail.mailboxes WHERE address = '${t.post.address}'`)).length, text);
	};
	const admin = (target) => s.ask(`/api/${target}`, { method: 'POST' });
	assert.equal((await ask(t, 'POST', `domains/${t.domain.id}/suspend`)).status, 200);
	await off('domain');
	await accepted(box.address, { subject: 'below' });
	await arrived(box.address, 'below it', 'below');
	assert.equal((await ask(t, 'POST', `domains/${t.domain.id}/unsuspend`)).status, 200);
	await accepted(t.post.address, { subject: 'again' });
	await arrived(t.post.address, t.secret, 'again');
	assert.equal((await admin(`accounts/${t.account.id}/suspend`)).status, 200);
	await off('account');
	await refused(box.address, /^550 5\.2\.1 .*suspended/);
	await barred(box.address, 'below it');
	assert.equal((await admin(`accounts/${t.account.id}/unsuspend`)).status, 200);
	assert.deepEqual(await subjects(t.post.address, t.secret), ['again']);
	// smtpd remembers for a while where addresses went that it has seen, so this is one that it has not
	const fresh = await made(t, 'mailboxes', { address: t.at('fresh'), password: 'never used' });
	assert.equal((await ask(t, 'PATCH', `domains/${t.domain.id}`, { mail_enabled: false })).status, 200);
	await refused(fresh.address, /^[45]54 [45]\.7\.1 /);
	assert.deepEqual(await subjects(t.post.address, t.secret), ['again'], 'what is there can still be read');
});

check('a forwarder sends to all its destinations, here and elsewhere', async () => {
	const second = await made(a, 'mailboxes', { address: a.at('second'), password: 'the second one' });
	const all = await made(a, 'forwarders', { address: a.at('Sales'), destinations: [a.post.address, second.address.toUpperCase(), 'Partner@B\u00fccher.example', 'partner@elsewhere.example', a.post.address] });
	assert.deepEqual([all.address, all.destinations, all.status], [a.at('sales'), [a.post.address, `SECOND@${a.domain.domain}`, 'Partner@xn--bcher-kva.example', 'partner@elsewhere.example'], 'active']);
	const seen = relay.mails.length;
	await accepted(a.at('sales'), { subject: 'to all' });
	await arrived(a.post.address, a.secret, 'to all');
	await arrived(second.address, 'the second one', 'to all');
	await settled();
	assert.deepEqual(relay.mails.slice(seen).flatMap((m) => m.to).sort(), ['Partner@xn--bcher-kva.example', 'partner@elsewhere.example']);
	assert.equal((await ask(a, 'PATCH', `forwarders/${a.at('sales')}`, { destinations: [second.address] })).status, 200);
	await accepted(a.at('sales'), { subject: 'to one' });
	await arrived(second.address, 'the second one', 'to one');
	await settled();
	assert.ok(!(await subjects(a.post.address, a.secret)).includes('to one'));
	assert.equal((await ask(a, 'POST', `forwarders/${all.id}/suspend`)).json.status, 'suspended');
	await refused(a.at('sales'), /^550 5\.2\.1 .*suspended/);
	assert.equal((await ask(a, 'POST', `forwarders/${all.id}/unsuspend`)).status, 200);
	assert.equal((await ask(a, 'DELETE', `forwarders/${all.id}`)).status, 204);
	await refused(a.at('sales'), /^550 5\.1\.1 /);
});

check('a forwarder of a mailbox\'s address keeps a copy there', async () => {
	const box = await made(a, 'mailboxes', { address: a.at('copy'), password: 'a copy stays' });
	const way = await made(a, 'forwarders', { address: box.address, destinations: [a.post.address, 'copy@elsewhere.example'] });
	const seen = relay.mails.length;
	await accepted(box.address, { subject: 'kept' });
	await arrived(box.address, 'a copy stays', 'kept');
	await arrived(a.post.address, a.secret, 'kept');
	await settled();
	assert.deepEqual(relay.mails.slice(seen).flatMap((m) => m.to), ['copy@elsewhere.example']);
	await ask(a, 'POST', `forwarders/${way.id}/suspend`);
	await accepted(box.address, { subject: 'here only' });
	await arrived(box.address, 'a copy stays', 'here only');
	await settled();
	assert.ok(!(await subjects(a.post.address, a.secret)).includes('here only'));
	await ask(a, 'POST', `forwarders/${way.id}/unsuspend`);
	await ask(a, 'POST', `mailboxes/${box.id}/suspend`);
	await refused(box.address, /^550 5\.2\.1 .*suspended/);
	await ask(a, 'DELETE', `mailboxes/${box.id}?confirm=${box.address}`);
	await accepted(box.address, { subject: 'forwarded only' });
	await arrived(a.post.address, a.secret, 'forwarded only');
	// two that copy each other are no circle
	const [one, two] = [await made(a, 'mailboxes', { address: a.at('one'), password: 'one of two' }), await made(a, 'mailboxes', { address: a.at('two'), password: 'two of two' })];
	await made(a, 'forwarders', { address: one.address, destinations: [two.address] });
	await made(a, 'forwarders', { address: two.address, destinations: [one.address] });
	await accepted(one.address, { subject: 'for both' });
	await arrived(one.address, 'one of two', 'for both');
	await arrived(two.address, 'two of two', 'for both');
});

check('a catch-all gets what nobody else is there for, and nothing of other domains', async () => {
	const t = await furnish();
	const rest = await made(t, 'mailboxes', { address: t.at('rest'), password: 'all the rest' });
	await refused(t.at('whoever'), /^550 5\.1\.1 /);
	const all = await made(t, 'forwarders', { address: `@${t.domain.domain.toUpperCase()}`, destinations: [rest.address] });
	await accepted(t.at('whoever'), { subject: 'whoever' });
	await accepted(t.at('who.ever+else'), { subject: 'else' });
	await accepted(t.post.address, { subject: 'post' });
	await arrived(rest.address, 'all the rest', 'whoever');
	await arrived(rest.address, 'all the rest', 'else');
	await arrived(t.post.address, t.secret, 'post');
	await settled();
	assert.deepEqual((await subjects(rest.address, 'all the rest')).sort(), ['else', 'whoever']);
	await refused(a.at('whoever'), /^550 5\.1\.1 /);
	await refused(`whoever@sub.${t.domain.domain}`, /^[45]54 /);
	await ask(t, 'POST', `forwarders/${all.id}/suspend`);
	await refused(t.at('whoever'), /^550 5\.1\.1 /);
	await accepted(t.post.address, { subject: 'as before' });
});

check('a deleted mailbox is gone at once, and one made again under its address begins empty', async () => {
	const box = await made(a, 'mailboxes', { address: a.at('brief'), password: 'for a moment' });
	await accepted(box.address, { subject: 'of the first' });
	await arrived(box.address, 'for a moment', 'of the first');
	const folder = (id) => path.join(s.dir, 'mail/store', a.domain.domain, `brief-${id}`);
	assert.ok(fs.existsSync(folder(box.id)));
	const gone = await ask(a, 'DELETE', `mailboxes/${box.id}?confirm=${box.address}`);
	assert.equal(gone.status, answered(202, gone), gone.text);
	await barred(box.address, 'for a moment');
	await refused(box.address, /^550 5\.1\.1 /);
	assert.equal((await ask(a, 'GET', `mailboxes/${box.id}`)).status, 404);
	const second = await made(a, 'mailboxes', { address: box.address, password: 'for a moment' });
	assert.deepEqual(await subjects(box.address, 'for a moment'), []);
	await accepted(box.address, { subject: 'of the second' });
	await arrived(box.address, 'for a moment', 'of the second');
	const job = await until(async () => {
		const { json } = await ask(a, 'GET', `jobs/${gone.json.id}`);
		return ['succeeded', 'failed', 'cancelled'].includes(json.status) && json;
	}, 'the job to end');
	assert.deepEqual([job.kind, job.status, job.error, job.object_id], ['mailbox.remove', 'succeeded', null, box.id]);
	assert.deepEqual([fs.existsSync(folder(box.id)), fs.existsSync(folder(second.id))], [false, true]);
	assert.deepEqual(await subjects(box.address, 'for a moment'), ['of the second']);
	assert.ok(fs.existsSync(path.join(s.dir, 'mail/store', a.domain.domain, `post-${a.post.id}`)), 'its neighbour stays');
});

check('two accounts: neither sees the other, over the API or by IMAP', async () => {
	for (const [me, other] of [[a, b], [b, a]]) {
		await accepted(me.post.address, { subject: `for ${me.username}` });
		await arrived(me.post.address, me.secret, `for ${me.username}`);
		await barred(me.post.address, other.secret);
		for (const target of ['mailboxes', 'forwarders'])
			assert.ok(!(await ask(me, 'GET', `${target}?per_page=100`)).text.includes(other.domain.domain));
		for (const [method, path, body] of [['GET', ''], ['PATCH', '', { password: 'taken over' }], ['DELETE', ''], ['POST', '/suspend']])
			for (const id of [other.post.id, other.post.address])
				assert.equal((await ask(me, method, `mailboxes/${id}${path}`, body)).status, 404);
		for (const [target, more] of [['mailboxes', { password: 'taken over' }], ['forwarders', { destinations: [me.post.address] }]])
			for (const address of [other.post.address, other.at('new'), ...(target === 'forwarders' ? [other.at('')] : [])])
				assert.equal((await ask(me, 'POST', target, { address, ...more })).status, 422);
		assert.ok(!(await subjects(me.post.address, me.secret)).includes(`for ${other.username}`));
		(await login(other.post.address, other.secret)).end();
		const box = await login(me.post.address, me.secret);
		for (const name of ['../../', '/etc', `~${other.post.address}/`, '../post-1/Maildir', `../../../${other.domain.domain}/post-${other.post.id}/Maildir/`])
			await assert.rejects(box.command(`SELECT "${name}"`), / (NO|BAD) /, name);
		const listed = (await box.command('LIST "" "*"')).join('\n');
		assert.ok(!listed.includes(other.domain.domain));
		box.end();
	}
	const folder = path.join(s.dir, 'mail/store', a.domain.domain, `post-${a.post.id}`);
	assert.equal(fs.statSync(folder).mode & 0o077, 0, 'nobody else of this machine reads it');
});

check('who has logged in sends as an address that is theirs, to anywhere', async () => {
	const way = await made(a, 'forwarders', { address: a.at('office'), destinations: [a.post.address] });
	const me = [a.post.address, a.secret], seen = relay.mails.length;
	await accepted('x@elsewhere.example', { from: a.post.address, login: me });
	await accepted('x@elsewhere.example', { from: way.address, login: me });
	await refused('x@elsewhere.example', /^553 5\.7\.1 /, { from: b.post.address, login: me });
	await refused('x@elsewhere.example', /^553 5\.7\.1 /, { from: 'x@elsewhere.example', login: me });
	await refused('x@elsewhere.example', /^535 /, { from: a.post.address, login: [a.post.address, b.secret] });
	await refused('x@elsewhere.example', /^[45]54 /, { from: a.post.address });
	await settled();
	assert.equal(relay.mails.length, seen + 2);
	await ask(a, 'POST', `mailboxes/${a.post.id}/suspend`);
	await refused('x@elsewhere.example', /^535 /, { from: a.post.address, login: me });
	await ask(a, 'POST', `mailboxes/${a.post.id}/unsuspend`);
});

check('what cannot be is refused with the field at fault and the reason', async () => {
	const t = await furnish();
	const password = 'long enough', here = t.at('x');
	const to = (who, target, body) => ask(who, 'POST', target, body);
	const says = async (answer, status, field, text) => {
		const { status: got, json, text: all } = await answer;
		assert.equal(got, status, all);
		if (field)
			assert.deepEqual(Object.keys(json.error.fields), [field], all);
		assert.match(all, text);
	};
	// mailboxes
	await says(to(t, 'mailboxes', { address: t.post.address, password }), 409, 'address', /is taken/);
	await says(to(t, 'mailboxes', { address: t.post.address.toUpperCase(), password }), 409, 'address', /is taken/);
	await says(to(t, 'mailboxes', { address: 'x@unknown.example', password }), 422, 'address', /there is no domain unknown.example/);
	await says(to(t, 'mailboxes', { address: `x@sub.${t.domain.domain}`, password }), 422, 'address', /there is no domain/);
	await says(to(t, 'mailboxes', { address: here, password, domain_id: 999999 }), 422, 'domain_id', /there is no such domain/);
	await says(to(t, 'mailboxes', { address: here, password, account_id: 999999 }), 422, 'account_id', /there is no such account/);
	await says(s.ask('/api/mailboxes', { method: 'POST', body: { address: here, password, account: a.username } }), 422, 'account', /is not the account of/);
	await says(to(t, 'mailboxes', { address: here }), 422, 'password', /is required/);
	await says(to(t, 'mailboxes', { password }), 422, 'address', /is required/);
	await says(to(t, 'mailboxes', { address: here, password, quota_mb: 0 }), 422, 'quota_mb', /between 1 and/);
	await says(to(t, 'mailboxes', { address: here, password, quota_mb: 'much' }), 422, 'quota_mb', /whole number/);
	for (const local of ['', '.x', 'x.', 'x..y', 'x+y', 'x y', 'x/y', '../x', 'x%y', "x'y", '"x"', '\u00e9', 'x@y', '*', 'y'.repeat(65)])
		await says(to(t, 'mailboxes', { address: t.at(local), password }), 422, 'address', /@/);
	for (const address of ['', 'x', '@', 'x@', 'x@localhost', 'x@-.example', 'x@y..example', `x@${'y'.repeat(64)}.example`])
		await says(to(t, 'mailboxes', { address, password }), 422, 'address', /@|host|label|name|bytes/);
	await s.ask(`/api/accounts/${t.account.id}`, { method: 'PATCH', body: { max_disk_mb: 100, max_mailboxes: 3 } });
	await says(to(t, 'mailboxes', { address: here, password, quota_mb: 101 }), 422, 'quota_mb', /above the account's plan, which allows 100 MB/);
	await says(ask(t, 'PATCH', `mailboxes/${t.post.id}`, { quota_mb: 101 }), 422, 'quota_mb', /above the account's plan/);
	const rush = await Promise.all(Array.from({ length: 6 }, (_, i) => to(t, 'mailboxes', { address: t.at(`rush${i}`), password, quota_mb: 100 })));
	assert.deepEqual(rush.map((r) => r.status).sort(), [201, 201, 409, 409, 409, 409], 'the plan holds also when several are made at once');
	await says(to(t, 'mailboxes', { address: here, password }), 409, null, /the account's plan allows 3 mailboxes/);
	await says(ask(t, 'PATCH', `mailboxes/${t.post.id}`, { address: t.at('other') }), 422, 'address', /fixed at creation/);
	await says(ask(t, 'PATCH', `mailboxes/${t.post.id}`, { used_mb: 1 }), 422, 'used_mb', /read-only/);
	// forwarders
	const destinations = ['x@elsewhere.example'];
	const way = await made(t, 'forwarders', { address: t.at('way'), destinations });
	await says(to(t, 'forwarders', { address: way.address, destinations }), 409, 'address', /is taken/);
	await says(to(t, 'forwarders', { address: here, destinations: [] }), 422, 'destinations', /at least one/);
	await says(to(t, 'forwarders', { address: here }), 422, 'destinations', /is required/);
	await says(to(t, 'forwarders', { address: here, destinations: 'x@elsewhere.example' }), 422, 'destinations', /list/);
	await says(to(t, 'forwarders', { address: here, destinations: Array.from({ length: 51 }, (_, i) => `x${i}@elsewhere.example`) }), 422, 'destinations', /at most 50/);
	for (const bad of ['x', '@elsewhere.example', '|/bin/sh', '/etc/passwd', ':include:/etc/passwd', 'x@y.example, z@y.example', 'x@y.example\nz@y.example', '"x y"@y.example', 'x\u0000y@y.example'])
		await says(to(t, 'forwarders', { address: here, destinations: ['ok@elsewhere.example', bad] }), /\u0000/.test(bad) ? 400 : 422, /\u0000/.test(bad) ? null : 'destinations', /./);
	await says(to(t, 'forwarders', { address: here, destinations: [here.toUpperCase()] }), 422, 'destinations', /must not name the forwarder itself/);
	await made(t, 'forwarders', { address: t.at('round1'), destinations: [t.at('round2'), ...destinations] });
	await made(t, 'forwarders', { address: t.at('round2'), destinations: [t.at('round3')] });
	await says(to(t, 'forwarders', { address: t.at('round3'), destinations: [...destinations, t.at('round1')] }), 422, 'destinations', /round1@.* sends mail back to round3@/);
	await says(to(t, 'forwarders', { address: 'x@unknown.example', destinations }), 422, 'address', /there is no domain/);
	// where the state forbids it
	await ask(t, 'PATCH', `domains/${t.domain.id}`, { mail_enabled: false });
	await says(to(t, 'forwarders', { address: here, destinations }), 409, null, /set its mail_enabled first/);
});

check('a domain and an account with mail are deleted only by cascade', async () => {
	const t = await furnish();
	await made(t, 'forwarders', { address: t.at('way'), destinations: ['x@elsewhere.example'] });
	const kept = await ask(t, 'DELETE', `domains/${t.domain.id}`);
	assert.equal(kept.status, 409);
	assert.match(kept.json.error.message, /still has 1 mailboxes and 1 forwarders/);
	assert.deepEqual(kept.json.error.fields, { mailboxes: t.post.address, forwarders: t.at('way') });
	const owned = await s.ask(`/api/accounts/${t.account.id}`, { method: 'DELETE' });
	assert.deepEqual([owned.status, owned.json.error.fields.mailboxes, owned.json.error.fields.forwarders], [409, t.post.address, t.at('way')]);
	const gone = await ask(t, 'DELETE', `domains/${t.domain.id}?cascade=true&confirm=${t.domain.domain}`);
	assert.ok([202, 204].includes(gone.status), gone.text);
	await barred(t.post.address, t.secret);
	await refused(t.post.address, /^[45]54 /);
	const u = await furnish();
	assert.ok([202, 204].includes((await s.ask(`/api/accounts/${u.account.id}?cascade=true&confirm=${u.account.username}`, { method: 'DELETE' })).status));
	await barred(u.post.address, u.secret);
	await refused(u.post.address, /^[45]54 /);
});

check('the mail servers\' roles may do what they are for and nothing else', () => {
	const may = (role) => s.sql(`SELECT n.nspname || '.' || c.relname AS name, p FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
		unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) p
		WHERE c.relkind IN ('r', 'v', 'm', 'f', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
		AND (has_table_privilege('${role}', c.oid, p) OR (p IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES') AND has_any_column_privilege('${role}', c.oid, p)))
		ORDER BY 1, 2`).map((r) => `${r.p} ${r.name}`);
	assert.deepEqual(may('postern_mail'), ['aliases', 'domains', 'mailboxes', 'refused'].map((v) => `SELECT mail.${v}`));
	assert.deepEqual(may('postern_quota'), ['INSERT mail.usage', 'SELECT mail.usage', 'UPDATE mail.usage']);
	for (const role of ['postern_mail', 'postern_quota']) {
		assert.deepEqual(s.sql(`SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
			WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND has_function_privilege('${role}', p.oid, 'EXECUTE')`), []);
		assert.deepEqual(s.sql(`SELECT rolname FROM pg_roles WHERE rolname <> '${role}' AND pg_has_role('${role}', oid, 'MEMBER')`), []);
		assert.deepEqual(s.sql(`SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls AS more FROM pg_roles WHERE rolname = '${role}'`), [{ more: false }]);
		for (const statement of ['SELECT * FROM postern.mailboxes', 'SELECT * FROM mailboxes.item', 'SELECT * FROM postern.accounts', 'CREATE TABLE x ()', 'CREATE TEMP TABLE x ()',
			'CREATE TABLE mail.x ()', `DELETE FROM mail.${role === 'postern_mail' ? 'aliases' : 'usage'}`, 'SET ROLE postern_gate'])
			assert.throws(() => s.psql(statement, role), /permission denied|no schema has been selected|cannot delete from view/, `${role}: ${statement}`);
	}
	assert.deepEqual(s.sql('SELECT * FROM mail.usage'), [], 'what Dovecot tells is not kept twice');
	// and who may be them is told by the Unix user
	const as = (user, role) => spawnSync('setpriv', [`--reuid=${user}`, '--clear-groups', '--', 'psql', '-X', '-h', path.join(s.dir, 'mail/pg'), '-U', role, '-d', 'postern', '-Atc', 'SELECT current_user'],
		{ encoding: 'utf8', cwd: '/' });
	assert.equal(as('postfix', 'postern_mail').stdout, 'postern_mail\n');
	assert.equal(as('dovecot', 'postern_quota').stdout, 'postern_quota\n');
	for (const [user, role] of [['postfix', 'postern_quota'], ['postfix', 'postgres'], ['dovecot', 'postern_cli'], ['root', 'postgres']])
		assert.match(as(user, role).stderr, /Peer authentication failed/, `${user} as ${role}`);
	for (const user of ['nobody', 'www-data']) // who cannot connect cannot use connections up either
		assert.match(as(user, 'postern_mail').stderr, /Permission denied/, user);
});

check('the servers\' own programs find no fault with their configuration', () => {
	const postfix = spawnSync('postfix', ['-c', path.join(s.dir, 'mail/postfix'), 'check'], { encoding: 'utf8' });
	assert.deepEqual([postfix.status, postfix.stderr], [0, '']);
	const unused = spawnSync('postconf', ['-c', path.join(s.dir, 'mail/postfix')], { encoding: 'utf8' });
	assert.deepEqual([unused.status, unused.stderr], [0, '']);
	const dovecot = spawnSync('doveconf', ['-c', path.join(s.dir, 'mail/dovecot/dovecot.conf'), '-n'], { encoding: 'utf8' });
	assert.deepEqual([dovecot.status, dovecot.stderr], [0, '']);
	const users = execFileSync('doveadm', ['-c', path.join(s.dir, 'mail/dovecot/dovecot.conf'), 'user', '*'], { encoding: 'utf8' }).trim().split('\n');
	assert.ok(users.includes(a.post.address) && users.includes(b.post.address));
});

check('while PostgreSQL is down mail is put off and nobody is told that it is refused; then all goes on by itself', async () => {
	await accepted(a.post.address, { subject: 'before the stop' });
	await arrived(a.post.address, a.secret, 'before the stop');
	await s.pgctl('stop', '-m', 'fast');
	try {
		for (const to of [a.post.address, a.at('nobody')])
			await refused(to, /^4\d\d /);
		await assert.rejects(login(a.post.address, a.secret), /UNAVAILABLE|AUTHENTICATIONFAILED|internal/i);
	} finally {
		await s.pgctl('start');
	}
	// Postfix asks a server that it has seen gone again after a minute: too long but for a soak
	if (!soak)
		execFileSync('postfix', ['-c', path.join(s.dir, 'mail/postfix'), 'reload'], { stdio: 'ignore' });
	await until(async () => {
		if (/^250/.test(await send(a.post.address, { subject: 'after the start' })))
			return true;
		await new Promise((resolve) => { setTimeout(resolve, 250); });
		return false;
	}, 'mail to be taken again', 150000);
	await arrived(a.post.address, a.secret, 'after the start');
	await until(async () => { // each of Postfix's processes finds out for itself
		const answer = await send(a.at('nobody'));
		assert.match(answer, /^(451|550 5\.1\.1) /);
		return answer.startsWith('550') || new Promise((resolve) => { setTimeout(resolve, 250, false); });
	}, 'an unknown address to be refused again', 150000);
});
