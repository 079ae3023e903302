package sshmachine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/internal/testenv/usage"
)

// delayed returns the address of a relay to addr that adds rtt to the round-trip
// time without limiting the bandwidth.
func delayed(t testing.TB, addr string, rtt time.Duration) string {
	t.Helper()
	return relay(t, func(near net.Conn) {
		far, err := new(net.Dialer).DialContext(context.WithoutCancel(t.Context()), "tcp", addr)
		if err != nil {
			return
		}
		var wg sync.WaitGroup
		wg.Go(func() { delayCopy(near, far, rtt/2) })
		wg.Go(func() { delayCopy(far, near, rtt/2) })
		wg.Wait()
	})
}

// delayBufferSize is the maximum size of a read by the relay.
const delayBufferSize = 256 << 10

// delayCopy copies data, each read after the given delay.
func delayCopy(from, to net.Conn, delay time.Duration) {
	type packet struct {
		due  time.Time
		data *[delayBufferSize]byte
		n    int
	}
	queue := make(chan packet, 1<<16)
	var free sync.Pool // keeps the relay from limiting the speed
	go func() {
		defer close(queue)
		for {
			data, _ := free.Get().(*[delayBufferSize]byte)
			if data == nil {
				data = new([delayBufferSize]byte)
			}
			n, err := from.Read(data[:])
			if n > 0 {
				queue <- packet{time.Now().Add(delay), data, n}
			}
			if err != nil {
				return
			}
		}
	}()
	for p := range queue {
		time.Sleep(time.Until(p.due))
		if _, err := to.Write(p.data[:p.n]); err != nil {
			break
		}
		free.Put(p.data)
	}
	_ = from.Close()
	_ = to.Close()
	for range queue { // until the reader has ended
	}
}

// smallFiles creates n files of 1 to 8 KiB in 100 directories.
func smallFiles(t testing.TB, n int) string {
	t.Helper()
	dir := t.TempDir()
	random := rand.NewChaCha8([32]byte{})
	content := make([]byte, 8<<10)
	for i := range n {
		_, _ = random.Read(content)
		name := filepath.Join(dir, fmt.Sprint(i%100), fmt.Sprint(i))
		if i < 100 {
			must(t, os.Mkdir(filepath.Dir(name), 0o755))
		}
		must(t, os.WriteFile(name, content[:1024+i*7%7168], 0o644))
	}
	return dir
}

// bigFile creates an incompressible file.
func bigFile(t testing.TB, size int64) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "big")
	file, err := os.Create(name)
	must(t, err)
	_, err = io.CopyN(file, rand.NewChaCha8([32]byte{}), size)
	must(t, err)
	must(t, file.Close())
	return name
}

// openSSHArgs returns the arguments for OpenSSH's tools to reach server at addr.
func openSSHArgs(t testing.TB, server *testenv.Server, addr, portFlag string) []string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	must(t, err)
	known := filepath.Join(t.TempDir(), "known")
	must(t, os.WriteFile(known, []byte(knownhosts.Line([]string{addr}, server.HostKey)+"\n"), 0o600))
	key := filepath.Join(t.TempDir(), "key")
	must(t, os.WriteFile(key, server.ClientKeyPEM, 0o600))
	return []string{
		"-F", "none", "-i", key, "-o", "UserKnownHostsFile=" + known, "-o", "BatchMode=yes",
		"-o", "IdentitiesOnly=yes", "-o", "HostKeyAlgorithms=" + ssh.KeyAlgoED25519, portFlag, port,
	}
}

// sameSizeFiles creates n incompressible files.
func sameSizeFiles(t testing.TB, n int, size int64) string {
	t.Helper()
	dir := t.TempDir()
	for i := range n {
		must(t, os.Rename(bigFile(t, size), filepath.Join(dir, fmt.Sprint(i))))
	}
	return dir
}

// BenchmarkTransfer sends and fetches with a Machine and with other programs, one after
// the other with the same data and the same sshd, and reports the duration of each
// relative to the Machine's. A duration is the median of the runs. See docs/benchmarks.md.
func BenchmarkTransfer(b *testing.B) {
	const far = 20 * time.Millisecond
	for _, data := range []struct {
		name string
		make func() string
		wait time.Duration // round-trip time from which programs that wait for each file take minutes
	}{
		{"200x1MiB", func() string { return sameSizeFiles(b, 200, 1<<20) }, far},
		{"1GiB", func() string { return bigFile(b, 1<<30) }, time.Hour},
		{"1000small", func() string { return smallFiles(b, 1_000) }, far},
		{"10000small", func() string { return smallFiles(b, 10_000) }, far},
		{"100000small", func() string { return smallFiles(b, 100_000) }, 0},
	} {
		b.Run(data.name, func(b *testing.B) {
			source := data.make()
			for _, rtt := range []time.Duration{0, far} {
				b.Run("rtt="+rtt.String(), func(b *testing.B) {
					run := func(name string, programs func(*transfer) []program, change func(tb testing.TB, dir string, round int)) {
						b.Run(name, func(b *testing.B) {
							x := newTransfer(b, rtt, source)
							x.noWaiting = rtt >= data.wait
							x.benchmark(b, programs, change)
						})
					}
					run("put", (*transfer).putters, nil)
					run("get", (*transfer).getters, nil)
					if info, err := os.Stat(source); err == nil && info.IsDir() {
						run("again", (*transfer).putters, changeSome)
					}
				})
			}
		})
	}
}

// BenchmarkLogin logs in, runs a command and logs out, beside OpenSSH's client.
func BenchmarkLogin(b *testing.B) {
	x := newTransfer(b, 0, b.TempDir())
	args := append(openSSHArgs(b, x.server, x.addr, "-p"), x.server.User+"@127.0.0.1")
	x.benchmark(b, func(*transfer) []program {
		return []program{
			{"bakestone", func(string) {
				m, err := sshmachine.Connect(b.Context(), sshdConfig(x.server))
				must(b, err)
				must(b, m.Run(b.Context(), &bake.Cmd{Line: "true"}))
				must(b, m.Close())
			}},
			x.shell("ssh", `ssh "$@" true`, args...),
		}
	}, nil)
}

// A transfer is what the programs of BenchmarkTransfer work on.
type transfer struct {
	tb         testing.TB
	server     *testenv.Server
	addr       string
	machine    *sshmachine.Machine
	from, base string // where the data is: a directory, and a name in it or "."
	noWaiting  bool   // leave out scp and sftp
}

func newTransfer(tb testing.TB, rtt time.Duration, source string) *transfer {
	tb.Helper()
	x := &transfer{tb: tb, server: testenv.SSHD(tb, nil)}
	cfg := sshdConfig(x.server)
	if rtt > 0 {
		cfg.Addr = delayed(tb, x.server.Addr, rtt)
	}
	x.addr, x.machine = cfg.Addr, connect(tb, cfg)
	info, err := os.Stat(source)
	must(tb, err)
	x.from, x.base = filepath.Dir(source), filepath.Base(source)
	if info.IsDir() {
		x.from, x.base = source, "."
	}
	return x
}

// source returns the path of the data.
func (x *transfer) source() string { return filepath.Join(x.from, x.base) }

// A program transfers the data to a directory or file that does not exist yet, or for
// the second time.
type program struct {
	name string
	run  func(to string)
}

// shell returns a program that runs a line with $from, $base and $to.
func (x *transfer) shell(name, line string, args ...string) program {
	tool, _, _ := strings.Cut(name, " ")
	if _, err := exec.LookPath(tool); err != nil {
		return program{name: name}
	}
	return program{name, func(to string) {
		cmd := exec.CommandContext(x.tb.Context(), "/bin/sh", append([]string{"-ec", "from=$0 base=$1 to=$2; shift 2; " + line, x.from, x.base, to}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			x.tb.Fatalf("%s: %v: %s", name, err, out)
		}
	}}
}

const fastCipher = "aes128-gcm@openssh.com"

func (x *transfer) putters() []program {
	login := x.server.User + "@127.0.0.1"
	sshArgs, scpArgs := openSSHArgs(x.tb, x.server, x.addr, "-p"), openSSHArgs(x.tb, x.server, x.addr, "-P")
	rsh := "ssh " + strings.Join(sshArgs, " ")
	tar := `tar -C "$from" -cf - "$base" | ssh "$@" "mkdir -p $to && tar -xpf - -C $to"`
	return []program{
		{"bakestone", func(to string) { must(x.tb, x.machine.Put(x.tb.Context(), &bake.Upload{Dest: to, Path: x.source()})) }},
		x.shell("tar", tar, append(sshArgs, login)...),
		x.shell("tar gcm", tar, append([]string{"-c", fastCipher}, append(sshArgs, login)...)...),
		x.shell("scp", `scp -q -r "$@" "$from/$base" `+login+`:"$to"`, scpArgs...),
		x.shell("sftp", `[ "$base" = . ] && f=$from || f=$from/$base; printf 'put -pr "%s" "%s"\n' "$f" "$to" | sftp -q "$@"`, append(append([]string{"-b", "-"}, scpArgs...), login)...),
		x.shell("rsync", `[ "$base" = . ] && f=$from/ || f=$from/$base; rsync -a -e "$1" "$f" `+login+`:"$to"`, rsh),
		x.shell("rsync gcm", `[ "$base" = . ] && f=$from/ || f=$from/$base; rsync -a -e "$1" "$f" `+login+`:"$to"`, rsh+" -c "+fastCipher),
		x.shell("rsync gcm by content", `rsync -ac -e "$1" "$from/" `+login+`:"$to"`, rsh+" -c "+fastCipher), // as Bakestone compares
	}
}

func (x *transfer) getters() []program {
	login := x.server.User + "@127.0.0.1"
	sshArgs, scpArgs := openSSHArgs(x.tb, x.server, x.addr, "-p"), openSSHArgs(x.tb, x.server, x.addr, "-P")
	rsh := "ssh " + strings.Join(sshArgs, " ")
	tar := `mkdir -p "$to"; ssh "$@" "tar -C $from -cf - $base" | tar -xpf - -C "$to"`
	return []program{
		{"bakestone", func(to string) {
			must(x.tb, x.machine.Get(x.tb.Context(), &bake.Download{Source: x.source(), Path: to}))
		}},
		x.shell("tar", tar, append(sshArgs, login)...),
		x.shell("tar gcm", tar, append([]string{"-c", fastCipher}, append(sshArgs, login)...)...),
		x.shell("scp", `scp -q -r "$@" `+login+`:"$from/$base" "$to"`, scpArgs...),
		x.shell("sftp", `[ "$base" = . ] && f=$from || f=$from/$base; printf 'get -pr "%s" "%s"\n' "$f" "$to" | sftp -q "$@"`, append(append([]string{"-b", "-"}, scpArgs...), login)...),
		x.shell("rsync", `[ "$base" = . ] && f=$from/ || f=$from/$base; rsync -a -e "$1" `+login+`:"$f" "$to"`, rsh),
		x.shell("rsync gcm", `[ "$base" = . ] && f=$from/ || f=$from/$base; rsync -a -e "$1" `+login+`:"$f" "$to"`, rsh+" -c "+fastCipher),
	}
}

// changeSome changes the content of each hundredth file.
func changeSome(tb testing.TB, dir string, round int) {
	tb.Helper()
	i := 0
	must(tb, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if i++; i%100 != 0 {
			return nil
		}
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
		if err == nil {
			_, err = fmt.Fprintln(f, "round", round)
			err = errors.Join(err, f.Close())
		}
		return err
	}))
}

// benchmark runs all programs in each round. If change is not nil, each has transferred
// the data before, and change is called before the second time.
func (x *transfer) benchmark(b *testing.B, programs func(*transfer) []program, change func(tb testing.TB, dir string, round int)) {
	b.Helper()
	all := slices.DeleteFunc(programs(x), func(p program) bool {
		return p.run == nil || x.noWaiting && (p.name == "scp" || p.name == "sftp") || change == nil && strings.HasSuffix(p.name, "by content")
	})
	again := func(name string) bool { return name == "bakestone" || strings.HasPrefix(name, "rsync") }
	dest, round := b.TempDir(), 0
	took := map[string][]time.Duration{}
	path := func(p program) string { return filepath.Join(dest, strings.ReplaceAll(p.name, " ", "-")) }
	if change != nil {
		all = slices.DeleteFunc(all, func(p program) bool { return !again(p.name) })
		for _, p := range all {
			p.run(path(p))
		}
	}
	for b.Loop() {
		if round++; change != nil {
			change(b, x.from, round)
		}
		for _, p := range all {
			began := time.Now()
			p.run(path(p))
			took[p.name] = append(took[p.name], time.Since(began))
			if change == nil {
				must(b, os.RemoveAll(path(p)))
			}
		}
	}
	own := usage.Median(took["bakestone"])
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(own.Seconds(), "s")
	for _, p := range all[1:] {
		b.ReportMetric(float64(usage.Median(took[p.name]))/float64(own), strings.ReplaceAll(p.name, " ", "-")+"/own")
	}
}
