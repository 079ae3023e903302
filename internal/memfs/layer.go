package memfs

import "maps"

// A layer is the inode table of one volume: its changes since it was last
// cloned, on top of layers shared with other volumes. Only the top layer
// changes.
type layer struct {
	base  *layer
	own   map[uint64]*inode // nil for a removed inode
	depth int
}

// maxDepth bounds the number of layers a lookup walks.
const maxDepth = 8

func newLayer(base *layer) *layer {
	l := &layer{base: base, own: map[uint64]*inode{}}
	if base != nil {
		l.depth = base.depth + 1
	}
	return l
}

func (l *layer) get(ino uint64) *inode {
	for ; l != nil; l = l.base {
		if n, ok := l.own[ino]; ok {
			return n
		}
	}
	return nil
}

func (l *layer) set(ino uint64, n *inode) { l.own[ino] = n }

func (l *layer) drop(ino uint64) {
	if l.base == nil {
		delete(l.own, ino)
		return
	}
	l.own[ino] = nil
}

// freeze returns the layer for sharing; it must no longer be written.
func (l *layer) freeze() *layer {
	if len(l.own) == 0 && l.base != nil {
		return l.base
	}
	if l.depth < maxDepth {
		return l
	}
	flat := newLayer(nil)
	l.flattenInto(flat.own)
	return flat
}

func (l *layer) flattenInto(all map[uint64]*inode) {
	if l.base != nil {
		l.base.flattenInto(all)
	}
	maps.Copy(all, l.own)
	maps.DeleteFunc(all, func(_ uint64, n *inode) bool { return n == nil })
}
