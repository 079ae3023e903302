package provision_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/provision"
)

// fakeProgram writes a shell script under each of names to a directory and returns
// the path of the first.
func fakeProgram(t *testing.T, script string, names ...string) (path string) {
	t.Helper()
	needShell(t)
	dir := t.TempDir()
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, names[0])
}

// needSSH puts a fake ssh in PATH, which Ansible.ValidateHost requires.
func needSSH(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("Ansible does not run on Windows")
	}
	t.Setenv("PATH", filepath.Dir(fakeProgram(t, "exit 0", "ssh"))+string(filepath.ListSeparator)+os.Getenv("PATH"))
}

// A fake ansible-playbook records its arguments, environment and files.
func TestAnsibleFilesAndArguments(t *testing.T) {
	needSSH(t)
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	t.Setenv("ANSIBLE_HOST_KEY_CHECKING", "False")
	t.Setenv("ANSIBLE_CALLBACK_PLUGINS", "/of/the/user")
	seen := filepath.Join(t.TempDir(), "seen")
	program := fakeProgram(t, `{
echo "args $*"
pwd
env | grep -E '^(ANSIBLE|MINE|SSH_ASKPASS)' | sort
dir=${BAKESTONE_ANSIBLE_RESULTS%/*}
cd "$dir" && ls -lnR | sed -n 's/^\([-drwx]*\) .* \([^ ]*\)$/\1 \2/p'
ls -ldn . | cut -c1-10
for f in inventory.yml vars.yml ssh_config known_hosts key ssh vault; do echo "== $f"; cat $f; done
} >`+seen+`
echo '{"hosts": ["oven"]}' >>"$BAKESTONE_ANSIBLE_RESULTS"`, "ansible-playbook")
	m := baketest.NewMachine(&baketest.MachineOptions{SSH: &bake.SSHAccess{
		Host: "127.0.0.1", Port: 2200, User: "baker", KnownHosts: "[127.0.0.1]:2200 ssh-ed25519 AAAA\n",
		Key: bake.NewSecret("-----BEGIN KEY-----\n"), SudoPassword: bake.NewSecret("sesame {{ x }}"), Mark: "MARK=abc",
	}})
	a := provision.Ansible{
		Program: program, Dir: files(t, map[string]string{"a.yml": "", "ansible.cfg": ""}), Playbooks: []string{"a.yml"},
		Host: "oven", Groups: []string{"web", "db", "web"}, HostVars: map[string]any{"n": 1}, Become: true,
		Vars: map[string]any{"list": []string{"<a>"}, "token": "lost"}, SecretVars: bake.Secrets(map[string]string{"token": "a\"b"}),
		VaultPassword: bake.NewSecret("vaulted"), Tags: []string{"x", "y"}, SkipTags: []string{"z"}, Args: []string{"--diff"},
		Env: map[string]string{"ANSIBLE_PIPELINING": "False", "ANSIBLE_HOST_KEY_CHECKING": "False"}, Secrets: bake.Secrets(map[string]string{"MINE": "hidden"}),
	}
	if err := a.Provision(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(seen)
	if err != nil {
		t.Fatal(err)
	}
	got := string(text)
	for _, want := range []string{
		"/vars.yml --vault-password-file ", " --tags x,y --skip-tags z --diff ./a.yml\n",
		"ANSIBLE_HOST_KEY_CHECKING=True\n", "ANSIBLE_PIPELINING=False\n", ":/of/the/user\n", "ANSIBLE_CONFIG=" + a.Dir + "/ansible.cfg\n", "MINE=hidden\n",
		"drwx------\n", "-rw------- inventory.yml\n", "-rw------- key\n", "-rw------- vars.yml\n", "-rw------- vault\n", "-rw------- known_hosts\n", "-rwx------ ssh\n",
		"\"ansible_become_password\": !unsafe \"sesame {{ x }}\"\n", "\"ansible_become\": true\n", "\"ansible_port\": 2200\n", "\"n\": 1\n",
		"    \"db\": {hosts: {\"oven\": {}}}\n    \"web\": {hosts: {\"oven\": {}}}\n",
		"\"token\": !unsafe \"a\\\"b\"\n", "StrictHostKeyChecking yes\n", "IdentityAgent none\nIdentitiesOnly yes\n", "env MARK=abc $arg", "== vault\nvaulted\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing from arguments, environment and files:\n%s", want, got)
		}
	}
	if strings.Contains(got, "lost") || strings.Contains(strings.SplitN(got, "\n", 2)[0], "a\"b") {
		t.Errorf("variable overridden by SecretVars, or on the command line:\n%s", got)
	}
	nothingOnHost(t, tmp)
}

func TestAnsibleWithoutSSH(t *testing.T) {
	needSSH(t)
	a := provision.Ansible{Program: fakeProgram(t, "exit 0", "ansible-playbook"), Dir: files(t, map[string]string{"a.yml": ""}), Playbooks: []string{"a.yml"}}
	if err := a.Provision(t.Context(), baketest.NewMachine(nil)); !errors.Is(err, bake.ErrNoSSH) {
		t.Errorf("Provision() = %v, want %v", err, bake.ErrNoSSH)
	}
}

func TestAnsibleValidate(t *testing.T) {
	needSSH(t)
	program := fakeProgram(t, "exit 0", "ansible-playbook", "ansible-galaxy")
	dir := files(t, map[string]string{"a.yml": "", "r.yml": ""})
	good := provision.Ansible{Program: program, Dir: dir, Playbooks: []string{"a.yml"}, Requirements: []string{"r.yml"}}
	for name, test := range map[string]struct {
		change func(a *provision.Ansible)
		want   []string
	}{
		"good":    {func(*provision.Ansible) {}, nil},
		"nothing": {func(a *provision.Ansible) { *a = provision.Ansible{Program: program} }, []string{"Ansible.Dir: is required", "Ansible.Playbooks: is required"}},
		"no Dir":  {func(a *provision.Ansible) { a.Dir += "/missing" }, []string{"Ansible.Dir: ", "Ansible.Playbooks: ", "missing/a.yml"}},
		"a file":  {func(a *provision.Ansible) { a.Playbooks[0] = "b.yml" }, []string{"Ansible.Playbooks: stat "}},
		"above":   {func(a *provision.Ansible) { a.Playbooks[0] = "../a.yml" }, []string{`Ansible.Playbooks: "../a.yml" is not a relative path below`}},
		"in FS":   {func(a *provision.Ansible) { a.FS, a.Dir = fstest.MapFS{"x.yml": {}}, "" }, []string{"Ansible.Playbooks: ", "Ansible.Requirements: "}},
		"roles":   {func(a *provision.Ansible) { a.Requirements = []string{"b.yml"} }, []string{"Ansible.Requirements: stat "}},
		"names": {func(a *provision.Ansible) {
			a.Host, a.Groups, a.SecretVars = "a:b", []string{"a b"}, bake.Secrets(map[string]string{"a-b": "x"})
		}, []string{`Ansible.Host: invalid inventory host name "a:b"`, `Ansible.Groups: invalid group name "a b"`, `Ansible.SecretVars: invalid variable name "a-b"`}},
		"vars": {func(a *provision.Ansible) {
			a.HostVars, a.Vars = []int{1}, map[string]any{"x": bake.NewSecret("y")}
		}, []string{"Ansible.HostVars: []int marshals to [1]", `Ansible.Vars["x"]: contains [redacted], the printed form of a bake.Secret`}},
		"no JSON":   {func(a *provision.Ansible) { a.Vars = map[string]any{"x": func() {}} }, []string{"Ansible.Vars: json: unsupported type"}},
		"vaults":    {func(a *provision.Ansible) { a.VaultPasswordFile, a.VaultPassword = "v", bake.NewSecret("v") }, []string{"Ansible: at most one of VaultPassword"}},
		"vault":     {func(a *provision.Ansible) { a.VaultPasswordFile = "v" }, []string{"Ansible.VaultPasswordFile: "}},
		"asking":    {func(a *provision.Ansible) { a.Args = []string{"-K"} }, []string{"Ansible.Args: -K: interactive prompts"}},
		"NUL":       {func(a *provision.Ansible) { a.Args = []string{"\x00"} }, []string{"Ansible.Args: contains a NUL"}},
		"env":       {func(a *provision.Ansible) { a.Env = map[string]string{"a b": ""} }, []string{"Ansible.Env: "}},
		"a pattern": {func(a *provision.Ansible) { a.Exclude = []string{"["} }, []string{"Ansible.Dir: "}},
	} {
		t.Run(name, func(t *testing.T) {
			a := good
			a.Playbooks = append([]string{}, good.Playbooks...)
			test.change(&a)
			invalid(t, a, test.want)
		})
	}
}

// Only a bake requires the programs that run on the baking host, before it creates
// anything. A definition can be validated without them.
func TestProgramsOnHost(t *testing.T) {
	dir := files(t, map[string]string{"a.yml": "", "r.yml": ""})
	ansible := provision.Ansible{Dir: dir, Playbooks: []string{"a.yml"}}
	onlyPlaybook := ansible
	onlyPlaybook.Program, onlyPlaybook.Requirements = fakeProgram(t, "exit 0", "ansible-playbook"), []string{"r.yml"}
	elsewhere := ansible
	elsewhere.Program = "/no/such/ansible-playbook"
	t.Setenv("PATH", t.TempDir())
	const install = "install ansible-core on the baking host or set Program to its ansible-playbook, or use AnsibleLocal"
	for name, test := range map[string]struct {
		p    bake.Provisioner
		want []string
	}{
		"Ansible":        {ansible, []string{`Ansible.Program: exec: "ansible-playbook": executable file not found in $PATH: ` + install}},
		"other place":    {elsewhere, []string{"Ansible.Program: ", install}},
		"Galaxy":         {onlyPlaybook, []string{"Ansible.Program: ", "ansible-galaxy", install}},
		"OpenSSH":        {provision.Ansible{Program: onlyPlaybook.Program, Dir: dir, Playbooks: []string{"a.yml"}}, []string{`Ansible: exec: "ssh": `, "install OpenSSH's client"}},
		"Local":          {provision.Local{Args: []string{"packer", "build"}}, []string{`Local.Args: exec: "packer": executable file not found in $PATH: install it on the baking host`}},
		"wrapped":        {provision.Retry{Provisioner: provision.Timeout{Provisioner: ansible, After: time.Hour}}, []string{"Ansible.Program: "}},
		"sequence":       {provision.Sequence{provision.Shell("true"), ansible}, []string{"Sequence[1]: Ansible.Program: "}},
		"on the machine": {provision.AnsibleLocal{Ansible: ansible}, nil},
		"built before":   {provision.Local{Args: []string{"./built"}}, nil},
		"shell":          {provision.Local{Command: "packer build"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			img := &bake.Image{Name: "x", Builder: baketest.NewBuilder(nil), Provisioners: []bake.Provisioner{test.p}}
			if err := bake.Validate(nil, img); err != nil {
				t.Errorf("Validate() = %v, want nil", err)
			}
			v, ok := bake.As[bake.HostValidator](test.p)
			if !ok {
				t.Fatalf("%T is not a bake.HostValidator", test.p)
			}
			if test.want == nil {
				if err := v.ValidateHost(); err != nil {
					t.Errorf("ValidateHost() = %v, want nil", err)
				}
				return
			}
			results, err := bake.Bake(t.Context(), nil, img)
			if err == nil || results != nil {
				t.Fatalf("Bake() = %v, %v, want an error before anything is created", results, err)
			}
			for _, part := range append(test.want, "image x: provision 1: ") {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("Bake() = %v, want %q in it", err, part)
				}
			}
			part := strings.TrimPrefix(test.want[0], "Sequence[1]: ")
			m := baketest.NewMachine(&baketest.MachineOptions{AnyCommand: true})
			if err := test.p.Provision(t.Context(), m); err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("Provision() = %v, want %q", err, part)
			}
		})
	}
}

// Excluded files do not change the inputs; every parameter does.
func TestAnsibleInputs(t *testing.T) {
	tree := func(more string) fstest.MapFS {
		return fstest.MapFS{"a.yml": {Data: []byte("x")}, "roles/r/tasks/main.yml": {Data: []byte(more)}, ".git/HEAD": {Data: []byte(more)}}
	}
	base := provision.Ansible{FS: tree("1"), Playbooks: []string{"a.yml"}, Exclude: []string{".git", "roles"}}
	sum := func(p bake.Provisioner) string {
		t.Helper()
		in, err := bake.InputsOf(p)
		if err != nil {
			t.Fatal(err)
		}
		return in.Sum()
	}
	excluded := base
	excluded.FS = tree("2")
	if sum(base) != sum(excluded) {
		t.Error("excluded files change the inputs")
	}
	known := map[string]string{sum(base): "nothing"}
	for name, change := range map[string]func(a *provision.Ansible){
		"a file":  func(a *provision.Ansible) { a.Exclude = nil },
		"Host":    func(a *provision.Ansible) { a.Host = "x" },
		"Groups":  func(a *provision.Ansible) { a.Groups = []string{"x"} },
		"Vars":    func(a *provision.Ansible) { a.Vars = map[string]int{"x": 1} },
		"host":    func(a *provision.Ansible) { a.HostVars = map[string]int{"x": 1} },
		"secrets": func(a *provision.Ansible) { a.SecretVars = bake.Secrets(map[string]string{"x": "1"}) },
		"another": func(a *provision.Ansible) { a.SecretVars = bake.Secrets(map[string]string{"x": "2"}) },
		"Become":  func(a *provision.Ansible) { a.Become = true },
		"Tags":    func(a *provision.Ansible) { a.Tags = []string{"x"} },
		"skipped": func(a *provision.Ansible) { a.SkipTags = []string{"x"} },
		"vault":   func(a *provision.Ansible) { a.VaultPassword = bake.NewSecret("x") },
		"Args":    func(a *provision.Ansible) { a.Args = []string{"x"} },
		"Env":     func(a *provision.Ansible) { a.Env = map[string]string{"x": "1"} },
	} {
		a := base
		change(&a)
		got := sum(a)
		if same := known[got]; same != "" {
			t.Errorf("changing %s gives the same inputs as changing %s", name, same)
		}
		known[got] = name
	}
	in, err := bake.InputsOf(provision.Ansible{FS: tree("1"), SecretVars: bake.Secrets(map[string]string{"x": "hidden"})})
	if err != nil || bytes.Contains([]byte(in.String()), []byte("hidden")) {
		t.Errorf("InputsOf() = %v, %v, want no secret", in, err)
	}
}
