package server_test

import (
	"bytes"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/server"
	"github.com/glueauth/glueauth/store/sqlstore"
)

// question is one of testdata/phporacle.php. With a hash it asks for a verdict, else for a hash.
type question struct {
	Password  []byte         `json:"password"`
	Hash      string         `json:"hash,omitempty"`
	Algorithm string         `json:"algorithm,omitempty"`
	Options   map[string]int `json:"options,omitempty"` // of PHP's own password_hash; without them Symfony's hasher is asked
	Time      *int           `json:"time"`
	Memory    *int           `json:"memory"` // bytes
	Cost      *int           `json:"cost"`
}

// askPHP has Debian's PHP with Symfony's hasher answer the questions.
func askPHP[T any](t *testing.T, questions []question) []T {
	t.Helper()
	if _, err := os.Stat("/usr/share/php/Symfony/Component/PasswordHasher/autoload.php"); err != nil {
		t.Fatalf("Debian's php-symfony-password-hasher is missing (%v): run make deps", err)
	}
	in, err := json.Marshal(questions)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "php", "-d", "error_reporting=-1", "-d", "display_errors=stderr", "testdata/phporacle.php")
	cmd.Stdin = bytes.NewReader(in)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("php: %v (Debian's php-cli, see make deps)\n%s", err, stderr.String())
	}
	var answers []T
	if err := json.Unmarshal(out, &answers); err != nil || len(answers) != len(questions) {
		t.Fatalf("php: %d answers to %d questions: %v", len(answers), len(questions), err)
	}
	return answers
}

// edgePasswords are those where hashers differ, by name.
func edgePasswords() map[string]string {
	a := func(n int) string { return strings.Repeat("a1b2c3d4", n/8+1)[:n] }
	return map[string]string{
		"0 bytes": "", "1 byte": "x", "zero digit": "0", "71 bytes": a(71), "72 bytes": a(72), "73 bytes": a(73), "4096 bytes": a(4096), "4097 bytes": a(4097),
		"NUL alone": "\x00", "NUL first": "\x00secret", "NUL within": "with\x00nul", "NUL last": "secret\x00", "NUL as byte 72": a(71) + "\x00", "NUL as byte 73": a(72) + "\x00",
		"UTF-8": "pässwörd € 😀", "UTF-8 of 72 bytes": strings.Repeat("ü", 36), "UTF-8 cut at 72 bytes": "x" + strings.Repeat("ü", 36), "no UTF-8": "\xff\xfe\x80\xa3",
		"space first": " secret", "space last": "secret ", "only spaces": "   ", "line break": "secret\n", "decomposed": "pa\u0308sswort",
	}
}

// near are p itself and passwords that a hasher could take for it.
func near(p string) []string {
	sum := sha512.Sum512([]byte(p))
	list := []string{p, p + "x", p + "\x00", strings.TrimSpace(p), base64.StdEncoding.EncodeToString(sum[:])}
	if p != "" {
		last := len(p) - 1
		list = append(list, p[:last], p[:last]+string([]byte{p[last] ^ 1}), p[:min(len(p), 72)], strings.Split(p, "\x00")[0])
	}
	var once []string
	for _, guess := range list {
		if !slices.Contains(once, guess) {
			once = append(once, guess)
		}
	}
	return once
}

func pointerTo(n int) *int { return &n }

// hashed is an edge password as PHP has hashed it.
type hashed struct {
	name, password, hash string
	dear                 bool // each verdict costs much
}

// hashedByPHP returns PHP's hashes of the edge passwords: those of Symfony's hasher, and where that refuses, PHP's own ones.
func hashedByPHP(t *testing.T) (all []hashed) {
	t.Helper()
	forms := map[string]question{
		"bcrypt 4":           {Algorithm: "2y", Cost: pointerTo(4)},
		"argon2i":            {Algorithm: "argon2i", Time: pointerTo(3), Memory: pointerTo(10 << 10)},
		"argon2id":           {Algorithm: "argon2id", Time: pointerTo(3), Memory: pointerTo(10 << 10)},
		"PHP's bcrypt":       {Algorithm: "2y", Options: map[string]int{"cost": 4}},
		"PHP's argon2id p=2": {Algorithm: "argon2id", Options: map[string]int{"memory_cost": 16, "time_cost": 1, "threads": 2}},
	}
	usual := map[string]question{
		"usual bcrypt": {Algorithm: "2y", Cost: pointerTo(10)}, "usual argon2i": {Algorithm: "argon2i"}, "usual argon2id": {Algorithm: "argon2id"},
	}
	var questions []question
	ask := func(form, name string, q question, dear bool) {
		password := edgePasswords()[name]
		tooLong := len(password) > 4096 && q.Options == nil
		if tooLong || form == "PHP's bcrypt" && strings.Contains(password, "\x00") {
			return // PHP makes no such hash
		}
		q.Password = []byte(password)
		questions, all = append(questions, q), append(all, hashed{name: form + " of " + name, password: password, dear: dear})
	}
	for name := range edgePasswords() {
		for form, q := range forms {
			ask(form, name, q, false)
		}
	}
	for form, q := range usual {
		ask(form, "73 bytes", q, true)
	}
	for i, hash := range askPHP[string](t, questions) {
		all[i].hash = hash
		if letters := "$2y$"; strings.HasPrefix(all[i].name, "bcrypt 4") { // the older letters of the same
			for _, older := range []string{"$2a$", "$2b$"} {
				all = append(all, hashed{name: all[i].name + " as " + older, password: all[i].password, hash: older + strings.TrimPrefix(hash, letters)})
			}
		}
	}
	return all
}

func TestVerdictsOnPHPsHashesEqualPHPs(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	var questions []question
	var users []string // who has the hash of each question
	for i, c := range hashedByPHP(t) {
		email := fmt.Sprintf("c%d@b.example", i)
		h.add(sqlstore.NewCustomer{Reference: c.name, Email: email, PasswordHash: secret.Text(c.hash), Confirmed: true})
		for n, guess := range near(c.password) {
			if n < 1 || !c.dear {
				questions, users = append(questions, question{Password: []byte(guess), Hash: c.hash}), append(users, email)
			}
		}
	}
	right := 0
	for n, verdict := range askPHP[bool](t, questions) {
		guess := string(questions[n].Password)
		_, err := h.signIn(users[n], guess)
		if err != nil && server.CodeOf(err) != server.WrongCredentials {
			t.Fatal(err)
		}
		if (err == nil) != verdict {
			t.Errorf("%s: PHP's verdict on %.80q (%d bytes) is %v, ours %v", questions[n].Hash, guess, len(guess), verdict, err == nil)
		}
		if verdict {
			right++
		}
	}
	if right < 4*len(edgePasswords()) || right > len(questions)/2 {
		t.Errorf("PHP took %d of %d guesses: that proves little", right, len(questions))
	}
}

func TestPHPRefusesToHashWhatWeRefuse(t *testing.T) {
	t.Parallel()
	for name, password := range edgePasswords() {
		if possible := password != "" && len(password) <= 4096; possible {
			continue
		}
		if _, err := server.HashPassword(secret.Text(password)); err == nil {
			t.Errorf("%s was hashed", name)
		}
	}
	if answer := askPHP[*string](t, []question{{Password: []byte(edgePasswords()["4097 bytes"]), Algorithm: "2y", Cost: pointerTo(4)}}); answer[0] != nil {
		t.Errorf("PHP hashed 4097 bytes: %s", *answer[0])
	}
}

func TestPHPsVerdictsOnOurHashes(t *testing.T) {
	t.Parallel()
	var questions []question
	var want []bool
	for _, name := range []string{"72 bytes", "73 bytes", "4096 bytes", "NUL within", "UTF-8 cut at 72 bytes", "space last"} {
		password := edgePasswords()[name]
		hash, err := server.HashPassword(secret.Text(password))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		questions, want = append(questions, question{Password: []byte(password), Hash: hash.Reveal()}), append(want, true)
		if name == "73 bytes" {
			questions, want = append(questions, question{Password: []byte(password + "x"), Hash: hash.Reveal()}), append(want, false)
		}
	}
	for i, verdict := range askPHP[bool](t, questions) {
		if verdict != want[i] {
			t.Errorf("PHP's verdict on %.80q (%d bytes) is %v, want %v", questions[i].Password, len(questions[i].Password), verdict, want[i])
		}
	}
}
