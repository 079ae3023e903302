package bake

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// MemoryStore returns a Store for the builds of one process, and for tests. Its records
// end with the process.
func MemoryStore() Store {
	return &memoryStore{records: map[string][]byte{}, revisions: map[string]int64{}}
}

type memoryStore struct {
	mu        sync.Mutex
	records   map[string][]byte // as JSON: callers may change what they pass and get
	revisions map[string]int64
}

func (m *memoryStore) Save(ctx context.Context, r *Record) error {
	data, err := EncodeRecord(r)
	if err != nil {
		return err
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.revisions[r.Build] != r.Revision-1 {
		return fmt.Errorf("%w: build %s", ErrConflict, r.Build)
	}
	m.records[r.Build], m.revisions[r.Build] = data, r.Revision
	return nil
}

func (m *memoryStore) Load(_ context.Context, build string) (*Record, error) {
	m.mu.Lock()
	data, ok := m.records[build]
	m.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("%w: %q", ErrNoRecord, build)
	}
	return DecodeRecord(build, data)
}

func (m *memoryStore) List(context.Context) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.records)), nil
}

func (m *memoryStore) Delete(_ context.Context, build string) error {
	if err := validateBuildID(build); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.records, build)
	delete(m.revisions, build)
	return nil
}
