package provision

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
)

const defaultRemoteDir = "/tmp"

// Provision copies the script to the machine, runs it and removes it. It fails
// if it cannot remove the script, which would otherwise be part of the image.
func (s Script) Provision(ctx context.Context, m bake.Machine) error {
	if err := s.Validate(); err != nil {
		return err
	}
	text, name, err := s.read()
	if err != nil {
		return err
	}
	parent, err := expandHome(ctx, m, cmp.Or(s.RemoteDir, defaultRemoteDir))
	if err != nil {
		return err
	}
	workDir, err := expandHome(ctx, m, s.Dir)
	if err != nil {
		return err
	}
	remedy := "set Script.RemoteDir to a directory that the login can write, or Script.Sudo if the script needs root"
	err = withStagingDir(ctx, m, parent, s.Sudo, func(staging *stagingDir) error {
		remedy = "set Script.Sudo if the script needs root"
		dir, err := s.stageFiles(ctx, staging)
		if err != nil {
			return err
		}
		at := path.Join(dir, name)
		err = m.Put(ctx, &bake.Upload{
			Content: bytes.NewReader(text), Size: int64(len(text)), Dest: at, Mode: 0o700, Sudo: s.Sudo,
		})
		if err != nil {
			return fmt.Errorf("upload script: %w", err)
		}
		if s.Dir == scriptDir {
			workDir = dir
		}
		err = m.Run(ctx, &bake.Cmd{
			Args: s.command(text, at), Dir: workDir, Env: s.Env, Secrets: s.Secrets, Sudo: s.Sudo, PTY: s.PTY,
		})
		if s.ExpectDisconnect && errors.Is(err, bake.ErrDisconnected) && ctx.Err() == nil {
			staging.disconnected = true
			return nil
		}
		return s.explain(accept(err, s.ExitCodes), text)
	})
	if s.Sudo {
		return err
	}
	// dash does not tell why it cannot enter a directory.
	if exit, ok := errors.AsType[*bake.ExitError](err); ok && s.Dir != "" && outputContains(exit, strings.ToLower("can't cd to "+workDir)) {
		return fmt.Errorf("%w\n\tcheck that Script.Dir exists, and set Script.Sudo if only root can enter it", err)
	}
	return explainDenied(ctx, m, err, remedy)
}

// command returns the program and arguments that run the script stored at at.
func (s Script) command(text []byte, at string) []string {
	var args []string
	switch {
	case s.Interpreter != "":
		args = strings.Fields(s.Interpreter)
	case bytes.HasPrefix(text, []byte("#!")):
		args = shebang(text)
	case !isBinary(text):
		args = []string{"/bin/sh", "-e"}
	}
	args = append(args, at)
	return append(args, s.Args...)
}

// shebang splits the first line as Linux does: a program and one argument.
func shebang(text []byte) []string {
	line, _, _ := strings.Cut(string(text[len("#!"):]), "\n")
	line = strings.TrimSpace(line)
	if line == "" {
		return []string{"/bin/sh", "-e"}
	}
	end := strings.IndexAny(line, " \t")
	if end < 0 {
		return []string{line}
	}
	return []string{line[:end], strings.TrimSpace(line[end:])}
}

const cannotExecute = 126

// explain adds a hint to the error of a program on a noexec file system.
func (s Script) explain(err error, text []byte) error {
	var exit *bake.ExitError
	if errors.As(err, &exit) && exit.Status == cannotExecute && s.Interpreter == "" && isBinary(text) {
		return fmt.Errorf("%w\n\t/tmp may be mounted noexec: set Script.RemoteDir to a directory that is not", err)
	}
	return err
}

// isBinary reports whether text is a compiled program rather than a script.
func isBinary(text []byte) bool {
	return bytes.IndexByte(text, 0) >= 0 && !bytes.HasPrefix(text, []byte("#!"))
}

// unixText returns text with CR LF replaced by LF and without a byte order mark.
// Text with NUL bytes carries a payload and is returned unchanged.
func unixText(text []byte) []byte {
	if bytes.IndexByte(text, 0) >= 0 {
		return text
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	return bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
}
