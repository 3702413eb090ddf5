// Cron: what the API says of a schedule is what cron makes of it; commands run as they were written, as the account's Unix user; of
// what a run leaves behind nothing is believed but for that account's own cron jobs.
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { answered, build, needsRoot, root, soak, startStack, until } from '../api/harness.mjs';

let s;
const asRoot = process.getuid() === 0;
const settle = { Prefer: 'wait=30' };
const zone = 'America/New_York';

before(async () => {
	s = await startStack('cron', { WORKER: 'yes', TZ: zone });
});
after(() => s?.stop());

async function tenant() {
	const t = s.tenant();
	t.token = s.mint({ owner: t.user.username, scopes: ['*'], action_limit: 1000 }).token;
	t.tab = path.join(s.dir, 'cron/tabs', t.username);
	t.results = path.join(s.dir, 'cron/results', t.username);
	return t;
}
async function ask(status, method, target, body, token) {
	const answer = await s.ask(target, { method, body, token, headers: settle });
	assert.equal(answer.status, answered(status, answer), `${method} ${target} ${JSON.stringify(body)}: ${answer.text}`);
	return answer.json;
}
const make = (t, fields) => ask(201, 'POST', '/api/cron', { schedule: '@daily', command: 'true', ...fields }, t.token);
const lines = (t) => fs.readFileSync(t.tab, 'utf8').split('\n').filter((line) => /^[0-9*]/.test(line));
const runner = asRoot ? ['setpriv', '--reuid=nobody', '--regid=nogroup', '--clear-groups', '--'] : [];
// What cron does with a line: of a backslash and a percent sign only the latter is passed on, of two backslashes one.
function runLine(line) {
	const command = line.split(' ').slice(5).join(' ').replace(/\\([%\\])/g, '$1');
	const [file, ...args] = [...runner, '/bin/sh', '-c', command];
	return spawnSync(file, args, { encoding: 'utf8', env: { PATH: '/usr/bin:/bin' }, cwd: '/' });
}

/*
 * ---- next_runs, against a clock that is let run ----
 * Minute by minute as cron goes by it: its virtual time follows the clock on the wall; where that jumps ahead, jobs with a * in
 * minute or hour go by the new time, and for the others the minutes that were left out are gone through at once; where it jumps back,
 * the former go on and the latter wait until it has caught up.
 */
const wall = new Map();
function offset(at, place) { // minutes, of a time in minutes
	const key = `${place} ${Math.floor(at / 15)}`;
	if (!wall.has(key)) {
		const f = Object.fromEntries(new Intl.DateTimeFormat('en-US', { timeZone: place, hourCycle: 'h23', year: 'numeric', month: 'numeric', day: 'numeric', hour: 'numeric', minute: 'numeric' })
			.formatToParts(new Date(at * 60000)).map((p) => [p.type, Number(p.value)]));
		wall.set(key, Date.UTC(f.year, f.month - 1, f.day, f.hour, f.minute) / 60000 - at);
	}
	return wall.get(key);
}
function numbers(part, low, high) {
	const found = new Set();
	for (const item of part.split(',')) {
		const [range, step] = item.split('/');
		const [from, to] = range === '*' ? [low, high] : range.includes('-') ? range.split('-').map(Number) : [Number(range), Number(range)];
		for (let n = from; n <= to; n += Number(step ?? 1))
			found.add(n);
	}
	return found;
}
function simulate(schedule, place, begin, minutes) {
	const parts = schedule.split(' ');
	const [mi, ho, da, mo, we] = [[0, 59], [0, 23], [1, 31], [1, 12], [0, 7]].map(([low, high], i) => numbers(parts[i], low, high));
	const wild = parts[0].startsWith('*') || parts[1].startsWith('*'), anyDay = parts[2].startsWith('*') || parts[4].startsWith('*');
	const due = (local) => {
		if (!mi.has(local % 60)) // most of the time
			return false;
		const d = new Date(local * 60000);
		const day = da.has(d.getUTCDate()), weekday = we.has(d.getUTCDay()) || (d.getUTCDay() === 0 && we.has(7));
		return ho.has(d.getUTCHours()) && mo.has(d.getUTCMonth() + 1) && (anyDay ? day && weekday : day || weekday);
	};
	const runs = new Set();
	let virtual = begin - 1500 + offset(begin - 1500, place) - 1;
	for (let at = begin - 1500; at < begin + minutes; at++) {
		const now = at + offset(at, place), ahead = now - virtual;
		const run = (yes) => yes && at > begin && runs.add(at);
		if (ahead === 1 || ahead > 180 || ahead <= -180) {
			virtual = now;
			run(due(now));
		} else if (ahead > 0) {
			run(wild && due(now));
			while (virtual < now) {
				virtual++;
				run(!wild && due(virtual));
			}
		} else {
			run(wild && due(now));
		}
	}
	return [...runs].slice(0, 5);
}

test('the next runs are those of a clock that is let run, over changes of the clock of an hour, half of one and two, also at midnight', () => {
	const places = [['UTC', '2024-02-27'], ['Europe/Berlin', '2024-03-30'], ['Europe/Berlin', '2024-10-26'], ['America/New_York', '2025-03-08'], ['America/New_York', '2025-11-01'],
		['Australia/Lord_Howe', '2024-04-06'], ['Australia/Lord_Howe', '2024-10-05'], ['America/Havana', '2021-03-13'], ['America/Havana', '2021-11-06'],
		['Antarctica/Troll', '2024-03-30'], ['Antarctica/Troll', '2024-10-26'], ['Asia/Kathmandu', '2024-12-30']];
	const schedules = ['* * * * *', '*/7 * * * *', '30 2 * * *', '15,45 2 * * *', '0 3 * * *', '0 0 * * *', '30 0 * * *', '30 23 * * *', '30 * * * *', '*/20 2 * * *', '5 1-3 * * *', '0-59/13 0-4/2 * * *', '0 */5 * * *',
		'10 4 1,15 * *', '0 12 13 * 5', '0 12 */2 * 1', '0 12 * * 1-5', '59 23 28-31 * *', '0 0 29 2 *', '20 1 * * 0', '20 1 * * 7', '1 0 1 1 *', '0 2 * 3,10 *', '0 9 31 * 1,3'];
	const random = (n) => { seed = (seed * 1103515245 + 12345) % 2147483648; return Math.floor(seed / 65536) % n; };
	let seed = 7;
	for (let i = 0; i < 30; i++) {
		const one = (low, high) => { const from = low + random(high - low + 1), to = from + random(high - from + 1); return [`${from}`, `${from}-${to}`, `${from}-${to}/${1 + random(5)}`, `*/${1 + random(high)}`, '*', `${low},${from}`][random(6)]; };
		schedules.push(`${one(0, 59)} ${one(0, 23)} ${['*', '*', one(1, 31)][random(3)]} * ${['*', '*', one(0, 7)][random(3)]}`);
	}
	const window = 6 * 1440, cases = places.flatMap(([place, day]) => schedules.map((schedule, i) => ({ place, schedule, begin: Date.parse(`${day}T00:00:00Z`) / 60000 + 97 * i % 2880 })));
	const told = s.sql(`SELECT n, ARRAY(SELECT (date_part('epoch', t) / 60)::bigint FROM unnest(cron.next_runs(cron.plan_of(schedule), to_timestamp(at * 60), place, 5)) t) AS runs
		FROM (VALUES ${cases.map((c, n) => `(${n}, '${c.schedule}', ${c.begin}::bigint, '${c.place}')`).join(',')}) x (n, schedule, at, place) ORDER BY n`);
	let compared = 0;
	for (const [n, { place, schedule, begin }] of cases.entries()) {
		const want = simulate(schedule, place, begin, window), have = told[n].runs.filter((at) => at < begin + window);
		const shown = (list) => list.map((at) => new Date(at * 60000).toISOString().slice(0, 16));
		assert.deepEqual(shown(have), shown(want), `${schedule} in ${place} after ${new Date(begin * 60000).toISOString()}`);
		compared += want.length;
	}
	assert.ok(compared > 2000, `${compared} runs were compared`);
	// far away: every 29 February, and those that are a Sunday
	const far = s.sql(`SELECT cron.next_runs(cron.plan_of(x), '2024-03-01T00:00:00Z', 'UTC', 5) AS runs FROM unnest(ARRAY['0 0 29 2 *', '0 0 29 2 */7', '@yearly']) WITH ORDINALITY y (x, n) ORDER BY n`)
		.map((row) => row.runs.map((at) => new Date(at).toISOString().slice(0, 10)));
	assert.deepEqual(far, [['2028-02-29', '2032-02-29', '2036-02-29', '2040-02-29', '2044-02-29'], ['2032-02-29', '2060-02-29'].filter((d) => new Date(d).getUTCDay() === 0),
		['2025-01-01', '2026-01-01', '2027-01-01', '2028-01-01', '2029-01-01']]);
});

test('a schedule that cannot be is a 422 that names the field, the part and its bounds; one that can be is shown with its next runs', async () => {
	const t = await tenant();
	for (const [schedule, words] of [['61 * * * *', /^minute: "61" .*0 to 59/], ['* 24 * * *', /^hour: "24" .*0 to 23/], ['* * 0 * *', /^day of month: "0" .*1 to 31/], ['* * 32 * *', /^day of month: "32"/],
		['* * * 13 *', /^month: "13" .*1 to 12 or jan to dec/], ['* * * * 8', /^day of week: "8" .*0 to 7/], ['* * * * mon-foo', /^day of week: "mon-foo"/], ['* * * january *', /^month: "january" cannot be read/],
		['5/15 * * * *', /^minute: "5\/15" .*5-59\/15/], ['*/0 * * * *', /^minute: the step of "\*\/0" .*1 to 59/], ['50-10 * * * *', /^minute: "50-10" ends before it begins/], ['1,,2 * * * *', /^minute: ""/],
		['-1 * * * *', /^minute: "-1"/], ['* * * *', /^has 4 parts.*five/], ['* * * * * *', /^has 6 parts/], ['@reboot', /@reboot/], ['@often', /@hourly, @daily, @midnight/], ['0 0 31 2,4 *', /^day of month: never comes/],
		['99999999999 * * * *', /^minute/], ['%s * * * *', /^minute/], ['1;2 * * * *', /^minute/]])
		for (const [method, target] of [['POST', '/api/cron'], ['PATCH', `/api/cron/${(t.one ??= await make(t, {})).id}`]])
			assert.match((await ask(422, method, target, { schedule, ...(method === 'POST' ? { command: 'true' } : {}) }, t.token)).error.fields.schedule, words, schedule);
	const year = (row) => row.next_runs.map((at) => at.slice(0, 4));
	const one = await make(t, { schedule: '  30   4 1 JAN,jul Sun  ' });
	assert.deepEqual([one.schedule, one.time_zone, one.status, one.next_runs.length], ['30 4 1 JAN,jul Sun', zone, 'active', 5]);
	const yearly = await make(t, { schedule: '@annually' });
	assert.deepEqual(year(yearly), [0, 1, 2, 3, 4].map((n) => String(Number(year(yearly)[0]) + n)));
	for (const at of yearly.next_runs)
		assert.match(at, /^\d{4}-01-01T00:00:00-05:00$/);
	assert.match((await make(t, { schedule: '0 12 1 7 *' })).next_runs[0], /T12:00:00-04:00$/, 'summer time has its own offset');
	for (const [schedule, line] of [['@hourly', '0 * * * *'], ['@daily', '0 0 * * *'], ['@midnight', '0 0 * * *'], ['@weekly', '0 0 * * 0'], ['@monthly', '0 0 1 * *'], ['@yearly', '0 0 1 1 *'], ['*/15,7 9-17 * jan-mar fri-sun', '*/15,7 9-17 * 1-3 5-7']]) {
		const made = await make(t, { schedule });
		assert.ok(lines(t).some((text) => text.startsWith(`${line} `) && text.includes(`/${made.id} `)), fs.readFileSync(t.tab, 'utf8'));
	}
	const checked = spawnSync('crontab', ['-n', t.tab], { encoding: 'utf8' }); // Debian's own word on it
	assert.deepEqual([checked.status, /successfully checked/.test(checked.stdout + checked.stderr)], [0, true], checked.stderr);
});

test('a command runs as it is written, whatever means something to cron or the shell; its end is shown', async () => {
	const t = await tenant();
	const words = ['plain', '%', '\\%', '\\\\%', '100%\\', "it's", '\\\'%\'', '$HOME `id` $(id)', '"', '\\\\\\\\', '# ! & ; | > <', 'äöü €', "'%\\%'\\\\%'"];
	const quoted = (word) => `'${word.replaceAll("'", "'\\''")}'`;
	const command = `printf '[%s]' ${words.map(quoted).join(' ')}; echo; echo err >&2; exit 7`;
	const one = await make(t, { command });
	const want = `${words.map((word) => `[${word}]`).join('')}\nerr\n`;
	assert.equal(spawnSync('crontab', ['-n', t.tab]).status, 0);
	const job = await ask(202, 'POST', `/api/cron/${one.id}/run`, undefined, t.token);
	assert.deepEqual([job.kind, job.status, job.result.exit_code], ['cron.execute', 'succeeded', 7], JSON.stringify(job));
	const by_hand = (await ask(200, 'GET', `/api/cron/${one.id}`, undefined, t.token)).last_run;
	assert.deepEqual([by_hand.output, by_hand.exit_code], [want, 7]);
	// and by the line in the crontab, as cron would
	const [line] = lines(t), ran = runLine(line);
	assert.deepEqual([ran.status, ran.stdout, ran.stderr], [7, '', ''], line);
	const by_clock = await until(async () => {
		const { last_run: run } = await ask(200, 'GET', `/api/cron/${one.id}`, undefined, t.token);
		return run.started_at !== by_hand.started_at && run;
	}, 'the result of the line');
	assert.deepEqual([by_clock.output, by_clock.exit_code], [want, 7]);
	assert.deepEqual(fs.readdirSync(t.results), []);
	for (const [bad, words422] of [['a\nb', /control characters/], ['a\u0000b', /./], ['', /./], [' ', /empty/], ['x'.repeat(701), /./], ["'".repeat(200), /too long for cron: 700/]])
		assert.match((await s.ask('/api/cron', { method: 'POST', body: { schedule: '@daily', command: bad }, token: t.token })).json.error.message, words422, bad);
});

test('of a long output the last 64 KiB are kept, as text; what is left in the background keeps nobody waiting', async () => {
	const t = await tenant();
	const one = await make(t, { command: 'head -c 300000 /dev/zero | tr "\\0" "ä"; printf "\\033[1m\\377\\000end"; (sleep 60; echo late) & kill -9 $$' });
	await ask(202, 'POST', `/api/cron/${one.id}/run`, undefined, t.token);
	const { last_run: run } = await ask(200, 'GET', `/api/cron/${one.id}`, undefined, t.token);
	assert.deepEqual([run.exit_code, Buffer.byteLength(run.output) <= 65536, Buffer.byteLength(run.output) > 65000, run.output.slice(-10)], [137, true, true, '?[1m??end'.padStart(10, run.output.at(-10))]);
	assert.ok(run.duration_ms < 60000);
});

test('runs by hand are one at a time for an account; a disabled job runs by hand only', async () => {
	const t = await tenant(), gate = path.join(s.dir, `gate-${t.username}`);
	execFileSync('mkfifo', ['-m', '666', gate]);
	const [one, two] = [await make(t, { command: `cat ${gate}` }), await make(t, {})];
	const begun = await s.ask(`/api/cron/${one.id}/run`, { method: 'POST', token: t.token });
	assert.equal(begun.status, answered(202, begun));
	assert.match((await ask(409, 'POST', `/api/cron/${two.id}/run`, undefined, t.token)).error.message, /being run by hand already/);
	fs.writeFileSync(gate, 'now\n');
	await until(async () => (await ask(200, 'GET', `/api/jobs/${begun.json.id}`)).status === 'succeeded', 'the run');
	const off = await ask(200, 'POST', `/api/cron/${one.id}/disable`, undefined, t.token);
	assert.deepEqual([off.enabled, off.status, off.next_runs, lines(t).length], [false, 'suspended', [], 1]);
	assert.match((await ask(409, 'POST', `/api/cron/${one.id}/disable`, undefined, t.token)).error.message, /disabled already/);
	fs.rmSync(gate);
	fs.writeFileSync(gate, 'later\n', { mode: 0o644 });
	await ask(202, 'POST', `/api/cron/${one.id}/run`, undefined, t.token);
	const on = await ask(200, 'POST', `/api/cron/${one.id}/enable`, undefined, t.token);
	assert.deepEqual([on.enabled, on.status, on.next_runs.length, on.last_run.output, lines(t).length], [true, 'active', 5, 'later\n', 2]);
});

test('a suspended account has no crontab; it comes back with it, and goes with the account', async () => {
	const t = await tenant(), one = await make(t, {}), off = await make(t, { enabled: false });
	const status = async (row) => (await ask(200, 'GET', `/api/cron/${row.id}`)).status;
	assert.deepEqual([await status(one), await status(off), lines(t).length], ['active', 'suspended', 1]);
	await ask(200, 'POST', `/api/accounts/${t.username}/suspend`);
	await until(() => !fs.existsSync(t.tab), 'the crontab goes');
	assert.deepEqual((await ask(200, 'GET', `/api/cron/${one.id}`)).next_runs, []);
	await ask(409, 'POST', `/api/cron/${one.id}/run`);
	await ask(200, 'POST', `/api/accounts/${t.username}/unsuspend`);
	await until(() => fs.existsSync(t.tab), 'it is back');
	await until(async () => (await status(one)) === 'active' && (await status(off)) === 'suspended', 'both are as before');
	const refused = await ask(409, 'DELETE', `/api/accounts/${t.username}`);
	assert.match(refused.error.message, /2 cron jobs/);
	assert.equal((await ask(202, 'DELETE', `/api/accounts/${t.username}?cascade=true&confirm=${t.username}`)).status, 'succeeded');
	assert.deepEqual([fs.existsSync(t.tab), fs.existsSync(t.results)], [false, false]);
	assert.deepEqual(s.sql(`SELECT * FROM postern.cron WHERE account_id = ${t.account.id}`), []);
});

test('a crontab that Postern did not write stays as it is', async () => {
	const t = await tenant();
	fs.writeFileSync(t.tab, '0 0 * * * mine\n');
	const one = await make(t, {});
	assert.equal(one.status, 'error');
	assert.match(one.last_error, /was not written by Postern and stays as it is; .*crontab -r -u/);
	assert.equal(fs.readFileSync(t.tab, 'utf8'), '0 0 * * * mine\n');
	fs.rmSync(t.tab);
	await ask(200, 'POST', `/api/jobs/${one.job_id}/retry`, undefined, t.token);
	await until(async () => (await ask(200, 'GET', `/api/cron/${one.id}`)).status === 'active', 'the retry');
	const two = await make(t, {});
	fs.rmSync(t.tab);
	fs.symlinkSync('/etc/hostname', t.tab); // nor is a link followed
	const linked = await ask(200, 'PATCH', `/api/cron/${two.id}`, { name: 'x' }, t.token);
	assert.deepEqual([linked.status, fs.readlinkSync(t.tab)], ['error', '/etc/hostname']);
	fs.rmSync(t.tab);
	assert.equal((await ask(202, 'DELETE', `/api/cron/${two.id}`, undefined, t.token)).status, 'succeeded');
	assert.equal(lines(t).length, 1);
	assert.equal((await ask(202, 'DELETE', `/api/cron/${one.id}`, undefined, t.token)).status, 'succeeded');
	assert.equal(fs.existsSync(t.tab), false);
});

test('what a user leaves in the place of a result is not believed beyond the account\'s own jobs, and leads nowhere', async () => {
	const t = await tenant(), other = await tenant();
	const [one, link, pipe, long, odd, future] = await Promise.all(Array.from({ length: 6 }, () => make(t, {})));
	const theirs = await make(other, {});
	const now = Date.now() * 1000, good = `postern-cron 1 ${now - 5000000} ${now} 0\nforged`;
	const secret = path.join(s.dir, 'secret');
	fs.writeFileSync(secret, `postern-cron 1 ${now} ${now} 0\nsecret`, { mode: 0o600 });
	const file = (row) => path.join(t.results, String(row.id));
	const put = (where, bytes) => { const [f, ...args] = [...runner, 'tee', where]; assert.equal(spawnSync(f, args, { input: bytes }).status, 0); };
	const as = (...words) => { const [f, ...args] = [...runner, ...words]; assert.equal(spawnSync(f, args).status, 0, words.join(' ')); };
	as('ln', '-s', secret, file(link));
	as('mkfifo', file(pipe));
	put(file(long), good.padEnd(70000, 'x'));
	put(file(odd), `postern-cron 1 ${now} ${now} 999\nx`);
	put(file(future), `postern-cron 1 9999999999999999 9999999999999999 0\nx`);
	put(path.join(t.results, String(theirs.id)), good); // the number of another account's
	put(path.join(t.results, '999999999999999999'), good);
	as('mkdir', path.join(t.results, '7'));
	if (asRoot)
		fs.linkSync(secret, path.join(t.results, String((await make(t, {})).id))); // root's file
	put(file(one), good);
	await until(async () => (await ask(200, 'GET', `/api/cron/${one.id}`)).last_run, 'the good one');
	await until(() => fs.readdirSync(t.results).sort().join() === ['7', String(link.id), String(pipe.id)].sort().join(), 'the other files are gone');
	const rows = (await ask(200, 'GET', '/api/cron?per_page=100', undefined, t.token)).data;
	assert.deepEqual(rows.filter((row) => row.last_run).map((row) => [row.id, row.last_run.output, row.last_run.duration_ms]), [[one.id, 'forged', 5000]]);
	assert.equal((await ask(200, 'GET', `/api/cron/${theirs.id}`)).last_run, null);
	assert.ok(fs.existsSync(secret));
});

test('next_runs are counted on when their time has come', async () => {
	const t = await tenant(), one = await make(t, {});
	s.psql(`UPDATE postern.cron SET runs = ARRAY[now() - interval '1 min', now() + interval '1 min'] WHERE id = ${one.id}`);
	const shown = await until(async () => { const row = await ask(200, 'GET', `/api/cron/${one.id}`); return row.next_runs.length === 5 && row; }, 'the next five');
	assert.deepEqual(shown.next_runs, one.next_runs);
});

// ---- as real Unix users: in a mount namespace with an /etc of its own ----

const folder = path.join(root, build, 'test/cron-users');
function inside(script, ...args) {
	fs.mkdirSync(folder, { recursive: true });
	const done = spawnSync(path.join(root, 'scripts/own-mounts'), ['bash', '-euc', `d=${folder}; mkdir -p $d/upper $d/work $d/tabs $d/results $d/home
		mount -t tmpfs tmpfs $d/work; mkdir $d/work/{u,w}; mount -t overlay overlay -o lowerdir=/etc,upperdir=$d/work/u,workdir=$d/work/w /etc
		getent group crontab >/dev/null || groupadd --system crontab
		chown root:crontab $d/tabs; chmod 1730 $d/tabs
		printf '%s\\n' 'unix_users = create' "home_dir = $d/home" "cron_dir = $d/tabs" "cron_results_dir = $d/results" >$d/conf; export POSTERN_CONFIG=$d/conf
		act() { printf '{"job":"x","kind":"%s","attempt":1,"data":{"username":"%s","home":"%s",%s}}' "$1" "$2" "$d/home/$2" "$3" | ${path.join(root, build)}/actions/$1; }
		${script}`, 'bash', ...args], { encoding: 'utf8', cwd: root });
	assert.equal(done.status, 0, done.stdout + done.stderr);
	return done.stdout;
}

test('the crontab belongs to the user, by whom alone it may be read; commands run as that user', { skip: needsRoot }, () => {
	fs.rmSync(folder, { recursive: true, force: true });
	const out = inside(`act account.create unix-c1 '"uid":29201'
		act cron.apply unix-c1 '"entries":[{"id":12,"schedule":"* * * * *","command":"id -un"}]'
		stat -c '%U %G %a' $d/tabs/unix-c1; stat -c '%U %a' $d/results/unix-c1
		crontab -n $d/tabs/unix-c1 2>&1
		act cron.execute unix-c1 '"id":12,"command":"id -un; id -Gn; pwd; echo $HOME $LOGNAME $SHELL"'
		act cron.execute root '"id":12,"command":"id"' || echo refused
		act cron.apply root '"entries":[{"id":12,"schedule":"* * * * *","command":"id"}]' || echo refused
		for bad in '"id":0,"schedule":"* * * * *","command":"a"' '"id":1,"schedule":"* * * *","command":"a"' '"id":1,"schedule":"* * * * *;","command":"a"' '"id":1,"schedule":"* * * * *","command":"a\\nb"'; do
			act cron.apply unix-c1 "\\"entries\\":[{$bad}]" || echo refused; done
		act cron.apply unix-c1 '"entries":[]'; ls $d/tabs $d/results`).split('\n');
	assert.deepEqual(out.slice(0, 2), ['unix-c1 crontab 600', 'unix-c1 700']);
	assert.match(out[2], /successfully checked/);
	const home = path.join(folder, 'home/unix-c1');
	assert.deepEqual(JSON.parse(out[3]).result.output.split('\n'), ['unix-c1', 'unix-c1', home, `${home} unix-c1 /bin/sh`, '']);
	assert.deepEqual(out.filter((line) => line === 'refused').length, 6, out.join('\n'));
	assert.match(out.join('\n'), /belongs to the system/);
	assert.equal(out.filter((line) => line === 'unix-c1').length, 0);
});

test('Debian\'s cron takes the file and runs its line', { skip: needsRoot || (soak ? false : 'not run: waits for a full minute; SOAK=1') }, () => {
	fs.rmSync(folder, { recursive: true, force: true });
	const out = inside(`mount --bind $d/tabs /var/spool/cron/crontabs
		act account.create unix-c2 '"uid":29201'
		act cron.apply unix-c2 "$1"
		cron -f & pid=$!
		for ((i = 0; i < 1400; i++)); do [ ! -s $d/results/unix-c2/12 ] || break; sleep 0.05; done
		kill $pid; cat $d/results/unix-c2/12`, `"entries":${JSON.stringify([{ id: 12, schedule: '* * * * *', command: "printf '[%s]' '\\\\%' 100%; id -un; exit 4" }])}`);
	assert.match(out, /^postern-cron 1 \d+ \d+ 4\n\[\\\\%\]\[100%\]unix-c2\n$/);
});
