package keys

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/glueauth/glueauth/config/secret"
)

// ErrClosed says that a number means a master key that was closed.
var ErrClosed = errors.New("the master key of that number was closed; set refresh.mac_key to the number of the newest one")

// markPurposes is what sessions and stores remember by the first master key, for as long as they live: none of it opens
// anything, but without it every device and every password would look like another one.
func markPurposes() []string {
	return []string{"device-mark", "password-mark", "retry-key", "dummy-cost", "fingerprint", "guess"}
}

const (
	markCount    = 6
	closedPrefix = "marks:" // before what is left of a closed key
	untilMark    = "@"      // before the time from which on a key is not needed
)

// closedMarks is what a closed key has derived for each of markPurposes.
type closedMarks [markCount * masterBytes]byte

// mark is Derive of a closed key.
func (k masterKey) mark(purpose string, number byte, n int) ([]byte, error) {
	i := slices.Index(markPurposes(), purpose)
	if i < 0 || number != k.from || n > masterBytes {
		return nil, fmt.Errorf("derive a key for %s by number %d: %w", purpose, number, ErrClosed)
	}
	return slices.Clone(k.marks[i*masterBytes:][:n]), nil
}

// closed returns what is left of a key.
func (m *Master) closed(k masterKey) (masterKey, error) {
	if k.secret == nil {
		return k, nil
	}
	left := masterKey{from: k.from, marks: new(closedMarks)}
	for i, purpose := range markPurposes() {
		derived, err := m.Derive(purpose, k.from, masterBytes)
		if err != nil {
			return masterKey{}, err
		}
		copy(left.marks[i*masterBytes:], derived)
	}
	return left, nil
}

// parseNumbered reads a key behind its number.
func parseNumbered(text string) (masterKey, error) {
	if encoded, ok := strings.CutPrefix(text, closedPrefix); ok {
		marks, err := base64.StdEncoding.Strict().DecodeString(encoded)
		if err != nil || len(marks) != len(closedMarks{}) {
			return masterKey{}, errMasters
		}
		return masterKey{marks: (*closedMarks)(marks)}, nil
	}
	text, at, closing := strings.Cut(text, untilMark)
	m, err := parseOne(secret.Text(text))
	if err != nil {
		return masterKey{}, err
	}
	k := m.keys[0]
	if closing {
		if k.until, err = time.Parse(time.RFC3339, at); err != nil {
			return masterKey{}, errMasters
		}
	}
	return k, nil
}

// textOf writes keys as [ParseMaster] reads them.
func textOf(all []masterKey) []byte {
	var text []byte
	for _, k := range all {
		text = fmt.Appendf(text, "%d:", k.from)
		switch {
		case k.secret == nil:
			text = fmt.Appendf(text, "%s%s", closedPrefix, base64.StdEncoding.EncodeToString(k.marks[:]))
		case k.until.IsZero():
			text = base64.StdEncoding.AppendEncode(text, k.secret[:])
		default:
			text = fmt.Appendf(base64.StdEncoding.AppendEncode(text, k.secret[:]), "%s%s", untilMark, k.until.UTC().Format(time.RFC3339))
		}
		text = append(text, '\n')
	}
	return text
}

// Closing says how an old master key is closed.
type Closing struct {
	Number byte                // what refresh tokens are made with now
	Now    time.Time           // of the command
	Until  time.Time           // end of the longest refresh token that may have been made until now
	Force  bool                // before its time
	Fits   func(*Master) error // asks whether all that is sealed opens with what is left; nil: nothing is
}

// CloseMaster takes the keys before the newest one out of the file; of the first one, what sessions remember devices and
// passwords by stays. The first call writes down from when on they are not needed any more, and returns that time. A call
// after it removes them and returns the zero time, one before it is an error unless it is forced.
func CloseMaster(path string, c Closing) (until time.Time, err error) {
	m, release, err := openToChange(path)
	if err != nil {
		return time.Time{}, err
	}
	defer release()
	newest, older := m.keys[0].from, m.keys[1:]
	if !slices.ContainsFunc(older, func(k masterKey) bool { return k.secret != nil }) {
		return time.Time{}, fmt.Errorf("%s holds no old master key; put a new one before it with `glueauth master-key rotate` first", path)
	}
	if c.Number < newest {
		return time.Time{}, fmt.Errorf("refresh tokens are still made with the old master key; set refresh.mac_key to %d for all servers and restart them first", newest)
	}
	until, noted := note(older, c.Until)
	switch {
	case c.Force || !noted && !c.Now.Before(until):
		return time.Time{}, m.dropOlder(path, c.Fits)
	case noted:
		return until, replaceFile(path, textOf(m.keys))
	default:
		return time.Time{}, fmt.Errorf("the old master key is needed until %s, when the last refresh token made with it expires; wait, or sign those customers out with --now",
			until.Format(time.RFC3339))
	}
}

// note writes down until when keys are needed that do not say so yet, and reports whether there were any; it returns the
// latest of all these times.
func note(older []masterKey, end time.Time) (until time.Time, noted bool) {
	for i := range older {
		if older[i].secret != nil && older[i].until.IsZero() {
			older[i].until, noted = end.UTC().Truncate(time.Second).Add(time.Second), true
		}
		if older[i].until.After(until) {
			until = older[i].until
		}
	}
	return until, noted
}

// dropOlder leaves the newest key and the marks of the first one.
func (m *Master) dropOlder(path string, fits func(*Master) error) error {
	first, err := m.closed(m.keys[len(m.keys)-1])
	if err != nil {
		return err
	}
	left := &Master{[]masterKey{m.keys[0], first}}
	if fits != nil {
		if err := fits(left); err != nil {
			return fmt.Errorf("the old master key is still needed: %w", err)
		}
	}
	return replaceFile(path, textOf(left.keys))
}
