// Checks glueauth's access tokens inside nginx; njs.conf says how it is put in.
//
// Written for njs 0.7.9: its Web Crypto reads RSA keys as DER only, so that a key of the JWKS is put into that form here.

// nbf may lie this many seconds ahead, for clocks that do not agree. exp has no such grace.
const CLOCK_SKEW = 5;

const ALGORITHM = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };

async function check(r) {
    let refusal = new Refusal(401, 'Bearer');
    try {
        const token = bearer(r);
        if (token) {
            const claims = await verify(r, token);
            // Names of the customer that a request brought along are overwritten with these, in njs.conf.
            r.variables.customer_reference = encodeURIComponent(claims.reference);
            r.variables.customer_id = claims.id;
            r.variables.customer_scopes = claims.scopes;
            r.internalRedirect('@api');
            return;
        }
    } catch (e) {
        // Whatever goes wrong on the way, the request does not pass.
        refusal = e instanceof Refusal ? e : invalid('malformed');
    }
    if (refusal.challenge) {
        r.headersOut['WWW-Authenticate'] = refusal.challenge;
    } else {
        r.headersOut['Retry-After'] = '2';
    }
    r.return(refusal.status);
}

function Refusal(status, challenge) {
    this.status = status;
    this.challenge = challenge;
}

function invalid(reason) {
    return new Refusal(401, `Bearer error="invalid_token", error_description="${reason}"`);
}

// bearer returns the token, or nothing where none was sent. A second Authorization header, by which nginx might check one token
// and the API use the other, is refused by nginx itself with 400.
function bearer(r) {
    const match = (r.headersIn.Authorization || '').match(/^bearer +(\S+)$/i);
    return match ? match[1] : '';
}

async function verify(r, token) {
    const parts = token.split('.');
    if (parts.length != 3) {
        throw invalid('malformed');
    }
    const header = decode(parts[0]);
    // The algorithm is ours to choose, never the token's.
    if (header.alg !== 'RS256' || header.crit !== undefined) {
        throw invalid('signature');
    }
    const jwk = (await keys(r)).find((key) => key.kty === 'RSA' && key.kid === header.kid);
    if (!jwk) {
        throw invalid('signature');
    }
    const key = await crypto.subtle.importKey('spki', spki(jwk), ALGORITHM, false, ['verify']);
    const signature = Buffer.from(parts[2], 'base64url');
    if (!await crypto.subtle.verify(ALGORITHM, key, signature, Buffer.from(`${parts[0]}.${parts[1]}`))) {
        throw invalid('signature');
    }
    return accept(r, decode(parts[1]));
}

// accept checks the claims. Each must be there and right: a test for what is wrong would let a missing claim through.
function accept(r, claims) {
    const now = Math.floor(Date.now() / 1000);
    if (typeof claims.exp != 'number' || claims.exp <= now) {
        throw invalid('expired');
    }
    if (claims.nbf !== undefined && !(claims.nbf <= now + CLOCK_SKEW)) {
        throw invalid('not yet valid');
    }
    if (claims.aud !== r.variables.token_audience) {
        throw invalid('audience');
    }
    if (claims.iss !== r.variables.token_issuer) {
        throw invalid('issuer');
    }
    return customer(claims);
}

// customer returns whose token it is. Spryker's sub is JSON inside a string; with subject: reference it is the plain reference,
// and the client's setting claims adds customer_reference and id_customer.
function customer(claims) {
    let sub = {};
    try {
        sub = Object(JSON.parse(claims.sub));
    } catch (e) {
        sub = { customer_reference: claims.sub };
    }
    const reference = claims.customer_reference || sub.customer_reference;
    if (typeof reference != 'string' || !reference) {
        throw invalid('no customer');
    }
    return {
        reference: reference,
        id: String(claims.id_customer || sub.id_customer || ''),
        scopes: Array.isArray(claims.scopes) ? claims.scopes.join(' ') : '',
    };
}

// keys returns the key set; nginx caches it for as long as glueauth says (njs.conf).
async function keys(r) {
    const answer = await r.subrequest('/_glueauth/jwks');
    if (answer.status != 200) {
        r.error(`glueauth's key set cannot be fetched: ${answer.status}`);
        throw new Refusal(503, '');
    }
    return JSON.parse(answer.responseText).keys;
}

function decode(part) {
    return JSON.parse(Buffer.from(part, 'base64url').toString());
}

// spki returns an RSA key as DER: SubjectPublicKeyInfo (RFC 5280 §4.1) with an RSAPublicKey (RFC 8017 §A.1.1).
function spki(jwk) {
    const rsa = der(0x30, integer(jwk.n), integer(jwk.e));
    return der(0x30, Buffer.from('300d06092a864886f70d0101010500', 'hex'), der(0x03, Buffer.from([0]), rsa));
}

function integer(text) {
    const bytes = Buffer.from(text, 'base64url');
    return bytes[0] & 0x80 ? der(0x02, Buffer.from([0]), bytes) : der(0x02, bytes);
}

function der(tag, ...contents) {
    const content = Buffer.concat(contents);
    const n = content.length;
    const length = n < 0x80 ? [n] : n < 0x100 ? [0x81, n] : [0x82, n >> 8, n & 0xff];
    return Buffer.concat([Buffer.from([tag].concat(length)), content]);
}

export default { check };
