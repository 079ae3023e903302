package sandbox

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/pkg/sftp"

	"github.com/bakestone-go/bakestone/internal/memfs"
	"github.com/bakestone-go/bakestone/internal/testenv/pack"
)

// fuzzHost boots a machine from which each input gets a copy.
func fuzzHost(f *testing.F) (fresh func(t *testing.T) *Host) {
	f.Helper()
	o := Options{Missing: []string{"sleep"}, OnPower: func(Power) {}, Limits: Limits{Memory: 8 << 20, Disk: 16 << 20, Steps: 100_000, Output: 1 << 20}}
	h, err := Boot(f.Context(), o)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = h.Close() })
	disk := h.FS()
	return func(t *testing.T) *Host {
		t.Helper()
		o.FS = disk.Clone()
		h, err := Boot(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = h.Close()
			if console := h.Console(); strings.Contains(console, "internal error") {
				t.Error(console)
			}
		})
		return h
	}
}

// fuzzCommand runs a built-in command with arguments and an input.
func fuzzCommand(t *testing.T, h *Host, in []byte, args ...string) {
	t.Helper()
	p := h.process(user{name: "root", home: "/root", shell: "/bin/sh"})
	var b bytes.Buffer
	p.Args, p.Stdin, p.Stdout, p.Stderr = args, bytes.NewReader(in), p.session.output(&b), io.Discard
	h.mu.Lock()
	up := h.up
	h.mu.Unlock()
	if !up.begin() {
		t.Fatal("the machine is off")
	}
	defer up.wg.Done()
	ctx, stop := context.WithTimeout(up.ctx, time.Minute) // a loaded computer takes seconds
	defer stop()
	p.exec(ctx)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Errorf("%q did not end", args)
	}
	if b.Len() > 1<<20 {
		t.Errorf("%q printed %d bytes", args, b.Len())
	}
}

// FuzzUserData checks that user data of any content becomes a bounded number of bytes
// in parts of known kinds, and that a machine boots with it.
func FuzzUserData(f *testing.F) {
	packed := func(text string) string { return pack.Gzip(f, text) }
	for _, seed := range []string{
		"#!/bin/sh\necho x", "#cloud-config\nruncmd: [[a]]\nusers: [default, {name: x, sudo: y}]\nwrite_files: [{path: /x, content: y, encoding: gz+b64}]", packed("#!/bin/sh"), packed(packed(strings.Repeat("\x00", 5<<20))),
		"Content-Type: multipart/mixed; boundary=x\nMIME-Version: 1.0\n\n--x\nContent-Type: text/x-shellscript\nContent-Disposition: attachment; filename=\"../../x\"\n\n#!/bin/sh\n--x--\n",
		"Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: multipart/mixed; boundary=y\n\n--y\nContent-Transfer-Encoding: base64\n\nIyEv\n--y--\n--x--\n",
		"I2Nsb3VkLWNvbmZpZw==", "#cloud-boothook\n:", "#cloud-config\na: &a [*a]", "#cloud-config\n? [a]\n: b", "From x\nContent-Type: text/plain\n\n#!", "#cloud-config\nusers: {a: 1}\nssh_keys: {ed25519_private: x}\nhostname: \"a\\nb\"\ngroups: [a: [b]]",
	} {
		f.Add([]byte(seed))
	}
	fresh := fuzzHost(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 16<<10 {
			return // EC2's limit
		}
		parts, err := parseUserData(raw)
		size := 0
		for i, p := range parts {
			size += len(p.content)
			if name := p.fileName(i); strings.Contains(name, "/") || !slices.Contains([]string{cloudConfigPart, scriptPart, boothookPart}, p.kind) {
				t.Errorf("part %q of kind %q", name, p.kind)
			}
			if p.kind == cloudConfigPart {
				_, _ = new(cloudConfig).merge(p.content)
			}
		}
		if most := len(raw) + mostUnpacked*(1+len(raw)/20); size > most || err == nil && bytes.HasPrefix(raw, []byte{0x1f, 0x8b}) && size > mostUnpacked {
			t.Errorf("%d bytes became %d", len(raw), size)
		}
		h := fresh(t)
		c := &initRun{h: h, disk: h.FS(), dir: "/var/lib/cloud/instances/fuzz", newInstance: true}
		h.o.UserData = raw
		_ = c.readUserData()
	})
}

// FuzzTar extracts archives of any content as root. Nothing but the directory changes.
func FuzzTar(f *testing.F) {
	add := func(headers ...tar.Header) { f.Add(pack.Tar(f, headers...)) }
	add(tar.Header{Name: "d/", Typeflag: tar.TypeDir}, tar.Header{Name: "d/f", Size: 3, Typeflag: tar.TypeReg}, tar.Header{Name: "h", Linkname: "d/f", Typeflag: tar.TypeLink})
	add(tar.Header{Name: "../evil", Typeflag: tar.TypeReg}, tar.Header{Name: "/etc/passwd", Size: 1, Typeflag: tar.TypeReg}, tar.Header{Name: ".", Typeflag: tar.TypeSymlink, Linkname: "/"})
	add(tar.Header{Name: "p", Typeflag: tar.TypeFifo}, tar.Header{Name: "b", Typeflag: tar.TypeBlock})
	fresh := fuzzHost(f)
	f.Fuzz(func(t *testing.T, archive []byte) {
		h := fresh(t)
		passwd, err := h.FS().ReadFile("/etc/passwd")
		if err != nil {
			t.Fatal(err)
		}
		if err := h.FS().MkdirAll("/work/in", 0o755); err != nil {
			t.Fatal(err)
		}
		names := func() []string {
			var all []string
			for _, dir := range []string{"/", "/work", "/etc", "/root"} {
				entries, _ := h.FS().ReadDir(dir)
				for _, e := range entries {
					all = append(all, path.Join(dir, e.Name()))
				}
			}
			return all
		}
		before := names()
		fuzzCommand(t, h, archive, "tar", "-tvf", "-")
		fuzzCommand(t, h, archive, "tar", "-xpf", "-", "-C", "/work/in")
		if after := names(); !bytes.Contains(archive, []byte{tar.TypeSymlink}) && !slices.Equal(before, after) {
			t.Errorf("tar left %q, want %q", after, before)
		}
		if got, err := h.FS().ReadFile("/etc/passwd"); !bytes.Contains(archive, []byte{tar.TypeSymlink}) && (err != nil || !bytes.Equal(got, passwd)) {
			t.Errorf("tar changed /etc/passwd to %q, %v", got, err)
		}
	})
}

// FuzzSFTP sends packets of any content to the SFTP server of an ordinary user, who must
// not change what is not the user's.
func FuzzSFTP(f *testing.F) {
	if raceDetector {
		f.Skip("package sftp has a data race if a client does not wait for the response to its last request of a file")
	}
	packet := func(kind byte, rest string) string {
		b := binary.BigEndian.AppendUint32(nil, uint32(1+len(rest))) //nolint:gosec // short
		return string(append(b, kind)) + rest
	}
	text := func(s string) string { return string(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) + s } //nolint:gosec // short
	const id, none = "\x00\x00\x00\x01", "\x00\x00\x00\x00"
	start := packet(1, "\x00\x00\x00\x03")
	f.Add([]byte(start + packet(3, id+text("f")+"\x00\x00\x00\x1a"+none) + packet(6, id+text("1")+"\x00\x00\x00\x00\x00\x00\x00\x00"+text("data")) + packet(4, id+text("1"))))
	f.Add([]byte(start + packet(6, id+text("1")+"\xff\xff\xff\xff\xff\xff\xff\xff"+text("x"))))
	f.Add([]byte(start + packet(14, id+text("d")+none) + packet(20, id+text("/etc/passwd")+text("l")) + packet(18, id+text("l")+text("/etc/x")) + packet(13, id+text("/etc/passwd")) + packet(9, id+text("/etc/passwd")+"\x00\x00\x00\x01"+strings.Repeat("\x00", 8))))
	f.Add([]byte(start + packet(11, id+text("/")) + packet(12, id+text("1")) + packet(16, id+text("../..")) + packet(200, id+text("hardlink@openssh.com")+text("/etc/shadow")+text("s"))))
	f.Add([]byte("\xff\xff\xff\xff\x01"))
	fresh := fuzzHost(f)
	f.Fuzz(func(t *testing.T, stream []byte) {
		h := fresh(t)
		u, ok := lookupUser(h.FS(), "ubuntu")
		if !ok {
			t.Fatal("no user")
		}
		p := h.process(u)
		before := treeOf(t, p.Host.FS(), "/etc")
		files := sftpFiles{disk: p.FS, home: p.Dir}
		server := sftp.NewRequestServer(readWriter{bytes.NewReader(stream), io.Discard}, sftp.Handlers{FileGet: files, FilePut: files, FileCmd: files, FileList: files}, sftp.WithStartDirectory(p.Dir))
		_ = server.Serve()
		_ = server.Close()
		if after := treeOf(t, p.Host.FS(), "/etc"); before != after {
			t.Errorf("a user changed /etc:\n%s\nwas\n%s", after, before)
		}
	})
}

type readWriter struct {
	io.Reader
	io.Writer
}

func (readWriter) Close() error { return nil }

// treeOf returns a line for each entry below dir.
func treeOf(t *testing.T, disk *memfs.FS, dir string) string {
	t.Helper()
	var b strings.Builder
	entries, err := disk.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		info, err := disk.Lstat(name)
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(name + " " + info.Mode().String() + " " + itoa(int(info.Size())) + "\n")
		if info.IsDir() {
			b.WriteString(treeOf(t, disk, name))
		}
	}
	return b.String()
}

// FuzzSCP sends any stream to scp as the receiver. Nothing but the directory changes.
func FuzzSCP(f *testing.F) {
	for _, seed := range []string{"D0755 0 d\nC0644 3 f\nabc\x00E\n", "C0644 1 ../evil\nx\x00", "C4755 -1 f\n", "T1 0 1 0\nC0644 99999999999 f\n", "D0755 0 ..\nC0644 1 evil\nx\x00", "E\nE\n", "C0644 0 \n", "\x01error\n"} {
		f.Add([]byte(seed))
	}
	fresh := fuzzHost(f)
	f.Fuzz(func(t *testing.T, stream []byte) {
		h := fresh(t)
		if err := h.FS().MkdirAll("/work/in", 0o755); err != nil {
			t.Fatal(err)
		}
		fuzzCommand(t, h, stream, "scp", "-r", "-p", "-t", "/work/in")
		if entries, err := h.FS().ReadDir("/work"); err != nil || len(entries) != 1 {
			t.Errorf("scp left %v, %v beside its directory", entries, err)
		}
		if _, err := h.FS().Stat("/evil"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("scp left /evil, %v", err)
		}
	})
}

// fuzzPrograms runs programs of a language on inputs.
func fuzzPrograms(f *testing.F, command []string, programs ...string) {
	f.Helper()
	for _, program := range programs {
		f.Add(program, []byte("a b c\n1 2 3\n\n{\"a\": [1, 2]}\n"))
	}
	fresh := fuzzHost(f)
	f.Fuzz(func(t *testing.T, program string, in []byte) {
		if strings.Contains(program, "\x00") {
			return
		}
		fuzzCommand(t, fresh(t), in, append(slices.Clone(command), program)...)
	})
}

// FuzzSed runs scripts of sed.
func FuzzSed(f *testing.F) {
	fuzzPrograms(f, []string{"sed"}, "s/a/b/gp;2,/x/d", ":a;N;$!ba;s/\\n/,/g", "/a/{s//[&]/2;t;b x;};:x;y/abc/xyz/", "1!G;h;$!d", "$=;a\\\ntext", "s/\\(.*\\)\\(b\\)/\\2\\1\\U&/I", "0~2p;/a/I,+1c x", "r /etc/passwd", "w /x", "D;P;x;z;F;q5")
}

// FuzzAWK runs programs of awk.
func FuzzAWK(f *testing.F) {
	fuzzPrograms(f, []string{"awk"}, "{ print $1 }", "BEGIN { while (1) s = s s \"x\" }", "{ for (i = NF; i; i--) a[$i]++ } END { for (k in a) print k, a[k] }", "/a/,/b/ { gsub(/./, \"&&\"); print }", "function f(n) { return n ? f(n - 1) : 0 } BEGIN { print f(10) }", "{ printf \"%*d%c%s\\n\", 5, $2, 65, substr($0, 2) }", "BEGIN { getline x < \"/etc/passwd\"; print x | \"cat\"; system(\"x\") }", "{ n = split($0, a, //); match($0, /b+/); print RSTART, n, toupper($0), $NF = 1, $(1e9) }")
}

// FuzzJQ runs programs of jq.
func FuzzJQ(f *testing.F) { fuzzPrograms(f, []string{"jq", "-R"}, jqPrograms()...) }

// FuzzCommands runs the other commands that parse arguments or inputs, with arguments
// separated by line feeds.
func FuzzCommands(f *testing.F) {
	commands := []string{
		"date", "expr", "test", "find", "grep", "sort", "cut", "tr", "printf", "od", "xxd", "base64", "gzip", "stat", "chmod", "dd", "head", "tail", "split", "diff", "join", "column", "xargs",
		"sha256sum", "md5sum", "useradd", "chown", "seq", "truncate", "install", "cp", "ls", "nl", "paste", "comm", "uniq", "wc", "rev", "tac", "cat", "ln", "touch", "mktemp", "env", "timeout", "kill", "ps", "pgrep", "sysctl", "systemctl", "id", "getent", "hostnamectl", "sh", "zcat", "file", "cmp", "fold", "tee", "readlink", "df", "du", "mount", "shutdown", "cloud-init", "sudo", "su", "flock", "locale", "ssh-keygen", "chpasswd", "patch",
	}
	for i, seed := range []string{
		"-d\n2026-01-02 +1 day\n+%s", "1\n+\n(\n2\n*\n3\n)", "-n\na\n-a\n(\nb\n=\nb\n)", "/etc\n-name\n*.conf\n-o\n(\n-type\nd\n-mtime\n+1\n)\n-exec\necho\n{}\n+", "-E\n-o\n(a|b)\\1", "-t:\n-k2,3nr", "-d,\n-f1-2,5-", "[:upper:]\\n\na-z",
		"%-5s%d%x%b%q%%\\n\na\n08\n'x", "-A\nx\n-t\nx1", "-r", "-d", "-dc", "-c\n%a %s %n", "u=rwx,g+s,o=\n/etc", "if=/etc/passwd\nbs=1k\nskip=1\ncount=1", "-c\n-5", "-n\n+2", "-l\n1", "-u\n/etc/passwd\n/etc/group",
	} {
		f.Add(uint8(i), seed, []byte("b:2\na:1\n"))
	}
	fresh := fuzzHost(f)
	f.Fuzz(func(t *testing.T, n uint8, args string, in []byte) {
		if strings.Contains(args, "\x00") {
			return
		}
		all := []string{commands[int(n)%len(commands)]}
		if args != "" {
			all = append(all, strings.Split(args, "\n")...)
		}
		fuzzCommand(t, fresh(t), in, all...)
	})
}

// FuzzRegex checks that a translated expression is valid or refused, and that fixed
// strings match themselves only.
func FuzzRegex(f *testing.F) {
	for _, seed := range []string{"a*b", "\\(a\\)\\{2\\}", "[]a]", "[^]]", "[[:alpha:]-]", "*a", "a\\|b", "[\\]", "\\<x\\>", "(", "[", "\\", "a{,3}", "^*"} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, pattern, s string) {
		for _, extended := range []bool{false, true} {
			if re, err := compile(pattern, extended, false, false); err == nil {
				re.MatchString(s)
			}
		}
		if !utf8.ValidString(pattern) || !utf8.ValidString(s) {
			return
		}
		re, err := compile(pattern, false, true, false)
		if want := regexp.MustCompile(regexp.QuoteMeta(pattern)); err != nil || re.MatchString(s) != want.MatchString(s) {
			t.Errorf("fixed %q on %q: %v", pattern, s, err)
		}
	})
}

// FuzzGlob compares the shell's patterns with those of package path, where both have the
// same.
func FuzzGlob(f *testing.F) {
	for _, seed := range [][2]string{{"a*b?", "axxbc"}, {"[!a]*", "ba"}, {"@(a|b)", "a"}, {"!(a)", "b"}, {"[[:digit:]]", "1"}, {"*(*(*(a)))", "aaaa"}, {"\\*", "*"}, {"[", "["}, {"!(!(!(a)))", "aaaa"}} {
		f.Add(seed[0], seed[1])
	}
	fresh := fuzzHost(f)
	var r *runner
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if len(s) > 64 || strings.Count(pattern, "!(") > 2 || strings.Contains(pattern+s, "\x00") {
			return
		}
		if r == nil {
			p := fresh(t).process(user{name: "root", home: "/root", shell: "/bin/sh"})
			r = &runner{shell: &shell{patterns: map[string]*regexp.Regexp{}}, p: p, shopts: map[string]bool{}}
		}
		got := r.match(pattern, s)
		if strings.ContainsAny(pattern, `[]()\!+@{}^`) || strings.Contains(s, "/") || !utf8.ValidString(pattern) || !utf8.ValidString(s) {
			return
		}
		if want, err := path.Match(pattern, s); err == nil && got != want {
			t.Errorf("pattern %q on %q = %v, want %v", pattern, s, got, want)
		}
	})
}
