package config

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/glueauth/glueauth/config/secret"
)

// reader takes the text of one value and puts what it means where the table says. Its error is reason and remedy, without
// the value.
type reader func(text string) error

func text(to *string) reader {
	return func(s string) error {
		*to = s
		return nil
	}
}

// path reads a path into its shortest form, so that equal ones compare equal.
func path(to *string) reader {
	return func(s string) error {
		*to = filepath.Clean(s)
		return nil
	}
}

// secretPath is path for the file of a secret. It refuses what can only be the secret itself.
func secretPath(to *string) reader {
	return func(s string) error {
		if strings.Contains(s, "://") || strings.Contains(s, "-----BEGIN ") || strings.ContainsAny(s, "\r\n") || isKey(s) && !clearlyPath(s) {
			return errors.New("must be the path of a file, and not what is to stand in it: write that into a file of its own")
		}
		return path(to)(s)
	}
}

// isKey reports whether a text is 32 bytes in hexadecimal or base64.
func isKey(s string) bool {
	for _, decode := range []func(string) ([]byte, error){
		hex.DecodeString, base64.StdEncoding.DecodeString, base64.RawStdEncoding.DecodeString, base64.URLEncoding.DecodeString, base64.RawURLEncoding.DecodeString,
	} {
		if key, err := decode(s); err == nil && len(key) == 32 {
			return true
		}
	}
	return false
}

func secretText(to *secret.Text) reader {
	return func(s string) error {
		*to = secret.Text(s)
		return nil
	}
}

// adminSecret reads a bearer secret that nobody guesses (RFC 6750 §2.1: b64token, or whatever else a header can hold).
func adminSecret(to *secret.Text) reader {
	return func(s string) error {
		switch {
		case len(s) < 16:
			return errors.New("is too short to be safe: write at least 16 characters, like the output of openssl rand -hex 32")
		case strings.ContainsFunc(s, func(r rune) bool { return r <= 0x20 || r > 0x7e }):
			return errors.New("must be printable ASCII without spaces: write it like the output of openssl rand -hex 32")
		}
		*to = secret.Text(s)
		return nil
	}
}

func required(remedy string, read reader) reader {
	return func(s string) error {
		if s == "" {
			return errors.New("is empty: " + remedy)
		}
		return read(s)
	}
}

// optional lets an empty value stand for none.
func optional(read reader) reader {
	return func(s string) error {
		if s == "" {
			return nil
		}
		return read(s)
	}
}

func boolean(to *bool) reader { return either(to, "true", "false") }

// either reads one of two words, the first for true.
func either(to *bool, yes, no string) reader {
	return func(s string) error {
		if s != yes && s != no {
			return unknownWord(s, []string{yes, no})
		}
		*to = s == yes
		return nil
	}
}

func oneOf(to *string, words ...string) reader {
	return func(s string) error {
		if !slices.Contains(words, s) {
			return unknownWord(s, words)
		}
		*to = s
		return nil
	}
}

func unknownWord(got string, words []string) error {
	last := len(words) - 1
	list := strings.Join(words[:last], ", ") + " or " + words[last]
	if last == 0 {
		list = words[0]
	}
	if got != "" && distance(got, nearest(got, words)) <= 2 {
		return fmt.Errorf("must be %s: did you mean %s?", list, nearest(got, words))
	}
	return fmt.Errorf("must be %s", list)
}

func level(to *slog.Level) reader {
	return func(s string) error {
		var word string
		if err := oneOf(&word, "debug", "info", "warn", "error")(s); err != nil {
			return err
		}
		return to.UnmarshalText([]byte(word))
	}
}

func count(to *int, least, most int) reader {
	return func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < least || n > most {
			return fmt.Errorf("must be a whole number from %d to %d", least, most)
		}
		*to = n
		return nil
	}
}

func workers(to *int) reader {
	return func(s string) error {
		if s == "auto" {
			*to = 0
			return nil
		}
		if err := count(to, 1, 1024)(s); err != nil {
			return fmt.Errorf("%w, or auto", err)
		}
		return nil
	}
}

func duration(to *time.Duration, least, most time.Duration) reader {
	return func(s string) error {
		d, err := parseDuration(s)
		switch {
		case err != nil && isNumber(s):
			return fmt.Errorf("has no unit: write %ss for seconds", s)
		case err != nil:
			return err
		case d < least && least == 0:
			return errors.New("must not be negative: write 0s or more")
		case d < least:
			return fmt.Errorf("is too short: write %s or more", least)
		case d > most:
			return fmt.Errorf("is too long: write %s or less", inDays(most))
		case d%time.Second != 0:
			return errors.New("must be whole seconds, like 90s")
		}
		*to = d
		return nil
	}
}

func inDays(d time.Duration) string {
	if day := 24 * time.Hour; d >= day && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	return d.String()
}

func period(to *Period) reader {
	return func(s string) error {
		p, err := parsePeriod(s)
		if err != nil {
			if isNumber(s) {
				return fmt.Errorf("has no unit: write %ss for seconds, %sd for days", s, s)
			}
			return err
		}
		start := time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC)
		switch end := p.After(start); {
		case end.Before(start.Add(time.Second)):
			return errors.New("is too short: write 1s or more, like 1mo")
		case end.After(start.AddDate(10, 0, 0)):
			return errors.New("is too long: write 10y or less")
		case p.rest%time.Second != 0:
			return errors.New("must be whole seconds, like 90s")
		}
		*to = p
		return nil
	}
}

func isNumber(s string) bool {
	_, err := strconv.Atoi(s)
	return err == nil
}

func address(to *string) reader {
	return func(s string) error {
		host, port, err := net.SplitHostPort(s)
		if err != nil || strings.ContainsAny(host, " \t\r\n/") {
			return errors.New("is not an address: write HOST:PORT, or :PORT for all interfaces")
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
			return errors.New("must have a port from 0 to 65535: write HOST:PORT")
		}
		*to = s
		return nil
	}
}

func issuer(to *string) reader {
	return func(s string) error {
		u, err := url.Parse(s)
		switch {
		case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
			return errors.New("must be an absolute URL, like https://login.example.com")
		case u.User != nil:
			return errors.New("must not hold a user or password: leave out what stands before the @")
		case strings.ContainsAny(s, "?# "):
			return errors.New("must have no query, fragment or space: leave it out")
		}
		*to = s
		return nil
	}
}

func origins(to *[]string) reader {
	return func(s string) error {
		var list []string
		for part := range strings.SplitSeq(s, ",") {
			part = strings.TrimSpace(part)
			if part == "" {
				continue
			}
			if err := checkOrigin(part); err != nil {
				return err
			}
			list = append(list, part)
		}
		*to = list
		return nil
	}
}

// checkOrigin takes an origin only as browsers send it (RFC 6454 §6.2); written otherwise it would never match.
func checkOrigin(s string) error {
	u, err := url.Parse(s)
	switch {
	case strings.Contains(s, "*"):
		return errors.New("has a wildcard, with which any website could sign customers in: list each origin, like https://shop.example")
	case err != nil || u.Scheme == "" || u.Host == "" || u.User != nil:
		return fmt.Errorf("has %s, which is no origin: write scheme://host or scheme://host:port", quote(s))
	case s != u.Scheme+"://"+u.Host:
		return fmt.Errorf("has %s, which is more than an origin: write %s", quote(s), plain(u.Scheme+"://"+u.Host))
	case s != strings.ToLower(s):
		return fmt.Errorf("has %s, but browsers send origins in lower case: write %s", quote(s), plain(strings.ToLower(s)))
	case u.Scheme == "https" && u.Port() == "443" || u.Scheme == "http" && u.Port() == "80":
		return fmt.Errorf("has %s, but browsers leave out the port of the scheme: write %s", quote(s), plain(strings.TrimSuffix(s, ":"+u.Port())))
	}
	return nil
}
