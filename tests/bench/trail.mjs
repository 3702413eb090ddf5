// What a run left in the audit trail, counted without reading the millions of rows of earlier runs.
const NEAR = 8192; // pages before the table's end in which new rows may lie: it grows by several at once

export class Trail {
	constructor(stack) {
		this.stack = stack;
		this.table = `postern.audit_${stack.psql("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYYMM')")}`;
	}

	mark() {
		const [at] = this.stack.sql(`SELECT clock_timestamp() AS at, greatest(pg_relation_size('${this.table}') / 8192 - ${NEAR}, 0) AS page`);
		return at;
	}

	// [{ status, verb, n, stands_for }] since then.
	rows(mark) {
		return this.stack.sql(`SELECT status, verb, count(*) AS n, sum(count)::bigint AS stands_for FROM ${this.table}
			WHERE ctid >= '(${mark.page},0)' AND at >= '${mark.at}' GROUP BY 1, 2`);
	}

	forgetRefusals() {
		this.stack.psql('DELETE FROM postern.refusals');
	}

	// Refused requests since then, those that were only counted included: open windows, and closed ones (the first has a row of its own).
	refusals(mark) {
		const open = this.stack.sql('SELECT coalesce(sum(count), 0) AS n FROM postern.refusals')[0].n;
		return open + this.rows(mark).filter((r) => r.verb === 'throttled').reduce((n, r) => n + r.stands_for + r.n, 0);
	}
}
