// Package storetest is the contract of package store as tests: one suite for every store that keeps sessions.
//
// The suite knows a store by its calls and by the clock it was given, so it runs unchanged on a store in a file, in another
// process or on a network. Scripts (rows.go) walk through the rows of the rotation table one by one with their boundaries;
// rules.go, adopt.go, signout.go, endall.go, revoked.go, told.go and seen.go hold what is true beside the table; race.go and revokerace.go let many ask at
// the same time, and linear.go checks that whatever they are told could have happened one after the other; property.go
// compares the store with a model (model.go) in random histories.
package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/glueauth/glueauth/store"
)

// Sessions is what the suite tests.
type Sessions interface {
	Open(ctx context.Context, in store.SignIn) (store.SignedIn, error)
	Adopt(ctx context.Context, a store.Adoption) (store.RotateResult, error)
	Rotate(ctx context.Context, r store.Rotation) (store.RotateResult, error)
	End(ctx context.Context, e store.Ending) (bool, error)
	EndAll(ctx context.Context, e store.EndingAll) error
	// Session returns a session as it stands, or [store.ErrNotFound]. It changes nothing.
	Session(ctx context.Context, subject store.Subject, name store.SessionName) (store.Snapshot, error)
	// SessionsOf returns a subject's sessions, the newest sign-in first, and his record, nil when there is none: those that
	// live, and of those that have ended at least the last eight that ended one by one. Those that a sign-out everywhere
	// ended may be missing. It changes nothing.
	SessionsOf(ctx context.Context, subject store.Subject) ([]store.Snapshot, *store.SubjectRecord, error)
	// Record returns his record alone, at a cost that does not grow with his sessions.
	Record(ctx context.Context, subject store.Subject) (*store.SubjectRecord, error)
	// Locate returns whose session this is, or [store.ErrNotFound]. It may read through the whole store.
	Locate(ctx context.Context, name store.SessionName) (store.Subject, error)
	// Revoked returns what has ended since the call that returned after, perhaps with some of before; it changes nothing.
	Revoked(ctx context.Context, after int64) (list []store.Revocation, next int64, err error)
	ForgetRevoked(ctx context.Context, age time.Duration) error
}

// Run runs the suite. open returns an empty store whose clock is now, and cleans up after the test by itself; stores may
// share a server, for every test has customers and names of its own. The suite sets the clock forward and back, and calls
// it from several goroutines.
func Run(t *testing.T, open func(t *testing.T, now func() time.Time) Sessions) {
	t.Helper()
	for name, test := range map[string]func(t *testing.T, k *kit){
		"rows":                         testRows,
		"remembered uses":              testRememberedUses,
		"newest generation":            testNewestGeneration,
		"absence":                      testAbsence,
		"sign-in":                      testSignIn,
		"rows of a taken-over session": testAdoptedRows,
		"take-over":                    testAdopt,
		"void take-overs":              testVoidAdoptions,
		"what nothing brings back":     testNothingBringsItBack,
		"take-over that is refused":    testDiscard,
		"cap at the take-over":         testAdoptCap,
		"what the shop said":           testSub,
		"racers with a shop's token":   testAdoptRacers,
		"signing out wins a take-over": testAdoptAgainstEndAll,
		"taken name":                   testTakenName,
		"expiry":                       testExpiry,
		"absolute end":                 testAbsoluteEnd,
		"password mark":                testPasswordMark,
		"scopes":                       testScopes,
		"untouched":                    testUntouched,
		"observed reuse":               testObservedReuse,
		"ending":                       testEnding,
		"ending by a client":           testEndingByClient,
		"cap":                          testCap,
		"call that nobody waits for":   testGivenUp,
		"sign-out of others":           testOthers,
		"refused sign-outs":            testRefusedSignOuts,
		"lost answer of others":        testLostOthers,
		"copies that are shut":         testShut,
		"others again and again":       testOthersAgain,
		"sign-out of all":              testAll,
		"everything ends":              testEndAll,
		"everything ends of nobody":    testEndAllOfNobody,
		"floor":                        testFloor,
		"timeline":                     testTimeline,
		"timeline of a dead session":   testDeadTimeline,
		"visitors":                     testVisitors,
		"sessions of a customer":       testSessionsOf,
		"whose session it is":          testLocate,
		"remembered for a day":         testRemembered,
		"racers with one token":        testRacers,
		"racers with different tokens": testMixedRacers,
		"ending against refreshing":    testEndAgainstRotate,
		"revoking wins":                testRevokeWins,
		"sign-ins against the cap":     testRacingSignIns,
		"what has ended is listed":     testRevoked,
		"all at once is listed":        testAllRevoked,
		"who signs in right after":     testSparedFromAll,
		"some order explains it":       testLinear,
		"any history":                  testModel,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClock()
			test(t, newKit(open(t, c.now), c))
		})
	}
}
