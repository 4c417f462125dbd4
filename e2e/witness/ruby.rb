# ruby.rb JWKS-URL ISSUER < {"client": {"name": "token", ...}, ...}
#
# prints {"client": {"name": "verdict", ...}, ...}: a client is named as its algorithm; the verdict is "good", or the
# error that ruby-jwt refuses the token with.
require 'json'
require 'jwt'
require 'net/http'

address, issuer = ARGV
keys = JSON.parse(Net::HTTP.get(URI(address)), symbolize_names: true)

def verdict(keys, issuer, client, token)
  JWT.decode(token, nil, true, algorithms: [client], jwks: keys, iss: issuer, verify_iss: true, aud: client, verify_aud: true,
                               required_claims: ['exp'])
  'good'
rescue JWT::DecodeError => e
  "#{e.class}: #{e.message}"
end

clients = JSON.parse($stdin.read)
puts JSON.generate(clients.to_h { |c, tokens| [c, tokens.transform_values { |token| verdict(keys, issuer, c, token) }] })
