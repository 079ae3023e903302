package mask

import "bytes"

// A node is a node of the trie of all secrets. A node that only one secret passes
// through has no children but the rest of that secret.
type node struct {
	labels []byte // of the edges to kids
	kids   []*node
	length int    // of the secret that ends here, or 0
	tail   string // the rest of the only secret below, if there are no kids
	whole  int    // the length of that secret
}

// insert adds the rest of a secret of the given length below n.
func (n *node) insert(rest string, length int) {
	for {
		if rest == "" {
			n.length = length
			return
		}
		if len(n.kids) == 0 && n.tail == "" && n.length == 0 {
			n.tail, n.whole = rest, length
			return
		}
		if n.tail != "" {
			n.kid(n.tail[0]).insert(n.tail[1:], n.whole)
			n.tail = ""
		}
		n, rest = n.kid(rest[0]), rest[1:]
	}
}

// kid returns the child of n behind b. It creates it if necessary.
func (n *node) kid(b byte) *node {
	if i := bytes.IndexByte(n.labels, b); i >= 0 {
		return n.kids[i]
	}
	n.labels, n.kids = append(n.labels, b), append(n.kids, &node{})
	return n.kids[len(n.kids)-1]
}

// A cursor is a place in the trie: a node, or a place in its tail.
type cursor struct {
	node *node
	tail int // bytes of node.tail passed
}

// step returns the place behind b.
func (c cursor) step(b byte) (cursor, bool) {
	if c.node.tail != "" {
		if c.tail < len(c.node.tail) && c.node.tail[c.tail] == b {
			c.tail++
			return c, true
		}
		return c, false
	}
	if i := bytes.IndexByte(c.node.labels, b); i >= 0 {
		return cursor{node: c.node.kids[i]}, true
	}
	return c, false
}

// length returns the length of the secret that ends at c, or 0.
func (c cursor) length() int {
	if c.node.tail != "" && c.tail == len(c.node.tail) {
		return c.node.whole
	}
	if c.tail == 0 {
		return c.node.length
	}
	return 0
}

// more reports whether a secret continues after c.
func (c cursor) more() bool {
	return len(c.node.kids) > 0 || c.tail < len(c.node.tail)
}
