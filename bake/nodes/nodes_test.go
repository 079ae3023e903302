package nodes_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake/nodes"
)

type disk struct {
	Size int    `yaml:"size"`
	Kind string `yaml:"kind"`
}

type attrs struct {
	Group  string            `yaml:"group"`
	Size   string            `yaml:"size"`
	Disks  []disk            `yaml:"disks"`
	Labels map[string]string `yaml:"labels"`
	IP     netip.Addr        `yaml:"ip"`
	Every  time.Duration     `yaml:"every"`
	Common `yaml:",inline"`
}

type Common struct {
	Team string `yaml:"team"`
}

func (a *attrs) SetDefaults() { a.Size = "t3.small" }

func (a *attrs) Validate() error {
	var errs []error
	if a.Group == "" {
		errs = append(errs, errors.New("group is required"))
	}
	if strings.HasPrefix(a.Size, "x") {
		errs = append(errs, fmt.Errorf("size %s is not for us", a.Size))
	}
	return errors.Join(errs...)
}

func TestRead(t *testing.T) {
	const text = `# the fleet
web: &web
  group: front
  labels: {tier: "1"}
api:
  <<: *web
  size: m6i.large
  team: core
  every: 5m
"db.example":
  group: back
  disks:
    - size: 10
    - {size: 20, kind: gp3}
007: {group: back}
`
	got, err := nodes.Read[attrs](strings.NewReader(text), "nodes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	tier := map[string]string{"tier": "1"}
	want := []nodes.Node[attrs]{
		{Name: "web", File: "nodes.yaml", Line: 2, Attrs: attrs{Group: "front", Size: "t3.small", Labels: tier}},
		{Name: "api", File: "nodes.yaml", Line: 5, Attrs: attrs{
			Group: "front", Size: "m6i.large", Labels: tier, Every: 5 * time.Minute, Common: Common{"core"},
		}},
		{Name: "db.example", File: "nodes.yaml", Line: 10, Attrs: attrs{
			Group: "back", Size: "t3.small", Disks: []disk{{Size: 10}, {Size: 20, Kind: "gp3"}},
		}},
		{Name: "007", File: "nodes.yaml", Line: 15, Attrs: attrs{Group: "back", Size: "t3.small"}},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("Read (-want +got):\n%s", diff)
	}
}

func TestReadErrors(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"empty", "", "f: the list is empty"},
		{"only a comment", "# nothing\n", "f: the list is empty"},
		{"null", "---\n~\n", "f:2: the list is empty"},
		{"empty mapping", "{}", "f:1: the list is empty"},
		{"list", "- web\n", "f:1: invalid node list: want a mapping of names to attributes, got a list"},
		{"syntax", "web:\n  group: front\n size: [\n", "f:"},
		{"repeated node", "web: {group: a}\ndb: {group: b}\nweb: {group: c}\n", "f:3: node web: already defined at line 1"},
		{"repeated attribute", "web:\n  group: a\n  size: b\n  group: c\n", `f:4: node web: mapping key "group" already defined at line 2`},
		{"unknown attribute", "web:\n  group: a\n  grup: b\n", `f:3: node web: unknown attribute "grup"; known: group, size, disks, labels, ip, every, team`},
		{"unknown attribute inside", "web:\n  group: a\n  disks:\n    - sise: 1\n", `f:4: node web: unknown attribute "sise"; known: size, kind`},
		{"unknown attribute merged", "web:\n  group: a\n  <<: [{grup: b}]\n", `f:3: node web: unknown attribute "grup"; known: group, size, disks, labels, ip, every, team`},
		{"wrong type", "web:\n  group: a\n  disks:\n    - size: big\n", "f:4: node web: cannot unmarshal !!str `big` into int"},
		{"attributes not a mapping", "web: 3\n", "f:1: node web: cannot unmarshal !!int `3` into nodes_test.attrs"},
		{"a type that reads itself", "db: {group: a}\nweb:\n  group: a\n  ip: nonsense\n", `f:3: node web: ParseAddr("nonsense"): unable to parse IP`},
		{"validate", "db: {group: a}\nweb: {size: x1.big}\n", "f:2: node web: group is required\nf:2: node web: size x1.big is not for us"},
		{"no attributes", "web:\n", "f:1: node web: group is required"},
		{"merged nodes", "a: &a {group: a}\n<<: {b: *a}\n", "f:2: merge keys are only supported within nodes"},
		{"bad name", "web server: {group: a}\n", `f:1: invalid node name "web server": want letters, digits, and . - _ after the first character`},
		{"name is a list", "? [a, b]\n: {group: a}\n", "f:1: invalid node name: want a string, got a list"},
		{"two documents", "web: {group: a}\n---\ndb: {group: b}\n", "f:2: unexpected second document"},
		{
			"several, in the order of the file",
			"a: {grp: x}\nb: {group: b, disks: no}\na: {group: a}\nc: {}\n",
			`f:1: node a: unknown attribute "grp"; known: group, size, disks, labels, ip, every, team` +
				"\nf:2: node b: cannot unmarshal !!str `no` into []nodes_test.disk" +
				"\nf:3: node a: already defined at line 1" +
				"\nf:4: node c: group is required",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			list, err := nodes.Read[attrs](strings.NewReader(tt.text), "f")
			if err == nil {
				t.Fatalf("Read = %+v, nil; want an error", list)
			}
			if list != nil {
				t.Errorf("Read = %+v with an error, want no nodes", list)
			}
			if got := err.Error(); got != tt.want && (tt.name != "syntax" || !strings.HasPrefix(got, tt.want)) {
				t.Errorf("Read: error\n%s\nwant\n%s", got, tt.want)
			}
			if e := new(nodes.Error); !errors.As(err, &e) {
				t.Errorf("Read = %T, want a *nodes.Error in it", err)
			}
		})
	}
}

type tree struct {
	Sub []*tree `yaml:"sub"`
}

func TestReadAliasCycle(t *testing.T) {
	_, err := nodes.Read[tree](strings.NewReader("web: &w {sub: [*w]}\n"), "f")
	if want := "f:1: node web: yaml: anchor 'w' value contains itself"; err == nil || err.Error() != want {
		t.Errorf("Read = %v, want %s", err, want)
	}
}

func TestLoad(t *testing.T) {
	fsys := fstest.MapFS{"fleet/nodes.yaml": {Data: []byte("web: {group: a}\n")}}
	list, err := nodes.LoadFS[attrs](fsys, "fleet/nodes.yaml")
	if err != nil || len(list) != 1 || list[0].File != "fleet/nodes.yaml" {
		t.Errorf("LoadFS = %+v, %v, want one node of fleet/nodes.yaml", list, err)
	}
	path := t.TempDir() + "/nodes.yaml"
	if _, err := nodes.Load[attrs](path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("Load(missing file) = %v, want an error with its path", err)
	}
}

func TestReadAnyAttributeType(t *testing.T) {
	list, err := nodes.Read[map[string]int](strings.NewReader("web: {a: 1, b: 2}\n"), "f")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int{"a": 1, "b": 2}, list[0].Attrs); diff != "" {
		t.Error(diff)
	}
	if _, err := nodes.Read[struct{}](strings.NewReader("web:\n"), "f"); err != nil {
		t.Errorf("Read of a node without attributes = %v, want nil", err)
	}
}

func FuzzRead(f *testing.F) {
	for _, text := range []string{
		"web: {group: a}\n", "web: &w\n  group: a\nb: *w\n", "a: {<<: [{group: a}], disks: [{size: 1}]}\n",
		"web: &w {group: a, disks: [*w]}\n", "? [a]\n: b\n", "a: {<<: 1}\n", "*a : b\n", "---\n...\n", "a: !!binary x\n",
		"a: {ip: 1, every: 3x, labels: {a: {}}}\n", "\xff\xfe", "a: &a [*a]", "a: {*a : b}",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := nodes.Read[attrs](strings.NewReader(text), "f")
		if (err == nil) == (len(list) == 0) {
			t.Errorf("Read = %d nodes, %v; want either nodes or an error", len(list), err)
		}
		for _, n := range list {
			if n.Name == "" || n.Line < 1 {
				t.Errorf("node %+v", n)
			}
		}
	})
}
