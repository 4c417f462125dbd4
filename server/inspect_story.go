package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/glueauth/glueauth/config/secret"
	"github.com/glueauth/glueauth/keys"
	"github.com/glueauth/glueauth/store"
)

// Explain tells why somebody was signed out, or that he was not: the story of the session that who names, or those of a
// customer's sessions, the newest sign-in first. A token that is not ours has a story too.
func (i *Inspector) Explain(ctx context.Context, who secret.Text) (Story, error) {
	f, err := i.find(ctx, who)
	if errors.Is(err, errForeign) {
		return Story{foreignStory()}, nil
	}
	if shop, ok := errors.AsType[shopTokenError](err); ok {
		return Story{shop.story(i.config.Now())}, nil
	}
	if err != nil {
		return Story{}, err
	}
	if err := i.look(ctx, &f); err != nil {
		return Story{}, err
	}
	if f.session == nil {
		return i.storyOfCustomer(ctx, f)
	}
	lines := i.aboutToken(f)
	s, err := i.snapshot(ctx, f)
	switch {
	case errors.Is(err, errNoRecord):
		return Story{append(lines, i.noRecord(f)...)}, nil
	case err != nil:
		return Story{}, err
	}
	return Story{append(lines, i.storyOf(f, s)...)}, nil
}

// mostStories is how many sessions of a customer are told of.
const mostStories = 10

func (i *Inspector) storyOfCustomer(ctx context.Context, f found) (Story, error) {
	all, _, err := i.sessions.SessionsOf(ctx, f.subject)
	if err != nil {
		return Story{}, unavailable(err)
	}
	now := i.config.Now()
	alive := 0
	for _, s := range all {
		if cause, _ := s.State(now); cause == "" {
			alive++
		}
	}
	lines := []string{fmt.Sprintf("C%s: %d of his sessions live, %d that ended are still remembered.", strings.TrimPrefix(person(f), "c"), alive, len(all)-alive)}
	if flaw := i.shutOut(f); flaw != "" {
		lines = append(lines, "He cannot sign in: "+flaw+".")
	}
	for n, s := range all {
		if n == mostStories {
			return Story{append(lines, "", fmt.Sprintf("The %d older ones are in the list of his sessions; ask for one by its name.", len(all)-n))}, nil
		}
		one := f
		one.session = &s.Name
		lines = append(append(lines, ""), i.storyOf(one, s)...)
	}
	return Story{lines}, nil
}

// shutOut tells why not even the right password signs the customer in, "" if it does.
func (i *Inspector) shutOut(f found) string {
	if f.known == nil {
		return ""
	}
	if cause := i.barred(*f.known); cause != "" {
		return reason(cause)
	}
	if !verifiable(f.known.PasswordHash) {
		return "no password is stored for him that can be verified"
	}
	return ""
}

func foreignStory() []string {
	return []string{
		"This is no token of this server, so nothing is known of it.",
		"It is cut off or mistyped, it was forged, or another server made it: the shop itself, another installation, or this one " +
			"before its master key or its signing key was replaced.",
	}
}

// shopTokenError says that an access token is genuine, but of the shop that had the key before.
type shopTokenError struct{ claims keys.Claims }

func (shopTokenError) Error() string {
	return "that is an access token of the shop's own: no session of this server belongs to it"
}

func (e shopTokenError) story(now time.Time) []string {
	until := "By itself it is good until " + when(e.claims.ExpiresAt) + "."
	if !now.Before(e.claims.ExpiresAt) {
		until = "It expired at " + when(e.claims.ExpiresAt) + " by itself."
	}
	return []string{
		"This is an access token of the shop's own, from before this server took its key over: no session here belongs to it. " + until,
		"It was issued at " + when(e.claims.IssuedAt) + ": the shop refuses it once the customer has changed his password after that, or was anonymised.",
	}
}

// aboutToken tells what the pasted token says by itself.
func (i *Inspector) aboutToken(f found) []string {
	if f.kind == "" {
		return nil
	}
	what := "an " + f.kind
	if f.generation > 0 {
		what = fmt.Sprintf("refresh token %d", f.generation)
	}
	if !i.config.Now().Before(f.expiresAt) {
		return []string{fmt.Sprintf("This is %s of this server. It expired at %s by itself.", what, when(f.expiresAt)), ""}
	}
	return []string{fmt.Sprintf("This is %s of this server. By itself it is good until %s.", what, when(f.expiresAt)), ""}
}

func (i *Inspector) noRecord(f found) []string {
	lines := []string{fmt.Sprintf("The store has no record of session %s of %s.", f.session, person(f))}
	switch {
	case f.kind == "":
		return append(lines, "There never was one, it was cleaned up a day after its expiry, or the store lost it.")
	case !i.config.Now().Before(f.expiresAt):
		return append(lines, "Records are cleaned up a day after the expiry of the session, so this one has expired, or had ended before.")
	default:
		return append(lines, "The token is genuine, so there was one, and the store lost it: it was restarted without its data, it failed over before the "+
			"sign-in was copied, it deleted sessions when its memory was full, or this server was given another store.")
	}
}

// storyOf tells of one session.
func (i *Inspector) storyOf(f found, s store.Snapshot) []string {
	now := i.config.Now()
	cause, since := s.State(now)
	if swept(s) { // it ended then, not when it was next used
		since = s.Record.Floor
	}
	lines := []string{fmt.Sprintf("Session %s of %s at client %s", s.Name, person(f), s.Client)}
	if cause == "" {
		lines = append(lines, fmt.Sprintf("It is alive: refresh token %d can be used until %s, and the session ends at %s at the latest.", s.Cur, when(s.ExpiresAt), when(s.EndsAt)))
		lines = append(lines, i.outlook(f, s)...)
	} else {
		lines = append(lines, "It ended"+at(since)+": "+why(cause, s)+".")
	}
	return append(append(lines, ""), events(s)...)
}

// outlook tells what the next refresh of a living session comes to.
func (i *Inspector) outlook(f found, s store.Snapshot) (lines []string) {
	if cause := i.refusal(f, s); cause != "" {
		lines = append(lines, "But the next refresh will end it: "+reason(cause)+".")
	}
	if f.generation > 0 && len(lines) == 0 {
		here, there := i.verdict(f, s, s.Device), i.verdict(f, s, store.DeviceMark{})
		if here == there {
			return []string{fmt.Sprintf("If refresh token %d were used now, %s.", f.generation, here)}
		}
		lines = append(lines, fmt.Sprintf("If refresh token %d were used now on the device of the newest refresh, %s.", f.generation, here),
			fmt.Sprintf("If it were used on any other device, %s.", there))
	}
	return lines
}

// refusal returns why the customer would be refused at the next refresh, "" if he would not.
func (i *Inspector) refusal(f found, s store.Snapshot) store.Cause {
	switch {
	case f.known == nil || f.known.Anonymised:
		return store.CauseGone
	case i.config.CustomerCheckObserved:
		return ""
	case i.barred(*f.known) != "":
		return i.barred(*f.known)
	case i.marks.ofPassword(*f.known) != s.Password:
		return store.CausePassword
	default:
		return ""
	}
}

// verdict asks the table itself what would become of the token, on a copy of the session.
func (i *Inspector) verdict(f found, s store.Snapshot, device store.DeviceMark) string {
	if !i.config.Now().Before(f.expiresAt) {
		return "it would be refused: it has expired by itself; that would not end the session"
	}
	try := s.Session
	try.Timeline = slices.Clone(try.Timeline)
	record := *s.Record // it lives
	result, _ := try.Rotate(store.Rotation{
		Name: s.Name, Subject: s.Subject, Generation: f.generation, Client: s.Client, Password: s.Password, Device: device,
		Lifetime: time.Second, Windows: i.config.Refresh.Windows, ReuseKeepsAlive: i.config.Refresh.ReuseKeepsAlive,
	}, &record, i.config.Now())
	switch {
	case result.Outcome == store.Reused && !try.EndedAt.IsZero():
		return "that would be taken for theft and would end the session: it was exchanged long ago, so only a second holder can still have it"
	case result.Outcome == store.Reused:
		return "it would be refused as a stolen one; the session would go on, since refresh.reuse is observe"
	case result.Outcome == store.Replayed:
		return "it would be answered with the newest refresh token once more, as for a lost answer or a second tab"
	case result.Outcome == store.Displaced:
		return "it would be answered with a new refresh token in the place of the newest one, as for an answer that was lost"
	case result.Outcome.Succeeded():
		return "it would be exchanged"
	case result.Cause == store.CauseEpoch:
		return "it would be refused: its holder was signed out when the customer signed out everywhere else; that would not end the session"
	default:
		return "it would be refused"
	}
}

// person names the customer for people.
func person(f found) string {
	if f.known == nil {
		return fmt.Sprintf("customer %d (not in the database any more)", f.subject.ID)
	}
	return fmt.Sprintf("customer %d (%s, %s)", f.known.ID, f.known.Reference, f.known.Email)
}

func when(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func at(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " at " + when(t)
}
