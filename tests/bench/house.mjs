// What is measured, started privately: the product by scripts/stack (PostgreSQL, binaries, nginx, Apache) with accounts,
// domains and tokens; beside it, in the same nginx, the floor and PHP-FPM; and Node on a port of its own. All of it lies
// below one folder, and stop() ends all of it.
import { spawn, spawnSync } from 'node:child_process';
import { createHmac, randomInt, randomUUID } from 'node:crypto';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { build, root, startStack, until } from '../api/harness.mjs';
import { checksum, spread } from '../api/credentials.mjs';

export const here = path.join(root, 'tests/bench');
export const programs = path.resolve(root, build, 'bench/bin'); // floor, openloop
const asRoot = process.getuid() === 0;
// QUICK=1 looks whether all of it works, and a twentieth is enough for that.
export const quick = process.env.QUICK === '1';
export const ACCOUNTS = quick ? 50 : 1000;
const TOKENS = ACCOUNTS * 10;
// What PostgreSQL's manual advises for a small server. The preset of 128 MB would hold the tables of 100,000 domains, not those
// of a million, and so measure a setting.
export const SHARED_BUFFERS = '1GB';
const IDLE_S = 5; // binaries close their connections after: short, so that it can be awaited
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
// Children run as the stack's servers do, and end with this program whatever ends it.
const asServer = ['setpriv', '--pdeathsig', 'TERM', ...(asRoot ? ['--reuid=postgres', '--regid=postgres', '--init-groups'] : []), '--'];

const base62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const letters = (n) => Array.from({ length: n }, () => base62[randomInt(62)]).join('');

const freePort = () => new Promise((resolve, reject) => {
	const server = net.createServer().on('error', reject).listen(0, '127.0.0.1', () => {
		const { port } = server.address();
		server.close(() => resolve(port));
	});
});

// A process and those it forked.
export function family(pid) {
	const below = spawnSync('ps', ['--ppid', String(pid), '-o', 'pid='], { encoding: 'utf8' }).stdout.split('\n').map(Number).filter(Boolean);
	return [pid, ...below];
}

export class House {
	#children = [];

	// `domains`: of each account. `apache`: the product behind Apache too, on the same binaries.
	static async open(folder, { domains, apache = false }) {
		const h = new House();
		const name = path.relative(path.join(root, build, 'test'), path.resolve(root, folder));
		h.stack = await startStack(name, { WEB: apache ? 'apache' : 'nginx', POSTERN_DB_IDLE_S: String(IDLE_S), DOMAIN_PROOF: 'off' });
		try {
			h.dir = path.join(h.stack.dir, 'bench');
			fs.mkdirSync(h.dir);
			if (apache)
				await h.#besideApache();
			h.url = fs.readFileSync(path.join(h.stack.dir, 'env'), 'utf8').match(/POSTERN_URL=(.*)/)[1];
			h.stack.psql(`ALTER SYSTEM SET shared_buffers = '${SHARED_BUFFERS}'`);
			await h.stack.pgctl('restart', '-m', 'fast');
			h.#fill(domains);
			h.#mintAll();
			await h.nginx('');
			await h.#walk();
		} catch (e) {
			h.stop();
			throw e;
		}
		return h;
	}

	stop() {
		for (const child of this.#children)
			child.kill('SIGTERM');
		this.stack.stop();
	}

	// The stack has just written Apache's configuration and run it; start it again with nginx, and Apache on another port.
	async #besideApache() {
		const again = spawnSync(path.join(root, 'scripts/stack'), ['start'], { env: { ...this.stack.env, WEB: 'nginx' }, encoding: 'utf8' });
		if (again.status !== 0)
			throw new Error(`the stack did not start again:\n${again.stderr}`);
		const conf = path.join(this.stack.dir, 'apache/apache.conf'), port = await freePort();
		const text = fs.readFileSync(conf, 'utf8').replaceAll(/127\.0\.0\.1:\d+/g, `127.0.0.1:${port}`).replaceAll(/^\s*CustomLog.*$/gm, '');
		fs.writeFileSync(conf, text);
		const apache = spawnSync('apache2', ['-f', conf], { env, encoding: 'utf8' });
		if (apache.status !== 0)
			throw new Error(`Apache did not start: ${apache.stderr}`);
		await until(() => fs.existsSync(path.join(this.stack.dir, 'apache/apache.pid')), 'Apache runs'); // `scripts/stack stop` ends it
		this.apacheUrl = `http://127.0.0.1:${port}`;
	}

	// Accounts b1, b2 …, each with a user and its domains; rows lie as they do when all accounts grow side by side.
	#fill(domains) {
		this.domains = domains;
		const mine = "(SELECT * FROM postern.accounts WHERE username ~ '^b[0-9]+$')";
		this.stack.psql(`BEGIN;
			INSERT INTO postern.accounts (name, username, home) SELECT 'Bench ' || g, 'b' || g, '/home/b' || g FROM generate_series(1, ${ACCOUNTS}) g;
			INSERT INTO postern.users (account_id, username, role) SELECT id, username || '-user', 'customer' FROM ${mine} a;
			INSERT INTO postern.users (account_id, username, role, status) SELECT id, 'suspended', 'customer', 'suspended' FROM ${mine} a WHERE username = 'b1';
			INSERT INTO postern.domains (account_id, domain, type, document_root, proof, proven_at)
				SELECT a.id, 'site' || g || '.' || a.username || '.example', CASE g WHEN 1 THEN 'primary' ELSE 'addon' END, a.home || '/site' || g, 'administrator', now()
				FROM generate_series(1, ${domains}) g CROSS JOIN ${mine} a ORDER BY g, a.id;
			INSERT INTO postern.domain_names SELECT domain, account_id FROM postern.domains ON CONFLICT DO NOTHING;
			CREATE ROLE bench LOGIN BYPASSRLS IN ROLE pg_read_all_data, pg_write_all_data; -- the peers': spared the wall
			GRANT CONNECT ON DATABASE postern TO bench;
			GRANT USAGE ON SCHEMA domains, gate TO bench;
			GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA domains, gate, postern TO bench; -- the view's, and those of defaults
			ALTER ROLE bench SET timezone = 'UTC';
			COMMIT;`);
		// what a row shows, by the peers as well: as many fields as there are
		this.fields = this.stack.sql(`SELECT string_agg(attname, ', ' ORDER BY attnum) AS list FROM pg_attribute
			WHERE attrelid = 'domains.item'::regclass AND attnum > 0 AND attname NOT IN ('version', 'tenant', 'shown')`)[0].list;
		this.accounts = this.stack.sql(`SELECT a.id, u.id AS user_id, array_agg(d.id ORDER BY d.id) AS ids FROM ${mine} a
			JOIN postern.users u ON u.username = a.username || '-user' JOIN postern.domains d ON d.account_id = a.id GROUP BY 1, 2 ORDER BY 1`);
	}

	// Ten tokens an account, the first 1,000 one of each; and those that must be refused.
	#mintAll() {
		const scopes = '{domains:read,domains:write,accounts:read,users:read,tokens:read,profile:read}';
		const token = (account, more = {}) => ({ account: this.accounts[account], user: this.accounts[account].user_id, scopes, limit: 10000000, state: 'good', ips: '{}', ...more });
		this.tokens = Array.from({ length: TOKENS }, (_, i) => token(i % ACCOUNTS));
		const [suspended] = this.stack.sql("SELECT id FROM postern.users WHERE username = 'suspended'");
		this.bad = {
			revoked: token(0, { state: 'revoked' }), expired: token(0, { state: 'expired' }), owner: token(0, { user: suspended.id }),
			scope: token(0, { scopes: '{profile:read}' }), address: token(0, { ips: '{10.0.0.0/8}' }), limit: token(0, { limit: 60 }),
		};
		this.few = Array.from({ length: 12 }, () => token(1, { limit: 10 })); // for the checks: each is used up once
		const [, pepperId, pepper] = fs.readFileSync(path.join(this.stack.dir, 'keys/pepper'), 'utf8').match(/^([0-9a-z]+):([0-9a-f]{64})$/m);
		this.pepper = pepper;
		const lines = [...this.tokens, ...Object.values(this.bad), ...this.few].map((t, i) => {
			const key = base62[i % 62] + letters(7), secret = letters(32), head = `pst_${key}_${secret}`;
			t.text = head + checksum(head);
			t.id = randomUUID();
			const digest = createHmac('sha256', Buffer.from(pepper, 'hex')).update(key + secret).digest('hex');
			return [t.account.id, t.id, t.user, `bench-${i}`, t.scopes, t.ips, t.limit, t.state, key, `\\\\x${digest}`].join('\t');
		});
		this.stack.psql(`BEGIN;
			CREATE TEMPORARY TABLE t (account_id bigint, id uuid, user_id bigint, name text, scopes text[], ips cidr[], rate int, state text, key text, digest bytea);
			COPY t FROM STDIN;\n${lines.join('\n')}\n\\.
			INSERT INTO postern.tokens (account_id, id, user_id, name, scopes, allowed_ips, rate_limit, created_at, expires_at, revoked_at)
				SELECT account_id, id, user_id, name, scopes, ips, rate, now() - interval '1 day',
				CASE state WHEN 'expired' THEN now() - interval '1 hour' ELSE now() + interval '1 year' END, CASE state WHEN 'revoked' THEN now() END FROM t;
			INSERT INTO postern.keys (key_id, token_id, account_id, digest, pepper_id) SELECT key, id, account_id, digest, '${pepperId}' FROM t;
			INSERT INTO postern.rates (token_id, account_id) SELECT id, account_id FROM t;
			COMMIT;`);
		this.stack.psql('VACUUM (ANALYZE)');
		this.stack.psql('CHECKPOINT');
	}

	// Four cursors of each account, spread over its pages and other ones for each account; from the product: they are signed.
	async #walk() {
		const pages = this.domains / 20 - 1; // the last has no next
		await spread(this.accounts.map((account, i) => async () => {
			account.cursors = [];
			for (let at = 0; at < 4; at++) {
				const page = 1 + (i + at * Math.floor(pages / 4)) % pages;
				const { status, json, text } = await this.stack.ask(`/api/v1/domains?page=${page}`, { token: this.tokens[i].text });
				if (status !== 200)
					throw new Error(`the product does not list domains: ${status} ${text}`);
				account.cursors.push(json.data.next_cursor);
			}
		}), 16);
	}

	// Further locations in the stack's nginx; no access log for any candidate, and connections that last.
	async nginx(locations) {
		const master = Number(fs.readFileSync(path.join(this.stack.dir, 'nginx/nginx.pid'), 'utf8')), old = family(master).slice(1);
		const conf = path.join(this.stack.dir, 'nginx/nginx.conf'), mine = path.join(this.dir, 'nginx.conf');
		fs.writeFileSync(mine, `access_log off;\nkeepalive_requests 1000000000;\n${locations}\n`);
		const text = fs.readFileSync(conf, 'utf8');
		if (!text.includes(mine))
			fs.writeFileSync(conf, text.replace(/^(\s*listen .*)$/m, `$1\n\t\tinclude "${mine}";`).replace(/^\s*access_log .*$/m, ''));
		const done = spawnSync('nginx', ['-p', path.join(this.stack.dir, 'nginx'), '-c', conf, '-e', path.join(this.stack.dir, 'log/nginx-error.log'), '-s', 'reload'], { env, encoding: 'utf8' });
		if (done.status !== 0)
			throw new Error(`nginx did not take the configuration: ${done.stderr}`);
		await until(() => !old.some((pid) => fs.existsSync(`/proc/${pid}`)), 'nginx has new workers, and connections to the old ones are closed');
		await until(() => fetch(`${this.url}/api/v1/health`).then((r) => r.ok, () => false), 'nginx answers');
	}

	#start(name, words, environment = {}) {
		const log = fs.openSync(path.join(this.dir, `${name}.log`), 'a'), { uid, gid } = fs.statSync(path.join(this.stack.dir, 'pg'));
		fs.fchownSync(log, uid, gid); // PHP opens it once more
		const child = spawn('setpriv', [...asServer.slice(1), ...words], { env: { ...env, ...environment }, stdio: ['ignore', log, log], cwd: this.dir });
		fs.closeSync(log);
		child.on('exit', (code, signal) => { child.ended = code ?? signal; });
		this.#children.push(child);
		return child;
	}
	async #await(child, name, what) {
		await until(async () => {
			if (child.ended !== undefined)
				throw new Error(`${name} did not start:\n${fs.readFileSync(path.join(this.dir, `${name}.log`), 'utf8')}`);
			return what();
		}, `${name} listens`);
	}

	// Those that Postern is compared with. `bytes`: the size of the floor's answer.
	async startPeers({ bytes, node }) {
		const socket = (name) => path.join(this.stack.dir, 'fcgi', `bench-${name}.sock`); // a folder that nginx may enter
		fs.copyFileSync(path.join(programs, 'floor'), path.join(this.dir, 'floor'));
		fs.copyFileSync(path.join(here, 'peer.php'), path.join(this.dir, 'peer.php'));
		fs.writeFileSync(path.join(this.dir, 'php-fpm.conf'), `[global]
error_log = ${this.dir}/php.log
daemonize = no
[bench]
listen = ${socket('php')}
listen.mode = 0660
pm = static
pm.max_children = 8
env[BENCH_PDO] = "pgsql:host=${this.stack.dir}/pg/socket;dbname=postern;user=bench"
env[BENCH_PEPPER] = ${this.pepper}
env[BENCH_FIELDS] = "${this.fields}"
`);
		fs.chmodSync(path.join(this.dir, 'floor'), 0o755);
		fs.chmodSync(this.dir, 0o755);
		this.floor = this.#start('floor', [path.join(this.dir, 'floor'), socket('floor'), String(bytes)]);
		const load = ['zend_extension=opcache', 'extension=pdo', 'extension=pdo_pgsql', 'opcache.enable=1', 'opcache.validate_timestamps=0'].flatMap((d) => ['-d', d]);
		this.php = this.#start('php', ['php-fpm8.2', '-n', ...load, '-F', '-y', path.join(this.dir, 'php-fpm.conf')]);
		await this.#await(this.floor, 'floor', () => fs.existsSync(socket('floor')));
		await this.#await(this.php, 'php', () => fs.existsSync(socket('php')));
		if (node) {
			for (const name of ['peer.mjs', 'package.json', 'node_modules'])
				fs.cpSync(path.join(here, name), path.join(this.dir, name), { recursive: true });
			const port = await freePort();
			this.nodeUrl = `http://127.0.0.1:${port}`;
			this.node = this.#start('node', [process.execPath, path.join(this.dir, 'peer.mjs')],
				{ BENCH_PORT: String(port), BENCH_SOCKET: path.join(this.stack.dir, 'pg/socket'), BENCH_PEPPER: this.pepper, BENCH_FIELDS: this.fields });
			await this.#await(this.node, 'node', () => fetch(this.nodeUrl).then(() => true, () => false));
		}
		// nginx limits the length of a word in its configuration
		const pieces = Array.from({ length: Math.ceil(bytes / 2000) }, (_, i) => 'x'.repeat(Math.min(2000, bytes - i * 2000)));
		const pass = (name) => `include "${root}/nginx/postern-fastcgi.conf";\nfastcgi_pass unix:${socket(name)};`;
		await this.nginx(`${pieces.map((piece, i) => `set $bench_${i} "${piece}";`).join('\n')}
location = /bench/nginx { default_type application/json; return 200 "${pieces.map((_, i) => `$bench_${i}`).join('')}"; }
location = /bench/floor { ${pass('floor')} }
location /bench/php/ { ${pass('php')} fastcgi_param SCRIPT_FILENAME ${this.dir}/peer.php; }
location /bench/php-plain/ { ${pass('php')} fastcgi_param SCRIPT_FILENAME ${this.dir}/peer.php; fastcgi_param BENCH_PLAIN 1; }`);
	}

	// What creates left: the tables are as before.
	dropCreated() {
		this.stack.psql(`DELETE FROM postern.domain_names WHERE domain LIKE '%.bench.example';
			DELETE FROM postern.domains WHERE domain LIKE '%.bench.example'; TRUNCATE postern.events;`);
		this.stack.psql('VACUUM postern.domains, postern.domain_names');
	}

	binaries() {
		return fs.readdirSync(path.join(this.stack.dir, 'pid')).map((file) => file.replace(/\.pid$/, ''));
	}
}
