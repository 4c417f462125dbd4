package server_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/server"
)

func TestHashKindsCountFormatsAndCosts(t *testing.T) {
	t.Parallel()
	tail := demoHash.Reveal()[7:]
	const argon = "$argon2id$v=19$m=1024,t=2,p=1$ang4R3J6WmEvM3RKUS95ZA$YM0lBV3xr9cpK4C9Zt6lYrcJPEUoecIdV6moO6E4mQ8"
	var hashes []secret.Text
	for kind, n := range map[string]int{
		"$2y$12$" + tail: 3, "$2a$12$" + tail: 2, "$2b$12$" + tail: 1, "$2y$04$" + tail: 4, "$2y$10$" + tail: 1,
		argon: 2, "$1$salt$md5": 1, "$2y$17$" + tail: 1, "plain text": 1,
	} {
		for range n {
			hashes = append(hashes, secret.Text(kind))
		}
	}
	got := server.HashKinds(hashes)
	want := []server.HashKind{
		{Name: "bcrypt, cost 12", Cost: 12, Count: 6},
		{Name: "bcrypt, cost 4", Cost: 4, Count: 4, Weak: true},
		{Count: 3},
		{Name: "argon2id, m=1024, t=2, p=1", Count: 2},
		{Name: "bcrypt, cost 10", Cost: 10, Count: 1},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(server.HashKind{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if text := fmt.Sprintf("%v %+v %#v", got, got, got); strings.Contains(text, tail) || strings.Contains(text, "ang4R3J6") {
		t.Errorf("a hash shows: %s", text)
	}
	if none := server.HashKinds(nil); len(none) != 0 {
		t.Errorf("no hashes: %v", none)
	}
}

func TestWorkOfAHashKindCostsWhatItSays(t *testing.T) {
	t.Parallel()
	took := func(cost string) time.Duration {
		kinds := server.HashKinds([]secret.Text{secret.Text("$2y$" + cost + "$" + demoHash.Reveal()[7:])})
		begun := time.Now()
		kinds[0].Work()
		return time.Since(begun)
	}
	cheap, dear := took("04"), took("11")
	for range 20 { // the quickest of many is what it costs: the machine may have stood still meanwhile
		cheap = min(cheap, took("04"))
	}
	if dear < 4*cheap { // 128 times, on a machine that does nothing else
		t.Errorf("cost 4 took %s, cost 11 took %s", cheap, dear)
	}
}
