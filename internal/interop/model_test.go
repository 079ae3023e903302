package interop_test

import (
	"compress/gzip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/internal/awsmodel"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// readModel reads the newest model of a service that botocore ships.
func readModel(t *testing.T, data, service string) *awsmodel.Model {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(data, service, "*", "service-2.json.gz"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no model of %s in %s: %v", service, data, err)
	}
	file, err := os.Open(slices.Max(found))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	text, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	model, err := awsmodel.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	return model
}

// AWS's models define every parameter and response member of ec2test.
func TestCoverageMatchesModels(t *testing.T) {
	data := testenv.Botocore(t)
	models := map[string]*awsmodel.Model{}
	names := 0
	for _, a := range ec2test.Coverage() {
		if models[a.Service] == nil {
			models[a.Service] = readModel(t, data, a.Service)
		}
		model := models[a.Service]
		for _, param := range a.Params {
			names++
			if err := model.CheckParam(a.Name, param); err != nil && !newer(a, param) {
				t.Errorf("parameter of %s: %v", a.Name, err)
			}
		}
		for _, member := range a.Results {
			names++
			if err := model.CheckMember(a.Name, member); err != nil && !isReturn(a, member) {
				t.Errorf("response member of %s: %v", a.Name, err)
			}
		}
	}
	if names < 1000 {
		t.Errorf("checked %d names, want at least 1000", names)
	}
}

// newer reports whether a parameter is missing from the model of the botocore
// version that moto requires, though the Go SDK has it.
func newer(a ec2test.ActionCoverage, param string) bool {
	return a.Name == "CreateImage" && param == "BootModeOverride"
}

// isReturn reports whether a member is the "return" in EC2's response to an
// action without output in the model.
func isReturn(a ec2test.ActionCoverage, member string) bool {
	return a.Service == "ec2" && strings.EqualFold(member, "return") && len(a.Results) == 1
}
