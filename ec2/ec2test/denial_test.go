package ec2test_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

func TestDecodeAuthorizationMessage(t *testing.T) {
	srv, client := start(t, nil)
	srv.Fail(ec2test.Fault{Action: "DescribeImages", Denied: &ec2test.Denial{Resource: "*", Statement: "NoImages"}})
	_, err := client.DescribeImages(t.Context(), &awsec2.DescribeImagesInput{})
	if code(err) != "UnauthorizedOperation" {
		t.Fatalf("DescribeImages = %v, want UnauthorizedOperation", err)
	}
	_, message, _ := strings.Cut(err.Error(), "Encoded authorization failure message: ")
	tokens := sts.NewFromConfig(srv.Config("us-east-1"))
	out, err := tokens.DecodeAuthorizationMessage(t.Context(), &sts.DecodeAuthorizationMessageInput{EncodedMessage: aws.String(message)})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"allowed":false,"explicitDeny":true,"matchedStatements":{"items":[{"statementId":"NoImages","effect":"DENY"}]},` +
		`"context":{"principal":{"id":"AIDAEC2TEST","arn":"arn:aws:iam::123456789012:user/ec2test","name":"ec2test"},"action":"ec2:DescribeImages","resource":"*"}}`
	if got := aws.ToString(out.DecodedMessage); got != want {
		t.Errorf("DecodeAuthorizationMessage = %s, want %s", got, want)
	}
	_, err = tokens.DecodeAuthorizationMessage(t.Context(), &sts.DecodeAuthorizationMessageInput{EncodedMessage: aws.String("made up")})
	if code(err) != "InvalidAuthorizationMessageException" {
		t.Errorf("DecodeAuthorizationMessage of an invalid message = %v, want InvalidAuthorizationMessageException", err)
	}
}
