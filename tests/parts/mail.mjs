// Small SMTP and IMAP clients, and an SMTP server that keeps what it gets: only what the mail tests need of them.
import net from 'node:net';
import { once } from 'node:events';

// A connection read line by line.
class Lines {
	#buffer = '';
	#wake;
	constructor(address) {
		const [host, port] = address.split(':');
		this.socket = net.connect(Number(port), host);
		this.socket.setEncoding('latin1');
		this.socket.on('data', (text) => {
			this.#buffer += text;
			this.#wake?.();
		});
		this.socket.setTimeout(30000, () => this.socket.destroy()); // a server that says nothing is a failure
		for (const event of ['close', 'error'])
			this.socket.on(event, () => {
				this.closed = true;
				this.#wake?.();
			});
	}
	async line() {
		for (;;) {
			const end = this.#buffer.indexOf('\r\n');
			if (end >= 0) {
				const line = this.#buffer.slice(0, end);
				this.#buffer = this.#buffer.slice(end + 2);
				return line;
			}
			if (this.closed)
				throw new Error('the server hung up');
			await new Promise((resolve) => { this.#wake = resolve; });
		}
	}
	end() {
		this.socket.destroy();
	}
}

// One mail, as far as the server lets it come. Answers the last reply, such as "250 2.0.0 Ok: queued as …".
export async function send(address, { from = 'sender@example.net', to, subject = 'test', body = 'text', size, login } = {}) {
	const c = new Lines(address);
	const reply = async () => {
		for (;;) {
			const line = await c.line();
			if (line[3] !== '-')
				return line;
		}
	};
	const say = (line) => {
		c.socket.write(`${line}\r\n`, 'latin1');
		return reply();
	};
	try {
		await reply();
		const commands = ['EHLO client.example.net', ...(login ? [`AUTH PLAIN ${Buffer.from(`\0${login.join('\0')}`).toString('base64')}`] : []),
			`MAIL FROM:<${from}>${size ? ` SIZE=${size}` : ''}`, ...[to].flat().map((one) => `RCPT TO:<${one}>`), 'DATA',
			`From: <${from}>\r\nSubject: ${subject}\r\n\r\n${body}\r\n.`];
		let last;
		for (const command of commands) {
			last = await say(command);
			if (!/^[23]/.test(last))
				break;
		}
		return last;
	} finally {
		c.end();
	}
}

// Logged in, or an error that says why not.
export async function imap(address, user, password) {
	const c = new Lines(address);
	let count = 0;
	const quote = (text) => `"${text.replace(/[\\"]/g, '\\$&')}"`;
	const box = {
		async command(line) {
			const tag = `a${++count}`, lines = [];
			c.socket.write(`${tag} ${line}\r\n`, 'latin1');
			for (;;) {
				const answer = await c.line();
				if (!answer.startsWith(`${tag} `)) {
					lines.push(answer);
					continue;
				}
				if (!answer.startsWith(`${tag} OK`))
					throw new Error(answer);
				return lines;
			}
		},
		// numbers of the mails with that subject
		async find(subject) {
			await box.command('NOOP');
			const lines = await box.command(subject === undefined ? 'SEARCH ALL' : `SEARCH SUBJECT ${quote(subject)}`);
			return (lines.find((l) => l.startsWith('* SEARCH')) ?? '').split(' ').slice(2).filter(Boolean).map(Number);
		},
		async text(number) {
			return (await box.command(`FETCH ${number} BODY.PEEK[]`)).join('\n');
		},
		end: () => c.end(),
	};
	try {
		await c.line();
		await box.command(`LOGIN ${quote(user)} ${quote(password)}`);
		await box.command('SELECT INBOX');
	} catch (error) {
		c.end();
		throw error;
	}
	return box;
}

// Takes every mail: { address, mails: [{ to, text }], close }.
export async function sink() {
	const mails = [];
	const server = net.createServer((socket) => {
		let mail = { to: [], text: '' }, data = false, rest = '';
		socket.setEncoding('latin1');
		socket.on('error', () => {});
		socket.write('220 sink\r\n');
		socket.on('data', (chunk) => {
			rest += chunk;
			for (let end; (end = rest.indexOf('\r\n')) >= 0; rest = rest.slice(end + 2)) {
				const line = rest.slice(0, end);
				if (data && line !== '.') {
					mail.text += `${line}\n`;
					continue;
				}
				if (data) {
					mails.push(mail);
					mail = { to: [], text: '' };
				}
				data = !data && /^DATA/i.test(line);
				if (/^RCPT TO:/i.test(line))
					mail.to.push(line.slice(8).replace(/[<>]|\s.*/g, ''));
				socket.write(data ? '354 go on\r\n' : /^QUIT/i.test(line) ? '221 bye\r\n' : '250 ok\r\n');
			}
		});
	});
	server.listen(0, '127.0.0.1');
	await once(server, 'listening');
	return { address: `127.0.0.1:${server.address().port}`, mails, close: () => server.close() };
}
