// Package awsmodel checks requests and responses against AWS's own models of its
// services: the service-2.json files that botocore ships and from which AWS
// generates its clients. Tests use it to check ec2test.
//
//	model, err := awsmodel.Read(file)
//	err = model.CheckParam("RunInstances", "TagSpecification.N.ResourceType")
//	violations := model.CheckResponse("DescribeImages", body)
//
// A model defines the possible members, their types and the values of
// enumerations. It does not define which members a response always has, so
// missing members are not detected.
package awsmodel

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// A Model describes a service.
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

// A reference describes the shape of a member and its names on the wire.
type reference struct {
	Shape        string `json:"shape"`
	LocationName string `json:"locationName"`
	QueryName    string `json:"queryName"`
	Location     string `json:"location"` // if not in the body of a REST call
	Flattened    bool   `json:"flattened"`
}

type shape struct {
	Type      string               `json:"type"`
	Members   map[string]reference `json:"members"` // of a structure
	Member    reference            `json:"member"`  // of a list
	Flattened bool                 `json:"flattened"`
	Enum      []string             `json:"enum"`
}

// Read reads the JSON of a model.
func Read(from io.Reader) (*Model, error) {
	m := new(Model)
	if err := json.NewDecoder(from).Decode(m); err != nil {
		return nil, fmt.Errorf("parse service model: %w", err)
	}
	return m, nil
}

// CheckParam returns an error unless action has a parameter with the given path,
// such as "Filter.N.Value.N". N stands for the index of a list element.
func (m *Model) CheckParam(action, path string) error {
	op, known := m.Operations[action]
	if !known {
		return fmt.Errorf("unknown action %s", action)
	}
	return m.walk(op.Input, path, m.paramName, func(string) string { return "N" })
}

// CheckMember returns an error unless action's response has a member with the
// given path, such as "imagesSet.item.imageId". The path does not include the
// result wrapper of the plain query protocol.
func (m *Model) CheckMember(action, path string) error {
	op, known := m.Operations[action]
	if !known {
		return fmt.Errorf("unknown action %s", action)
	}
	if op.Output == nil {
		return m.walk(nil, path, memberName, elementName)
	}
	return m.walk(&op.Output.reference, path, memberName, elementName)
}

// walk follows path through the shapes to a value.
func (m *Model) walk(from *reference, path string, name func(string, reference) string, element func(string) string) error {
	if from == nil {
		return fmt.Errorf("%s: action has no members", path)
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
				return fmt.Errorf("%s: elements of %s are not named %s", path, at.Shape, part)
			}
			at = s.Member
		default:
			return fmt.Errorf("%s: %s is a %s without %s", path, at.Shape, s.Type, part)
		}
	}
	if kind := m.Shapes[at.Shape].Type; kind == "structure" {
		return fmt.Errorf("%s: %s is a structure, not a value", path, at.Shape)
	}
	return nil
}

// find returns the member with a wire name.
func (s shape) find(wireName string, name func(string, reference) string) (reference, bool) {
	for member, ref := range s.Members {
		if name(member, ref) == wireName {
			return ref, true
		}
	}
	return reference{}, false
}

// paramName returns the wire name of a member in a request.
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

// memberName returns the wire name of a member in a response.
func memberName(member string, ref reference) string {
	if ref.LocationName != "" {
		return ref.LocationName
	}
	return member
}

// elementName returns the wire name of list elements in a response.
func elementName(locationName string) string {
	if locationName != "" {
		return locationName
	}
	return "member"
}
