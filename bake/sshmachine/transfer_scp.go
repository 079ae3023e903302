package sshmachine

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// putSCP sends a tree and its sidecars by the scp protocol to one command, which also
// verifies it and moves it into place. It sends files without waiting for the answers
// to earlier ones.
func (c *conn) putSCP(ctx context.Context, su *sudo, src *sourceTree, scripts *treeScripts, report *progress) error {
	input, toMachine := io.Pipe()
	fromMachine, output := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		err := writeSCP(toMachine, src, report)
		_ = toMachine.CloseWithError(err)
		sent <- err
	}()
	answered := make(chan error, 1)
	go func() {
		err := scpAnswers(fromMachine)
		if err != nil { // stop scp from blocking on further complaints
			_ = input.CloseWithError(err)
			_ = fromMachine.CloseWithError(err)
		}
		answered <- err
	}()
	p := c.newScript(su, scripts.begin()+`(cd "$w" && exec scp -r -p -t .) || exit 1`+"\n"+scripts.end(), input)
	p.stdout = output
	err := c.runScript(ctx, p)
	_ = output.Close()
	_ = input.CloseWithError(errReceiverEnded)
	failed, refused := <-sent, <-answered
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case refused != nil:
		return refused
	case failed != nil && !errors.Is(failed, errReceiverEnded):
		return failed
	}
	return err
}

// scpAnswers reads the answers, each a zero byte or an error, and returns the first
// error.
func scpAnswers(from io.Reader) error {
	r := bufio.NewReader(from)
	for {
		b, err := r.ReadByte()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case b == 0:
			continue
		}
		line, err := r.ReadSlice('\n') // fails if it is longer than the buffer
		text := plainText(string(line))
		if text == "" && err != nil {
			return err
		}
		return fmt.Errorf("scp on the machine: %s", text)
	}
}

// An scpWriter writes the sender's side of the protocol.
type scpWriter struct {
	*bufio.Writer
	depth int // of open directories
}

// writeSCP writes a tree and its sidecars.
func writeSCP(to io.Writer, src *sourceTree, report *progress) error {
	w := &scpWriter{Writer: bufio.NewWriterSize(to, copyBufferSize)}
	sums := make([]string, len(src.entries))
	buffer := make([]byte, copyBufferSize)
	sum := sha256.New()
	current := ""
	w.enter(entry{name: "t", mode: ownerRWX})
	for i, e := range src.entries {
		if e.mode&fs.ModeSymlink != 0 {
			continue
		}
		if strings.Contains(e.name, "\n") {
			return fmt.Errorf("%q: scp cannot send names with newlines", e.name)
		}
		parent := path.Dir(e.name)
		for current != "" && current != parent && !strings.HasPrefix(parent, current+"/") {
			w.leave()
			if current = path.Dir(current); current == "." {
				current = ""
			}
		}
		if e.mode.IsDir() {
			w.enter(e)
			current = e.name
			continue
		}
		w.times(e)
		_, _ = fmt.Fprintf(w, "C%s %d %s\n", octal(e.mode), e.size, path.Base(e.name))
		sum.Reset()
		if err := copyFile(io.MultiWriter(w, sum), src.fsys, e, buffer, report); err != nil {
			return err
		}
		_ = w.WriteByte(0)
		sums[i] = hexDigest(sum)
	}
	for w.depth > 0 {
		w.leave()
	}
	for _, f := range src.sidecars(src.entries, sums, true) {
		_, _ = fmt.Fprintf(w, "C0600 %d %s\n%s\x00", len(f.content), f.name, f.content)
	}
	return w.Flush() // returns any earlier write error
}

func (w *scpWriter) times(e entry) {
	_, _ = fmt.Fprintf(w, "T%d 0 %d 0\n", max(e.mtime.Unix(), 0), max(e.mtime.Unix(), 0))
}

func (w *scpWriter) enter(e entry) {
	if !e.mtime.IsZero() {
		w.times(e)
	}
	_, _ = fmt.Fprintf(w, "D%s 0 %s\n", octal(e.mode), path.Base(e.name))
	w.depth++
}

func (w *scpWriter) leave() {
	_, _ = fmt.Fprint(w, "E\n")
	w.depth--
}
