-- wrk's part: send prepared requests in turn, so that the load costs every candidate the same: an array look-up.
--   wrk … -s load.lua URL -- FILE FIRST
-- FILE holds whole requests, each ended by a NUL. In requests with a run of # this is replaced by a number of as many
-- digits, which counts from FIRST: what is created must be new.
local heads, tails, digits = {}, {}, nil
local count, at, number = 0, 0, 0

function init(args)
	local file = assert(io.open(args[1], 'rb'))
	for request in file:read('*a'):gmatch('(%Z+)%z') do
		local head, marks, tail = request:match('^(.-)(###+)(.*)$')
		count = count + 1
		heads[count] = head or request
		tails[count] = tail
		digits = digits or (marks and '%0' .. #marks .. 'd')
	end
	file:close()
	number = tonumber(args[2] or 0)
	if digits then
		request = create
	end
end

function request()
	at = at % count + 1
	return heads[at]
end

function create()
	at = at % count + 1
	number = number + 1
	return heads[at] .. digits:format(number) .. tails[at]
end

-- One line of JSON for bench.mjs. wrk's own table would round.
function done(summary, latency)
	local e = summary.errors
	io.stderr:write(('{"requests":%d,"us":%d,"errors_status":%d,"errors_io":%d,"p50_us":%d,"p90_us":%d,"p99_us":%d,"max_us":%d}\n'):format(
		summary.requests, summary.duration, e.status, e.connect + e.read + e.write + e.timeout,
		latency:percentile(50), latency:percentile(90), latency:percentile(99), latency.max))
end
