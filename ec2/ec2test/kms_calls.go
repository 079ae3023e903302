package ec2test

import (
	"strings"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// kmsTable returns the calls of KMS by name.
func kmsTable() map[string]action {
	return tableOf(handleJSON("DescribeKey", (*call).describeKey))
}

type describeKeyInput struct {
	KeyID string `json:"KeyId"`
}

type keyJSON struct {
	Account string `json:"AWSAccountId"`
	ARN     string `json:"Arn"`
	ID      string `json:"KeyId"`
	Enabled bool   `json:"Enabled"`
	State   string `json:"KeyState"`
	Usage   string `json:"KeyUsage"`
	Spec    string `json:"KeySpec"`
	Manager string `json:"KeyManager"`
}

type describeKeyOutput struct {
	Metadata keyJSON `json:"KeyMetadata"`
}

func (c *call) describeKey(in *describeKeyInput) (*describeKeyOutput, *ec2query.Error) {
	arn, trouble := c.key(c.account, in.KeyID)
	parts := strings.SplitN(arn, ":", 6)
	switch {
	case trouble != keyInaccessible:
	case len(parts) == 6 && parts[3] == c.name && parts[4] != c.account: // KMS does not reveal whether it exists
		return nil, ec2query.Errorf("AccessDeniedException", "The account %s is not authorized to perform: kms:DescribeKey on resource: %s "+
			"because no resource-based policy allows the kms:DescribeKey action", c.account, arn)
	default:
		return nil, ec2query.Errorf("NotFoundException", "Key '%s' does not exist", in.KeyID)
	}
	out := keyJSON{
		Account: parts[4], ARN: arn, ID: strings.TrimPrefix(parts[5], "key/"), Enabled: true, State: "Enabled",
		Usage: "ENCRYPT_DECRYPT", Spec: "SYMMETRIC_DEFAULT", Manager: "CUSTOMER",
	}
	if trouble == keyDisabled {
		out.Enabled, out.State = false, "Disabled"
	}
	if arn == c.managedKey(c.account) {
		out.Manager = "AWS"
	}
	return &describeKeyOutput{out}, nil
}
