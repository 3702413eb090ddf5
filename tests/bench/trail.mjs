// What a run left in the audit trail, counted without reading the millions of rows of earlier runs.
const NEAR = 8192; // pages before the table's end in which new rows lie, almost always: it grows by several at once

export class Trail {
	constructor(stack) {
		this.stack = stack;
		this.table = `postern.audit_${stack.psql("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYYMM')")}`;
	}

	mark() {
		const [at] = this.stack.sql(`SELECT clock_timestamp() AS at, greatest(pg_relation_size('${this.table}') / 8192 - ${NEAR}, 0) AS page`);
		return at;
	}

	// [{ status, n }] since then; what gate.settle() states of earlier windows is no request.
	rows(mark) {
		return this.stack.sql(`SELECT status, count(*) AS n FROM ${this.table}
			WHERE ctid >= '(${mark.page},0)' AND at >= '${mark.at}' AND verb <> 'throttled' GROUP BY 1`);
	}

	forgetRefusals() {
		this.stack.psql('DELETE FROM postern.refusals');
	}

	// Refused requests since then, those that were only counted included. Holds while their window of a minute is open.
	refusals() {
		return this.stack.sql('SELECT coalesce(sum(count), 0)::bigint AS n FROM postern.refusals')[0].n;
	}
}
