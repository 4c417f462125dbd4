-- What every script that heeds the time begins with. ARGV[1] is a test's own time in Unix microseconds; in production it is 0
-- and the time is the server's, by which keys expire in any case.
local micros = redis.call('TIME')
micros = micros[1] * 1000000 + micros[2]
local offset = 0
if tonumber(ARGV[1]) > 0 then
  micros, offset = tonumber(ARGV[1]), tonumber(ARGV[1]) - micros
end
local now = math.floor(micros / 1000000)

