package sandbox

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/itchyny/gojq"
)

// jqPrograms are programs of every construct of the language.
func jqPrograms() []string {
	return []string{
		".", ".a", ".a.b[0]", ".a?", ".[]?", "..", ".a // 1", "[.[]?]", "{a: .a, (\"x\" + \"y\"): 1, \"z\": 2, @base64 \"q\": 3}", "{a, n}", ".n as $x | {$x}",
		"1 + 2 * 3 - 4 / 2 % 3", "(1,2) * (10,100)", "(1,2) - (10,100)", "[(1,2) < (2,1)]", "\"ab\" * 3", "\"ab\" * 0", "0 * \"ab\"", "\"a,b\" / \",\"", "{a:1} * {b:{c:2}}", "[1,2,3] - [2]", "null + 1",
		"{} - 1", "[] * 2", "1 / 0", "-(1)", "-.k", ".a += 1", ".k += (1,2)", ".k -= 1 | .k *= 3 | .k /= 2 | .k %= 4 | .zz //= 7", ".list[1:] = [9]", ".list[0] |= . + 1", ".list |= map(. * 2)", ".a = 5", "(.k, .n) |= tostring",
		".list[-1] = 0", ".list[-9] = 0", ".list[5] = 1", "del(.list[0, 1])", "delpaths([[\"a\"]])", "to_entries", "with_entries(.value |= tojson)", "from_entries", "paths", "[paths(type == \"number\")]", "path(..)", "path(.a[0].b)", "path(.list | select(true) | first)",
		"path(.a | getpath([\"b\"]))", "path(1)", "path(if .k + 1 > 3 then .a else .n end)", "path(.list[.k - 6])", "path(.list[1 + 1:])", "[paths(. == 2)]", "path(.[\"a\" + \"\"])", "path(select(.k * 2 == 14) | .n)", "del(.list[.k - 7])", ".list[.list[2] - 2] += 10", "(.list | .[1 + 1]) = 9", "path({a: 1} | .a)?", "getpath([\"a\", \"b\"])", "setpath([\"a\", 3]; 1)", "setpath([]; 1)", "pick(.a)", "reduce .list[] as $x (0; . + $x)", "foreach .list[] as $x (0; . + $x; [$x, .])", "[limit(3; range(10))]", "first(range(5))", "[range(0; 10; 3)]",
		"[.list[] | select(. > 1)]", "if .k then 1 elif .n then 2 else 3 end", "if empty then 1 else 2 end", "try error(\"x\") catch .", "try error catch .", "error(null)", ".a.b.c?", "[.[] | tostring?]", "label $out | foreach .list[] as $x (0; . + $x; if . > 2 then ., break $out else . end)",
		"def f(x): x * 2; f(.k)", "def f($a; $b): $a + $b; f(1; 2)", "def join(x): \"own\"; join(1)", "def f: def g: 3; g; f", "def fac: if . <= 1 then 1 else . * (. - 1 | fac) end; 10 | fac", "[recurse(if . < 3 then . + 1 else empty end)]?", "[.k | while(. < 100; . * 2)]", "[.k | until(. > 100; . * 2)]", "[limit(4; repeat(1))]",
		".list as [$a, $b] | $a + $b", ".a as {b: [$c]} | $c", ".a as {\"b\": $c} | $c", ". as {($k): $v} ?// $v | [$v]", ".[] as [$a] ?// $a | $a", "\"x\\(.k)y\\(.n)\"", "@json \"v: \\(.a)\"", "@base64", "@sh \"echo \\(.n)\"", "@html", "@csv", "[.list | @csv, @tsv]", "@uri", "\"YQ==\" | @base64d", "@text", "tojson", "tojson | fromjson", "fromjson",
		".list | add", "add(.list[])", "[.list[] as $x | $x]", ".list | map(. + 1)", "map_values(1)", ".list | sort, sort_by(-.), group_by(. % 2), unique, min, max, min_by(-.), reverse, length", "keys, length, utf8bytelength?", "has(\"a\")", ".list | index(2), indices(2), rindex(2), contains([2]), inside([1,2,3])", ".list | any, all, flatten, first, last, nth(1)", "[[1,2],[3]] | transpose, flatten, combinations",
		"\"test\" | test(\"t\"), [match(\"t\"; \"g\").offset], sub(\"t\"; \"T\"), gsub(\"t\"; \"T\"), [scan(\"t\")], capture(\"(?<x>e)\"), split(\"s\"), [splits(\"e\")], ascii_upcase, explode, (explode | implode), ltrimstr(\"t\"), startswith(\"t\"), .[1:3], length", "[.list[] | tostring] | join(\",\")", "[1,null,\"a\",true] | join(\"-\", \"+\")", "[[1]] | join(\",\")",
		"tostream", "fromstream(tostream)", "[1|truncate_stream([[0],1],[[1,0],2],[[1,0]],[[1]])]", "input_line_number", "$ENV | type", "env | type", "$__loc__", "now | type", "0 | todate, strftime(\"%Y\")", "\"2015-03-05T23:51:47Z\" | fromdate", "infinite, nan | isinfinite", "[nan] | sort", "nan == nan", "100000000000000000000 + 1", "pow(2; 10), log2, sqrt", "splits(\"a\")", "walk(if type == \"number\" then . + 1 else . end)",
		"ascii", "tojson, ascii_downcase", "getpath([\"a\",\"b\",\"c\"])?", "limit(0; 1)", "isempty(empty)", "error({a: 1})", "try error({a: 1}) catch .a", ".[\"a\"]", ".[\"a\", \"n\"]?", ".list[1, 0]", ".list[.k]", ".a[\"b\"]?", ".list[1:][0]", ".\"a\"", ".\"a\"?.\"b\"?", "not", "halt_error", "$x", "f", "(", "1 as $x | 2 as $y | [$x, $y, $ARGS]", "limit(1; .list[] |= . + 1)", ". as $dot | reduce keys[] as $k ({}; . + {($k): $dot[$k]})",
		"INDEX(.list[]?; .)", "IN(.list[]; 2)", "ltrimstr(1)", "splits(1)", "tojson * 2", "[.list[] | if . > 1 then \"big\" else \"small\" end]", "def f(g): [g, g]; f(.list[])", "def f: reduce .[] as [$i, $j] (0; . + $i * $j); [[1,2],[3,4]] | f", "path(if .k then .a else .n end)", "path(.a // .n)", "[.. | numbers]", "(.a, .n) = 1", "to_entries[] | select(.key | test(\"^a\")).value", ".a |= (. // {} | .x = 1)", "del(.. | select(. == 2)?)",
		"@json", "getpath([]) |= 1", "reduce range(3) as $i ([]; .[$i] = $i)", "[.list[] as $a | .list[] as $b | $a * $b]", "input", "\"\\(1;2)\"", "try (1,error(\"x\"),3) catch \"c\"", ".. |= (numbers |= . + 1)?", "{(\"a\",\"b\"): (1,2)}", "[.[]?] | length as $n | $n", "limit(2; (1,2,3)) as $x | $x * 2", "{\"a b\":1}.\"a b\"", "ascii(65)", "@foo", "tojson | test(\"a\"; \"xi\")", "splits(\"a\"; null)", "env.PATH, $ENV.PATH",
	}
}

// jqResult returns what a program prints, and its error.
func jqResult(query *gojq.Query, run func(*gojq.Code, any) gojq.Iter, options ...gojq.CompilerOption) string {
	code, err := gojq.Compile(query, append(options, gojq.WithVariables([]string{"$ARGS"}), gojq.WithEnvironLoader(func() []string { return []string{"PATH=/bin"} }))...)
	if err != nil {
		return "compile: " + err.Error()
	}
	var in any
	if err := json.Unmarshal([]byte(`{"a":{"b":[1,"x"]},"n":"name","k":7,"list":[3,1,2]}`), &in); err != nil {
		return err.Error()
	}
	out := ""
	for iter, n := run(code, in), 0; n < 100; n++ {
		v, ok := iter.Next()
		if !ok {
			break
		}
		if err, failed := v.(error); failed {
			return out + "error: " + err.Error()
		}
		text, err := gojq.Marshal(v)
		out += fmt.Sprintf("%s %v\n", text, err)
	}
	return out
}

// TestJQGuard checks that the guard changes no results.
func TestJQGuard(t *testing.T) {
	t.Parallel()
	h, err := Boot(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close() //nolint:errcheck // the end of the test
	for _, text := range jqPrograms() {
		want, got := "", ""
		if query, err := gojq.Parse(text); err != nil {
			want = "parse: " + err.Error()
		} else {
			want = jqResult(query, func(c *gojq.Code, in any) gojq.Iter { return c.RunWithContext(t.Context(), in, map[string]any{}) })
		}
		guard := newJQGuard(t.Context(), jqProcess(h))
		if query, err := guard.parse(text); err != nil {
			got = "parse: " + err.Error()
		} else {
			got = jqResult(query, func(c *gojq.Code, in any) gojq.Iter { return c.RunWithContext(guard, in, map[string]any{}) }, guard.options()...)
		}
		if got != want {
			t.Errorf("%s prints\n%s\nwant\n%s", text, got, want)
		}
	}
}

func jqProcess(h *Host) *Process {
	p := h.process(user{name: "root", home: "/root", shell: "/bin/sh"})
	p.session = &usage{h: h}
	return p
}
