package sandbox_test

import (
	"bytes"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/internal/sandbox"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// TestMatchesRealDash compares the output and status of scripts with those of
// dash and the GNU tools on this computer, run in an empty directory.
func TestMatchesRealDash(t *testing.T) {
	t.Parallel()
	dash := testenv.Need(t, "dash")
	for _, tool := range []string{"sed", "grep", "find", "xargs", "sort", "stat", "tar", "base64"} {
		path := testenv.Need(t, tool)
		if out, err := exec.CommandContext(t.Context(), path, "--version").Output(); err != nil || !strings.Contains(string(out), "GNU") {
			t.Skipf("%s is not the GNU tool", tool)
		}
	}
	for _, script := range []string{
		// The shell.
		`for i in 1 2 3; do [ $i = 2 ] && continue; echo $i; done`,
		`f() { local x=1; echo $x "$@"; return 4; }; f a 'b c'; echo $?`,
		`set -- a 'b c' d; echo $#; shift; echo "$1" "$*"; for x; do echo "<$x>"; done`,
		`x=abc.tar.gz; echo ${x%.gz} ${x%%.*} ${x#*.} ${x##*.} ${#x} ${y:-default} ${x:+set}`,
		`echo $((3*4+2)) $((7/2)) $((7%4)) $((1<<4)) $((2>1))`,
		`echo a b | while read x y; do echo $y $x; done; echo done`,
		`echo 'one\ttwo\n'; printf '%s-%d-%05.2f|%x\n' a 3 3.14159 255; printf '%s\n' x y; printf '%-5s|%5s|%.2s|%c\n' ab cd efg hi; printf '%b' 'a\tb\n'; printf '\101\x\n' 2>/dev/null; printf '%d %i %o %e\n' 0x1f -3 8 1.5; printf '%s %s\n' a b c; printf '%*d|%+d\n' 5 42 7; printf 'no args\n' x; printf '%d\n' abc 2>/dev/null; echo $?`,
		`cat <<-EOF
	tabs $((1+1))
	EOF
cat <<'EOF'
raw $HOME
EOF`,
		`case foo.txt in *.md) echo md;; *.txt|*.log) echo txt;; esac`,
		`false || echo or; true && echo and; ! false && echo not`,
		`(exit 3); echo $?; (cd / && pwd); sh -c 'exit 5'; echo $?`,
		`x=$(printf 'a\nb\n\n'); echo "$x"; echo $x`,
		`set -u; echo ${novar-none}; (echo $novar) 2>/dev/null || echo unset`,
		`set -e; if false; then :; fi; false || true; (false) || echo caught; false; echo unreachable`,
		`trap 'echo leaving $?' EXIT; echo in; exit 2`,
		`i=0; while :; do i=$((i+1)); [ $i -ge 5 ] && break; done; echo $i`,
		`echo out; echo err >&2; { echo a; echo b >&2; } 2>/dev/null`,
		`echo x >f; echo y >>f; wc -l <f; cat f 2>&1 >/dev/null; cat nope 2>/dev/null || echo $?`,
		`IFS=:; set -- $(echo a:b:c); echo $2; IFS=,; echo "$*"`,
		`mkdir d; touch d/a.x d/b.x d/.h; echo d/*.x d/*; cd d; for f in *; do echo $f; done; echo nomatch*`,
		`[ -z "" ] && [ -n x ] && [ 2 -lt 10 ] && [ a != b ] && [ ! -f nope ] && test a = a -a b = b && echo ok`,
		`sleep 0 & wait $!; echo $?; (exit 7) & wait $! || echo $?`,
		`nosuchcommand 2>/dev/null; echo $?; touch f; ./f 2>/dev/null; echo $?; ./nope 2>/dev/null; echo $?`,
		`umask 027; touch a; mkdir b; stat -c %a a b; umask`,
		`eval "x=5; echo \$x"; a=x; eval echo \$$a`,
		`command -v sed >/dev/null && echo has; command -v nosuch || echo hasnot`,
		`exec 2>/dev/null; echo hi; ls nope; echo $?`,
		`readonly R=1; (R=2) 2>/dev/null || echo ro; unset U; export V=3; sh -c 'echo $V'`,
		`printf 'a b\nc\\d\n' >f; while read -r l; do echo "$l"; done <f; while read l; do echo "$l"; done <f`,
		`echo a{b,c}; echo ~+; echo "a  b"   c`,
		// The commands.
		`printf '3\n1\n2\n10\n' >f; sort f; sort -n f; sort -rn f; sort -u f f | wc -l; sort -t: -k2n <<E
a:10
b:9
E`,
		`printf 'b 2\na 1\nc 3\n' | sort -k2,2nr; printf 'B\na\nC\n' | sort -f`,
		`printf 'a\na\nb\na\n' | uniq -c | tr -s ' '; printf 'a\na\nb\n' | uniq -u; printf 'a\na\nb\n' | uniq -d`,
		`echo 'a,b,c' | cut -d, -f2; echo 'a,b,c' | cut -d, -f2-; echo abcdef | cut -c2-4; echo 'none' | cut -d, -f2; echo a:b | cut -s -d, -f1`,
		`echo 'Hello World' | tr 'a-z' 'A-Z' | tr -d 'L'; echo aabbcc | tr -s ab; echo 'x.y' | tr . _; echo abc | tr -c 'a\n' '-'`,
		`printf 'foo\nbar\nfoobar\n' >f; grep foo f; grep -c foo f; grep -v foo f; grep -n bar f; grep -x foo f; grep -w foo f; grep -o 'o\+' f; grep -E '^(foo|bar)$' f; grep -F . f; echo $?; grep -q bar f; echo $?; grep -e foo -e bar -c f; grep '\(o\)\1*b' f; grep -i FOO f | head -1; grep -l foo f nope 2>/dev/null; echo $?; grep '[[:digit:]]' f; echo $?`,
		`printf 'a.b\nab\n' >f; grep 'a\.b' f; grep 'a.b' f; grep -E 'a\.?b' f; grep 'a*b$' f; grep '^[^.]*$' f; grep -E 'a{1}' f; grep 'x\{0\}a' f`,
		`printf 'one two\nthree four\nfive six\n' >f; sed 's/o/0/' f; sed 's/o/0/g' f; sed -n '2p' f; sed '2d' f; sed -n '/three/,$p' f; sed 's/\(\w*\) \(\w*\)/\2 \1/' f; sed -E 's/(\w+) (\w+)/\2-\1/' f; sed '/three/s/four/4/' f; sed '1i\
first' f; sed '$a last' f; sed -e 's|/|_|g' -e 's/e/E/2' f; sed '/two/!d' f; sed -n '$=' f; sed 2q f; sed 's/t/&&/;s/$/./' f; sed -n 's/five/5/p' f; sed '2c\changed' f; sed 'y/abc/xyz/' f; sed '1!s/^/# /' f`,
		`printf 'k=1\n#z=2\n' >c; sed -i 's/^k=.*/k=9/; s/^#\(z\)/\1/' c; cat c; sed -i.bak '/z/d' c; cat c; cat c.bak; sed -n '1{p;p}' c; sed '/^k/{s/k/q/;s/9/8/}' c; sed 's/\//|/g; s#k#/#' c; printf 'x' | sed 's/x/y/'; echo aXb | sed 's/x/-/I'; sed --expression='s/k/m/' c`,
		`printf '1\n2\n3\n4\n5\n' >f; head -n 2 f; tail -n 2 f; tail -n +4 f; head -n -3 f; head -c 3 f; tail -c 3 f; head -1 f; tail -n 1 f f; head -n1 f f`,
		`printf 'a b c\nd\n' >f; wc -w <f; wc -l <f; wc -c <f; wc -lw f | tr -s ' ' | sed 's/^ //'`,
		`mkdir -p a/b/c a/d; touch a/x.txt a/b/y.txt a/b/c/z.log; find a -type f | sort; find a -name '*.txt' | sort; find a -maxdepth 1 -type d | sort; find a -type f -name 'z*' -exec echo {} \; ; find a -empty | sort; find a -path '*b/c*' | sort; find a -type f ! -name '*.txt'; find a \( -name x.txt -o -name '*.log' \) | sort; find a -mindepth 2 -type d | sort; find a -name b -prune -o -type f -print; find a -type f -delete; find a -type f; find a -depth | head -1`,
		`printf 'a b\nc\n' | xargs echo; printf 'a b\nc\n' | xargs -n1 echo; printf 'x\ny\n' | xargs -I{} echo '<{}>'; printf "'a b' c" | xargs -n1; printf '' | xargs echo empty; printf '' | xargs -r echo empty; echo a | xargs sh -c 'exit 3' ; echo $?; printf 'a\0b c\0' | xargs -0 -n1 echo`,
		`touch f; chmod 640 f; stat -c '%a %A %s %F' f; chmod u+x,g-r,o=rw f; stat -c %a f; chmod a-w f; stat -c %A f; chmod +x f; stat -c %a f; chmod 4755 f; stat -c '%a %A' f; chmod g=u f; stat -c %a f; mkdir d; chmod 2775 d; chmod 755 d; stat -c %a d; chmod 1777 d; stat -c %A d; chmod -x f; stat -c %a f; chmod =r f; stat -c %a f; chmod ug+s,o+t d; stat -c %a d`,
		`ln -s target l; readlink l; ln -sfn other l; readlink l; readlink -f l | sed 's|.*/||'; mkdir d; ln -s d dl; ln -s x dl; readlink d/x; ln -sfT y dl; readlink dl; basename /a/b/c.txt .txt; dirname /a/b/c; basename a/; dirname a; ln f2 2>/dev/null || echo $?; touch f; ln f g; stat -c %h f; test -L l && echo link; [ -e l ] || echo dangling`,
		`mkdir s; echo 1 >s/a; chmod 750 s; cp -r s t; ls t; stat -c %a t; cp -r s t; ls t; cp s/a b; cat b; cp -p s/a c; cp -a s/. u; ls u; mv b bb; ls; mv bb s; ls s; mkdir s/x; rmdir s/x; rm -r s; ls; cp nope x 2>/dev/null; echo $?; rm nope 2>/dev/null; echo $?; rm -f nope; echo $?; mkdir t 2>/dev/null; echo $?; mkdir -p t; echo $?; touch e; cp -n e c; cat c; mv -n e c; ls`,
		`mkdir -p s/d; echo hi >s/d/f; ln -s d/f s/l; chmod 600 s/d/f; tar cf a.tar s; tar tf a.tar | sort; mkdir o; tar xf a.tar -C o; cat o/s/l; stat -c %a o/s/d/f; tar czf b.tgz -C s d; tar tzf b.tgz; tar -xzOf b.tgz 2>/dev/null >/dev/null; tar c s | tar x -C o; echo $?; mkdir p; tar -xf a.tar --strip-components=1 -C p; ls p; tar tf nope 2>/dev/null; echo $?; tar xf a.tar -C p s/l; ls p`,
		`printf 'hello' | base64; printf 'aGVsbG8=' | base64 -d; echo; printf 'hello' | sha256sum; printf 'hello' >f; sha256sum f | sha256sum -c; md5sum f; printf 'x' | sha1sum; echo hello | gzip -c | gunzip -c; gzip f; ls; gzip -d f.gz; cat f; base64 -w 4 f`,
		`seq 3; seq 2 4; seq 5 -2 1; seq -s ' ' 3; yes | head -3; yes no | head -1; printf 'abc' | dd bs=1 skip=1 count=1 2>/dev/null; echo; echo a | tee x y; cat x y; printf 1234567890 >z; printf AB | dd of=z bs=1 seek=2 conv=notrunc 2>/dev/null; cat z; truncate -s 3 z; cat z; cmp x y && echo same; cmp -s x z || echo differ; diff -q x z; diff x y; echo $?`,
		`env -i A=1 B=2 env | sort; A=5 sh -c 'echo $A'; env X=1 sh -c 'echo $X'; timeout 5 echo ok; timeout 0.05 sleep 5; echo $?; nohup echo n 2>/dev/null; env -u HOME sh -c 'echo ${HOME-unset}'; env true; env false; echo $?; expr_missing_tool_x 2>/dev/null || echo $?`,
		`date -u -d @86400 '+%Y-%m-%d %H:%M:%S %j %a %b %e %s'; date -u -d '2024-02-29 12:00:00' +%F; touch -d '2020-01-02 03:04:05 UTC' f; stat -c %Y f; date -u -r f +%Y%m%d`,
		`f=$(mktemp -p . x.XXXXXX); test -f $f && echo file; d=$(mktemp -d -p .); test -d $d && echo dir; stat -c %a $f $d; install -m 644 $f g; stat -c %a g; install -d -m 711 a/b; stat -c %a a/b; install -D -m 600 g p/q/r; stat -c %a p/q/r; install -m 755 g p/; stat -c %a p/g`,
		`touch a .b; mkdir c; ls; ls -a; ls -A; ls -d c; ls -1 .; ls -l a | cut -c1-10; ls -ld c | cut -c1; ls nope 2>/dev/null; echo $?; ls -p 2>/dev/null >/dev/null; ls c a; ls -F`,
		`touch f; test -s f || echo empty; echo x >f; test -s f && echo full; [ f -nt nope ] && echo newer; [ -x f ] || echo noexec; [ -d . ] && echo dir; [ -r f -a -w f ] && echo rw; [ "a" \< "b" ] && echo less; [ 1 -eq 01 ] && echo eq; [ -f f ] || [ -f g ] && echo or; test; echo $?; test x; echo $?; [ ! x ]; echo $?`,
	} {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), dash, "-c", script)
			cmd.Dir = t.TempDir()
			cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/root", "LC_ALL=C", "TZ=UTC"}
			var real bytes.Buffer
			cmd.Stdout = &real
			err := cmd.Run()
			status := 0
			if exit, ok := errors.AsType[*exec.ExitError](err); ok {
				status = exit.ExitCode()
			} else if err != nil {
				t.Fatal(err)
			}
			got := run(t, boot(t, sandbox.Options{}), sandbox.Exec{Line: "umask 022; mkdir /work; cd /work\n" + script})
			if got.out != real.String() || got.status != status {
				t.Errorf("%s\ngot status %d, output\n%serrors\n%swant status %d, output\n%s", script, got.status, got.out, got.err, status, &real)
			}
		})
	}
}
