// node discover.js ISSUER CLIENT SECRET < {"name": "token", …}
// finds the server by its issuer alone, as RFC 8414 and as OpenID Connect say, has oauth4webapi judge each answer, and prints
// {"name": what is said of that token, …} after the last token was revoked.
import { text } from 'node:stream/consumers'
import * as oauth from 'oauth4webapi'

const [address, id, password] = process.argv.slice(2)
const issuer = new URL(address)
const plain = { [oauth.allowInsecureRequests]: true } // the test's own server, on this machine
const found = {}
for (const algorithm of ['oauth2', 'oidc']) {
  const answer = await oauth.discoveryRequest(issuer, { algorithm, ...plain })
  found[algorithm] = await oauth.processDiscoveryResponse(issuer, answer)
}
const { oauth2: server, oidc } = found
if (JSON.stringify(server) !== JSON.stringify(oidc)) throw new Error('two descriptions')
const client = { client_id: id }
const verdicts = {}
const tokens = Object.entries(JSON.parse(await text(process.stdin)))
const proofs = { basic: oauth.ClientSecretBasic(password), post: oauth.ClientSecretPost(password) }
const ask = async (proof, token) =>
  oauth.processIntrospectionResponse(server, client, await oauth.introspectionRequest(server, client, proof, token, plain))
for (const [by, proof] of Object.entries(proofs)) {
  for (const [name, token] of tokens) verdicts[`${name} by ${by}`] = await ask(proof, token)
}
const [name, token] = tokens.at(-1)
await oauth.processRevocationResponse(await oauth.revocationRequest(server, client, proofs.post, token, plain))
verdicts[`${name} after it was revoked`] = await ask(proofs.basic, token)
console.log(JSON.stringify(verdicts))
