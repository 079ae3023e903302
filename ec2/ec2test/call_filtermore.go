package ec2test

import "strings"

// shown returns a filter by what the description of a resource shows.
func shown[T, X any](describe func(*call, T) X, get func(X) []string) func(*call, T) []string {
	return func(c *call, r T) []string { return get(describe(c, r)) }
}

// never adds filters by properties that no resource of the server has, so that nothing
// matches.
func (f filters[T]) never(names ...string) filters[T] {
	for _, name := range names {
		f[name] = func(*call, T) []string { return nil }
	}
	return f
}

// always adds filters by a property that has the same value for all resources.
func (f filters[T]) always(value string, names ...string) filters[T] {
	for _, name := range names {
		f[name] = func(*call, T) []string { return one(value) }
	}
	return f
}

// platformOf returns the platform of platform details: windows, or none.
func platformOf(details string) []string {
	if strings.HasPrefix(details, "Windows") {
		return one("windows")
	}
	return nil
}
