-- It returns what was written down by note.lua since a second: fields and values in turn. It changes nothing.
-- ARGV: offset, the second.
local fields, reply, STEP = redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[2], '+inf'), {}, 1000
for i = 1, #fields, STEP do
  local some = { unpack(fields, i, math.min(i + STEP - 1, #fields)) }
  for n, value in ipairs(redis.call('HMGET', KEYS[2], unpack(some))) do
    if value then
      table.insert(reply, some[n])
      table.insert(reply, value)
    end
  end
end
return reply
