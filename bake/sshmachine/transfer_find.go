package sshmachine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// findScript prints each entry below the current directory: its type, mode, time,
// size and name, a NUL, the content of a file or target of a link, and another NUL.
const findScript = `exec find . -exec /bin/sh -c 'for f; do
if [ -L "$f" ]; then
t=$(readlink "$f") || exit 1
printf "l 777 0 %s %s\0%s\0" "$(printf %s "$t" | wc -c | tr -d " ")" "$f" "$t"
elif [ -d "$f" ]; then
s=$(stat -c "%a %Y" "$f") || exit 1
printf "d %s 0 %s\0\0" "$s" "$f"
elif [ -f "$f" ]; then
s=$(stat -c "%a %Y %s" "$f") || exit 1
printf "f %s %s\0" "$s" "$f"
head -c "${s##* }" "$f" || exit 1
printf "\0"
fi
done' find {} +`

// getFind fetches a tree as the stream that findScript prints, which needs only
// ubiquitous commands. It is for machines without tar where SFTP is missing or
// cannot read as root.
func (c *conn) getFind(ctx context.Context, su *sudo, from *remoteFile, into *destTree) error {
	script := "cd " + quote(from.path) + " || exit 1\n" + findScript
	return c.receive(ctx, c.newScript(su, script, nil), into.extractFind)
}

// extractFind adds the entries that findScript printed.
func (s *destTree) extractFind(from io.Reader) error {
	stream := &treeStream{destTree: s}
	defer stream.close()
	r := bufio.NewReaderSize(from, copyBufferSize)
	for {
		line, err := r.ReadSlice(0) // fails after copyBufferSize
		head := string(line)
		if errors.Is(err, io.EOF) && head == "" {
			return nil
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			return fmt.Errorf("entry with a name of more than %d bytes", copyBufferSize)
		}
		if err != nil {
			return fmt.Errorf("read stream: %w", err)
		}
		e, err := parseFindEntry(strings.TrimSuffix(head, "\x00"))
		if err != nil {
			return err
		}
		content := io.LimitReader(r, e.size)
		if e.mode&fs.ModeSymlink != 0 {
			if e.size > maxLinkTarget {
				return fmt.Errorf("%s: link target of %d bytes", e.name, e.size)
			}
			target, err := io.ReadAll(content)
			if err != nil {
				return err
			}
			e.link = string(target)
		}
		if err := stream.add(e, content); err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, content); err != nil { // of an excluded entry
			return err
		}
		if end, err := r.ReadByte(); err != nil || end != 0 {
			return fmt.Errorf("%s: changed while being read", e.name)
		}
	}
}

// parseFindEntry parses the description of one entry.
func parseFindEntry(head string) (entry, error) {
	var kind rune
	var mode fs.FileMode
	var mtime int64
	var e entry
	const fields = 5
	words := strings.SplitN(head, " ", fields)
	if len(words) < fields {
		return e, fmt.Errorf("invalid entry %.100q", head)
	}
	if _, err := fmt.Sscanf(strings.Join(words[:fields-1], " "), "%c %o %d %d", &kind, &mode, &mtime, &e.size); err != nil {
		return e, fmt.Errorf("invalid entry %.100q: %w", head, err)
	}
	e.name, e.mtime, e.mode = path.Clean(words[fields-1]), time.Unix(mtime, 0), mode&fs.ModePerm
	if !filepath.IsLocal(filepath.FromSlash(e.name)) {
		return e, fmt.Errorf("entry %q is outside the directory", e.name)
	}
	switch kind {
	case 'd':
		e.mode |= fs.ModeDir
	case 'l':
		e.mode |= fs.ModeSymlink
	}
	return e, nil
}
