package amicleanup

import (
	"maps"
	"regexp"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// A Snapshot describes an EBS snapshot as EC2 does.
type Snapshot struct {
	ID          string            `json:"id"`
	Description string            `json:"description,omitempty"`
	OwnerAlias  string            `json:"owner_alias,omitempty"`
	State       string            `json:"state"` // as EC2 names it: "completed", "pending", …
	Started     time.Time         `json:"started,omitzero"`
	GiB         int64             `json:"gib,omitempty"`   // of the volume
	Bytes       int64             `json:"bytes,omitempty"` // its full size; zero is unknown
	Tags        map[string]string `json:"tags,omitempty"`

	Images []string `json:"images,omitempty"`  // own images that contain it, in any state
	UsedBy []string `json:"used_by,omitempty"` // launch templates that attach it
	Lock   string   `json:"lock,omitempty"`    // as EC2 names it; empty means none
	Shares *Shares  `json:"shares,omitempty"`  // who else may create volumes from it; nil if not read
}

func snapshotOf(from *ec2types.Snapshot) Snapshot {
	s := Snapshot{
		ID:          aws.ToString(from.SnapshotId),
		Description: aws.ToString(from.Description),
		OwnerAlias:  aws.ToString(from.OwnerAlias),
		State:       string(from.State),
		Started:     aws.ToTime(from.StartTime).UTC(),
		GiB:         int64(aws.ToInt32(from.VolumeSize)),
		Bytes:       aws.ToInt64(from.FullSnapshotSizeInBytes),
	}
	for _, tag := range from.Tags {
		if s.Tags == nil {
			s.Tags = map[string]string{}
		}
		s.Tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	return s
}

// held returns why the snapshot must stay by its own description, or "".
func (s *Snapshot) held(now time.Time, minAge time.Duration) string {
	service := managedBy(s.Tags)
	if s.OwnerAlias == "aws-backup-vault" || backupDescription.MatchString(s.Description) {
		service = "AWS Backup"
	}
	until, open := unfinished(s.Tags)
	switch {
	case service != "":
		return "is managed by " + service
	case s.State != string(ec2types.SnapshotStateCompleted) && s.State != string(ec2types.SnapshotStateError):
		return "is " + s.State
	case s.Lock != "":
		return "is locked: " + s.Lock
	case len(s.UsedBy) > 0:
		return "is attached by " + s.UsedBy[0]
	case open && until.After(now):
		return "belongs to a build that may run until " + timeText(until)
	case s.Started.IsZero() || now.Sub(s.Started) < minAge:
		return "is younger than " + spanText(minAge)
	default:
		return ""
	}
}

// drift describes how the snapshot differs from now, or returns "".
func (s *Snapshot) drift(now *Snapshot) string {
	switch {
	case s.State != now.State:
		return "its state is " + now.State + " now"
	case !maps.Equal(s.Tags, now.Tags):
		return "its tags have changed"
	default:
		return ""
	}
}

var (
	// The description that AWS Backup gives its snapshots.
	backupDescription = regexp.MustCompile(`created by the AWS Backup service`)

	// A copy names two images and belongs to the first.
	copiedFor = regexp.MustCompile(`DestinationAmi (ami-[0-9a-f]+)`)

	imageID = regexp.MustCompile(`ami-[0-9a-f]{8,17}`)
)

// describedImages returns the images that EC2's description names. CreateImage
// and CopyImage write one, RegisterImage does not.
func (s *Snapshot) describedImages() []string {
	if copied := copiedFor.FindStringSubmatch(s.Description); copied != nil {
		return copied[1:]
	}
	return imageID.FindAllString(s.Description, -1)
}
