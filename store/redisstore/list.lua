-- ARGV: time, with the sessions (0/1). KEYS[2] is not used. It changes nothing.
-- It returns the customer's record as it stands (epoch, expiry, floor, address and cause of the floor, shop floor) and if asked the
-- names of the sessions in it, or an empty list when there is no record.
local r = stored()
if not r then
  return {}
end
local reply = { r.epoch, r.expires, r.floor, r.from, r.cause, r.shop_floor }
if ARGV[2] == '0' then
  return reply
end
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if #field == 16 then
    table.insert(reply, field)
  end
end
local x = redis.call('HGET', KEYS[1], 'x') or ''
for i = 1, #x, LATEST_SIZE do
  local _, name = struct.unpack(LATEST, x, i)
  table.insert(reply, name)
end
return reply
