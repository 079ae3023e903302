package awsmodel

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A Model is one service.
type Model struct {
	Metadata struct {
		Protocol string `json:"protocol"`
	} `json:"metadata"`
	Operations map[string]operation `json:"operations"`
	Shapes     map[string]shape     `json:"shapes"`
}

type operation struct {
	Input  *reference `json:"input"`
	Output *struct {
		reference

		Wrapper string `json:"resultWrapper"`
	} `json:"output"`
}

// A reference is how a member is written, and what it is.
type reference struct {
	Shape        string `json:"shape"`
	LocationName string `json:"locationName"`
	QueryName    string `json:"queryName"`
	Location     string `json:"location"` // of what is not in the body of a REST call
	Flattened    bool   `json:"flattened"`
}

type shape struct {
	Type      string               `json:"type"`
	Members   map[string]reference `json:"members"` // of a structure
	Member    reference            `json:"member"`  // of a list
	Flattened bool                 `json:"flattened"`
	Enum      []string             `json:"enum"`
}

// Read reads a model.
func Read(from io.Reader) (*Model, error) {
	m := new(Model)
	if err := json.NewDecoder(from).Decode(m); err != nil {
		return nil, fmt.Errorf("this is no model of a service: %w", err)
	}
	return m, nil
}

// Param tells what is wrong with the name of a parameter, in which N stands for
// the number of a list's element: "Filter.N.Value.N".
func (m *Model) Param(action, path string) error {
	op, known := m.Operations[action]
	if !known {
		return fmt.Errorf("there is no action %s", action)
	}
	return m.walk(op.Input, path, m.paramName, func(string) string { return "N" })
}

// Answer tells what is wrong with the name of a member of an answer, without
// the wrapper of the plain query protocol: "imagesSet.item.imageId".
func (m *Model) Answer(action, path string) error {
	op, known := m.Operations[action]
	if !known {
		return fmt.Errorf("there is no action %s", action)
	}
	if op.Output == nil {
		return m.walk(nil, path, answerName, elementName)
	}
	return m.walk(&op.Output.reference, path, answerName, elementName)
}

// walk follows a path through the shapes.
func (m *Model) walk(from *reference, path string, name func(string, reference) string, element func(string) string) error {
	if from == nil {
		return fmt.Errorf("%s: nothing is expected", path)
	}
	at := *from
	for part := range strings.SplitSeq(path, ".") {
		switch s := m.Shapes[at.Shape]; s.Type {
		case "structure":
			next, ok := s.find(part, name)
			if !ok {
				return fmt.Errorf("%s: %s has no %s", path, at.Shape, part)
			}
			at = next
		case "list":
			if part != element(s.Member.LocationName) && part != "N" {
				return fmt.Errorf("%s: the elements of %s are not called %s", path, at.Shape, part)
			}
			at = s.Member
		default:
			return fmt.Errorf("%s: %s is a %s and has no %s", path, at.Shape, s.Type, part)
		}
	}
	if kind := m.Shapes[at.Shape].Type; kind == "structure" {
		return fmt.Errorf("%s: %s is a structure and not a value", path, at.Shape)
	}
	return nil
}

// find is the member that is written with a name.
func (s shape) find(written string, name func(string, reference) string) (reference, bool) {
	for member, ref := range s.Members {
		if name(member, ref) == written {
			return ref, true
		}
	}
	return reference{}, false
}

// paramName is how a member is written in a request.
func (m *Model) paramName(member string, ref reference) string {
	switch {
	case ref.QueryName != "":
		return ref.QueryName
	case ref.LocationName == "", ref.Location != "":
		return member
	case m.Metadata.Protocol == "ec2":
		return strings.ToUpper(ref.LocationName[:1]) + ref.LocationName[1:]
	}
	return ref.LocationName
}

// answerName is how a member is written in an answer.
func answerName(member string, ref reference) string {
	if ref.LocationName != "" {
		return ref.LocationName
	}
	return member
}

// elementName is how the elements of a list are written in an answer.
func elementName(locationName string) string {
	if locationName != "" {
		return locationName
	}
	return "member"
}

func (s shape) allows(value string) bool { return len(s.Enum) == 0 || slices.Contains(s.Enum, value) }
