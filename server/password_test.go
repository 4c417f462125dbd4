package server_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/server"
	"github.com/glueauth/glueauth/store/sqlstore"
)

// phpVerdicts were made and verified by PHP 8.2 and Symfony's NativePasswordHasher; each password is right, and wrong
// with its last bit turned.
func phpVerdicts() map[string]struct{ password, hash string } {
	return map[string]struct{ password, hash string }{
		"bcrypt of one":         {"x", "$2y$04$MwqIvUPurfz0d9wiILzNG.lEGnKEUoZiH169oRlLOKU41SSpZRyie"},
		"bcrypt of change123":   {"change123", "$2y$04$1xGacDeKDuDxo8c4FNwpE.5K9D4YMSnzFVPemrsGmgnQ8tGc7.lLi"},
		"bcrypt of space":       {" lead and trail ", "$2y$04$XZOmnQc1tnaTxslleNSn8.RiJRP8fnR4F7EKAYGGfq0UjbpN2vS7y"},
		"bcrypt of utf8":        {"p\u00e4ssw\u00f6rd \u20ac", "$2y$04$KN7wVZLh/N92aI4YSjoYf.lhnp8KljUyKurO66OMeYf9BKdn5SRZ2"},
		"bcrypt of 71":          {strings.Repeat("a1", 35) + "b", "$2y$04$LqfiZJzezUQ.NJ2V61ugD.k59qHKsTo1yJKsrp2wQF0jux1jOBLo."},
		"bcrypt of 72":          {strings.Repeat("a1", 36), "$2y$04$LDivrDZqTgCjVqBB0GciOuTpjOt4VP/YwfTg9Tkwq.J4.T1LqF9ja"},
		"bcrypt of 73":          {strings.Repeat("a1", 36) + "b", "$2y$04$gsGKopLx7m7clCbi09xPgeH/ZlB9d5wU5pzrskSwpia/BK9qdezl."},
		"bcrypt of 80":          {strings.Repeat("xyz0", 20), "$2y$04$S1QnDT6UkrfdXsG64o6ENOpc9yLoDNpAk9CHAlpFbEJwnwE0/mrI2"},
		"bcrypt of 128":         {strings.Repeat("LongPass", 16), "$2y$04$.kqP8iy2nY9wI5.ii.i/V.tdxREaJe7O5xCNXTSTdDu8HgBgwInkm"},
		"bcrypt of 4096":        {strings.Repeat("0123456789abcdef", 256), "$2y$04$kTBBaKyunXFjPJJUVdmsBuFVPwyLYEW/H3X2q63QlGsAShSsrtRGG"},
		"bcrypt of nul":         {"with\x00nul", "$2y$04$SB3BGOw1QqHlR8j5RAjQwu8Dfl9FgOMz7UzQdLIIMo9v17T6nWhme"},
		"argon2id of change123": {"change123", "$argon2id$v=19$m=1024,t=2,p=1$ang4R3J6WmEvM3RKUS95ZA$YM0lBV3xr9cpK4C9Zt6lYrcJPEUoecIdV6moO6E4mQ8"},
		"argon2id of utf8":      {"p\u00e4ssw\u00f6rd \u20ac", "$argon2id$v=19$m=1024,t=2,p=1$Qm00Y0poN3J6V1dxYjhKWg$SvQa59PkqQ3Oxy5tDKS0SfAu4bE9nsoL3Xl+yeIM3Mo"},
		"argon2id of 80":        {strings.Repeat("xyz0", 20), "$argon2id$v=19$m=1024,t=2,p=1$TXJvejFsM3BoYXQ0czdGUg$udzTz8rPN5w70Wot0/EdEDyBqzAOfGOG7A0Y66Io6Go"},
		"argon2id of nul":       {"with\x00nul", "$argon2id$v=19$m=1024,t=2,p=1$NmRBMFRvTXQxWWRKaXF3Wg$bbGn4bdZ/eg8pkwZT8W2wW9TcXTre2ALDNTn3rIv6us"},
		"argon2i of change123":  {"change123", "$argon2i$v=19$m=1024,t=2,p=1$UFh4UUczMFVHdENucXZsOQ$DXtEq81Q/U/+PGYKbqU3xs8fGrwSs643xtmAp559h2o"},
		"argon2i of utf8":       {"p\u00e4ssw\u00f6rd \u20ac", "$argon2i$v=19$m=1024,t=2,p=1$RVlVR0o0MzVydXBmbUdsLg$RArpYQfB8s1Wf9suRO0bynrlV3ZYDA+bqZmRtPKlEYE"},
		"argon2i of 80":         {strings.Repeat("xyz0", 20), "$argon2i$v=19$m=1024,t=2,p=1$UmtnOC90NHRWVmFFSjRPOA$qtbylXNdwMTi5YKJFtfxuOAgbwPIp+WuBt9XR0PYOHY"},
		"argon2i of nul":        {"with\x00nul", "$argon2i$v=19$m=1024,t=2,p=1$Z0M0MnlVdzhKMXNRanF5dA$AJ4hP54aT6vz/wLtPYd/7htb/Gz38NOqH5ETqBZuhkk"},
	}
}

func TestPasswordVerdictsEqualTheShops(t *testing.T) {
	t.Parallel()
	for name, c := range phpVerdicts() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			h.add(sqlstore.NewCustomer{Reference: "DE--1", Email: "a@b.example", PasswordHash: secret.Text(c.hash), Confirmed: true})
			last := len(c.password) - 1
			wrong := c.password[:last] + string(c.password[last]^1)
			if _, err := h.signIn("a@b.example", wrong); server.CodeOf(err) != server.WrongCredentials {
				t.Errorf("last bit turned: got %v, want %s", err, server.WrongCredentials)
			}
			if _, err := h.signIn("a@b.example", c.password); err != nil {
				t.Errorf("right password refused: %v", err)
			}
		})
	}
}

func TestImpossiblePasswordsAreWrong(t *testing.T) {
	t.Parallel()
	longest := phpVerdicts()["bcrypt of 4096"]
	h := newHarness(t)
	h.add(sqlstore.NewCustomer{Reference: "DE--1", Email: "a@b.example", PasswordHash: secret.Text(longest.hash), Confirmed: true})
	h.add(sqlstore.NewCustomer{Reference: "DE--2", Email: "none@b.example", Confirmed: true})
	h.add(sqlstore.NewCustomer{Reference: "DE--3", Email: "odd@b.example", PasswordHash: demoHash, Confirmed: true})
	h.exec(`UPDATE customers SET password = '$2y$04$short' WHERE customer_reference = 'DE--3'`)
	if err := h.server.SampleCosts(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ user, password string }{
		"empty":                   {"a@b.example", ""},
		"one byte over":           {"a@b.example", longest.password + "x"},
		"customer without a hash": {"none@b.example", "x"},
		"broken hash":             {"odd@b.example", "x"},
		"unknown customer":        {"nobody@b.example", "x"},
	} {
		if _, err := h.signIn(c.user, c.password); server.CodeOf(err) != server.WrongCredentials {
			t.Errorf("%s: got %v, want %s", name, err, server.WrongCredentials)
		}
	}
	if _, err := h.signIn("A@B.Example", longest.password); err != nil {
		t.Errorf("4096 bytes, other case of the address: %v", err)
	}
}

func TestNewHashesAreTheShopsKind(t *testing.T) {
	t.Parallel()
	for _, impossible := range []secret.Text{"", secret.Text(strings.Repeat("x", 4097))} {
		if _, err := server.HashPassword(impossible); err == nil {
			t.Errorf("a password of %d bytes was hashed", len(impossible))
		}
	}
	password := secret.Text(strings.Repeat("long and unlike others, ", 4))
	hash, err := server.HashPassword(password)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(hash.Reveal(), "$2y$12$") || len(hash) != 60 {
		t.Errorf("got a hash of %d bytes that starts %.7s, want 60 and $2y$12$", len(hash), hash.Reveal())
	}
	h := newHarness(t)
	h.add(sqlstore.NewCustomer{Reference: "DE--1", Email: "a@b.example", PasswordHash: hash, Confirmed: true})
	if _, err := h.signIn("a@b.example", password.Reveal()); err != nil {
		t.Errorf("the password of a new hash was refused: %v", err)
	}
}

func TestUnknownNamesKeepTheirCost(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	const cheap, dear = "$2y$04$", "$2y$05$"
	add := func(n int, cost string) {
		h.add(sqlstore.NewCustomer{
			Reference: fmt.Sprintf("DE--%d", n), Email: fmt.Sprintf("c%d@b.example", n), Confirmed: true,
			PasswordHash: secret.Text(cost + demoHash.Reveal()[len(cost):]),
		})
		if err := h.server.SampleCosts(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 40 {
		add(n, []string{cheap, dear}[n%2])
	}
	costs := func() (all []string) {
		for n := range 1000 {
			all = append(all, h.server.DummyHash(fmt.Sprintf("nobody%d@b.example", n)).Reveal()[:len(cheap)])
		}
		return all
	}
	before := costs()
	add(40, dear)
	moved, cheaper := 0, 0
	for i, cost := range costs() {
		if cost != before[i] {
			moved++
		}
		if cost == cheap {
			cheaper++
		}
	}
	if moved > 50 {
		t.Errorf("one new customer gave %d of 1000 names another cost", moved)
	}
	if cheaper < 400 || cheaper > 600 {
		t.Errorf("%d of 1000 names cost what half of the customers cost", cheaper)
	}
}

// TestSpellingsOfUnknownNamesCostAsThoseOfKnownOnes : a customer is found by his address in any case, and by no other spelling: that costs what it costs by chance.
func TestSpellingsOfUnknownNamesCostAsThoseOfKnownOnes(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for n, cost := range []string{"$2y$04$", "$2y$05$"} {
		h.add(sqlstore.NewCustomer{
			Reference: fmt.Sprintf("DE--%d", n), Email: fmt.Sprintf("c%d@b.example", n), Confirmed: true,
			PasswordHash: secret.Text(cost + demoHash.Reveal()[len(cost):]),
		})
	}
	if err := h.server.SampleCosts(t.Context()); err != nil {
		t.Fatal(err)
	}
	alike := 0
	for n := range 1000 {
		name := fmt.Sprintf("nobody%d@b.example", n)
		cost := h.server.DummyHash(name)
		if h.server.DummyHash(strings.ToUpper(name)) != cost {
			t.Fatalf("%s costs something else in upper case", name)
		}
		if h.server.DummyHash(" "+name) == cost {
			alike++
		}
	}
	if alike < 400 || alike > 600 {
		t.Errorf("%d of 1000 names cost the same in another spelling, want half", alike)
	}
}
