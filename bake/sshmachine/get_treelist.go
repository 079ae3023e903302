package sshmachine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
)

// listTree lists the entries that the tree must have when it has been fetched, if the
// machine has find.
func (c *conn) listTree(ctx context.Context, su *sudo, g *guestInfo, from *remoteFile, into *destTree) error {
	if !g.has("find") {
		return nil
	}
	// find reports nothing, since the transfer fails at the same entries.
	script := "cd " + quote(from.path) + ` || exit 1
find . \( -type d -o -type f -o -type l \) -exec /bin/sh -c 'printf "%s\0" "$@"' /bin/sh {} + 2>/dev/null
exit 0`
	if err := c.receive(ctx, c.newScript(su, script, nil), into.expect); err != nil {
		return fmt.Errorf("list tree: %w", err)
	}
	return nil
}

// expect reads the names that the tree must have, each followed by a NUL.
func (s *destTree) expect(from io.Reader) error {
	listed := 0
	err := eachName(from, func(name string) {
		listed++
		if clean := path.Clean(name); !s.ex.MatchAny(clean) {
			s.missing[clean] = true
		}
	})
	if err == nil && listed == 0 {
		err = errors.New("empty list")
	}
	return err
}

// eachName calls f with each name that a machine lists, followed by a NUL.
func eachName(from io.Reader, f func(name string)) error {
	r := bufio.NewReaderSize(from, copyBufferSize)
	size := 0
	for listed := 0; ; listed++ {
		name, err := r.ReadSlice(0) // fails after copyBufferSize
		switch size += len(name); {
		case errors.Is(err, io.EOF) && len(name) == 0:
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
