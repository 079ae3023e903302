// Package nodes reads a list of nodes from YAML into typed values and defines an image
// for each of them.
//
// The file maps node names to attributes:
//
//	web:
//	  group: front
//	  size: t3.small
//	db: {group: back, size: r6g.large}
//
// The program declares the attributes, loads the list, and defines one image per node:
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
// The package is strict: unknown keys, duplicate keys and nodes, values of the wrong
// type and an empty list are errors. All errors are reported, joined in the order of
// the file, each as an [*Error] with file and line.
//
// # Defaults and validation
//
// The attributes may implement [Defaulter], to set defaults before a node is read, and
// bake.Validator, to validate a node that was read without error. Attributes that
// implement yaml.Unmarshaler are not checked for unknown keys.
//
// Within a node, anchors, aliases and merge keys work as usual, so one node can start
// from the attributes of another. Merge keys between nodes are errors.
package nodes
