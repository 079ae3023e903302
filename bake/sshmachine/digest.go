package sshmachine

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io/fs"
	"strings"
)

// opensslFrom is the size from which openssl is worth its start: its SHA-256
// is five times as fast as that of some releases of sha256sum.
const opensslFrom = 4 << 20

// hasher is the command that prints the SHA-256 of its input and of files, one
// a line. Empty is a machine that has none: then only sizes are compared.
func (g *guest) hasher(size int64) string {
	switch {
	case g.has("openssl") && (size >= opensslFrom || !g.has("sha256sum")):
		return "openssl dgst -sha256 -r"
	case g.has("sha256sum"):
		return "sha256sum"
	default:
		return ""
	}
}

// digestOfDigests is the command that reads the names of files, each ended by a
// zero byte, and prints the digest of the lines of their digests.
func digestOfDigests(hasher string) string {
	return "{ xargs -0 -r " + hasher + ` | sed 's/^\\//' | cut -c1-64 | ` + hasher + " | cut -c1-64; }"
}

// hexSum is the sum as those commands print it.
func hexSum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// A note is a small file that goes beside a tree.
type note struct{ name, content string }

// manifest is the notes about a tree whose files have the given digests, one
// for each entry: n, the names of its files, l and m, scripts of what can only
// be done on the machine, if there is any, before and after the owner is set,
// and h, the digest of all digests, which must arrive last. A way that has no
// links leaves them to l.
func (s *source) manifest(sums []string, noLinks bool) []note {
	var names, links, after strings.Builder
	all := sha256.New()
	for i, e := range s.entries {
		switch {
		case e.mode&fs.ModeSymlink != 0:
			if noLinks {
				fmt.Fprintf(&links, "ln -s %s %s || exit 1\n", quote(e.link), quote("./"+e.name))
			}
			continue
		case e.mode.IsRegular():
			names.WriteString("./" + e.name + "\x00")
			_, _ = fmt.Fprintf(all, "%s\n", sums[i])
		}
		if e.mode&special != 0 { // a change of owner may have cleared them
			fmt.Fprintf(&after, "chmod %s %s || exit 1\n", octal(e.mode), quote("./"+e.name))
		}
	}
	notes := []note{{"n", names.String()}}
	if links.Len() > 0 {
		notes = append(notes, note{"l", links.String()})
	}
	if after.Len() > 0 {
		notes = append(notes, note{"m", after.String()})
	}
	return append(notes, note{"h", hexSum(all)})
}
