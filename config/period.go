package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Period is a span on the calendar: months and days, whose length hangs on the date, and a fixed rest.
type Period struct {
	months, days int
	rest         time.Duration
}

// After returns the end of the period that starts at t, in UTC. As in PHP, a day that a month does not have runs over:
// one month after 31 January is 2 or 3 March.
func (p Period) After(t time.Time) time.Time {
	return t.UTC().AddDate(0, p.months, p.days).Add(p.rest)
}

// maxCount keeps the sums of a period far away from overflow.
const maxCount = 100_000

// parsePeriod reads years, months and days (1y2mo3d), then a Go duration; any part may be missing, but not all.
func parsePeriod(text string) (Period, error) {
	var p Period
	rest := text
	for {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		unit := calendarUnit(rest[digits:])
		if digits == 0 || unit == "" {
			break
		}
		n, err := strconv.Atoi(rest[:digits])
		if err != nil || n > maxCount {
			return Period{}, fmt.Errorf("is too long: write at most %d of a unit", maxCount)
		}
		p.add(n, unit)
		rest = rest[digits+len(unit):]
	}
	if rest == "" && text != "" {
		return p, nil
	}
	d, err := time.ParseDuration(rest)
	if err != nil || rest != text && d < 0 {
		return Period{}, errors.New("is not a period: write it like 1mo, 7d, 1y or 12h30m")
	}
	p.rest = d
	return p, nil
}

func (p *Period) add(n int, unit string) {
	switch unit {
	case "y":
		p.months += 12 * n
	case "mo":
		p.months += n
	default:
		p.days += n
	}
}

// calendarUnit returns the unit that text starts with, if it is one that Go durations do not know.
func calendarUnit(text string) string {
	for _, unit := range []string{"y", "mo", "d"} {
		if strings.HasPrefix(text, unit) {
			return unit
		}
	}
	return ""
}

// parseDuration reads a period that has a fixed length: a day counts 24 hours. What is far too long is the longest there is.
func parseDuration(text string) (time.Duration, error) {
	p, err := parsePeriod(text)
	switch {
	case err != nil:
		return 0, errors.New("is not a duration: write it like 90s, 30m, 8h or 7d")
	case p.months != 0:
		return 0, errors.New("has no fixed length in months or years: write days, like 30d")
	}
	if p.days > maxCount || p.rest > maxCount*time.Hour {
		return math.MaxInt64, nil
	}
	return time.Duration(p.days)*24*time.Hour + p.rest, nil
}
