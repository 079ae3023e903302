package ec2test

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

type image struct {
	base

	alias          string // of the owner: "amazon"
	name           string
	description    string
	arch           string
	virtualization string
	bootMode       string
	imds           string
	tpm            string
	ena            bool
	sriov          string
	rootDevice     string
	platform       string // platform details
	usage          string // usage operation
	mappings       []mapping

	doneAt         time.Time
	failure        *stateReasonXML // if not nil, the image fails at doneAt
	disabled       bool
	deprecateAt    time.Time
	protected      bool
	cooldown       bool
	protectedUntil time.Time // end of the cooldown after protection was disabled
	lastLaunched   time.Time
	launch         permissions

	sourceInstance string
	sourceImage    string
	sourceRegion   string
}

func (i *image) state(now time.Time) string {
	switch {
	case now.Before(i.doneAt):
		return "pending"
	case i.failure != nil:
		return "failed"
	case i.disabled:
		return "disabled"
	}
	return "available"
}

func (i *image) deprecated(now time.Time) bool {
	return !i.deprecateAt.IsZero() && !now.Before(i.deprecateAt)
}

// protection returns the value of the attribute deregistrationProtection.
func (i *image) protection(now time.Time) string {
	switch {
	case i.protected && i.cooldown:
		return "enabled-with-cooldown"
	case i.protected:
		return "enabled-without-cooldown"
	case now.Before(i.protectedUntil):
		return "disabled after " + ec2query.FormatTime(i.protectedUntil)
	}
	return "disabled"
}

func (i *image) uses(snapshotID string) bool {
	return slices.ContainsFunc(i.mappings, func(m mapping) bool { return m.EBS != nil && m.EBS.SnapshotID == snapshotID })
}

func (i *image) rootSnapshot(r *region) *snapshot {
	for _, m := range i.mappings {
		if m.Device == i.rootDevice && m.EBS != nil {
			if s, ok := r.snapshots.get(m.EBS.SnapshotID); ok {
				return s
			}
		}
	}
	return nil
}

// mayLaunch reports whether the caller may see and use the image.
func (c *call) mayLaunch(i *image) bool { return c.owns(&i.base) || c.admits(&i.launch) }

// usableImage returns an image that the caller may launch.
func (c *call) usableImage(id string) (*image, *ec2query.Error) {
	if err := imageKind().check(id); err != nil {
		return nil, err
	}
	i, ok := c.images.get(id)
	if !ok || !c.mayLaunch(i) || !c.isVisible(&i.base) {
		return nil, imageKind().missing(id)
	}
	return i, nil
}

// ownImage returns an image of the caller. For a visible image of another
// account it fails with AuthFailure.
func (c *call) ownImage(id string) (*image, *ec2query.Error) {
	i, err := c.usableImage(id)
	if err != nil {
		return nil, err
	}
	if !c.owns(&i.base) {
		return nil, ec2query.Errorf("AuthFailure", "Not authorized for image:%s", id)
	}
	return i, nil
}

// nameKey returns the key of an image in region.imageNames.
func nameKey(account, name string) string { return account + " " + name }

// checkImageName rejects an image name that is malformed or already used by the
// caller in this region, and a description that is too long.
func (c *call) checkImageName(name, description string) *ec2query.Error {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("()[] ./-'@_", r)
	}
	if len(name) < 3 || len(name) > 128 || strings.IndexFunc(name, func(r rune) bool { return !plain(r) }) >= 0 {
		return ec2query.Errorf("InvalidAMIName.Malformed", "AMI names must be between 3 and 128 characters long, and may contain letters, numbers, "+
			"'(', ')', '[', ']', ' ', '.', '/', '-', ''', '@' and '_'")
	}
	if utf8.RuneCountInString(description) > 255 {
		return ec2query.Errorf("InvalidParameterValue", "Description exceeds the maximum length of 255 characters.")
	}
	if id, taken := c.imageNames[nameKey(c.account, name)]; taken {
		return ec2query.Errorf("InvalidAMIName.Duplicate", "AMI name %s is already in use by AMI %s", name, id)
	}
	return nil
}

func (r *region) addImage(i *image) {
	r.images.put(i)
	r.imageNames[nameKey(i.owner, i.name)] = i.id
	end := "available"
	if i.failure != nil {
		end = "failed"
	}
	if i.doneAt.After(i.created) {
		r.server.willChange(i.id, end, i.doneAt, i.created)
	}
	for _, id := range i.snapshots() {
		r.imagesBySnapshot[id] = append(r.imagesBySnapshot[id], i)
	}
}

func (r *region) dropImage(i *image) {
	r.images.remove(i.id)
	delete(r.imageNames, nameKey(i.owner, i.name))
	for _, id := range i.snapshots() {
		left := slices.DeleteFunc(r.imagesBySnapshot[id], func(user *image) bool { return user == i })
		if r.imagesBySnapshot[id] = left; len(left) == 0 {
			delete(r.imagesBySnapshot, id)
		}
	}
}

// snapshots returns the ids of the image's snapshots without duplicates.
func (i *image) snapshots() []string {
	var ids []string
	for _, m := range i.mappings {
		if m.EBS != nil && m.EBS.SnapshotID != "" && !slices.Contains(ids, m.EBS.SnapshotID) {
			ids = append(ids, m.EBS.SnapshotID)
		}
	}
	return ids
}

type stateReasonXML struct {
	Code    string `xml:"code"`
	Message string `xml:"message"`
}

// FailImage makes a pending image fail, as EC2 does when a snapshot fails. The
// reason becomes the message of the image's StateReason. It returns an error if
// the image does not exist or is not pending.
func (s *Server) FailImage(id, reason string) error {
	for _, r := range s.existing() {
		r.mu.Lock()
		i, ok := r.images.get(id)
		now := s.now()
		pending := ok && i.state(now) == "pending"
		if pending {
			i.failure, i.doneAt = &stateReasonXML{"Client.InvalidSnapshot.NotFound", reason}, now
			s.willChange(i.id, "failed", now, now)
		}
		r.mu.Unlock()
		if ok && !pending {
			return fmt.Errorf("image %s is not pending", id)
		}
		if ok {
			return nil
		}
	}
	return fmt.Errorf("image %q not found", id)
}
