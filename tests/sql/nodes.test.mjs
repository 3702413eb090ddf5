// Several posternds, and a database that moves to another cluster: who seals the audit trail and by which key, whose a
// running job is, and that rows keep their order.
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { createHash, createPrivateKey, createPublicKey, sign } from 'node:crypto';
import fs from 'node:fs';
import { userInfo } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { build, root, startStack, until } from '../api/harness.mjs';
import { check } from '../audit/verifier.mjs';

let s, key;
const workers = [];
const as = process.getuid() === 0 ? ['setpriv', '--reuid=postgres', '--regid=postgres', '--init-groups', '--'] : [];
const bin = '/usr/lib/postgresql/15/bin';
const server = (file, ...args) => {
	const [first, ...rest] = [...as, file, ...args];
	return execFileSync(first, rest, { encoding: 'utf8', cwd: '/', stdio: ['ignore', 'pipe', 'pipe'] });
};
const one = (text) => s.sql(text)[0];
const checkpoints = () => one('SELECT count(*)::int AS n FROM postern.checkpoints').n;
const sealed = () => until(() => one(`SELECT count(*)::int AS n FROM postern.audit a WHERE (a.xid, a.id) > (SELECT x.xid, x.id FROM postern.seals x ORDER BY number DESC LIMIT 1)
	OR (SELECT max(number) FROM postern.seals) > (SELECT substring(text FROM 'seal ([0-9]+)')::bigint FROM postern.checkpoints ORDER BY number DESC LIMIT 1)`).n === 0,
'all rows are sealed and signed', 30000);
const write = () => s.cliJson(['domain', 'create', '--domain', `${s.unique('node')}.example`, '--account', owner.username]);
let owner;
function verify(...more) {
	const done = s.cli(['--json', 'audit', 'verify', ...more]);
	assert.ok(done.stdout, done.stderr);
	return JSON.parse(done.stdout);
}
// The command as who runs posternd.
const rootCli = (...args) => spawnSync(path.join(root, build, 'cli/postern'),
	['--config', path.join(s.dir, 'postern.conf'), ...args], { encoding: 'utf8' });

// Another posternd on this database, with a worker_dir of its own. Answers { log(), end() }.
function second(name) {
	const folder = path.join(s.dir, name), conf = path.join(s.dir, `${name}.conf`), log = path.join(s.dir, `log/${name}.log`);
	fs.mkdirSync(folder, { recursive: true });
	fs.writeFileSync(conf, fs.readFileSync(path.join(s.dir, 'postern.conf'), 'utf8')
		.replace(/^worker_dir.*$/m, `worker_dir = "${folder}"`)
		.replace(/^audit_public_key.*$/m, `audit_public_key = "${folder}/audit.pub"`)
		.replace(/^audit_checkpoints.*$/m, `audit_checkpoints = "${folder}/checkpoints"`));
	const out = fs.openSync(log, 'a');
	const app = fs.existsSync(path.join(s.dir, 'app')) ? path.join(s.dir, 'app') : path.join(root, build);
	const child = spawn(path.join(app, 'worker/posternd'), ['--config', conf], { stdio: ['ignore', out, out], env: s.env });
	fs.closeSync(out);
	const ended = new Promise((resolve) => { child.on('close', resolve); });
	const worker = { folder, log: () => fs.readFileSync(log, 'utf8'), end: () => { child.kill('SIGTERM'); return ended; } };
	workers.push(worker);
	return worker;
}

before(async () => {
	s = await startStack('nodes', { WORKER: 'yes', POSTERN_AUDIT_SEAL_S: '1', POSTERN_AUDIT_CHECKPOINT_S: '1', POSTERN_WATCH_S: '2' });
	key = path.join(s.dir, 'keys/audit.pub');
	owner = s.tenant();
	await until(() => checkpoints() > 1, 'checkpoints');
});
after(async () => {
	await Promise.all(workers.map((w) => w.end()));
	s?.stop();
});

test('of two posternds with one host name neither takes the other\'s running job', async () => {
	const file = path.join(s.dir, 'hold');
	const busy = () => one("SELECT count(*)::int AS n FROM postern.jobs WHERE status IN ('queued', 'running')").n;
	await until(() => busy() === 0, 'nothing else is to be done');
	s.replaceAction('account.create', `echo $$ >> ${file}.begun; until [ -e ${file} ]; do read -rt 0.05 <> <(:) || true; done`);
	const made = s.cliJson(['account', 'create', '--username', s.unique('n')]);
	await until(() => fs.existsSync(`${file}.begun`), 'the job runs');
	const row = () => one(`SELECT status, attempts, leased_by FROM postern.jobs WHERE id = '${made.job_id}'`);
	const was = row(), other = second('twin');
	// it has looked for jobs of workers that are no more before it says anything of its machine or the trail
	await until(() => one('SELECT count(*)::int AS n FROM postern.sealers').n === 2, 'the second one is at work');
	assert.deepEqual(row(), was);
	fs.writeFileSync(file, '');
	await until(() => row().status === 'succeeded', 'the job ends');
	assert.equal(fs.readFileSync(`${file}.begun`, 'utf8').trim().split('\n').length, 1, 'it was done once');
	await other.end();
	fs.rmSync(path.join(s.dir, 'actions/account.create'));
});

test('a posternd with another worker_dir makes no key and signs nothing; log, health, server-health and doctor say so', async () => {
	const other = second('wrong');
	await until(() => /no_sealing.*audit\.key.*checkpoint \d+.*end it/.test(other.log()), 'it says so in its log');
	assert.ok(!fs.existsSync(path.join(other.folder, 'audit.key')), 'it makes none');
	const reasons = await until(async () => {
		const { json } = await s.ask('/api/server-health');
		return json.reasons.find((r) => r.subject === 'audit');
	}, 'server-health says so');
	assert.equal(reasons.severity, 'warning', 'another one seals');
	assert.match(reasons.message, /does not seal the audit trail: .*\/wrong\/audit\.key.*Put the audit\.key of the posternd/);
	assert.match((await s.ask('/api/health')).json.reasons.join(), /does not seal the audit trail/);
	assert.match(s.cli(['doctor']).stdout, /does not seal the audit trail/);
	const was = checkpoints();
	write();
	await until(() => checkpoints() > was, 'the right one seals and signs on');
	await sealed();
	assert.equal(verify().intact, true, JSON.stringify(verify()));
	// a key that somebody else made is refused as well
	await other.end();
	execFileSync('openssl', ['genpkey', '-algorithm', 'ed25519', '-out', path.join(other.folder, 'audit.key')]);
	const again = second('wrong');
	await until(() => /no_sealing.*is not the key that the trail goes on with/.test(again.log()), 'it says so');
	await sealed();
	// with nobody left who may it is critical
	await s.endWorker();
	s.psql("UPDATE postern.sealing SET until = postern.clock() - interval '1 s'");
	await until(async () => (await s.ask('/api/server-health')).json.reasons
		.some((r) => r.subject === 'audit' && r.severity === 'critical'), 'it is critical');
	const count = checkpoints();
	s.startWorker();
	write();
	await until(() => checkpoints() > count, 'the right one goes on');
	await again.end();
	await sealed();
	assert.equal(verify().intact, true);
});

test('two posternds that have the key seal one at a time, and the other goes on when the first has ended', async () => {
	const folder = path.join(s.dir, 'third');
	fs.mkdirSync(folder, { recursive: true });
	fs.copyFileSync(path.join(s.dir, 'worker/audit.key'), path.join(folder, 'audit.key'));
	const [{ node }] = s.sql('SELECT node FROM postern.sealing'), other = second('third');
	await until(() => one('SELECT count(*)::int AS n FROM postern.sealers WHERE fault IS NULL').n >= 2, 'both offer to');
	write();
	await sealed();
	assert.equal(one('SELECT node FROM postern.sealing').node, node);
	await s.endWorker();
	s.psql("UPDATE postern.sealing SET until = postern.clock() - interval '1 s'"); // the lease of 60 s
	write();
	await sealed();
	assert.notEqual(one('SELECT node FROM postern.sealing').node, node);
	assert.doesNotMatch(other.log(), /does not follow|statement_failed/);
	await other.end();
	s.startWorker();
	s.psql("UPDATE postern.sealing SET until = postern.clock() - interval '1 s'");
	write();
	await sealed();
	assert.equal(verify().intact, true);
});

test('a rotation is a checkpoint that names the next key, signed by the present one; any of the keys verifies all, offline too', async () => {
	const old = path.join(s.dir, 'old.pub'), file = path.join(s.dir, 'rotated.ndjson'), wrong = path.join(s.dir, 'wrong.pub');
	fs.copyFileSync(key, old);
	const secrets = [fs.readFileSync(path.join(s.dir, 'worker/audit.key'))];
	const done = rootCli('audit', 'rotate-key');
	assert.equal(done.status, 0, done.stderr);
	assert.match(done.stdout, /^checkpoint \d+ names the next key/);
	assert.match(one("SELECT text FROM postern.checkpoints WHERE text ~ 'next_key'").text,
		/^postern checkpoint 1\n(.*\n){6}key [0-9a-f]{64}\nnext_key [0-9a-f]{64}\n$/);
	await until(() => fs.readFileSync(key, 'utf8') !== fs.readFileSync(old, 'utf8'), 'posternd takes it up');
	const count = checkpoints();
	write();
	await until(() => checkpoints() > count, 'and signs by it');
	await sealed();
	assert.ok(!fs.existsSync(path.join(s.dir, 'worker/audit.key.next')));
	fs.writeFileSync(file, s.cli(['audit', 'export']).stdout);
	const lines = fs.readFileSync(file, 'utf8').trimEnd().split('\n');
	for (const known of [key, old]) {
		for (const more of [[], ['--export', file]]) {
			const verdict = verify(...more, '--key', known);
			assert.deepEqual([verdict.intact, verdict.key_changes], [true, 1], JSON.stringify(verdict));
		}
		assert.equal(await check(lines, createPublicKey(fs.readFileSync(known))), 'intact');
	}
	execFileSync('openssl', ['genpkey', '-algorithm', 'ed25519', '-out', `${wrong}.key`]);
	execFileSync('openssl', ['pkey', '-in', `${wrong}.key`, '-pubout', '-out', wrong]);
	assert.equal(verify('--key', wrong).data[0].kind, 'forged');
	assert.equal(verify('--export', file, '--key', wrong).data[0].kind, 'forged');
	assert.match(await check(lines, createPublicKey(fs.readFileSync(wrong))), /no checkpoint/);
	// a trail that was begun when checkpoints did not name their keys: the same, signed anew
	secrets.push(fs.readFileSync(path.join(s.dir, 'worker/audit.key')));
	let digest = '0'.repeat(64), turned = 0;
	const early = lines.map((line) => {
		const it = JSON.parse(line).checkpoint;
		if (!it)
			return line;
		const turns = /next_key/.test(it.text);
		const text = (turned || turns ? it.text : it.text.replace(/key .*\n/, ''))
			.replace(/before .*/, `before ${digest}`);
		const signature = sign(null, Buffer.from(text), createPrivateKey(secrets[turned])).toString('hex');
		turned = turns ? 1 : turned;
		digest = createHash('sha256').update(text).digest('hex');
		return JSON.stringify({ checkpoint: { text, signature } });
	});
	fs.writeFileSync(file, early.join('\n'));
	for (const known of [key, old]) {
		const verdict = verify('--export', file, '--key', known);
		assert.equal(verdict.intact, true, JSON.stringify(verdict));
		assert.equal(await check(early, createPublicKey(fs.readFileSync(known))), 'intact');
	}
	assert.equal(verify('--export', file, '--key', wrong).intact, false);
	assert.notEqual(await check(early, createPublicKey(fs.readFileSync(wrong))), 'intact');
	const spoilt = early.findIndex((l) => /"checkpoint"/.test(l));
	const bent = early.with(spoilt, early[spoilt].replace(/"signature":"..../, '"signature":"0000'));
	fs.writeFileSync(file, bent.join('\n'));
	for (const known of [key, old])
		assert.equal(verify('--export', file, '--key', known).data[0].kind, 'forged');
	assert.match(await check(bent, createPublicKey(fs.readFileSync(key))), /signature/);
	// a rotation that the present key did not sign, by a checkpoint that is otherwise right
	const at = lines.findIndex((l) => /next_key/.test(l)), named = JSON.parse(lines[at]).checkpoint;
	const forged = lines.with(at, JSON.stringify({ checkpoint: { ...named, text: named.text
		.replace(/next_key .{64}/, `next_key ${'ab'.repeat(32)}`) } }));
	fs.writeFileSync(file, forged.join('\n'));
	assert.ok(verify('--export', file, '--key', old).data.some((f) => f.kind === 'forged'));
	assert.match(await check(forged, createPublicKey(fs.readFileSync(old))), /signature of checkpoint/);
});

test('a key that was lost is replaced by an explicit command; the trail then verifies by the new key alone', async () => {
	const old = path.join(s.dir, 'before-loss.pub');
	fs.copyFileSync(key, old);
	assert.match(rootCli('audit', 'rotate-key', '--lost').stderr, /is not lost/);
	await s.endWorker();
	fs.rmSync(path.join(s.dir, 'worker/audit.key'));
	assert.match(rootCli('audit', 'rotate-key').stderr, /--lost/);
	s.startWorker();
	const faults = () => one("SELECT count(*)::int AS n FROM postern.sealers WHERE fault ~ 'rotate-key --lost'").n;
	await until(() => faults() > 0, 'the fault names the command');
	assert.ok(!fs.existsSync(path.join(s.dir, 'worker/audit.key')), 'none is made silently');
	assert.equal(rootCli('audit', 'rotate-key', '--lost').status, 0);
	await until(() => fs.existsSync(path.join(s.dir, 'worker/audit.key')), 'posternd takes it up');
	const count = checkpoints();
	write();
	await until(() => checkpoints() > count, 'and signs by it');
	await sealed();
	assert.equal(verify().intact, true, JSON.stringify(verify()));
	const verdict = verify('--key', old);
	assert.deepEqual([verdict.intact, verdict.data[0].kind], [false, 'forged']);
	assert.match(verdict.data[0].finding, /replaces a key without its signature/);
	const lines = s.cli(['audit', 'export']).stdout.trimEnd().split('\n');
	assert.equal(await check(lines, createPublicKey(fs.readFileSync(key))), 'intact');
	assert.match(await check(lines, createPublicKey(fs.readFileSync(old))), /no checkpoint is vouched for/);
});

test('a session of an endpoint that is stuck is ended, whatever its login is called; others are not', async () => {
	s.psql(`CREATE ROLE web2_domains LOGIN IN ROLE postern_domains; CREATE ROLE stranger LOGIN;
		GRANT CONNECT ON DATABASE postern TO stranger`);
	const open = (role) => {
		const [file, ...args] = [...as, 'psql', '-X', '-q', '-h', path.join(s.dir, 'pg/socket'), '-U', role, '-d', 'postern', '-v', 'ON_ERROR_STOP=1'];
		const psql = spawn(file, args, { stdio: ['pipe', 'ignore', 'pipe'], cwd: '/' });
		let said = '';
		psql.stderr.on('data', (d) => { said += d; });
		psql.stdin.write('SET idle_in_transaction_session_timeout = 0; BEGIN; SELECT 1;\n');
		return { role, said: () => said, end: () => psql.stdin.end(), ended: new Promise((resolve) => { psql.on('close', resolve); }) };
	};
	const all = ['postern_domains', 'web2_domains', 'stranger'].map(open);
	const sessions = () => s.sql(`SELECT usename FROM pg_stat_activity WHERE state = 'idle in transaction'
		AND usename IN ('postern_domains', 'web2_domains', 'stranger') ORDER BY usename`).map((r) => r.usename);
	await until(() => sessions().length === 3, 'all are open');
	assert.equal(s.psql('SELECT work.end_stuck()'), '0', 'not before a minute');
	// the function itself with a shorter time: nobody waits a minute here
	const text = one("SELECT pg_get_functiondef('work.end_stuck'::regproc) AS text").text;
	assert.match(text, /interval '60 s'/);
	s.psql(text.replace("interval '60 s'", "interval '0 s'"));
	try {
		s.psql('BEGIN; SET ROLE postern_operator; SELECT work.end_stuck(); COMMIT');
		await until(() => sessions().join() === 'stranger', 'the endpoints\' sessions are ended');
	} finally {
		s.psql(text);
		for (const session of all)
			session.end();
	}
	await Promise.all(all.map((session) => session.ended));
});

test('after a dump was restored into another cluster rows are sealed, events numbered and requests counted; the trail verifies', { timeout: 120000 }, async () => {
	const data = path.join(s.dir, 'pg/data'), socket = path.join(s.dir, 'pg/socket'), dump = path.join(s.dir, 'pg/postern.dump');
	// numbers that the new cluster will not have used for long
	s.psql('DO $$ BEGIN FOR i IN 1..30000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$');
	write();
	await sealed();
	const requests = () => one('SELECT sum(count)::int AS n FROM postern.request_counts').n;
	const [was] = s.sql(`SELECT max(xid::text::bigint) AS xid, (SELECT max(seq) FROM postern.events) AS seq,
		count(*)::int AS rows FROM postern.audit`);
	await s.endWorker();
	write(); // with an event and rows that are neither numbered nor sealed in the old one
	server('pg_dump', '-h', socket, '-Fc', '-f', dump, 'postern');
	const roles = server('pg_dumpall', '-h', socket, '-g');
	const [old] = s.sql('SELECT system_identifier::text AS id FROM pg_control_system()');
	await s.pgctl('stop', '-m', 'fast');
	fs.renameSync(data, `${data}.old`);
	server(`${bin}/initdb`, '-D', data, '-U', as.length ? 'postgres' : userInfo().username, '-A', 'trust', '-E', 'UTF8',
		'--locale=C.UTF-8', '--no-instructions');
	for (const file of ['postern.conf', 'pg_hba.conf', 'postgresql.conf'])
		server('cp', path.join(`${data}.old`, file), path.join(data, file));
	await s.pgctl('start');
	const [file, ...rest] = [...as, 'psql', '-X', '-q', '-h', socket, '-d', 'postgres', '-f', '-'];
	execFileSync(file, rest, { input: roles, cwd: '/', stdio: ['pipe', 'ignore', 'ignore'] });
	server('pg_restore', '-h', socket, '-C', '-d', 'postgres', '--exit-on-error', dump);
	assert.notEqual(one('SELECT system_identifier::text AS id FROM pg_control_system()').id, old.id);
	assert.ok(one('SELECT pg_current_xact_id()::text::bigint AS n').n < was.xid, 'the new cluster\'s numbers are lower');
	s.cliJson(['account', 'list']); // whoever connects first begins the epoch
	assert.deepEqual(s.sql('SELECT epoch FROM postern.cluster ORDER BY epoch').map((r) => r.epoch), [0, 1]);
	assert.equal(one(`SELECT count(*)::int AS n FROM postern.audit
		WHERE resource = 'audit' AND verb = 'restored' AND object_id = '1'`).n, 1);
	s.startWorker();
	const asked = requests();
	const made = write();
	assert.equal((await until(async () => {
		const answer = await s.ask(`/api/domains/${made.id}`);
		return answer.status === 200 && answer;
	}, 'endpoints serve')).json.domain, made.domain);
	await until(() => one('SELECT count(*)::int AS n FROM postern.events WHERE seq IS NULL').n === 0, 'all events are numbered');
	assert.ok(one(`SELECT seq FROM postern.events WHERE type = 'domain.created' AND object_id = '${made.id}'`).seq > was.seq);
	await sealed();
	const verdict = verify();
	assert.deepEqual([verdict.intact, verdict.not_sealed], [true, 0], JSON.stringify(verdict));
	assert.ok(verdict.rows > was.rows);
	await until(() => requests() > asked, 'requests are counted');
	// what is added to the trail's past by its superuser is found still
	s.psql(`INSERT INTO postern.audit SELECT (jsonb_populate_record(a,
		jsonb_build_object('id', 900000, 'xid', '${was.xid - 1}'))).* FROM postern.audit a LIMIT 1`);
	assert.deepEqual(verify().data.map((f) => [f.kind, f.id]), [['added', 900000]]);
	s.psql('DELETE FROM postern.audit WHERE id = 900000');
	const lines = s.cli(['audit', 'export']).stdout.trimEnd().split('\n');
	assert.equal(await check(lines, createPublicKey(fs.readFileSync(key))), 'intact');
});
