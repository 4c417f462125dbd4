// node jose.js JWKS-URL ISSUER AUDIENCE < {"name": "token", …}
// prints {"name": "verdict", …}: the customer's subject, or the code of the error that npm jose refuses the token with.
import { text } from 'node:stream/consumers'
import { createRemoteJWKSet, jwtVerify } from 'jose'

const [address, issuer, audience] = process.argv.slice(2)
const keys = createRemoteJWKSet(new URL(address))
const verdicts = {}
for (const [name, token] of Object.entries(JSON.parse(await text(process.stdin)))) {
  try {
    const { payload } = await jwtVerify(token, keys, { issuer, audience, algorithms: ['RS256'], requiredClaims: ['exp'] })
    verdicts[name] = payload.sub
  } catch (error) {
    verdicts[name] = error.code ?? String(error)
  }
}
console.log(JSON.stringify(verdicts))
