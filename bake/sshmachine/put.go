package sshmachine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/exclude"
)

// Put writes one file or one tree on the machine, as bake.Machine says.
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
			return bake.Invalid("Upload", "there is a zero byte in %q", name)
		}
	}
	if err := m.put(ctx, up, ex); err != nil {
		return fmt.Errorf("put %s: %w", up.Dest, err)
	}
	return nil
}

func (m *Machine) put(ctx context.Context, up *bake.Upload, ex exclude.Patterns) error {
	dest := path.Clean(up.Dest)
	switch {
	case up.FS != nil:
		return m.putTree(ctx, up, up.FS, dest, ex)
	case up.Content != nil:
		f := &outgoing{content: up.Content, size: up.Size, mode: up.Mode}
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
	file, err := os.Open(up.Path)
	if err != nil {
		return err
	}
	defer file.Close()
	f := &outgoing{content: file, size: info.Size(), mode: up.Mode}
	if f.mode == 0 {
		f.mode = info.Mode() & settable
	}
	return m.putFile(ctx, up, f, dest)
}

const defaultMode fs.FileMode = 0o644

// outgoing is one file to be sent.
type outgoing struct {
	content io.Reader
	size    int64 // zero is unknown
	mode    fs.FileMode
}

// ownerOf is what chown is told, empty when the writer is the owner.
func ownerOf(up *bake.Upload) string {
	if up.Group == "" {
		return up.Owner
	}
	return up.Owner + ":" + up.Group
}

// rights says how the transfer becomes root, if it should.
func (l *link) rights(ctx context.Context, asRoot bool) (*sudo, error) {
	if !asRoot {
		return nil, nil //nolint:nilnil // the login as it is
	}
	return l.becomeRoot(ctx)
}

// begun makes an error after which nothing may be tried again, because a part
// of the input was read.
func (l *link) begun(err error) error {
	if errors.Is(err, errNotStarted) {
		return l.lostError()
	}
	return err
}
