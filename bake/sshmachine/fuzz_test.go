package sshmachine

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/testenv/pack"
)

// receiveHostile calls extract with a tree whose parent has neighbors, and checks that
// these stay as they are and that nothing special was made.
func receiveHostile(t *testing.T, extract func(*destTree) error) {
	t.Helper()
	dir := t.TempDir()
	before := map[string]string{"victim/keep": "keep", "work/beside": "beside"}
	for name, text := range before {
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755), os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir + "/work")
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	into, err := newDestTree(root, "t", nil, newProgress(nil, 0))
	if err != nil {
		t.Fatal(err)
	}
	into.maxBytes = 1 << 20
	err = errors.Join(extract(into), into.finish())
	size := int64(0)
	walkErr := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		below, _ := filepath.Rel(dir, name)
		if inTree, _ := filepath.Match("work/t*", below); inTree || strings.HasPrefix(below, "work/t/") {
			size += info.Size() * int64(b2i(info.Mode().IsRegular()))
			if info.Mode()&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky|fs.ModeDevice|fs.ModeNamedPipe|fs.ModeSocket) != 0 {
				t.Errorf("%s has mode %v", below, info.Mode())
			}
			return nil
		}
		if !d.IsDir() {
			text, readErr := os.ReadFile(name)
			if want, ours := before[below]; !ours || string(text) != want || readErr != nil {
				t.Errorf("%s is %q, %v after extracting (%v)", below, text, readErr, err)
			}
			delete(before, below)
		}
		return nil
	})
	if walkErr != nil || len(before) > 0 {
		t.Errorf("gone after extracting: %v, %v", before, walkErr)
	}
	if size > 1<<20 && err == nil {
		t.Errorf("extracted %d bytes, want at most the limit", size)
	}
	makeRemovable(dir + "/work/t")
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// makeRemovable gives the owner access to a tree again.
func makeRemovable(dir string) {
	_ = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(name, 0o700)
		}
		return nil
	})
}

// FuzzTar extracts archives of any content.
func FuzzTar(f *testing.F) {
	add := func(headers ...tar.Header) { f.Add(pack.Tar(f, headers...)) }
	add(tar.Header{Name: "./", Typeflag: tar.TypeDir}, tar.Header{Name: "./a/b", Size: 3, Typeflag: tar.TypeReg})
	add(tar.Header{Name: "x", Linkname: "../victim", Typeflag: tar.TypeSymlink}, tar.Header{Name: "x/evil", Size: 1, Typeflag: tar.TypeReg})
	add(tar.Header{Name: "../evil", Size: 1, Typeflag: tar.TypeReg})
	add(tar.Header{Name: "h", Linkname: "../victim/keep", Typeflag: tar.TypeLink})
	add(tar.Header{Name: "l", Linkname: "/", Typeflag: tar.TypeSymlink}, tar.Header{Name: "m", Linkname: "l", Typeflag: tar.TypeLink}, tar.Header{Name: "m/x", Typeflag: tar.TypeReg})
	add(tar.Header{Name: "p", Typeflag: tar.TypeFifo}, tar.Header{Name: "s", Mode: 0o6000, Typeflag: tar.TypeReg}, tar.Header{Name: "d", Mode: 0o1000, Typeflag: tar.TypeDir})
	add(tar.Header{Name: strings.Repeat("long/", 60) + "x", Typeflag: tar.TypeReg}, tar.Header{Name: "A", Typeflag: tar.TypeReg}, tar.Header{Name: "a", Typeflag: tar.TypeReg})
	f.Fuzz(func(t *testing.T, archive []byte) {
		receiveHostile(t, func(into *destTree) error { return into.extractTar(bytes.NewReader(archive)) })
	})
}

// FuzzFind extracts streams of findScript of any content.
func FuzzFind(f *testing.F) {
	for _, seed := range []string{
		"d 755 0 0 .\x00\x00f 644 0 3 a/b\x00xyz\x00", "l 777 0 9 x\x00../victim\x00f 4755 0 1 x/evil\x00x\x00", "f 644 0 1 ../evil\x00x\x00",
		"f 644 -1 -1 a\x00\x00", "f 7777 9223372036854775807 1099511627776 a\x00x", "p 644 0 0 p\x00\x00", "f 644 0 1 a\x00x\x00f 644 0 1 a\x00y\x00", "d\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		receiveHostile(t, func(into *destTree) error { return into.extractFind(bytes.NewReader(stream)) })
	})
}

// FuzzSFTP fetches a tree from a server that answers each request with the next of the
// fuzzer's packets.
func FuzzSFTP(f *testing.F) {
	text := func(s string) string { return string(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) + s } //nolint:gosec // short
	attrs := func(mode, size uint64) string {
		b := binary.BigEndian.AppendUint32(nil, 5) // size and mode
		b = binary.BigEndian.AppendUint64(b, size)
		return string(binary.BigEndian.AppendUint32(b, uint32(mode))) //nolint:gosec // a mode
	}
	const handle, data, names, status, attributes = "f", "g", "h", "e", "i" // the types of packets
	count := func(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }
	dir, file, link := attrs(0o40755, 0), attrs(0o100644, 4), attrs(0o120777, 0)
	eof := status + count(1) + text("") + text("")
	list := func(all ...string) string {
		return names + count(uint32(len(all))) + strings.Join(all, "") //nolint:gosec // short
	}
	named := func(name, attrs string) string { return text(name) + text("x") + attrs }
	for _, script := range [][]string{
		{attributes + dir, handle + text("h"), list(named("a", file), named("l", link)), eof, eof, handle + text("h"), data + text("evil"), eof, eof, list(named("../victim", ""))},
		{attributes + dir, handle + text("h"), list(named("..", dir), named("../evil", file), named("/evil", file)), eof, eof},
		{attributes + dir, handle + text("h"), names + count(1<<31), eof},
		{attributes + dir, handle + text("h"), list(named("a", attrs(0o104755, 1<<40))), eof, eof, handle + text("h"), data + count(1<<31-1)},
		{attributes + "\xff\xff\xff\xff", status, handle, data, names, attributes, ""},
	} {
		f.Add([]byte(strings.Join(script, "\x00|\x00")))
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		packets := bytes.Split(script, []byte("\x00|\x00"))
		receiveHostile(t, func(into *destTree) error { return getFromScript(t.Context(), packets, into) })
	})
}

// getFromScript fetches a tree from a server that answers with the packets.
func getFromScript(ctx context.Context, packets [][]byte, into *destTree) error {
	requests, toServer := io.Pipe()
	fromServer, replies := io.Pipe()
	var wg sync.WaitGroup
	wg.Go(func() {
		err := answerSFTP(requests, replies, packets)
		_ = requests.CloseWithError(err)
		_ = replies.CloseWithError(io.EOF)
	})
	defer wg.Wait()
	defer replies.Close()
	session := &pipeChannel{Reader: fromServer, WriteCloser: toServer}
	ch := &sftpChannel{session: session, replies: &limitedReplies{Channel: session}, release: func() {}, drained: make(chan struct{})}
	close(ch.drained)
	var err error
	if ch.Client, err = sftp.NewClientPipe(ch.replies, session); err != nil {
		return err
	}
	defer ch.close()
	return ch.getTree(ctx, &remoteFile{path: "/r", dir: true}, into)
}

// answerSFTP answers each request with the next packet, whose first byte is its type.
func answerSFTP(requests io.Reader, replies io.Writer, packets [][]byte) error {
	for first := true; ; first = false {
		var size uint32
		if err := binary.Read(requests, binary.BigEndian, &size); err != nil {
			return err
		}
		request := make([]byte, size)
		if _, err := io.ReadFull(requests, request); err != nil {
			return err
		}
		answer := []byte{2, 0, 0, 0, 3} // the version
		if !first {
			if len(packets) == 0 {
				return io.EOF
			}
			packet := packets[0]
			packets = packets[1:]
			if len(packet) == 0 || len(request) < 5 {
				return io.EOF
			}
			answer = slices.Concat(packet[:1], request[1:5], packet[1:]) // with the request's id
		}
		answer = append(binary.BigEndian.AppendUint32(nil, uint32(len(answer))), answer...) //nolint:gosec // short
		if _, err := replies.Write(answer); err != nil {
			return err
		}
	}
}

// A pipeChannel is a session over pipes.
type pipeChannel struct {
	io.Reader
	io.WriteCloser
}

func (*pipeChannel) CloseWrite() error                              { return nil }
func (*pipeChannel) SendRequest(string, bool, []byte) (bool, error) { return true, nil }
func (*pipeChannel) Stderr() io.ReadWriter                          { return nil }

// FuzzSCPAnswers checks that answers of any content end in a short printable error.
func FuzzSCPAnswers(f *testing.F) {
	for _, seed := range []string{"\x00\x00", "\x01scp: no\n", "\x02\x1b[2J\u202e", "x", "\x01" + strings.Repeat("a", 5000), "\x00\x01"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, answers []byte) {
		err := scpAnswers(bytes.NewReader(answers))
		if (err == nil) != (len(bytes.Trim(answers, "\x00")) == 0) && !errors.Is(err, io.EOF) {
			t.Errorf("scpAnswers(%q) = %v", answers, err)
		}
		if err != nil {
			checkPrintable(t, err.Error())
		}
	})
}

// checkPrintable checks a text that goes into an error.
func checkPrintable(t *testing.T, text string) {
	t.Helper()
	hidden := func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }
	if !utf8.ValidString(text) || strings.ContainsFunc(text, hidden) || len(text) > errorTextBytes+100 {
		t.Errorf("text of %d bytes is not fit for an error: %q", len(text), text)
	}
}

// FuzzBegin checks that exactly what follows the mark is passed on, however it is cut.
func FuzzBegin(f *testing.F) {
	f.Add("noise", "output", 1)
	f.Add("marmarkma", "mark", 2)
	f.Add(strings.Repeat("\x1bn", 3*maxNoise), "", 700)
	f.Fuzz(func(t *testing.T, noise, output string, part int) {
		const mark = "mark-of-the-begin"
		if strings.Contains(noise+mark[:len(mark)-1], mark) {
			return
		}
		part = 1 + max(part, -part-1)%1000
		filter := &beginFilter{mark: []byte(mark)}
		var got bytes.Buffer
		for rest := []byte(noise + mark + output); len(rest) > 0; {
			n := min(part, len(rest))
			got.Write(filter.pass(rest[:n]))
			rest = rest[n:]
		}
		if !filter.begun() || got.String() != output {
			t.Errorf("passed %q of %q after %q", got.String(), output, noise)
		}
		if len(filter.noise) > maxNoise+len(mark) || len(filter.tail) > len(mark) {
			t.Errorf("kept %d bytes of noise and %d of the tail", len(filter.noise), len(filter.tail))
		}
		checkPrintable(t, filter.text())
	})
}

// FuzzFacts checks that facts of any content are taken as they are or refused.
func FuzzFacts(f *testing.F) {
	for _, seed := range []string{"os=Linux\nuid=0\nuser=root", "uid=0x0", "uid=", "uid=+0\nuid=-1", "tool=tar", "os=\x1b[2J", "=", "hostname=a.b.c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		g := &guestInfo{tools: map[string]bool{}}
		g.facts.UID = -1
		for line := range strings.Lines(text) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			g.set(name, value)
		}
		if g.facts.UID == 0 && !strings.Contains(text, "uid=") {
			t.Errorf("%q makes the login root", text)
		}
	})
}

// FuzzKnownHosts checks that a file of any content is read or refused, and never accepts
// a key that it does not list.
func FuzzKnownHosts(f *testing.F) {
	for _, seed := range []string{
		"host ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl\n", "@cert-authority *.x ssh-ed25519 AAAA", "|1|a|b ssh-rsa x", "@revoked * x y",
		"[host]:22", "# x", "*", "\x00",
	} {
		f.Add(seed)
	}
	key, err := ssh.NewPublicKey(ed25519.PublicKey(bytes.Repeat([]byte{7}, ed25519.PublicKeySize)))
	if err != nil {
		f.Fatal(err)
	}
	blob := strings.Fields(string(ssh.MarshalAuthorizedKey(key)))[1]
	f.Fuzz(func(t *testing.T, text string) {
		file := t.TempDir() + "/known_hosts"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		policy := KnownHosts(file)
		if policy.valid() != nil {
			return
		}
		policy.algorithms("host:22")
		if policy.check("host:22", &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 22}, key) == nil && !strings.Contains(text, strings.TrimRight(blob, "=")) {
			t.Errorf("%q accepts a key that it does not have", text)
		}
	})
}

// FuzzKey checks that keys and certificates of any content are read or refused.
func FuzzKey(f *testing.F) {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		f.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		f.Fatal(err)
	}
	pem := fmt.Sprintf("-----BEGIN %s-----\n%x\n-----END %[1]s-----\n", block.Type, block.Bytes)
	f.Add([]byte(pem), []byte("ssh-ed25519 AAAA"), "")
	f.Add([]byte("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAA==\n-----END RSA PRIVATE KEY-----\n"), []byte{}, "pass")
	f.Fuzz(func(t *testing.T, key, cert []byte, passphrase string) {
		if bytes.Contains(key, []byte("bcrypt")) || bytes.Contains(key, []byte("YmNyeXB0")) {
			return // the file names how long to hash
		}
		secret := bake.Secret{}
		if passphrase != "" {
			secret = bake.NewSecret(passphrase)
		}
		if a := Certificate(cert, key, secret); a.err == nil && a.signer == nil {
			t.Error("Certificate returned neither a key nor an error")
		}
	})
}
