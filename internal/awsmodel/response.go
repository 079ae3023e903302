package awsmodel

import (
	"encoding/xml"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An element is an XML element of a response.
type element struct {
	XMLName  xml.Name
	Text     string    `xml:",chardata"`
	Children []element `xml:",any"`
}

// CheckResponse lists the violations of the model in the XML response of an
// action: unknown members, repeated members, and values of the wrong type or
// outside their enumeration. A response without output may contain EC2's
// "return" member.
func (m *Model) CheckResponse(action string, body []byte) []string {
	op, known := m.Operations[action]
	if !known {
		return []string{"unknown action " + action}
	}
	var root element
	if err := xml.Unmarshal(body, &root); err != nil {
		return []string{fmt.Sprintf("%s: %v", action, err)}
	}
	root.Children = slices.DeleteFunc(root.Children, func(e element) bool {
		return e.XMLName.Local == "requestId" || e.XMLName.Local == "ResponseMetadata"
	})
	if op.Output == nil {
		root.Children = slices.DeleteFunc(root.Children, func(e element) bool { return e.XMLName.Local == "return" })
		return unexpected(action, root.Children)
	}
	if op.Output.Wrapper != "" {
		if len(root.Children) != 1 || root.Children[0].XMLName.Local != op.Output.Wrapper {
			return []string{fmt.Sprintf("%s: response is not wrapped in %s", action, op.Output.Wrapper)}
		}
		root = root.Children[0]
	}
	return m.check(action, op.Output.reference, root)
}

func unexpected(path string, children []element) []string {
	out := make([]string, 0, len(children))
	for _, e := range children {
		out = append(out, path+"."+e.XMLName.Local+" is not in the model")
	}
	return out
}

func (m *Model) check(path string, ref reference, e element) []string {
	s := m.Shapes[ref.Shape]
	switch s.Type {
	case "structure":
		return m.checkMembers(path, s, e)
	case "list":
		var out []string
		for _, child := range e.Children {
			if child.XMLName.Local != elementName(s.Member.LocationName) {
				out = append(out, unexpected(path, []element{child})...)
				continue
			}
			out = append(out, m.check(path+"."+child.XMLName.Local, s.Member, child)...)
		}
		return out
	}
	if out := unexpected(path, e.Children); len(out) > 0 {
		return out
	}
	if !s.valid(e.Text) {
		return []string{fmt.Sprintf("%s: invalid %s %q", path, ref.Shape, e.Text)}
	}
	return nil
}

func (m *Model) checkMembers(path string, s shape, e element) []string {
	var out []string
	seen := map[string]bool{}
	for _, child := range e.Children {
		name := child.XMLName.Local
		ref, ok := s.find(name, memberName)
		if !ok {
			out = append(out, unexpected(path, []element{child})...)
			continue
		}
		of := m.Shapes[ref.Shape]
		switch flat := of.Type == "list" && (of.Flattened || ref.Flattened); {
		case flat:
			ref = of.Member
		case seen[name]:
			out = append(out, path+"."+name+" is repeated")
		}
		seen[name] = true
		out = append(out, m.check(path+"."+name, ref, child)...)
	}
	if text := strings.TrimSpace(e.Text); text != "" {
		out = append(out, fmt.Sprintf("%s is text %q, not a structure", path, text))
	}
	return out
}

// valid reports whether value is valid for the shape.
func (s shape) valid(value string) bool {
	var err error
	switch s.Type {
	case "boolean":
		return value == "true" || value == "false"
	case "integer", "long":
		_, err = strconv.ParseInt(value, 10, 64)
	case "double", "float":
		_, err = strconv.ParseFloat(value, 64)
	case "timestamp":
		_, err = time.Parse(time.RFC3339Nano, value)
	case "string":
		return len(s.Enum) == 0 || slices.Contains(s.Enum, value)
	}
	return err == nil
}
