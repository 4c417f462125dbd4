-- ARGV: time, name, client, scopes, password, device, fresh epoch, lifetime, life, most open, from, mark of the address (empty:
-- none).
-- It returns the expiry, the epoch by which it is spared (may be empty) and the names of the sessions that the cap ended, or an empty list when the name is taken.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return {}
end
local lifetime, life = tonumber(ARGV[8]), tonumber(ARGV[9])
local known = subject()
local s = {
  epoch = known and known.epoch or ARGV[7], password = ARGV[5], device = ARGV[6], client = ARGV[3], scopes = ARGV[4],
  base = 0, cur = 1, replays = 0, uses = '', retry = '', ended = 0, cause = '',
  started = now, rotated = now, expires = now + math.min(lifetime, life), ends = now + life, shop = 0, said = 0,
  shut = 0, base_expires = 0, rejoined = 0, first = ARGV[11], last = ARGV[11], timeline = '',
}
local reply = make(ARGV[2], s, known, tonumber(ARGV[10]))
greet(ARGV[12])
table.insert(reply, 1, s.expires)
table.insert(reply, 2, spares(known))
return reply
