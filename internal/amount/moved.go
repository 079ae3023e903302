package amount

// Moved counts the bytes of transfers, by path, from reports that count from the
// beginning of each. The zero value is ready to use.
type Moved struct{ done map[string]int64 }

// Add returns the bytes that the report adds to those of the path before. A report of
// fewer bytes is of a transfer that began again.
func (m *Moved) Add(path string, done int64) int64 {
	if m.done == nil {
		m.done = map[string]int64{}
	}
	before := m.done[path]
	if done < before {
		before = 0
	}
	m.done[path] = done
	return done - before
}
