package ec2test

import (
	"slices"
	"strconv"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

type deleteVersionsInput struct {
	LaunchTemplateID      string `ec2:"LaunchTemplateId"`
	LaunchTemplateName    string
	LaunchTemplateVersion []string `ec2:"LaunchTemplateVersion,required"`
}

type deletedVersionXML struct {
	ID     string `xml:"launchTemplateId"`
	Name   string `xml:"launchTemplateName"`
	Number int    `xml:"versionNumber"`
}

type keptVersionXML struct {
	deletedVersionXML
	Error versionErrorXML `xml:"responseError"`
}

type versionErrorXML struct {
	Code    string `xml:"code"`
	Message string `xml:"message"`
}

type deleteVersionsOutput struct {
	Deleted ec2query.Set[deletedVersionXML] `xml:"successfullyDeletedLaunchTemplateVersionSet"`
	Kept    ec2query.Set[keptVersionXML]    `xml:"unsuccessfullyDeletedLaunchTemplateVersionSet"`
}

// deleteTemplateVersions deletes versions other than the default. Each succeeds or fails
// on its own.
func (c *call) deleteTemplateVersions(in *deleteVersionsInput) (*deleteVersionsOutput, *ec2query.Error) {
	t, err := c.template(in.LaunchTemplateID, in.LaunchTemplateName)
	if err != nil {
		return nil, err
	}
	const most = 200
	if len(in.LaunchTemplateVersion) > most {
		return nil, ec2query.InvalidValue("Versions", strconv.Itoa(len(in.LaunchTemplateVersion)), "At most 200 versions can be deleted in a request.")
	}
	for _, which := range in.LaunchTemplateVersion {
		if _, err := strconv.Atoi(which); err != nil {
			return nil, ec2query.InvalidValue("Versions", which, "It must be the number of a version.")
		}
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	out := &deleteVersionsOutput{}
	for _, which := range in.LaunchTemplateVersion {
		n, _ := strconv.Atoi(which) // parsed above
		row := deletedVersionXML{ID: t.id, Name: t.name, Number: n}
		keep := func(code, message string) {
			out.Kept.Items = append(out.Kept.Items, keptVersionXML{row, versionErrorXML{code, message}})
		}
		switch v := t.numbered(n); {
		case v == nil:
			keep("launchTemplateVersionDoesNotExist", "Could not find launch template version")
		case n == t.defaultVersion:
			keep("unexpectedError", "The default version of a launch template cannot be deleted")
		default:
			t.versions = slices.DeleteFunc(slices.Clone(t.versions), func(other *templateVersion) bool { return other == v })
			out.Deleted.Items = append(out.Deleted.Items, row)
		}
	}
	return out, nil
}
