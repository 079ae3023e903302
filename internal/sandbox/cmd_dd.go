package sandbox

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
)

func dd(ctx context.Context, p *Process) int {
	args := map[string]string{"bs": "512", "count": "-1", "skip": "0", "seek": "0", "if": "-"}
	for _, arg := range p.Args[1:] {
		name, value, ok := strings.Cut(arg, "=")
		switch name {
		case "if", "of", "bs", "count", "skip", "seek":
			args[name] = value
		case "conv":
			for conv := range strings.SplitSeq(value, ",") {
				if conv != "notrunc" && conv != "fsync" && conv != "fdatasync" {
					return p.fail(2, "conv=%s is not supported by this machine", conv)
				}
				args[conv] = "yes"
			}
		case "status":
			args[name] = value
		case "iflag", "oflag":
			if value != "fullblock" && value != "direct" && value != "sync" {
				return p.fail(2, "%s=%s is not supported by this machine", name, value)
			}
		default:
			ok = false
		}
		if !ok {
			return p.fail(2, "%s is not supported by this machine", quote(arg))
		}
	}
	size, okSize := parseSize(args["bs"])
	skip, okSkip := parseSize(args["skip"])
	seek, okSeek := parseSize(args["seek"])
	count, okCount := int64(-1), true
	if args["count"] != "-1" {
		count, okCount = parseSize(args["count"])
	}
	if !okSize || !okSkip || !okSeek || !okCount || size == 0 {
		return p.fail(1, "invalid number")
	}
	in, err := p.input(args["if"])
	if err != nil {
		return p.fail(1, "failed to open %s: %s", quote(args["if"]), errText(err))
	}
	defer shut(in)
	out := p.Stdout
	if name, ok := args["of"]; ok {
		flag := os.O_WRONLY | os.O_CREATE
		if args["notrunc"] == "" && seek == 0 {
			flag |= os.O_TRUNC
		}
		f, err := p.FS.OpenFile(p.Path(name), flag, 0o666)
		if err != nil {
			return p.fail(1, "failed to open %s: %s", quote(name), errText(err))
		}
		defer shut(f)
		if args["notrunc"] == "" && seek > 0 {
			_ = f.Truncate(seek * size) // fails for a device
		}
		if _, err := f.Seek(seek*size, io.SeekStart); err != nil {
			return p.fail(1, "%s: cannot seek: %s", name, errText(err))
		}
		out = f
	}
	if _, err := io.CopyN(io.Discard, in, skip*size); err != nil && !errors.Is(err, io.EOF) {
		return p.fail(1, "cannot skip: %s", errText(err))
	}
	full, part, total := 0, 0, int64(0)
	buf := make([]byte, min(size, 1<<20))
	for n := int64(0); (count < 0 || n < count) && ctx.Err() == nil; n++ {
		moved, err := io.CopyBuffer(struct{ io.Writer }{out}, io.LimitReader(in, size), buf)
		total += moved
		switch {
		case moved == size:
			full++
		case moved > 0:
			part++
		}
		if err != nil {
			return p.fail(1, "error writing: %s", errText(err))
		}
		if moved < size {
			break
		}
	}
	if args["status"] != "none" {
		fprintf(p.Stderr, "%d+%d records in\n%d+%d records out\n", full, part, full, part)
		if args["status"] != "noxfer" {
			fprintf(p.Stderr, "%d bytes copied\n", total)
		}
	}
	return 0
}

func syncCommand(_ context.Context, p *Process) int {
	_, names, bad := p.options("df", "data=d", "file-system=f")
	if bad != 0 {
		return bad
	}
	for _, name := range names {
		if _, err := p.FS.Stat(p.Path(name)); err != nil {
			return p.fail(1, "error opening %s: %s", quote(name), errText(err))
		}
	}
	return 0
}
