package sandbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

// scp implements the remote side of the scp protocol: scp -t receives files and
// scp -f sends them.
func scp(_ context.Context, p *Process) int {
	o, names, bad := p.options("tfrpdvq")
	if bad != 0 {
		return bad
	}
	s := &scpRun{p: p, in: bufio.NewReader(p.Stdin), o: o}
	var err error
	switch {
	case o.on("t") && len(names) == 1:
		err = s.receive(names[0])
	case o.on("f") && len(names) > 0:
		err = s.send(names)
	default:
		return p.fail(2, "only -t and -f are supported by this machine")
	}
	if err != nil {
		s.warn(err)
		return 1
	}
	return s.status
}

type scpRun struct {
	p      *Process
	in     *bufio.Reader
	o      opts
	status int
}

func (s *scpRun) ack() error {
	_, err := s.p.Stdout.Write([]byte{0})
	return err
}

// warn sends an error, after which the other side continues.
func (s *scpRun) warn(err error) {
	s.status = 1
	fprintf(s.p.Stdout, "\x01scp: %s\n", errText(err))
}

// readAck reads an acknowledgement and returns the error it contains.
func (s *scpRun) readAck() error {
	code, err := s.in.ReadByte()
	if err != nil {
		return err
	}
	if code == 0 {
		return nil
	}
	text, err := s.in.ReadString('\n')
	if err != nil {
		return err
	}
	return errors.New(strings.TrimSpace(text))
}

func (s *scpRun) receive(target string) error {
	full := s.p.Path(target)
	info, err := s.p.FS.Stat(full)
	isDir := err == nil && info.IsDir()
	if s.o.on("d") && !isDir {
		return fmt.Errorf("%s: Not a directory", target)
	}
	if err := s.ack(); err != nil {
		return err
	}
	return s.receiveInto(full, isDir)
}

// receiveInto receives the entries of a directory until its end message.
func (s *scpRun) receiveInto(target string, isDir bool) error {
	var atime, mtime time.Time
	for {
		line, err := s.in.ReadString('\n')
		if errors.Is(err, io.EOF) && line == "" {
			return nil
		}
		if err != nil {
			return err
		}
		message := strings.TrimSuffix(line[1:], "\n")
		switch line[0] {
		case 'T':
			var m, mu, a, au int64
			if _, err := fmt.Sscan(message, &m, &mu, &a, &au); err != nil {
				return errors.New("protocol error: bad time")
			}
			atime, mtime = time.Unix(a, 0), time.Unix(m, 0)
			if err := s.ack(); err != nil {
				return err
			}
			continue
		case 'E':
			return s.ack()
		case 'C', 'D':
		case 1, 2:
			return errors.New(message)
		default:
			return errors.New("protocol error: unexpected message")
		}
		fields := strings.SplitN(message, " ", 3)
		if len(fields) != 3 || fields[2] == "" || fields[2] == ".." || strings.Contains(fields[2], "/") {
			return errors.New("protocol error: bad file message")
		}
		bits, errMode := strconv.ParseUint(fields[0], 8, 32)
		size, errSize := strconv.ParseInt(fields[1], 10, 64)
		if errMode != nil || errSize != nil || size < 0 {
			return errors.New("protocol error: bad file message")
		}
		file := target
		if isDir {
			file = entryPath(target, fields[2])
		}
		mode := modeOf(uint32(bits))
		if line[0] == 'D' {
			err = s.receiveDir(file, mode)
		} else {
			err = s.receiveFile(file, mode, size)
		}
		if err != nil {
			return err
		}
		if s.o.on("p") && !mtime.IsZero() {
			if err := s.p.FS.Chtimes(file, atime, mtime); err != nil {
				s.warn(err)
			}
		}
		atime, mtime = time.Time{}, time.Time{}
	}
}

func (s *scpRun) receiveDir(dir string, mode fs.FileMode) error {
	if !s.o.on("r") {
		return errors.New("received directory without -r")
	}
	created := false
	if info, err := s.p.FS.Stat(dir); err != nil {
		if err := s.p.FS.Mkdir(dir, mode|0o700); err != nil {
			return err
		}
		created = true
	} else if !info.IsDir() {
		return errors.New(dir + ": Not a directory")
	}
	if err := s.ack(); err != nil {
		return err
	}
	if err := s.receiveInto(dir, true); err != nil {
		return err
	}
	if created && s.o.on("p") {
		return s.p.FS.Chmod(dir, mode)
	}
	return nil
}

func (s *scpRun) receiveFile(file string, mode fs.FileMode, size int64) error {
	f, openErr := s.p.FS.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if openErr != nil {
		s.warn(fmt.Errorf("%s: %s", file, errText(openErr)))
		return nil // the sender continues with the next file
	}
	defer shut(f)
	if err := s.ack(); err != nil {
		return err
	}
	if _, err := io.CopyN(f, s.in, size); err != nil {
		return err
	}
	if s.o.on("p") {
		if err := f.Chmod(mode); err != nil {
			return err
		}
	}
	if err := s.readAck(); err != nil {
		return err
	}
	return s.ack()
}

func (s *scpRun) send(names []string) error {
	if err := s.readAck(); err != nil {
		return err
	}
	for _, name := range names {
		info, err := s.p.FS.Stat(s.p.Path(name))
		if err == nil {
			err = s.sendOne(s.p.Path(name), info)
		}
		if errors.Is(err, io.EOF) {
			return err
		}
		if err != nil {
			s.warn(fmt.Errorf("%s: %s", name, errText(err)))
		}
	}
	return nil
}

func (s *scpRun) sendOne(file string, info *memfs.Info) error {
	if info.IsDir() && !s.o.on("r") {
		return errors.New("not a regular file")
	}
	if s.o.on("p") {
		fprintf(s.p.Stdout, "T%d 0 %d 0\n", info.ModTime().Unix(), info.AccessTime().Unix())
		if err := s.readAck(); err != nil {
			return err
		}
	}
	if info.IsDir() {
		return s.sendDir(file, info)
	}
	f, err := s.p.FS.Open(file)
	if err != nil {
		return err
	}
	defer shut(f)
	fprintf(s.p.Stdout, "C%04o %d %s\n", bitsOf(info.Mode()), info.Size(), path.Base(file))
	if err := s.readAck(); err != nil {
		return err
	}
	if _, err := io.CopyN(s.p.Stdout, f, info.Size()); err != nil {
		return err
	}
	if err := s.ack(); err != nil {
		return err
	}
	return s.readAck()
}

func (s *scpRun) sendDir(dir string, info *memfs.Info) error {
	entries, err := s.p.FS.ReadDir(dir)
	if err != nil {
		return err
	}
	fprintf(s.p.Stdout, "D%04o 0 %s\n", bitsOf(info.Mode()), path.Base(dir))
	if err := s.readAck(); err != nil {
		return err
	}
	for _, e := range entries {
		file := entryPath(dir, e.Name())
		info, err := s.p.FS.Stat(file)
		if err == nil {
			err = s.sendOne(file, info)
		}
		if errors.Is(err, io.EOF) {
			return err
		}
		if err != nil {
			s.warn(fmt.Errorf("%s: %s", file, errText(err)))
		}
	}
	s.p.print("E\n")
	return s.readAck()
}
