package ec2test

import (
	"cmp"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// pageParams are the paging parameters of a describe call.
type pageParams struct {
	MaxResults *int   `ec2:"MaxResults"`
	NextToken  string `ec2:"NextToken"`
}

// pageLimits is the range of an action's MaxResults. The zero value means 5 to
// 1000.
type pageLimits struct{ min, max int }

// query holds the parameters of a describe call.
type query[T record] struct {
	kind    kind
	ids     []string
	filters []filterParam
	known   filters[T]
	idName  string // filter on the id, whose values are looked up directly
	page    pageParams
	limits  pageLimits
	scope   func(T) bool // whether the caller may see it at all; nil means only the owner may
	omit    func(T) bool // whether to omit it unless named by id; nil omits nothing
}

func (c *call) owns(b *base) bool { return b.owner == c.account }

// isVisible reports whether a resource has become visible to this call, which
// with eventual consistency happens later than its creation.
func (c *call) isVisible(b *base) bool {
	return !c.now.Before(b.visible) || c.viewSeed != 0 && scramble(c.viewSeed+b.seq)&1 == 0
}

// find runs a query on a table.
func find[T record](c *call, t *table[T], q query[T]) (items []T, next string, _ *ec2query.Error) {
	if q.scope == nil {
		q.scope = func(r T) bool { return c.owns(r.meta()) }
	}
	if len(q.ids) > 0 && q.page.MaxResults != nil {
		return nil, "", ec2query.InvalidCombination("The parameter MaxResults cannot be used with the parameter %ss", q.kind.resource)
	}
	m, err := q.known.compile(c, q.filters, func(r T) tags { return r.meta().tags })
	if err != nil {
		return nil, "", err
	}
	for _, id := range q.ids {
		if err := q.kind.check(id); err != nil {
			return nil, "", err
		}
		r, ok := t.get(id)
		if !ok || !q.scope(r) || !c.isVisible(r.meta()) {
			return nil, "", q.kind.missing(id)
		}
		if m.match(r) && !slices.Contains(items, r) {
			items = append(items, r)
		}
	}
	if len(q.ids) == 0 {
		add := func(r T) {
			if q.scope(r) && c.isVisible(r.meta()) && (q.omit == nil || !q.omit(r)) && m.match(r) {
				items = append(items, r)
			}
		}
		if ids, ok := plainIDs(q.filters, q.idName); ok {
			for _, id := range ids {
				if r, ok := t.get(id); ok {
					add(r)
				}
			}
		} else {
			// Stop one item past the page: it shows that there is another page.
			last, err := pageStart(c, q.page)
			if err != nil {
				return nil, "", err
			}
			for r := range t.after(last) {
				if add(r); q.page.MaxResults != nil && len(items) > *q.page.MaxResults {
					break
				}
			}
		}
	}
	slices.SortFunc(items, func(a, b T) int { return cmp.Compare(a.meta().seq, b.meta().seq) })
	return page(c, items, q.page, q.limits, func(r T) uint64 { return r.meta().seq })
}

// plainIDs returns the values of a filter if they have no wildcards.
func plainIDs(params []filterParam, name string) ([]string, bool) {
	for _, p := range params {
		if name != "" && p.Name == name && !strings.ContainsAny(strings.Join(p.Value, ""), `*?\`) {
			ids := slices.Clone(p.Value)
			slices.Sort(ids)
			return slices.Compact(ids), true
		}
	}
	return nil, false
}

// page returns one page of items, which are sorted by key, and the token of the
// next page. A token holds the key of the page's last item, so that resources
// created or deleted between two requests shift nothing.
func page[T any](c *call, items []T, p pageParams, limits pageLimits, key func(T) uint64) ([]T, string, *ec2query.Error) {
	if limits.max == 0 {
		limits = pageLimits{5, 1000}
	}
	if p.MaxResults != nil && (*p.MaxResults < limits.min || *p.MaxResults > limits.max) {
		return nil, "", ec2query.Errorf("InvalidParameterValue", "Value ( %d ) for parameter maxResults is invalid. Expecting a value between %d and %d.",
			*p.MaxResults, limits.min, limits.max)
	}
	last, err := pageStart(c, p)
	if err != nil {
		return nil, "", err
	}
	if p.NextToken != "" {
		items = slices.DeleteFunc(items, func(r T) bool { return key(r) <= last })
	}
	if p.MaxResults == nil || len(items) <= *p.MaxResults {
		return items, "", nil
	}
	items = items[:*p.MaxResults]
	token := c.action.name + " " + strconv.FormatUint(key(items[len(items)-1]), 10)
	return items, base64.RawURLEncoding.EncodeToString([]byte(token)), nil
}

// pageStart returns the key of the previous page's last item, or zero for the
// first page.
func pageStart(c *call, p pageParams) (uint64, *ec2query.Error) {
	if p.NextToken == "" {
		return 0, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(p.NextToken)
	action, after, ok := strings.Cut(string(raw), " ")
	last, numErr := strconv.ParseUint(after, 10, 64)
	if err != nil || numErr != nil || !ok || action != c.action.name {
		return 0, ec2query.Errorf("InvalidParameterValue", "The specified NextToken is invalid")
	}
	return last, nil
}

// lookup returns the caller's resource with an id.
func lookup[T record](c *call, t *table[T], k kind, id string) (T, *ec2query.Error) {
	var none T
	if err := k.check(id); err != nil {
		return none, err
	}
	r, ok := t.get(id)
	if !ok || !c.owns(r.meta()) || !c.isVisible(r.meta()) {
		return none, k.missing(id)
	}
	return r, nil
}

// lookups returns the caller's resources with ids, and fails if any is missing.
func lookups[T record](c *call, t *table[T], k kind, ids []string) ([]T, *ec2query.Error) {
	out := make([]T, 0, len(ids))
	for _, id := range ids {
		r, err := lookup(c, t, k, id)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}
