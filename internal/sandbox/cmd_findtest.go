package sandbox

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// permTest returns the test of -perm: an exact mode, all bits of -mode or any bit of
// /mode, which may be symbolic.
func permTest(value string) (findTest, error) {
	mode, err := parseMode(strings.TrimLeft(value, "-/"), 0, false, 0)
	want := bitsOf(mode)
	return func(at *found) bool {
		have := bitsOf(at.info.Mode())
		switch value[0] {
		case '-':
			return have&want == want
		case '/':
			return want == 0 || have&want != 0
		}
		return have == want
	}, err
}

// sizeTest returns the test of -size, which counts begun units.
func sizeTest(value string) (findTest, error) {
	digits, unit := strings.TrimLeft(value, "+-"), int64(512)
	if digits != "" {
		if u, ok := map[byte]int64{'c': 1, 'w': 2, 'b': 512, 'k': 1 << 10, 'M': 1 << 20, 'G': 1 << 30}[digits[len(digits)-1]]; ok {
			digits, unit = digits[:len(digits)-1], u
		}
	}
	n, ok := number(digits)
	if !ok {
		return nil, fmt.Errorf("invalid -size type %s", quote(value))
	}
	return func(at *found) bool { return compareSigned(value[0], (at.info.Size()+unit-1)/unit, int64(n)) }, nil
}

// compareSigned compares as +n, -n or n ask for.
func compareSigned(sign byte, have, n int64) bool {
	switch sign {
	case '+':
		return have > n
	case '-':
		return have < n
	}
	return have == n
}

// more parses the less common tests and actions with an argument.
func (f *finder) more(name, value string) (findTest, error) {
	switch name {
	case "-printf":
		f.hasAction = true
		return func(at *found) bool { return f.printf(value, at) }, nil
	case "-regex", "-iregex":
		open, end := "^\\(", "\\)$"
		if f.extended {
			open, end = "^(", ")$"
		}
		re, err := compile(open+value+end, f.extended, false, name == "-iregex")
		return func(at *found) bool { return re.MatchString(at.name) }, err
	case "-newermt":
		when, err := parseDate(value, f.p.Host.o.Clock.Now())
		return func(at *found) bool { return at.info.ModTime().After(when) }, err
	case "-samefile":
		info, err := f.p.FS.Stat(f.p.Path(value))
		if err != nil {
			return nil, fmt.Errorf("%s: %s", quote(value), errText(err))
		}
		return func(at *found) bool { return at.info.Ino() == info.Ino() }, nil
	case "-links", "-inum", "-uid", "-gid":
		n, ok := number(strings.TrimLeft(value, "+-"))
		if !ok {
			return nil, fmt.Errorf("invalid argument %s to %s", quote(value), name)
		}
		return func(at *found) bool {
			have := map[string]int64{"-links": int64(at.info.Nlink()), "-inum": int64(at.info.Ino()), "-uid": int64(at.info.UID()), "-gid": int64(at.info.GID())}[name] //nolint:gosec // small
			return compareSigned(value[0], have, int64(n))
		}, nil
	case "-lname":
		re, err := compile(globExpression(value), true, false, false)
		return func(at *found) bool {
			target, linkErr := f.p.FS.Readlink(at.full)
			return linkErr == nil && re.MatchString(target)
		}, err
	}
	return nil, errors.New(name + " is not supported by this machine")
}

// printf implements -printf.
func (f *finder) printf(format string, at *found) bool {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] == '\\' && i+1 < len(format) {
			i++
			if n := strings.IndexByte("ntr0\\", format[i]); n >= 0 {
				b.WriteByte("\n\t\r\x00\\"[n])
			} else {
				b.WriteString(`\` + format[i:i+1])
			}
			continue
		}
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		text, used, ok := f.directive(format[i:], at)
		if !ok {
			f.status = f.p.fail(1, "-printf %%%c is not supported by this machine", format[i])
			return false
		}
		b.WriteString(text)
		i += used - 1
	}
	return f.p.print(b.String())
}

// directive returns the text of a directive of -printf and its length.
func (f *finder) directive(s string, at *found) (text string, used int, ok bool) {
	switch s[0] {
	case '%':
		return "%", 1, true
	case 'p':
		return at.name, 1, true
	case 'f':
		return path.Base(at.name), 1, true
	case 'h':
		return path.Dir(at.name), 1, true
	case 'P':
		name := at.name
		for range at.depth {
			name = path.Dir(name)
		}
		return strings.TrimPrefix(strings.TrimPrefix(at.name, name), "/"), 1, true
	case 's':
		return fmt.Sprint(at.info.Size()), 1, true
	case 'm':
		return fmt.Sprintf("%o", bitsOf(at.info.Mode())), 1, true
	case 'M':
		return longMode(at.info.Mode()), 1, true
	case 'u':
		return userName(f.p.FS, at.info.UID()), 1, true
	case 'g':
		return groupName(f.p.FS, at.info.GID()), 1, true
	case 'U':
		return itoa(at.info.UID()), 1, true
	case 'G':
		return itoa(at.info.GID()), 1, true
	case 'y':
		return fileType(at.info.Mode()), 1, true
	case 'd':
		return itoa(at.depth), 1, true
	case 'i':
		return fmt.Sprint(at.info.Ino()), 1, true
	case 'n':
		return fmt.Sprint(at.info.Nlink()), 1, true
	case 'l':
		target, _ := f.p.FS.Readlink(at.full) // empty unless it is a link
		return target, 1, true
	case 't':
		return at.info.ModTime().UTC().Format("Mon Jan _2 15:04:05.0000000000 2006"), 1, true
	case 'T':
		if len(s) < 2 {
			return "", 0, false
		}
		when := at.info.ModTime().UTC()
		if s[1] == '@' {
			return fmt.Sprintf("%d.%09d0", when.Unix(), when.Nanosecond()), 2, true
		}
		text, err := strftime("%"+s[1:2], when)
		if s[1] == '+' {
			text = when.Format("2006-01-02+15:04:05.0000000000")
		}
		return text, 2, err == nil
	}
	return "", 0, false
}
