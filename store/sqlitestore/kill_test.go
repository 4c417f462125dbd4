package sqlitestore_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/sqlitefile"
	"github.com/glueauth/glueauth/store/sqlitestore"
)

const (
	killLanes  = 8  // files, half of them power-loss safe
	killRounds = 25 // of each file
	killUsers  = 4  // customers who are busy at the same time in each round
)

// deed is a line of the child's journal: what a customer began ('?') or what the store has acknowledged to him ('!').
type deed struct {
	mark    rune
	what    string
	subject int64
	session int64
	g       uint32 // handed out
}

func (d deed) String() string {
	return fmt.Sprintf("%c %s %d %d %d\n", d.mark, d.what, d.subject, d.session, d.g)
}

func nameOf(session int64) (n store.SessionName) {
	binary.BigEndian.PutUint64(n[:], uint64(session))
	return n
}

func request(subject, session int64, g uint32) store.Rotation {
	r := refresh(0, g)
	r.Name, r.Subject.ID = nameOf(session), subject
	r.FreshEpoch = store.Epoch{1, byte(session), byte(g)}
	r.Windows.Concurrency = time.Minute
	return r
}

// liveUntilKilled is the child of TestTwoHundredKills: customers who sign in, refresh and end sessions, and a journal of it.
func liveUntilKilled(ctx context.Context, s *sqlitestore.Store, _ *sqlitefile.File) {
	seed, err := strconv.ParseInt(os.Getenv(childSeed), 10, 64)
	if err != nil {
		panic(err)
	}
	for user := range int64(killUsers) {
		go live(ctx, s, seed*killUsers+user)
	}
	select {}
}

func live(ctx context.Context, s *sqlitestore.Store, subject int64) {
	random := rand.New(rand.NewPCG(uint64(subject), 1))
	mine := map[int64]uint32{}
	next := subject * 10_000
	for {
		d := deed{what: choose(random), subject: subject, session: next}
		if len(mine) == 0 || len(mine) < 3 && random.IntN(4) == 0 {
			d.what = "open"
			next++
		} else {
			held := slices.Sorted(maps.Keys(mine))
			d.session = held[random.IntN(len(held))]
		}
		d.mark = '?'
		journal(d)
		var err error
		if d.g, err = do(ctx, s, d, mine[d.session]); err != nil {
			panic(err)
		}
		d.mark = '!'
		journal(d)
		remember(mine, d)
	}
}

// remember keeps what a deed leaves: each session's newest generation.
func remember(sessions map[int64]uint32, d deed) {
	switch d.what {
	case "end":
		delete(sessions, d.session)
	case "others", "all", "everyone":
		clear(sessions)
	}
	if d.g != 0 {
		sessions[d.session] = d.g
	}
}

func choose(random *rand.Rand) string {
	switch n := random.IntN(100); {
	case n < 80:
		return "refresh"
	case n < 88:
		return "end"
	case n < 94:
		return "others"
	case n < 97:
		return "all"
	default:
		return "everyone"
	}
}

func journal(d deed) {
	if _, err := os.Stdout.WriteString(d.String()); err != nil {
		panic(err)
	}
}

func do(ctx context.Context, s *sqlitestore.Store, d deed, g uint32) (uint32, error) {
	r := request(d.subject, d.session, g)
	switch d.what {
	case "open":
		in := signIn(0)
		in.Name, in.Subject, in.FreshEpoch = r.Name, r.Subject, store.Epoch{2, byte(d.session)}
		_, err := s.Open(ctx, in)
		return 1, err
	case "end":
		ended, err := s.End(ctx, store.Ending{Subject: r.Subject, Name: r.Name, Client: r.Client, Cause: store.CauseRevoked})
		if err == nil && !ended {
			err = fmt.Errorf("ended nothing")
		}
		return 0, err
	case "everyone":
		return 0, s.EndAll(ctx, store.EndingAll{Subject: r.Subject, FreshEpoch: store.Epoch{3, byte(d.session), byte(g)}, Cause: store.CauseOperator})
	case "others":
		r.SignOut = store.SignOutOthers
	case "all":
		r.SignOut = store.SignOutAll
	}
	got, err := s.Rotate(ctx, r)
	if err == nil && got.Outcome != store.Rotated {
		err = fmt.Errorf("%s: %+v", d.what, got)
	}
	return got.Generation, err
}

// TestTwoHundredKills : after kill -9 at any moment everything is there that was acknowledged, and what had ended stays dead.
func TestTwoHundredKills(t *testing.T) {
	t.Parallel()
	for lane := range killLanes {
		t.Run(fmt.Sprintf("file %d", lane), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "glueauth.db")
			shut(t, openFile(t, path, sqlitefile.Options{}))
			safe := childSafe + "=" + map[int]string{1: "yes"}[lane%2]
			settled := map[int64]uint32{}
			for round := range killRounds {
				seed := lane*killRounds + round
				deeds := killed(t, path, seed, safe)
				f := openFile(t, path, sqlitefile.Options{})
				s := sqlitestore.Patient(f, noon)
				verify(t, s, deeds, settled)
				s.Close()
				shut(t, f)
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
			stands(t, path, settled)
		})
	}
}

// stands fails the test if the sessions that were found after a kill have changed with the later ones.
func stands(t *testing.T, path string, settled map[int64]uint32) {
	t.Helper()
	f := file(t, path, sqlitefile.Options{})
	s := sqlitestore.Patient(f, noon)
	t.Cleanup(s.Close)
	there := map[int64]uint32{}
	for e, err := range s.Export(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		session := int64(binary.BigEndian.Uint64(e.Name[:]))
		if there[session] = e.Cur; !e.EndedAt.IsZero() {
			there[session] = 0
		}
	}
	for session, g := range settled {
		if there[session] != g {
			t.Errorf("session %d stood at generation %d, now %d", session, g, there[session])
		}
	}
	wholeFile(t, f)
}

// killed runs the child, kills it at a moment that the seed chooses, and returns its journal.
func killed(t *testing.T, path string, seed int, safe string) (deeds []deed) {
	t.Helper()
	c := child(t, "live", path, safe, fmt.Sprintf("%s=%d", childSeed, seed+1))
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	moment := rand.New(rand.NewPCG(uint64(seed), 2)).IntN(80)
	for lines := bufio.NewScanner(out); lines.Scan(); { // what it wrote until it dies is still read
		var d deed
		if _, err := fmt.Sscanf(lines.Text(), "%c %s %d %d %d", &d.mark, &d.what, &d.subject, &d.session, &d.g); err != nil {
			t.Fatal(err)
		}
		if deeds = append(deeds, d); len(deeds) == moment+1 {
			if err := c.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _ = c.Wait(); len(deeds) <= moment { // killed
		t.Fatalf("seed %d: the child ended by itself after %d lines", seed, len(deeds))
	}
	return deeds
}

// known is what the journal of a killed process proves: each customer's sessions with their newest generations, which of all
// sessions are whose, and what each customer had begun when it ended.
type known struct {
	living map[int64]map[int64]uint32
	all    map[int64]int64
	begun  map[int64]deed
}

func read(deeds []deed) known {
	k := known{living: map[int64]map[int64]uint32{}, all: map[int64]int64{}, begun: map[int64]deed{}}
	for _, d := range deeds {
		if d.mark == '?' {
			k.begun[d.subject] = d
			continue
		}
		delete(k.begun, d.subject)
		k.all[d.session] = d.subject
		if k.living[d.subject] == nil {
			k.living[d.subject] = map[int64]uint32{}
		}
		remember(k.living[d.subject], d)
	}
	return k
}

// allows reports whether a refresh of what was acknowledged last may have this outcome. What was begun may have been
// carried out.
func (k known) allows(session int64, got store.RotateResult) bool {
	subject := k.all[session]
	_, alive := k.living[subject][session]
	begun := k.begun[subject]
	switch got.Outcome {
	case store.Rotated:
		return alive
	case store.Replayed:
		return alive && begun.session == session && (begun.what == "refresh" || begun.what == "others")
	case store.Refused:
		return got.Cause != store.CauseMissing && (!alive || begun.ends(session))
	default:
		return false
	}
}

func (d deed) ends(session int64) bool {
	switch d.what {
	case "all", "everyone":
		return true
	case "others":
		return d.session != session
	case "end":
		return d.session == session
	default:
		return false
	}
}

// verify compares a file with the journal of the process that was killed, and notes the newest generation of each session, 0
// for one that has ended.
func verify(t *testing.T, s *sqlitestore.Store, deeds []deed, settled map[int64]uint32) {
	t.Helper()
	k := read(deeds)
	for session, subject := range k.all {
		g := k.living[subject][session]
		got, err := s.Rotate(t.Context(), request(subject, session, max(g, 1)))
		if err != nil || !k.allows(session, got) {
			t.Errorf("session %d, acknowledged up to %d, then began %+v: %+v, %v", session, g, k.begun[subject], got, err)
		}
		settled[session] = got.Generation
	}
}
