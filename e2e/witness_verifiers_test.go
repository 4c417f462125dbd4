package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"
	"github.com/lestrrat-go/jwx/v3/jwk"
	jwxjwt "github.com/lestrrat-go/jwx/v3/jwt"
)

// What a verdict can be.
const (
	accepted      = "good"
	badSignature  = "signature"
	badAlgorithm  = "algorithm"
	badClaim      = "claim"
	badForm       = "form"
	tooOld        = "expired"
	tooEarly      = "not yet valid"
	unknownKey    = "no such key"
	notUnderstood = "an extension that must be understood"
)

// verdicts are what was said of each token, by client and name.
type verdicts = map[string]map[string]string

// rightly is what a verifier has to say.
func rightly() map[string]string {
	all := map[string]string{"crit": notUnderstood, "expired": tooOld, "not yet valid": tooEarly}
	for verdict, names := range map[string][]string{
		accepted: {"ours", "by our key"},
		badAlgorithm: {
			"alg none", "alg None", "alg NONE", "alg nOnE", "alg none, signed", "HS256 by the public PEM", "HS256 by the PEM, trimmed",
			"HS256 by the public DER", "HS256 by nothing", "HS256 by a weak secret", "kid is /dev/null", "kid is SQL", "kid is a command",
		},
		badSignature: {
			"no signature", "a signature of zeros", "another key", "payload changed", "one bit of signature", "embedded jwk", "jku", "x5c",
		},
		unknownKey: {"kid is a URL", "kid is unknown", "kid is empty", "embedded jwk, unknown kid", "jku, the kid behind it", "x5u"},
		badClaim:   {"no expiry", "another audience", "no audience", "another issuer", "no issuer"},
		badForm:    {"JSON serialisation", "a refresh token"},
	} {
		for _, name := range names {
			all[name] = verdict
		}
	}
	return all
}

// verifier is one that nobody here wrote.
type verifier struct {
	judge func(*testing.T) verdicts
	words map[string]string // a part of what it says, and what that means
	// instead is what it says in place of a verdict, or of a token by its name: for another reason than others, or because it
	// knows no better. What it accepts beyond what it should, only our own key can make.
	instead map[string]string
	lacks   string // an algorithm that it does not have
}

func (c *court) verifiers() map[string]verifier {
	keySet := c.p.public + "/.well-known/jwks.json"
	return map[string]verifier{
		"go-oidc": {judge: c.goOIDC, words: map[string]string{
			"failed to verify id token signature": badSignature, "unexpected signature algorithm": badAlgorithm, "expected audience": badClaim,
			"different provider": badClaim, "token is expired": tooOld, "before the nbf": tooEarly, "three parts": badForm,
		}, instead: map[string]string{
			unknownKey: badSignature, notUnderstood: badSignature, "no expiry": tooOld,
			"JSON serialisation": accepted, // RFC 7519 §1 has the compact one only
		}},
		"jwx": {judge: c.jwx, words: map[string]string{
			"none verified successfully": badSignature, "failed to find key": unknownKey, "unknown SignatureAlgorithm": badAlgorithm,
			"empty compact signature": badForm, "invalid number of segments": badForm, "unknown payload type": badForm, `"aud" not satisfied`: badClaim,
			`"iss" not satisfied`: badClaim, `required claim "exp"`: badClaim, "token is expired": tooOld, "not yet valid": tooEarly,
		}, instead: map[string]string{
			// The algorithm is that of the key, whatever the header says.
			"alg none": badSignature, "alg none, signed": badSignature, "HS256 by the public PEM": badSignature, "HS256 by the PEM, trimmed": badSignature,
			"HS256 by the public DER": badSignature, "HS256 by nothing": badSignature, "HS256 by a weak secret": badSignature,
			"kid is /dev/null": unknownKey, "kid is SQL": unknownKey, "kid is a command": unknownKey, "no signature": badForm,
			notUnderstood: accepted,
		}},
		"go-jose": {judge: c.goJose, words: map[string]string{
			"cryptographic primitive": badSignature, "matching kid not found": unknownKey, "unexpected signature algorithm": badAlgorithm,
			"three parts": badForm, "unsupported critical header": notUnderstood, "(aud)": badClaim, "(iss)": badClaim, "no expiry": badClaim,
			"(exp)": tooOld, "(nbf)": tooEarly,
		}},
		"npm jose": {judge: c.program("node", "jose.js", keySet, c.issuer), words: map[string]string{
			"SIGNATURE_VERIFICATION_FAILED": badSignature, "NO_MATCHING_KEY": unknownKey, "ALG_NOT_ALLOWED": badAlgorithm, "JWS_INVALID": badForm,
			"ERR_JOSE_NOT_SUPPORTED": notUnderstood, "FAILED aud": badClaim, "FAILED iss": badClaim, "FAILED exp": badClaim, "JWT_EXPIRED": tooOld,
			"FAILED nbf": tooEarly,
		}},
		"express-oauth2-jwt-bearer": {judge: c.program("node", "express.js", c.issuer, "usual"), words: map[string]string{
			"signature verification failed": badSignature, "no applicable key": unknownKey, "Unsupported algorithm": badAlgorithm,
			"Header formatting": badForm, "is not recognized": notUnderstood, "'aud'": badClaim, "'iss'": badClaim, "'exp'": badClaim,
			`"exp" claim timestamp`: tooOld, `"nbf" claim timestamp`: tooEarly,
		}},
		"Debian's PyJWT": {judge: c.program("/usr/bin/python3", "-I", "pyjwt.py", keySet, c.issuer), words: map[string]string{
			"InvalidSignatureError": badSignature, "PyJWKClientError": unknownKey, "InvalidAlgorithmError": badAlgorithm, "DecodeError": badForm,
			"InvalidAudienceError": badClaim, "InvalidIssuerError": badClaim, "MissingRequiredClaimError": badClaim,
			"ExpiredSignatureError": tooOld, "ImmatureSignatureError": tooEarly,
		}, instead: map[string]string{
			"kid is /dev/null": unknownKey, "kid is SQL": unknownKey, "kid is a command": unknownKey, notUnderstood: accepted,
		}},
		"Debian's ruby-jwt": {judge: c.program("ruby", "ruby.rb", keySet, c.issuer), words: map[string]string{
			"Signature verification failed": badSignature, "Could not find public key": unknownKey, "Expected a different algorithm": badAlgorithm,
			"too many segments": badForm, "Invalid audience": badClaim, "Invalid issuer": badClaim, "Missing required claim": badClaim,
			"has expired": tooOld, "nbf has not been reached": tooEarly,
		}, instead: map[string]string{
			"alg None": badForm, "alg NONE": badForm, "alg nOnE": badForm, "no signature": badForm, notUnderstood: accepted,
		}, lacks: "EdDSA"},
	}
}

func TestForeignVerifiersAndOursAcceptAndRefuseRightly(t *testing.T) {
	t.Parallel()
	c := newCourt(t)
	t.Run("all", func(t *testing.T) {
		for name, v := range c.verifiers() {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				got := v.judge(t)
				for _, alg := range algorithms() {
					v.check(t, alg, got[alg])
				}
			})
		}
		t.Run("verify and introspect", c.ourselves)
		t.Run("Wycheproof", c.wycheproof)
	})
	c.trap.silent(t)
}

func (v verifier) check(t *testing.T, alg string, said map[string]string) {
	t.Helper()
	if alg == v.lacks {
		for name, words := range said {
			if words == accepted {
				t.Errorf("%s: %s: accepted by one that does not know it", alg, name)
			}
		}
		return
	}
	want, got := rightly(), map[string]string{}
	for name, verdict := range want {
		for _, of := range []string{verdict, name} {
			if other, ok := v.instead[of]; ok {
				want[name] = other
			}
		}
	}
	for name, words := range said {
		got[name] = v.meaning(words)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: the verdicts are not as expected (-want +got):\n%s", alg, diff)
	}
}

// meaning translates what was said, which must be one thing.
func (v verifier) meaning(words string) string {
	if words == accepted {
		return words
	}
	var all []string
	for part, verdict := range v.words {
		if strings.Contains(words, part) {
			all = append(all, verdict)
		}
	}
	if len(all) != 1 {
		return fmt.Sprintf("%q: %s", all, words)
	}
	return all[0]
}

// each has every token judged; what is said of one that is refused is the error.
func (c *court) each(judge func(client, token string) error) verdicts {
	all := verdicts{}
	for client, tokens := range c.tokens {
		all[client] = map[string]string{}
		for name, token := range tokens {
			all[client][name] = accepted
			if err := judge(client, token); err != nil {
				all[client][name] = err.Error()
			}
		}
	}
	return all
}

// goOIDC finds the server by its issuer, and takes the algorithms from its description.
func (c *court) goOIDC(t *testing.T) verdicts {
	t.Helper()
	ctx := oidc.ClientContext(t.Context(), c.p.client)
	provider, err := oidc.NewProvider(ctx, c.issuer)
	if err != nil {
		t.Fatal(err)
	}
	return c.each(func(client, token string) error {
		_, err := provider.Verifier(&oidc.Config{ClientID: client}).Verify(ctx, token)
		return err
	})
}

func (c *court) jwx(t *testing.T) verdicts {
	t.Helper()
	set, err := jwk.Fetch(t.Context(), c.p.public+"/.well-known/jwks.json", jwk.WithHTTPClient(c.p.client))
	if err != nil {
		t.Fatal(err)
	}
	return c.each(func(client, token string) error {
		_, err := jwxjwt.ParseString(token, jwxjwt.WithKeySet(set), jwxjwt.WithIssuer(c.issuer), jwxjwt.WithAudience(client), jwxjwt.WithRequiredClaim("exp"))
		return err
	})
}

func (c *court) goJose(t *testing.T) verdicts {
	t.Helper()
	a, err := c.p.get(c.p.public + "/.well-known/jwks.json")
	if err != nil || a.status != http.StatusOK {
		t.Fatal(a, err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(a.body), &set); err != nil {
		t.Fatal(err)
	}
	return c.each(func(client, token string) error {
		parsed, err := josejwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(client)})
		if err != nil {
			return err
		}
		var claims josejwt.Claims
		if err := parsed.Claims(set, &claims); err != nil {
			return err
		}
		if claims.Expiry == nil { // the library lets that pass
			return errors.New("no expiry")
		}
		return claims.ValidateWithLeeway(josejwt.Expected{Issuer: c.issuer, AnyAudience: josejwt.Audience{client}, Time: time.Now()}, 0)
	})
}

// program has a program of the folder witness judge.
func (c *court) program(name string, argv ...string) func(*testing.T) verdicts {
	return func(t *testing.T) verdicts {
		t.Helper()
		stdin, err := json.Marshal(c.tokens)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, program(t, name), argv...)
		var stderr bytes.Buffer
		cmd.Dir, cmd.Env, cmd.Stdin, cmd.Stderr = "witness", environment(t.TempDir()), bytes.NewReader(stdin), &stderr
		out, err := cmd.Output()
		all := verdicts{}
		if err == nil {
			err = json.Unmarshal(out, &all)
		}
		if err != nil {
			t.Fatalf("%s: %v: if a program or a library is missing, run make deps\n%s%s", strings.Join(cmd.Args, " "), err, out, &stderr)
		}
		return all
	}
}
