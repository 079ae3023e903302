package sandbox

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
)

func gzipCommand(_ context.Context, p *Process) int {
	o, names, bad := p.options("cdfknq123456789", "stdout=c", "to-stdout=c", "decompress=d", "uncompress=d", "force=f", "keep=k",
		"no-name=n", "fast=1", "best=9", "quiet=q")
	if bad != 0 {
		return bad
	}
	unpack := o.on("d") || p.name() != "gzip"
	toStdout := o.on("c") || p.name() == "zcat"
	level := gzip.DefaultCompression
	if digit := o.last("123456789"); digit != "" {
		level, _ = number(digit)
	}
	convert := func(w io.Writer, r io.Reader) error {
		if unpack {
			z, err := gzip.NewReader(r)
			if err != nil {
				return errors.New("not in gzip format")
			}
			_, err = io.Copy(w, z) //nolint:gosec // the guest's own archive, in the guest's memory
			return err
		}
		z, err := gzip.NewWriterLevel(w, level)
		if err != nil {
			return err
		}
		_, err = io.Copy(z, r)
		return errors.Join(err, z.Close())
	}
	if len(names) == 0 {
		names = []string{"-"}
	}
	status := 0
	for _, name := range names {
		if err := p.gzipFile(name, unpack, toStdout, o, convert); err != nil {
			if errors.Is(err, syscall.EPIPE) {
				return signal("PIPE").status()
			}
			status = p.fail(1, "%s: %s", name, errText(err))
		}
	}
	return status
}

func (p *Process) gzipFile(name string, unpack, toStdout bool, o opts, convert func(io.Writer, io.Reader) error) error {
	in, err := p.input(name)
	if err != nil {
		return err
	}
	defer shut(in)
	if toStdout || name == "-" {
		return convert(p.Stdout, in)
	}
	to := p.Path(name) + ".gz"
	if unpack {
		short, ok := strings.CutSuffix(p.Path(name), ".gz")
		if !ok {
			return errors.New("unknown suffix -- ignored")
		}
		to = short
	}
	info, err := p.FS.Stat(p.Path(name))
	if err != nil {
		return err
	}
	flag := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if o.on("f") {
		flag = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	out, err := p.FS.OpenFile(to, flag, info.Mode().Perm())
	if err != nil {
		return err
	}
	if err := errors.Join(convert(out, in), out.Close()); err != nil {
		_ = p.FS.Remove(to)
		return err
	}
	if err := p.preserve(to, info, copyOptions{mode: true, owner: true, times: true}); err != nil || o.on("k") {
		return err
	}
	return p.FS.Remove(p.Path(name))
}
