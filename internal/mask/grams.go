package mask

// gram is the length of the beginnings of secrets that a [gramTable] holds.
const gram = 4

// gramOf returns the first bytes of text, the first one lowest.
func gramOf(text string) uint32 {
	_ = text[gram-1]
	return uint32(text[0]) | uint32(text[1])<<8 | uint32(text[2])<<16 | uint32(text[3])<<24
}

// wordOf returns the first eight bytes of text, the first one lowest.
func wordOf(text string) uint64 {
	_ = text[2*gram-1]
	return uint64(text[0]) | uint64(text[1])<<8 | uint64(text[2])<<16 | uint64(text[3])<<24 |
		uint64(text[4])<<32 | uint64(text[5])<<40 | uint64(text[6])<<48 | uint64(text[7])<<56
}

// A gramTable is a set of grams and how secrets may begin with each of them.
type gramTable struct {
	hashes [1 << hashBits]uint8 // 1 for the hashes of grams
	slots  []gramSlot           // by longer hashes
	used   int                  // slots
}

type gramSlot struct {
	gram uint32
	as   kinds // 0 if the slot is free
}

const hashBits = 17 // 128 KiB, of which common texts use a small part

func hash(gram uint32) uint32 { return gram * 0x9e3779b1 >> (32 - hashBits) }

// find returns the first position from i on, of those before the last four, with a
// gram that the table may have. Its loop is what most of a text takes.
func (t *gramTable) find(text string, i int) int {
	for ; i+2*gram <= len(text); i += gram + 1 {
		w := wordOf(text[i:])
		if t.may(uint32(w&0xffffffff)) || t.may(uint32(w>>8&0xffffffff)) || t.may(uint32(w>>16&0xffffffff)) ||
			t.may(uint32(w>>24&0xffffffff)) || t.may(uint32(w>>32)) {
			break
		}
	}
	for ; i < len(text)-gram; i++ {
		if t.may(gramOf(text[i:])) {
			return i
		}
	}
	return i
}

// may reports whether the table may have the gram.
func (t *gramTable) may(gram uint32) bool {
	return t.hashes[hash(gram)] != 0
}

// kinds returns how a secret may begin with the gram.
func (t *gramTable) kinds(gram uint32) kinds {
	if !t.may(gram) {
		return 0
	}
	return t.slot(gram).as
}

// slot returns the slot of the gram, or the free one that it would be in.
func (t *gramTable) slot(gram uint32) *gramSlot {
	hash := uint64(gram) * 0x9e3779b97f4a7c15
	for i := int(hash >> 33); ; i++ {
		if s := &t.slots[i&(len(t.slots)-1)]; s.as == 0 || s.gram == gram {
			return s
		}
	}
}

func (t *gramTable) add(gram uint32, as kinds) {
	t.hashes[hash(gram)] = 1
	if t.used >= len(t.slots)/2 {
		old := t.slots
		t.slots = make([]gramSlot, max(1024, 2*len(old)))
		for _, s := range old {
			if s.as != 0 {
				*t.slot(s.gram) = s
			}
		}
	}
	s := t.slot(gram)
	if s.as == 0 {
		t.used++
	}
	s.gram, s.as = gram, s.as|as
}
