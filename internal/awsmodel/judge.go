package awsmodel

import (
	"encoding/xml"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An element is one element of an answer in XML.
type element struct {
	XMLName  xml.Name
	Text     string    `xml:",chardata"`
	Children []element `xml:",any"`
}

// Judge lists what a model does not allow in the answer of an action, in XML:
// members that it does not know, members twice, and values of another type or
// not of their enumeration. The answer of an action that has none may say
// "return", as EC2 does.
func (m *Model) Judge(action string, body []byte) []string {
	op, known := m.Operations[action]
	if !known {
		return []string{"there is no action " + action}
	}
	var root element
	if err := xml.Unmarshal(body, &root); err != nil {
		return []string{fmt.Sprintf("%s: %v", action, err)}
	}
	root.Children = slices.DeleteFunc(root.Children, func(e element) bool {
		return e.XMLName.Local == "requestId" || e.XMLName.Local == "ResponseMetadata"
	})
	if op.Output == nil {
		// What has no output says no more than that it succeeded.
		root.Children = slices.DeleteFunc(root.Children, func(e element) bool { return e.XMLName.Local == "return" })
		return unexpected(action, root.Children)
	}
	if op.Output.Wrapper != "" {
		if len(root.Children) != 1 || root.Children[0].XMLName.Local != op.Output.Wrapper {
			return []string{fmt.Sprintf("%s: the answer is not wrapped in %s", action, op.Output.Wrapper)}
		}
		root = root.Children[0]
	}
	return m.judge(action, op.Output.reference, root)
}

func unexpected(path string, children []element) []string {
	out := make([]string, 0, len(children))
	for _, e := range children {
		out = append(out, path+"."+e.XMLName.Local+" is not in the model")
	}
	return out
}

func (m *Model) judge(path string, ref reference, e element) []string {
	s := m.Shapes[ref.Shape]
	switch s.Type {
	case "structure":
		return m.judgeMembers(path, s, e)
	case "list":
		var out []string
		for _, child := range e.Children {
			if child.XMLName.Local != elementName(s.Member.LocationName) {
				out = append(out, unexpected(path, []element{child})...)
				continue
			}
			out = append(out, m.judge(path+"."+child.XMLName.Local, s.Member, child)...)
		}
		return out
	}
	if out := unexpected(path, e.Children); len(out) > 0 {
		return out
	}
	if !s.holds(e.Text) {
		return []string{fmt.Sprintf("%s is %q, which is no %s of the model", path, e.Text, ref.Shape)}
	}
	return nil
}

func (m *Model) judgeMembers(path string, s shape, e element) []string {
	var out []string
	seen := map[string]bool{}
	for _, child := range e.Children {
		name := child.XMLName.Local
		ref, ok := s.find(name, answerName)
		if !ok {
			out = append(out, unexpected(path, []element{child})...)
			continue
		}
		of := m.Shapes[ref.Shape]
		switch flat := of.Type == "list" && (of.Flattened || ref.Flattened); {
		case flat:
			ref = of.Member
		case seen[name]:
			out = append(out, path+"."+name+" is there twice")
		}
		seen[name] = true
		out = append(out, m.judge(path+"."+name, ref, child)...)
	}
	if text := strings.TrimSpace(e.Text); text != "" {
		out = append(out, fmt.Sprintf("%s is %q instead of a structure", path, text))
	}
	return out
}

// holds tells whether a value is of the shape.
func (s shape) holds(value string) bool {
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
		return s.allows(value)
	}
	return err == nil
}
