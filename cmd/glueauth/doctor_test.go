package main

import (
	"errors"
	"testing"
	"time"

	"github.com/glueauth/glueauth/server"
)

func TestClocksThatAreOffAreToldBeforeTheyHurt(t *testing.T) {
	t.Parallel()
	for ahead, want := range map[time.Duration]finding{
		0:                                    {"clock", isFine, "it is 0s ahead of this machine's", ""},
		-2 * time.Second:                     {"clock", isFine, "it is 2s behind this machine's", ""},
		2*time.Second + 10*time.Millisecond:  {"clock", isRisky, "it is 2.01s ahead of this machine's", "?"},
		-5*time.Second + 10*time.Millisecond: {"clock", isRisky, "it is 4.99s behind this machine's", "?"},
		5 * time.Second:                      {"clock", isBroken, "it is 5s ahead of this machine's", "?"},
		-10*time.Second - 1*time.Millisecond: {"clock", isBroken, "it is 10s behind this machine's", "?"},
	} {
		got := clock("clock", ahead, nil)
		if (got.Remedy == "") != (want.Remedy == "") {
			t.Errorf("%s: remedy %q", ahead, got.Remedy)
		}
		if got.Remedy = want.Remedy; got != want {
			t.Errorf("%s: got %+v, want %+v", ahead, got, want)
		}
	}
	if got := clock("clock", 0, errors.New("no answer: start it")); got != (finding{"clock", isBroken, "no answer", "start it"}) {
		t.Errorf("got %+v", got)
	}
}

func TestHalvesOfASentence(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]string{
		"127.0.0.1:6379 may delete sessions: set a policy": {"127.0.0.1:6379 may delete sessions", "set a policy"},
		"open it: store unavailable: dial; start it":       {"open it: store unavailable: dial", "start it"},
		"a: b: c":       {"a: b", "c"},
		"nothing to do": {"nothing to do", ""},
	} {
		if seen, remedy := halves(text); [2]string{seen, remedy} != want {
			t.Errorf("%q: got %q and %q, want %q", text, seen, remedy, want)
		}
	}
}

func TestNoServerWritesToTheTerminal(t *testing.T) {
	t.Parallel()
	if got, want := plain("told:\n\x1b[2J\u00e4 \"x\""), "told:; \ufffd[2J\u00e4 \"x\""; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTheEstimateIsOfTheCustomerInTheMiddle(t *testing.T) {
	t.Parallel()
	four, ten, twelve := server.HashKind{Name: "4", Cost: 4}, server.HashKind{Name: "10", Cost: 10}, server.HashKind{Name: "12", Cost: 12}
	argon, unknown := server.HashKind{Name: "argon"}, server.HashKind{}
	times := func(k server.HashKind, n int) server.HashKind {
		k.Count = n
		return k
	}
	for name, c := range map[string]struct {
		kinds []server.HashKind
		want  string
	}{
		"nobody":               {nil, ""},
		"nobody can sign in":   {[]server.HashKind{times(unknown, 3)}, ""},
		"one kind":             {[]server.HashKind{times(ten, 1)}, "10"},
		"half and half":        {[]server.HashKind{times(four, 1), times(twelve, 1)}, "12"},
		"most are dear":        {[]server.HashKind{times(twelve, 5), times(four, 2), times(ten, 1)}, "12"},
		"most are cheap":       {[]server.HashKind{times(four, 5), times(ten, 2), times(twelve, 1)}, "4"},
		"in the middle":        {[]server.HashKind{times(twelve, 2), times(ten, 2), times(four, 1)}, "10"},
		"argon2 beside bcrypt": {[]server.HashKind{times(argon, 9), times(ten, 1)}, "10"},
		"argon2 alone":         {[]server.HashKind{times(unknown, 9), times(argon, 1)}, "argon"},
	} {
		if got, ok := median(c.kinds); got.Name != c.want || ok != (c.want != "") {
			t.Errorf("%s: got %q, want %q", name, got.Name, c.want)
		}
	}
}
