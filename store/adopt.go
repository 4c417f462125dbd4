package store

import (
	"slices"
	"time"
)

// Adoption asks a store to take over a session that a shop began. The shop's refresh token is generation 0 of it, and names
// it: everybody who presents that token means the same session, on every replica. Where the store has no record of it, it
// makes the one of the session and, where absent, the one of the subject; then the table of [Session.Rotate] decides, all
// in one step.
type Adoption struct {
	// Rotation is of generation 0. Its Expires is the token's own expiry, and its FreshEpoch is taken where the subject has no
	// record yet.
	Rotation

	Granted []string      // the token's scopes
	Sub     string        // what the shop's access token said of the customer; good as long as SubMark stays what it is
	MaxLife time.Duration // of the session
	MaxOpen int           // living sessions of this subject after the call; the longest unused end first

	// End has a session of which there is no record ended for that cause, instead of refreshed, so that it is never taken
	// over. A session that there is stays as it is.
	End Cause
}

// Begin makes the records of an adoption in a store that has none of the session, at the store's time now. subject is the
// subject's record, nil when there is none; it stays as it is. It returns the session as it came from the shop, or ended if
// that was asked for, and the subject's record for it. A cause says that the token is void, and nothing is to be made.
func (a Adoption) Begin(subject *SubjectRecord, now time.Time) (s Session, record SubjectRecord, void Cause) {
	record = SubjectRecord{Epoch: a.FreshEpoch}
	if subject != nil {
		record = *subject
	}
	switch {
	case !now.Before(a.Expires):
		return s, record, CauseExpired
	case !a.Expires.Add(-FloorLife).After(later(record.Floor, record.ShopFloor)): // it may be from before
		return s, record, CauseEpoch
	}
	ends := Whole(now.Add(a.MaxLife))
	s = Session{
		Name: a.Name, Subject: a.Subject, Client: a.Client, Scopes: slices.Clone(a.Granted),
		Epoch: record.Epoch, Password: a.Password, Device: a.Device, First: a.From, Last: a.From,
		ShopExpiresAt: Whole(a.Expires),
		StartedAt:     Whole(now), RotatedAt: Whole(now), ExpiresAt: earlier(Whole(a.Expires), ends), EndsAt: ends,
	}
	if a.Sub != "" {
		s.Sub, s.SubMark = a.Sub, a.SubMark
	}
	if a.End != "" {
		s.end(a.End, a.From, now)
		return s, record, ""
	}
	if s.ExpiresAt.After(record.ExpiresAt) {
		record.ExpiresAt = s.ExpiresAt
	}
	return s, record, ""
}

// Until is when a session's record is of no more use but to tell what became of it: it has expired, and so has the shop's
// token that would otherwise be taken over once more.
func (s Session) Until() time.Time {
	return later(s.ExpiresAt, s.ShopExpiresAt)
}

// voidsShop reports whether a session that ends for this cause has its customer's shop tokens void with it.
func (c Cause) voidsShop() bool { return c == CausePassword || c == CauseBlocked || c == CauseGone }

// voidShop raises the shop floor.
func (r *SubjectRecord) voidShop(now time.Time) {
	r.ShopFloor = Whole(now)
	r.ExpiresAt = later(r.ExpiresAt, r.ShopFloor.Add(FloorLife))
}

// takenOver reports whether the session has a generation 0.
func (s *Session) takenOver() bool { return !s.ShopExpiresAt.IsZero() }

// forgetSub drops what the shop said of the customer: it says something else of him now, or the session has ended.
func (s *Session) forgetSub() { s.Sub, s.SubMark = "", SubMark{} }

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
