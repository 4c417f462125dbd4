// Package store holds the records of the two things this server remembers, and the contract of whoever keeps them.
// It knows no database, no OAuth and no HTTP; the interfaces themselves stand with their caller, in package server.
//
// # Customers
//
// [Customer] is one row of the shop's customers. A look-up returns [ErrNotFound] when there is no such customer and an
// error that wraps [ErrUnavailable] when the database could not say. Looking up never writes.
//
// # Sessions
//
// [Session] is one sign-in of one customer at one client. Its refresh tokens are its generations, numbered from 1.
// Nothing in the record is a credential: the session id stands in the token only, the record is found by its name, the
// hash of that id. Beside it lives one small [SubjectRecord] for each customer, with the epoch his sessions must carry.
//
// A session that a shop began is taken over by [Adoption]: the shop's refresh token is its generation 0, and its record
// outlives that token, so that nothing brings it back.
//
// Four rules hold for every store:
//
//   - Absence means invalid. A session whose record, or whose subject's record, is gone is refused; losing data may sign
//     somebody out and never revives a dead token.
//   - Open, Adopt, Rotate, End and EndAll are each one atomic step, also against each other and over processes. Two calls never
//     see the same state and both change it. What a step does to a session's timeline is part of the step.
//   - EndAll costs the same however many sessions there are: it replaces the epoch and leaves the sessions as they are.
//   - A store that cannot say (down, slow, full, read-only) returns an error that wraps [ErrUnavailable]. The caller
//     may ask again: a call that was carried out although its answer was lost is answered by the table as a replay.
//
// Whatever has ended or expired is kept for [Remembered] after [Session.Until], so that an operator can be told why.
//
// # What has ended
//
// A store also keeps a list of what has ended, so that whoever judges access tokens without asking about each (a gateway)
// can be told. Whatever ends by Open, Adopt, Rotate, End, EndAll or Import stands in the list before that call returns without
// an error; sessions that expire do not. A call that has ended something and could not write that down is an error that wraps
// [ErrUnavailable], and its repetition writes it down.
//
// Revoked(ctx, after) returns the entries that were written since the call that returned after (0: all), perhaps with some of
// before, and what to ask with the next time; ForgetRevoked(ctx, age) deletes those that were written that long ago.
//
// # Guesses and time
//
// Failed guesses of passwords are counted by the rules in guess.go.
//
// Rotate decides by the table in rotate.go, with ages by the store's own clock; callers pass durations.
// The suite in storetest is this contract as tests.
package store

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"time"

	"github.com/glueauth/glueauth/config/secret"
)

var (
	// ErrNotFound says that the record asked for does not exist.
	ErrNotFound = errors.New("not found")
	// ErrUnavailable says that the store could not answer. It is never a verdict on what was asked.
	ErrUnavailable = errors.New("store unavailable")
	// ErrReadOnly says that the account may look and not write. Nothing was changed.
	ErrReadOnly = errors.New("store is read-only")
)

// Customer is one customer of the shop. Its identity is ID; reference, e-mail and UUID are attributes.
type Customer struct {
	ID           int64
	Reference    string
	Email        string
	UUID         string      // empty where the shop has none
	CompanyUser  string      // UUID of his one active company user, empty for none
	PasswordHash secret.Text // as stored (bcrypt or argon2 in PHP's forms); empty when he has none
	Confirmed    bool        // false: double opt-in is not finished
	Blocked      bool
	Anonymised   bool
}

// SubjectKind tells what kind of person a session belongs to; the values are part of the refresh token.
type SubjectKind uint8

// The kinds of subjects.
const (
	SubjectCustomer SubjectKind = 1
	SubjectAgent    SubjectKind = 2
	SubjectGuest    SubjectKind = 3
)

// Subject names whom a session belongs to.
type Subject struct {
	Kind SubjectKind
	ID   int64
}

type (
	// SessionName is the first half of SHA-256 of the session id: the key of the record, fit for logs and for jti.
	SessionName [16]byte
	// Epoch is copied into each session at sign-in; a session is valid while its subject still has the same one.
	Epoch [8]byte
	// DeviceMark is a keyed hash of address prefix and user agent.
	DeviceMark [16]byte
	// PasswordMark is a keyed hash of customer id and stored password hash, as of the moment the password was verified.
	PasswordMark [8]byte
	// RetryDigest is a keyed hash of a retry key; the zero value means that none was sent.
	RetryDigest [16]byte
	// SubMark is a hash of what the sub of a taken-over session tells about its customer.
	SubMark [8]byte
)

// String returns the name as 32 hex digits.
func (n SessionName) String() string { return hex.EncodeToString(n[:]) }

// MaxGeneration is the newest generation a session can reach; a refresh of it ends the session.
const MaxGeneration = 1<<32 - 2

// RememberedUses is for how many generations a session remembers when they were used.
const RememberedUses = 16

// Remembered is for how long a session's record outlives its expiry.
const Remembered = 24 * time.Hour

// AgentLength is how many bytes of a user agent a [Visitor] keeps.
const AgentLength = 32

// Visitor is where a call came from. It is shown to operators and never compared; the device mark is what decides.
type Visitor struct {
	Address netip.Addr // without a zone; the zero address for an operator, or when it is not known
	Agent   string     // the user agent, cut to AgentLength bytes
}

// Session is the record of one sign-in. Times are whole seconds of the store's own clock, in UTC.
type Session struct {
	Name     SessionName
	Subject  Subject
	Client   string
	Scopes   []string
	Epoch    Epoch
	Password PasswordMark

	Base uint32 // the newest generation that was used, 0 at sign-in and after the take-over
	Cur  uint32 // the newest generation given out, 1 at sign-in, 0 of one taken over and not refreshed yet
	// Uses holds at index g mod 16, for the sixteen generations up to Base, when g got its newest successor, in Unix
	// seconds; 0 means never.
	Uses     [RememberedUses]uint32
	RetryKey RetryDigest // of the newest rotation
	Device   DeviceMark  // of the newest rotation, of the sign-in before the first one
	Replays  uint32      // answers given twice
	// Shut is the newest generation used when the customer signed out everywhere else from this session, 0 for never.
	// What is not newer was signed out with the rest, but for a lost answer of that call itself.
	Shut uint32
	// BaseExpiresAt is the expiry of the token of generation Base, as it was presented. Another token of that generation
	// was given out before the store lost writes.
	BaseExpiresAt time.Time
	// RejoinedAt is when Base was last taken for a second copy (row 7), zero for never since the newest rotation. From then
	// on it counts as a racing tab of that copy (row 6).
	RejoinedAt time.Time

	First    Visitor // of the sign-in
	Last     Visitor // of the newest call that was answered with a token
	Timeline []Entry // the newest TimelineLength entries, the oldest first

	// ShopExpiresAt is the expiry of the shop's refresh token that the session was taken over with, which is its generation
	// 0; zero for a session of our own. Sub is what the shop's access tokens said of its customer, empty when it is made
	// anew from his row; it is good as long as his SubMark stays what it was.
	ShopExpiresAt time.Time
	Sub           string
	SubMark       SubMark

	StartedAt time.Time
	RotatedAt time.Time // the newest rotation, the sign-in before the first one
	ExpiresAt time.Time // of generation Cur
	EndsAt    time.Time // absolute end; no rotation moves it

	EndedAt time.Time // zero while the session lives
	Cause   Cause     // why it ended
}

// SubjectRecord is what a store keeps for each subject that has sessions.
type SubjectRecord struct {
	Epoch     Epoch
	ExpiresAt time.Time // at least the latest expiry of his sessions

	// Floor is when all his sessions were ended at once, to the second, zero for never: what he held before is void, a
	// shop's own refresh token too. FloorCause and FloorFrom say why, and from where.
	Floor      time.Time
	FloorCause Cause
	FloorFrom  netip.Addr

	// ShopFloor is when it last showed that he had changed his password or was blocked or gone, zero for never: what the shop
	// gave out to him before is void, while his sessions are judged one by one.
	ShopFloor time.Time
}

// FloorLife is for how long at least a floor is kept: no refresh token of a shop lives longer.
const FloorLife = 31 * 24 * time.Hour

// Cause says why a session ended or was refused. It goes into records, logs and metric labels.
type Cause string

// The causes.
const (
	CauseMissing     Cause = "store_lost"        // genuine token, no record
	CauseExpired     Cause = "expired"           // by the store's clock, which is ahead of the caller's
	CauseEpoch       Cause = "signed_out"        // everywhere: the subject's epoch was replaced, or his record is gone
	CauseAll         Cause = "signed_out_all"    // with this session, its customer signed out everywhere
	CauseRevoked     Cause = "revoked"           // by its own client (RFC 7009)
	CauseOperator    Cause = "operator"          // by an operator
	CausePassword    Cause = "password_changed"  // another password hash than at sign-in
	CauseReuse       Cause = "reuse"             // a generation came back that only a second holder can have
	CauseExhausted   Cause = "exhausted"         // MaxGeneration was reached
	CauseTooMany     Cause = "too_many_sessions" // the longest unused one above the cap
	CauseGone        Cause = "customer_gone"
	CauseBlocked     Cause = "customer_blocked"
	CauseUnconfirmed Cause = "customer_unconfirmed"
)

// SignIn asks a store to open a session.
type SignIn struct {
	Name       SessionName
	Subject    Subject
	Client     string
	Scopes     []string
	Password   PasswordMark
	Device     DeviceMark
	Address    AddressMark // to be known from now on; zero: not
	From       Visitor
	FreshEpoch Epoch         // taken where the subject has no record yet
	Lifetime   time.Duration // of the first generation
	MaxLife    time.Duration // of the session
	MaxOpen    int           // living sessions of this subject after the call; the longest unused end first
}

// SignedIn is what became of a [SignIn].
type SignedIn struct {
	ExpiresAt time.Time // of generation 1
	Ended     int       // sessions that the cap ended
}

// Ending asks a store to end one session.
type Ending struct {
	Subject Subject
	Name    SessionName
	Client  string // empty: whoever's it is; else nothing happens unless it is this client's
	Cause   Cause
	From    Visitor
}

// EndingAll asks a store to end all sessions of a subject, by giving him a fresh epoch.
type EndingAll struct {
	Subject    Subject
	FreshEpoch Epoch
	Cause      Cause
	From       Visitor
}
