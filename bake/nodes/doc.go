// Package nodes reads a list of nodes from YAML into typed values, and turns
// each of them into an image to bake.
//
// The file maps the name of a node to its attributes:
//
//	web:
//	  group: front
//	  size: t3.small
//	db: {group: back, size: r6g.large}
//
// The program says once what the attributes are, loads the list, and defines
// one image per node:
//
//	type Attrs struct {
//		Group string `yaml:"group"`
//		Size  string `yaml:"size"`
//	}
//
//	fleet, err := nodes.Load[Attrs]("nodes.yaml")
//	...
//	images, err := nodes.Images(fleet, func(n nodes.Node[Attrs]) (*bake.Image, error) {
//		return &bake.Image{Name: n.Name, Builder: ...}, nil
//	})
//
// Nothing in the file is guessed at or passed over: a key that the attributes
// do not have, a key or a node that is there twice, a value of the wrong type
// and an empty list are errors. All of them are reported, joined and in the
// order of the file, each as an *Error with its file and line.
//
// # Defaults and rules
//
// Two methods of the attributes are used when they are there. SetDefaults() is
// called before a node's attributes are read, so that a key which the file
// leaves out keeps the value it set. Validate() error is called after all of
// them were read without error; it may join several errors. Attributes inside
// a node that implement yaml.Unmarshaler read themselves, and are not searched
// for unknown keys.
//
// Inside a node the anchors, aliases and merge keys of YAML work as usual, so
// that one node may begin with the attributes of another. A merge key between
// the nodes themselves is refused.
package nodes
