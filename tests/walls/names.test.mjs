// Whose name is it? A tenant's domain is theirs when it is shown to be; what nobody has shown serves nothing and stops nobody.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { answered, startStack, until } from '../api/harness.mjs';
import { startDns } from './dns.mjs';

let s, dns, postfix, a, b;
const here = '192.0.2.7', elsewhere = '198.51.100.9'; // addresses for documentation: no machine has them
const settle = { Prefer: 'wait=30' };
const password = 'correct horse battery';

const leads = (name, ...addresses) => dns.set(name, 'A', ...addresses);
const publishes = (name, value) => dns.set(`_postern-challenge.${name}`, 'TXT', value);

before(async () => {
	dns = await startDns();
	postfix = fs.mkdtempSync(path.join(os.tmpdir(), 'postern-postfix-')); // a real one's settings: postconf and postmap need no more
	fs.writeFileSync(path.join(postfix, 'main.cf'), `compatibility_level = 3.6\nmyhostname = mx.panel.example\nmydestination = $myhostname, localhost, panel.example\n`
		+ `virtual_alias_domains = texthash:${postfix}/domains\nvirtual_mailbox_domains =\nrelay_domains = ${postfix}/relayed\n`);
	fs.writeFileSync(path.join(postfix, 'domains'), 'other-panel.example x\n');
	fs.writeFileSync(path.join(postfix, 'relayed'), 'relayed.example x\n');
	s = await startStack('walls-names', { WORKER: 'yes', SITES: 'yes', WEB: 'nginx', PARTS: 'apachesites', POSTERN_DNS_SERVER: dns.address,
		POSTERN_MACHINE_ADDRESSES: `${here} 2001:db8::7`, POSTERN_POSTCONF_COMMAND: `/usr/sbin/postconf -c ${postfix}`,
		POSTERN_POSTMAP_COMMAND: `/usr/sbin/postmap -c ${postfix}` });
	[a, b] = [tenant(), tenant()];
	for (const t of [a, b])
		await until(async () => (await ask('GET', `accounts/${t.account.id}`)).json.status === 'active', 'the account is there');
});
after(() => {
	s?.stop();
	dns?.end();
	if (postfix)
		fs.rmSync(postfix, { recursive: true });
});

function tenant() {
	const t = s.tenant();
	t.token = s.mint({ owner: t.user.username, scopes: ['*'], action_limit: 1000 }).token;
	return t;
}
const ask = (method, target, body, token = s.token, headers = settle) => s.ask(`/api/${target}`, { method, body, token, headers });
async function expect(status, method, target, body, who) {
	const answer = await ask(method, target, body, who?.token);
	assert.equal(answer.status, answered(status, answer), `${method} ${target}: ${answer.text}`);
	return answer.json;
}
const claim = (who, domain, more) => expect(201, 'POST', 'domains', { domain, ...more }, who);
const shown = (who, id) => expect(200, 'GET', `domains/${id}`, undefined, who);
// Proven is one thing, served is another: a domain is active when its website answers.
const served = (who, id) => until(async () => { const d = await shown(who, id); return d.status === 'active' && d; }, 'the domain is active');
const prove = (who, id) => expect(202, 'POST', `domains/${id}/prove`, undefined, who);
const fresh = () => `${s.unique('n')}.example`;
// fetch sets no Host: by hand.
const get = (name) => new Promise((resolve, reject) => {
	const { port } = new URL(s.url), socket = net.connect(Number(port), '127.0.0.1', () => socket.end(`GET / HTTP/1.0\r\nHost: ${name}\r\n\r\n`));
	let text = '';
	socket.setEncoding('utf8').on('data', (more) => { text += more; }).on('end', () => resolve(text)).on('error', reject);
});
const answers = async (name) => (await get(name)).includes('This website is ready');
// What Postfix and Dovecot are told, as the role that they have.
const mail = (name) => s.sql(`SELECT (SELECT count(*)::int FROM mail.domains WHERE domain = '${name}') AS domains,
	(SELECT count(*)::int FROM mail.mailboxes WHERE address LIKE '%@${name}') AS mailboxes, (SELECT count(*)::int FROM mail.aliases WHERE address LIKE '%@${name}') AS aliases`, 'postern_mail')[0];
const nothing = { domains: 0, mailboxes: 0, aliases: 0 };

test('a name that nothing shows to be the tenant\'s takes no mail, serves no website and gets no certificate', async () => {
	leads('gmail.com', elsewhere);
	const made = await claim(a, 'gmail.com');
	assert.deepEqual([made.status, made.proof, made.proof_record], ['unproven', 'none', '_postern-challenge.gmail.com']);
	assert.match(made.proof_value, /^[0-9a-f]{64}$/);
	assert.match(made.last_error, /gmail\.com is not shown to be the account's: it leads to 198\.51\.100\.9, and the TXT record _postern-challenge\.gmail\.com does not exist/);
	for (const [target, body] of [['mailboxes', { address: 'post@gmail.com', password }], ['forwarders', { address: '@gmail.com', destinations: ['x@example.net'] }],
		['ssl', { domain: 'gmail.com' }]])
		assert.match((await expect(409, 'POST', target, body, a)).error.message, /gmail\.com is unproven; .*_postern-challenge\.gmail\.com.*proof_value/);
	for (const [target, body] of [['mailboxes', { address: 'post@gmail.com', password }], ['ssl', { domain_id: made.id }]])
		await expect(409, 'POST', target, body); // an administrator confirms it first
	assert.deepEqual(mail('gmail.com'), nothing);
	const website = await expect(200, 'GET', 'websites/gmail.com', undefined, a);
	assert.deepEqual([website.status, website.job_id], ['pending', null]);
	assert.match(website.last_error, /unproven/);
	const changed = await expect(200, 'PATCH', `websites/${website.id}`, { https_redirect: true }, a);
	assert.deepEqual([changed.status, changed.job_id], ['pending', null]);
	await expect(200, 'PATCH', `domains/${made.id}`, { mail_enabled: true }, a);
	assert.equal(fs.existsSync(path.join(s.dir, 'sites/nginx/gmail.com.conf')), false);
	assert.equal(await answers('gmail.com'), false);
	await expect(409, 'POST', `domains/${made.id}/suspend`, undefined, a);
	await expect(204, 'DELETE', `domains/${made.id}`, undefined, a);
	await expect(404, 'GET', `websites/${website.id}`);
});

test('public suffixes are nobody\'s: of registries, of companies, in capitals, as aliases', async () => {
	for (const name of ['co.uk', 'CO.UK', 'co.uk.', 'foo.ck', '公司.cn'])
		assert.match((await expect(422, 'POST', 'domains', { domain: name }, a)).error.fields.domain, /is a public suffix/, name);
	await expect(422, 'POST', 'domains', { domain: 'co.uk', account: a.username });
	for (const name of ['github.io', 'GitHub.IO'])
		assert.match((await expect(403, 'POST', 'domains', { domain: name }, a)).error.fields.domain, /is a public suffix/, name);
	for (const name of ['com', 'COM', 'localhost'])
		await expect(422, 'POST', 'domains', { domain: name }, a);
	const own = fresh();
	leads(own, here);
	await claim(a, own);
	const website = await expect(200, 'GET', `websites/${own}`, undefined, a);
	await expect(422, 'PATCH', `websites/${website.id}`, { aliases: ['co.uk'] }, a);
	await expect(403, 'PATCH', `websites/${website.id}`, { aliases: ['github.io'] }, a);
	assert.equal((await claim(a, `${s.unique('x')}.github.io`)).status, 'unproven', 'a name below one is a name like others');
});

test('a name that leads to this machine is proven by its address, over IPv4 and IPv6, and is then served', async () => {
	const name = fresh();
	leads(name, elsewhere, here);
	const made = await claim(a, name);
	assert.deepEqual([made.proof, made.proof_record, made.proof_value, made.last_error], ['address', null, null, null]);
	await served(a, made.id);
	assert.ok(await answers(name), 'its website');
	const website = await expect(200, 'GET', `websites/${name}`, undefined, a);
	assert.deepEqual([website.status, website.last_error], ['active', null]);
	await expect(201, 'POST', 'mailboxes', { address: `post@${name}`, password }, a);
	assert.deepEqual(mail(name), { domains: 1, mailboxes: 1, aliases: 1 });
	const six = fresh();
	dns.set(six, 'AAAA', '2001:db8::7');
	assert.equal((await claim(a, six)).proof, 'address');
	const local = fresh(); // everybody's own machine is no proof
	leads(local, '127.0.0.1');
	assert.equal((await claim(a, local)).status, 'unproven');
});

test('a name is proven by its TXT record with the account\'s own value; what DNS cannot say is no no', async () => {
	const name = fresh();
	const [mine, theirs] = [await claim(a, name, { website: false }), await claim(b, name, { website: false })];
	assert.notEqual(mine.proof_value, theirs.proof_value);
	publishes(name, theirs.proof_value);
	const looked = await prove(a, mine.id);
	assert.deepEqual([looked.kind, looked.status], ['domain.prove', 'failed']);
	assert.match(looked.error, /has another value/);
	assert.equal((await shown(a, mine.id)).status, 'unproven');
	assert.equal((await prove(b, theirs.id)).status, 'succeeded');
	assert.deepEqual([(await shown(b, theirs.id)).status, (await shown(b, theirs.id)).proof], ['active', 'record']);
	await expect(409, 'POST', `domains/${theirs.id}/prove`, undefined, b);
	const long = await claim(b, fresh(), { website: false }); // a record beside others, in several strings, is read whole
	dns.set(`_postern-challenge.${long.domain}`, 'TXT', 'x'.repeat(450), 'v=spf1 -all', long.proof_value);
	dns.set(long.domain, 'AAAA', '2001:db8::8');
	assert.equal((await prove(b, long.id)).status, 'succeeded');
	const broken = await claim(b, fresh(), { website: false });
	for (const bytes of [[255, 1], [0, 0, 9], []].map(Buffer.from)) { // what an attacker's server may say
		publishes(broken.domain, broken.proof_value);
		dns.raw(`_postern-challenge.${broken.domain}`, bytes);
		assert.equal((await prove(b, broken.id)).status, 'failed');
	}
	const later = fresh();
	dns.fail(later);
	const answer = await ask('POST', 'domains', { domain: later, website: false }, a.token, {});
	const job = await until(async () => {
		const { json } = await ask('GET', `jobs/${answer.json.job_id}`);
		return json.attempts > 0 && json.status === 'queued' && json;
	}, 'it is tried again');
	assert.match(job.error, /DNS does not answer/);
	dns.forget(later);
	leads(later, here);
	const again = await prove(a, answer.json.id);
	assert.deepEqual([again.id, again.status], [job.id, 'succeeded']);
});

test('the first proof wins: the name is the winner\'s, and the others hear of it', async () => {
	const name = fresh();
	const [mine, theirs] = [await claim(a, name), await claim(b, name)];
	assert.deepEqual([mine.status, theirs.status], ['unproven', 'unproven']);
	await expect(409, 'POST', 'domains', { domain: name }, a); // once is enough
	for (const target of [`domains/${name}`, `websites/${name}`]) {
		assert.match((await expect(409, 'GET', target)).error.message, /several accounts claim this name/);
		assert.equal((await expect(200, 'GET', target, undefined, b)).account, b.username, 'everybody has their own');
	}
	await expect(409, 'DELETE', `domains/${name}`);
	await expect(409, 'POST', 'websites', { domain: name });
	await expect(409, 'POST', 'mailboxes', { address: `post@${name}`, password });
	assert.equal(s.cli(['domain', 'get', name]).status, 4);
	publishes(name, theirs.proof_value);
	assert.equal((await prove(b, theirs.id)).status, 'succeeded');
	for (const target of [`domains/${name}`, `websites/${name}`])
		assert.equal((await expect(200, 'GET', target)).account, b.username);
	const lost = await shown(a, mine.id);
	assert.equal(lost.status, 'unproven');
	assert.match(lost.last_error, /another account has proven this name/);
	await expect(409, 'POST', `domains/${mine.id}/prove`, undefined, a);
	await expect(409, 'POST', `domains/${mine.id}/confirm`);
	for (const [method, target, body] of [['POST', 'domains', { domain: `x.${name}` }], ['PATCH', `websites/${(await expect(200, 'GET', `websites/${name}`, undefined, a)).id}`, { aliases: [`www.${name}`] }]])
		await expect(409, method, target, body, a);
	await served(b, theirs.id);
	assert.ok(await answers(name), 'the winner\'s website');
	// the loser's removal leaves the winner's virtual host, which has the same name
	await expect(204, 'DELETE', `domains/${mine.id}?cascade=true`, undefined, a);
	assert.ok(fs.existsSync(path.join(s.dir, `sites/nginx/${name}.conf`)));
	assert.equal((await expect(200, 'GET', `domains/${name}`)).account, b.username);
});

test('two proofs of one name at the same moment have one winner', async () => {
	for (let round = 0; round < 5; round++) {
		const name = fresh();
		const made = await Promise.all([a, b].map((t) => claim(t, name, { website: false })));
		leads(name, here);
		await Promise.all([a, b].map((t, i) => ask('POST', `domains/${made[i].id}/prove`, undefined, t.token)));
		const now = await Promise.all([a, b].map((t, i) => shown(t, made[i].id)));
		assert.deepEqual(now.map((d) => d.status).sort(), ['active', 'unproven']);
		assert.match(now.find((d) => d.status === 'unproven').last_error, /another account has proven/);
		assert.deepEqual(s.sql(`SELECT account_id::int FROM postern.domain_names WHERE domain = '${name}'`), [{ account_id: now.find((d) => d.status === 'active').account_id }]);
	}
});

test('a name below one that the account holds is proven with it, whichever came first', async () => {
	const name = fresh();
	const child = await claim(a, `shop.${name}`);
	assert.equal(child.status, 'unproven');
	leads(name, here);
	await claim(a, name);
	assert.equal((await served(a, child.id)).proof, 'parent');
	assert.deepEqual([(await claim(a, `deep.er.${name}`)).proof], ['parent']);
	await expect(409, 'POST', 'domains', { domain: `b.${name}` }, b);
});

test('an administrator\'s word confirms a name; nobody else\'s does', async () => {
	const name = fresh();
	const made = await claim(a, name);
	for (const token of [a.token, s.mint({ scopes: ['*'], account: a.username }).token])
		assert.equal((await ask('POST', `domains/${made.id}/confirm`, undefined, token)).status, 403);
	const confirmed = await expect(200, 'POST', `domains/${made.id}/confirm`);
	assert.deepEqual([confirmed.status, confirmed.proof], ['active', 'administrator']);
	assert.ok(await answers(name), 'its website');
	await expect(409, 'POST', `domains/${made.id}/confirm`);
	const second = await claim(b, fresh(), { website: false });
	assert.equal(s.cliJson(['domain', 'confirm', second.domain]).status, 'active');
	const given = fresh(); // theirs by creation, too, whatever tenants claim
	const claimed = await claim(a, given, { website: false });
	assert.equal((await expect(201, 'POST', 'domains', { domain: given, account: b.username, website: false })).proof, 'administrator');
	assert.match((await shown(a, claimed.id)).last_error, /another account has proven/);
	const bound = s.mint({ scopes: ['*'], account: b.username }).token; // an administrator's token for one account is that account's
	assert.equal((await ask('POST', 'domains', { domain: fresh() }, bound)).json.status, 'unproven');
});

test('further names of a website are held by the same proof', async () => {
	const name = fresh(), other = fresh();
	leads(name, here);
	await claim(a, name);
	const website = await expect(200, 'GET', `websites/${name}`, undefined, a);
	assert.match((await expect(422, 'PATCH', `websites/${website.id}`, { aliases: [other] }, a)).error.fields.aliases, /create it as a domain first/);
	await expect(422, 'PUT', `websites/${website.id}`, { aliases: [`www.${name}`, other] }, a);
	const made = await claim(a, other, { website: false });
	await expect(422, 'PATCH', `websites/${website.id}`, { aliases: [other] }, a); // unproven
	publishes(other, made.proof_value);
	assert.equal((await prove(a, made.id)).status, 'succeeded');
	await expect(200, 'PATCH', `websites/${website.id}`, { aliases: [`www.${name}`, other] }, a);
	assert.ok(await answers(other), 'the further name');
	await expect(409, 'POST', 'websites', { domain: other }, a);
	await expect(204, 'DELETE', `domains/${made.id}`, undefined, a);
	await expect(409, 'POST', 'domains', { domain: other }, b); // the website has it still
	await expect(200, 'PATCH', `websites/${website.id}`, { aliases: [] }, a);
	assert.equal((await claim(b, other)).status, 'unproven', 'free again');
});

test('what the machine\'s nginx or Apache serves already is not a tenant\'s, nor what lies below', async () => {
	const nginx = fresh(), wild = fresh(), apache = fresh();
	const main = path.join(s.dir, 'nginx/nginx.conf'), before = fs.readFileSync(main, 'utf8');
	fs.writeFileSync(path.join(s.dir, 'nginx/panel.conf'), `# a panel's\nserver {\n\tlisten 127.0.0.1:${new URL(s.url).port};\n\tserver_name ${nginx} *.${wild};\n}\n`);
	fs.writeFileSync(main, before.replace('include "' + s.dir + '/sites/nginx', `include ${s.dir}/nginx/panel.conf;\n\t\t\tinclude "${s.dir}/sites/nginx`));
	const panel = path.join(s.dir, 'apachesites/apache.conf'), apacheBefore = fs.readFileSync(panel, 'utf8');
	const apachePort = new URL(s.told.POSTERN_APACHE_URL).port;
	fs.writeFileSync(panel, `${apacheBefore}<VirtualHost 127.0.0.1:${apachePort}>\nServerName main.${apache}\nServerAlias ${apache}\n</VirtualHost>\n`);
	try {
		for (const [name, where] of [[nginx, `nginx serves ${nginx} (${s.dir}/nginx/panel.conf:2)`], [`shop.${nginx}`, 'nginx serves'], [`x.${wild}`, `nginx serves *.${wild}`],
			[apache, `Apache serves ${apache} (${panel}:`], [`shop.${apache}`, 'Apache serves']]) {
			leads(name, here);
			const made = await claim(a, name);
			assert.equal(made.status, 'unproven', name);
			assert.ok(made.last_error.includes(where), made.last_error);
			assert.match(made.last_error, /postern import/);
			publishes(name, made.proof_value);
			assert.equal((await prove(a, made.id)).status, 'failed', 'nor is a TXT record enough');
		}
		// an administrator's own mistake is no conflict that is served by chance
		for (const [name, web_server, why] of [[nginx, 'nginx', /it serves .* already; import that/], [apache, 'apache', /Apache serves .* already/]]) {
			await expect(201, 'POST', 'domains', { domain: name, account: b.username, website: false });
			const website = await expect(201, 'POST', 'websites', { domain: name, web_server });
			assert.equal(website.status, 'error', JSON.stringify(website));
			assert.match(website.last_error, why);
			assert.equal(fs.existsSync(path.join(s.dir, `sites/${web_server}/${name}.conf`)), false, 'taken back');
		}
	} finally {
		fs.writeFileSync(main, before);
		fs.writeFileSync(panel, apacheBefore);
	}
});

test('what Postfix takes mail for already is not a tenant\'s, wherever it has that written', async () => {
	for (const [name, where] of [['panel.example', /mydestination: panel\.example/], ['mail.panel.example', /mydestination/], ['other-panel.example', /virtual_alias_domains: texthash:/],
		['relayed.example', /relay_domains/]]) {
		leads(name, here);
		const made = await claim(b, name, { website: false });
		assert.equal(made.status, 'unproven', name);
		assert.match(made.last_error, where);
		await expect(204, 'DELETE', `domains/${made.id}`, undefined, b);
	}
});

test('a table of Postfix that cannot be read is no fault of a name: its job waits, says why to staff alone, and heals', async (context) => {
	const name = fresh(), table = path.join(postfix, 'relayed'), back = () => fs.existsSync(table) || fs.renameSync(`${table}.away`, table);
	context.after(back);
	fs.renameSync(table, `${table}.away`);
	leads(name, here);
	const { json: made } = await s.ask('/api/domains', { method: 'POST', body: { domain: name, website: false }, token: a.token });
	const why = await until(async () => { const j = (await ask('GET', `jobs/${made.job_id}`)).json; return j.error && j; }, 'the reason');
	assert.deepEqual([why.status, why.attempts], ['queued', 0]);
	assert.match(why.error, /^not this domain: .*relayed/);
	const theirs = await shown(a, made.id);
	assert.equal(theirs.status, 'unproven');
	assert.match(theirs.last_error, /^something else on this server is in the way/);
	back();
	await until(async () => (await shown(a, made.id)).status === 'active', 'it heals');
});

test('reserved names and their children are judged where the proof is looked for, too', async () => {
	const name = fresh();
	const set = await ask('PATCH', 'settings/reserved_names', { value: name });
	assert.equal(set.status, 200, set.text);
	await expect(403, 'POST', 'domains', { domain: name }, a);
	leads(`x.${name}`, here);
	const made = await claim(a, `x.${name}`);
	assert.match(made.last_error, /reserved for this installation/);
	await ask('PATCH', 'settings/reserved_names', { value: '' });
});

test('an endpoint that was broken into gets no name by forging what it says', async () => {
	// the row that such an endpoint may make, past every check in C: a suffix, with fields that a tenant has not
	const id = Number(s.psql(`SET ROLE postern_owner; RESET ROLE;
		SELECT set_config('postern.account_id', '${a.account.id}', false) \\g /dev/null
		SET ROLE postern_tenant;
		SELECT (domains."create"(jsonb_populate_record(NULL::postern.caller, '{"account_id": ${a.account.id}, "rank": 2}'), NULL,
			'{"domain": "co.uk", "status": "active", "proof": "administrator", "proven_at": "2020-01-01", "website": true}')).id`));
	const made = await until(async () => {
		const now = await shown(a, id);
		return now.last_error && now;
	}, 'posternd has looked');
	assert.deepEqual([made.status, made.proof], ['unproven', 'none']);
	assert.match(made.last_error, /co\.uk is a public suffix/);
	assert.throws(() => s.psql(`SET ROLE postern_domains; SELECT domains.accept(NULL, ${id}, 'administrator')`), /permission denied/);
	assert.throws(() => s.psql(`SET ROLE postern_domains; SELECT domains.learn_proof('off')`), /permission denied/);
	assert.throws(() => s.psql(`SELECT set_config('postern.account_id', '${a.account.id}', false) \\g /dev/null
		SET ROLE postern_tenant; SELECT domains.hold('z.example', ${b.account.id})`), /for their own account only/);
});

test('posternd looks again by itself, less and less often, for a week', async () => {
	const name = fresh();
	const made = await claim(b, name, { website: false });
	const due = () => s.sql(`SELECT proof_looks AS looks, round(extract(epoch FROM proof_next_at - clock_timestamp()) / 60)::int AS minutes FROM postern.domains WHERE id = ${made.id}`)[0];
	assert.deepEqual(due(), { looks: 1, minutes: 1 });
	leads(name, here);
	s.psql(`UPDATE postern.domains SET proof_next_at = clock_timestamp() WHERE id = ${made.id}; SELECT work.keep_house(30, 90)`);
	await until(async () => (await shown(b, made.id)).proof === 'address', 'it is proven without being asked');
	const old = await claim(b, fresh(), { website: false });
	s.psql(`UPDATE postern.domains SET proof_looks = 20, created_at = clock_timestamp() - interval '6 days' WHERE id = ${old.id}`);
	await prove(b, old.id);
	assert.equal(s.sql(`SELECT round(extract(epoch FROM proof_next_at - clock_timestamp()) / 60)::int AS minutes FROM postern.domains WHERE id = ${old.id}`)[0].minutes, 360);
	s.psql(`UPDATE postern.domains SET created_at = clock_timestamp() - interval '8 days' WHERE id = ${old.id}`);
	await prove(b, old.id);
	assert.equal(s.sql(`SELECT proof_next_at FROM postern.domains WHERE id = ${old.id}`)[0].proof_next_at, null);
});

test('domain_proof = off takes a tenant\'s word, and is posternd\'s to say', async () => {
	const restart = async (setting) => {
		await s.endWorker();
		s.env.POSTERN_DOMAIN_PROOF = setting;
		s.startWorker();
		await until(() => s.sql('SELECT proof_required AS required FROM postern.domain_policy')[0].required === (setting !== 'off'), `domain_proof = ${setting}`);
	};
	await restart('off');
	try {
		assert.equal((await claim(a, fresh(), { website: false })).proof, 'setting');
		await expect(422, 'POST', 'domains', { domain: 'co.uk' }, a);
		assert.equal((await ask('PATCH', 'settings/domain_proof', { value: 'off' })).status, 422, 'not over the network');
	} finally {
		await restart('required');
	}
	assert.equal((await claim(a, fresh(), { website: false })).proof, 'none');
});

test('an import takes a name that tenants only claim', async () => {
	const name = fresh();
	for (const t of [a, b])
		await claim(t, name, { website: false });
	const file = path.join(s.dir, 'imported.conf'), root = path.join(s.dir, 'imported');
	fs.mkdirSync(root, { recursive: true });
	fs.writeFileSync(file, `server { listen 80; server_name ${name}; root ${root}; }\n`);
	const done = s.cli(['import', 'nginx', file, '--account', 'demo']);
	assert.equal(done.status, 0, done.stdout + done.stderr);
	const now = await expect(200, 'GET', `domains/${name}`);
	assert.deepEqual([now.account, now.managed, now.status], ['demo', false, 'active']);
});
