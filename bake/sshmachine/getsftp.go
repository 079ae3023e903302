package sshmachine

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// getSFTP fetches a tree over an SFTP channel, many files at once. SFTP runs as
// the login, so it cannot read as root.
func (c *channel) getSFTP(ctx context.Context, from *remote, into *sink) error {
	stop := context.AfterFunc(ctx, func() { _ = c.session.Close() })
	defer stop()
	err := c.fetchTree(ctx, from.path, into)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

func (c *channel) fetchTree(ctx context.Context, root string, into *sink) error {
	var rest []entry
	walker := c.Walk(root)
	for walker.Step() {
		if err := walker.Err(); err != nil {
			return fmt.Errorf("sftp: %w", err)
		}
		info := walker.Stat()
		name := strings.TrimPrefix(strings.TrimPrefix(walker.Path(), root), "/")
		if name == "" {
			name = "."
		}
		if name != "." && into.ex.Match(name) {
			if info.IsDir() {
				walker.SkipDir()
			}
			continue
		}
		e := entry{name: name, mode: info.Mode(), size: info.Size(), mtime: info.ModTime()}
		if !info.IsDir() {
			rest = append(rest, e)
			continue
		}
		if err := into.take(e, nil); err != nil {
			return err
		}
	}
	return parallel(ctx, len(rest), func(i int) error { return c.fetch(rest[i], root, into) })
}

// fetch takes one file or link.
func (c *channel) fetch(e entry, root string, into *sink) error {
	name := path.Join(root, e.name)
	if e.mode&fs.ModeSymlink != 0 {
		target, err := c.ReadLink(name)
		if err != nil {
			return fmt.Errorf("sftp: %s: %w", name, err)
		}
		e.link = target
		return into.take(e, nil)
	}
	if !e.mode.IsRegular() {
		return nil
	}
	file, err := c.Open(name)
	if err != nil {
		return fmt.Errorf("sftp: %s: %w", name, err)
	}
	defer func() { _ = file.Close() }() // it was only read
	return into.take(e, io.LimitReader(file, e.size))
}
