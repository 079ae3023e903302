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
	"github.com/bakestone-go/bakestone/internal/posixsh"
	"github.com/bakestone-go/bakestone/internal/staging"
)

const (
	// removeTimeout limits removing a staging directory.
	removeTimeout = 2 * time.Minute

	// failedRemoveTimeout limits it after the provisioner failed: the machine may
	// be unreachable and is unlikely to become an image.
	failedRemoveTimeout = 15 * time.Second

	// rebootRemoveTimeout limits it after an expected disconnect: the machine may
	// be rebooting.
	rebootRemoveTimeout = 10 * time.Minute

	// removeAttempts is how often removing is tried while the connection is lost,
	// and removeRetryDelay the wait between: a machine that shuts down accepts new
	// connections for a while.
	removeAttempts   = 5
	removeRetryDelay = time.Second
)

// A stagingDir is a directory on the machine that only its user can enter. It
// holds the files of one provisioner while that runs.
type stagingDir struct {
	m            bake.Machine
	path         string
	sudo         bool // it belongs to root
	disconnected bool // the connection was lost as expected
}

// withStagingDir creates a staging directory in parent, calls use and removes
// the directory, even if use fails or ctx ends.
func withStagingDir(ctx context.Context, m bake.Machine, parent string, sudo bool, use func(*stagingDir) error) (err error) {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	// The name is random, so no other user can create the directory first.
	dir := &stagingDir{m: m, path: path.Join(parent, staging.Prefix+rand.Text()), sudo: sudo}
	err = m.Run(ctx, &bake.Cmd{Args: []string{"mkdir", "-m", "0700", dir.path}, Sudo: sudo})
	if _, exited := errors.AsType[*bake.ExitError](err); exited {
		return fmt.Errorf("create staging directory: %w", err)
	}
	// If the connection was lost, the directory may exist.
	defer func() {
		removeErr := dir.remove(ctx, err != nil)
		switch {
		case removeErr == nil:
		case err == nil:
			err = fmt.Errorf("remove %s: %w", dir.path, removeErr)
		case errors.Is(err, bake.ErrDisconnected) && errors.Is(removeErr, bake.ErrDisconnected):
			// Report the lost connection only once.
		default:
			err = errors.Join(err, fmt.Errorf("remove %s: %w", dir.path, removeErr))
		}
	}()
	if err != nil {
		return fmt.Errorf("create staging directory: %w", err)
	}
	return use(dir)
}

func (d *stagingDir) remove(ctx context.Context, failed bool) error {
	limit := removeTimeout
	switch {
	case failed:
		limit = failedRemoveTimeout
	case d.disconnected:
		limit = rebootRemoveTimeout
	}
	c := bake.RunFromContext(ctx).Clock
	ctx, stop := clock.WithTimeout(context.WithoutCancel(ctx), c, limit)
	defer stop()
	for try := 1; ; try++ {
		err := d.m.Run(ctx, &bake.Cmd{Args: []string{"rm", "-rf", d.path}, Sudo: d.sudo})
		if try == removeAttempts || !errors.Is(err, bake.ErrDisconnected) {
			return err
		}
		if c.Sleep(ctx, removeRetryDelay) != nil {
			return err
		}
	}
}

// file creates a file that only its owner can read and returns its path.
func (d *stagingDir) file(ctx context.Context, name, content string) (string, error) {
	at := path.Join(d.path, name)
	err := d.m.Put(ctx, &bake.Upload{
		Content: strings.NewReader(content), Size: int64(len(content)), Dest: at, Mode: 0o600, Sudo: d.sudo,
	})
	if err != nil {
		return "", fmt.Errorf("upload %s: %w", name, err)
	}
	return at, nil
}

// tree uploads a tree and returns its path.
func (d *stagingDir) tree(ctx context.Context, name string, t tree) (string, error) {
	at := path.Join(d.path, name)
	up, err := t.upload(at)
	if err == nil {
		up.Sudo = d.sudo
		err = d.m.Put(ctx, up)
	}
	if err != nil {
		return "", fmt.Errorf("upload %s: %w", t, err)
	}
	return at, nil
}

// copy uploads a file or a tree, with its permissions, to a path in the directory.
func (d *stagingDir) copy(ctx context.Context, name string, fsys fs.FS, file string) error {
	info, err := stat(fsys, file)
	if err != nil {
		return err
	}
	if info.IsDir() {
		_, err := d.tree(ctx, name, tree{fsys: fsys, dir: file})
		return err
	}
	content, err := readFile(fsys, file)
	if err != nil {
		return err
	}
	err = d.m.Put(ctx, &bake.Upload{
		Content: bytes.NewReader(content), Size: int64(len(content)), Dest: path.Join(d.path, name),
		Mode: info.Mode() & posixsh.ModeBits, Sudo: d.sudo,
	})
	if err != nil {
		return fmt.Errorf("upload %s: %w", name, err)
	}
	return nil
}

// read returns the content of a file in the directory, of at most maxResults bytes.
func (d *stagingDir) read(ctx context.Context, name string) ([]byte, error) {
	var content results
	err := d.m.Get(ctx, &bake.Download{Source: path.Join(d.path, name), Content: &content, Sudo: d.sudo})
	return content.text, err
}

// maxResults limits what a tool may report of its run.
const maxResults = 16 << 20

var errLongResults = fmt.Errorf("results exceed %d MiB", maxResults>>20)

// results keeps what is written to it, up to maxResults.
type results struct{ text []byte }

// Write fails if the results become too long.
func (r *results) Write(p []byte) (int, error) {
	if len(p) > maxResults-len(r.text) {
		r.text = nil
		return 0, errLongResults
	}
	r.text = append(r.text, p...)
	return len(p), nil
}

// either uploads a file or a tree and returns its path.
func (d *stagingDir) either(ctx context.Context, name string, fsys fs.FS, file string) (string, error) {
	info, err := stat(fsys, file)
	if err != nil {
		return "", err
	}
	if info.IsDir() {
		return d.tree(ctx, name, tree{fsys: fsys, dir: file})
	}
	content, err := readFile(fsys, file)
	if err != nil {
		return "", err
	}
	return d.file(ctx, name+filepath.Ext(file), string(content))
}
