package provision

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
)

// A variable is one line of a YAML mapping. Its value is JSON, which is valid YAML.
type variable struct {
	name   string
	value  json.RawMessage
	unsafe bool // Ansible must not expand templates in it
}

func textVariable(name, value string) variable {
	text, _ := json.Marshal(value) // a string always marshals
	return variable{name: name, value: text}
}

func secretVariable(name string, value bake.Secret) variable {
	v := textVariable(name, value.Reveal())
	v.unsafe = true
	return v
}

// variablesOf returns the fields of a struct or map, sorted by name.
func variablesOf(v any) ([]variable, error) {
	text, err := object(v)
	if err != nil {
		return nil, err
	}
	var values map[string]json.RawMessage
	if err := json.Unmarshal(text, &values); err != nil {
		return nil, err
	}
	variables := make([]variable, 0, len(values))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		variables = append(variables, variable{name: name, value: values[name]})
	}
	return variables, nil
}

// mapping returns the variables as lines of YAML. The last of several with the same
// name wins.
func mapping(indent string, variables []variable) string {
	last := map[string]int{}
	for i, v := range variables {
		last[v.name] = i
	}
	var b strings.Builder
	for i, v := range variables {
		if last[v.name] != i {
			continue
		}
		name, _ := json.Marshal(v.name)
		b.WriteString(indent + string(name) + ": ")
		if v.unsafe {
			b.WriteString("!unsafe ")
		}
		b.Write(v.value)
		b.WriteByte('\n')
	}
	return b.String()
}

// extraVars returns the file of extra variables, or "" if there are none.
func (a Ansible) extraVars() (string, error) {
	variables, err := variablesOf(a.Vars)
	if err != nil {
		return "", err
	}
	for _, name := range slices.Sorted(maps.Keys(a.SecretVars)) {
		variables = append(variables, secretVariable(name, a.SecretVars[name]))
	}
	return mapping("", variables), nil
}

// inventory returns the inventory file with the variables of the connection, which
// HostVars override.
func (a Ansible) inventory(connection []variable) (string, error) {
	hostVars, err := variablesOf(a.HostVars)
	if err != nil {
		return "", err
	}
	variables := append(slices.Clone(connection), hostVars...)
	host, _ := json.Marshal(a.host())
	var b strings.Builder
	b.WriteString("all:\n  hosts:\n    " + string(host) + ":\n")
	b.WriteString(mapping("      ", variables))
	if len(a.Groups) > 0 {
		b.WriteString("  children:\n")
		for _, group := range slices.Compact(slices.Sorted(slices.Values(a.Groups))) {
			name, _ := json.Marshal(group)
			b.WriteString("    " + string(name) + ": {hosts: {" + string(host) + ": {}}}\n")
		}
	}
	return b.String(), nil
}
