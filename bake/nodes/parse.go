package nodes

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"regexp"

	"go.yaml.in/yaml/v3"
)

// A node's name becomes part of image names, host names and paths; the longest
// leaves room for a stamp in the 128 characters of an AMI's name.
const longestName = 100

var validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// defaulter and validator are what T may implement.
type (
	defaulter interface{ SetDefaults() }
	validator interface{ Validate() error }
)

func parse[T any](text []byte, file string) ([]Node[T], error) {
	found := &findings{file: file}
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
		if v, ok := any(&n.Attrs).(validator); ok && len(found.all) == before {
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

// topMapping returns the mapping that is the one document of text, or nil
// after it said what there is instead.
func topMapping(text []byte, found *findings) *yaml.Node {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc yaml.Node
	err := dec.Decode(&doc)
	switch {
	case errors.Is(err, io.EOF):
		found.addf(0, "", "has no nodes")
		return nil
	case err != nil:
		found.addText(0, "", err.Error())
		return nil
	}
	var next yaml.Node
	switch err := dec.Decode(&next); {
	case err == nil:
		found.addf(next.Line, "", "a second document begins; a node list is one")
	case !errors.Is(err, io.EOF):
		found.addText(0, "", err.Error())
	}
	if len(doc.Content) == 0 {
		found.addf(0, "", "has no nodes")
		return nil
	}
	top := doc.Content[0]
	switch {
	case top.Kind == yaml.ScalarNode && top.ShortTag() == nullTag,
		top.Kind == yaml.MappingNode && len(top.Content) == 0:
		found.addf(top.Line, "", "has no nodes")
		return nil
	case top.Kind != yaml.MappingNode:
		found.addf(top.Line, "", "a node list maps names to attributes; this is a %s", kindName(top))
		return nil
	}
	return top
}

// checkName reports whether key is a good name that was not there before, and
// adds it to lines.
func checkName(key *yaml.Node, lines map[string]int, found *findings) bool {
	name := key.Value
	switch first, repeated := lines[name]; {
	case key.Kind == yaml.ScalarNode && key.ShortTag() == mergeTag:
		found.addf(key.Line, "", "a merge key joins attributes, not nodes")
	case key.Kind != yaml.ScalarNode:
		found.addf(key.Line, "", "a node's name is a text; this is a %s", kindName(key))
	case !validName.MatchString(name):
		found.addf(key.Line, "", "%q is no name for a node: it begins with a letter or digit, and goes on with those and . - _", name)
	case len(name) > longestName:
		found.addf(key.Line, "", "the name %q has more than %d characters", name, longestName)
	case repeated:
		found.addf(key.Line, name, "is already defined at line %d", first)
	default:
		lines[name] = key.Line
		return true
	}
	return false
}

// decode reads value into attrs, and adds whatever is wrong with it.
func decode(attrs any, value *yaml.Node, node string, found *findings) {
	if d, ok := attrs.(defaulter); ok {
		d.SetDefaults()
	}
	if value.Kind == yaml.ScalarNode && value.ShortTag() == nullTag {
		return // "web:" alone is a node without attributes
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

// unjoin returns the errors that err joins, or err alone.
func unjoin(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}
