-- It gives places back that guess.lua has taken.
-- ARGV: of each of the buckets KEYS the end of the window in which the place was taken.
for i, key in ipairs(KEYS) do
  local packed = redis.call('GET', key)
  if packed then
    local taken, ends = struct.unpack('>I4I5I5', packed)
    if ends == tonumber(ARGV[i]) and taken > 1 then
      redis.call('SET', key, struct.pack('>I4I5I5', taken - 1, ends, 0), 'KEEPTTL')
    elseif ends == tonumber(ARGV[i]) then
      redis.call('DEL', key)
    end
  end
end
return 1
