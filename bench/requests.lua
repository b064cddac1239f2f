-- wrk script: POST the bodies of a file in turn. Arguments after "--": the file, milliseconds that a connection rests
-- before each request, then one "Name: value" a header.
-- In the file each body stands behind a line with its number of bytes.
local requests, turn = {}, 0
function init(args)
  wrk.method = "POST"
  for i = 3, #args do
    local name, value = args[i]:match("^(.-): (.*)$")
    wrk.headers[name] = value
  end
  local file = assert(io.open(args[1], "rb"))
  for size in function() return file:read("*l") end do
    requests[#requests + 1] = wrk.format(nil, nil, nil, file:read(tonumber(size)))
  end
  file:close()
  local pause = tonumber(args[2])
  if pause > 0 then delay = function() return pause end end
end
function request()
  turn = turn % #requests + 1
  return requests[turn]
end
function done(summary, latency, _)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d\n", summary.requests, summary.duration,
    e.status + e.connect + e.read + e.write + e.timeout, latency:percentile(50), latency:percentile(99)))
end
