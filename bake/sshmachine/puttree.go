package sshmachine

import (
	"context"
	"fmt"
	"io/fs"
	"path"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/exclude"
)

// putTree sends a tree the best way that the machine offers.
func (m *Machine) putTree(ctx context.Context, up *bake.Upload, fsys fs.FS, dest string, ex exclude.Patterns) error {
	src, err := newSource(ctx, fsys, ex)
	if err != nil {
		return err
	}
	return m.onLink(ctx, func(l *link) error {
		root, g, err := l.both(ctx, up.Sudo)
		if err != nil {
			return err
		}
		scripts := &treeScripts{
			dest: dest, tag: newTag(), root: src.root, owner: ownerOf(up),
			hasher: g.hasher(src.bytes), xargs: g.has("xargs"),
		}
		report := newProgress(up.Progress, src.bytes)
		if err := l.sendTree(ctx, root, g, src, scripts, report); err != nil {
			return err
		}
		report.finish()
		return nil
	})
}

func (l *link) sendTree(ctx context.Context, root *sudo, g *guest, src *source, scripts *treeScripts, report *progress) error {
	if g.has("tar") {
		return l.putTar(ctx, root, g, src, scripts, report)
	}
	if root != nil && root.needed {
		scripts.upload = path.Join(g.facts.Home, temporary+scripts.tag)
		scripts.login = g.facts.User
	}
	// The control's answer to "where" is the directory that it has made.
	c, err := l.newControl(ctx, root, scripts.begin(), `where) printf '%s\n' "$w";;`+"\n", scripts.end())
	if err != nil {
		return err
	}
	defer c.close()
	into, err := c.ask("where")
	if err != nil {
		return err
	}
	switch open := l.openSFTP(ctx, 1); {
	case len(open) > 0:
		err = putSFTP(ctx, open[0], src, into, report)
		closeAll(open)
	case g.has("scp"):
		err = l.putSCP(ctx, src, into, report)
	default:
		err = fmt.Errorf("the machine has neither tar nor SFTP nor scp")
	}
	if err != nil {
		return err
	}
	return c.commit()
}
