-- ARGV: time, name, as it stands (0/1): also an expired one. It changes nothing, so that it also runs on a server that
-- takes no writes.
-- It returns the session's fields in the order in which import.lua takes them, or an empty list when there is no session.
local record = redis.call('GET', KEYS[2])
if not record then
  return {}
end
local s, asis = decode(record), ARGV[3] == '1'
if math.max(s.expires, s.shop) <= now and not asis then
  return {}
end
local known = subject()
if s.ended == 0 and s.expires > now and known and known.epoch == s.epoch and redis.call('HEXISTS', KEYS[1], ARGV[2]) == 0 then
  s.ended, s.cause = now, 'too_many_sessions' -- the cap has ended it; only the record does not say so yet
end
local r = asis and stored() or known or { epoch = '', expires = 0, floor = 0, from = NOWHERE, cause = '', shop_floor = 0 }
return { s.client, s.scopes, s.epoch, s.password, s.base, s.cur, s.uses, s.retry, s.device, s.replays,
  s.started, s.rotated, s.expires, s.ends, s.ended, s.cause, s.shut, s.base_expires, s.rejoined, s.first, s.last, s.timeline,
  s.shop, s.said == 1 and redis.call('GET', SUB) or '',
  r.epoch, r.expires, r.floor, r.from, r.cause, r.shop_floor }
