package sqlitestore_test

import (
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/pressly/goose/v3"

	"github.com/glueauth/glueauth/store"
	"github.com/glueauth/glueauth/store/sqlitefile"
	"github.com/glueauth/glueauth/store/sqlitestore"
)

// manySessions gives customer 1 so many sessions more, all copies of his first.
func manySessions(tb testing.TB, f *sqlitefile.File, n int) {
	tb.Helper()
	var columns string
	if err := f.Read.QueryRow("SELECT group_concat(name) FROM pragma_table_info('sessions') WHERE name <> 'name'").Scan(&columns); err != nil {
		tb.Fatal(err)
	}
	_, err := f.Write.Exec(`INSERT INTO sessions (name, `+columns+`) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < ?)
		SELECT CAST(printf('%016d', i) AS BLOB), `+columns+` FROM sessions, n WHERE subject_id = 1`, n)
	if err != nil {
		tb.Fatal(err)
	}
}

func endAll(epoch byte) store.EndingAll {
	return store.EndingAll{
		Subject: signIn(1).Subject, FreshEpoch: store.Epoch{epoch}, Cause: store.CauseOperator,
		From: store.Visitor{Address: netip.MustParseAddr("192.0.2.7")},
	}
}

// TestSignOutOfEverythingCostsTheSame : whatever the number of sessions, as many rows and pages are written.
func TestSignOutOfEverythingCostsTheSame(t *testing.T) {
	t.Parallel()
	type cost struct {
		name        string
		rows, pages int64
	}
	costs := func(sessions int) (all []cost) {
		path := filepath.Join(t.TempDir(), "glueauth.db")
		f := file(t, path, sqlitefile.Options{})
		s := sqlitestore.Patient(f, noon)
		t.Cleanup(s.Close)
		open(t, s, 1)
		if sessions > 1 {
			manySessions(t, f, sessions-1)
		}
		if n := count(t, f, "sessions"); n != sessions {
			t.Fatalf("%d sessions", n)
		}
		for _, c := range []struct {
			name string
			call func() error
		}{
			{"of the others, by the customer", func() error { return signOut(t, s, 1, store.SignOutOthers) }},
			{"of all, by the customer", func() error { return signOut(t, s, 2, store.SignOutAll) }},
			{"of all, by an operator", func() error { return s.EndAll(t.Context(), endAll(9)) }},
		} {
			exec1(t, f.Write, "PRAGMA wal_checkpoint(TRUNCATE)")
			before := written(t, f)
			if err := c.call(); err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(path + "-wal")
			if err != nil {
				t.Fatal(err)
			}
			const header, frame = 32, 24 + 4096
			all = append(all, cost{c.name, written(t, f) - before, (info.Size() - header) / frame})
		}
		return all
	}
	one, many := costs(1), costs(10_000)
	for i, rows := range []int64{4, 3, 2} { // the subject and the session that asks, and what the list says of them
		deeper := many[i].pages - one[i].pages // an index of ten thousand entries has one level more
		if one[i].rows != rows || many[i].rows != rows || one[i].pages == 0 || deeper > 1 {
			t.Errorf("for one session %+v, for ten thousand %+v", one[i], many[i])
		}
	}
}

// written returns how many rows were written since the file was opened.
func written(t *testing.T, f *sqlitefile.File) (n int64) {
	t.Helper()
	if err := f.Write.QueryRow("SELECT total_changes()").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func signOut(t *testing.T, s *sqlitestore.Store, g uint32, which store.SignOut) error {
	t.Helper()
	r := refresh(1, g)
	r.SignOut, r.FreshEpoch = which, store.Epoch{8, byte(g)}
	got, err := s.Rotate(t.Context(), r)
	if err == nil && got.Outcome != store.Rotated {
		err = fmt.Errorf("%+v", got)
	}
	return err
}

func TestASignOutOfEverythingReachesEverySession(t *testing.T) {
	t.Parallel()
	s, f := newStore(t)
	open(t, s, 1)
	open(t, s, 2)
	manySessions(t, f, 500)
	if err := s.EndAll(t.Context(), endAll(9)); err != nil {
		t.Fatal(err)
	}
	all, record, err := s.SessionsOf(t.Context(), signIn(1).Subject)
	if err != nil || len(all) != 8 || record == nil || record.FloorCause != store.CauseOperator || !record.Floor.Equal(noon()) {
		t.Fatalf("%d sessions, %+v, %v", len(all), record, err)
	}
	for e, err := range s.Export(t.Context()) {
		if cause, since := e.State(noon()); err != nil || e.Subject.ID == 1 && (cause != store.CauseOperator || !since.Equal(noon())) {
			t.Fatalf("%s: %s since %v, %v", e.Name, cause, since, err)
		}
	}
	want(t, s, 1, 1, store.Refused)
	want(t, s, 2, 1, store.Rotated)
}

// TestOfManyDeadSessionsTheNewestAreShown : beside each one that lives, eight that were ended and eight that expired.
func TestOfManyDeadSessionsTheNewestAreShown(t *testing.T) {
	t.Parallel()
	now := noon()
	f := file(t, filepath.Join(t.TempDir(), "glueauth.db"), sqlitefile.Options{})
	s := sqlitestore.Patient(f, func() time.Time { return now })
	t.Cleanup(s.Close)
	for n := range byte(30) {
		in := signIn(1)
		in.Name = store.SessionName{n}
		if n >= 10 && n < 20 {
			in.Lifetime = time.Minute
		}
		if _, err := s.Open(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Second)
	}
	for n := range byte(10) {
		if ended, err := s.End(t.Context(), store.Ending{Subject: signIn(1).Subject, Name: store.SessionName{n}, Cause: store.CauseOperator}); !ended || err != nil {
			t.Fatal(ended, err)
		}
		now = now.Add(time.Second)
	}
	now = now.Add(time.Hour)
	all, _, err := s.SessionsOf(t.Context(), signIn(1).Subject)
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	for _, e := range all {
		got = append(got, e.Name[0])
	}
	if diff := cmp.Diff([]byte{29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 9, 8, 7, 6, 5, 4, 3, 2}, got); diff != "" {
		t.Error(diff)
	}
	if cause, _ := all[10].State(now); cause != store.CauseExpired {
		t.Errorf("%s is %s", all[10].Name, cause)
	}
}

// TestLookingAtSessionsDoesNotWaitForTheWriter : neither for an import of this process nor for another process.
func TestLookingAtSessionsDoesNotWaitForTheWriter(t *testing.T) {
	t.Parallel()
	s, f := newStore(t)
	in := signIn(1)
	open(t, s, 1)
	release := hold(t, f)
	defer release()
	if e, err := s.Session(t.Context(), in.Subject, in.Name); err != nil || e.Name != in.Name {
		t.Errorf("%+v, %v", e, err)
	}
	if all, _, err := s.SessionsOf(t.Context(), in.Subject); err != nil || len(all) != 1 {
		t.Errorf("%+v, %v", all, err)
	}
	if subject, err := s.Locate(t.Context(), in.Name); err != nil || subject != in.Subject {
		t.Errorf("%+v, %v", subject, err)
	}
}

func TestLookingAtSessionsOfAStoreThatCannotSay(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(*sqlitestore.Store, *sqlitefile.File) error{
		"closed": func(s *sqlitestore.Store, _ *sqlitefile.File) error { s.Close(); return nil },
		"tables absent": func(_ *sqlitestore.Store, f *sqlitefile.File) error {
			_, err := f.Write.Exec("DROP TABLE sessions")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, f := newStore(t)
			open(t, s, 1)
			if err := stop(s, f); err != nil {
				t.Fatal(err)
			}
			_, err := s.Session(t.Context(), signIn(1).Subject, signIn(1).Name)
			unavailable(t, err, "")
			_, _, err = s.SessionsOf(t.Context(), signIn(1).Subject)
			unavailable(t, err, "")
			_, err = s.Locate(t.Context(), signIn(1).Name)
			unavailable(t, err, "")
		})
	}
}

func TestTheRecordOfACustomerInAStoreThatCannotSay(t *testing.T) {
	t.Parallel()
	s, f := newStore(t)
	open(t, s, 1)
	if _, err := f.Write.Exec("DROP TABLE subjects"); err != nil {
		t.Fatal(err)
	}
	_, err := s.Record(t.Context(), signIn(1).Subject)
	unavailable(t, err, "")
	s.Close()
	_, err = s.Record(t.Context(), signIn(1).Subject)
	unavailable(t, err, "closed")
}

// TestAFileOfAnEarlierVersionKeepsItsSessions : they are refreshed as before; only where they came from is not known.
func TestAFileOfAnEarlierVersionKeepsItsSessions(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "glueauth.db")
	earlier(t, path)
	s := sqlitestore.Patient(file(t, path, sqlitefile.Options{}), noon)
	t.Cleanup(s.Close)
	in := signIn(1)
	before, err := s.Session(t.Context(), in.Subject, in.Name)
	ignored := cmpopts.IgnoreFields(store.Session{}, "Uses")
	wanted := store.Snapshot{
		Session: store.Session{
			Name: in.Name, Subject: in.Subject, Client: in.Client, Scopes: in.Scopes, Epoch: in.FreshEpoch, Password: in.Password,
			Base: 1, Cur: 2, Device: in.Device, StartedAt: noon(), RotatedAt: noon(), ExpiresAt: noon().Add(time.Hour), EndsAt: noon().Add(2 * time.Hour),
		},
		Record: &store.SubjectRecord{Epoch: in.FreshEpoch, ExpiresAt: noon().Add(time.Hour)},
	}
	if diff := cmp.Diff(wanted, before, ignored, cmpopts.EquateComparable(netip.Addr{})); err != nil || diff != "" {
		t.Fatal(err, diff)
	}
	want(t, s, 1, 1, store.Replayed)
	want(t, s, 1, 2, store.Rotated)
	if err := s.EndAll(t.Context(), endAll(9)); err != nil {
		t.Fatal(err)
	}
	want(t, s, 1, 3, store.Refused)
	after, err := s.Session(t.Context(), in.Subject, in.Name)
	if err != nil || len(after.Timeline) != 3 || after.Record.FloorFrom != endAll(9).From.Address {
		t.Errorf("%+v, %v", after, err)
	}
}

// earlier makes a file with the tables before timelines, and a session in it.
func earlier(t *testing.T, path string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}()
	exec1(t, db, fmt.Sprintf("PRAGMA application_id = %d", sqlitefile.ApplicationID))
	p, err := goose.NewProvider(goose.DialectSQLite3, db, os.DirFS("../sqlitefile/migrations"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	in := signIn(1)
	from, expires := noon().Unix(), noon().Add(time.Hour).Unix()
	uses := make([]byte, 4*store.RememberedUses)
	binary.BigEndian.PutUint32(uses[4:], uint32(from)) // of generation 1
	_, err = db.Exec("INSERT INTO sessions VALUES (?, 1, 1, ?, '[\"customer\"]', ?, ?, 1, 2, ?, ?, ?, 0, ?, ?, ?, ?, 0, '')",
		in.Name[:], in.Client, in.FreshEpoch[:], in.Password[:], uses, make([]byte, 16), in.Device[:], from, from, expires, noon().Add(2*time.Hour).Unix())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("INSERT INTO subjects VALUES (1, 1, ?, ?)", in.FreshEpoch[:], expires); err != nil {
		t.Fatal(err)
	}
}

func TestASessionThatIsNotThere(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	open(t, s, 1)
	if _, err := s.Session(t.Context(), signIn(2).Subject, signIn(1).Name); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("another customer's: %v", err)
	}
	if _, err := s.Locate(t.Context(), signIn(2).Name); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	if all, r, err := s.SessionsOf(t.Context(), signIn(2).Subject); err != nil || len(all) != 0 || r != nil {
		t.Errorf("%+v, %+v, %v", all, r, err)
	}
}

// BenchmarkEndAll shows what [TestSignOutOfEverythingCostsTheSame] proves.
func BenchmarkEndAll(b *testing.B) {
	for _, sessions := range []int{1, 10_000} {
		b.Run(fmt.Sprint(sessions), func(b *testing.B) {
			f, err := sqlitefile.Open(b.Context(), filepath.Join(b.TempDir(), "glueauth.db"), sqlitefile.Options{Create: true})
			if err != nil {
				b.Fatal(err)
			}
			s := sqlitestore.Patient(f, noon)
			defer func() {
				s.Close()
				_ = f.Close()
			}()
			if _, err := s.Open(b.Context(), signIn(1)); err != nil {
				b.Fatal(err)
			}
			if sessions > 1 {
				manySessions(b, f, sessions-1)
			}
			for epoch := byte(0); b.Loop(); epoch++ {
				if err := s.EndAll(b.Context(), endAll(epoch)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
