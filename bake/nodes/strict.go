package nodes

import (
	"encoding"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

const (
	nullTag  = "!!null"
	mergeTag = "!!merge"
)

// strict finds unknown keys in a node's attributes. The YAML library can do so only for
// a whole document and loses the order of the keys.
type strict struct {
	node  string
	found *problems
	seen  map[visit]bool // aliases may form a cycle
}

type visit struct {
	value *yaml.Node
	into  reflect.Type
}

func (s *strict) check(value *yaml.Node, into reflect.Type) {
	for value.Kind == yaml.AliasNode {
		value = value.Alias
	}
	if s.seen[visit{value, into}] {
		return
	}
	s.seen[visit{value, into}] = true
	for into.Kind() == reflect.Pointer {
		into = into.Elem()
	}
	if unmarshalsItself(into) {
		return
	}
	switch {
	case into.Kind() == reflect.Struct && value.Kind == yaml.MappingNode:
		s.checkStruct(value, into)
	case into.Kind() == reflect.Map && value.Kind == yaml.MappingNode:
		for i := 1; i < len(value.Content); i += 2 {
			s.check(value.Content[i], into.Elem())
		}
	case (into.Kind() == reflect.Slice || into.Kind() == reflect.Array) && value.Kind == yaml.SequenceNode:
		for _, item := range value.Content {
			s.check(item, into.Elem())
		}
	}
}

func (s *strict) checkStruct(value *yaml.Node, into reflect.Type) {
	known := fields{byKey: map[string]reflect.Type{}}
	known.add(into)
	for i := 0; i+1 < len(value.Content); i += 2 {
		key, item := value.Content[i], value.Content[i+1]
		if key.ShortTag() == mergeTag {
			s.checkMerged(item, into)
			continue
		}
		for key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		switch field, ok := known.byKey[key.Value]; {
		case ok:
			s.check(item, field)
		case known.rest != nil:
			s.check(item, known.rest)
		default:
			s.found.addf(key.Line, s.node, "unknown attribute %q; known: %s", key.Value, strings.Join(known.names, ", "))
		}
	}
}

// checkMerged checks the value of a merge key: a mapping or a list of mappings.
func (s *strict) checkMerged(item *yaml.Node, into reflect.Type) {
	if item.Kind == yaml.SequenceNode {
		for _, one := range item.Content {
			s.check(one, into)
		}
		return
	}
	s.check(item, into)
}

// fields holds the keys of a struct by the rules of the YAML library.
type fields struct {
	byKey map[string]reflect.Type
	names []string
	rest  reflect.Type // the type of the inlined map's values, if any
}

func (f *fields) add(t reflect.Type) {
	for field := range t.Fields() {
		tag, ok := field.Tag.Lookup("yaml")
		if !ok && !strings.Contains(string(field.Tag), ":") {
			tag = string(field.Tag)
		}
		name, flags, _ := strings.Cut(tag, ",")
		inner := field.Type
		for inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		switch inline := slices.Contains(strings.Split(flags, ","), "inline"); {
		case !field.IsExported() && !field.Anonymous, tag == "-":
		case inline && inner.Kind() == reflect.Struct:
			f.add(inner)
		case inline && inner.Kind() == reflect.Map:
			f.rest = inner.Elem()
		default:
			if name == "" {
				name = strings.ToLower(field.Name)
			}
			f.byKey[name] = field.Type
			f.names = append(f.names, name)
		}
	}
}

// unmarshalsItself reports whether values of type t define their own syntax.
func unmarshalsItself(t reflect.Type) bool {
	if t == reflect.TypeFor[time.Time]() || t == reflect.TypeFor[yaml.Node]() {
		return true
	}
	p := reflect.PointerTo(t)
	return p.Implements(reflect.TypeFor[yaml.Unmarshaler]()) ||
		p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) ||
		p.Implements(reflect.TypeFor[interface{ UnmarshalYAML(func(any) error) error }]())
}

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.SequenceNode:
		return "list"
	case yaml.MappingNode:
		return "mapping"
	case yaml.AliasNode:
		return "alias"
	default:
		return "single value"
	}
}
