package report

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// WriteGitHub reports to GitHub Actions: it writes annotations to w, which must be the
// standard output of a step, and adds the Markdown summary and the outputs to the files
// that the environment names. The output "images" is a JSON object with the ids of each
// image by location, for fromJSON(steps.bake.outputs.images).web['eu-west-1'].
//
// It reads the variables GITHUB_ACTIONS, GITHUB_STEP_SUMMARY and GITHUB_OUTPUT from
// getenv, usually [os.Getenv]. It does nothing unless GITHUB_ACTIONS is "true", and
// leaves out what has no file.
func (r *Report) WriteGitHub(w io.Writer, getenv func(string) string) error {
	if getenv("GITHUB_ACTIONS") != "true" {
		return nil
	}
	return errors.Join(
		r.WriteAnnotations(w),
		appendTo(getenv("GITHUB_STEP_SUMMARY"), r.WriteMarkdown),
		appendTo(getenv("GITHUB_OUTPUT"), r.writeOutputs),
	)
}

// appendTo appends what write writes to the file, unless its name is empty.
func appendTo(name string, write func(io.Writer) error) error {
	if name == "" {
		return nil
	}
	var text bytes.Buffer
	if err := write(&text); err != nil {
		return err
	}
	const usual = 0o644                                                        // the runner, which makes the files, may be another user
	file, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, usual) //nolint:gosec // the caller's files
	if err != nil {
		return err
	}
	_, err = file.Write(text.Bytes())
	return errors.Join(err, file.Close())
}

// maxOutputs is GitHub's limit for the outputs of a job, in bytes.
const maxOutputs = 1 << 20

// writeOutputs writes the ids of the images. The delimiter is random, so no value can
// end itself and add another one.
func (r *Report) writeOutputs(w io.Writer) error {
	images := map[string]map[string]string{}
	for n := range r.Images {
		if i := &r.Images[n]; len(i.IDs) > 0 {
			images[i.Name] = i.IDs
		}
	}
	value, err := json.Marshal(images)
	if err != nil {
		return err
	}
	if len(value) > maxOutputs {
		return fmt.Errorf("outputs of %d images: %d bytes, GitHub accepts %d", len(images), len(value), maxOutputs)
	}
	end := "end-" + rand.Text()
	_, err = fmt.Fprintf(w, "images<<%s\n%s\n%s\n", end, value, end)
	return err
}
