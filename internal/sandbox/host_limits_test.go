package sandbox_test

import (
	"context"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bakestone-go/bakestone/internal/sandbox"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/internal/testenv/memory"
)

// TestLimits runs scripts that take all they can get. Each ends with the error of
// a real machine and within the memory that several machines may share. It is not
// parallel, since it measures the memory of the process. The slowest scripts are for the
// long form, with BAKESTONE_LONG=1; others reach the same limits.
func TestLimits(t *testing.T) {
	const mostMiB = 500
	slow := []string{
		"awk: sub", "column", "file from endless output", "grep: many patterns", "growing array", "head", "mapfile", "read a line",
		"sed: all replacements", "tac", "xargs",
	}
	for i, c := range []struct {
		name, script string
		err          string // a part of the error output
		status       int
	}{
		{"doubling variable", `x=aaaaaaaa; while :; do x=$x$x; done`, "Out of space", 2},
		{"doubling variable in bash", `bash -c 'x=aaaaaaaa; while :; do x+=$x; done; echo no'`, "Cannot allocate memory", 2},
		{"many copies in a word", `bash -c 'x=$(head -c 1000000 /dev/zero | tr "\0" x); y=$x$x$x$x$x$x$x$x$x$x; y=$y$y$y$y$y$y$y$y$y$y; echo no'`, "Cannot allocate memory", 2},
		{"growing array", `bash -c 'while :; do a+=("$a xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"); a+=("${a[@]}"); done'`, "Cannot allocate memory", 2},
		{"replacement", `bash -c 'x=$(head -c 100000 /dev/zero | tr "\0" x); y=${x//x/$x}; echo no'`, "Cannot allocate memory", 2},
		{"sequence of braces", `bash -c 'echo {1..100000000}'`, "brace expansion: failed to allocate memory", 1},
		{"command substitution", `x=$(yes); echo no`, "Out of space", 2},
		{"here document", `bash -c 'x=$(yes | head -c 20000000); cat <<<"$x$x$x$x$x$x$x$x" >/dev/null'`, "Cannot allocate memory", 2},
		{"positional parameters", `set -- a; while :; do set -- "$@" "$@"; done`, "Out of space", 2},
		{"read a line", `tr '\0' x </dev/zero | { read x; echo $?; }`, "", 0},
		{"mapfile", `bash -c 'mapfile x < <(yes)'`, "Cannot allocate memory", 2},
		{"sort", `yes | sort`, "Cannot allocate memory", 2},
		{"sort by a far field", `seq 2000 | sort -k 1000000000`, "", 0},
		{"tail", `tail -c 5 /dev/zero`, "Cannot allocate memory", 1},
		{"sed without lines", `sed s/a/b/ /dev/zero`, "Cannot allocate memory", 4},
		{"printf", `printf %999999999d 1`, "Cannot allocate memory", 1},
		{"fork bomb", `bash -c ':(){ :|:& };:'; while :; do sleep 0.05; done`, "Resource temporarily unavailable", 2},
		{"fork bomb of dash", `f() { f & f & }; f; while :; do sleep 0.05; done`, "Cannot fork", 2},
		{"script that runs itself", `echo '/s; /s' >/s; chmod +x /s; /s`, "Cannot fork", 2},
		{"jobs without end", `while :; do sleep 1000 & done`, "Cannot fork", 2},
		{"3 GB file", `dd if=/dev/zero of=/f bs=1M count=3072`, "No space left on device", 1},
		{"file from endless output", `tr '\0' y </dev/zero >/f || echo "status $?" >&2`, "status 1", 0},
		{"sparse file", `truncate -s 100G f; echo x | dd of=f bs=1 seek=100000000000000 2>/dev/null || echo full >&2; sort f`, "full", 2},
		{"parentheses", strings.Repeat("(", 20000) + "true" + strings.Repeat(")", 20000), "nested too deeply", 2},
		{"substitutions", "echo " + strings.Repeat("$(echo ", 20000) + "a" + strings.Repeat(")", 20000), "nested too deeply", 2},
		{"arithmetic", "echo $((" + strings.Repeat("(", 20000) + "1" + strings.Repeat(")", 20000) + "))", "nested too deeply", 2},
		{"conditions", strings.Repeat("if true; then ", 20000) + "true; " + strings.Repeat("fi; ", 20000), "nested too deeply", 2},
		{"defaults", "echo " + strings.Repeat("${x:-", 20000) + "a" + strings.Repeat("}", 20000), "nested too deeply", 2},
		{"evaluated parentheses", `x=$(printf %20000s | tr ' ' '('); eval "$x"`, "nested too deeply", 2},
		{"long list", "true" + strings.Repeat(" && true", 50_000), "", 0},
		{"longer list", "true" + strings.Repeat(" && true", 500_000), "Out of space", 2},
		{"recursion", `f() { f; }; f`, "maximum function nesting level exceeded", 1},
		{"recursion of eval", `x='eval "$x"'; eval "$x"`, "maximum function nesting level exceeded", 1},
		{"recursion of source", `echo '. /s' >/s; . /s`, "maximum function nesting level exceeded", 1},
		{"recursion of variables", `bash -c 'a=b; b=a; echo $((a))'`, "expression recursion level exceeded", 1},
		{"awk: growing variable", `awk 'BEGIN { while (1) s = s s "x" }'`, "Cannot allocate memory", 2},
		{"awk: concatenation of many", `awk 'BEGIN { while (1) s = s s s s s "x" }'`, "Cannot allocate memory", 2},
		{"awk: growing array", `awk 'BEGIN { s = sprintf("%1000s", ""); while (1) a[i++] = s i }'`, "Cannot allocate memory", 2},
		{"awk: sprintf", `awk 'BEGIN { s = "x"; while (1) s = sprintf("%s%s", s, s) }'`, "Cannot allocate memory", 2},
		{"awk: gsub", `awk 'BEGIN { s = "xxx"; while (1) gsub(/x/, s, s) }'`, "Cannot allocate memory", 2},
		{"awk: sub", `awk 'BEGIN { s = "xxx"; while (1) sub(/.*/, "&&", s) }'`, "Cannot allocate memory", 2},
		{"awk: subscripts", `awk 'BEGIN { s = "x"; while (1) { a[s, s]; for (k in a) s = k; delete a } }'`, "Cannot allocate memory", 2},
		{"awk: split", `awk 'BEGIN { s = "x"; for (i = 0; i < 23; i++) s = s s; split(s, a, "") }'`, "Cannot allocate memory", 2},
		{"awk: endless loop", `awk 'BEGIN { while (1); }'`, "", 152},
		{"awk: recursion", `awk 'function f(n) { f(n) f(n) } BEGIN { f(1) }'`, "", 2},
		{"awk: endless output", `awk 'BEGIN { for (;;) print "y" }'`, "", 152},
		{"awk: parentheses", `awk "BEGIN { x = $(printf %200000s | tr ' ' '(')1 }"`, "program longer than 16 KiB", 2},
		{"awk: blocks", `awk "BEGIN $(printf %200000s | tr ' ' '{')"`, "program longer than 16 KiB", 2},
		{"awk: operators", `awk "BEGIN { x = $(printf %200000s | tr ' ' '!')1 }"`, "program longer than 16 KiB", 2},
		{"awk: few parentheses", `awk "BEGIN { x = $(printf %16000s | tr ' ' '(')1 }"`, "parse error", 2},
		{"awk: printf", `awk 'BEGIN { printf "%1000000000d", 1 }'`, "", 0},
		{"awk: width of sprintf", `awk 'BEGIN { s = sprintf("%*d", 1000000000, 1) }'`, "", 0},
		{"awk: fields", `awk 'BEGIN { $100000000 = 1 }'`, "", 2},
		{"awk: endless line", `tr '\0' x </dev/zero | awk 1`, "", 2},
		{"awk: repeated match", `awk 'BEGIN { match("x", /(((x{1000}){1000}){1000})/) }'`, "", 2},
		{"jq: range", `jq -n '[range(1e9)]'`, "", 152},
		{"jq: repeated string", `jq -n '"x" * 1e9'`, "Cannot allocate memory", 5},
		{"jq: repeated string with an operand of an update", `jq -n '"x" | . *= 1e9'`, "Cannot allocate memory", 5},
		{"jq: doubling string", `jq -n '"x" | until(false; . + .)'`, "Cannot allocate memory", 5},
		{"jq: doubling string by an update", `jq -n 'reduce range(100) as $i ("x"; . += .)'`, "Cannot allocate memory", 5},
		{"jq: doubling string by interpolation", `jq -n 'reduce range(100) as $i ("x"; "\(.)\(.)")'`, "Cannot allocate memory", 5},
		{"jq: doubling array", `jq -n 'reduce range(100) as $i ([1]; . + .)'`, "Cannot allocate memory", 5},
		{"jq: shared arrays", `jq -n 'reduce range(100) as $i (1; [., .]) | tojson'`, "Cannot allocate memory", 5},
		{"jq: shared arrays in output", `jq -n 'def f: [., .]; 1 | f|f|f|f|f|f|f|f|f|f|f|f|f|f|f|f|f|f|f|f|f|f|f|f|f|f|f|f|f|f|f|f|f|f'`, "Cannot allocate memory", 5},
		{"jq: shared objects", `jq -n 'reduce range(100) as $i (1; {a: ., b: .}) | . == .'`, "Cannot allocate memory", 5},
		{"jq: deep array", `jq -n 'reduce range(1e9) as $i (1; [.])'`, "Cannot allocate memory", 5},
		{"jq: index", `jq -n '.[500000000] = 1'`, "Cannot allocate memory", 5},
		{"jq: computed index", `jq -n '5e8 as $i | [] | .[$i] |= 1'`, "Cannot allocate memory", 5},
		{"jq: setpath", `jq -n 'setpath(["a", 500000000]; 1)'`, "Cannot allocate memory", 5},
		{"jq: getpath", `jq -n 'getpath([500000000]) = 1'`, "Cannot allocate memory", 5},
		{"jq: fromstream", `jq -n 'fromstream([[500000000], 1], [[500000000]])'`, "Cannot allocate memory", 5},
		{"jq: join", `jq -n '[range(10000) | "a"] | join("x" * 1000000)'`, "Cannot allocate memory", 5},
		{"jq: transpose", `jq -n '[range(20000) | []] + [[range(20000)]] | transpose'`, "", 152},
		{"jq: matches", `jq -n '"x" * 10000000 | [match(""; "g")]'`, "Cannot allocate memory", 5},
		{"jq: gsub", `jq -n '"x" * 6000 | gsub(""; "y" * 100000)'`, "Cannot allocate memory", 5},
		{"jq: explode", `jq -n '"x" * 15000000 | explode'`, "Cannot allocate memory", 5},
		{"jq: combinations", `jq -n '[[range(1000)] | combinations(1000)]'`, "", 152},
		{"jq: big number", `jq -n 'reduce range(100) as $i (3; . * .)'`, "Cannot allocate memory", 5},
		{"jq: endless output", `jq -n 'repeat(1)'`, "", 152},
		{"jq: endless loop", `jq -n 'def f: f; f'`, "", 152},
		{"jq: recursion", `jq -n 'def f: 1 + f; f'`, "", 152},
		{"jq: endless input", `yes 1 | jq -c .`, "Cannot allocate memory", 2},
		{"jq: endless input with -s", `yes '[{}]' | jq -s length`, "Cannot allocate memory", 2},
		{"jq: caught", `jq -n 'def f: try ("x" * 1e9) catch f; f'`, "Cannot allocate memory", 5},
		{"jq: parentheses", `jq -n "$(printf %200000s | tr ' ' '(')"`, "program longer than 16 KiB", 3},
		{"jq: few parentheses", `jq -n "$(printf %8000s | tr ' ' '[')1$(printf %8000s | tr ' ' ']')"`, "", 5},
		{"jq: copies", `jq -n '("x" * 1e6) as $x | [range(1e6) | $x + "y"]'`, "Cannot allocate memory", 5},
		{"jq: own function", `jq -n 'def join(x): x * 1e9; join("x")'`, "Cannot allocate memory", 5},
		{"jq: pattern", `jq -n '{} as {("x" * 1e9): $y} | $y'`, "Cannot allocate memory", 5},
		{"jq: time", `jq -n '0 | strftime("%999999999Y")'`, "", 0},
		{"expr", `expr $(printf '%20000s' | sed 's/ /( /g')`, "", 2},
		{"test", `[ $(printf '%20000s' | sed 's/ /( /g') ]`, "", 2},
		{"find", `find / $(printf '%20000s' | sed 's/ /( /g')`, "", 1},
		{"sed: blocks", `sed "$(printf %200000s | tr ' ' '{')" /etc/passwd`, "", 1},
		{"sed: growing space", `yes xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx | sed -n 'H;$p'`, "", 152},
		{"sed: doubling hold space", `echo x | sed ':a;G;h;ba'`, "Cannot allocate memory", 4},
		{"sed: replacement", `head -c 1000000 /dev/zero | tr '\0' x | sed "s/.*/$(printf %100000s | tr ' ' '&')/"`, "Cannot allocate memory", 4},
		{"sed: all replacements", `head -c 100000 /dev/zero | tr '\0' x | sed "s/x/$(printf %100000s)/g"`, "Cannot allocate memory", 4},
		{"sed: endless loop", `echo x | sed ':a;ba'`, "", 152},
		{"sed: endless output", `echo x | sed ':a;p;ba'`, "", 152},
		{"grep: repetitions", `grep -E '((((x{1000}){1000}){1000}){1000})' /etc/passwd`, "", 2},
		{"grep: parentheses", `grep -E "$(printf %20000s | tr ' ' '(')" /etc/passwd`, "", 2},
		{"grep: many patterns", `yes aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa | head -n 2000000 >/p; grep -f /p /etc/passwd`, "", 152},
		{"tac", `yes | tac`, "Cannot allocate memory", 152},
		{"sequence", `seq 1000000000000 | tail -n 1`, "", 152},
		{"gzip bomb", `head -c 200000000 /dev/zero | gzip | gzip -dc | sort`, "", 2},
		{"seq -f", `seq -f %1000000000f 1`, "", 1},
		{"seq -w", `seq -w 1 1e300 | head -n 1`, "", 0},
		{"join", `yes a | head -n 100000 >/j; join /j /j >/k`, "", 152},
		{"paste", `paste -s -d x /dev/zero`, "", 1},
		{"xargs", `tr '\0' x </dev/zero | xargs echo`, "", 1},
		{"column", `yes | column -t`, "", 152},
		{"uniq", `tr '\0' x </dev/zero | uniq`, "", 1},
		{"cut", `tr '\0' x </dev/zero | cut -c 1`, "", 1},
		{"rev", `tr '\0' x </dev/zero | rev`, "", 1},
		{"diff", `yes | head -n 3000000 >/a; yes n | head -n 3000000 >/b; diff /a /b`, "", 152},
		{"patch: endless input", `yes | patch x`, "Cannot allocate memory", 2},
		{"patch: endless file", `patch /dev/zero </etc/passwd`, "", 2},
		{"patch: long file", `head -c 6000000 /dev/zero | tr '\0' '\n' >/a; printf -- '--- a\n+++ a\n@@ -1 +1 @@\n-a\n+b\n' | patch /a`, "Cannot allocate memory", 2},
		{"patch: long hunk", `(printf -- '--- a\n+++ a\n@@ -1,90000000 +1,90000000 @@\n'; head -c 4000000 /dev/zero | tr '\0' '\n') >/p; echo >/a; patch /a /p`, "Cannot allocate memory", 2},
		{"patch: many places", `head -c 200000 /dev/zero | tr '\0' '\n' >/a; (printf -- '--- a\n+++ a\n@@ -1,100001 +1,100001 @@\n'; head -c 50000 /a; printf -- '-n\n+m\n'; head -c 50000 /a) >/p; patch /a /p`, "", 152},
		{"comm", `yes | comm - /dev/zero`, "", 1},
		{"split", `split -b 1 /dev/zero`, "", 1},
		{"base64", `base64 -w 0 /dev/zero`, "", 1},
		{"file", `file /dev/zero`, "", 0},
		{"head", `tr '\0' x </dev/zero | head -n 1`, "", 1},
		{"grep line", `tr '\0' x </dev/zero | grep y`, "", 2},
		{"tr", `tr '[x*1000000000]' y </etc/passwd`, "", 0},
		{"10 GB by head", `head -c 10G /dev/zero >/f`, "No space left on device", 1},
		{"yes into a file", `yes >/f`, "", 152},
		{"random bytes into a file", `cat /dev/urandom >/f`, "No space left on device", 1},
		{"sum of endless input", `sha256sum /dev/zero`, "", 152},
		{"comparison of endless inputs", `cmp /dev/zero /dev/zero`, "Cannot allocate memory", 2},
		{"sed: endless w", `yes | sed -n 'w /f'`, "", 152},
		{"sed: last line of endless input", `yes | sed -n '$p'`, "", 152},
		{"grep: nested repetitions", `head -c 300000 /dev/zero | tr '\0' a | grep -E '(a+)+$b'`, "", 1},
		{"bash: nested repetitions", `bash -c '[[ $(printf %30000s | tr " " a) =~ ^(a|aa)+b ]]'`, "", 1},
		{"bash: nested patterns", `bash -c 'shopt -s extglob
[[ $(printf %3000s | tr " " a) == +(a|aa|+(a))b ]]'`, "", 1},
		{"bash: negated patterns", `bash -c 'shopt -s extglob
[[ $(printf %1000s | tr " " a) == !(b)!(b)!(b)!(b)!(b)!(b)c ]]'`, "", 152},
		{"bash: product of braces", `bash -c 'echo {1..1000}{1..1000}{1..1000}{1..1000}'`, "failed to allocate memory", 1},
		{"bash: nested braces", `bash -c "echo $(printf %5000s | sed 's/ /{a,b}/g')"`, "failed to allocate memory", 1},
		{"bash: callback that calls itself", `bash -c 'f() { mapfile -C f -c 1 < <(echo a); }; f'`, "", 1},
		{"bash: many odd keys", `bash -c "declare -A m=($(seq 2000 | sed 's/.*/[a.&]=1/' | tr '\n' ' ')); echo \${#m[@]} >&2"`, "", 2},
		{"bash: references in a circle", `bash -c 'declare -n a=b b=a; a=1; echo $a'`, "", 0},
		{"printf: width in an argument", `bash -c 'printf -v x "%*s" 1000000000 a'`, "Cannot allocate memory", 1},
		{"deep directories", `while mkdir d && cd d; do :; done`, "File name too long", 0},
		{"many files", `i=0; while :; do : >/tmp/f$((i=i+1)); done`, "", 152},
		{"links in a circle", `ln -s a b; ln -s b a; cat a`, "Too many levels of symbolic links", 1},
		{"archive of a sparse file", `truncate -s 1024G /big; tar cf - /big | tail -c 5`, "", 1},
		{"endless loop", `while :; do :; done`, "", 152},
		{"endless loop in a condition", `bash -c 'for ((;;)); do :; done'`, "", 152},
		{"endless output", `yes`, "", 153},
		{"endless output to nothing", `yes >/dev/null`, "", 152},
		{"endless copy", `cat /dev/zero >/dev/null`, "", 152},
		{"wildcards", `mkdir -p a/a/a/a/a; echo */*/*/*/../../../*/*/*/../../../*/*/* >/dev/null`, "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if slices.Contains(slow, c.name) && os.Getenv("BAKESTONE_LONG") == "" {
				t.Skip("slow: set BAKESTONE_LONG=1")
			}
			if i%4 != 0 && !testenv.Thorough() {
				t.Skip("one of many: set BAKESTONE_LONG=1")
			}
			h := boot(t, sandbox.Options{Limits: sandbox.Limits{Steps: 200_000}})
			var got result
			peak := memory.Peak(func() {
				var errs buffer
				status, err := h.Exec(t.Context(), sandbox.Exec{Line: c.script, Stdout: io.Discard, Stderr: &errs})
				if err != nil {
					t.Fatal(err)
				}
				got = result{err: errs.String(), status: status}
			}) >> 20
			t.Logf("peak of %d MiB: %s", peak, strings.TrimSpace(got.err))
			if got.status != c.status || !strings.Contains(got.err, c.err) {
				t.Errorf("got status %d, errors %.300q, want status %d, errors with %q", got.status, got.err, c.status, c.err)
			}
			if peak > mostMiB {
				t.Errorf("took %d MiB, want at most %d", peak, mostMiB)
			}
			if after := run(t, h, sandbox.Exec{Line: "echo alive"}); after.out != "alive\n" {
				t.Errorf("the machine is unusable afterwards: %+v", after)
			}
		})
	}
}

func TestLimitOptions(t *testing.T) {
	t.Parallel()
	h := boot(t, sandbox.Options{Limits: sandbox.Limits{Memory: 1 << 20, Disk: 4 << 20, FileSize: 1 << 20, Output: 1000, Processes: 8, Depth: 10}})
	for _, c := range []struct {
		script, err string
		status      int
	}{
		{`x=$(head -c 600000 /dev/zero | tr '\0' x)`, "Out of space", 2},
		{`head -c 2000000 /dev/zero >/f`, "File too large", 1},
		{`for i in 1 2 3 4 5; do head -c 1000000 /dev/zero >/f$i || exit 3; done`, "No space left on device", 3},
		{`rm /f*; i=0; while mkdir d$i 2>/dev/null; do i=$((i+1)); done; mkdir x`, "No space left on device", 1},
		{`rm -r d*; seq 1000`, "", 153},
		{`f() { [ $1 = 0 ] || f $(($1-1)); }; f 5 && f 20`, "maximum function nesting", 1},
		{`for i in 1 2 3 4 5 6 7 8; do sleep 1 & done`, "Cannot fork", 2},
	} {
		got := run(t, h, sandbox.Exec{Line: c.script})
		if got.status != c.status || !strings.Contains(got.err, c.err) {
			t.Errorf("%s: got %.300q, status %d, want status %d, errors with %q", c.script, got.err, got.status, c.status, c.err)
		}
	}
	if console := h.Console(); !strings.Contains(console, "exceeded the limit of memory") {
		t.Errorf("Console() = %q, want the limit that was exceeded", console)
	}
	unlimited := boot(t, sandbox.Options{Limits: sandbox.Limits{Memory: -1, Disk: -1, Output: -1, Steps: -1, Time: -1, Processes: -1, Depth: -1}})
	if got := run(t, unlimited, sandbox.Exec{Line: "echo fine"}); got.out != "fine\n" {
		t.Errorf("without limits: %+v", got)
	}
}

func TestTimeLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := boot(t, sandbox.Options{Limits: sandbox.Limits{Time: time.Hour}})
		start := time.Now()
		got := run(t, h, sandbox.Exec{Line: "while :; do sleep 60; done"})
		if took := time.Since(start); got.status != 137 || took != time.Hour {
			t.Errorf("loop: status %d after %v, want 137 after an hour", got.status, took)
		}
		if _, err := h.Exec(context.Background(), sandbox.Exec{Line: "sleep 7200 >/dev/null &"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(90 * time.Minute)
		if got := run(t, h, sandbox.Exec{Line: "ps ax"}); !strings.Contains(got.out, "sleep 7200") {
			t.Errorf("background job did not outlive the time limit: %q", got.out)
		}
	})
}
