package store

import (
	"slices"
	"time"
)

// Windows are the bounded times within which a used generation may come back without being theft.
type Windows struct {
	Replay      time.Duration // a lost answer, racing tabs: the same successor again
	Rejoin      time.Duration // a second copy on the same device; 0 turns it off
	LateRetry   time.Duration // an answer lost for long: a new successor, the lost one is dead
	Concurrency time.Duration // one generation late while the newest was just used
}

// Rotation asks a store to exchange one generation of a session for its successor.
type Rotation struct {
	Name       SessionName
	Subject    Subject
	Generation uint32 // the presented one
	Client     string

	Scopes       []string // asked for; meaningless unless ScopeGiven
	ScopeGiven   bool
	NarrowScopes bool // write Scopes into the record instead of using them for this answer only

	Password        PasswordMark
	IgnorePassword  bool // refresh.customer_check: observe
	Device          DeviceMark
	RetryKey        RetryDigest
	Lifetime        time.Duration // of the successor
	Windows         Windows
	ReuseKeepsAlive bool // refresh.reuse: observe
}

// Outcome is the row of the table that decided a [Rotation].
type Outcome string

// The outcomes; the first four hand out a token.
const (
	Rotated      Outcome = "rotated"
	Healed       Outcome = "healed"
	Replayed     Outcome = "replayed"
	Displaced    Outcome = "displaced"
	Refused      Outcome = "refused"
	OtherClient  Outcome = "other_client"
	ScopeRefused Outcome = "scope_refused"
	Reused       Outcome = "reuse"
)

// Succeeded reports whether the outcome hands out a token.
func (o Outcome) Succeeded() bool {
	return o == Rotated || o == Healed || o == Replayed || o == Displaced
}

// RotateResult is what became of a [Rotation].
type RotateResult struct {
	Outcome    Outcome
	Cause      Cause     // of a refusal
	Generation uint32    // to hand out
	ExpiresAt  time.Time // of Generation
	Scopes     []string  // the session's, after the call
}

// Rotate decides a rotation of a living session at the store's time now and changes the record accordingly; it reports
// whether the record changed. It is the table as code, for stores that run Go inside their transaction: the first row
// that fits decides. epoch is that of the subject's record, nil when there is none.
func (s *Session) Rotate(r Rotation, epoch *Epoch, now time.Time) (result RotateResult, changed bool) {
	if refusal, changed := s.refuse(r, epoch, now); refusal.Outcome != "" {
		return refusal, changed
	}
	g := r.Generation
	outcome := s.row(r, now)
	if s.exhausted(outcome, g) {
		return RotateResult{Outcome: Refused, Cause: CauseExhausted}, s.end(CauseExhausted, now)
	}
	switch outcome {
	case Rotated, Healed:
		s.advance(g, outcome == Healed, now)
		s.note(r, g+1, now)
	case Displaced:
		s.Uses[g%RememberedUses] = seconds(now)
		s.note(r, s.Cur+1, now)
	case Replayed:
		s.Replays++
	default:
		if r.ReuseKeepsAlive && !s.displaced(g) {
			return RotateResult{Outcome: Reused, Cause: CauseReuse}, false
		}
		return RotateResult{Outcome: Reused, Cause: CauseReuse}, s.end(CauseReuse, now)
	}
	if r.ScopeGiven && r.NarrowScopes {
		s.Scopes = slices.Clone(r.Scopes)
	}
	return RotateResult{Outcome: outcome, Generation: s.Cur, ExpiresAt: s.ExpiresAt, Scopes: slices.Clone(s.Scopes)}, true
}

// refuse is rows 1 to 3: what ends or refuses a rotation whatever its generation. An empty result means that none fits.
func (s *Session) refuse(r Rotation, epoch *Epoch, now time.Time) (result RotateResult, changed bool) {
	if s.EndedAt.IsZero() && !now.Before(s.ExpiresAt) { // row 1: it only waits to be deleted
		return RotateResult{Outcome: Refused, Cause: CauseExpired}, false
	}
	if cause, dead := s.dead(r, epoch); dead { // row 1
		return RotateResult{Outcome: Refused, Cause: cause}, s.end(cause, now)
	}
	if r.Client != s.Client { // row 2
		return RotateResult{Outcome: OtherClient}, false
	}
	if r.ScopeGiven && !subset(r.Scopes, s.Scopes) { // row 3
		return RotateResult{Outcome: ScopeRefused}, false
	}
	return RotateResult{}, false
}

// dead is row 1: why the session may not be used at all.
func (s *Session) dead(r Rotation, epoch *Epoch) (Cause, bool) {
	switch {
	case !s.EndedAt.IsZero():
		return s.Cause, true
	case epoch == nil || *epoch != s.Epoch:
		return CauseEpoch, true
	case !r.IgnorePassword && s.Password != r.Password:
		return CausePassword, true
	default:
		return "", false
	}
}

// row is rows 4 to 10. The store found the record by name and subject.
func (s *Session) row(r Rotation, now time.Time) Outcome {
	g := r.Generation
	age, used := s.age(g, now)
	within := func(window time.Duration) bool { return used && age <= window }
	switch {
	case g == s.Cur:
		return Rotated
	case g > s.Cur:
		return Healed
	case s.repeats(r, within, now):
		return Replayed
	case g == s.Base && s.late(r, within):
		return Displaced
	default:
		return Reused
	}
}

// repeats is rows 6, 7 and 9. Row 9 may stand before row 8, for no generation fits both.
func (s *Session) repeats(r Rotation, within func(time.Duration) bool, now time.Time) bool {
	g, w := r.Generation, r.Windows
	switch {
	case g == s.Base && r.RetryKey == s.RetryKey && within(w.Replay): // also: neither has a key
		return true
	case g <= s.Base && !s.keyed() && w.Rejoin > 0 && within(w.Rejoin) && r.Device == s.Device:
		return true
	case g < s.Base && within(w.Replay):
		return s.justUsed(w, now)
	default:
		return false
	}
}

// exhausted reports whether the outcome needs a successor that there cannot be.
func (s *Session) exhausted(o Outcome, g uint32) bool {
	switch o {
	case Rotated, Healed:
		return g >= MaxGeneration
	case Displaced:
		return s.Cur >= MaxGeneration
	default:
		return false
	}
}

// late is the condition of row 8: the answer to the newest rotation was lost, and its asker comes again.
func (s *Session) late(r Rotation, within func(time.Duration) bool) bool {
	if s.keyed() {
		return r.RetryKey == s.RetryKey || within(r.Windows.Replay)
	}
	return within(r.Windows.LateRetry)
}

// keyed reports whether the newest rotation came with a retry key.
func (s *Session) keyed() bool { return s.RetryKey != RetryDigest{} }

// justUsed reports whether the newest used generation was used within the concurrency allowance.
func (s *Session) justUsed(w Windows, now time.Time) bool {
	age, used := s.age(s.Base, now)
	return used && age <= w.Concurrency
}

// age returns how long ago generation g got its newest successor, and false for never or forgotten. A clock that was
// set back gives 0.
func (s *Session) age(g uint32, now time.Time) (time.Duration, bool) {
	if g > s.Base || g == 0 || s.Base-g >= RememberedUses || s.Uses[g%RememberedUses] == 0 {
		return 0, false
	}
	return max(0, time.Duration(int64(seconds(now))-int64(s.Uses[g%RememberedUses]))*time.Second), true
}

// displaced reports whether g was given out and then replaced unused (row 8), as far as the record remembers. Such a
// token ends the session even where reuse is only observed, or whoever displaced the owner would stay.
func (s *Session) displaced(g uint32) bool {
	if g > s.Base {
		return g < s.Cur
	}
	return s.Base-g < RememberedUses && s.Uses[g%RememberedUses] == 0
}

// advance makes g the newest used generation. The generations it skips were displaced and count as never used, unless
// the store had lost writes: then they were used, we do not know when, and count as used now.
func (s *Session) advance(g uint32, healed bool, now time.Time) {
	skipped := uint32(0)
	if healed {
		skipped = seconds(now)
		if s.Base > 0 {
			s.Uses[s.Base%RememberedUses] = skipped
		}
	}
	for n := max(s.Base+1, g-min(g, RememberedUses)); n < g; n++ {
		s.Uses[n%RememberedUses] = skipped
	}
	s.Uses[g%RememberedUses] = seconds(now)
	s.Base = g
}

// note records the newest rotation: who asked, with what, and until when its successor is good.
func (s *Session) note(r Rotation, successor uint32, now time.Time) {
	s.Cur = successor
	s.Device = r.Device
	s.RetryKey = r.RetryKey
	s.RotatedAt = Whole(now)
	s.ExpiresAt = Whole(now.Add(r.Lifetime))
	if s.ExpiresAt.After(s.EndsAt) {
		s.ExpiresAt = s.EndsAt
	}
}

// end ends a living session and reports whether it did.
func (s *Session) end(cause Cause, now time.Time) bool {
	if !s.EndedAt.IsZero() {
		return false
	}
	s.EndedAt, s.Cause = Whole(now), cause
	return true
}

// Whole cuts t to whole seconds in UTC, the precision of the records.
func Whole(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

func seconds(t time.Time) uint32 {
	return uint32(min(max(t.Unix(), 1), 1<<32-1))
}

func subset(part, whole []string) bool {
	return !slices.ContainsFunc(part, func(scope string) bool { return !slices.Contains(whole, scope) })
}
