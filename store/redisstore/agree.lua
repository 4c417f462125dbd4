-- ARGV: time, seconds to live, customers' source, fingerprints of the master key by number, ids of the signing keys.
-- The two lists are separated by spaces. It returns what does not fit, or an empty text.
local function words(text)
  local list = {}
  for word in string.gmatch(text, '%S+') do
    list[word] = true
  end
  return list
end

local ttl, customers, masters, signing = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local have = redis.call('HMGET', KEYS[1], 'customers', 'masters', 'signing')
if have[1] then
  local numbered = {}
  for word in pairs(words(have[2])) do
    local number, mark = string.match(word, '^(%d+):(.+)$')
    numbered[number] = mark
  end
  local common = false
  for word in pairs(words(masters)) do
    local number, mark = string.match(word, '^(%d+):(.+)$')
    if numbered[number] and numbered[number] ~= mark then
      return 'master'
    end
    common = common or numbered[number] == mark
  end
  if not common then
    return 'master'
  end
  if have[1] ~= customers then
    return 'customers'
  end
  local known, shared = words(have[3]), false
  for kid in pairs(words(signing)) do
    shared = shared or known[kid]
  end
  if not shared then
    return 'signing'
  end
end
redis.call('HSET', KEYS[1], 'customers', customers, 'masters', masters, 'signing', signing)
redis.call('EXPIRE', KEYS[1], ttl)
return ''
