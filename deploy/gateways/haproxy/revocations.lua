-- It follows the document in which glueauth says which sessions have ended, and judges tokens by it, in memory. haproxy.cfg loads it
-- where REVOCATIONS_URL is set; the settings are described there.
--
-- A task cannot verify signatures in HAProxy: the document is trusted because of where it comes from. Ask glueauth on this machine, or over
-- https, whose certificate HAProxy checks.

local url = os.getenv('REVOCATIONS_URL')
local every = tonumber(os.getenv('REVOCATIONS_EVERY') or '') or 500 -- milliseconds
local patience = tonumber(os.getenv('REVOCATIONS_PATIENCE') or '') -- seconds, nil: for ever

local sessions, customers, spared = {}, {}, {}
local etag, made, expires, heard, failing = nil, 0, 0, nil, false

local SIXBITS = {}
for i = 1, 64 do
  SIXBITS[string.byte('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_', i)] = i - 1
end

-- breathe lets requests pass between the steps of reading a long document.
local function breathe(n)
  if n % 500 == 0 then
    core.yield()
  end
end

local function decoded(text)
  local parts = {}
  for i = 1, #text, 4 do
    local a, b, c, d = string.byte(text, i, i + 3)
    local n = (SIXBITS[a] or 0) << 18 | (SIXBITS[b] or 0) << 12 | (SIXBITS[c] or 0) << 6 | (SIXBITS[d] or 0)
    parts[#parts + 1] = string.char(n >> 16, n >> 8 & 255, n & 255)
    breathe(#parts)
  end
  return string.sub(table.concat(parts), 1, #text * 3 // 4)
end

local function set(list)
  local all, n = {}, 0
  for digits in string.gmatch(list, '"(%x+)"') do
    all[digits], n = true, n + 1
    breathe(n)
  end
  return all
end

-- take reads a document, and returns nothing or what is wrong with it.
local function take(body)
  local header, payload = string.match(body or '', '^([%w_-]+)%.([%w_-]+)%.[%w_-]+$')
  if not header or not string.find(decoded(header), '"typ":"revocations+jwt"', 1, true) then
    return 'the answer is no document of revocations'
  end
  local text = decoded(payload)
  local iat, exp = tonumber(string.match(text, '"iat":(%d+)')), tonumber(string.match(text, '"exp":(%d+)'))
  local ended, all, good = string.match(text, '"sessions":%[([^%]]*)%],"customers":{([^}]*)},"spared":%[([^%]]*)%]')
  if not iat or not exp or not ended then
    return 'the document is not as expected: take this file from the same version as glueauth'
  elseif exp <= core.now().sec or iat < made - 60 then
    return 'the document is an old one: look whether something between keeps it, and at the clocks'
  elseif iat > core.now().sec + 60 then -- if it were taken, the right ones would be too old
    return 'the document is from the future: look at the clocks'
  end
  local times, n = {}, 0
  for digits, time in string.gmatch(all, '"(%x+)":(%d+)') do
    times[digits], n = tonumber(time), n + 1
    breathe(n)
  end
  sessions, customers, spared, made, expires = set(ended), times, set(good), iat, exp
end

local function fetch()
  local headers = etag and { ['if-none-match'] = { etag } } or {}
  local answer = core.httpclient():get({ url = url, headers = headers, timeout = 1000 })
  if not answer or not answer.status or answer.status == 0 then
    return 'no answer from ' .. url
  elseif answer.status == 304 then
    if expires > core.now().sec then
      return
    end
    etag = nil
    return 'it is said that nothing is new, although the document has expired: look whether something between keeps it, and at the clocks'
  elseif answer.status == 503 then -- HAProxy says so itself too
    return url .. ' answers 503, or cannot be reached: look at its address, its name, which must be in the DNS and not only in /etc/hosts, and its certificate'
  elseif answer.status == 404 then
    return url .. ' answers 404: give glueauth the setting revocations: true, or look at the path'
  elseif answer.status ~= 200 then
    return url .. ' answers ' .. answer.status
  end
  local mistake = take(answer.body)
  if not mistake then
    etag = answer.headers['etag'] and answer.headers['etag'][0]
  end
  return mistake
end

core.register_task(function()
  while true do
    local ok, mistake = pcall(fetch)
    if not ok then
      mistake = 'reading the document failed: ' .. tostring(mistake)
    end
    if not mistake then
      heard = core.now().sec
    end
    if mistake and not failing then
      local meanwhile = heard and 'tokens are judged by what is known' or 'every token is answered with 503'
      core.log(core.warning, 'revocations: ' .. mistake .. '; until that is over, ' .. meanwhile)
    elseif failing and not mistake then
      core.log(core.notice, 'revocations: they are followed again')
    end
    failing = mistake ~= nil
    core.msleep(every)
  end
end)

-- lua.revocation is good, revoked or late, for the jti and the iat in txn.jti and txn.iat. Before the first document nothing is known
-- to go by.
core.register_fetches('revocation', function(txn)
  if not heard or patience and core.now().sec - heard > patience then
    return 'late'
  end
  local jti, iat = txn:get_var('txn.jti'), tonumber(txn:get_var('txn.iat'))
  if type(jti) ~= 'string' or not iat then
    return 'revoked'
  end
  local since = customers[string.sub(jti, 1, 18)]
  if sessions[string.sub(jti, 1, 50)] or since and iat <= since and not spared[string.sub(jti, 19, 50)] then
    return 'revoked'
  end
  return 'good'
end)
