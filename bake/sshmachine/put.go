package sshmachine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/exclude"
	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// Put implements [bake.Machine], as described under Files in the package comment.
func (m *Machine) Put(ctx context.Context, up *bake.Upload) error {
	if up == nil {
		return bake.Invalid("Upload", "is required")
	}
	if err := up.Validate(); err != nil {
		return err
	}
	ex, err := exclude.Parse(up.Exclude)
	if err != nil {
		return err
	}
	for _, name := range []string{up.Dest, up.Owner, up.Group} {
		if strings.ContainsAny(name, "\x00") {
			return bake.Invalid("Upload", "%q contains a zero byte", name)
		}
	}
	var g gate
	defer g.close()
	gated := *up
	gated.Progress = g.progress(up.Progress)
	if err := m.put(ctx, &gated, ex); err != nil {
		return fmt.Errorf("put %s: %w", up.Dest, err)
	}
	return nil
}

func (m *Machine) put(ctx context.Context, up *bake.Upload, ex exclude.Patterns) error {
	dest := path.Clean(up.Dest)
	directory := posixsh.NamesDirectory(up.Dest)
	errDirectory := fmt.Errorf("%q names a directory, but the source is a file", up.Dest)
	switch {
	case up.FS != nil:
		return m.putTree(ctx, up, up.FS, dest, ex)
	case up.Content != nil && directory:
		return errDirectory
	case up.Content != nil:
		f := &sourceFile{content: up.Content, size: up.Size, mode: up.Mode}
		if f.mode == 0 {
			f.mode = defaultMode
		}
		return m.putFile(ctx, up, f, dest)
	}
	info, err := os.Stat(up.Path)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return m.putTree(ctx, up, os.DirFS(up.Path), dest, ex)
	}
	switch {
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file or directory", up.Path)
	case up.Delete:
		return bake.Invalid("Upload.Delete", "needs a tree, but %s is a file", up.Path)
	case directory:
		return errDirectory
	}
	file, err := os.Open(up.Path)
	if err != nil {
		return err
	}
	defer file.Close()
	f := &sourceFile{content: file, size: info.Size(), mode: up.Mode}
	if f.mode == 0 {
		f.mode = info.Mode() & posixsh.ModeBits
	}
	return m.putFile(ctx, up, f, dest)
}

const defaultMode fs.FileMode = 0o644

// A sourceFile is a file to send.
type sourceFile struct {
	content io.Reader
	size    int64 // zero if unknown
	mode    fs.FileMode
}

// chownArg returns the owner and group as an argument of chown, empty to keep the
// writer's.
func chownArg(up *bake.Upload) string {
	if up.Group == "" {
		return up.Owner
	}
	return up.Owner + ":" + up.Group
}

// smallFile is the size up to which a file is read into memory first, so that one
// script can contain its digest and one session is enough.
const smallFile = 256 << 10

// putFile sends one file.
func (m *Machine) putFile(ctx context.Context, up *bake.Upload, f *sourceFile, dest string) error {
	var head bytes.Buffer
	_, err := io.CopyN(&head, f.content, smallFile+1)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read source: %w", err)
	}
	if head.Len() <= smallFile {
		return m.withConn(ctx, func(c *conn) error { return c.putSmall(ctx, up, f, dest, head.Bytes()) })
	}
	rest := f.content
	return m.withConn(ctx, func(c *conn) error {
		whole := *f
		whole.content = io.MultiReader(bytes.NewReader(head.Bytes()), rest)
		return c.putBig(ctx, up, &whole, dest)
	})
}

// putSmall sends a file in one session, by a script that contains its size and
// digest.
func (c *conn) putSmall(ctx context.Context, up *bake.Upload, f *sourceFile, dest string, content []byte) error {
	su, g, err := c.prepareTransfer(ctx, up.Sudo)
	if err != nil {
		return err
	}
	scripts := newFileScripts(g, up, f, dest)
	check := fmt.Sprintf("n=$(wc -c <\"$t\"); if [ $n -ne %d ]; then echo \"transfer incomplete: $n bytes\" >&2; exit 1; fi\n", len(content))
	if hasher := g.digestCommand(int64(len(content))); hasher != "" {
		check += fmt.Sprintf("v=$(try %s <\"$t\" | cut -c1-64); if [ \"$v\" != %x ]; then echo \"digest mismatch: ${v:-%s printed nothing}\" >&2; exit 1; fi\n",
			hasher, sha256.Sum256(content), program(hasher))
	}
	p := c.newScript(su, scripts.begin()+"cat >\"$t\" || exit 1\n"+check+scripts.end(), bytes.NewReader(content))
	report := newProgress(up.Progress, int64(len(content)))
	if err := c.runScript(ctx, p); err != nil {
		return err
	}
	report.add(len(content))
	report.finish()
	return nil
}

// bigFileCommands are the commands of a big file's transfer script: "sum I N"
// prints the digest of the segment that begins at block I once the file has N bytes,
// and "size" prints the file's size.
const bigFileCommands = `sum)
i=0; while [ "$(wc -c <"$f")" -lt "$b" ] && [ $i -lt 600 ]; do sleep 0.1; i=$((i+1)); done
v=$(dd if="$f" bs=BLOCK skip="$a" count=SEGMENT 2>/dev/null | HASHER | cut -c1-64); echo "${v:-no digest}";;
size) echo $(($(wc -c <"$f")));;
`

// putBig sends a file of any size, if possible over several sessions at once.
func (c *conn) putBig(ctx context.Context, up *bake.Upload, f *sourceFile, dest string) error {
	su, g, err := c.prepareTransfer(ctx, up.Sudo)
	if err != nil {
		return err
	}
	report := newProgress(up.Progress, f.size)
	err = c.putSessions(ctx, su, g, up, f, dest, report)
	if _, refused := errors.AsType[*ssh.OpenChannelError](err); refused {
		err = c.putOneSession(ctx, su, g, up, f, dest, report)
	}
	if err != nil {
		return c.noRetry(err)
	}
	report.finish()
	return nil
}

// putSessions sends a file while a transfer script owns the temporary file and prints
// digests. If the server refuses a second session, the error wraps an
// ssh.OpenChannelError, and nothing of the file has been read.
func (c *conn) putSessions(ctx context.Context, su *sudo, g *guestInfo, up *bake.Upload, f *sourceFile, dest string, report *progress) error {
	scripts := newFileScripts(g, up, f, dest)
	channels := c.stripeCount(ctx, f.size)
	if channels > 1 && su.elevates() {
		// SFTP runs as the login, so it writes to the home directory.
		scripts.from = path.Join(g.facts.Home, tempPrefix+newTag())
		scripts.login = g.facts.User
	}
	hasher := g.digestCommand(max(f.size, smallFile))
	commands := strings.NewReplacer("BLOCK", fmt.Sprint(blockSize), "SEGMENT", fmt.Sprint(segmentSize/blockSize), "HASHER", "try "+hasher).Replace(bigFileCommands)
	if hasher == "" {
		commands = strings.Replace(commands, "| try  |", "|", 1)
	}
	t, err := c.startTransferScript(ctx, su, scripts.begin()+"echo ready\n", commands, scripts.end())
	if err != nil {
		return err
	}
	var open []*sftpChannel
	if channels > 1 {
		open, _ = c.openSFTP(ctx, channels, false) // or else without
		defer closeAll(open)
	}
	verifier := newSegmentVerifier(io.TeeReader(f.content, report), t, hasher != "")
	if len(open) > 0 {
		err = putStriped(ctx, open, scripts.from, verifier)
	} else {
		err = c.sendStream(ctx, su, scripts.from, verifier)
	}
	if err == nil {
		err = verifier.finish()
	}
	if err == nil {
		err = t.commit(nil)
	}
	t.close()
	verifier.wait()
	return err
}

// sendStream sends a file through the input of one command, in addition to a transfer
// script's session.
func (c *conn) sendStream(ctx context.Context, su *sudo, file string, from io.Reader) error {
	p := c.newScript(su, "f="+quote(file)+"; [ -f \"$f\" ] && exec cat >\"$f\"", from)
	p.urgent = true
	return c.runScript(ctx, p)
}

// putOneSession sends a file in one session, for servers that permit no other. The
// file's size and digest follow its content.
func (c *conn) putOneSession(ctx context.Context, su *sudo, g *guestInfo, up *bake.Upload, f *sourceFile, dest string, report *progress) error {
	const checkScript = `cat >"$t" || exit 1
n=$(($(wc -c <"$t")-LENGTH))
if [ $n -lt 0 ]; then echo "transfer incomplete" >&2; exit 1; fi
e=$(tail -c LENGTH "$t")
dd if=/dev/null of="$t" bs=1 seek=$n 2>/dev/null || exit 1
v=$(printf %020d $n):$(DIGEST)
if [ "$v" != "$e" ]; then echo "transfer incomplete, or digest mismatch: $v" >&2; exit 1; fi
`
	sum := sha256.New()
	size := new(byteCounter)
	hasher := g.digestCommand(max(f.size, smallFile))
	digest, length := ":", len("00000000000000000000:")
	if hasher != "" {
		digest, length = hasher+` <"$t" | cut -c1-64`, length+2*sha256.Size
	}
	trailer := &lazyReader{text: func() string {
		text := fmt.Sprintf("%020d:", int64(*size))
		if hasher != "" {
			text += hexDigest(sum)
		}
		return text
	}}
	scripts := newFileScripts(g, up, f, dest)
	check := strings.NewReplacer("LENGTH", strconv.Itoa(length), "DIGEST", digest).Replace(checkScript)
	content := io.TeeReader(f.content, io.MultiWriter(sum, size, report))
	return c.runScript(ctx, c.newScript(su, scripts.begin()+check+scripts.end(), io.MultiReader(content, trailer)))
}

// A lazyReader reads a text that is known only when it is read.
type lazyReader struct {
	text func() string
	from io.Reader
}

// Read reads the text.
func (r *lazyReader) Read(p []byte) (int, error) {
	if r.from == nil {
		r.from = strings.NewReader(r.text())
	}
	return r.from.Read(p)
}

// fileScripts generates the parts of a script that writes one file.
type fileScripts struct {
	dest  string
	stage string // a private directory in dest's directory
	from  string // where the data arrives: in stage, or a file in the login's home
	uid   int    // of the login
	login string // owner of from if that is not in stage
	mode  fs.FileMode
	owner string // argument of chown; empty to keep the owner
}

func newFileScripts(g *guestInfo, up *bake.Upload, f *sourceFile, dest string) *fileScripts {
	stage := path.Join(path.Dir(dest), tempPrefix+newTag())
	return &fileScripts{dest: dest, stage: stage, from: stage + "/f", uid: g.facts.UID, mode: f.mode, owner: chownArg(up)}
}

// begin creates dest's directory and an empty temporary file. The private directory
// keeps others from replacing that file by a link.
func (f *fileScripts) begin() string {
	var b strings.Builder
	fmt.Fprintf(&b, "d=%s s=%s f=%s; t=$s/f\n", quote(f.dest), quote(f.stage), quote(f.from))
	b.WriteString(checkLinks(f.uid, path.Dir(f.dest)))
	b.WriteString(`if [ -d "$d" ]; then echo "$d is a directory" >&2; exit 1; fi` + "\n")
	fmt.Fprintf(&b, "mkdir -p %s || exit 1\n", quote(path.Dir(f.dest)))
	b.WriteString("umask 077\n")
	b.WriteString(trapCleanUp(`rm -rf "$s" "$f"`))
	b.WriteString(`mkdir "$s" && : >"$t" && : >"$f" || exit 1` + "\n")
	if f.login != "" {
		fmt.Fprintf(&b, "chown %s \"$f\" || exit 1\n", quote(f.login))
	}
	return b.String()
}

// end sets owner and mode, and renames the temporary file to dest.
func (f *fileScripts) end() string {
	var b strings.Builder
	b.WriteString(moveScript)
	if f.login != "" {
		b.WriteString(`move "$t" "$f" || exit 1` + "\n")
	}
	owner := f.owner
	if owner == "" && f.login != "" {
		owner = "0:0"
	}
	if owner != "" {
		fmt.Fprintf(&b, "chown %s \"$t\" || exit 1\n", quote(owner))
	}
	fmt.Fprintf(&b, "chmod %s \"$t\" && move \"$d\" \"$t\" || exit 1\n", octal(f.mode))
	return b.String()
}
