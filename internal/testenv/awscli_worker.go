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

// workerProgram runs commands of the AWS client in one process, which saves each
// command the half second that Python takes to load the client. Each command is
// a line of JSON on its input, and each result one on its output.
const workerProgram = `
import contextlib, io, json, sys
from awscli.clidriver import create_clidriver

replies = sys.stdout
driver = create_clidriver()
for line in sys.stdin:
    out, err = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2)]
    driver.session.set_config_variable("region", None)  # set by the last command
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

// An awsWorker is a process that runs commands of the AWS client in sequence.
type awsWorker struct {
	mu      sync.Mutex
	in      io.WriteCloser
	replies *bufio.Reader
	log     *bytes.Buffer // Python's standard error
}

// awsPython returns the interpreter named by BAKESTONE_PYTHON, by default
// python3, or "" if it does not have the client.
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

// newAWSWorker starts a worker that runs until the test ends.
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
		return "", fmt.Errorf("AWS client worker exited: %w: %s", err, w.log)
	}
	if reply.Status != 0 {
		return reply.Out, &AWSError{Args: args, Status: reply.Status, Stderr: reply.Err}
	}
	return reply.Out, nil
}

// runAWS runs one command of the client in a new process.
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
