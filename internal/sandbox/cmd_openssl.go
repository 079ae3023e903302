package sandbox

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"strings"
)

// openssl implements those commands of openssl that need no keys: dgst and the digests by
// name, rand, base64 and version.
func openssl(_ context.Context, p *Process) int {
	if len(p.Args) < 2 {
		return p.fail(1, "the interactive mode is not supported by this machine")
	}
	command, args := p.Args[1], p.Args[2:]
	if opensslHas(command) {
		return p.opensslDigest(command, args)
	}
	switch command {
	case "dgst":
		return p.opensslDigest("sha256", args)
	case "rand":
		return p.opensslRandom(args)
	case "base64":
		return p.opensslBase64(args)
	case "version":
		p.print("OpenSSL 3.0.13 30 Jan 2024 (Library: OpenSSL 3.0.13 30 Jan 2024)\n")
		return 0
	}
	return p.fail(1, "%s is not supported by this machine", command)
}

// opensslWidth is the number of characters in a line of base64.
const opensslWidth = 64

// opensslHas reports whether openssl has a digest of that name.
func opensslHas(digest string) bool {
	switch digest {
	case "md5", "sha1", "sha224", "sha256", "sha384", "sha512":
		return true
	}
	return false
}

// opensslDigest prints digests of files, or of the input.
func (p *Process) opensslDigest(digest string, args []string) int {
	show := func(sum, name, digest string) string {
		if n, ok := strings.CutPrefix(digest, "sha"); ok && n != "1" {
			digest = "sha2-" + n
		}
		return strings.ToUpper(digest) + "(" + name + ")= " + sum + "\n"
	}
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		switch option := args[0][1:]; {
		case opensslHas(option):
			digest = option
		case option == "r":
			show = func(sum, name, _ string) string { return sum + " *" + name + "\n" }
		case option == "binary":
			show = func(sum, _, _ string) string {
				raw, _ := hex.DecodeString(sum) // which is hexadecimal
				return string(raw)
			}
		case option == "hex":
		default:
			return p.fail(1, "dgst: Unknown option or message digest: %s", option)
		}
		args = args[1:]
	}
	return p.inputs(args, func(name string, r io.Reader) error {
		h := newHash(digest + "sum")
		if _, err := io.Copy(h, r); err != nil {
			return err
		}
		if len(args) == 0 {
			name = "stdin"
		}
		p.print(show(hex.EncodeToString(h.Sum(nil)), name, digest))
		return nil
	})
}

// opensslRandom prints random bytes.
func (p *Process) opensslRandom(args []string) int {
	encode := func(raw []byte) string { return string(raw) }
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		switch args[0] {
		case "-hex":
			encode = func(raw []byte) string { return hex.EncodeToString(raw) + "\n" }
		case "-base64":
			encode = func(raw []byte) string { return base64Lines(raw, opensslWidth) }
		default:
			return p.fail(1, "rand: %s is not supported by this machine", args[0])
		}
		args = args[1:]
	}
	const most = 1 << 20
	if len(args) != 1 {
		return p.fail(1, "rand: a number of bytes is required")
	}
	n, ok := number(args[0])
	if !ok || n > most {
		return p.fail(1, "rand: invalid number of bytes: %s", args[0])
	}
	raw := make([]byte, n)
	_, _ = rand.Read(raw) // never fails
	p.print(encode(raw))
	return 0
}

// opensslBase64 encodes or decodes a file, or the input.
func (p *Process) opensslBase64(args []string) int {
	decode, oneLine, in := false, false, "-"
	for len(args) > 0 {
		switch {
		case args[0] == "-d":
			decode = true
		case args[0] == "-e":
			decode = false
		case args[0] == "-A":
			oneLine = true
		case args[0] == "-in" && len(args) > 1:
			in, args = args[1], args[1:]
		default:
			return p.fail(1, "base64: %s is not supported by this machine", args[0])
		}
		args = args[1:]
	}
	return p.inputs([]string{in}, func(_ string, r io.Reader) error {
		data, err := p.readAll(r)
		if err != nil {
			return err
		}
		switch {
		case decode && !oneLine && len(data) > 0 && data[len(data)-1] != '\n':
			return nil // openssl ignores a line that does not end
		case decode:
			raw, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(data)), ""))
			if err != nil {
				return errors.New("error reading input file")
			}
			p.print(string(raw))
		case oneLine:
			p.print(base64Lines(data, 0))
		default:
			p.print(base64Lines(data, opensslWidth))
		}
		return nil
	})
}
