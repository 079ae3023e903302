package ec2

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// A Role is an IAM role to assume, in another account or the same.
type Role struct {
	// ARN names the role: "arn:aws:iam::123456789012:role/images".
	ARN string

	// ExternalID is the external id that the role's trust policy demands. Empty
	// sends none.
	ExternalID string

	// SessionName appears in the logs of the role's account. Empty means
	// "bakestone".
	SessionName string

	// Duration is how long each set of credentials is valid; they are renewed
	// automatically. Zero means STS's default, one hour.
	Duration time.Duration
}

// Assume returns the role's account, accessed with the role's permissions and the
// same options. It does no I/O: the role is assumed on first use.
func (c *Cloud) Assume(role Role) *Cloud {
	session := role.SessionName
	if session == "" {
		session = "bakestone"
	}
	cfg := c.config.Copy()
	cfg.Credentials = awsapi.AssumeRole(c.region("").sts, role.ARN, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName, o.Duration = session, role.Duration
		if role.ExternalID != "" {
			o.ExternalID = aws.String(role.ExternalID)
		}
	})
	other := NewCloud(cfg, &c.options)
	other.dials, other.role, other.assumedBy = c.dials, role.ARN, c
	return other
}

// Account returns the account's id, which it looks up once.
func (c *Cloud) Account(ctx context.Context) (string, error) {
	c.mu.Lock()
	known := c.accountID
	c.mu.Unlock()
	if known != "" {
		return known, nil
	}
	return c.account.get(ctx, "", func(ctx context.Context) (string, error) {
		who, err := c.region("").sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		if err != nil {
			return "", err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.accountID = aws.ToString(who.Account)
		return c.accountID, nil
	})
}
