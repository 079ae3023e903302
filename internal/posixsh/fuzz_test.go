package posixsh_test

import (
	"path"
	"strings"
	"testing"
	"unicode/utf8"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"

	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// FuzzQuote checks that a shell reads quoted words back as they were.
func FuzzQuote(f *testing.F) {
	for _, seed := range []string{"", "a b", "it's", `\'`, "$HOME`id`$(id)", "a\nb", "~", "-n", "!x", "é\xff"} {
		f.Add(seed, "x")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if strings.ContainsAny(a+b, "\x00\r") || !utf8.ValidString(a) || !utf8.ValidString(b) {
			return // the parser of the test takes them for something else
		}
		line := "echo" + posixsh.Words(a, b)
		file, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(line), "")
		if err != nil {
			t.Fatalf("Words(%q, %q): %v", a, b, err)
		}
		var words []*syntax.Word
		syntax.Walk(file, func(node syntax.Node) bool {
			if call, ok := node.(*syntax.CallExpr); ok { //lint:concrete the parser's nodes
				words = append(words, call.Args...)
			}
			return true
		})
		got, err := expand.Fields(&expand.Config{}, words...)
		if err != nil || len(got) != 3 || got[1] != a || got[2] != b {
			t.Errorf("a shell reads %s as %q, %v", line, got, err)
		}
	})
}

// FuzzNames checks that valid names of units and kernel parameters need no quoting and
// stay in their directories.
func FuzzNames(f *testing.F) {
	for _, seed := range []string{"nginx", "a@b.service", "-x", "../x.service", "net.ipv4.ip_forward", "net/ipv4/conf/eth0.1/x", "a..b", "a/../b", "a\n.b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if full, ok := posixsh.UnitName(name); ok && (strings.ContainsAny(full, "/ \t\n'\"$`;&|<>*?[](){}") || strings.HasPrefix(full, "-") || len(full) > 255) {
			t.Errorf("UnitName(%q) = %q, true", name, full)
		}
		if !posixsh.ValidSysctl(name) {
			return
		}
		if file := posixsh.SysctlFile(name); path.Clean(file) != file || !strings.HasPrefix(file, "/proc/sys/") || strings.ContainsAny(file, " \n'\"$`;&|") {
			t.Errorf("SysctlFile(%q) = %q", name, file)
		}
	})
}
