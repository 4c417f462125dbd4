package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/glueauth/glueauth/store"
)

// step is one refresh of a script.
type step struct {
	after time.Duration // since the step before
	g     uint32
	with  []option
	token origin
	want  store.Outcome
	gen   uint32 // handed out
}

// origin tells which token of its generation is presented, by its expiry.
type origin byte

const (
	unsaid  origin = iota // its expiry is not known
	own                   // the one that the store gave out, or took last
	another               // one from before the store lost writes
)

func with(options ...option) []option { return options }

const (
	rotated   = store.Rotated
	healed    = store.Healed
	replayed  = store.Replayed
	displaced = store.Displaced
	reuse     = store.Reused
	second    = time.Second
	week      = 7 * day
)

// testRows walks through rows 4 to 10. Device 1 signed in; device 2 stands for a phone that changed the network as well
// as for a thief. A script that ends in reuse must leave an ended session behind.
func testRows(t *testing.T, k *kit) {
	for name, script := range map[string][]step{
		"row 4: the newest generation": {
			{g: 1, want: rotated, gen: 2}, {g: 2, want: rotated, gen: 3}, {g: 3, with: with(from(2), keyed(1)), want: rotated, gen: 4},
		},
		"row 4: the newest generation after long":         {{after: 30 * day, g: 1, want: rotated, gen: 2}, {after: 30 * day, g: 2, with: with(from(2)), want: rotated, gen: 3}},
		"row 4: another token of that generation":         {{g: 1, want: rotated, gen: 2}, {after: minute + second, g: 2, with: with(from(2)), token: another, want: reuse}},
		"row 4: another one on the same device":           {{g: 1, want: rotated, gen: 2}, {after: week, g: 2, token: another, want: replayed, gen: 2}, {g: 2, want: rotated, gen: 3}},
		"row 4: another one on the same device, too late": {{g: 1, want: rotated, gen: 2}, {after: week + second, g: 2, token: another, want: reuse}},
		"row 4: another one, rejoining off":               {{g: 1, want: rotated, gen: 2}, {after: minute + second, g: 2, with: with(rejoin(0)), token: another, want: reuse}},
		"row 4: another one, after a refresh with a key":  {{g: 1, with: with(keyed(1)), want: rotated, gen: 2}, {after: minute + second, g: 2, with: with(keyed(1)), token: another, want: reuse}},
		"row 4: another one within the replay window":     {{g: 1, with: with(keyed(1)), want: rotated, gen: 2}, {after: minute, g: 2, with: with(from(2)), token: another, want: replayed, gen: 2}, {g: 2, want: rotated, gen: 3}},

		"row 5: the store lost writes":               {{g: 1, want: rotated, gen: 2}, {g: 5, with: with(from(2)), want: healed, gen: 6}, {g: 6, want: rotated, gen: 7}},
		"row 5: it lost all but the sign-in":         {{g: 3, want: healed, gen: 4}, {g: 1, with: with(from(2)), want: replayed, gen: 4}},
		"row 5: what was lost counts as used now":    {{g: 1, want: rotated, gen: 2}, {after: 8 * day, g: 5, want: healed, gen: 6}, {after: week, g: 1, want: replayed, gen: 6}, {g: 4, want: replayed, gen: 6}},
		"row 5: what was lost is not new for others": {{g: 1, want: rotated, gen: 2}, {g: 5, want: healed, gen: 6}, {after: 11 * second, g: 4, with: with(from(2)), want: reuse}},
		"row 5: the answer of healing is lost":       {{g: 1, want: rotated, gen: 2}, {g: 5, want: healed, gen: 6}, {after: minute, g: 5, with: with(from(2)), want: replayed, gen: 6}},
		"row 5: a displaced one is used then":        {{g: 1, want: rotated, gen: 2}, {after: hour, g: 1, with: with(from(2)), want: displaced, gen: 3}, {g: 4, with: with(from(2)), want: healed, gen: 5}, {g: 2, want: replayed, gen: 5}},
		"row 5: a leap over all that is remembered":  {{g: 1, want: rotated, gen: 2}, {g: 100, want: healed, gen: 101}, {g: 85, want: replayed, gen: 101}, {g: 84, want: reuse}},

		"row 6: a lost answer, at the end of the window": {{g: 1, want: rotated, gen: 2}, {after: minute, g: 1, with: with(from(2)), want: replayed, gen: 2}},
		"row 6: with its retry key":                      {{g: 1, with: with(keyed(1)), want: rotated, gen: 2}, {after: minute, g: 1, with: with(from(2), keyed(1)), want: replayed, gen: 2}},
		"row 6: again and again":                         {{g: 1, want: rotated, gen: 2}, {after: 20 * second, g: 1, with: with(from(2)), want: replayed, gen: 2}, {after: 20 * second, g: 1, with: with(from(3)), want: replayed, gen: 2}, {g: 2, want: rotated, gen: 3}},
		"row 6: the clock was set back":                  {{g: 1, want: rotated, gen: 2}, {after: -hour, g: 1, with: with(from(2)), want: replayed, gen: 2}},
		"row 6: a replay is no use":                      {{g: 1, want: rotated, gen: 2}, {after: 50 * second, g: 1, with: with(from(2)), want: replayed, gen: 2}, {after: 11 * second, g: 1, with: with(from(2)), want: displaced, gen: 3}},
		"row 6: late over two networks":                  {{g: 1, want: rotated, gen: 2}, {after: day, g: 1, want: replayed, gen: 2}, {after: minute, g: 1, with: with(from(2)), want: replayed, gen: 2}, {g: 2, want: rotated, gen: 3}},
		"row 6: too late over two networks":              {{g: 1, want: rotated, gen: 2}, {after: day, g: 1, want: replayed, gen: 2}, {after: minute + second, g: 1, with: with(from(2)), want: displaced, gen: 3}},
		"row 6: a replay over the other is no rejoin":    {{g: 1, want: rotated, gen: 2}, {after: day, g: 1, want: replayed, gen: 2}, {after: minute, g: 1, with: with(from(2)), want: replayed, gen: 2}, {after: second, g: 1, with: with(from(2)), want: displaced, gen: 3}},
		"row 6: an older copy is no rejoin":              {{g: 1, want: rotated, gen: 2}, {g: 2, want: rotated, gen: 3}, {after: day, g: 1, want: replayed, gen: 3}, {g: 2, with: with(from(2)), want: displaced, gen: 4}},
		"row 6: a rejoin before the newest rotation":     {{g: 1, want: rotated, gen: 2}, {after: day, g: 1, want: replayed, gen: 2}, {g: 2, want: rotated, gen: 3}, {after: 11 * second, g: 1, with: with(from(2)), want: reuse}},
		"row 6: a late rejoin, over with the key":        {{g: 1, want: rotated, gen: 2}, {after: day, g: 1, want: replayed, gen: 2}, {g: 1, with: with(from(2), keyed(1)), want: displaced, gen: 3}},

		"row 7: a copy on the device, at the end of the window": {{g: 1, want: rotated, gen: 2}, {after: week, g: 1, want: replayed, gen: 2}},
		"row 7: a copy that is several refreshes old":           {{g: 1, want: rotated, gen: 2}, {g: 2, want: rotated, gen: 3}, {g: 3, want: rotated, gen: 4}, {after: hour, g: 1, want: replayed, gen: 4}},
		"row 7: whatever key is sent":                           {{g: 1, want: rotated, gen: 2}, {after: hour, g: 1, with: with(keyed(1)), want: replayed, gen: 2}},
		"row 7: the window is over":                             {{g: 1, want: rotated, gen: 2}, {after: week + second, g: 1, want: reuse}},
		"row 7: a replay is no use":                             {{g: 1, want: rotated, gen: 2}, {after: 6 * day, g: 1, want: replayed, gen: 2}, {after: 2 * day, g: 1, want: reuse}},
		"row 7: the newest rotation had a key":                  {{g: 1, want: rotated, gen: 2}, {g: 2, with: with(keyed(1)), want: rotated, gen: 3}, {after: hour, g: 1, want: reuse}},
		"row 7: the newest rotation came from elsewhere":        {{g: 1, want: rotated, gen: 2}, {g: 2, with: with(from(2)), want: rotated, gen: 3}, {after: hour, g: 1, want: reuse}},
		"row 7: it is the newest rotation's device that counts": {{g: 1, with: with(from(2)), want: rotated, gen: 2}, {g: 2, with: with(from(2)), want: rotated, gen: 3}, {after: hour, g: 1, with: with(from(2)), want: replayed, gen: 3}},
		"row 7: turned off":                                     {{g: 1, want: rotated, gen: 2}, {g: 2, want: rotated, gen: 3}, {after: 11 * second, g: 1, with: with(rejoin(0)), want: reuse}},
		"row 7: turned off, at the same second":                 {{g: 1, with: with(keyed(1)), want: rotated, gen: 2}, {g: 2, want: rotated, gen: 3}, {g: 2, with: with(rejoin(0), keyed(1)), want: displaced, gen: 4}},

		"row 8: an answer lost for long":              {{g: 1, want: rotated, gen: 2}, {after: minute + second, g: 1, with: with(from(2)), want: displaced, gen: 3}, {g: 3, want: rotated, gen: 4}},
		"row 8: at the end of late retry":             {{g: 1, want: rotated, gen: 2}, {after: week, g: 1, with: with(from(2)), want: displaced, gen: 3}},
		"row 8: after late retry":                     {{g: 1, want: rotated, gen: 2}, {after: week + second, g: 1, with: with(from(2)), want: reuse}},
		"row 8: late, with a key that is new":         {{g: 1, want: rotated, gen: 2}, {after: week, g: 1, with: with(from(2), keyed(1)), want: displaced, gen: 3}},
		"row 8: the same key at any age":              {{g: 1, with: with(keyed(1)), want: rotated, gen: 2}, {after: 30 * day, g: 1, with: with(from(2), keyed(1)), want: displaced, gen: 3}},
		"row 8: another key within the replay window": {{g: 1, with: with(keyed(1)), want: rotated, gen: 2}, {after: minute, g: 1, with: with(keyed(2)), want: displaced, gen: 3}},
		"row 8: another key after the replay window":  {{g: 1, with: with(keyed(1)), want: rotated, gen: 2}, {after: minute + second, g: 1, with: with(keyed(2)), want: reuse}},
		"row 8: the key left out, within the window":  {{g: 1, with: with(keyed(1)), want: rotated, gen: 2}, {after: minute, g: 1, want: displaced, gen: 3}},
		"row 8: the key left out, after the window":   {{g: 1, with: with(keyed(1)), want: rotated, gen: 2}, {after: minute + second, g: 1, want: reuse}},
		"row 8: a key that comes only with the retry": {{g: 1, want: rotated, gen: 2}, {g: 1, with: with(from(2), keyed(1)), want: displaced, gen: 3}},
		"row 8: its use is noted as now":              {{g: 1, want: rotated, gen: 2}, {after: 6 * day, g: 1, with: with(from(2)), want: displaced, gen: 3}, {after: 6 * day, g: 1, with: with(from(3)), want: displaced, gen: 4}},
		"row 8: its device is noted":                  {{g: 1, want: rotated, gen: 2}, {after: hour, g: 1, with: with(from(2)), want: displaced, gen: 3}, {after: hour, g: 1, with: with(from(2)), want: replayed, gen: 3}},
		"row 8: its key is noted":                     {{g: 1, with: with(keyed(1)), want: rotated, gen: 2}, {g: 1, with: with(keyed(2)), want: displaced, gen: 3}, {after: hour, g: 1, with: with(keyed(2)), want: displaced, gen: 4}},
		"row 8: its answer is lost too":               {{g: 1, want: rotated, gen: 2}, {after: hour, g: 1, with: with(from(2)), want: displaced, gen: 3}, {after: minute, g: 1, with: with(from(3)), want: replayed, gen: 3}},
		"row 8: the dead one is theft":                {{g: 1, want: rotated, gen: 2}, {after: hour, g: 1, with: with(from(2)), want: displaced, gen: 3}, {g: 2, want: reuse}},
		"row 8: the dead one is theft ever after":     {{g: 1, want: rotated, gen: 2}, {after: hour, g: 1, with: with(from(2)), want: displaced, gen: 3}, {g: 3, with: with(from(2)), want: rotated, gen: 4}, {g: 2, with: with(from(2)), want: reuse}},
		"row 8: several dead ones":                    {{g: 1, want: rotated, gen: 2}, {after: hour, g: 1, with: with(from(2)), want: displaced, gen: 3}, {after: hour, g: 1, with: with(from(3)), want: displaced, gen: 4}, {g: 3, with: with(from(3)), want: reuse}},
		"row 8: of the token that was used":           {{g: 1, token: own, want: rotated, gen: 2}, {after: hour, g: 1, with: with(from(2)), token: own, want: displaced, gen: 3}},
		"row 8: of another token of that generation":  {{g: 1, token: own, want: rotated, gen: 2}, {after: hour, g: 1, with: with(from(2)), token: another, want: reuse}},
		"row 8: of another one with the same key":     {{g: 1, with: with(keyed(1)), token: own, want: rotated, gen: 2}, {after: hour, g: 1, with: with(keyed(1)), token: another, want: reuse}},
		"row 8: of another one, after healing":        {{g: 3, token: own, want: healed, gen: 4}, {after: hour, g: 3, with: with(from(2)), token: another, want: reuse}},
		"row 8: of another one, after a displacement": {{g: 1, token: own, want: rotated, gen: 2}, {after: hour, g: 1, with: with(from(2)), token: own, want: displaced, gen: 3}, {after: hour, g: 1, with: with(from(3)), token: another, want: reuse}},

		"row 8: what is before the base is not retried": {{g: 1, want: rotated, gen: 2}, {g: 2, want: rotated, gen: 3}, {after: hour, g: 1, with: with(from(2)), want: reuse}},

		"row 9: one refresh late":                 {{g: 1, want: rotated, gen: 2}, {g: 2, want: rotated, gen: 3}, {after: 10 * second, g: 1, with: with(from(2)), want: replayed, gen: 3}},
		"row 9: several refreshes late":           {{g: 1, want: rotated, gen: 2}, {g: 2, want: rotated, gen: 3}, {g: 3, want: rotated, gen: 4}, {after: 10 * second, g: 1, with: with(from(2)), want: replayed, gen: 4}},
		"row 9: whatever keys there are":          {{g: 1, with: with(keyed(1)), want: rotated, gen: 2}, {g: 2, with: with(keyed(2)), want: rotated, gen: 3}, {after: 10 * second, g: 1, with: with(keyed(3)), want: replayed, gen: 3}},
		"row 9: the newest was used too long ago": {{g: 1, want: rotated, gen: 2}, {g: 2, want: rotated, gen: 3}, {after: 11 * second, g: 1, with: with(from(2)), want: reuse}},
		"row 9: at the end of the window":         {{g: 1, want: rotated, gen: 2}, {after: 50 * second, g: 2, want: rotated, gen: 3}, {after: 10 * second, g: 1, with: with(from(2)), want: replayed, gen: 3}},
		"row 9: it was used too long ago":         {{g: 1, want: rotated, gen: 2}, {after: 55 * second, g: 2, want: rotated, gen: 3}, {after: 6 * second, g: 1, with: with(from(2)), want: reuse}},

		"row 10: an ancestor":                 {{g: 1, want: rotated, gen: 2}, {g: 2, want: rotated, gen: 3}, {after: hour, g: 3, want: rotated, gen: 4}, {g: 1, with: with(from(2)), want: reuse}},
		"row 10: a thief was there first":     {{g: 1, with: with(from(2)), want: rotated, gen: 2}, {after: hour, g: 2, with: with(from(2)), want: rotated, gen: 3}, {after: hour, g: 1, want: reuse}},
		"row 10: the owner displaces a thief": {{g: 1, with: with(from(2)), want: rotated, gen: 2}, {after: hour, g: 1, want: displaced, gen: 3}, {g: 2, with: with(from(2)), want: reuse}},
	} {
		t.Run(name, func(t *testing.T) {
			s := k.open(t, k.signIn())
			expires := map[uint32]time.Time{1: s.got.ExpiresAt}
			for _, step := range script {
				k.clock.advance(step.after)
				if expires[step.g].IsZero() {
					expires[step.g] = k.clock.whole().Add(day)
				}
				options := slices.Clone(step.with)
				switch step.token {
				case unsaid:
				case own:
					options = append(options, saying(expires[step.g]))
				case another:
					options = append(options, saying(expires[step.g].Add(second)))
				}
				got := s.refresh(t, step.g, options...)
				expires[got.Generation] = got.ExpiresAt
				s.want(t, step.want, step.gen, got)
			}
			if last := script[len(script)-1]; last.want == reuse {
				s.dead(t, last.g, store.CauseReuse)
			} else {
				s.lives(t, last.gen)
			}
		})
	}
}
