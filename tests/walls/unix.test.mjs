// Whose Unix user, whose home, whose uid, and what ends with an account: by posternd's own actions, with real users and
// processes, in a mount namespace with an /etc and a /home of its own, and a process namespace, with whose first process all end.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { build, root, startStack } from '../api/harness.mjs';

const needsRoot = process.getuid() === 0 ? false : 'not run: users can be made by root only';
const folder = path.join(root, build, 'test/walls-unix');

let s;
before(async () => {
	fs.rmSync(folder, { recursive: true, force: true });
	fs.mkdirSync(folder, { recursive: true });
	fs.writeFileSync(path.join(folder, 'kick'), `#!/bin/sh\necho "$*" >>${folder}/kicked\n`, { mode: 0o755 });
	s = await startStack('walls-unix-api', { WORKER: 'yes', POSTERN_MAILBOX_KICK: `${folder}/kick now` });
});
after(() => s?.stop());

// act KIND DATA: runs an action, prints its last error, else "done". as USER COMMAND: with that user's rights alone. left USER: how
// many processes it has. there USER: waits until it has one.
function inside(script) {
	const done = spawnSync(path.join(root, 'scripts/own-mounts'), ['unshare', '--pid', '--fork', '--kill-child', 'bash', '-euc', `d=${folder}
		mount -t proc proc /proc
		mkdir -p $d/m; mount -t tmpfs tmpfs $d/m; mkdir $d/m/{u,w,tabs,results,spool}
		mount -t overlay overlay -o lowerdir=/etc,upperdir=$d/m/u,workdir=$d/m/w /etc
		mount -t tmpfs -o mode=755 tmpfs /home; mount -t tmpfs -o mode=1777 tmpfs /tmp
		mount --bind $d/m/spool /var/spool/cron
		printf '%s\\n' 'unix_users = create' "cron_dir = $d/m/tabs" "cron_results_dir = $d/m/results" \\
			"nginx_sites_dir = $d/m/sites" >$d/m/conf
		chmod 755 $d/m
		export POSTERN_CONFIG=$d/m/conf
		run() { printf '{"job":"x","kind":"%s","attempt":1,"data":{%s}}' "$1" "$2" | ${path.join(root, build)}/actions/$1; }
		act() { local out; if out=$(run "$@" 2>&1); then echo done
		else printf '%s\\n' "$out" | sed -n 's/.*"error":"\\(.*\\)"}$/\\1/p'; fi; }
		who() { printf '"username":"%s","uid":%d,"home":"/home/%s/home"' "$1" "$2" "$1"; }
		one() { printf '"id":%d,' "$(($2 - 29000))"; who "$@"; }
		adopted() { printf '"adopt":true,"username":"%s","home":"%s"' "$1" "\${2:-/home/$1}"; }
		site() { act website.apply "$1,$(printf '"id":1,"domain":"a.example","web_server":"nginx","document_root":"%s"' $2),\\"runtime\\":\\"static\\""; }
		as() { local who=$1; shift; setpriv --reuid "$who" --regid "$(id -g "$who")" --init-groups "$@"; }
		left() { ps -o stat= -U "$1" | grep -vc ^Z || true; }
		there() { until [ "$(left "$1")" -gt 0 ]; do :; done; }
		${script}`], { encoding: 'utf8', cwd: root, timeout: 120000, killSignal: 'SIGKILL' });
	assert.equal(done.status, 0, done.stdout + done.stderr);
	return done.stdout.trimEnd().split('\n');
}

test('create makes a user and never takes one that is there, nor a name, a folder or a uid that is somebody\'s', { skip: needsRoot }, () => {
	const out = inside(`useradd --create-home bob; groupadd crew; mkdir /home/carl
		act account.create "$(one bob 29001)"; id -u bob; stat -c %U /home/bob
		ls -d /home/bob/home 2>&1 | grep -c cannot
		act account.create "$(one crew 29002)"; act account.create "$(one postern-cli 29003)"
		act account.create "$(one carl 29004)"
		useradd --uid 29005 other; act account.create "$(one dora 29005)"
		run account.create "$(one dora 29005)" | grep -o '"next_uid":[0-9]*'
		sleep 60 & p=$!; setpriv --reuid 29006 --clear-groups sleep 61 & act account.create "$(one emil 29006)"
		kill $!; kill $p
		act account.create "$(one fred 29007)"; act account.create "$(one fred 29007)"; getent passwd fred
		getent passwd crew postern-cli carl dora emil || echo none; grep -c fred /etc/subuid || true
		printf 'unix_users = adopt\\n' >>$d/m/conf.2; POSTERN_CONFIG=$d/m/conf.2 act account.create "$(one gus 29008)"`);
	assert.match(out[0], /there is a Unix user bob \(uid \d+\) already.*"?adopt/);
	assert.notEqual(out[1], '29001');
	assert.deepEqual(out.slice(2, 4), ['bob', '1']);
	assert.match(out[4], /the machine has a group of that name; choose another/);
	assert.match(out[5], /begin with postern/);
	assert.match(out[6], /\/home\/carl is there already.*move it away/);
	assert.match(out[7], /the uid 29005 is somebody else's.*retry/);
	assert.equal(out[8], '"next_uid":29006');
	assert.match(out[9], /the uid 29006 is somebody else's/, 'a process of a user that is gone');
	assert.deepEqual(out.slice(10, 12), ['done', 'done']);
	assert.match(out[12], /^fred:x:29007:29007:.*:\/home\/fred\/home:\/usr\/sbin\/nologin$/);
	assert.deepEqual(out.slice(13, 15), ['none', '0']);
	assert.match(out[15], /no Unix users are made.*"?adopt/);
});

test('adopt takes nobody with rights of its own, and no home but the user\'s own', { skip: needsRoot }, () => {
	const out = inside(`for u in plain strong boxed web other; do useradd --create-home $u; done
		getent group docker >/dev/null || groupadd docker; usermod -aG sudo strong; usermod -aG docker boxed
		usermod -g www-data web
		useradd --system --home-dir /home/daemonic --create-home daemonic; useradd --create-home postern-x
		useradd --home-dir /etc --no-create-home roamer
		for u in root nobody www-data daemonic strong boxed web postern-x missing
		do act account.create "$(adopted $u)"; done
		act account.create "$(adopted plain /home/other)"; act account.create "$(adopted roamer /etc)"
		mv /home/other /home/there; ln -s there /home/other; act account.create "$(adopted other)"
		run account.create "$(adopted plain)" | grep -o '"uid":[0-9]*' | tr -dc 0-9; echo; id -u plain
		usermod -aG sudo plain; act cron.execute "$(adopted plain),\\"id\\":3,\\"command\\":\\"id\\""`);
	for (const line of out.slice(0, 4))
		assert.match(line, /belongs to the system|there is no Unix user/);
	for (const line of out.slice(4, 7))
		assert.match(line, /is in the group (sudo|docker|www-data) .*rights of its own.*gpasswd -d/);
	assert.match(out[7], /Postern's own/);
	assert.match(out[8], /no Unix user missing to adopt; create it/);
	assert.match(out[9], /the home of the Unix user plain is \/home\/plain, not/);
	assert.match(out[10], /the home folder \/etc is none of this account/);
	assert.match(out[11], /a symbolic link is in its way/);
	assert.equal(out[12], out[13], 'its uid is noted');
	assert.match(out[14], /is in the group sudo/, 'one that is given such a group later runs nothing');
});

test('a home lies below home_dir, whatever a job says', { skip: needsRoot }, () => {
	const out = inside(`mkdir /home/sub
		for home in /srv/alice /etc /home/bob/home /home/sub/alice /home; do
			act account.create "\\"id\\":1,\\"username\\":\\"alice\\",\\"uid\\":29001,\\"home\\":\\"$home\\""
			act account.delete "\\"id\\":1,\\"username\\":\\"alice\\",\\"uid\\":29001,\\"home\\":\\"$home\\",\\"purge\\":true"; done
		getent passwd alice || echo none; ls /etc/passwd; chmod 1777 /home; act account.create "$(one alice 29001)"; chmod 0777 /home; act account.create "$(one bert 29002)"`);
	for (const line of out.slice(0, 10).filter((_, i) => i % 2))
		assert.match(line, /is none of this account|group.*cannot/, line);
	assert.equal(out.includes('none') && out.includes('/etc/passwd'), true);
	assert.match(out.at(-1), /who may write it could put another in its place/);
});

test('no tenant reads another\'s files, whatever modes the owner gives them; the web server does', { skip: needsRoot }, () => {
	const out = inside(`act account.create "$(one alice 29001)"; act account.create "$(one bob 29002)"
		site "$(who alice 29001)" /home/alice/home/public_html >/dev/null
		stat -c '%U %G %a' /home/alice /home/alice/home /home/alice/home/public_html
		cd /home/alice/home/public_html; as alice sh -c 'umask 022; echo secret >wp-config.php'
		stat -c '%G' wp-config.php; cd /
		f=/home/alice/home/public_html/wp-config.php
		as bob cat $f 2>&1 || true; as alice cat $f; as www-data cat $f
		act cron.execute "$(who bob 29002),\\"id\\":4,\\"command\\":\\"cat $f\\""
		run cron.execute "$(who bob 29002),\\"id\\":4,\\"command\\":\\"cat $f\\"" | grep -c 'Permission denied'
		as alice chmod -R 777 /home/alice/home; as alice chmod 777 /home/alice 2>&1 | grep -c 'not permitted'
		as alice mv /home/alice/home /home/alice/x 2>&1 | grep -c denied
		as bob cat $f 2>&1 || true; as bob ls /home/alice/home 2>&1 || true; as www-data cat $f`);
	assert.deepEqual(out.slice(2, 5), ['root alice 710', 'alice www-data 710', 'alice www-data 2750']);
	assert.equal(out[5], 'www-data');
	assert.match(out[6], /Permission denied/);
	assert.deepEqual(out.slice(7, 9), ['secret', 'secret']);
	assert.deepEqual(out.slice(9, 13), ['done', '1', '1', '1']);
	assert.match(out[13], /Permission denied/);
	assert.match(out[14], /Permission denied/);
	assert.equal(out[15], 'secret');
});

test('a file that an account\'s user cannot read is missing from the backup by name; the rest is in it and comes back, with its attributes', { skip: needsRoot }, () => {
	const out = inside(`export POSTERN_BACKUP_REPOSITORY=$d/m/r/backups POSTERN_BACKUP_PASSWORD_FILE=$d/m/r/password POSTERN_WORKER_DIR=$d/m/r POSTERN_BACKUP_BALLAST_MB=0
		act account.create "$(one alice 29001)"; h=/home/alice/home; data="$(who alice 29001),\\"backup\\":1,\\"account\\":1"; data="\${data/\\"uid\\":29001,/}"
		as alice sh -c 'echo good >$1/good; mkdir $1/closed; truncate -s 3G $1/hole; echo x >>$1/hole; ln $1/good $1/same' - $h
		setfacl -m u:bin:r $h/good; as alice setfattr -n user.colour -v blue $h/good
		echo secret >$h/secret; chmod 600 $h/secret; echo secret >$h/closed/x; chown root $h/closed; chmod 700 $h/closed
		run backup.create "$data,\\"kind\\":\\"files\\"" >$d/m/said; tail -1 $d/m/said
		rm -r $h/good $h/same $h/hole
		act backup.restore "$data,\\"what\\":\\"files\\",$(grep -o '"parts": *\\[[^]]*\\]' $d/m/said)"
		cat $h/good; stat -c '%U %h' $h/good; getfacl -cp $h/good | grep bin; getfattr --absolute-names --only-values -n user.colour $h/good; echo
		stat -c '%s' $h/hole; [ $(stat -c %b $h/hole) -lt 1000 ] && echo sparse; cat $h/secret`);
	assert.deepEqual(out.slice(0, 1), ['done']);
	const { result } = JSON.parse(out[1]);
	assert.deepEqual(result.missing.map((m) => [m.part, m.name, m.reason]).sort(), [['files', './closed', 'Cannot open: Permission denied'], ['files', './secret', 'Cannot open: Permission denied']]);
	assert.deepEqual(out.slice(2), ['done', 'good', 'alice 2', 'user:bin:r--', 'blue', String(3 * 2 ** 30 + 2), 'sparse', 'secret']);
});

test('an adopted home that is open is told of and closed on request; one that the web server cannot enter fails the website\'s job', { skip: needsRoot }, () => {
	const out = inside(`useradd --create-home alice; useradd --create-home bob; echo secret >/home/alice/x
		chmod 644 /home/alice/x
		as bob cat /home/alice/x
		run account.create "$(adopted alice)" | grep -o 'is open to other tenants; postern account mend alice closes it'
		act account.mend "$(adopted alice)"; stat -c '%U %G %a' /home/alice; as bob cat /home/alice/x 2>&1 || true
		chmod 700 /home/alice; chgrp alice /home/alice; site "$(adopted alice)" /home/alice/www; act account.mend "$(adopted alice)"; site "$(adopted alice)" /home/alice/www`);
	assert.equal(out[0], 'secret');
	assert.match(out[1], /open to other tenants/);
	assert.deepEqual(out.slice(2, 4), ['done', 'alice www-data 710']);
	assert.match(out[4], /Permission denied/);
	assert.match(out[5], /www-data cannot enter the document root \/home\/alice\/www: Permission denied; let it in: postern account mend alice/);
	assert.equal(out[6], 'done');
	assert.doesNotMatch(out[7] ?? '', /cannot enter/);
});

test('deleting ends what runs, be it stopped or forking, and leaves root\'s alone: nothing goes by the user\'s name or uid', { skip: needsRoot }, () => {
	const out = inside(`for n in 1 2; do act account.create "$(one t$n 2900$n)"; done
		mkdir -p $d/m/spool/atjobs; echo x >$d/m/tabs/t1; as t1 touch /tmp/mine; as t2 touch /tmp/theirs
		touch $d/m/spool/atjobs/a; chown t1 $d/m/spool/atjobs/a
		as t1 sh -c 'echo dear >/home/t1/home/letter; chmod -R 777 /home/t1/home; exec >/dev/null 2>&1; setsid sleep 1000 & setsid sleep 1001 & kill -STOP $!
			for i in 1 2 3 4 5 6 7 8 9 10 11 12; do setsid perl -e "while (1) { fork or exit; wait }" & done
			for i in 1 2 3; do setsid perl -e "while (1) { exit if fork; select(undef, undef, undef, 0.01) }" & done'
		as t2 setsid sleep 1002 >/dev/null 2>&1 & there t2; there t1; echo alive
		act account.end "$(one t1 29001)"; left 29001; act account.delete "$(one t1 29001)"
		act account.delete "$(one t1 29001)"
		getent passwd t1 || echo gone; ls /home; stat -c '%U %G %a' /home/.deleted /home/.deleted/1-t1
		cat /home/.deleted/1-t1/home/letter; as t2 cat /home/.deleted/1-t1/home/letter 2>&1 || true
		ls $d/m/tabs | wc -l; ls $d/m/spool/atjobs | wc -l; ls /tmp; left t2
		act account.delete "$(one t2 29002),\\"purge\\":true"; ls /home/.deleted; left 29002`);
	assert.deepEqual(out.slice(0, 8), ['done', 'done', 'alive', 'done', '0', 'done', 'done', 'gone']);
	assert.deepEqual(out.slice(8, 12), ['t2', 'root root 700', 'root root 700', 'dear']);
	assert.match(out[12], /Permission denied/);
	assert.deepEqual(out.slice(13), ['0', '0', 'theirs', '1', 'done', '1-t1', '0']);
});

test('a purge removes whatever its owner has nested', { skip: needsRoot }, () => {
	const out = inside(`act account.create "$(one t1 29001)"
		as t1 perl -e 'chdir "/home/t1/home"; for (1 .. 600) { mkdir "d"; chdir "d" } symlink "/etc", "etc"'
		act account.delete "$(one t1 29001),\\"purge\\":true"; ls -A /home /home/.deleted; ls /etc/passwd`);
	assert.deepEqual(out, ['done', 'done', '/home:', '.deleted', '', '/home/.deleted:', '/etc/passwd']);
});

test('suspending ends what runs and lets nobody in; unsuspending gives back what was', { skip: needsRoot }, () => {
	const out = inside(`act account.create "$(one t1 29001)"; usermod --expiredate 2031-01-01 t1
		as t1 setsid sleep 1000 >/dev/null 2>&1 & there t1; left t1
		run account.suspend "$(one t1 29001)" | grep -o '"expires":[0-9]*'; left t1; getent shadow t1 | cut -d: -f8
		act account.unsuspend "$(one t1 29001),\\"expires\\":22280"; getent shadow t1 | cut -d: -f8`);
	assert.deepEqual(out, ['done', '1', '"expires":22280', '0', '1', 'done', '22280']);
});

test('what would keep a removal from its end is found before anything is done', { skip: needsRoot }, () => {
	const out = inside(`act account.create "$(one t1 29001)"; mkdir -p /etc/php/8.2/fpm/pool.d
		printf '[t1]\\nuser = t1\\n' >/etc/php/8.2/fpm/pool.d/t1.conf
		echo dear >/home/t1/home/letter
		act account.end "$(one t1 29001)"; getent passwd t1 | cut -d: -f1; getent shadow t1 | cut -d: -f8
		cat /home/t1/home/letter
		rm /etc/php/8.2/fpm/pool.d/t1.conf; usermod --uid 29099 t1; act account.end "$(one t1 29001)"; act account.delete "$(one t1 29001),\\"purge\\":true"; cat /home/t1/home/letter`);
	assert.match(out[1], /pool \/etc\/php\/8.2\/fpm\/pool.d\/t1.conf.*remove that file, reload PHP-FPM/);
	assert.deepEqual(out.slice(2, 5), ['t1', '', 'dear']);
	assert.match(out[5], /has uid 29099, but the account's has uid 29001/);
	assert.match(out[6], /has uid 29099/);
	assert.equal(out[7], 'dear');
});

// ---- over the API ----

const ask = async (want, ...args) => {
	const answer = await s.ask(...args);
	assert.equal(answer.status, want, answer.text);
	return answer.json;
};
const wait = { Prefer: 'wait=20' };
const make = (at, body) => ask(201, at, { method: 'POST', body, headers: wait });
const remove = (id, query = '') => s.ask(`/api/accounts/${id}?confirm=${s.psql(`SELECT username FROM postern.accounts WHERE id = ${id}`)}${query}`, { method: 'DELETE', headers: wait });

test('a uid is given once: the next account of that name has another', async () => {
	const username = s.unique('u'), uids = [];
	for (let i = 0; i < 2; i++) {
		const made = await make('/api/accounts', { username });
		uids.push(made.uid);
		assert.equal((await remove(made.id)).json.status, 'succeeded');
	}
	assert.ok(uids[0] >= 20000 && uids[1] > uids[0], uids.join());
});

test('a uid that somebody has is passed over at the next try; no two accounts have one user', async () => {
	s.replaceAction('account.create', 'echo \'{"result":{"next_uid":30500}}\'; echo \'{"error":"taken"}\'; exit 1');
	const made = await make('/api/accounts', { username: s.unique('u') });
	assert.deepEqual([made.status, made.last_error, made.uid], ['error', 'taken', 30500]);
	s.replaceAction('account.create', 'echo \'{"result":{"uid":30500}}\'');
	const twin = await make('/api/accounts', { username: s.unique('u') });
	assert.deepEqual([twin.status, /another account has the Unix user of uid 30500/.test(twin.last_error), twin.uid === 30500], ['error', true, false]);
	fs.rmSync(path.join(s.dir, 'actions/account.create'));
	await ask(200, `/api/jobs/${made.job_id}/retry`, { method: 'POST' });
	assert.ok((await make('/api/accounts', { username: s.unique('u') })).uid > 30500);
});

test('suspending and deleting end the sessions of mailboxes', async () => {
	const t = s.tenant();
	await make('/api/domains', { domain: `${t.username}.example`, website: false, account: t.username });
	await make('/api/mailboxes', { address: `info@${t.username}.example`, password: 'a long Passw0rd' });
	const kicked = () => fs.readFileSync(`${folder}/kicked`, 'utf8').split('\n').filter((line) => line === `now info@${t.username}.example`).length;
	await ask(200, `/api/accounts/${t.account.id}/suspend`, { method: 'POST', headers: { Prefer: 'wait=20' } });
	assert.equal(kicked(), 1);
	assert.equal((await remove(t.account.id, '&cascade=true')).json.status, 'succeeded');
	assert.equal(kicked(), 2);
});

test('doctor finds homes that other tenants may enter', async () => {
	const made = await make('/api/accounts', { username: s.unique('h') });
	const row = () => JSON.parse(s.cli(['--json', 'doctor'], { env: { POSTERN_UNIX_USERS: 'create' } }).stdout).data.find((r) => r.check === 'homes');
	const found = row();
	assert.deepEqual([found.status, /can be entered by other tenants/.test(found.finding), /account mend/.test(found.remedy)], ['finding', true, true]);
	for (const name of fs.readdirSync(path.dirname(made.home)))
		fs.chmodSync(path.join(path.dirname(made.home), name), 0o710);
	assert.equal(row().status, 'ok');
});

test('names of the system, of Postern and of roles of databases are no account\'s; adopting is for an administrator who is bound to none', async () => {
	const owner = await make('/api/accounts', { username: s.unique('n') });
	s.psql(`INSERT INTO postern.databases (account_id, engine, name, username, charset, verifier) VALUES (${owner.id}, 'mariadb', 'x', '${owner.username}_db', 'utf8mb4', 'x')`);
	for (const username of ['root', 'www-data', 'postgres', 'mysql', 'postern-cli', 'postern', 'pg_monitor', 'postern_owner', `${owner.username}_db`]) {
		const refused = await ask(422, '/api/accounts', { method: 'POST', body: { username } });
		assert.match(refused.error.fields.username, /is reserved|is taken/, username);
	}
	const bound = s.cliJson(['token', 'create', '--name', s.unique('b'), '--owner', 'admin', '--account', owner.username, '--role', 'admin']).token;
	const refused = await s.ask('/api/accounts', { method: 'POST', body: { username: s.unique('n'), adopt: true }, token: bound });
	assert.ok([403, 422].includes(refused.status), refused.text);
});

test('a removal that fails leaves a whole account: users, tokens, domains and mail, and may be asked for again', async () => {
	const t = s.tenant();
	await make('/api/domains', { domain: `${t.username}.example`, website: false, account: t.username });
	const whole = () => s.sql(`SELECT (SELECT count(*)::int FROM postern.tokens WHERE account_id = ${t.account.id}) AS tokens,
		(SELECT count(*)::int FROM postern.users WHERE account_id = ${t.account.id}) AS users, (SELECT count(*)::int FROM postern.domains WHERE account_id = ${t.account.id}) AS domains`)[0];
	const before = whole();
	s.replaceAction('account.end', 'echo \'{"error":"a process does not end"}\'; exit 1');
	const failed = (await remove(t.account.id, '&cascade=true')).json;
	assert.deepEqual([failed.kind, failed.status, failed.error], ['account.delete', 'failed', 'a process does not end']);
	const stays = await ask(200, `/api/accounts/${t.account.id}`);
	assert.deepEqual([stays.status, stays.last_error], ['error', 'a process does not end']);
	assert.deepEqual(whole(), before);
	await ask(200, `/api/accounts/${t.account.id}/mend`, { method: 'POST', headers: { Prefer: 'wait=20' } });
	s.psql(`UPDATE postern.accounts SET status = 'active' WHERE id = ${t.account.id}`);
	await ask(200, `/api/accounts/${t.account.id}/suspend`, { method: 'POST', headers: { Prefer: 'wait=20' } });
	assert.equal((await remove(t.account.id, '&cascade=true')).json.status, 'failed');
	assert.equal((await ask(200, `/api/accounts/${t.account.id}`)).status, 'suspended', 'what was suspended stays so');
	fs.rmSync(path.join(s.dir, 'actions/account.end'));
	assert.equal((await remove(t.account.id, '&cascade=true')).json.status, 'succeeded');
	await ask(404, `/api/accounts/${t.account.id}`);
});
