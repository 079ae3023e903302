package amicleanup

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"path"
	"strings"
	"testing"
	"time"
)

// FuzzPattern checks that a pattern finds in EC2 what it matches here.
func FuzzPattern(f *testing.F) {
	for _, seed := range [][2]string{
		{"web-{unix}", "web-1700000000"}, {"{group}-{time:20060102}", "web-20260102"}, {"*-{version}*", "a-v1.2.3-x"},
		{"web.*{group}", "web.x"}, {"a{time:\xff}", "a\xff"}, {"{time:" + strings.Repeat("2", 2000) + "}", "x"}, {"{", ""}, {"", "\n"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		p, err := compile(text)
		if err != nil {
			return
		}
		got, ok := p.match(name)
		if !ok {
			return
		}
		if p.glob != "" && !globMatches(p.glob, name) {
			t.Errorf("pattern %q matches %q, but its filter %q does not", text, name, p.glob)
		}
		for _, part := range []string{got.stamp, got.version} {
			if !strings.Contains(name, part) {
				t.Errorf("pattern %q captures %q of %q", text, part, name)
			}
		}
		if !p.stamped {
			return
		}
		if _, err := p.parse(got.stamp); err == nil && p.layout == "" && (len(got.stamp) < fewestUnixDigits || len(got.stamp) > mostUnixDigits) {
			t.Errorf("timestamp %q is accepted", got.stamp)
		}
	})
}

// globMatches matches a filter in which only * is special.
func globMatches(glob, name string) bool {
	parts := strings.Split(glob, "*")
	if len(parts) == 1 {
		return glob == name
	}
	last := len(parts) - 1
	rest, ok := strings.CutPrefix(name, parts[0])
	if !ok {
		return false
	}
	for _, part := range parts[1:last] {
		if _, rest, ok = strings.Cut(rest, part); !ok {
			return false
		}
	}
	return strings.HasSuffix(rest, parts[last])
}

// FuzzUntil checks that a day is kept to its end.
func FuzzUntil(f *testing.F) {
	for _, seed := range []string{"2026-02-28", "2026-12-31T23:59:59+14:00", "9999-12-31", "tomorrow", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		until, err := parseUntil(value)
		if day, dayErr := time.Parse(time.DateOnly, value); dayErr == nil && (err != nil || until.Sub(day) != 24*time.Hour) {
			t.Errorf("parseUntil(%q) = %v, %v, want the end of the day", value, until, err)
		}
	})
}

// FuzzVersion checks that versions have one order.
func FuzzVersion(f *testing.F) {
	f.Add("1.2.3", "1.10", "v2")
	f.Add("1.0-rc1", "1.0", "1.0-rc10")
	f.Add("00000000000000000000000000000001", "1", "")
	f.Add("1.a", "1.1", "1.")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		if ab, ba := compareVersions(a, b), compareVersions(b, a); cmp.Compare(ab, 0) != -cmp.Compare(ba, 0) {
			t.Errorf("compareVersions(%q, %q) = %d, reversed %d", a, b, ab, ba)
		}
		if compareVersions(a, a) != 0 {
			t.Errorf("compareVersions(%q, %[1]q) = %d, want 0", a, compareVersions(a, a))
		}
		if compareVersions(a, b) <= 0 && compareVersions(b, c) <= 0 && compareVersions(a, c) > 0 {
			t.Errorf("%q <= %q <= %q, but the first is greater than the last", a, b, c)
		}
	})
}

// FuzzStoredPlan checks that a stored plan with any content can be shown and stored
// again, in bounded text.
func FuzzStoredPlan(f *testing.F) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	policy := &Policy{}
	good, err := json.Marshal(policy.Evaluate(now, "eu-west-1",
		Image{ID: "ami-1", Name: "web-1", Timestamp: now.AddDate(0, -2, 0)}, Image{ID: "ami-2", Name: "web-2", Timestamp: now.AddDate(0, -1, 0)}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"targets":[{"items":[{"image":null}]}]}`))
	f.Add([]byte(`{"targets":[{"region":"|\n<script>","items":[{"image":{"name":"` + strings.Repeat("|", 2000) + `"},"action":"remove"}],"snapshots":[{}]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var plan Plan
		if json.Unmarshal(text, &plan) != nil {
			return
		}
		var markdown bytes.Buffer
		if err := plan.WriteMarkdown(&markdown); err != nil {
			t.Errorf("WriteMarkdown = %v", err)
		}
		if most := 65_536; markdown.Len() > most {
			t.Errorf("WriteMarkdown wrote %d bytes, want at most %d", markdown.Len(), most)
		}
		if err := plan.WriteText(io.Discard); err != nil {
			t.Errorf("WriteText = %v", err)
		}
		plan.Removals()
		first, err := json.Marshal(&plan)
		if err != nil {
			t.Skip("a value that JSON cannot hold")
		}
		var again Plan
		if err := json.Unmarshal(first, &again); err != nil {
			t.Fatalf("Unmarshal of a stored plan = %v:\n%s", err, first)
		}
		if second, err := json.Marshal(&again); err != nil || !bytes.Equal(first, second) {
			t.Errorf("a plan stored again differs, %v:\n%s\nwas\n%s", err, second, first)
		}
	})
}

// FuzzFiles compares patterns of files without ** with those of path.Match.
func FuzzFiles(f *testing.F) {
	f.Add("*/*.tf", "a/b.tf")
	f.Add("**/*.tf", "a/b/c.tf")
	f.Add("[a-/b", "a/b")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if strings.Count(pattern, "**") > 4 {
			return
		}
		parts := strings.Split(pattern, "/")
		got := matchParts(parts, strings.Split(name, "/"))
		want, err := path.Match(pattern, name)
		if err == nil && !strings.Contains(pattern, "**") && !strings.ContainsAny(pattern, `[\`) && got != want {
			t.Errorf("matchParts(%q, %q) = %v, path.Match says %v", pattern, name, got, want)
		}
		if deeper := append([]string{"**"}, parts...); got && !matchParts(deeper, strings.Split("x/"+name, "/")) {
			t.Errorf("%q matches %q, but **/ before it does not match below x", pattern, name)
		}
	})
}
