// From rounds to medians, ratios and the table of issue 4's targets.
// Connections of the product's roles.
export const ours = (roles) => Object.entries(roles).filter(([role]) => role !== 'bench').reduce((n, [, count]) => n + count, 0);

const sorted = (list) => [...list].sort((a, b) => a - b);
const median = (list) => {
	const s = sorted(list), half = s.length >> 1;
	return s.length % 2 ? s[half] : (s[half - 1] + s[half]) / 2;
};

// { rps, p50, p99 (ms), spread (of the rounds' requests/s, to their median), invalid }
export function summary(rounds) {
	const rps = rounds.map((r) => r.rps), mid = median(rps);
	return {
		rps: mid, p50: median(rounds.map((r) => r.p50_us)) / 1000, p99: median(rounds.map((r) => r.p99_us)) / 1000,
		spread: (Math.max(...rps) - Math.min(...rps)) / mid, invalid: [...new Set(rounds.map((r) => r.invalid).filter(Boolean))].join(' | ') || null,
	};
}

const pad = (cells, widths) => cells.map((c, i) => (i === 0 ? String(c).padEnd(widths[i]) : String(c).padStart(widths[i]))).join('  ').trimEnd();
export function table(head, rows) {
	const widths = head.map((h, i) => Math.max(h.length, ...rows.map((r) => String(r[i] ?? '').length)));
	return [pad(head, widths), widths.map((w) => '-'.repeat(w)).join('  '), ...rows.map((r) => pad(r.map((c) => c ?? ''), widths))].join('\n');
}

const fixed = (x, digits) => (x === undefined || !Number.isFinite(x) ? '-' : x.toFixed(digits));
const thousands = (x) => Math.round(x).toLocaleString('en');

// `of(name)`: the summary of a valid candidate, else undefined.
const over = (of, a, b, what = 'rps') => of(a)?.[what] / of(b)?.[what];

export function closedTable(candidates, results, of) {
	return table(['closed loop', 'requests/s', 'p50 ms', 'p99 ms', 'x floor', 'x PHP', 'spread', ''], candidates.map((c) => {
		const s = results[c.name];
		return s.rps ? [c.title, thousands(s.rps), fixed(s.p50, 2), fixed(s.p99, 1), fixed(over(of, c.name, 'floor'), 2), fixed(over(of, c.name, 'php'), 2),
			`${fixed(s.spread * 100, 0)} %`, s.invalid ? `INVALID: ${s.invalid}` : ''] : [c.title, '-', '-', '-', '-', '-', '-', `INVALID: ${s.invalid}`];
	}));
}
export function openTable(candidates, results, of) {
	return table(['open loop, 1,000/s', 'p50 ms', 'p99 ms', 'p50 x floor', ''], candidates.map((c) => {
		const s = results[c.name];
		return [c.title, fixed(s.p50, 3), fixed(s.p99, 2), fixed(over(of, c.name, 'open-floor', 'p50'), 2), s.invalid ? `INVALID: ${s.invalid}` : ''];
	}));
}

// [what, value, line, goal, more is better]; a value that was not measured is NaN.
export function targets(of, memory) {
	const worst = (names, base) => Math.min(...names.map((name) => over(of, name, base)));
	const idle = memory?.after ?? memory?.before;
	return [
		['list by cursor, to the floor', over(of, 'cursor', 'floor'), 0.40, 0.50],
		['list by cursor, to PHP-FPM', over(of, 'cursor', 'php'), 4, 5],
		['half lists, half single objects, to the floor', over(of, 'half', 'floor'), 0.45, 0.55],
		['list by page (exact total), to PHP-FPM by page', over(of, 'page', 'php-page'), 3.5, 4.5],
		['one hot token, to PHP-FPM with one token', over(of, 'hot', 'php-hot'), 5, 6],
		['one hot token, to 1,000 tokens', over(of, 'hot', 'cursor'), 1.0],
		['1 M domains to 100 k', over(of, 'million', 'cursor'), 0.85, 0.95],
		['401, 403 and 429 to the list (the least of them)', worst(['401', '403', '429'], 'cursor'), 1, 1.5],
		['p50 at 1,000 requests/s, to the floor\'s', over(of, 'open-cursor', 'open-floor', 'p50'), 3.5, 2.5, false],
		['p99 closed loop, to PHP-FPM\'s', over(of, 'cursor', 'php', 'p99'), 0.5, 0.3, false],
		['idle: all binaries together, PSS, MB', idle ? idle.all / 1024 : NaN, 40, undefined, false],
		['idle: PostgreSQL connections of the binaries', idle ? ours(idle.connections) : NaN, 0, undefined, false],
		['through Apache, to through nginx', over(of, 'apache', 'cursor'), 0.5, 0.7],
	].map(([what, value, line, goal, more = true]) => {
		const reaches = (mark) => (more ? value >= mark : value <= mark);
		return { what, value, line, goal, more, verdict: Number.isFinite(value) ? (goal !== undefined && reaches(goal) ? 'goal' : reaches(line) ? 'held' : 'missed') : '-' };
	});
}
export function targetsTable(list) {
	const mark = (t, x) => (x === undefined ? '' : `${t.more ? '>=' : '<='} ${x}`);
	return table(['target', 'measured', 'line to hold', 'goal', ''], list.map((t) => [t.what, fixed(t.value, 2), mark(t, t.line), mark(t, t.goal), t.verdict]));
}

export function memoryTable(m) {
	const mb = (kb) => (kb === undefined ? '-' : (kb / 1024).toFixed(1)), states = ['before', 'loaded', 'after'].filter((k) => m[k]);
	const names = { before: 'idle, before any load', loaded: 'loaded (five endpoints)', after: 'idle, after all load' };
	const of = (state, binary) => state.connections[`postern_${binary}`] ?? 0, cell = (kb, n) => `${mb(kb)} / ${n}`;
	return table(['memory (PSS, MB) / PostgreSQL connections', ...states.map((k) => names[k])], [
		...Object.keys(m[states[0]].binaries).map((b) => [b, ...states.map((k) => cell(m[k].binaries[b], of(m[k], b)))]),
		['all binaries', ...states.map((k) => cell(m[k].all, Object.keys(m[k].binaries).reduce((n, b) => n + of(m[k], b), 0)))],
		...['floor', 'php', 'node'].filter((p) => m.peers?.[p]).map((p) => [`${{ floor: 'floor, 5 processes', php: 'PHP-FPM, 9 processes', node: 'Node, 3 processes' }[p]}, loaded`, '', cell(m.peers[p].kb, p === 'floor' ? 0 : m.peers[p].connections)]),
	]);
}
