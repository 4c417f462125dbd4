// node strict.js ISSUER CLIENT TOKEN
// has an access token judged as RFC 9068 §4 says, by oauth4webapi and by npm jose, and prints {"validator": "its claims", …}.
import { createRemoteJWKSet, jwtVerify } from 'jose'
import * as oauth from 'oauth4webapi'

const [address, audience, token] = process.argv.slice(2)
const plain = { [oauth.allowInsecureRequests]: true } // the test's own server, on this machine
const issuer = new URL(address)
const server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...plain }))
const request = new Request('https://api.example/', { headers: { authorization: `Bearer ${token}` } })
const required = ['iss', 'exp', 'aud', 'sub', 'client_id', 'iat', 'jti', 'scope']
const validators = {
  oauth4webapi: () => oauth.validateJwtAccessToken(server, request, audience, plain),
  jose: async () => {
    const options = { issuer: server.issuer, audience, typ: 'at+jwt', requiredClaims: required }
    return (await jwtVerify(token, createRemoteJWKSet(new URL(server.jwks_uri)), options)).payload
  },
}
const said = {}
for (const [name, judge] of Object.entries(validators)) {
  try {
    said[name] = await judge()
  } catch (error) {
    said[name] = String(error)
  }
}
console.log(JSON.stringify(said))
