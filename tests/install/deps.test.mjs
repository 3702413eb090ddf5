// scripts/deps beside another apt: with folders of its own, so that nothing of this machine is touched.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';

import { root } from '../api/harness.mjs';

test('where another apt is at work, installing waits for it, says so, and goes on', async () => {
	const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'postern-apt-'));
	for (const name of ['state/lists/partial', 'cache/archives/partial', 'etc'])
		fs.mkdirSync(path.join(dir, name), { recursive: true });
	let held;
	const mirror = http.createServer((request, response) => { held ??= response; }).listen(0, '127.0.0.1');
	await once(mirror, 'listening');
	fs.writeFileSync(path.join(dir, 'slow.list'), `deb [trusted=yes] http://127.0.0.1:${mirror.address().port}/ ./\n`);
	fs.writeFileSync(path.join(dir, 'none.list'), '');
	const apt = (list, words) => {
		const config = path.join(dir, `${list}.conf`);
		fs.writeFileSync(config, `Dir::State "${dir}/state"; Dir::Cache "${dir}/cache"; Dir::Etc::sourcelist "${dir}/${list}.list";
			Dir::Etc::sourceparts "-"; APT::Sandbox::User ""; Acquire::http::Proxy "DIRECT"; Acquire::Retries "0";\n`);
		const child = spawn(words[0], words.slice(1), { cwd: root, env: { ...process.env, APT_CONFIG: config } });
		child.text = '';
		for (const stream of [child.stdout, child.stderr])
			stream.on('data', (data) => { child.text += data; child.emit('said'); });
		return child;
	};
	const other = apt('slow', ['apt-get', 'update']);
	try {
		const asked = once(mirror, 'request');
		await Promise.race([asked, once(other, 'close').then(() => assert.fail(other.text))]);
		const ours = apt('none', ['scripts/deps', '--update']);
		const ended = once(ours, 'close');
		while (!/^deps: another program holds apt's lock; waiting up to 600 seconds: Could not get lock/m.test(ours.text))
			await Promise.race([once(ours, 'said'), ended.then(() => assert.fail(`it did not wait: ${ours.text}`))]);
		held.destroy();
		mirror.close();
		mirror.closeAllConnections();
		assert.deepEqual([await ended.then(([code]) => code), ours.text.match(/another program/g).length], [0, 1], ours.text);
	} finally {
		other.kill('SIGKILL');
		mirror.close();
		mirror.closeAllConnections();
		fs.rmSync(dir, { recursive: true, force: true });
	}
});
