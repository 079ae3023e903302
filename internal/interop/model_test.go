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
		t.Fatalf("there is no model of %s in %s: %v", service, data, err)
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

// TestNamesAreOfTheModel wants every parameter that ec2test takes, and every
// member that it answers with, in AWS's own model of the service.
func TestNamesAreOfTheModel(t *testing.T) {
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
			if err := model.Param(a.Name, param); err != nil && !newer(a, param) {
				t.Errorf("%s takes %v", a.Name, err)
			}
		}
		for _, member := range a.Results {
			names++
			if err := model.Answer(a.Name, member); err != nil && !saysDone(a, member) {
				t.Errorf("%s answers %v", a.Name, err)
			}
		}
	}
	if names < 1000 {
		t.Errorf("only %d names were looked at", names)
	}
}

// newer tells whether a parameter is of a later model than that of the botocore
// that moto of this time wants: the SDK for Go knows it.
func newer(a ec2test.ActionCoverage, param string) bool {
	return a.Name == "CreateImage" && param == "BootModeOverride"
}

// saysDone tells whether a member is the "return" with which EC2 answers what
// has no answer in its model.
func saysDone(a ec2test.ActionCoverage, member string) bool {
	return a.Service == "ec2" && strings.EqualFold(member, "return") && len(a.Results) == 1
}
