package amicleanup

import "cmp"

// A lineage tells which units wait for images that were made from theirs.
type lineage struct {
	blockers []int // by unit: the number of edges that are not done
	edges    []edge
	byChild  map[string][]int // edges, by image id of the child
}

// An edge leads from a child to a parent that is about to take a step.
type edge struct {
	child string // image id
	unit  int    // that the parent belongs to
	steps int    // how far the parent goes
	done  bool   // the child goes as far
}

// lineage returns what the units wait for. It is empty if no rule keeps parents.
func (e *evaluation) lineage(units [][]member) *lineage {
	l := &lineage{blockers: make([]int, len(units)), byChild: map[string][]int{}}
	if e.needs.Parents == 0 || len(e.parents) == 0 {
		return l
	}
	type parent struct {
		item *Item
		unit int
	}
	parents := map[string]parent{} // those that take a step
	for i, u := range units {
		for _, m := range u {
			if m.item.Action.steps() > 0 && e.parents[m.item.Image.ID] == m.item {
				parents[m.item.Image.ID] = parent{m.item, i}
			}
		}
	}
	add := func(child *Image, item *Item) {
		child.eachParent(func(id string) {
			p, ok := parents[id]
			if !ok || item != nil && (item.Release != "" && item.Release == p.item.Release || e.passes(item, p.item.Action)) {
				return
			}
			l.byChild[child.ID] = append(l.byChild[child.ID], len(l.edges))
			l.edges = append(l.edges, edge{child: child.ID, unit: p.unit, steps: p.item.Action.steps()})
			l.blockers[p.unit]++
		})
	}
	for _, img := range e.unselected {
		add(img, nil)
	}
	for item := range e.items {
		add(item.Image, item)
	}
	return l
}

// passes reports whether a parent may go as far as action although a child does
// nothing in this run: the child went before, or stays as the last generation of
// parents.
func (e *evaluation) passes(child *Item, action Action) bool {
	if child.ended {
		return cmp.Or(e.policy.Lifecycle.End, Remove).steps() >= action.steps()
	}
	return child.generation > 0 && child.generation >= e.needs.Parents
}

// goes calls free for each unit that waits for nothing more when a unit goes.
func (l *lineage) goes(unit []member, free func(unit int)) {
	for _, m := range unit {
		for _, i := range l.byChild[m.item.Image.ID] {
			at := &l.edges[i]
			if at.done || m.item.Action.steps() < at.steps {
				continue
			}
			at.done = true
			if l.blockers[at.unit]--; l.blockers[at.unit] == 0 {
				free(at.unit)
			}
		}
	}
}

// waitedFor returns one image for each unit that still waits.
func (l *lineage) waitedFor() map[int]string {
	children := map[int]string{}
	for i := range l.edges {
		if at := &l.edges[i]; !at.done && children[at.unit] == "" {
			children[at.unit] = at.child
		}
	}
	return children
}

// oldestFirst is a heap of units by their index.
type oldestFirst []int

func (h oldestFirst) Len() int           { return len(h) }
func (h oldestFirst) Less(i, j int) bool { return h[i] < h[j] }
func (h oldestFirst) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *oldestFirst) Push(x any)        { *h = append(*h, x.(int)) } //nolint:forcetypeassert // only ints are pushed

// Pop removes the last unit.
func (h *oldestFirst) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
