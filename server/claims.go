package server

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/glueauth/glueauth/store"
)

// accessToken is what an access token says (spec 4.1 and the decisions).
type accessToken struct {
	client   *Client
	customer store.Customer
	scopes   []string
	jti      [40]byte
	issuedAt time.Time
	issuer   string
	sub      string // the shop's own, empty to make it from the customer
}

// claims returns the JWT's payload: the reference's claims in its order, then iss where one is set, then the client's
// extra claims. No extra claim has the name of another, so none can override one.
func (t accessToken) claims() ([]byte, error) {
	subject, err := t.subject()
	if err != nil {
		return nil, err
	}
	at := t.issuedAt.Unix()
	b := []byte(`{"aud":`)
	b = appendJSON(b, t.client.ID)
	b = append(b, `,"jti":"`...)
	b = hex.AppendEncode(b, t.jti[:])
	b = fmt.Appendf(b, `","iat":%d,"nbf":%d,"exp":%d,"sub":`, at, at, at+int64(t.client.AccessLifetime/time.Second))
	b = appendJSON(b, subject)
	b = append(b, `,"scopes":`...)
	b = appendJSON(b, t.scopes)
	if t.issuer != "" {
		b = append(b, `,"iss":`...)
		b = appendJSON(b, t.issuer)
	}
	extra := t.extra()
	for _, name := range t.client.Claims {
		b = append(b, ',')
		b = appendJSON(b, name)
		b = append(b, ':')
		b = appendJSON(b, extra[name])
	}
	return append(b, '}'), nil
}

// extra holds the values of the claims that a client may opt in to.
func (t accessToken) extra() map[string]any {
	return map[string]any{
		"client_id":          t.client.ID,
		"customer_reference": t.customer.Reference,
		"email":              t.customer.Email,
		"id_customer":        t.customer.ID,
		"scope":              strings.Join(t.scopes, " "),
		"uuid":               t.customer.UUID,
	}
}

// ExtraClaims returns the names of the flat claims that a client may opt in to, sorted.
func ExtraClaims() []string {
	return []string{"client_id", "customer_reference", "email", "id_customer", "scope", "uuid"}
}

// idLength is how many hex digits of a jti name its session; the rest is random.
const idLength = 2 * (1 + 8 + len(store.SessionName{}))

// identify makes the first half of a jti: subject kind and id, session name. It names the session and is no credential.
func identify(t refreshToken) []byte {
	name := t.name()
	return append(ofSubject(t.subject), name[:]...)
}

// ofSubject is a subject in nine bytes.
func ofSubject(s store.Subject) []byte {
	return binary.BigEndian.AppendUint64([]byte{byte(s.Kind)}, uint64(s.ID)) //nolint:gosec // the same 64 bits back and forth
}

// identified returns the session that a jti names, and false when it is none of ours.
func identified(jti string) (store.Subject, store.SessionName, bool) {
	b, err := hex.DecodeString(jti[:min(len(jti), idLength)])
	if err != nil || len(b) != idLength/2 {
		return store.Subject{}, store.SessionName{}, false
	}
	subject := store.Subject{Kind: store.SubjectKind(b[0]), ID: int64(binary.BigEndian.Uint64(b[1:]))} //nolint:gosec // see identify
	return subject, store.SessionName(b[9:]), subject.Kind == store.SubjectCustomer
}

func (t accessToken) subject() (string, error) {
	switch t.client.Subject {
	case SubjectReference:
		return t.customer.Reference, nil
	case SubjectUUID:
		if t.customer.UUID == "" {
			return "", fmt.Errorf("customer %d has no UUID: give client %q another subject", t.customer.ID, t.client.ID)
		}
		return t.customer.UUID, nil
	default:
		if t.sub != "" {
			return t.sub, nil
		}
		return glueSubject(t.customer), nil
	}
}

// glueSubject is the reference's JSON object in a string: its members and their order, nulls kept (spec 4.2).
func glueSubject(c store.Customer) string {
	company := "null"
	if c.CompanyUser != "" {
		company = sprykerString(c.CompanyUser)
	}
	return `{"id_company_user":` + company + `,"id_agent":null,"customer_reference":` + sprykerString(c.Reference) +
		`,"id_customer":` + strconv.FormatInt(c.ID, 10) + `,"permissions":null}`
}

// sprykerString encodes as the reference does: <>&'" and everything outside ASCII as \uXXXX, the slash escaped.
func sprykerString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '/':
			b.WriteString(`\/`)
		case r == '\\':
			b.WriteString(`\\`)
		case strings.ContainsRune(`<>&'"`, r):
			fmt.Fprintf(&b, `\u%04X`, r)
		case r >= ' ' && r < 0x7f:
			b.WriteRune(r)
		default:
			for _, unit := range utf16.Encode([]rune{r}) {
				fmt.Fprintf(&b, `\u%04x`, unit)
			}
		}
	}
	b.WriteByte('"')
	return b.String()
}

// appendJSON appends a string, number or list of strings; slashes and Unicode stay as they are (spec 4.2).
func appendJSON(b []byte, v any) []byte {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil { // impossible for these types
		return append(b, "null"...)
	}
	return append(b, bytes.TrimSuffix(buffer.Bytes(), []byte("\n"))...)
}
