// node express.js ISSUER MODE [AUDIENCE …] < {"client": {"name": "token", …}, …}
// prints {"client": {"name": "verdict", …}, …}: "good", or the text that express-oauth2-jwt-bearer refuses the request with.
// It finds the server by its issuer. A client is named as its algorithm, and is the audience unless some are given. MODE is
// strict (RFC 9068) or usual.
import { text } from 'node:stream/consumers'
import { auth } from 'express-oauth2-jwt-bearer'

const [issuerBaseURL, mode, ...audiences] = process.argv.slice(2)
const verdicts = {}
for (const [client, tokens] of Object.entries(JSON.parse(await text(process.stdin)))) {
  const audience = audiences.length ? audiences : client
  const middleware = auth({ issuerBaseURL, audience, tokenSigningAlg: client, strict: mode === 'strict', clockTolerance: 0 })
  const ask = (token) =>
    new Promise((resolve) => {
      const headers = { host: 'api.example', authorization: `Bearer ${token}` }
      const get = (name) => headers[name.toLowerCase()]
      const request = { method: 'GET', protocol: 'https', originalUrl: '/', headers, get, query: {}, is: () => false } // as Express makes it
      middleware(request, {}, (error) => resolve(error ? error.message : 'good'))
    })
  verdicts[client] = {}
  for (const [name, token] of Object.entries(tokens)) verdicts[client][name] = await ask(token)
}
console.log(JSON.stringify(verdicts))
