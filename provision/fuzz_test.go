package provision

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/bakestone-go/bakestone/bake"
)

// FuzzAnsibleResults checks that results of any content are read or refused, and that
// the error they explain is short and still that of the program.
func FuzzAnsibleResults(f *testing.F) {
	for _, seed := range []string{
		`{"task":"a","reached":true,"messages":["x"]}` + "\n" + `{"hosts":["h"]}`, `{"hosts":[]}`, `{"task":`, "null", "[]", `{"task":"t","messages":null}`,
	} {
		f.Add(seed, 2)
	}
	f.Fuzz(func(t *testing.T, text string, status int) {
		results, err := parseAnsibleResults(strings.NewReader(text))
		if err == nil && results.ended && results.hosts == nil {
			t.Errorf("results of %q ended without hosts", text)
		}
		ended := &bake.ExitError{Status: status}
		explained := results.explain(ended, []bake.Secret{bake.NewSecret("hunter22")})
		if !errors.Is(explained, error(ended)) {
			t.Errorf("explain = %v, not the program's error", explained)
		}
		if results.failed != nil && strings.Contains(strings.Join(results.failed.Messages, ""), "hunter22") && strings.Contains(strings.TrimPrefix(explained.Error(), "task \""+results.failed.Task), "hunter22") {
			t.Errorf("explain = %v, has the secret", explained)
		}
	})
}

// FuzzSaltResults checks that no content without states counts as success.
func FuzzSaltResults(f *testing.F) {
	for _, seed := range []string{
		`{"local":{"file_|-motd_|-/etc/motd_|-managed":{"result":false,"comment":"x","changes":{},"__run_num__":1}}}`,
		`{"local":["error"]}`, `{"local":"error"}`, `{"local":{}}`, `{"local":null}`, "{}", "", `{"local":{"a":{"result":null}}}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		results, err := parseSaltResults([]byte(text))
		failed := len(results.errors) > 0
		for _, s := range results.states {
			failed = failed || s.failed()
			s.changed()
		}
		ended := results.runError(t.Context(), nil, err, nil, nil)
		if ended == nil && (failed || len(results.states) == 0) {
			t.Errorf("results %q count as success", text)
		}
	})
}

// FuzzCloudInit checks that a status other than done is never taken for it.
func FuzzCloudInit(f *testing.F) {
	for _, seed := range []string{"....status: done\n", "status: error\ndetail:\nx", "", "status:", "status: done\nstatus: error", "\x00status:\r\ndone"} {
		f.Add(seed, 1)
	}
	f.Fuzz(func(t *testing.T, out string, status int) {
		s := parseCloudInit(out, status)
		if s.Status == "" || s.Status == "done" && status != 0 && !strings.Contains(out, "done") {
			t.Errorf("parseCloudInit(%q, %d) = %+v", out, status, s)
		}
		if s.Status == "error" && len(s.Errors) == 0 {
			t.Errorf("parseCloudInit(%q, %d) = %+v, want the error", out, status, s)
		}
	})
}

// FuzzLastLines checks that the lines kept of a program's output are few and short,
// however it is written.
func FuzzLastLines(f *testing.F) {
	f.Add("a\nb\r\nc", "x\n", 1)
	f.Add(strings.Repeat("é", maxLineLen), strings.Repeat("\n", 100), 7)
	f.Fuzz(func(t *testing.T, first, second string, part int) {
		part = 1 + max(part, -part-1)%4096
		var kept lastLines
		var passed, errs strings.Builder
		out, errOut := kept.tee(&passed, nil), kept.tee(&errs, nil)
		var lines []string
		w := &lineWriter{line: func(line string) { lines = append(lines, line) }}
		one, two := first, second
		for one != "" || two != "" {
			n, m := min(part, len(one)), min(part, len(two))
			_, _ = out.Write([]byte(one[:n]))
			_, _ = errOut.Write([]byte(two[:m]))
			_, _ = w.Write([]byte(one[:n]))
			one, two = one[n:], two[m:]
		}
		w.end()
		if passed.String() != first || errs.String() != second {
			t.Error("the output was changed on its way")
		}
		const ellipsis = len("…")
		for _, line := range append(kept.masked(nil), lines...) {
			if len(line) > maxLineLen+ellipsis || strings.Contains(line, "\n") || utf8.ValidString(first+second) && !utf8.ValidString(line) && len(line) > maxLineLen {
				t.Errorf("line of %d bytes: %q", len(line), line)
			}
		}
		if n := len(kept.lines); n > maxLines {
			t.Errorf("kept %d lines", n)
		}
	})
}
