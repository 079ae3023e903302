package testenv

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
)

// workerProgram runs the AWS client again and again in one process, which
// saves each command the half second that Python takes to load it. A command is
// a line of JSON, and so is what came of it.
const workerProgram = `
import contextlib, io, json, sys
from awscli.clidriver import create_clidriver

replies = sys.stdout
driver = create_clidriver()
for line in sys.stdin:
    out, err = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2)]
    driver.session.set_config_variable("region", None)  # of the command before
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = driver.main(json.loads(line))
        except SystemExit as end:
            status = end.code
    texts = []
    for text in (out, err):
        text.flush()
        texts.append(text.buffer.getvalue().decode())
    replies.write(json.dumps({"status": status, "out": texts[0], "err": texts[1]}) + "\n")
    replies.flush()
`

// An awsWorker is the AWS client in a process of its own.
type awsWorker struct {
	mu      sync.Mutex
	in      io.WriteCloser
	replies *bufio.Reader
	log     *bytes.Buffer // what Python itself wrote
}

// awsPython is the interpreter that can run the client, or empty: that of
// BAKESTONE_PYTHON, or else python3, if it has the client.
func awsPython(ctx context.Context) string {
	name := os.Getenv(pythonVar)
	if name == "" {
		name = "python3"
	}
	python, err := lookPath(name)
	if err != nil {
		return ""
	}
	const probe = "import importlib.util, sys; sys.exit(0 if importlib.util.find_spec('awscli') else 3)"
	if exec.CommandContext(ctx, python, "-c", probe).Run() != nil {
		return ""
	}
	return python
}

// newAWSWorker starts a worker, which ends with the test.
func newAWSWorker(t testing.TB, python string, env []string) *awsWorker {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), python, "-c", workerProgram)
	w := &awsWorker{log: new(bytes.Buffer)}
	cmd.Env, cmd.Stderr = env, w.log
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("testenv: %v", err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait() // it was killed when the test ended
	})
	w.in, w.replies = in, bufio.NewReader(out)
	return w
}

func (w *awsWorker) run(args []string) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	line, err := json.Marshal(args)
	if err != nil {
		return "", err
	}
	var reply struct {
		Status   int
		Out, Err string
	}
	_, err = w.in.Write(append(line, '\n'))
	if err == nil {
		line, err = w.replies.ReadBytes('\n')
	}
	if err == nil {
		err = json.Unmarshal(line, &reply)
	}
	if err != nil {
		return "", fmt.Errorf("the AWS client has ended: %w: %s", err, w.log)
	}
	if reply.Status != 0 {
		return reply.Out, &AWSError{Args: args, Status: reply.Status, Stderr: reply.Err}
	}
	return reply.Out, nil
}

// runAWS runs the client once, in a process of its own.
func runAWS(ctx context.Context, path string, env, args []string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = env
	cmd.Stdout = &stdout
	cmd.Stderr = &stderr
	err := cmd.Run()
	if cmd.ProcessState != nil && cmd.ProcessState.ExitCode() > 0 {
		err = &AWSError{Args: args, Status: cmd.ProcessState.ExitCode(), Stderr: stderr.String()}
	}
	return stdout.String(), err
}
