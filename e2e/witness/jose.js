// node jose.js JWKS-URL ISSUER < {"client": {"name": "token", …}, …}
// prints {"client": {"name": "verdict", …}, …}: a client is named as its algorithm; the verdict is "good", or the code of the
// error that npm jose refuses the token with.
import { text } from 'node:stream/consumers'
import { createRemoteJWKSet, jwtVerify } from 'jose'

const [address, issuer] = process.argv.slice(2)
const keys = createRemoteJWKSet(new URL(address))
const verdicts = {}
for (const [client, tokens] of Object.entries(JSON.parse(await text(process.stdin)))) {
  verdicts[client] = {}
  for (const [name, token] of Object.entries(tokens)) {
    try {
      await jwtVerify(token, keys, { issuer, audience: client, algorithms: [client], requiredClaims: ['exp'] })
      verdicts[client][name] = 'good'
    } catch (error) {
      verdicts[client][name] = error.code === 'ERR_JWT_CLAIM_VALIDATION_FAILED' ? `${error.code} ${error.claim}` : error.code ?? String(error)
    }
  }
}
console.log(JSON.stringify(verdicts))
