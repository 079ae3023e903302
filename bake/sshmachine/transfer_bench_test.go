package sshmachine_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/testenv"
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

// benchmarkPut measures Put and OpenSSH's tools with the same data, and reports the
// duration of each tool relative to Put.
func benchmarkPut(b *testing.B, rtt time.Duration, source string, withSCP bool) {
	b.Helper()
	server := testenv.SSHD(b, nil)
	cfg := sshdConfig(server)
	if rtt > 0 {
		cfg.Addr = delayed(b, server.Addr, rtt)
	}
	m := connect(b, cfg)
	info, err := os.Stat(source)
	must(b, err)
	dest, n := b.TempDir(), 0
	fresh := func() string {
		n++
		return filepath.Join(dest, fmt.Sprint(n))
	}
	from, base := filepath.Dir(source), filepath.Base(source)
	if info.IsDir() {
		from, base = source, "."
	}
	shell := func(line string, args ...string) func(string) {
		return func(to string) {
			cmd := exec.CommandContext(b.Context(), "/bin/sh", append([]string{"-c", line, from, base, to}, args...)...)
			if out, err := cmd.CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, out)
			}
		}
	}
	login := server.User + "@127.0.0.1"
	runs := []struct {
		name string
		run  func(to string)
	}{
		{"put", func(to string) { must(b, m.Put(b.Context(), &bake.Upload{Dest: to, Path: source})) }},
		{"tar", shell(`from=$0 base=$1 to=$2; shift 2; tar -C "$from" -cf - "$base" | ssh "$@" "mkdir $to && tar -xpf - -C $to"`,
			append(openSSHArgs(b, server, cfg.Addr, "-p"), login)...)},
	}
	if withSCP {
		runs = append(runs, struct {
			name string
			run  func(to string)
		}{"scp", shell(`from=$0/$1 to=$2; shift 2; scp -q -r "$@" "$from" `+login+`:"$to"`, openSSHArgs(b, server, cfg.Addr, "-P")...)})
	}
	took := map[string]time.Duration{}
	for b.Loop() {
		for _, r := range runs {
			to := fresh()
			began := time.Now()
			r.run(to)
			took[r.name] += time.Since(began)
			must(b, os.RemoveAll(to))
		}
	}
	b.ReportMetric(took["put"].Seconds()/float64(b.N), "s/put")
	for _, r := range runs[1:] {
		b.ReportMetric(float64(took[r.name])/float64(took["put"]), r.name+"/put")
	}
}

func BenchmarkSmallFiles(b *testing.B) { benchmarkPut(b, 0, smallFiles(b, 10_000), true) }

func BenchmarkBigFile(b *testing.B) { benchmarkPut(b, 0, bigFile(b, 1<<30), true) }

func BenchmarkSmallFilesFar(b *testing.B) {
	benchmarkPut(b, 20*time.Millisecond, smallFiles(b, 1_000), false)
}

func BenchmarkBigFileFar(b *testing.B) { benchmarkPut(b, 20*time.Millisecond, bigFile(b, 1<<30), true) }
