package nodes_test

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/nodes"
)

// Server holds the attributes of a node.
type Server struct {
	Group string `yaml:"group"`
	Size  string `yaml:"size"`
}

func (s *Server) SetDefaults() { s.Size = "t3.small" }

func (s *Server) Validate() error {
	if s.Group == "" {
		return errors.New("group is required")
	}
	return nil
}

const list = `
web:
  group: front
db: {group: back, size: r6g.large}
`

func Example() {
	fleet, err := nodes.Read[Server](strings.NewReader(list), "nodes.yaml")
	if err != nil {
		fmt.Println(err)
		return
	}
	now := time.Unix(1700000000, 0)
	images, err := nodes.Images(fleet, func(n nodes.Node[Server]) (*bake.Image, error) {
		fmt.Println(nodes.TimestampedName(n.Name, now), "in", n.Attrs.Group, "on", n.Attrs.Size)
		return &bake.Image{Name: n.Name}, nil
	})
	fmt.Println(len(images), err)
	// Output:
	// web 1700000000 in front on t3.small
	// db 1700000000 in back on r6g.large
	// 2 <nil>
}

func ExampleRead_errors() {
	_, err := nodes.Read[Server](strings.NewReader("web:\n  grup: front\nweb: {group: front}\n"), "nodes.yaml")
	fmt.Println(err)
	// Output:
	// nodes.yaml:2: node web: unknown attribute "grup"; known: group, size
	// nodes.yaml:3: node web: already defined at line 1
}
