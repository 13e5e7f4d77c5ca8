-- POST /counter/k{0..KEYS-1}/add with body 1, uniformly random keys; prints one RESULT line.
local keys = tonumber(os.getenv("KEYS") or "1000")
local header = { ["content-type"] = "application/json" }
function init() math.randomseed(os.time()) end
function request() return wrk.format("POST", "/counter/k" .. math.random(0, keys - 1) .. "/add", header, "1") end
function done(summary, latency)
  io.write(string.format("RESULT %d %d %d %.3f %.3f %.3f %d\n", summary.requests, summary.duration,
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency:percentile(99.9) / 1000, latency.max / 1000))
end
