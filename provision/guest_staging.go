package provision

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
)

// ownDirPrefix begins the name of every directory made here; baketest knows
// them by it.
const ownDirPrefix = "bakestone-"

const (
	// removeLimit bounds the removal of a directory after the build's end.
	removeLimit = 2 * time.Minute

	// failedLimit bounds it when the provisioner failed already: the machine may
	// be out of reach, and will hardly be used.
	failedLimit = 15 * time.Second

	// returnLimit bounds it for a machine that left as expected and may be
	// booting.
	returnLimit = 10 * time.Minute

	// removeTries is how often a connection may be lost during the removal, and
	// removePause the wait before the next try: a machine that goes down takes
	// new connections, too, for a while.
	removeTries = 5
	removePause = time.Second
)

// An ownDir is a directory on the machine that only its user can enter, for
// the length of one provisioner.
type ownDir struct {
	path string
	sudo bool
	lost bool // the connection was lost as expected
}

// inOwnDir makes a directory in parent, calls use and removes it again,
// whatever came, also after the end of ctx.
func inOwnDir(ctx context.Context, m bake.Machine, parent string, sudo bool, use func(*ownDir) error) (err error) {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	// The name cannot be guessed, so that nobody on the machine can be there
	// first.
	dir := &ownDir{path: path.Join(parent, ownDirPrefix+rand.Text()), sudo: sudo}
	err = m.Run(ctx, &bake.Cmd{Args: []string{"mkdir", "-m", "0700", dir.path}, Sudo: sudo})
	if _, exited := errors.AsType[*bake.ExitError](err); exited {
		return fmt.Errorf("make a directory for the script: %w", err)
	}
	// Without an exit status the directory may be there.
	defer func() {
		removeErr := dir.remove(ctx, m, err != nil)
		switch {
		case removeErr == nil:
		case err == nil:
			err = fmt.Errorf("remove %s: %w", dir.path, removeErr)
		case errors.Is(err, bake.ErrDisconnected) && errors.Is(removeErr, bake.ErrDisconnected):
			// The machine is gone: once is enough to say it.
		default:
			err = errors.Join(err, fmt.Errorf("remove %s: %w", dir.path, removeErr))
		}
	}()
	if err != nil {
		return fmt.Errorf("make a directory for the script: %w", err)
	}
	return use(dir)
}

func (d *ownDir) remove(ctx context.Context, m bake.Machine, failed bool) error {
	limit := removeLimit
	switch {
	case failed:
		limit = failedLimit
	case d.lost:
		limit = returnLimit
	}
	c := bake.RunFromContext(ctx).Clock
	ctx, stop := clock.WithTimeout(context.WithoutCancel(ctx), c, limit)
	defer stop()
	for try := 1; ; try++ {
		err := m.Run(ctx, &bake.Cmd{Args: []string{"rm", "-rf", d.path}, Sudo: d.sudo})
		if try == removeTries || !errors.Is(err, bake.ErrDisconnected) {
			return err
		}
		if c.Sleep(ctx, removePause) != nil {
			return err
		}
	}
}

// A staging is the directory on the machine with what a tool needs.
type staging struct {
	m    bake.Machine
	path string
}

// file makes a file that only root can read, and returns its path.
func (s *staging) file(ctx context.Context, name, content string) (string, error) {
	at := path.Join(s.path, name)
	err := s.m.Put(ctx, &bake.Upload{
		Content: strings.NewReader(content), Size: int64(len(content)), Dest: at, Mode: 0o600, Sudo: true,
	})
	if err != nil {
		return "", fmt.Errorf("upload %s: %w", name, err)
	}
	return at, nil
}

// tree copies a tree, and returns its path.
func (s *staging) tree(ctx context.Context, name string, t tree) (string, error) {
	at := path.Join(s.path, name)
	up, err := t.upload(at)
	if err == nil {
		err = s.m.Put(ctx, up)
	}
	if err != nil {
		return "", fmt.Errorf("upload %s: %w", t, err)
	}
	return at, nil
}

// read returns the content of a file that the tool has written there.
func (s *staging) read(ctx context.Context, name string) ([]byte, error) {
	var content bytes.Buffer
	err := s.m.Get(ctx, &bake.Download{Source: path.Join(s.path, name), Content: &content, Sudo: true})
	return content.Bytes(), err
}

// either copies a file or a tree.
func (s *staging) either(ctx context.Context, name string, fsys fs.FS, file string) (string, error) {
	info, err := stat(fsys, file)
	if err != nil {
		return "", err
	}
	if info.IsDir() {
		return s.tree(ctx, name, tree{fsys: fsys, dir: file})
	}
	content, err := readFile(fsys, file)
	if err != nil {
		return "", err
	}
	return s.file(ctx, name+filepath.Ext(file), string(content))
}
