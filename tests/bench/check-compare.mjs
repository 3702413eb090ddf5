// What bench-check makes of its counts: { scenario: { c, sql } }, against { tolerance, tools, counts }.
export const median = (numbers) => [...numbers].sort((a, b) => a - b)[numbers.length >> 1];

const grouped = (n) => (n === undefined ? '-' : String(n).replace(/\B(?=(\d{3})+$)/g, ' '));
const percent = (ratio) => `${ratio >= 1 ? '+' : ''}${((ratio - 1) * 100).toFixed(1)} %`;

// Answers { table, problems, hints }: lines for people; it holds where there are no problems.
export function compare(counts, tools, baseline, profiles) {
	const table = [], problems = [], hints = [];
	for (const name of new Set([...Object.keys(baseline.counts), ...Object.keys(counts)]))
		for (const side of ['c', 'sql']) {
			const was = baseline.counts[name]?.[side], is = counts[name]?.[side], ratio = is / was;
			table.push(`${name.padEnd(18)} ${side.padEnd(4)} ${grouped(was).padStart(12)} ${grouped(is).padStart(12)} ${was && is ? percent(ratio).padStart(9) : ''}`);
			if (!was || !is)
				problems.push(`${name} (${side}): ${was ? 'is in the baseline but was not counted' : 'has no baseline'}`);
			else if (ratio > 1 + baseline.tolerance)
				problems.push(`${name} (${side}): ${grouped(is)} instructions a request, the baseline is ${grouped(was)}: ${percent(ratio)}, `
					+ `allowed is ${percent(1 + baseline.tolerance)}\n    look closer: callgrind_annotate --inclusive=yes ${profiles}/${name}.${side}.out`);
			else if (ratio < 1 - baseline.tolerance)
				hints.push(`${name} (${side}) takes ${percent(ratio)}: keep the gain by a new baseline: make bench-check UPDATE=1`);
		}
	if (problems.length) {
		const others = Object.keys(baseline.tools).filter((tool) => tools[tool] !== baseline.tools[tool]);
		for (const tool of others)
			problems.push(`(${tool} is ${tools[tool]}, the baseline was counted with ${baseline.tools[tool]}: that alone may be why)`);
		problems.push('If the cost is meant, accept it: make bench-check UPDATE=1, and say why in the commit.');
	}
	return { table, problems, hints };
}
