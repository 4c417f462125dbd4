-- The decision of store.Adoption.Begin; the two must decide alike. What it finds or makes is then exchanged by rotate.lua, which
-- the function rotate is made of.
-- ARGV: as for rotate.lua, of generation 0, and then the scopes of the token, the life of the session, most open, cause to end
-- it for (empty: it is refreshed), sub, password mark, and the last one of rotate.lua.
-- It returns what rotate.lua returns. After seven values, to which that is filled up, come the epoch by which a session that was
-- made is spared (may be empty) and the names of the sessions that the cap ended.
local name, address, expires, ending, sub = ARGV[2], string.sub(ARGV[17], 1, 16), tonumber(ARGV[20]), ARGV[25], ARGV[26]
if redis.call('EXISTS', KEYS[2]) == 1 then
  if ending ~= '' then
    return { 'refused', '', 0, '' }
  end
  return rotate()
end
local known = subject()
if expires <= now then
  return { 'refused', 'expired', 0, '' }
elseif known and expires - FLOOR_LIFE <= math.max(known.floor, known.shop_floor) then -- it may be from before
  return { 'refused', 'signed_out', 0, '' }
end
local ends = now + tonumber(ARGV[23])
local s = {
  epoch = known and known.epoch or ARGV[19], password = ARGV[27], device = ARGV[9], client = ARGV[4], scopes = ARGV[22],
  base = 0, cur = 0, replays = 0, uses = '', retry = '', ended = 0, cause = '',
  started = now, rotated = now, expires = math.min(expires, ends), ends = ends, shop = expires, said = 0,
  shut = 0, base_expires = 0, rejoined = 0, first = ARGV[17], last = ARGV[17], timeline = '',
}
if ending ~= '' then
  s.ended, s.cause = now, ending
  happened(s, ENDED, 0, address)
  save(s)
  remember(name, now)
  return { 'discarded', ending, 1, '' }
end
if sub ~= '' then
  redis.call('SET', SUB, ARGV[21] .. sub, 'PXAT', kept(s))
  s.said = 1
end
local surplus = make(name, s, known, tonumber(ARGV[24]))
local reply = rotate()
if reply.err then
  return reply
end
for i = #reply + 1, 7 do
  reply[i] = ''
end
reply[8] = spares(known)
for _, capped in ipairs(surplus) do
  table.insert(reply, capped)
end
return reply
