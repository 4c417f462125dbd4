package config_test

import (
	"testing"
)

func TestAProfileFillsInWhatIsNotGiven(t *testing.T) {
	t.Parallel()
	const file = `issuer: https://login.example
clients:
  - {id: plain, profile: rfc9068}
  - {id: more, profile: rfc9068, subject: uuid, claims: [scope, client_id, email], typ: at+jwt}
  - {id: usual, profile: glue}
`
	c := mustLoad(t, file, []string{"GLUEAUTH_ACCESS_TYP=JWT"}, nil)
	type made struct {
		Type, Subject string
		Claims        []string
	}
	for i, want := range []made{
		{"at+jwt", "reference", []string{"client_id", "scope"}},
		{"at+jwt", "uuid", []string{"scope", "client_id", "email"}},
		{"JWT", "glue", nil},
	} {
		client := c.Clients[i]
		equal(t, want, made{client.Type, client.Subject, client.Claims})
	}
	rows := printed(t, c)
	equal(t, row{"at+jwt", "clients[0].profile"}, rows["clients[0].typ"])
	equal(t, row{"client_id,scope", "clients[0].profile"}, rows["clients[0].claims"])
	equal(t, row{"JWT", "access.typ"}, rows["clients[2].typ"])
}
