package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A row is a line of a benchmark.
type row struct {
	Name   string
	Values []value
}

type value struct {
	Unit  string
	Value float64
}

// errSkipped is returned if no benchmark ran, since what it needs is not installed.
var errSkipped = errors.New("no benchmark ran: install what docs/benchmarks.md names")

// parse returns the lines of benchmarks in what go test printed.
func parse(printed string) ([]row, error) {
	var rows []row
	for line := range strings.Lines(printed) {
		f := strings.Fields(line)
		if len(f) < 4 || len(f)%2 != 0 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		r := row{Name: processors.ReplaceAllString(strings.TrimPrefix(f[0], "Benchmark"), "")}
		for i := 2; i < len(f); i += 2 {
			v, err := strconv.ParseFloat(f[i], 64)
			if err != nil {
				return nil, fmt.Errorf("line %q: %w", line, err)
			}
			switch unit := f[i+1]; {
			case unit != "ns/op":
				r.Values = append(r.Values, value{unit, v})
			case v > 0:
				r.Values = append(r.Values, value{"s", v / 1e9})
			}
		}
		rows = append(rows, r)
	}
	if len(rows) == 0 {
		return nil, errSkipped
	}
	return rows, nil
}

// medians returns one row of each name, with the medians of those in rows.
func medians(rows []row) []row {
	var merged []row
	took := map[string]map[string][]float64{} // by name and unit
	for _, r := range rows {
		if took[r.Name] == nil {
			took[r.Name] = map[string][]float64{}
			merged = append(merged, r)
		}
		for _, v := range r.Values {
			took[r.Name][v.Unit] = append(took[r.Name][v.Unit], v.Value)
		}
	}
	for _, r := range merged {
		for i, v := range r.Values {
			values := slices.Sorted(slices.Values(took[r.Name][v.Unit]))
			r.Values[i].Value = values[len(values)/2]
		}
	}
	return merged
}

// processors is what the name of a benchmark ends with.
var processors = regexp.MustCompile(`-\d+$`)

// markdown returns the tables.
func (r Report) markdown() string {
	sections := make([]string, len(r.Tables))
	for i, t := range r.Tables {
		sections[i] = t.markdown(r)
	}
	return strings.Join(sections, "\n")
}

// markdown returns the table under a heading, with how it was made.
func (t result) markdown(r Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s\n\n%s.\n%s; medians of %d runs, %s.\n\n", t.Name, strings.ToUpper(t.About[:1])+t.About[1:], r.Machine, t.Runs, t.Took)
	var units []string
	for _, row := range t.Rows {
		for _, v := range row.Values {
			if !slices.Contains(units, v.Unit) {
				units = append(units, v.Unit)
			}
		}
	}
	slices.SortStableFunc(units, func(a, b string) int { return strings.Count(a, "/own") - strings.Count(b, "/own") })
	fmt.Fprintf(&b, "| | %s |\n|---|%s\n", strings.Join(units, " | "), strings.Repeat("---|", len(units)))
	for _, row := range t.Rows {
		cells := make([]string, len(units))
		for _, v := range row.Values {
			cells[slices.Index(units, v.Unit)] = strconv.FormatFloat(v.Value, 'g', 4, 64)
		}
		fmt.Fprintf(&b, "| %s | %s |\n", row.Name, strings.Join(cells, " | "))
	}
	return b.String()
}

// replaceTables replaces those tables of a page that the report has, and keeps the others.
func replaceTables(page string, report Report) error {
	const begin, end = "<!-- tables:begin -->\n", "<!-- tables:end -->\n"
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(text), begin)
	old, after, found := strings.Cut(rest, end)
	if !ok || !found {
		return fmt.Errorf("%s lacks the marks %q and %q", page, begin, end)
	}
	sections := map[string]string{}
	for section := range strings.SplitSeq("\n"+old, "\n### ") {
		name, _, _ := strings.Cut(section, "\n")
		sections[name] = "### " + strings.TrimSuffix(section, "\n") + "\n"
	}
	for _, t := range report.Tables {
		sections[t.Name] = t.markdown(report)
	}
	var all []string
	for _, t := range tables() {
		if section, ok := sections[t.Name]; ok {
			all = append(all, section)
		}
	}
	return os.WriteFile(page, []byte(before+begin+strings.Join(all, "\n")+end+after), 0o644)
}
