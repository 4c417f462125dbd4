-- ARGV: offset, name, client, scopes, password, device, fresh epoch, lifetime, life, most open, from.
-- It returns the expiry and the names of the sessions that the cap ended, or an empty list when the name is taken. Their own
-- records, whose keys the caller could not know, are left to calls of end.lua; they are dead without.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return {}
end
local name, lifetime, life, most = ARGV[2], tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local known = subject()
local s = {
  epoch = known and known.epoch or ARGV[7], password = ARGV[5], device = ARGV[6], client = ARGV[3], scopes = ARGV[4],
  base = 0, cur = 1, replays = 0, uses = '', retry = '', ended = 0, cause = '',
  started = now, rotated = now, expires = now + math.min(lifetime, life), ends = now + life,
  shut = 0, base_expires = 0, rejoined = 0, first = ARGV[11], last = ARGV[11], timeline = '',
}

local living, expired, forgotten = {}, {}, {}
local index = redis.call('HGETALL', KEYS[1])
for i = 1, #index, 2 do
  if #index[i] == #name then
    local rotated, started, expires = struct.unpack(INDEX, index[i + 1])
    if expires + GRACE <= now then
      table.insert(forgotten, index[i])
    elseif not known then
      table.insert(expired, { name = index[i], at = math.min(expires, now) })
    elseif expires > now then
      table.insert(living, { name = index[i], rotated = rotated, started = started })
    end
  end
end
table.sort(living, function(a, b)
  if a.rotated ~= b.rotated then
    return a.rotated > b.rotated
  end
  return a.started > b.started
end)

save(s)
if not known then -- what has expired must not come back with the new epoch
  restart({ epoch = s.epoch, expires = s.expires, floor = 0 })
end
enter(name, s, known and known.expires or 0)
local reply = { s.expires }
for i = math.max(most, 1), #living do
  remember(living[i].name, now)
  table.insert(forgotten, living[i].name)
  table.insert(reply, living[i].name)
end
for _, e in ipairs(expired) do
  remember(e.name, e.at)
end
for _, gone in ipairs(forgotten) do
  redis.call('HDEL', KEYS[1], gone)
end
return reply
