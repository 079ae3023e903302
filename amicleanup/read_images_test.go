package amicleanup_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/bakestone-go/bakestone/amicleanup"
)

// planOf plans over these pages of a list of images, as EC2 answers them one after
// the other, the last one again and again.
func planOf(t *testing.T, bodies ...string) (*amicleanup.Plan, error) {
	t.Helper()
	served := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		body := bodies[min(served, len(bodies)-1)]
		served++
		w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
		_, _ = io.WriteString(w, body)
	}))
	defer srv.Close()
	c := amicleanup.Cleaner{
		SettleTime: atOnce,
		Targets: []amicleanup.Target{amicleanup.Connect(aws.Config{
			Region: where, BaseEndpoint: &srv.URL, Credentials: credentials.NewStaticCredentialsProvider("AKIATEST", "secret", ""),
		}, &amicleanup.ConnectOptions{MaxRetryDelay: time.Nanosecond})},
		Policy: amicleanup.Policy{Select: amicleanup.Select{Name: "*"}, Group: amicleanup.ByTag("family"), Keep: []amicleanup.Rule{amicleanup.Newest(1)}},
	}
	return c.Plan(t.Context())
}

func imagesXML(next string, images ...string) string {
	return `<?xml version="1.0" encoding="UTF-8"?>
<DescribeImagesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
    <requestId>59dbff89-35bd-4eac-99ed-be587EXAMPLE</requestId>
    <imagesSet><item>` + strings.Join(images, "</item>\n<item>") + `</item></imagesSet>` + next + `
</DescribeImagesResponse>`
}

const (
	fullImage = `<imageId>ami-0000000000000000a</imageId><imageLocation>x</imageLocation><imageState>available</imageState>
	<imageOwnerId>123456789012</imageOwnerId><imageOwnerAlias>self</imageOwnerAlias><isPublic>true</isPublic><architecture>arm64</architecture>
	<name>a &lt;b&gt; &amp; &quot;c&quot; &#x2603; ü</name><creationDate>2026-01-02T03:04:05.000Z</creationDate><deprecationTime>2027-01-02T03:04:05.000Z</deprecationTime>
	<lastLaunchedTime>2026-02-02T03:04:05Z</lastLaunchedTime><deregistrationProtection>disabled</deregistrationProtection>
	<sourceImageId>ami-0000000000000000f</sourceImageId><sourceImageRegion>us-east-1</sourceImageRegion><sourceInstanceId>i-0000000000000000f</sourceInstanceId>
	<productCodes/><blockDeviceMapping>
		<item><deviceName>/dev/xvda</deviceName><ebs><snapshotId>snap-0000000000000000a</snapshotId><volumeSize>8</volumeSize><encrypted>false</encrypted></ebs></item>
		<item><deviceName>/dev/xvdb</deviceName><ebs><snapshotId>snap-0000000000000000b</snapshotId><volumeSize>100</volumeSize></ebs></item>
		<item><deviceName>/dev/xvdc</deviceName><ebs><snapshotId>snap-0000000000000000a</snapshotId><volumeSize>8</volumeSize></ebs></item>
		<item><deviceName>/dev/xvdd</deviceName><ebs><volumeSize>50</volumeSize></ebs></item>
		<item><deviceName>/dev/sdb</deviceName><virtualName>ephemeral0</virtualName></item></blockDeviceMapping>
	<tagSet><item><key>family</key><value>web</value></item><item><value/><key>empty</key></item><item><key>key&amp;</key><value>two
lines</value></item></tagSet>`
	plainImage = `<imageId>ami-0000000000000000b</imageId><imageState>available</imageState><architecture>arm64</architecture><name>plain</name>
	<creationDate>2025-01-02T03:04:05.000Z</creationDate><tagSet><item><key>family</key><value>web</value></item></tagSet>`
	newToken = `<nextToken>second</nextToken>`
)

// A comment is not in the form that EC2 writes: the SDK decodes such a page.
const oddXML = `<!-- a comment -->`

func TestReadImagesMatchesSDK(t *testing.T) {
	var plans []*amicleanup.Plan
	for _, odd := range []string{"", oddXML} {
		plan, err := planOf(t, imagesXML(odd+newToken, fullImage), imagesXML(odd, plainImage, fullImage))
		if err != nil {
			t.Fatalf("Plan() of pages with %q: %v", odd, err)
		}
		plan.Made, plan.Expires = time.Time{}, time.Time{}
		plans = append(plans, plan)
	}
	if !reflect.DeepEqual(plans[0], plans[1]) {
		t.Errorf("Plan() = %s\nwant as decoded by the SDK\n%s", describe(t, plans[0]), describe(t, plans[1]))
	}
	items := plans[0].Targets[0].Items
	if len(items) != 2 || items[0].Image.Name != `a <b> & "c" ☃ ü` || items[0].Image.GiB != 108 || items[0].Image.Tags["key&"] != "two\nlines" || items[1].Action != amicleanup.Remove {
		t.Errorf("Plan() = %s, want the whole image and the plain one", describe(t, plans[0]))
	}
}

func TestReadImagesAgain(t *testing.T) {
	whole := imagesXML("", plainImage, fullImage)
	half, _, _ := strings.Cut(whole, "<tagSet>")
	for _, tt := range []struct{ name, first string }{
		{"cut", half},
		{"damaged", strings.Replace(whole, "</value>", "</valu>", 1)},
		{"not an integer", strings.Replace(whole, ">100<", ">many<", 1)},
	} {
		plan, err := planOf(t, tt.first, whole)
		if err == nil && len(plan.Targets[0].Items) != 2 {
			t.Errorf("%s: Plan() has %d images, want 2", tt.name, len(plan.Targets[0].Items))
		}
		if wantErr := tt.name != "cut"; (err != nil) != wantErr {
			t.Errorf("%s: Plan() error %v, want one: %v", tt.name, err, wantErr)
		}
		if n := plan.Removals(); err != nil && n > 0 {
			t.Errorf("%s: Plan() with error %v removes %d images, want 0", tt.name, err, n)
		}
	}
}

func describe(t *testing.T, plan *amicleanup.Plan) string {
	t.Helper()
	var text strings.Builder
	for _, item := range plan.Targets[0].Items {
		fmt.Fprintf(&text, "%s %q %s %+v\n", item.Image.ID, item.Group, item.Action, *item.Image)
	}
	return text.String()
}
