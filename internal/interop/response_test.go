package interop_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// A response holds the values of a JSON document's leaves by their paths, such
// as "Images[0].State". An error of the service has one leaf, "error", with its
// code.
type response map[string]string

// flatten parses the client's output. Empty lists and objects count as leaves.
func flatten(text string) (response, error) {
	if strings.TrimSpace(text) == "" {
		return response{}, nil
	}
	var document any
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&document); err != nil {
		return nil, fmt.Errorf("parse client output: %w", err)
	}
	r := response{}
	r.add("", sorted(document))
	return r, nil
}

func (r response) add(path string, value any) {
	switch value := value.(type) {
	case map[string]any:
		for name, field := range value {
			r.add(strings.TrimPrefix(path+"."+name, "."), field)
		}
		if len(value) == 0 {
			r[path] = "{}"
		}
	case []any:
		for i, item := range value {
			r.add(fmt.Sprintf("%s[%d]", path, i), item)
		}
		if len(value) == 0 {
			r[path] = "[]"
		}
	default:
		r[path] = fmt.Sprint(value)
	}
}

// sorted sorts the lists whose order is irrelevant: tags and permissions.
func sorted(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for name, field := range value {
			value[name] = sorted(field)
		}
	case []any:
		for i, item := range value {
			value[i] = sorted(item)
		}
		key := func(item any) string {
			entry, _ := item.(map[string]any)
			if name, isTag := entry["Key"]; isTag {
				return fmt.Sprint(entry["ResourceId"], " ", name)
			}
			if len(entry) == 1 && (entry["UserId"] != nil || entry["Group"] != nil) {
				return fmt.Sprint(entry["UserId"], entry["Group"])
			}
			return ""
		}
		slices.SortStableFunc(value, func(a, b any) int { return strings.Compare(key(a), key(b)) })
	}
	return value
}

// normalize replaces the values that differ between any two servers: captured
// ids by their names, and other ids, times and addresses by their kinds.
func (r response) normalize(captured map[string]string) response {
	kinds := []struct {
		kind    string
		pattern *regexp.Regexp
	}{
		{"<time>", regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( UTC| GMT|Z|\+00:00)`)},
		{"<time>", regexp.MustCompile(`^\d{10}\.\d+$`)},
		{"key/<key>", regexp.MustCompile(`\bkey/[0-9a-f-]{36}\b`)},
		{"<mac>", regexp.MustCompile(`^([0-9a-f]{2}:){5}[0-9a-f]{2}$`)},
		{"<ip>", regexp.MustCompile(`^\d+\.\d+\.\d+\.\d+$`)},
		{"<name>", regexp.MustCompile(`^(ec2|ip)-\d+-\d+-\d+-\d+\..*$`)},
		{"<token>", regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)},
		{"<account>", regexp.MustCompile(`\b123456789012\b`)},
		{"<$1>", regexp.MustCompile(`\b(ami|dopt|eni-attach|eni|i|lt|r|sg|sgr|sir|snap|subnet|vol|vpc|vpc-cidr-assoc)-[0-9a-f]{8,17}\b`)},
	}
	normalized := maps.Clone(r)
	for path, value := range normalized {
		for name, id := range captured {
			value = strings.ReplaceAll(value, id, "$"+name)
		}
		for _, k := range kinds {
			value = k.pattern.ReplaceAllString(value, k.kind)
		}
		normalized[path] = value
	}
	return normalized
}
