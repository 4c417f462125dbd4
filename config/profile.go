package config

import (
	"errors"
	"fmt"
	"slices"
)

// profileRFC9068 is the profile of a client whose access tokens are those of RFC 9068 §2.
const profileRFC9068 = "rfc9068"

// standard is what the profile makes of fields that are not given.
func standard() map[string]string {
	return map[string]string{"typ": "at+jwt", "subject": "reference", "claims": "client_id,scope"}
}

// underProfile returns a row of a client's table with the defaults of the client's profile.
func (c *Client) underProfile(s setting, at string) setting {
	if value, ok := standard()[s.key]; ok && c.Profile == profileRFC9068 {
		s.builtin, s.from = value, at+"profile"
	}
	return s
}

// checkProfile looks whether the profile can be kept with what else is given. sub is a string in every form, but validators
// and the services behind them take it for an identifier (RFC 9068 §5).
func (c *Config) checkProfile(client *Client, at, source string) error {
	if client.Profile != profileRFC9068 {
		return nil
	}
	var err error
	switch {
	case c.Issuer == "":
		err = errors.New("issuer is not set: set it to the URL that clients reach this server at")
	case client.Type != "at+jwt":
		err = fmt.Errorf("%styp is %s: leave it out", at, client.Type)
	case client.Subject == "glue":
		err = fmt.Errorf("%ssubject is glue: write reference or uuid, or leave it out", at)
	case !slices.Contains(client.Claims, "client_id") || !slices.Contains(client.Claims, "scope"):
		err = fmt.Errorf("%sclaims lacks client_id or scope: list both, or leave it out", at)
	default:
		return nil
	}
	return fmt.Errorf("%sprofile is %s (%s), but %w", at, client.Profile, source, err)
}
