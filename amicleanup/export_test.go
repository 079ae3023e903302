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
func (p *Policy) EvaluateUse(now time.Time, region string, refs []inuse.Reference, coverage []inuse.Coverage, images ...Image) *Plan {
	return p.evaluateUse(now, region, refs, coverage, images).plan
}

// EvaluationWork returns how many images and units an evaluation visits because of
// others.
func (p *Policy) EvaluationWork(now time.Time, region string, images ...Image) int {
	return p.evaluateUse(now, region, nil, nil, images).work
}

func (p *Policy) evaluateUse(now time.Time, region string, refs []inuse.Reference, coverage []inuse.Coverage, images []Image) *evaluation {
	t := targetInventory{references: refs, coverage: coverage, answers: map[string]*answer{}}
	for i := range images {
		t.images = append(t.images, &images[i])
	}
	t.target.Config.Region = region
	e := p.evaluation(&inventory{time: now, targets: []targetInventory{t}}, nil, 0)
	e.run()
	return e
}

// CompareVersions compares versions as Policy.Version does.
func CompareVersions(a, b string) int { return compareVersions(a, b) }
