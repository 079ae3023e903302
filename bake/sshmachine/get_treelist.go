package sshmachine

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A listedTree is what the machine says about the tree to fetch.
type listedTree struct {
	entries []listedEntry // none if the machine cannot describe them all
	bytes   int64         // of the files

	excluded bool // some entries of the tree are not wanted
}

// A listedEntry is an entry without the target of a link.
type listedEntry struct {
	entry

	hardLinks int
}

// listTree lists the entries that the tree must have when it has been fetched, if the
// machine has find, and describes them, if stat is GNU's or BusyBox's.
func (c *conn) listTree(ctx context.Context, su *sudo, g *guestInfo, from *remoteFile, into *destTree) (*listedTree, error) {
	listed := &listedTree{}
	if !g.has("find") {
		return listed, nil
	}
	// find reports nothing, since the transfer fails at the same entries.
	const find = `find . \( -type d -o -type f -o -type l \) -exec `
	script := "cd " + quote(from.path) + " || exit 1\n" + find + `/bin/sh -c 'printf "%s\0" "$@"' /bin/sh {} + 2>/dev/null
printf '\0'
` + find + `stat -c '%a %s %Y %h %F|%n' {} + 2>/dev/null
exit 0`
	err := c.receive(ctx, c.newScript(su, script, nil), func(r io.Reader) error {
		buffered := bufio.NewReaderSize(r, copyBufferSize)
		plain, err := into.expect(buffered, listed)
		if err == nil && plain {
			err = listed.read(buffered, into)
		}
		if _, failed := io.Copy(io.Discard, buffered); err == nil {
			err = failed
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list tree: %w", err)
	}
	return listed, nil
}

// expect reads the names that the tree must have, each followed by a NUL, up to an
// empty one. It reports whether tar can be asked for each of them.
func (s *destTree) expect(from *bufio.Reader, list *listedTree) (plain bool, err error) {
	const mostOdd = 32 << 10 // bytes
	listed, odd := 0, 0
	plain = true
	err = eachName(from, func(name string) {
		listed++
		if isOdd(name) {
			odd += len(name)
		}
		plain = plain && odd <= mostOdd && !strings.Contains(name, "\n")
		clean := path.Clean(name)
		if s.ex.MatchAny(clean) {
			list.excluded = true
			return
		}
		s.missing[clean] = true
	})
	if err == nil && listed == 0 {
		err = errors.New("empty list")
	}
	return plain, err
}

// read reads the lines that describe the entries that are missing in into.
func (l *listedTree) read(from io.Reader, into *destTree) error {
	const longestFields = 128 // before the name
	err := eachLine(from, maxNames+longestFields*len(into.missing), func(line string) {
		if e, err := parseListed(line); err == nil && into.missing[e.name] {
			l.entries = append(l.entries, e)
			if e.mode.IsRegular() {
				l.bytes += e.size
			}
		}
	})
	if len(l.entries) != len(into.missing) {
		*l = listedTree{}
	}
	return err
}

// parseListed parses a line of stat.
func parseListed(line string) (e listedEntry, err error) {
	fields, name, _ := strings.Cut(line, "|")
	words := strings.Fields(fields)
	if len(words) <= statKind {
		return e, fmt.Errorf("invalid entry %.100q", line)
	}
	mode, err := strconv.ParseUint(words[0], 8, 32)
	numbers := [3]int64{}
	for i := range numbers {
		var failed error
		numbers[i], failed = strconv.ParseInt(words[1+i], 10, 64)
		err = cmp.Or(err, failed)
	}
	if err != nil {
		return e, fmt.Errorf("invalid entry %.100q: %w", line, err)
	}
	e.name, e.size, e.hardLinks = path.Clean(name), numbers[0], int(numbers[2])
	e.mode, e.mtime = fs.FileMode(mode)&fs.ModePerm, time.Unix(numbers[1], 0)
	switch kind := words[statKind]; {
	case kind == "directory":
		e.mode |= fs.ModeDir
	case kind == "symbolic":
		e.mode |= fs.ModeSymlink
	case kind != "regular" || e.size < 0:
		return e, errors.New("neither a file, a directory nor a link")
	}
	return e, nil
}

// eachName calls f with each name that a machine lists, followed by a NUL, up to the
// end or an empty name.
func eachName(r *bufio.Reader, f func(name string)) error {
	size := 0
	for listed := 0; ; listed++ {
		name, err := r.ReadSlice(0) // fails after copyBufferSize
		switch size += len(name); {
		case errors.Is(err, io.EOF) && len(name) == 0, err == nil && len(name) == 1:
			return nil
		case err != nil:
			return fmt.Errorf("unexpected end: %w", err)
		case listed > maxEntries:
			return errManyEntries
		case size > maxNames:
			return errManyNames
		}
		f(string(name[:len(name)-1]))
	}
}

// checkComplete returns an error if an expected entry has not been added.
func (s *destTree) checkComplete() error {
	delete(s.missing, ".")
	if len(s.missing) == 0 {
		return nil
	}
	first := slices.Min(slices.Collect(maps.Keys(s.missing)))
	return fmt.Errorf("machine listed %.200q and did not send it (%d such entries)", first, len(s.missing))
}
