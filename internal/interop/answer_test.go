package interop_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// An answer is a JSON document as its leaves: "Images[0].State" is "available".
// An error of the service has one leaf, "error", with its code.
type answer map[string]string

// flatten reads what the client wrote. Empty lists and objects are leaves too.
func flatten(text string) (answer, error) {
	if strings.TrimSpace(text) == "" {
		return answer{}, nil
	}
	var document any
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&document); err != nil {
		return nil, fmt.Errorf("what the client wrote is not JSON: %w", err)
	}
	a := answer{}
	a.add("", sorted(document))
	return a, nil
}

func (a answer) add(path string, value any) {
	switch value := value.(type) {
	case map[string]any:
		for name, field := range value {
			a.add(strings.TrimPrefix(path+"."+name, "."), field)
		}
		if len(value) == 0 {
			a[path] = "{}"
		}
	case []any:
		for i, item := range value {
			a.add(fmt.Sprintf("%s[%d]", path, i), item)
		}
		if len(value) == 0 {
			a[path] = "[]"
		}
	default:
		a[path] = fmt.Sprint(value)
	}
}

// sorted orders the lists whose order means nothing: those of tags and of
// permissions.
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

// normal is the answer without what no two servers can share: captured ids
// become their names, and other ids, times and addresses their kinds.
func (a answer) normal(captured map[string]string) answer {
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
	all := maps.Clone(a)
	for path, value := range all {
		for name, id := range captured {
			value = strings.ReplaceAll(value, id, "$"+name)
		}
		for _, k := range kinds {
			value = k.pattern.ReplaceAllString(value, k.kind)
		}
		all[path] = value
	}
	return all
}
