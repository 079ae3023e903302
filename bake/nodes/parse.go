package nodes

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"regexp"

	"github.com/bakestone-go/bakestone/bake"
	"go.yaml.in/yaml/v3"
)

// Node names become part of image names, host names and paths. The limit leaves room
// for a timestamp in the 128 characters of an AMI name.
const longestName = 100

var validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// A Defaulter is a pointer to attributes that sets defaults before a node is read, so
// that keys missing in the file keep them.
type Defaulter interface {
	SetDefaults()
}

func parse[T any](text []byte, file string) ([]Node[T], error) {
	found := &problems{file: file}
	top := topMapping(text, found)
	if top == nil {
		return nil, found.err()
	}
	list := make([]Node[T], 0, len(top.Content)/2)
	lines := map[string]int{}
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, value := top.Content[i], top.Content[i+1]
		if !checkName(key, lines, found) {
			continue
		}
		n := Node[T]{Name: key.Value, File: file, Line: key.Line}
		before := len(found.all)
		decode(&n.Attrs, value, n.Name, found)
		if v, ok := any(&n.Attrs).(bake.Validator); ok && len(found.all) == before {
			for _, err := range unjoin(v.Validate()) {
				found.add(n.Line, n.Name, err)
			}
		}
		list = append(list, n)
	}
	if err := found.err(); err != nil {
		return nil, err
	}
	return list, nil
}

// topMapping returns the mapping that is the only document of text. If there is none, it
// adds a problem and returns nil.
func topMapping(text []byte, found *problems) *yaml.Node {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc yaml.Node
	err := dec.Decode(&doc)
	switch {
	case errors.Is(err, io.EOF):
		found.addf(0, "", "the list is empty")
		return nil
	case err != nil:
		found.addText(0, "", err.Error())
		return nil
	}
	var next yaml.Node
	switch err := dec.Decode(&next); {
	case err == nil:
		found.addf(next.Line, "", "unexpected second document")
	case !errors.Is(err, io.EOF):
		found.addText(0, "", err.Error())
	}
	if len(doc.Content) == 0 {
		found.addf(0, "", "the list is empty")
		return nil
	}
	top := doc.Content[0]
	switch {
	case top.Kind == yaml.ScalarNode && top.ShortTag() == nullTag,
		top.Kind == yaml.MappingNode && len(top.Content) == 0:
		found.addf(top.Line, "", "the list is empty")
		return nil
	case top.Kind != yaml.MappingNode:
		found.addf(top.Line, "", "invalid node list: want a mapping of names to attributes, got a %s", kindName(top))
		return nil
	}
	return top
}

// checkName reports whether key is a valid new name, and adds it to lines.
func checkName(key *yaml.Node, lines map[string]int, found *problems) bool {
	name := key.Value
	switch first, repeated := lines[name]; {
	case key.Kind == yaml.ScalarNode && key.ShortTag() == mergeTag:
		found.addf(key.Line, "", "merge keys are only supported within nodes")
	case key.Kind != yaml.ScalarNode:
		found.addf(key.Line, "", "invalid node name: want a string, got a %s", kindName(key))
	case !validName.MatchString(name):
		found.addf(key.Line, "", "invalid node name %q: want letters, digits, and . - _ after the first character", name)
	case len(name) > longestName:
		found.addf(key.Line, "", "node name %q exceeds %d characters", name, longestName)
	case repeated:
		found.addf(key.Line, name, "already defined at line %d", first)
	default:
		lines[name] = key.Line
		return true
	}
	return false
}

// decode reads value into attrs and adds its problems.
func decode(attrs any, value *yaml.Node, node string, found *problems) {
	if d, ok := attrs.(Defaulter); ok {
		d.SetDefaults()
	}
	if value.Kind == yaml.ScalarNode && value.ShortTag() == nullTag {
		return // "web:" alone: a node without attributes
	}
	unknown := &strict{node: node, found: found, seen: map[visit]bool{}}
	unknown.check(value, reflect.TypeOf(attrs))

	var types *yaml.TypeError
	switch err := value.Decode(attrs); {
	case errors.As(err, &types):
		for _, text := range types.Errors {
			found.addText(value.Line, node, text)
		}
	case err != nil && lineInText.MatchString(err.Error()):
		found.addText(value.Line, node, err.Error())
	case err != nil:
		found.add(value.Line, node, err)
	}
}

// unjoin returns the errors joined by err, or err itself.
func unjoin(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}
