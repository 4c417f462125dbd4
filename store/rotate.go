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
	Generation uint32    // the presented one
	Expires    time.Time // as the presented token says; zero where that is not known
	Client     string

	Scopes       []string // asked for; meaningless unless ScopeGiven
	ScopeGiven   bool
	NarrowScopes bool // write Scopes into the record instead of using them for this answer only

	Password        PasswordMark
	SubMark         SubMark // of the customer as he is now
	IgnorePassword  bool    // refresh.customer_check: observe
	Device          DeviceMark
	Address         AddressMark // to be known from now on, where a successor is handed out for the first time; zero: not
	From            Visitor
	RetryKey        RetryDigest
	Lifetime        time.Duration // of the successor
	Windows         Windows
	ReuseKeepsAlive bool // refresh.reuse: observe

	SignOut    SignOut // never SignOutOthers with generation 0
	FreshEpoch Epoch   // of the subject, where SignOut asks for one
}

// SignOut is which sessions a [Rotation] ends if its token may be used.
type SignOut string

// The ways to sign out with a refresh token. To end only its own session is an [Ending], for which any generation will do.
const (
	SignOutNone   SignOut = ""
	SignOutOthers SignOut = "others" // all but its own, which goes on under the fresh epoch
	SignOutAll    SignOut = "all"    // its own too; no token is handed out
)

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
	// Discarded : the session was ended instead of taken over, as an [Adoption] asked.
	Discarded Outcome = "discarded"
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
	Sub        string    // the session's, after the call
	Other      Visitor   // of a reuse: who was answered last
}

// Rotate decides a rotation of a living session at the store's time now and changes the record accordingly; it reports
// whether the record changed. It is the table as code, for stores that run Go inside their transaction: the first row
// that fits decides. subject is the subject's record, nil when there is none; it changes with a sign-out, and a token
// that is handed out makes it last as long; another password raises its shop floor.
func (s *Session) Rotate(r Rotation, subject *SubjectRecord, now time.Time) (result RotateResult, changed bool) {
	if refusal, changed := s.refuse(r, subject, now); refusal.Outcome != "" {
		return refusal, changed
	}
	outcome := s.row(r, now)
	switch {
	case outcome == Refused: // signed out with the rest
		return RotateResult{Outcome: Refused, Cause: CauseEpoch}, false
	case outcome == Reused:
		return s.reuse(r, now)
	case r.SignOut == SignOutAll:
		subject.EndAll(r.endingAll(), now)
		return RotateResult{Outcome: outcome}, s.end(CauseAll, r.From, now)
	case s.exhausted(outcome, r.Generation):
		return RotateResult{Outcome: Refused, Cause: CauseExhausted}, s.end(CauseExhausted, r.From, now)
	}
	s.answer(r, outcome, now)
	if r.SignOut == SignOutOthers {
		s.signOutOthers(r, subject, now)
	}
	if s.ExpiresAt.After(subject.ExpiresAt) {
		subject.ExpiresAt = s.ExpiresAt
	}
	return RotateResult{Outcome: outcome, Generation: s.Cur, ExpiresAt: s.ExpiresAt, Scopes: slices.Clone(s.Scopes), Sub: s.Sub}, true
}

// answer writes what rows 4 to 9 write.
func (s *Session) answer(r Rotation, outcome Outcome, now time.Time) {
	g := r.Generation
	switch outcome {
	case Rotated, Healed:
		s.advance(g, outcome == Healed, now)
		s.BaseExpiresAt = r.Expires
		s.note(r, g+1, now)
	case Displaced:
		s.Uses[g%RememberedUses] = seconds(now)
		s.note(r, s.Cur+1, now)
	default:
		s.Replays++
		if g == s.Base && !s.again(r, now) {
			s.RejoinedAt = Whole(now)
		}
	}
	if s.SubMark != r.SubMark {
		s.forgetSub()
	}
	s.Last = r.From
	s.happened(happening(outcome), g, r.From, now)
	if r.ScopeGiven && r.NarrowScopes {
		s.Scopes = slices.Clone(r.Scopes)
	}
}

// reuse is row 10.
func (s *Session) reuse(r Rotation, now time.Time) (RotateResult, bool) {
	s.happened(WasReused, r.Generation, r.From, now)
	if !r.ReuseKeepsAlive || s.displaced(r.Generation) {
		s.EndedAt, s.Cause = Whole(now), CauseReuse // the entry says who
		s.forgetSub()
	}
	return RotateResult{Outcome: Reused, Cause: CauseReuse, Other: s.Last}, true
}

// signOutOthers gives the subject and this session a fresh epoch. All earlier generations are signed out with the rest: a
// copy that comes back is refused, but it is no theft, or a tab that the customer had forgotten would sign him out. Of the
// presented one a lost answer can be retried, as in row 6.
func (s *Session) signOutOthers(r Rotation, subject *SubjectRecord, now time.Time) {
	g := r.Generation
	use := s.Uses[g%RememberedUses]
	if s.Shut != s.Base { // from now on the answer may be lost; a retry of this call does not count
		use = seconds(now)
	}
	if s.Base > 0 { // else only the shop's token is used, which cannot be shut
		s.Uses = [RememberedUses]uint32{}
	}
	if g <= s.Base { // what is astray is not used, and its place is that of an older generation
		s.Uses[g%RememberedUses] = use
	}
	s.RetryKey = r.RetryKey
	s.Shut = s.Base
	s.Epoch = r.FreshEpoch
	subject.EndAll(r.endingAll(), now)
	s.happened(SignedOthers, g, r.From, now)
}

func (r Rotation) endingAll() EndingAll {
	return EndingAll{Subject: r.Subject, FreshEpoch: r.FreshEpoch, Cause: CauseEpoch, From: r.From}
}

// EndAll ends all sessions of a subject at the store's time now, but those that carry the fresh epoch. r is his record,
// zero when there is none.
func (r *SubjectRecord) EndAll(e EndingAll, now time.Time) {
	r.Epoch = e.FreshEpoch
	r.Floor, r.FloorCause, r.FloorFrom = Whole(now), e.Cause, e.From.Address
	if life := r.Floor.Add(FloorLife); life.After(r.ExpiresAt) {
		r.ExpiresAt = life
	}
}

// End ends a session at the store's time now and reports whether it did. subject is the subject's record, nil when there is
// none; causes that lie with the customer raise its shop floor.
func (s *Session) End(e Ending, subject *SubjectRecord, now time.Time) bool {
	switch {
	case e.Client != "" && e.Client != s.Client, !now.Before(s.ExpiresAt), subject == nil, subject.Epoch != s.Epoch:
		return false
	}
	ended := s.end(e.Cause, e.From, now)
	if ended && e.Cause.voidsShop() {
		subject.voidShop(now)
	}
	return ended
}

// refuse is rows 1 to 3: what ends or refuses a rotation whatever its generation. An empty result means that none fits.
func (s *Session) refuse(r Rotation, subject *SubjectRecord, now time.Time) (result RotateResult, changed bool) {
	if s.EndedAt.IsZero() && !now.Before(s.ExpiresAt) { // row 1: it only waits to be deleted
		return RotateResult{Outcome: Refused, Cause: CauseExpired}, false
	}
	if cause, dead := s.dead(r, subject); dead { // row 1
		changed := s.end(cause, r.From, now)
		if changed && cause.voidsShop() {
			subject.voidShop(now)
		}
		return RotateResult{Outcome: Refused, Cause: cause}, changed
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
func (s *Session) dead(r Rotation, subject *SubjectRecord) (Cause, bool) {
	switch {
	case !s.EndedAt.IsZero():
		return s.Cause, true
	case subject == nil || subject.Epoch != s.Epoch:
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
	case s.Shut > 0 && g <= s.Shut:
		return s.shut(r, within)
	case g == s.Cur && !s.astray(r):
		return Rotated
	case g > s.Cur:
		return Healed
	case s.repeats(r, within, now), s.astray(r) && s.joins(r, now):
		return Replayed
	case g == s.Base && s.late(r, within):
		return Displaced
	default:
		return Reused
	}
}

// shut is row 6 for what was signed out with the rest: a lost answer of that very call.
func (s *Session) shut(r Rotation, within func(time.Duration) bool) Outcome {
	if s.Base == s.Shut && r.RetryKey == s.RetryKey && within(r.Windows.Replay) {
		return Replayed
	}
	return Refused
}

// astray reports whether the presented token of generation Cur is not the one that this record gave out: it is from before
// the store lost writes, and the generation was given out a second time. Then one of the two copies may be a thief's.
// Generation 0 the shop gave out.
func (s *Session) astray(r Rotation) bool {
	return r.Generation == s.Cur && r.Generation > 0 && !r.Expires.IsZero() && !r.Expires.Equal(s.ExpiresAt)
}

// joins is rows 6 and 7 for what is astray: soon after the newest rotation, or from its device.
func (s *Session) joins(r Rotation, now time.Time) bool {
	age := Whole(now).Sub(s.RotatedAt)
	return age <= r.Windows.Replay || !s.keyed() && age <= r.Windows.Rejoin && r.Device == s.Device
}

// repeats is rows 6, 7 and 9. Row 9 may stand before row 8, for no generation fits both.
func (s *Session) repeats(r Rotation, within func(time.Duration) bool, now time.Time) bool {
	g, w := r.Generation, r.Windows
	switch {
	case g == s.Base && s.again(r, now):
		return true
	case g <= s.Base && !s.keyed() && w.Rejoin > 0 && within(w.Rejoin) && r.Device == s.Device:
		return true
	case g < s.Base && within(w.Replay):
		return s.justUsed(w, now)
	default:
		return false
	}
}

// again is row 6, of the base: soon after its use, or after it was last taken for a second copy. Without the latter, two
// tabs that come late over two networks would be given two successors. Retry keys agree also where neither has one.
func (s *Session) again(r Rotation, now time.Time) bool {
	age, used := s.age(s.Base, now)
	rejoined := !s.RejoinedAt.IsZero() && Whole(now).Sub(s.RejoinedAt) <= r.Windows.Replay
	return r.RetryKey == s.RetryKey && (used && age <= r.Windows.Replay || rejoined)
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

// late is the condition of row 8: the answer to the newest rotation was lost, and its asker comes again. A token of that
// generation from before the store lost writes belongs to somebody else.
func (s *Session) late(r Rotation, within func(time.Duration) bool) bool {
	if !r.Expires.IsZero() && !s.BaseExpiresAt.IsZero() && !r.Expires.Equal(s.BaseExpiresAt) {
		return false
	}
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
	if g > s.Base || g == 0 && !s.takenOver() || s.Base-g >= RememberedUses || s.Uses[g%RememberedUses] == 0 {
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
		if s.Base > 0 || s.takenOver() {
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
	s.RejoinedAt = time.Time{}
	s.ExpiresAt = Whole(now.Add(r.Lifetime))
	if s.ExpiresAt.After(s.EndsAt) {
		s.ExpiresAt = s.EndsAt
	}
}

// end ends a living session and reports whether it did.
func (s *Session) end(cause Cause, from Visitor, now time.Time) bool {
	if !s.EndedAt.IsZero() {
		return false
	}
	s.EndedAt, s.Cause = Whole(now), cause
	s.forgetSub()
	s.happened(Ended, 0, from, now)
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
