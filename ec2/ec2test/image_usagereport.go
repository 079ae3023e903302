package ec2test

import (
	"slices"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// usageReportKept is how long a report exists, according to the EC2 user guide.
const usageReportKept = 30 * 24 * time.Hour

// usageReport reports which accounts use an image. Its counts are those at its
// creation; EC2's may be a day old.
type usageReport struct {
	base

	image    string
	types    []string
	accounts []string
	doneAt   time.Time
	entries  []usageEntry
}

// usageEntry counts an account's resources of one type.
type usageEntry struct {
	report       *usageReport
	account      string
	resourceType string
	count        int
}

func usageReportKind() kind {
	return kind{"amiur-", "image-usage-report", "InvalidImageUsageReportId.Malformed", "InvalidImageUsageReportId.NotFound", "The image usage report '%s' does not exist"}
}

func (r *usageReport) state(now time.Time) string {
	if now.Before(r.doneAt) {
		return "pending"
	}
	return "available"
}

type createUsageReportInput struct {
	ImageID          string              `ec2:"ImageId,required"`
	ResourceType     []resourceTypeParam `ec2:"ResourceType,required"`
	AccountID        []string            `ec2:"AccountId"`
	ClientToken      string
	TagSpecification []tagSpecification
}

type usageReportIDOutput struct {
	ID string `xml:"reportId"`
}

func (c *call) createUsageReport(in *createUsageReportInput) (*usageReportIDOutput, *ec2query.Error) {
	known, err := c.usedToken(in.ClientToken)
	if err != nil {
		return nil, err
	}
	if len(known) > 0 {
		return &usageReportIDOutput{known[0]}, nil
	}
	specs, err := tagSpecs(in.TagSpecification, "image-usage-report")
	if err != nil {
		return nil, err
	}
	img, err := c.ownImage(in.ImageID)
	if err != nil {
		return nil, err
	}
	r := &usageReport{image: img.id, accounts: in.AccountID, doneAt: c.now.Add(c.server.opts.Latency.UsageReport)}
	for _, t := range in.ResourceType {
		if err := inSet("ResourceType", t.ResourceType, "ec2:Instance", "ec2:LaunchTemplate"); err != nil {
			return nil, err
		}
		for _, option := range t.ResourceTypeOption {
			if option.OptionName != "version-depth" || t.ResourceType != "ec2:LaunchTemplate" {
				return nil, ec2query.InvalidValue("OptionName", option.OptionName, "It is not an option of "+t.ResourceType+".")
			}
		}
		r.types = append(r.types, t.ResourceType)
	}
	for other := range c.usageReports.all() {
		if other.image == img.id && other.state(c.now) == "pending" {
			return nil, ec2query.Errorf("ResourceLimitExceeded", "A usage report of the image %s is pending already", img.id)
		}
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	r.base = c.newBase(usageReportKind(), specs["image-usage-report"])
	r.entries = c.usage(r)
	c.usageReports.put(r)
	c.rememberToken(in.ClientToken, r.id)
	return &usageReportIDOutput{r.id}, nil
}

// usage counts the region's resources of all accounts that use the image.
func (c *call) usage(r *usageReport) []usageEntry {
	counts := map[string]int{}
	if slices.Contains(r.types, "ec2:Instance") {
		for i := range c.instances.all() {
			if i.image.id == r.image && i.phase.code(c.now) != terminated {
				counts[i.owner+" ec2:Instance"]++
			}
		}
	}
	if slices.Contains(r.types, "ec2:LaunchTemplate") {
		for t := range c.templates.all() {
			if slices.ContainsFunc(t.versions, func(v *templateVersion) bool { return v.data.ImageID == r.image }) {
				counts[t.owner+" ec2:LaunchTemplate"]++
			}
		}
	}
	var out []usageEntry
	for key, n := range counts {
		account, of, _ := strings.Cut(key, " ")
		if len(r.accounts) == 0 || slices.Contains(r.accounts, account) {
			out = append(out, usageEntry{r, account, of, n})
		}
	}
	slices.SortFunc(out, func(a, b usageEntry) int { return strings.Compare(a.account+a.resourceType, b.account+b.resourceType) })
	return out
}

type usageTypeXML struct {
	Type string `xml:"resourceType"`
}

type usageReportXML struct {
	ID       string                     `xml:"reportId"`
	Image    string                     `xml:"imageId"`
	Types    ec2query.Set[usageTypeXML] `xml:"resourceTypeSet"`
	Accounts ec2query.Set[string]       `xml:"accountIdSet"`
	State    string                     `xml:"state"`
	Created  string                     `xml:"creationTime"`
	Expires  string                     `xml:"expirationTime"`
	Tags     ec2query.Set[tagXML]       `xml:"tagSet"`
}

func (c *call) usageReportXML(r *usageReport) usageReportXML {
	return usageReportXML{
		r.id, r.image, ec2query.MapSet(r.types, func(t string) usageTypeXML { return usageTypeXML{t} }), ec2query.SetOf(r.accounts...),
		r.state(c.now), ec2query.FormatTime(r.created), ec2query.FormatTime(r.created.Add(usageReportKept)), r.tags.set(c.now),
	}
}

func usageReportFilters() filters[*usageReport] {
	return filters[*usageReport]{
		"creation-time": func(_ *call, r *usageReport) []string { return one(ec2query.FormatTime(r.created)) },
		"state":         func(c *call, r *usageReport) []string { return one(r.state(c.now)) },
	}
}

type describeUsageReportsInput struct {
	Filter   []filterParam
	ImageID  []string `ec2:"ImageId"`
	ReportID []string `ec2:"ReportId"`
	pageParams
}

type describeUsageReportsOutput struct {
	Reports ec2query.Set[usageReportXML] `xml:"imageUsageReportSet"`
	Next    string                       `xml:"nextToken,omitempty"`
}

func (c *call) findUsageReports(in *describeUsageReportsInput, filtered bool) ([]*usageReport, string, *ec2query.Error) {
	q := query[*usageReport]{
		kind: usageReportKind(), ids: in.ReportID,
		scope: func(r *usageReport) bool {
			return c.owns(&r.base) && c.now.Before(r.created.Add(usageReportKept)) && (len(in.ImageID) == 0 || slices.Contains(in.ImageID, r.image))
		},
	}
	if filtered {
		q.filters, q.known, q.page = in.Filter, c.server.known.usageReports, in.pageParams
	}
	return find(c, &c.usageReports, q)
}

func (c *call) describeUsageReports(in *describeUsageReportsInput) (*describeUsageReportsOutput, *ec2query.Error) {
	items, next, err := c.findUsageReports(in, true)
	return &describeUsageReportsOutput{ec2query.MapSet(items, c.usageReportXML), next}, err
}

type usageEntryXML struct {
	Report  string `xml:"reportId"`
	Image   string `xml:"imageId"`
	Account string `xml:"accountId"`
	Type    string `xml:"resourceType"`
	Count   int    `xml:"usageCount"`
	Created string `xml:"reportCreationTime"`
}

func usageEntryFilters() filters[usageEntry] {
	return filters[usageEntry]{
		"account-id":    func(_ *call, e usageEntry) []string { return one(e.account) },
		"creation-time": func(_ *call, e usageEntry) []string { return one(ec2query.FormatTime(e.report.created)) },
		"resource-type": func(_ *call, e usageEntry) []string { return one(e.resourceType) },
	}
}

type describeUsageEntriesOutput struct {
	Entries ec2query.Set[usageEntryXML] `xml:"imageUsageReportEntrySet"`
	Next    string                      `xml:"nextToken,omitempty"`
}

func (c *call) describeUsageEntries(in *describeUsageReportsInput) (*describeUsageEntriesOutput, *ec2query.Error) {
	m, err := c.server.known.usageEntries.compile(c, in.Filter, nil)
	if err != nil {
		return nil, err
	}
	reports, _, err := c.findUsageReports(in, false)
	if err != nil {
		return nil, err
	}
	var found []usageEntry
	for _, r := range reports {
		for _, e := range r.entries {
			if r.state(c.now) == "available" && m.match(e) {
				found = append(found, e)
			}
		}
	}
	items, next, err := page(c, found, in.pageParams, pageLimits{}, func(e usageEntry) uint64 {
		return e.report.seq<<20 | uint64(slices.Index(e.report.entries, e)) //nolint:gosec // an index of what is there
	})
	return &describeUsageEntriesOutput{ec2query.MapSet(items, func(e usageEntry) usageEntryXML {
		return usageEntryXML{e.report.id, e.report.image, e.account, e.resourceType, e.count, ec2query.FormatTime(e.report.created)}
	}), next}, err
}

type usageReportIDInput struct {
	ReportID string `ec2:"ReportId,required"`
}

func (c *call) deleteUsageReport(in *usageReportIDInput) (*ec2query.Return, *ec2query.Error) {
	r, err := lookup(c, &c.usageReports, usageReportKind(), in.ReportID)
	if err != nil {
		return nil, err
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	c.usageReports.remove(r.id)
	return ec2query.Done(), nil
}
