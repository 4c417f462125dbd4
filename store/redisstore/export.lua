-- ARGV: offset, name. It changes nothing, so that it also runs on a server that takes no writes.
-- It returns the session's fields in the order in which import.lua takes them, or an empty list when there is no session.
local record = redis.call('GET', KEYS[2])
if not record then
  return {}
end
local s = decode(record)
if s.expires <= now then
  return {}
end
local known = subject()
if s.ended == 0 and known and known.epoch == s.epoch and redis.call('HEXISTS', KEYS[1], ARGV[2]) == 0 then
  s.ended, s.cause = now, 'too_many_sessions' -- the cap has ended it; only the record does not say so yet
end
return { s.client, s.scopes, s.epoch, s.password, s.base, s.cur, s.uses, s.retry, s.device, s.replays,
  s.started, s.rotated, s.expires, s.ends, s.ended, s.cause, known and known.epoch or '', known and known.expires or 0 }
