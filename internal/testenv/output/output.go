// Package output imitates the outputs of commands, for benchmarks.
package output

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
)

// Ordinary returns at least n bytes as installations print them: mostly lines of
// packages, compilers and JSON, some progress, colors, dumps and binary data.
func Ordinary(n int) []byte {
	r := source()
	shares := []struct {
		write  func(*rand.Rand) string
		chunks int
	}{{apt, 30}, {compiler, 20}, {jsonLine, 15}, {progress, 10}, {colors, 8}, {base64Line, 8}, {hexLine, 5}, {dump, 2}, {binary, 2}}
	var b strings.Builder
	for b.Len() < n {
		for _, s := range shares {
			const chunk = 512
			for end := b.Len() + s.chunks*chunk; b.Len() < end; {
				b.WriteString(s.write(r))
			}
		}
	}
	return []byte(b.String())
}

// Kinds returns at least n bytes of each kind of ordinary output.
func Kinds(n int) map[string][]byte {
	return fill(n, map[string]func(*rand.Rand) string{
		"packages": apt, "compiler": compiler, "JSON": jsonLine, "progress": progress, "colors": colors,
		"base64": base64Line, "checksums": hexLine, "dump": dump, "binary": binary,
	})
}

// Hostile returns at least n bytes of each kind of output that is made to be slow.
func Hostile(n int) map[string][]byte {
	all := map[string]func(*rand.Rand) string{}
	for name, part := range map[string]string{
		"letters": "a", "quoted letters": `a"`, "quotes": `"`, "backslashes": `\`, "percent": "%25", "entities": "&amp;", "zeros": "\x00", "UTF-16": "a\x00",
		"line breaks": "\n", "letters and breaks": "a\n", "broken sequences": "a\x1b[", "long sequences": "1\x1b[", "titles": "a\u009d",
		"base64": "YWFh", "broken base64": "Y\n", "hexadecimal": "61 ", "decimal": "97,",
	} {
		all[name] = func(*rand.Rand) string { return part }
	}
	return fill(n, all)
}

// HostileSecrets returns secrets that hostile outputs nearly contain, at each position.
func HostileSecrets() []string {
	return []string{strings.Repeat("a", 100) + "b", strings.Repeat(`\`, 50) + "x", "1" + strings.Repeat("b", 20), strings.Repeat("%", 20) + "x", strings.Repeat("&", 20) + "x"}
}

// Secrets returns n passwords, keys and tokens.
func Secrets(n int) []string {
	const lower, digits = "abcdefghijklmnopqrstuvwxyz", "0123456789"
	upper := strings.ToUpper(lower)
	r := source()
	text := func(n int, letters string) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = letters[r.IntN(len(letters))]
		}
		return string(b)
	}
	var all []string
	for len(all) < n {
		all = append(all, text(8+r.IntN(16), lower+upper+digits), text(40, lower+upper+digits+"+/"), text(32, digits+"abcdef"),
			text(12, lower+upper+digits+"!$%&=#*-_."), "AKIA"+text(16, upper+digits))
	}
	return all[:n]
}

func source() *rand.Rand { return rand.New(rand.NewPCG(5, 6)) } //nolint:gosec // a benchmark

func fill(n int, all map[string]func(*rand.Rand) string) map[string][]byte {
	filled := map[string][]byte{}
	for name, write := range all {
		r := source()
		var b strings.Builder
		for b.Len() < n {
			b.WriteString(write(r))
		}
		filled[name] = []byte(b.String())
	}
	return filled
}

func apt(r *rand.Rand) string {
	name := fmt.Sprintf("libexample-%d-dev", r.IntN(99))
	return fmt.Sprintf("Get:%d http://archive.ubuntu.com/ubuntu noble-updates/main amd64 %s amd64 1.%d.%d-1ubuntu%d [%d kB]\n", r.IntN(500), name, r.IntN(20), r.IntN(20), r.IntN(9), r.IntN(9999)) +
		fmt.Sprintf("2026-01-%02dT15:%02d:%02dZ worker[%d]: Setting up %s (1.%d.%d-1ubuntu%d) ... done in %d ms\n",
			1+r.IntN(28), r.IntN(60), r.IntN(60), r.IntN(9999), name, r.IntN(20), r.IntN(20), r.IntN(9), r.IntN(5000))
}

func compiler(r *rand.Rand) string {
	return fmt.Sprintf("gcc -DHAVE_CONFIG_H=1 -I./include -O2 -g -Wall -fstack-protector-strong -Wformat -c -o src/mod_%d.o src/mod_%[1]d.c\n"+
		"src/mod_%[1]d.c:%d:7: warning: unused variable 'n' [-Wunused-variable]\n", r.IntN(999), r.IntN(999))
}

func jsonLine(r *rand.Rand) string {
	return fmt.Sprintf(`{"time":%d,"level":"info","msg":"unpacked \"layer\" %d","ok":true,"files":["/usr/lib/x86_64-linux-gnu/libfoo.so.%d","/etc/foo.conf"]}`+"\n",
		1_760_000_000+r.IntN(1e8), r.IntN(99), r.IntN(9))
}

func progress(r *rand.Rand) string {
	part := r.IntN(51)
	return fmt.Sprintf("\r%3d%% [%s>%s] %d.%d MB/s eta %ds", part*2, strings.Repeat("=", part), strings.Repeat(" ", 50-part), r.IntN(99), r.IntN(9), r.IntN(60))
}

func colors(r *rand.Rand) string {
	return fmt.Sprintf("\x1b[0;32mok\x1b[0m: [host-%d] => {\"changed\": false, \"rc\": %d}\n", r.IntN(99), r.IntN(3))
}

func base64Line(r *rand.Rand) string {
	return base64.StdEncoding.EncodeToString([]byte(binary(r)[:57])) + "\n"
}

func hexLine(r *rand.Rand) string {
	return hex.EncodeToString([]byte(binary(r)[:32])) + "  usr/share/file\n"
}

func dump(r *rand.Rand) string { return hex.Dump([]byte(binary(r)[:64])) }

func binary(r *rand.Rand) string {
	b := make([]byte, 64)
	for i := range b {
		b[i] = byte(r.Uint32() & 0xff)
	}
	return string(b)
}
