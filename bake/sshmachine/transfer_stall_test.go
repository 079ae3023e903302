package sshmachine_test

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pkg/sftp"

	"github.com/bakestone-go/bakestone/bake"
)

// A stalledFile is a file whose reads stall, or fail after the first.
type stalledFile struct {
	sftpTree

	end        chan struct{} // of the test
	open, read bool          // these wait for end
	failed     error         // of all reads but the one at the beginning
}

func (f *stalledFile) Fileread(*sftp.Request) (io.ReaderAt, error) {
	if f.open {
		<-f.end
	}
	return f, nil
}

func (f *stalledFile) ReadAt(p []byte, offset int64) (int, error) {
	if f.read {
		<-f.end
	}
	if f.failed != nil && offset > 0 {
		return 0, f.failed
	}
	return len(p), nil
}

// TestStalledTransfers cancels transfers that the machine does not go on with, and reads
// from one that fails in the middle.
func TestStalledTransfers(t *testing.T) {
	big := bigFile(t, 40<<20)
	get := bake.Download{Source: big, Content: io.Discard}
	for name, test := range map[string]struct {
		old, stalled string // parts of scripts
		file         *stalledFile
		get          bool
		want         string // part of the error of a call that is not canceled
	}{
		"script is not ready":       {old: "echo ready", stalled: "sleep 300; echo ready"},
		"script does not read":      {old: "while read -r c a b", stalled: "sleep 300; while read -r c a b"},
		"script sends no digest":    {old: "sum)", stalled: "sum) sleep 300;"},
		"script does not commit":    {old: "commit)", stalled: "commit) sleep 300;"},
		"data is not read":          {old: "exec cat >", stalled: "exec sleep 300; cat >"},
		"SFTP does not open":        {file: &stalledFile{open: true}, get: true},
		"SFTP does not read":        {file: &stalledFile{read: true}, get: true},
		"SFTP fails in the middle":  {file: &stalledFile{failed: errors.New("bad sector")}, get: true, want: "bad sector"},
		"digest is not sent":        {file: &stalledFile{}, old: `echo "$v"`, stalled: `sleep 300; echo "$v"`, get: true},
		"file is not sent":          {old: "head -c", stalled: "sleep 300; head -c", get: true},
		"tree is not listed":        {old: "find .", stalled: "sleep 300; find ."},
		"file is not even examined": {old: "wc -c", stalled: "sleep 300; wc -c", get: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			if test.old != "" {
				h.run = func(line string) string { return strings.ReplaceAll(line, test.old, test.stalled) }
			}
			addr := h.listen(t)
			if test.file != nil {
				addr = delayed(t, addr, 20*time.Millisecond)
				test.file.end = make(chan struct{})
				t.Cleanup(func() { close(test.file.end) }) // before the server waits for its calls
				h.sftp = func(channel io.ReadWriteCloser) {
					_ = sftp.NewRequestServer(channel, sftp.Handlers{FileGet: test.file, FilePut: test.file, FileCmd: test.file, FileList: test.file}).Serve()
				}
			}
			m := connect(t, h.configFor(addr))
			limit := time.Second
			if test.want != "" {
				limit = 3 * time.Minute
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			began := time.Now()
			var err error
			dir := t.TempDir()
			switch {
			case test.get:
				down := get
				err = m.Get(ctx, &down)
			case strings.HasPrefix(name, "tree"):
				must(t, os.Mkdir(dir+"/from", 0o755))
				err = m.Get(ctx, &bake.Download{Source: dir + "/from", Path: dir + "/to"})
			default:
				err = m.Put(ctx, &bake.Upload{Dest: dir + "/to", Path: big})
			}
			took := time.Since(began)
			switch {
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("transfer = %v after %v, want an error with %q", err, took, test.want)
			case test.want == "" && (!errors.Is(err, context.DeadlineExceeded) || took > limit+time.Minute):
				t.Errorf("transfer = %v after %v, want DeadlineExceeded soon after the end", err, took)
			}
		})
	}
}
