package sshmachine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// A variant is a value of one dimension of the matrix of machines.
type variant struct {
	name    string
	setup   string   // prepares the machine, as root
	config  []string // lines of sshd_config
	noSFTP  bool
	connect string // part of Connect's error; empty if it connects
	sudo    string // part of the error of methods with Sudo set; empty if they work
	ask     bool   // sudo asks for the password
	noPTY   bool
}

// shellVariant returns a machine with a login shell.
func shellVariant(name, path string) variant {
	return variant{name: name, setup: "usermod -s " + path + " baker"}
}

// matrixDimensions returns the variants of login shells, sudo rules, sshd's settings and
// missing tools that Connect accepts.
func matrixDimensions() [][]variant {
	rule := func(lines ...string) string {
		return "cat >/etc/sudoers.d/baker <<'END'\n" + strings.Join(lines, "\n") + "\nEND"
	}
	const all, asked = "baker ALL=(ALL) NOPASSWD: ALL", "baker ALL=(ALL) ALL"
	without := func(tools ...string) variant {
		return variant{name: "no " + tools[0], setup: "cd /usr/bin; rm " + strings.Join(tools, " ")}
	}
	return [][]variant{
		{
			shellVariant("bash", "/bin/bash"), shellVariant("dash", "/bin/dash"), shellVariant("zsh", "/bin/zsh"),
			shellVariant("fish", "/usr/bin/fish"), shellVariant("tcsh", "/bin/tcsh"),
			{name: "busybox sh", setup: "mkdir /opt/login; ln -s /bin/busybox /opt/login/sh; usermod -s /opt/login/sh baker"},
		},
		{
			{name: "all"},
			{name: "password", setup: rule(asked), ask: true},
			{name: "requiretty", setup: rule(all, "Defaults requiretty")},
			{name: "some commands", setup: rule("baker ALL=(ALL) NOPASSWD: /usr/bin/apt-get update"), sudo: "/usr/bin/apt-get update"},
			{name: "no sudo", setup: "rm /usr/bin/sudo", sudo: "sudo not found"},
			{name: "secure_path", setup: rule(all, "Defaults secure_path=/opt/none")},
			{name: "noisy", ask: true, setup: rule(asked, "Defaults lecture=always") + `
echo '127.0.0.1 localhost' >/etc/hosts
cat >/usr/local/bin/sudo <<'END'
#!/bin/sh
echo Welcome to sudo
echo 'sudo: unable to resolve host oven: Name or service not known' >&2
exec /usr/bin/sudo "$@"
END
chmod 755 /usr/local/bin/sudo`},
		},
		{
			{name: "plain"},
			{name: "MaxSessions 1", config: []string{"MaxSessions 1"}},
			{name: "no SFTP", noSFTP: true},
			{name: "PermitTTY no", config: []string{"PermitTTY no"}, noPTY: true},
			{name: "AcceptEnv", config: []string{"AcceptEnv *"}},
			{name: "user's environment", config: []string{"PermitUserEnvironment yes"}, setup: `mkdir -p /home/baker/.ssh
cat >/home/baker/.ssh/environment <<'END'
TAR_OPTIONS=--exclude=*
GZIP=-v
POSIXLY_CORRECT=1
IFS=/
CDPATH=/
ENV=/opt/missing
BASH_ENV=/opt/missing
LC_ALL=xx_XX
SHELLOPTS=xtrace:noglob
OPENSSL_CONF=/opt/missing
TMPDIR=/opt/missing
END`},
		},
		{
			{name: "all tools"},
			without("tar"), without("mktemp"), without("base64"), without("sha256sum", "openssl"), without("xargs"),
			{name: "BusyBox only", setup: `cp /usr/bin/busybox /opt/busybox
for tool in $(/opt/busybox --list); do
case $tool in su | login | passwd | busybox | bash | reboot | shutdown) ;; *) /opt/busybox ln -sf /opt/busybox "/usr/bin/$tool"; /opt/busybox rm -f "/usr/sbin/$tool" ;; esac
done
/opt/busybox rm -f /usr/bin/openssl /usr/bin/perl /usr/bin/python3`},
			{name: "broken PATH", config: []string{"SetEnv PATH=/opt/none"}},
		},
	}
}

// deadEnds returns the variants that Connect refuses, by dimension.
func deadEnds() map[int]variant {
	return map[int]variant{
		0: {name: "rbash", setup: "usermod -s /bin/rbash baker", connect: "restricted"},
		2: {name: "internal-sftp", config: []string{"ForceCommand internal-sftp"}, connect: "sftp connections only"},
	}
}

// pairwise returns index tuples that contain every pair of values of any two of the
// dimensions with the given sizes. It is greedy and deterministic.
func pairwise(sizes ...int) [][]int {
	type pair struct{ i, a, j, b int }
	open := map[pair]bool{}
	var order []pair
	for i := range sizes {
		for j := i + 1; j < len(sizes); j++ {
			for a := range sizes[i] {
				for b := range sizes[j] {
					order = append(order, pair{i, a, j, b})
					open[pair{i, a, j, b}] = true
				}
			}
		}
	}
	gain := func(row []int, d, value int) (n int) {
		for i, a := range row {
			if a >= 0 && (i < d && open[pair{i, a, d, value}] || i > d && open[pair{d, value, i, a}]) {
				n++
			}
		}
		return n
	}
	var rows [][]int
	for _, first := range order {
		if !open[first] {
			continue
		}
		row := slices.Repeat([]int{-1}, len(sizes))
		row[first.i], row[first.j] = first.a, first.b
		for d, size := range sizes {
			if row[d] >= 0 {
				continue
			}
			start, best := len(rows)%size, -1 // spreads values that gain nothing
			for k := range size {
				if value := (start + k) % size; best < 0 || gain(row, d, value) > gain(row, d, best) {
					best = value
				}
			}
			row[d] = best
		}
		for i, a := range row {
			for j := i + 1; j < len(row); j++ {
				delete(open, pair{i, a, j, row[j]})
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// product returns all index tuples.
func product(sizes ...int) [][]int {
	rows := [][]int{nil}
	for _, size := range sizes {
		var longer [][]int
		for _, row := range rows {
			for value := range size {
				longer = append(longer, append(slices.Clone(row), value))
			}
		}
		rows = longer
	}
	return rows
}

func TestPairwise(t *testing.T) {
	for _, sizes := range [][]int{{2, 2}, {3, 2, 4}, {6, 7, 6, 8}, {1, 5, 1}, {7, 7, 7, 7, 7}} {
		rows := pairwise(sizes...)
		covered := map[[4]int]bool{}
		for _, row := range rows {
			for i, a := range row {
				for j := i + 1; j < len(row); j++ {
					covered[[4]int{i, a, j, row[j]}] = true
				}
			}
		}
		want := 0
		for i, a := range sizes {
			for _, b := range sizes[i+1:] {
				want += a * b
			}
		}
		if len(covered) != want || len(rows) > len(product(sizes...)) {
			t.Errorf("pairwise(%v) covers %d of %d pairs in %d rows", sizes, len(covered), want, len(rows))
		}
	}
}

// longTests is the environment variable that makes tests try everything rather than a
// selection.
const longTests = "BAKESTONE_LONG"

// matrixCells returns the machines to try: every pair of variants of two dimensions, or
// all combinations if BAKESTONE_LONG is set, and each dead end with every variant of
// the other dimensions.
func matrixCells() [][]variant {
	dimensions := matrixDimensions()
	var sizes []int
	for _, values := range dimensions {
		sizes = append(sizes, len(values))
	}
	rows := pairwise(sizes...)
	if os.Getenv(longTests) != "" {
		rows = product(sizes...)
	}
	var cells [][]variant
	cell := func(row []int) []variant {
		var c []variant
		for d, value := range row {
			c = append(c, dimensions[d][value%sizes[d]])
		}
		return c
	}
	for _, row := range rows {
		cells = append(cells, cell(row))
	}
	ends := deadEnds()
	for _, d := range slices.Sorted(maps.Keys(ends)) {
		for i := range slices.Max(sizes) {
			c := cell([]int{i, i, i, i})
			c[d] = ends[d]
			cells = append(cells, c)
		}
	}
	return cells
}

// TestMatrix tries every method on Debian machines of many kinds. Each works, or Connect
// or, for methods with Sudo set, the method fails with an error that names the cause.
func TestMatrix(t *testing.T) {
	testenv.Need(t, "guestshells")
	for _, cell := range matrixCells() {
		var names []string
		opts := &testenv.GuestOptions{Setup: matrixSetup}
		var whole variant
		for _, v := range cell {
			names = append(names, v.name)
			if v.setup != "" {
				opts.Setup += v.setup + "\ncd /\n"
			}
			opts.Config = append(opts.Config, v.config...)
			opts.NoSFTP = opts.NoSFTP || v.noSFTP
			whole.connect = max(whole.connect, v.connect)
			whole.sudo = max(whole.sudo, v.sudo)
			whole.ask = whole.ask || v.ask
			whole.noPTY = whole.noPTY || v.noPTY
		}
		t.Run(strings.Join(names, "+"), func(t *testing.T) {
			t.Parallel()
			server := testenv.Guest(t, opts)
			cfg := sshdConfig(server)
			cfg.ConnectTimeout = time.Minute
			if whole.ask {
				cfg.SudoPassword = bake.NewSecret(testenv.GuestPassword)
			}
			if whole.connect != "" {
				cfg.AuthGrace = 200 * time.Millisecond
				checkConnectFails(t, cfg, whole.connect)
				return
			}
			m := connect(t, cfg)
			c := &matrixCell{Machine: m, root: strings.TrimSuffix(server.Dir, "/etc/bakestone-test"), want: whole}
			c.checkCommands(t)
			for _, sudo := range []bool{false, true} {
				c.checkFiles(t, sudo)
				c.checkTrees(t, sudo)
			}
			c.checkCancel(t)
			c.checkReboot(t)
		})
	}
}

// matrixSetup provides a command that appears to reboot the machine: it changes the boot
// id and ends the login's sessions.
const matrixSetup = `mkdir -p /opt/none
install -d -o baker /opt/work
cat >/usr/sbin/reboot <<'END'
#!/bin/sh
PATH=/usr/bin:/bin
echo "$$-rebooted" >/run/boot
mount -o bind /run/boot /proc/sys/kernel/random/boot_id
kill -9 $(grep -l '^sshd: baker' /proc/[0-9]*/cmdline | sed 's|/proc/||; s|/.*||')
END
chmod 755 /usr/sbin/reboot
ln -sf reboot /usr/sbin/shutdown
cd /
`

func checkConnectFails(t *testing.T, cfg *sshmachine.Config, want string) {
	t.Helper()
	m, err := sshmachine.Connect(t.Context(), cfg)
	if err == nil {
		_ = m.Close()
	}
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Connect = %v, want an error with %q", err, want)
	}
}

// A matrixCell is a machine of the matrix.
type matrixCell struct {
	*sshmachine.Machine

	root string // of what the machine has written
	want variant
}

// failed checks the error of a method. It reports whether the method failed as expected.
func (c *matrixCell) failed(t *testing.T, call string, sudo bool, err error) bool {
	t.Helper()
	switch {
	case sudo && c.want.sudo != "":
		if err == nil || !strings.Contains(err.Error(), c.want.sudo) {
			t.Errorf("%s with sudo = %v, want an error with %q", call, err, c.want.sudo)
		}
		return true
	case err != nil:
		t.Errorf("%s (sudo %v) = %v", call, sudo, err)
		return true
	}
	return false
}

// oddText is what shells treat differently.
const oddText = `it's \' ! $HOME "q" %s \`

// checkCommands uses only what the shell has built in, since PATH may be broken.
func (c *matrixCell) checkCommands(t *testing.T) {
	t.Helper()
	facts, err := c.Facts(t.Context())
	if err != nil || facts.OS != "linux" || facts.User != "baker" || facts.UID == 0 || facts.Home != "/home/baker" || facts.Distro != "debian" || facts.BootID == "" {
		t.Errorf("Facts = %+v, %v", facts, err)
	}
	for _, sudo := range []bool{false, true} {
		var stdout, stderr bytes.Buffer
		err := c.Run(t.Context(), &bake.Cmd{
			Line: `IFS= read -r l; echo "$A|$B|$l"; echo err >&2; exit 7`, Sudo: sudo, Stdin: strings.NewReader(oddText + "\n"), Stdout: &stdout, Stderr: &stderr,
			Env: map[string]string{"A": oddText}, Secrets: bake.Secrets(map[string]string{"B": oddText}),
		})
		want := strings.Join([]string{oddText, oddText, oddText}, "|") + "\n"
		if exit, ok := errors.AsType[*bake.ExitError](err); ok && exit.Status == 7 {
			if stdout.String() != want || stderr.String() != "err\n" {
				t.Errorf("Run (sudo %v) printed %q and %q, want %q and err", sudo, stdout.String(), stderr.String(), want)
			}
		} else if !c.failed(t, "Run", sudo, err) {
			t.Errorf("Run (sudo %v) = nil, want exit status 7", sudo)
		}
		out, err := bake.Output(t.Context(), c.Machine, &bake.Cmd{Args: []string{"/bin/echo", oddText}, Sudo: sudo})
		if !c.failed(t, "Output", sudo, err) && out != oddText {
			t.Errorf("Output (sudo %v) = %q, want %q", sudo, out, oddText)
		}
		stdout.Reset()
		err = c.Run(t.Context(), &bake.Cmd{
			Line: `test -t 0 && echo "$A"`, PTY: true, Sudo: sudo, Stdout: &stdout, Secrets: bake.Secrets(map[string]string{"A": oddText}),
		})
		switch {
		case c.want.noPTY && (!sudo || c.want.sudo == ""):
			if err == nil || !strings.Contains(err.Error(), "PTY") {
				t.Errorf("Run on a terminal (sudo %v) = %v, want an error with PTY", sudo, err)
			}
		case !c.failed(t, "Run on a terminal", sudo, err) && !strings.Contains(stdout.String(), oddText+"\n"):
			t.Errorf("Run on a terminal (sudo %v) printed %q, want %q", sudo, stdout.String(), oddText)
		}
	}
}

// written returns the content of a file that the machine has written.
func (c *matrixCell) written(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(c.root, name))
	if err != nil {
		t.Errorf("after Put: %v", err)
	}
	return string(content)
}

func (c *matrixCell) checkFiles(t *testing.T, sudo bool) {
	t.Helper()
	for name, content := range map[string]string{"it's \\": oddText, "big": strings.Repeat(oddText, 20_000)} {
		dest := fmt.Sprintf("/opt/work/%v/%s", sudo, name)
		err := c.Put(t.Context(), &bake.Upload{Dest: dest, Content: strings.NewReader(content), Mode: 0o640, Sudo: sudo})
		if c.failed(t, "Put", sudo, err) {
			return
		}
		if got := c.written(t, dest); got != content {
			t.Errorf("Put(%s) wrote %.100q, want %.100q", dest, got, content)
		}
		var back bytes.Buffer
		err = c.Get(t.Context(), &bake.Download{Source: dest, Content: &back, Sudo: sudo})
		if !c.failed(t, "Get", sudo, err) && back.String() != content {
			t.Errorf("Get(%s) = %.100q, want %.100q", dest, back.String(), content)
		}
	}
}

func (c *matrixCell) checkTrees(t *testing.T, sudo bool) {
	t.Helper()
	if sudo && c.want.sudo != "" {
		return // as in checkFiles
	}
	tree := fstest.MapFS{
		"a/b":     {Data: []byte("b"), Mode: 0o644},
		"it's \\": {Data: []byte("odd"), Mode: 0o600},
		"big":     {Data: bytes.Repeat([]byte("0123456789"), 30_000), Mode: 0o644},
		"empty":   {Mode: os.ModeDir | 0o755},
	}
	dest := fmt.Sprintf("/opt/work/%v/tree", sudo)
	puts := 1
	if sudo {
		puts = 2 // the second replaces the files
	}
	for range puts {
		if c.failed(t, "Put of a tree", sudo, c.Put(t.Context(), &bake.Upload{Dest: dest, FS: tree, Sudo: sudo})) {
			return
		}
	}
	for name, file := range tree {
		if !file.Mode.IsDir() && c.written(t, dest+"/"+name) != string(file.Data) {
			t.Errorf("Put of a tree wrote another %s", name)
		}
	}
	back := t.TempDir() + "/back"
	if c.failed(t, "Get of a tree", sudo, c.Get(t.Context(), &bake.Download{Source: dest, Path: back, Sudo: sudo})) {
		return
	}
	if got, want := listing(t, back), listing(t, filepath.Join(c.root, dest)); got != want {
		t.Errorf("Get of a tree (sudo %v) wrote\n%s\nwant\n%s", sudo, got, want)
	}
	checkNoLeftovers(t, filepath.Join(c.root, "opt/work"))
	for _, name := range []string{"tmp", "home/baker"} {
		if left, _ := filepath.Glob(filepath.Join(c.root, name, ".bakestone*")); len(left) > 0 {
			t.Errorf("temporary files left: %q", left)
		}
	}
}

func (c *matrixCell) checkCancel(t *testing.T) {
	t.Helper()
	seconds := someSeconds()
	sudo := c.want.sudo == ""
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	up := writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil })
	err := c.Run(ctx, &bake.Cmd{Line: "echo up; /bin/sleep " + seconds + "; echo", Sudo: sudo, Stdout: up})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("canceled Run (sudo %v) = %v, want Canceled", sudo, err)
	}
	checkNoProcess(t, seconds)
}

func (c *matrixCell) checkReboot(t *testing.T) {
	t.Helper()
	before, err := c.Facts(t.Context())
	must(t, err)
	if c.failed(t, "Reboot", true, c.Reboot(t.Context(), nil)) {
		return
	}
	after, err := c.Facts(t.Context())
	if err != nil || after.BootID == before.BootID || !strings.Contains(after.BootID, "rebooted") {
		t.Errorf("Facts after Reboot = %+v, %v, want another boot id than %s", after, err, before.BootID)
	}
}
