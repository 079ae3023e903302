package ec2test_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

func TestProcess(t *testing.T) {
	type result struct {
		args, dir, user, env, output, page string
		status                             int
		mode                               fs.FileMode
		removed, denied                    error
	}
	var got result
	install := func(ctx context.Context, p *ec2test.Process) int {
		got = result{args: fmt.Sprint(p.Args), dir: p.Dir, user: fmt.Sprint(p.User, " ", p.UID), env: p.Env["STAGE"]}
		if err := errors.Join(
			p.MkdirAll("site/img", 0o755),
			p.WriteFile("site/index.html", []byte("hello"), 0o644),
			p.Chmod("site/index.html", 0o600),
		); err != nil {
			return 1
		}
		page, err := p.ReadFile(p.Dir + "/site/index.html")
		if err != nil {
			return 2
		}
		info, err := p.Stat("site/index.html")
		if err != nil {
			return 3
		}
		got.page, got.mode = string(page), info.Mode()

		var output bytes.Buffer
		p.Env["STAGE"], p.Dir, p.Stdout = "child", p.Dir+"/site", &output
		got.status = p.Run(ctx, "sh", "-c", "echo $STAGE; ls; exit 3")
		got.output = output.String()

		if err := p.RemoveAll("img"); err != nil {
			return 4
		}
		_, got.removed = p.Stat("img")
		got.denied = p.WriteFile("/etc/passwd", nil, 0o644)
		return 5
	}
	server := ec2test.New(&ec2test.Options{Commands: map[string]ec2test.Command{"install": install}})
	defer server.Close()
	client := awsec2.NewFromConfig(server.Config("us-east-1"))
	images, err := client.DescribeImages(t.Context(), &awsec2.DescribeImagesInput{Owners: []string{ec2test.Canonical}})
	if err != nil {
		t.Fatal(err)
	}
	const script = "#!/bin/sh\ncd /home/ubuntu && STAGE=parent sudo -E -u ubuntu install nginx\necho status $?\n"
	launched, err := client.RunInstances(t.Context(), &awsec2.RunInstancesInput{
		ImageId: images.Images[0].ImageId, InstanceType: "t3.micro", MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		UserData: aws.String(base64.StdEncoding.EncodeToString([]byte(script))),
	})
	if err != nil {
		t.Fatal(err)
	}
	id := *launched.Instances[0].InstanceId
	conn, err := server.DialInstance(t.Context(), id) // waits for the user data
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if console := server.Console(id); !strings.Contains(console, "status 5") {
		t.Errorf("install did not exit with status 5; console:\n%s", console)
	}
	removed, denied := got.removed, got.denied
	got.removed, got.denied = nil, nil
	want := result{
		args: "[install nginx]", dir: "/home/ubuntu", user: "ubuntu 1000", env: "parent",
		page: "hello", mode: 0o600, output: "child\nimg\nindex.html\n", status: 3,
	}
	if got != want {
		t.Errorf("Process in a command:\n got %+v\nwant %+v", got, want)
	}
	if !errors.Is(removed, fs.ErrNotExist) {
		t.Errorf("Stat after RemoveAll: %v, want %v", removed, fs.ErrNotExist)
	}
	if !errors.Is(denied, fs.ErrPermission) {
		t.Errorf("WriteFile as another user: %v, want %v", denied, fs.ErrPermission)
	}
}
