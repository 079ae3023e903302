package sshmachine

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/errgroup"

	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// compare looks at the destination, an existing directory. It leaves out of p.src the
// files that are there already with the same content, mode and owner, and the directories
// that are there and get nothing. With Upload.Delete it notes what to remove. A machine
// without the tools, or whose server permits no second session, gets all files.
func (p *treePut) compare(ctx context.Context) error {
	if p.up.Delete {
		if err := p.listExtra(ctx); err != nil {
			return fmt.Errorf("list files to delete: %w", err)
		}
	}
	if p.scripts.hasher == "" || !p.scripts.xargs || p.scripts.newlines {
		return nil
	}
	same, err := p.unchanged(ctx)
	if _, refused := errors.AsType[*ssh.OpenChannelError](err); refused {
		return nil
	}
	if err != nil {
		return fmt.Errorf("compare with the files on the machine: %w", err)
	}
	rest := *p.src
	rest.entries = nil
	filled := map[string]bool{".": true} // directories that get something
	for _, e := range p.src.entries {
		if same[e.name] {
			continue
		}
		for dir := path.Dir(e.name); !filled[dir]; dir = path.Dir(dir) {
			filled[dir] = true
		}
	}
	for _, e := range p.src.entries {
		if !same[e.name] || filled[e.name] {
			rest.entries = append(rest.entries, e)
		} else if e.mode.IsRegular() {
			rest.bytes -= e.size
		}
	}
	p.src = &rest
	return nil
}

// ask runs a script in the destination, beside the transfer script, and calls read with
// its output.
func (p *treePut) ask(ctx context.Context, script, input string, read func(io.Reader) error) error {
	q := p.newScript(p.su, "cd "+quote(p.scripts.dest)+" || exit 1\n"+script, strings.NewReader(input))
	q.urgent = true // the transfer script does not end before this one
	return p.receive(ctx, q, read)
}

// unchanged returns the names of the files and directories that the destination has
// already.
func (p *treePut) unchanged(ctx context.Context) (map[string]bool, error) {
	files, dirs, err := p.candidates(ctx)
	if err != nil {
		return nil, err
	}
	same := map[string]bool{}
	if len(files) > 0 {
		if same, err = p.src.same(ctx, files, p.scripts.hasher, p.ask); err != nil {
			return nil, err
		}
	}
	for _, e := range dirs {
		same[e.name] = true
	}
	return same, nil
}

// An asker runs a script with an input in a directory of the machine, and calls read
// with its output.
type asker func(ctx context.Context, script, input string, read func(io.Reader) error) error

// same returns the names of those candidates that have the same content in the directory
// that ask looks at.
func (s *sourceTree) same(ctx context.Context, candidates []entry, hasher string, ask asker) (map[string]bool, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var sums []string
	summed := make(chan error, 1)
	go func() {
		var err error
		sums, err = s.sums(ctx, candidates)
		summed <- err
	}()
	var theirs []string
	const digestLine = 2*sha256.Size + 1
	script := "try xargs -0 " + hasher + ` | sed 's/^\\//' | cut -c1-64`
	err := ask(ctx, script, nameList(candidates), func(r io.Reader) error {
		return eachLine(r, len(candidates)*digestLine, func(line string) { theirs = append(theirs, line) })
	})
	if err != nil {
		cancel()
	}
	if err := errors.Join(err, <-summed); err != nil {
		return nil, err
	}
	same := map[string]bool{}
	if len(theirs) != len(candidates) {
		return same, nil // a file has gone: send all
	}
	for i, e := range candidates {
		same[e.name] = theirs[i] == sums[i]
	}
	return same, nil
}

// candidates returns the files of the tree that the destination has with the same size,
// mode and owner, and the directories that it has, of which sending changes nothing.
func (p *treePut) candidates(ctx context.Context) (files, dirs []entry, err error) {
	byName := map[string]entry{}
	var all []entry
	for _, e := range p.src.entries {
		if e.mode.IsRegular() || e.mode.IsDir() {
			byName["./"+e.name] = e
			all = append(all, e)
		}
	}
	if len(all) == 0 {
		return nil, nil, nil
	}
	names := nameList(all)
	const longestFields = 256 // before the name
	// stat fails for files that are missing.
	script := "xargs -0 stat -c '%a %s " + idFormat("u", p.up.Owner) + " " + idFormat("g", p.up.Group) + " %F|%n' 2>/dev/null; exit 0"
	err = p.ask(ctx, script, names, func(r io.Reader) error {
		return eachLine(r, len(names)+longestFields*len(all), func(line string) {
			text, name, _ := strings.Cut(line, "|")
			fields := strings.Fields(text)
			e, listed := byName[name]
			switch {
			case !listed || len(fields) <= statKind:
				return
			case e.mode.IsDir() && fields[statKind] == "directory":
				dirs = append(dirs, e)
			case e.mode.IsRegular() && p.matches(e, fields):
				files = append(files, e)
			default:
				return
			}
			delete(byName, name)
		})
	})
	return files, dirs, err
}

// statKind is the field of what stat prints, here and in listTree, after which nothing is
// looked at: the first word of the kind.
const statKind = 4

// eachLine calls f with each line of an answer of at most the given size.
func eachLine(from io.Reader, limit int, f func(line string)) error {
	within := io.LimitReader(from, int64(limit))
	lines := bufio.NewScanner(within)
	lines.Buffer(nil, copyBufferSize)
	for lines.Scan() {
		f(lines.Text())
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if n, _ := io.ReadFull(from, make([]byte, 1)); n > 0 {
		return fmt.Errorf("%w: more than %d bytes", errLongAnswer, limit)
	}
	return nil
}

// matches reports whether the fields that stat printed are those that sending the file
// would result in.
func (p *treePut) matches(e entry, stat []string) bool {
	if stat[statKind] != "regular" {
		return false
	}
	owner, group := p.up.Owner, p.up.Group
	if owner == "" {
		owner = strconv.Itoa(p.stage.uid)
	}
	if group == "" {
		group = strconv.Itoa(p.stage.gid)
	}
	return stat[0] == posixsh.Mode(e.mode) && stat[1] == strconv.FormatInt(e.size, 10) &&
		stat[2] == owner && stat[3] == group
}

// idFormat returns the format with which stat prints an owner or group as it is given: by
// name only if necessary, since stat searches the accounts for each file.
func idFormat(letter, given string) string {
	if _, err := strconv.Atoi(given); err != nil && given != "" {
		letter = strings.ToUpper(letter)
	}
	return "%" + letter
}

// sums returns the digests of files.
func (s *sourceTree) sums(ctx context.Context, files []entry) ([]string, error) {
	sums := make([]string, len(files))
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() error {
			sum, unreported := sha256.New(), newProgress(nil, 0)
			buffer := make([]byte, copyBufferSize)
			for i := next.Add(1) - 1; i < int64(len(files)); i = next.Add(1) - 1 {
				if err := context.Cause(ctx); err != nil {
					return err
				}
				sum.Reset()
				if err := copyFile(sum, s.fsys, files[i], buffer, unreported); err != nil {
					return err
				}
				sums[i] = hexDigest(sum)
			}
			return nil
		})
	}
	return sums, group.Wait()
}

// nameList returns the names of files, each followed by a NUL.
func nameList(files []entry) string {
	names := make([]string, len(files))
	for i, e := range files {
		names[i] = e.name
	}
	return joinNames(names)
}

func joinNames(names []string) string {
	var b strings.Builder
	for _, name := range names {
		b.WriteString("./" + name + "\x00")
	}
	return b.String()
}

// listExtra lists what the destination has and the tree does not, except what
// Upload.Exclude matches and what other transfers write.
func (p *treePut) listExtra(ctx context.Context) error {
	if !p.guest.has("find", "xargs") {
		return errors.New("machine has no find or no xargs")
	}
	wanted := map[string]bool{}
	for _, e := range p.src.entries {
		wanted[e.name] = true
	}
	var files, dirs []string
	keep := map[string]bool{} // directories with something that stays
	const list = `exec find . ! -name . -exec /bin/sh -c 'for f; do if [ -d "$f" ] && [ ! -L "$f" ]; then printf "d%s\0" "$f"; else printf "f%s\0" "$f"; fi; done' /bin/sh {} +`
	err := p.ask(ctx, list, "", func(r io.Reader) error {
		return eachName(bufio.NewReaderSize(r, copyBufferSize), func(listed string) {
			name := path.Clean(listed[1:])
			switch {
			case wanted[name] || p.ex.MatchAny(name) || strings.HasPrefix(name, tempPrefix):
				for dir := path.Dir(name); !keep[dir]; dir = path.Dir(dir) {
					keep[dir] = true
				}
			case listed[0] == 'd':
				dirs = append(dirs, name)
			default:
				files = append(files, name)
			}
		})
	})
	if err != nil {
		return err
	}
	dirs = slices.DeleteFunc(dirs, func(dir string) bool { return keep[dir] })
	slices.Sort(dirs)
	slices.Reverse(dirs) // contents first
	rest := *p.src
	rest.extraFiles, rest.extraDirs = joinNames(files), joinNames(dirs)
	p.src = &rest
	return nil
}
