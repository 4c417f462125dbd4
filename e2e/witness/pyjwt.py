"""pyjwt.py JWKS-URL ISSUER < {"client": {"name": "token", ...}, ...}

prints {"client": {"name": "verdict", ...}, ...}: a client is named as its algorithm; the verdict is "good", or the class of
the error that PyJWT refuses the token with.
"""
import json
import sys

import jwt

address, issuer = sys.argv[1:]
keys = jwt.PyJWKClient(address)


def verdict(client, token):
    try:
        key = keys.get_signing_key_from_jwt(token).key
        jwt.decode(token, key, algorithms=[client], issuer=issuer, audience=client, options={"require": ["exp"]})
    except jwt.PyJWTError as error:
        return type(error).__name__
    return "good"


clients = json.load(sys.stdin)
json.dump({c: {name: verdict(c, token) for name, token in tokens.items()} for c, tokens in clients.items()}, sys.stdout)
