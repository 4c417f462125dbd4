package sqlitestore

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/glueauth/glueauth/store"
)

// entrySize is the length of a timeline's entry in its column: time 4 bytes, happening 1, generation 4, address 16, count 2.
const entrySize = 27

// columns are those of a session that are not its fields as they stand.
type columns struct {
	scopes                                                                     string
	name, epoch, password, uses, retry, device, first, last, timeline, subMark []byte
	started, rotated, expires, ends, ended, base, rejoined, shop               int64
}

// fill sets the fields of a session and reports whether all columns fit.
func (c columns) fill(s *store.Session) bool {
	s.StartedAt, s.RotatedAt, s.ExpiresAt, s.EndsAt, s.EndedAt = at(c.started), at(c.rotated), at(c.expires), at(c.ends), at(c.ended)
	s.BaseExpiresAt, s.RejoinedAt, s.ShopExpiresAt = at(c.base), at(c.rejoined), at(c.shop)
	return json.Unmarshal([]byte(c.scopes), &s.Scopes) == nil && fill(s.Name[:], c.name) && fill(s.Epoch[:], c.epoch) &&
		fill(s.Password[:], c.password) && fill(s.RetryKey[:], c.retry) && fill(s.Device[:], c.device) && fillUses(&s.Uses, c.uses) &&
		fillAddress(&s.First.Address, c.first) && fillAddress(&s.Last.Address, c.last) && fillTimeline(&s.Timeline, c.timeline) &&
		fill(s.SubMark[:], c.subMark)
}

// changing returns the columns that a call may change, in the order of insertSession and updateSession.
func changing(s store.Session) ([]any, error) {
	scopes, err := json.Marshal(s.Scopes)
	if err != nil {
		return nil, fmt.Errorf("write scopes: %w", err)
	}
	uses := make([]byte, 0, 4*len(s.Uses))
	for _, use := range s.Uses {
		uses = binary.BigEndian.AppendUint32(uses, use)
	}
	return []any{
		string(scopes), s.Epoch[:], s.Base, s.Cur, uses, s.RetryKey[:], s.Device[:], s.Replays,
		s.Shut, unix(s.BaseExpiresAt), unix(s.RejoinedAt), address(s.Last.Address), s.Last.Agent, timeline(s.Timeline), s.RotatedAt.Unix(), s.ExpiresAt.Unix(), unix(s.EndedAt), string(s.Cause), s.Sub, s.SubMark[:],
	}, nil
}

func timeline(entries []store.Entry) []byte {
	value := make([]byte, 0, entrySize*len(entries))
	for _, e := range entries {
		value = binary.BigEndian.AppendUint32(value, uint32(min(max(e.At.Unix(), 0), 1<<32-1)))
		value = append(value, byte(e.What))
		value = binary.BigEndian.AppendUint32(value, e.Generation)
		value = append(value, address(e.Address)...)
		value = binary.BigEndian.AppendUint16(value, e.Count)
	}
	return value
}

func fillTimeline(entries *[]store.Entry, value []byte) bool {
	if len(value)%entrySize != 0 || len(value) > entrySize*store.TimelineLength {
		return false
	}
	for v := range slices.Chunk(value, entrySize) {
		e := store.Entry{
			At:         time.Unix(int64(binary.BigEndian.Uint32(v)), 0).UTC(),
			What:       store.Happening(v[4]),
			Generation: binary.BigEndian.Uint32(v[5:]),
			Count:      binary.BigEndian.Uint16(v[25:]),
		}
		fillAddress(&e.Address, v[9:25])
		*entries = append(*entries, e)
	}
	return true
}

// address returns sixteen bytes, those of IPv4 mapped, zero for the zero address.
func address(a netip.Addr) []byte {
	value := a.As16()
	return value[:]
}

func fillAddress(a *netip.Addr, value []byte) bool {
	var bytes [16]byte
	if !fill(bytes[:], value) {
		return false
	}
	if bytes != [16]byte{} {
		*a = netip.AddrFrom16(bytes).Unmap()
	}
	return true
}

// fill copies a column into a field and reports whether it fits.
func fill(field, value []byte) bool {
	return copy(field, value) == len(field) && len(value) == len(field)
}

func fillUses(uses *[store.RememberedUses]uint32, value []byte) bool {
	if len(value) != 4*len(uses) {
		return false
	}
	for i := range uses {
		uses[i] = binary.BigEndian.Uint32(value[4*i:])
	}
	return true
}

// unix and at turn a time into its column and back; 0 stands for the zero time.
func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

func at(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}
