package sshmachine

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/exclude"
)

// putTree sends a tree.
func (m *Machine) putTree(ctx context.Context, up *bake.Upload, fsys fs.FS, dest string, ex exclude.Patterns) error {
	src, err := newSourceTree(ctx, fsys, ex)
	if err != nil {
		return err
	}
	return m.withConn(ctx, func(c *conn) error {
		su, g, err := c.prepareTransfer(ctx, up.Sudo)
		if err != nil {
			return err
		}
		put := &treePut{conn: c, up: up, ex: ex, su: su, guest: g, src: src, total: src.bytes, report: newProgress(up.Progress, src.bytes)}
		put.scripts = treeScripts{
			dest: dest, tag: newTag(), uid: g.facts.UID, root: src.root, owner: chownArg(up),
			hasher: g.digestCommand(src.bytes), xargs: g.has("xargs"),
			newlines: slices.ContainsFunc(src.entries, func(e entry) bool { return strings.Contains(e.name, "\n") }),
		}
		if err := put.send(ctx); err != nil {
			return err
		}
		put.report.finish()
		return nil
	})
}

// A treePut is a tree being sent.
type treePut struct {
	*conn
	up      *bake.Upload
	ex      exclude.Patterns
	su      *sudo
	guest   *guestInfo
	src     *sourceTree // without what the machine has already
	total   int64       // bytes of the whole tree
	scripts treeScripts
	report  *progress

	script *transferScript // owns the staging directory
	stage  stage
}

// A stage describes what a transfer script found and made.
type stage struct {
	exists   bool // the destination is a directory
	uid, gid int  // of the script
}

// send sends the tree as tar streams if the machine has tar, or else by SFTP or scp.
func (p *treePut) send(ctx context.Context) error {
	if p.guest.has("tar") {
		return p.sendTar(ctx)
	}
	unavailable, err := p.sendSFTP(ctx)
	switch {
	case unavailable == nil:
		return err
	case !p.guest.has("scp"):
		return fmt.Errorf("machine has neither tar nor scp to write a tree, and SFTP cannot be used: %w", unavailable)
	case p.up.Delete:
		return fmt.Errorf("Upload.Delete needs tar or SFTP on the machine, which cannot be used: %w", unavailable)
	}
	return p.putSCP(ctx, p.su, p.src, &p.scripts, p.report)
}

// begin starts the transfer script, whose end follows arrive, and leaves out what the
// machine has already. The caller must close p.script.
func (p *treePut) begin(ctx context.Context, arrive string) error {
	const where = `echo "$x $(id -u) $(id -g)"` + "\n"
	t, err := p.startTransferScript(ctx, p.su, p.scripts.begin()+where, "", arrive+p.scripts.end())
	if err != nil {
		return err
	}
	p.script = t
	err = p.stage.parse(t.begun)
	if err == nil && p.stage.exists {
		err = p.compare(ctx)
	}
	if err != nil {
		t.close()
	}
	return err
}

// parse parses the line that the transfer script begins with.
func (s *stage) parse(answer string) error {
	var exists int
	if _, err := fmt.Sscan(answer, &exists, &s.uid, &s.gid); err != nil {
		return fmt.Errorf("unexpected answer of the transfer script: %.100q: %w", answer, err)
	}
	s.exists = exists == 1
	return nil
}

// into returns the directory that the transfer script made for the tree.
func (p *treePut) into() string {
	switch {
	case p.scripts.upload != "":
		return p.scripts.upload
	case p.stage.exists:
		return path.Join(p.scripts.dest, tempPrefix+p.scripts.tag)
	}
	return path.Join(path.Dir(p.scripts.dest), tempPrefix+p.scripts.tag)
}

// sendTar sends the tree as tar streams: parts of a big one by commands of their own,
// and the rest to the transfer script, which then moves the tree into place.
func (p *treePut) sendTar(ctx context.Context) error {
	compress := p.guest.has("gzip") && p.shouldCompress(ctx, p.src)
	if err := p.begin(ctx, extractScript(`"$w"`, "h", compress)); err != nil {
		return err
	}
	defer p.script.close()
	p.report.add(int(p.total - p.src.bytes))
	rest, err := p.sendParts(ctx, compress)
	if err != nil {
		return err
	}
	a := &archive{fsys: p.src.fsys, entries: rest, compress: compress, report: p.report}
	return p.script.commit(func(w io.Writer) error {
		return a.write(w, func(sums []string) []sidecar { return p.src.sidecars(rest, sums, false) })
	})
}

// sendSFTP sends the tree by SFTP, beside the transfer script. If the server has no
// SFTP or permits no second session, the first error says so.
func (p *treePut) sendSFTP(ctx context.Context) (unavailable, err error) {
	whole := *p
	if p.su.elevates() {
		p.scripts.upload = path.Join(p.guest.facts.Home, tempPrefix+p.scripts.tag)
		p.scripts.login = p.guest.facts.User
	}
	if err := p.begin(ctx, ""); err != nil {
		return nil, err
	}
	defer p.script.close()
	open, err := p.openSFTP(ctx, 1, false)
	if err != nil {
		*p = whole
		return err, nil
	}
	p.report.add(int(p.total - p.src.bytes))
	err = open[0].putTree(ctx, p.src, p.into(), p.report)
	closeAll(open)
	if err != nil {
		return nil, err
	}
	return nil, p.script.commit(nil)
}
