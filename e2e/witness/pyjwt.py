"""pyjwt.py JWKS-URL ISSUER AUDIENCE < {"name": "token", ...}

prints {"name": "verdict", ...}: the customer's subject, or the class of the error that PyJWT refuses the token with.
"""
import json
import sys

import jwt

address, issuer, audience = sys.argv[1:]
keys = jwt.PyJWKClient(address)


def verdict(token):
    try:
        key = keys.get_signing_key_from_jwt(token).key
        claims = jwt.decode(token, key, algorithms=["RS256"], issuer=issuer, audience=audience, options={"require": ["exp"]})
    except jwt.PyJWTError as error:
        return type(error).__name__
    return claims["sub"]


json.dump({name: verdict(token) for name, token in json.load(sys.stdin).items()}, sys.stdout)
