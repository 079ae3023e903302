package ec2test

import (
	"math"
	"slices"
	"time"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// snapshotLock is a snapshot's lock, as the API reference of LockSnapshot
// describes it.
type snapshotLock struct {
	mode    string // "governance" or "compliance"
	created time.Time
	expires time.Time
	days    int
	hours   int // of the cooling-off period
}

func (l *snapshotLock) coolOff() time.Time { return l.created.Add(time.Duration(l.hours) * time.Hour) }

func (l *snapshotLock) state(now time.Time) string {
	switch {
	case !now.Before(l.expires):
		return "expired"
	case l.mode == "compliance" && now.Before(l.coolOff()):
		return "compliance-cooloff"
	}
	return l.mode
}

// locked reports whether a lock prevents the snapshot's deletion.
func (s *snapshot) locked(now time.Time) bool { return s.lock != nil && s.lock.state(now) != "expired" }

type lockSnapshotInput struct {
	SnapshotID     string `ec2:"SnapshotId,required"`
	LockMode       string `ec2:"LockMode,required,oneof=governance|compliance"`
	CoolOffPeriod  *int
	LockDuration   *int
	ExpirationDate *time.Time
}

type lockXML struct {
	ID      string `xml:"snapshotId"`
	State   string `xml:"lockState"`
	Days    int    `xml:"lockDuration"`
	Hours   int    `xml:"coolOffPeriod,omitempty"`
	CoolOff string `xml:"coolOffPeriodExpiresOn,omitempty"`
	Created string `xml:"lockCreatedOn"`
	Started string `xml:"lockDurationStartTime"`
	Expires string `xml:"lockExpiresOn"`
}

type lockInfoXML struct {
	lockXML
	Owner string `xml:"ownerId"`
}

func (c *call) lockXML(s *snapshot) lockXML {
	l := s.lock
	out := lockXML{ID: s.id, State: l.state(c.now), Days: l.days, Hours: l.hours, Created: ec2query.FormatTime(l.created), Started: ec2query.FormatTime(l.created), Expires: ec2query.FormatTime(l.expires)}
	if l.hours > 0 {
		out.CoolOff = ec2query.FormatTime(l.coolOff())
	}
	return out
}

func (c *call) lockSnapshot(in *lockSnapshotInput) (*lockXML, *ec2query.Error) {
	s, err := lookup(c, &c.snapshots, snapshotKind(), in.SnapshotID)
	if err != nil {
		return nil, err
	}
	const longest = 36500
	l := &snapshotLock{mode: in.LockMode, created: c.now}
	switch {
	case (in.LockDuration == nil) == (in.ExpirationDate == nil):
		return nil, ec2query.InvalidCombination("Either LockDuration or ExpirationDate must be specified, and not both")
	case in.LockDuration != nil && (*in.LockDuration < 1 || *in.LockDuration > longest):
		return nil, ec2query.InvalidValue("LockDuration", intText(in.LockDuration), "It must be between 1 and 36500 days.")
	case in.CoolOffPeriod != nil && (in.LockMode != "compliance" || *in.CoolOffPeriod < 1 || *in.CoolOffPeriod > 72):
		return nil, ec2query.InvalidValue("CoolOffPeriod", intText(in.CoolOffPeriod), "It must be between 1 and 72 hours, in compliance mode.")
	case in.LockDuration != nil:
		l.expires, l.days = c.now.AddDate(0, 0, *in.LockDuration), *in.LockDuration
	default:
		l.expires = in.ExpirationDate.UTC()
		l.days = int(math.Ceil(l.expires.Sub(c.now).Hours() / 24))
	}
	if in.CoolOffPeriod != nil {
		l.hours = *in.CoolOffPeriod
	}
	if s.locked(c.now) && s.lock.state(c.now) == "compliance" && (l.mode != "compliance" || l.expires.Before(s.lock.expires)) {
		return nil, ec2query.Errorf("OperationNotPermitted", "The lock of %s can only be extended", s.id)
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	s.lock = l
	out := c.lockXML(s)
	return &out, nil
}

type unlockOutput struct {
	ID string `xml:"snapshotId"`
}

func (c *call) unlockSnapshot(in *snapshotIDInput) (*unlockOutput, *ec2query.Error) {
	s, err := lookup(c, &c.snapshots, snapshotKind(), in.SnapshotID)
	if err != nil {
		return nil, err
	}
	if s.locked(c.now) && s.lock.state(c.now) == "compliance" {
		return nil, ec2query.Errorf("OperationNotPermitted", "The snapshot %s is locked in compliance mode", s.id)
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	s.lock = nil
	return &unlockOutput{s.id}, nil
}

func lockFilters() filters[*snapshot] {
	return filters[*snapshot]{
		"lock-state": func(c *call, s *snapshot) []string { return one(s.lock.state(c.now)) },
	}
}

type describeLocksInput struct {
	Filter     []filterParam
	SnapshotID []string `ec2:"SnapshotId"`
	pageParams
}

type describeLocksOutput struct {
	Snapshots ec2query.Set[lockInfoXML] `xml:"snapshotSet"`
	Next      string                    `xml:"nextToken,omitempty"`
}

func (c *call) describeLocks(in *describeLocksInput) (*describeLocksOutput, *ec2query.Error) {
	m, err := c.server.known.locks.compile(c, in.Filter, nil)
	if err != nil {
		return nil, err
	}
	if _, err := lookups(c, &c.snapshots, snapshotKind(), in.SnapshotID); err != nil {
		return nil, err
	}
	var found []*snapshot
	for s := range c.snapshots.all() {
		if s.lock != nil && c.owns(&s.base) && (len(in.SnapshotID) == 0 || slices.Contains(in.SnapshotID, s.id)) && m.match(s) {
			found = append(found, s)
		}
	}
	items, next, err := page(c, found, in.pageParams, pageLimits{}, func(s *snapshot) uint64 { return s.seq })
	return &describeLocksOutput{ec2query.MapSet(items, func(s *snapshot) lockInfoXML { return lockInfoXML{c.lockXML(s), s.owner} }), next}, err
}
