package ec2test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// FuzzRequest sends requests of any content to every service of a server with some
// resources. Each is answered in its protocol, and never as an internal error.
func FuzzRequest(f *testing.F) {
	for _, seed := range []struct{ service, body string }{
		{"ec2", "Action=DescribeImages&Owner.1=self&Filter.1.Name=name&Filter.1.Value.1=a*%3F%5C"},
		{"ec2", "Action=DescribeImages&MaxResults=5&NextToken=RGVzY3JpYmVJbWFnZXMgMQ"},
		{"ec2", "Action=RegisterImage&Name=a&RootDeviceName=/dev/xvda&BlockDeviceMapping.1.DeviceName=/dev/xvda&BlockDeviceMapping.1.Ebs.SnapshotId=snap-1"},
		{"ec2", "Action=CreateVolume&AvailabilityZone=us-east-1a&Size=1&TagSpecification.1.ResourceType=volume&TagSpecification.1.Tag.1.Key=%00"},
		{"ec2", "Action=CreateSecurityGroup&GroupName=a&GroupDescription=%3C%26%3E"},
		{"ec2", "Action=AuthorizeSecurityGroupIngress&GroupName=default&IpPermissions.1.IpProtocol=tcp&IpPermissions.1.FromPort=-1&IpPermissions.1.IpRanges.1.CidrIp=10.0.0.0/33"},
		{"ec2", "Action=ImportKeyPair&KeyName=a&PublicKeyMaterial=c3NoLXJzYSBBQUFB"},
		{"ec2", "Action=CreateLaunchTemplate&LaunchTemplateName=a&LaunchTemplateData.UserData=!"},
		{"ec2", "Action=DescribeInstanceTypes&DryRun=true"}, {"ec2", "Action=CreateTags&ResourceId.1=i-1&Tag.1.Key=aws:x"}, {"ec2", "Action=&Action=X"}, {"ec2", "%zz"},
		{"sts", "Action=AssumeRole&RoleArn=arn:aws:iam::1:role/x&RoleSessionName=a"}, {"sts", "Action=DecodeAuthorizationMessage&EncodedMessage=AAAA"},
		{"iam", "Action=CreateRole&RoleName=a&AssumeRolePolicyDocument=%7B%22Statement%22%3A%5B%7B%7D%5D%7D"}, {"autoscaling", "Action=CreateLaunchConfiguration&LaunchConfigurationName=a"},
		{"ssm", `PutParameter {"Name":"/a","Value":"b","Type":"String"}`}, {"ssm", `GetParameters {"Names":["/a:1:2"]}`}, {"ssm", `DescribeParameters {"ParameterFilters":[{"Key":"Name","Option":"BeginsWith","Values":["/"]}]}`},
		{"kms", `DescribeKey {"KeyId":"arn:aws:kms:us-east-1:1:key/x"}`}, {"rbin", `{"Identifier":"a"}`},
		{"ebs", `POST /snapshots {"VolumeSize":1,"Tags":[{"Key":"a"}]}`}, {"ebs", "PUT /snapshots/snap-0123456789abcdef0/blocks/1 x"}, {"ebs", "GET /snapshots/snap-00000000/blocks?maxResults=1&=x"},
		{"ebs", "GET /snapshots/snap-00000000/blocks/1?blockToken=AAEB"}, {"ebs", "GET /snapshots/snap-00000000/changedblocks"}, {"ebs", "POST /snapshots/completion/x"}, {"ebs", "GET /snapshots/a/b/c/d"},
	} {
		f.Add(seed.service, seed.body)
	}
	s := New(nil)
	f.Cleanup(s.Close)
	f.Fuzz(func(t *testing.T, service, body string) {
		if regexp.MustCompile(`RunInstances|CreateFleet|RequestSpot|AutoScalingGroup|StartInstance|SetDesiredCapacity`).MatchString(body) {
			return // machines of thousands of requests do not fit into memory
		}
		method, path := http.MethodPost, "/"
		if service == "rbin" {
			path = "/rules"
		}
		if service == "ebs" {
			parts := strings.SplitN(body, " ", 3)
			if u, err := url.ParseRequestURI(parts[min(1, len(parts)-1)]); err != nil || !regexp.MustCompile(`^[A-Z]+$`).MatchString(parts[0]) {
				return
			} else if method, path = parts[0], u.RequestURI(); len(path) == 0 || path[0] != '/' {
				return
			}
			body = strings.Join(parts[min(2, len(parts)):], " ")
		}
		r := httptest.NewRequestWithContext(t.Context(), method, "http://ec2test.invalid"+path, strings.NewReader(body))
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIATEST123456789012/20260102/us-east-1/"+url.PathEscape(service)+"/aws4_request, x")
		if target, ok := map[string]string{"ssm": "AmazonSSM.", "kms": "TrentService."}[service]; ok {
			action, text, _ := strings.Cut(body, " ")
			r.Header.Set("X-Amz-Target", target+action)
			r.Body = io.NopCloser(strings.NewReader(text))
		}
		w := httptest.NewRecorder()
		s.serveHTTP(w, r)
		if w.Code >= http.StatusInternalServerError || w.Code < http.StatusOK {
			t.Errorf("%s request %q: status %d, %s", service, body, w.Code, w.Body)
		}
		text := bytes.TrimSpace(w.Body.Bytes())
		if bytes.HasPrefix(text, []byte("{")) || len(text) == 0 {
			if len(text) > 0 && !json.Valid(text) {
				t.Errorf("%s request %q: invalid JSON %q", service, body, text)
			}
			return
		}
		for d := xml.NewDecoder(bytes.NewReader(text)); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				return
			} else if err != nil {
				t.Fatalf("%s request %q: %v in %q", service, body, err, text)
			}
		}
	})
}

// FuzzFilter compares the wildcards of filters with regular expressions.
func FuzzFilter(f *testing.F) {
	for _, seed := range [][2]string{{"a*b?c", "axxbyc"}, {`\*\?\\`, `*?\`}, {"*a*a*a*b", strings.Repeat("a", 50)}, {`a\`, "a"}, {"**", ""}, {"é?", "éx"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if strings.HasSuffix(strings.ReplaceAll(pattern, `\\`, ""), `\`) {
			if globMatch(pattern, s) {
				t.Errorf("globMatch(%q, %q) = true, want false: nothing is escaped", pattern, s)
			}
			return
		}
		want := regexp.MustCompile(globRegexp(pattern)).MatchString(latin(s))
		if got := globMatch(pattern, s); got != want {
			t.Errorf("globMatch(%q, %q) = %v, want %v", pattern, s, got, want)
		}
	})
}

func globRegexp(pattern string) string {
	var b strings.Builder
	b.WriteString("(?s)^")
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '*':
			b.WriteString(".*")
		case c == '?':
			b.WriteString(".")
		case c == '\\' && i+1 < len(pattern):
			i++
			b.WriteString(regexp.QuoteMeta(latin(pattern[i : i+1])))
		default:
			b.WriteString(regexp.QuoteMeta(latin(pattern[i : i+1])))
		}
	}
	return b.String() + "$"
}

// latin makes a rune of each byte.
func latin(s string) string {
	runes := make([]rune, len(s))
	for i := range len(s) {
		runes[i] = rune(s[i])
	}
	return string(runes)
}
