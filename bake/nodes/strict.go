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

// strict finds the keys in one node's attributes that their type does not
// have. The YAML library can do that only for a whole document, and then
// without the order of its keys.
type strict struct {
	node  string
	found *findings
	seen  map[visit]bool // an alias may lead in a circle
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
	if readsItself(into) {
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
			s.found.addf(key.Line, s.node, "unknown attribute %q; known are %s", key.Value, strings.Join(known.names, ", "))
		}
	}
}

// checkMerged checks what a merge key adds: one mapping or a list of them.
func (s *strict) checkMerged(item *yaml.Node, into reflect.Type) {
	if item.Kind == yaml.SequenceNode {
		for _, one := range item.Content {
			s.check(one, into)
		}
		return
	}
	s.check(item, into)
}

// fields is what a struct can read, by the rules of the YAML library.
type fields struct {
	byKey map[string]reflect.Type
	names []string
	rest  reflect.Type // of the inlined map's values, if there is one
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

// readsItself reports whether a value of type t decides on its own what the
// text means, so that its fields say nothing about it.
func readsItself(t reflect.Type) bool {
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
