package amicleanup

import (
	"time"

	"github.com/bakestone-go/bakestone/amicleanup/inuse"
)

// Evaluate decides about images of one region without reading anything.
func (p *Policy) Evaluate(now time.Time, region string, images ...Image) *Plan {
	return p.EvaluateUse(now, region, nil, nil, images...)
}

// EvaluateUse evaluates like Evaluate, with references and the coverage of their
// sources.
func (p *Policy) EvaluateUse(now time.Time, region string, refs []inuse.Reference, coverage []Coverage, images ...Image) *Plan {
	t := targetInventory{images: images, references: refs, coverage: coverage, answers: map[string]*answer{}}
	t.target.Config.Region = region
	return p.evaluate(&inventory{time: now, targets: []targetInventory{t}}, nil, 0)
}

// CompareVersions compares versions as Policy.Version does.
func CompareVersions(a, b string) int { return compareVersions(a, b) }
