package sandbox

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/itchyny/timefmt-go"
)

// local returns t in the time zone of the process: that of $TZ if the computer knows
// it, or else UTC.
func (p *Process) local(t time.Time, utc bool) time.Time {
	if zone := p.Env["TZ"]; zone != "" && !utc {
		if at, err := time.LoadLocation(strings.TrimPrefix(zone, ":")); err == nil {
			return t.In(at)
		}
	}
	return t.UTC()
}

var nanoseconds = regexp.MustCompile(`%([0-9]?)N`)

// strftime formats a time as date does. It adds %N to the library's conversions.
func strftime(format string, t time.Time) (string, error) {
	pieces := strings.Split(format, "%%")
	for i, piece := range pieces {
		piece = nanoseconds.ReplaceAllStringFunc(piece, func(m string) string {
			digits := 9
			if len(m) > len("%N") {
				digits = int(m[1] - '0')
			}
			return fmt.Sprintf("%09d", t.Nanosecond())[:digits]
		})
		piece = strings.ReplaceAll(piece, "%s", strconv.FormatInt(t.Unix(), 10))
		if wide := timeWidth.FindString(piece); wide != "" {
			return "", fmt.Errorf("format %s is not supported by this machine", wide)
		}
		pieces[i] = timefmt.Format(t, piece)
	}
	return strings.Join(pieces, "%"), nil
}

// timeWidth finds conversions with a width of more than two digits.
var timeWidth = regexp.MustCompile(`%[-_0^#]*[0-9]{3,}`)

// dayOfWeek returns the next day with a name, at midnight. With which = -1 it is the
// last one, with 0 today may be it.
func dayOfWeek(name string, now time.Time, which int) (time.Time, bool) {
	for day := time.Sunday; day <= time.Saturday; day++ {
		full := strings.ToLower(day.String())
		if lower := strings.ToLower(name); lower != full && lower != full[:3] {
			continue
		}
		days := (int(day-now.Weekday()) + 7) % 7
		switch {
		case which < 0:
			days -= 7
		case which > 0 && days == 0:
			days = 7
		}
		return time.Date(now.Year(), now.Month(), now.Day()+days, 0, 0, 0, 0, now.Location()), true
	}
	return time.Time{}, false
}

var relative = regexp.MustCompile(`^(.*?)\s*([+-]?)\s*([0-9]+)\s+(sec|second|min|minute|hour|day|week|month|year)s?(\s+ago)?$`)

// relativeDate parses a date followed by a distance, as in "2024-01-15 + 2 days".
func relativeDate(text string, now time.Time) (time.Time, bool, error) {
	m := relative.FindStringSubmatch(text)
	if m == nil {
		return time.Time{}, false, nil
	}
	at := now
	if m[1] != "" {
		var err error
		if at, err = parseDate(m[1], now); err != nil {
			return at, true, err
		}
	}
	n, err := strconv.Atoi(m[3])
	if (m[2] == "-") != (m[5] != "") {
		n = -n
	}
	switch m[4] {
	case "day":
		at = at.AddDate(0, 0, n)
	case "week":
		at = at.AddDate(0, 0, 7*n)
	case "month":
		at = at.AddDate(0, n, 0)
	case "year":
		at = at.AddDate(n, 0, 0)
	default:
		unit := map[string]time.Duration{"sec": time.Second, "second": time.Second, "min": time.Minute, "minute": time.Minute, "hour": time.Hour}[m[4]]
		at = at.Add(time.Duration(n) * unit)
	}
	return at, true, err
}

var nextOrLast = regexp.MustCompile(`^(.*?)\s*(next|last)\s+(sec|second|min|minute|hour|day|week|month|year)$`)

// parseDate parses dates such as "@1700000000", "now", "today", "yesterday",
// "tomorrow", "3 days ago" and the common ISO formats.
func parseDate(text string, now time.Time) (time.Time, error) {
	text = strings.TrimSpace(text)
	if at, ok, err := relativeDate(text, now); ok {
		return at, err
	}
	if seconds, ok := strings.CutPrefix(text, "@"); ok {
		seconds, _, _ = strings.Cut(seconds, ".")
		n, err := strconv.ParseInt(seconds, 10, 64)
		return time.Unix(n, 0), err
	}
	switch text {
	case "now", "today", "":
		return now, nil
	case "yesterday":
		return now.AddDate(0, 0, -1), nil
	case "tomorrow":
		return now.AddDate(0, 0, 1), nil
	}
	if unit := nextOrLast.FindStringSubmatch(text); unit != nil {
		n := map[string]string{"next": "1", "last": "-1"}[unit[2]]
		at, _, err := relativeDate(strings.TrimSpace(unit[1]+" "+n+" "+unit[3]), now)
		return at, err
	}
	if weekday, ok := strings.CutPrefix(text, "next "); ok {
		if at, ok := dayOfWeek(weekday, now, 1); ok {
			return at, nil
		}
	}
	if weekday, ok := strings.CutPrefix(text, "last "); ok {
		if at, ok := dayOfWeek(weekday, now, -1); ok {
			return at, nil
		}
	}
	if at, ok := dayOfWeek(text, now, 0); ok {
		return at, nil
	}
	for _, layout := range []string{"15:04", "15:04:05", "3pm", "3:04pm", "15:04 MST"} {
		if at, err := time.Parse(layout, text); err == nil {
			return time.Date(now.Year(), now.Month(), now.Day(), at.Hour(), at.Minute(), at.Second(), 0, now.Location()), nil
		}
	}
	for _, layout := range []string{
		"20060102", "20060102 15:04", "20060102 15:04:05", "Jan 2 2006", "Jan 2, 2006", "2 Jan 2006", "2 January 2006", "January 2 2006", "January 2, 2006",
		"2 Jan 2006 15:04:05", "2 Jan 2006 15:04", "2 Jan 2006 3pm", "Jan 2 2006 15:04:05", "Jan 2 2006 15:04", "01/02/2006", "2006/01/02", "2006/01/02 15:04:05",
		"Mon Jan _2 15:04:05 2006", "Jan _2 15:04:05 2006 MST", "2006-01-02T15:04", "2006-01-02 15:04 MST", "2006-01-02 15:04:05 -0700", "2006-01-02T15:04:05-0700", "2006-01-02 15:04:05.999999999",
		time.RFC3339, "2006-01-02 15:04:05 MST", "2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04",
		time.DateOnly, time.RFC1123, time.RFC1123Z, time.UnixDate,
	} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	words := strings.Fields(text)
	sign := 1
	if len(words) == 3 && words[2] == "ago" {
		sign, words = -1, words[:2]
	}
	units := map[string]time.Duration{
		"second": time.Second, "sec": time.Second, "minute": time.Minute, "min": time.Minute, "hour": time.Hour,
		"day": 24 * time.Hour, "week": 7 * 24 * time.Hour,
	}
	if len(words) == 2 {
		n, err := strconv.Atoi(words[0])
		if unit, ok := units[strings.TrimSuffix(words[1], "s")]; ok && err == nil {
			return now.Add(time.Duration(sign*n) * unit), nil
		}
	}
	return time.Time{}, errors.New("unsupported date format")
}
