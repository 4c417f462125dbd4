-- It writes down what has ended. KEYS[1] is the list, the fields by the second they were written in; KEYS[2] has their values.
-- ARGV: time, and then of each: field, epoch (empty: a session that has ended once and for all), microseconds of the "not before"
-- that goes with the epoch (0: none).
-- A field is kind and id of the subject (9 bytes), and of a session the name (25 bytes), behind a plus where it is spared. A
-- value is: written, not before, epoch. The list has the part of a second of "not before" behind the second of writing.
local KEPT = 367 * 86400 -- longer than any access token lives
-- A write that takes no memory, so that a store without any takes the few bytes that follow: it must be able to end sessions.
redis.call('ZREM', KEYS[1], '')
for i = 2, #ARGV, 3 do
  local field, epoch, from = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  local have = redis.call('HGET', KEYS[2], field)
  if not have or epoch ~= '' then
    from = from / 1000000
    if have then -- calls of one subject may come in another order than he was signed out in
      local _, before, rest = struct.unpack('>I5I5', have)
      before = before + (redis.call('ZSCORE', KEYS[1], field) or 0) % 1
      if before > from then
        from, epoch = before, string.sub(have, rest)
      end
    end
    redis.call('HSET', KEYS[2], field, struct.pack('>I5I5', now, math.floor(from)) .. epoch)
    redis.call('ZADD', KEYS[1], now + from % 1, field)
  end
end
redis.call('EXPIRE', KEYS[1], KEPT)
redis.call('EXPIRE', KEYS[2], KEPT)
return 1
