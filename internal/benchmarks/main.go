// Command benchmarks runs the tables of docs/benchmarks.md, beside the programs that it
// compares with, and writes them as Markdown and JSON:
//
//	go run ./internal/benchmarks -write                   # all, for the page; takes hours
//	go run ./internal/benchmarks -run '^bake' -runs 3     # some of them, to the terminal
//
// Each table is a benchmark of this repository that runs Bakestone and the other programs
// in turn, so that a busy moment of the machine meets all of them. Programs that are not
// installed are left out.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strings"
	"time"
)

// A table is made from benchmarks.
type table struct {
	Name  string
	About string
	pkg   string
	bench []string // patterns, each of them for a process of its own
	once  bool     // each run needs a process of its own
}

func tables() []table {
	transfer := func(name, about, data string) table {
		return table{Name: name, About: about, pkg: "./bake/sshmachine", bench: []string{"Transfer/^" + data + "$"}}
	}
	load := func(sizes ...int) (patterns []string) {
		for _, size := range sizes {
			patterns = append(patterns, fmt.Sprintf("Load/client/^%d$", size))
		}
		return patterns
	}
	return []table{
		{Name: "bake", About: "AMIs with one script and one file on moto and one sshd, with Packer; states take no time, or as long as on EC2", pkg: "./ec2", bench: []string{"BakeBesidePacker"}},
		{Name: "login", About: "a login and one command", pkg: "./bake/sshmachine", bench: []string{"Login"}},
		transfer("files-1MiB", "200 files of 1 MiB", "200x1MiB"),
		transfer("file-1GiB", "one file of 1 GiB", "1GiB"),
		transfer("files-1k", "1,000 files of 1 to 8 KiB", "1000small"),
		transfer("files-10k", "10,000 files of 1 to 8 KiB", "10000small"),
		transfer("files-100k", "100,000 files of 1 to 8 KiB", "100000small"),
		{Name: "images", About: "images baked at once, each number in a process of its own, with the embedded EC2 in another", pkg: "./ec2", bench: load(1, 10, 100, 1000), once: true},
		{Name: "qemu", About: "an image of a small guest with QEMU's emulation, with Packer", pkg: "./qemu", bench: []string{"BesidePacker"}},
		{Name: "definition", About: "go test of a definition with an empty build cache, and once more", pkg: "./internal/benchmarks", bench: []string{"ColdTest"}},
	}
}

// A Report is what the command writes.
type Report struct {
	Machine machine
	Tables  []result
}

type result struct {
	table

	Rows []row
	Runs int
	Took string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchmarks:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("benchmarks", flag.ContinueOnError)
	which := flags.String("run", "", "make only tables whose names match `regexp`")
	runs := flags.Int("runs", 5, "repeat each comparison `n` times, for the medians")
	asJSON := flags.String("json", "", "write the report to `file` as JSON")
	write := flags.Bool("write", false, "replace these tables in docs/benchmarks.md")
	if err := flags.Parse(args); err != nil {
		return err
	}
	wanted, err := regexp.Compile(*which)
	if err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	report := Report{Machine: look(ctx)}
	for _, t := range tables() {
		if !wanted.MatchString(t.Name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "%s: %s\n", t.Name, t.About)
		began := time.Now()
		rows, err := t.measure(ctx, *runs)
		if err != nil {
			return fmt.Errorf("table %s: %w", t.Name, err)
		}
		report.Tables = append(report.Tables, result{t, rows, *runs, time.Since(began).Round(time.Second).String()})
		if *write { // now, or tables that took an hour are lost with the next one
			if err := replaceTables("docs/benchmarks.md", report); err != nil {
				return err
			}
		}
	}
	if len(report.Tables) == 0 {
		return fmt.Errorf("-run %q matches no table", *which)
	}
	if *asJSON != "" {
		text, err := json.MarshalIndent(report, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(*asJSON, append(text, '\n'), 0o644); err != nil {
			return err
		}
	}
	if *write {
		return nil
	}
	_, err = io.WriteString(out, report.markdown())
	return err
}

// measure runs the benchmarks of a table.
func (t table) measure(ctx context.Context, runs int) ([]row, error) {
	processes, repeats := 1, runs
	if t.once {
		processes, repeats = runs, 1
	}
	var rows []row
	for _, pattern := range t.bench {
		var found []row
		for range processes {
			cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", pattern, "-benchtime", fmt.Sprint(repeats, "x"), "-timeout", "5h", t.pkg)
			cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
			var printed strings.Builder
			cmd.Stdout, cmd.Stderr = &printed, &printed
			if err := cmd.Run(); err != nil {
				return nil, fmt.Errorf("%q: %w\n%s", cmd.Args, err, printed.String())
			}
			more, err := parse(printed.String())
			if err != nil {
				return nil, fmt.Errorf("%q: %w", cmd.Args, err)
			}
			found = append(found, more...)
		}
		rows = append(rows, medians(found)...)
	}
	return rows, nil
}
