-- KEYS: the records, those put aside. ARGV: time, the version that the records must have, the next one, how many records follow as
-- name and value, and then the names of those to put aside. It returns 1 where they had that version, and else 0 and changes nothing.
local version = redis.call('HGET', KEYS[1], 'version') or ''
if version ~= ARGV[2] then
  return 0
end
local first = 5 + 2 * tonumber(ARGV[4])
for i = first, #ARGV do
  local value = redis.call('HGET', KEYS[1], ARGV[i])
  if value then
    redis.call('HSET', KEYS[2], ARGV[i], value)
    redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
for i = 5, first - 1, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
end
redis.call('HSET', KEYS[1], 'version', ARGV[3])
return 1
