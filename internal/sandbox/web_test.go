package sandbox_test

import (
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/internal/sandbox"
)

func TestDownloads(t *testing.T) {
	t.Parallel()
	h := boot(t, sandbox.Options{
		URLs:     map[string]string{"https://get.example.com/install.sh": "echo installed \"$1\"\n", "http://localhost/": "welcome\n"},
		Metadata: map[string]string{"meta-data/instance-id": "i-1", "meta-data/placement/region": "eu-west-1", "dynamic/instance-identity/document": "{}"},
	})
	for _, c := range []struct {
		script, out, err string
		status           int
	}{
		{`curl -fsSL https://get.example.com/install.sh | bash -s -- now`, "installed now\n", "", 0},
		{`bash -c "$(curl -fsSL https://get.example.com/install.sh)"; curl -sSfLO https://get.example.com/install.sh; cat install.sh`, "installed \necho installed \"$1\"\n", "", 0},
		{`curl --proto '=https' --tlsv1.2 -fsS https://get.example.com/no`, "", "curl: (22) The requested URL returned error: 404\n", 22},
		{`curl -s https://get.example.com/no; curl -fs https://get.example.com/no; echo $?; curl -sSo /dev/null -w '%{http_code}\n' http://localhost`, "not found\n22\n200\n", "", 0},
		{`curl -s --create-dirs -o a/b/c http://localhost/ && cat a/b/c; curl -sI http://localhost | head -n 1 | tr -d '\r'; curl -so /nope/x http://localhost; echo $?`, "welcome\nHTTP/1.1 200 OK\n23\n", "", 0},
		{`curl https://pypi.example.org/x`, "", "curl: (6) Could not resolve host: pypi.example.org\n", 6},
		{`curl http://localhost:8080/`, "", "curl: (7) Failed to connect to localhost port 8080", 7},
		{`curl --frob http://localhost`, "", "not supported", 2},
		{`wget -qO- http://localhost/; wget -q https://get.example.com/install.sh -P /tmp/d && ls /tmp/d; wget -q https://get.example.com/no; echo $?`, "welcome\ninstall.sh\n8\n", "", 0},
		{`wget https://nowhere.example/`, "", "unable to resolve host address", 4},
		{`curl -s http://169.254.169.254/latest/meta-data/instance-id; T=$(curl -sX PUT http://169.254.169.254/latest/api/token -H 'X-aws-ec2-metadata-token-ttl-seconds: 60'); for p in meta-data/instance-id meta-data/placement/region meta-data/ meta-data/nope; do curl -s -H "X-aws-ec2-metadata-token: $T" http://169.254.169.254/latest/$p; echo; done`,
			"Unauthorized\ni-1\neu-west-1\ninstance-id\nplacement/\nNot Found\n\n", "", 0},
	} {
		got := run(t, h, sandbox.Exec{Line: "cd $(mktemp -d); " + c.script})
		if got.out != c.out || !strings.Contains(got.err, c.err) || got.status != c.status {
			t.Errorf("%s:\ngot %+v\nwant status %d, output %q, errors with %q", c.script, got, c.status, c.out, c.err)
		}
	}
	if n := strings.Count(h.Console(), "is not in URLs"); n != 3 {
		t.Errorf("the console names %d hosts that are not in URLs, want 3:\n%s", n, h.Console())
	}
}
