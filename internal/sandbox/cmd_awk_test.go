package sandbox_test

import (
	"testing"

	"github.com/bakestone-go/bakestone/internal/sandbox"
)

// TestAWKControlFlow runs programs whose jumps cross the calls that bound the
// program's memory and steps.
func TestAWKControlFlow(t *testing.T) {
	t.Parallel()
	h := boot(t, sandbox.Options{})
	for _, c := range []struct{ program, want string }{
		{`BEGIN { for (i = 0; i < 5; i++) { if (i == 1) continue; if (i == 4) break; s = s i "," } print s }`, "0,2,3,\n"},
		{`BEGIN { do { s = s "x"; n++ } while (n < 3); while (n-- > 0) s = s n; print s }`, "xxx210\n"},
		{`BEGIN { a["k", 1] = 2; a["k", 2]; for (p in a) { split(p, q, SUBSEP); n += q[2]; if (n > 9) break } print n, length(a) }`, "3 2\n"},
		{`function f(n) { return n < 2 ? n : f(n - 1) + f(n - 2) } BEGIN { print f(15) "!" }`, "610!\n"},
		{`function g(t, d) { d[1] = t t; gsub(/a/, "<&>", d[1]); return sub(/</, "[", d[1]) } BEGIN { print g("ba", x) x[1] }`, "1b[a>b<a>\n"},
		{`{ n = split($0, w, /,/); for (i = n; i > 0; i--) r = r w[i] (i > 1 ? "-" : "\n"); printf "%s", r; r = "" } END { print NR }`, "c-b-a\nd\n2\n"},
		{`BEGIN { CONVFMT = "%.2g"; x = 3.14159; print (x "") (12 "") sprintf("%03d|%c", 7, 65) }`, "3.112007|A\n"},
		{`/b/,/d/ { $1 = $1 "!"; print } NR == 2 { exit 0 } END { gsub("[a-z]", "&&"); print }`, "a,b,c!\nd!\ndd!\n"},
		{`BEGIN { while ((getline line) > 0) all = all line ";"; print all; x[1]; delete x; print length(x) (1 in x) }`, "a,b,c;d;\n00\n"},
	} {
		got := run(t, h, sandbox.Exec{Line: `printf 'a,b,c\nd\n' | awk '` + c.program + `'`})
		if got.out != c.want || got.status != 0 {
			t.Errorf("awk %s = %q, %q, status %d, want %q", c.program, got.out, got.err, got.status, c.want)
		}
	}
}
