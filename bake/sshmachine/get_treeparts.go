package sshmachine

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// A treeGet is a tree being fetched.
type treeGet struct {
	*conn
	su    *sudo
	guest *guestInfo
	from  *remoteFile
	into  *destTree
	list  *listedTree
}

// fetch fetches the tree as tar streams if the machine has tar, or else by SFTP or
// find, and verifies it. dest is the directory that it will be merged into, or nil.
func (t *treeGet) fetch(ctx context.Context, dest *os.Root) error {
	if t.guest.has("tar") && len(t.list.entries) > 0 {
		wanted, err := t.differing(ctx, dest)
		if err != nil {
			return err
		}
		if n, weight := t.treeStreams(ctx, wanted); n > 1 || t.list.excluded || len(wanted) < len(t.list.entries) {
			return t.fetchParts(ctx, wanted, n, weight)
		}
	}
	if err := t.fetchWhole(ctx); err != nil {
		return err
	}
	return t.verify(ctx, slices.Collect(maps.Values(t.into.files)))
}

// fetchWhole fetches the tree in one stream.
func (t *treeGet) fetchWhole(ctx context.Context) error {
	if t.guest.has("tar") {
		return t.getTar(ctx, ".", nil)
	}
	if !t.su.elevates() {
		open, err := t.openSFTP(ctx, 1, true)
		defer closeAll(open)
		if err == nil {
			return open[0].getTree(ctx, t.from, t.into)
		}
	}
	return t.getFind(ctx, t.su, t.from, t.into)
}

// differing returns the entries of the tree without the files that dest has already,
// with the same mode and content.
func (t *treeGet) differing(ctx context.Context, dest *os.Root) ([]entry, error) {
	var all, candidates []entry
	for _, e := range t.list.entries {
		all = append(all, e.entry)
		if dest == nil || !e.mode.IsRegular() || e.hardLinks > 1 {
			continue
		}
		if there, err := dest.Lstat(filepath.FromSlash(e.name)); err == nil && there.Mode() == e.mode && there.Size() == e.size {
			candidates = append(candidates, e.entry)
		}
	}
	hasher := t.guest.digestCommand(t.list.bytes)
	if hasher == "" || !t.guest.has("xargs") || len(candidates) == 0 {
		return all, nil
	}
	local := &sourceTree{fsys: dest.FS()}
	same, err := local.same(ctx, candidates, hasher, t.ask)
	if err != nil {
		return all, context.Cause(ctx) // what cannot be compared is fetched
	}
	wanted := all[:0]
	for _, e := range all {
		if !same[e.name] {
			wanted = append(wanted, e)
			continue
		}
		delete(t.into.missing, e.name)
		t.into.report.add(int(e.size))
	}
	return wanted, nil
}

// ask runs a script in the tree and calls read with its output.
func (t *treeGet) ask(ctx context.Context, script, input string, read func(io.Reader) error) error {
	return t.receive(ctx, t.newScript(t.su, "cd "+quote(t.from.path)+" || exit 1\n"+script, strings.NewReader(input)), read)
}

// fetchParts fetches the entries as parts of about the given weight, n at once. Each is
// verified while others are fetched.
func (t *treeGet) fetchParts(ctx context.Context, wanted []entry, n int, weight int64) error {
	linked := map[string]bool{}
	for _, e := range t.list.entries {
		linked[e.name] = e.hardLinks > 1
	}
	var single []entry
	var together []string // links, and files that may be linked to each other
	for _, e := range wanted {
		switch {
		case e.mode.IsDir():
			if err := t.into.add(e, nil); err != nil {
				return err
			}
		case e.mode.IsRegular() && !linked[e.name]:
			single = append(single, e)
		default:
			together = append(together, e.name)
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(n, 1))
	parts, _ := split(single, weight)
	for _, part := range parts {
		names := make([]string, len(part.files))
		for i, e := range part.files {
			names[i] = e.name
		}
		group.Go(func() error { return t.fetchPart(ctx, names) })
	}
	if len(together) > 0 {
		group.Go(func() error { return t.fetchPart(ctx, together) })
	}
	return group.Wait()
}

// fetchPart fetches files and links and verifies them.
func (t *treeGet) fetchPart(ctx context.Context, names []string) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	args := []string{"-T -"}
	var list strings.Builder
	for _, name := range names {
		if isOdd(name) {
			args = append(args, quote("./"+name))
			continue
		}
		list.WriteString("./" + name + "\n")
	}
	if err := t.getTar(ctx, strings.Join(args, " "), strings.NewReader(list.String())); err != nil {
		return err
	}
	return t.verify(ctx, t.into.complete(names))
}

// isOdd reports whether some programs read a name in a list as another one.
func isOdd(name string) bool { return strings.Contains(name, `\`) }

// verify compares the digest of received files with the machine's, if the machine has
// the tools to compute it.
func (t *treeGet) verify(ctx context.Context, files []receivedFile) error {
	size := int64(0)
	names := make([]string, len(files))
	all := sha256.New()
	for i, file := range files {
		size += file.size
		names[i] = file.name
		_, _ = fmt.Fprintf(all, "%x\n", file.sum)
	}
	hasher := t.guest.digestCommand(size)
	if hasher == "" || !t.guest.has("xargs") || len(files) == 0 {
		return nil
	}
	var digest answer
	input := joinNames(names)
	err := t.ask(ctx, digestOfDigests(hasher, strings.Contains(input, "\n")), input, func(r io.Reader) error {
		_, err := io.Copy(&digest, r)
		return err
	})
	if err != nil {
		return err
	}
	return compareDigests(digest.String(), all)
}
